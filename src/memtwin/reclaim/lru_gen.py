"""Owns the generations of the multi-gen LRU: lists, sizes, sequence numbers, tier statistics.

Imports page, columns. A part of a lruvec: aging and eviction are `reclaim/mglru.py`. Knows nothing
of page tables, swap or files. Constants: include/linux/mmzone.h, v6.12.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.page.flags import (
    LRU_ACTIVE_ANON,
    LRU_GEN_MASK,
    LRU_GEN_SHIFT,
    LRU_INACTIVE_ANON,
    LRU_INACTIVE_FILE,
    LRU_REFS_MASK,
    LRU_REFS_SHIFT,
    PG_ACTIVE,
    PG_DIRTY,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_SWAPBACKED,
    PG_SWAPCACHE,
    PG_UNEVICTABLE,
    PG_WORKINGSET,
    PG_WRITEBACK,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.tunables import Tunables
from memtwin.reclaim.constants import GEN_ANON, GEN_FILE, MAX_NR_GENS, MAX_NR_TIERS, MIN_NR_GENS
from memtwin.units import NIL

COLUMNS = (
    Column("max_seq", "i8", "mglru", "youngest generation's number, per lruvec; 0 not set up"),
    Column("min_seq", "i8", "mglru", "oldest generation's number, per lruvec and type"),
    Column("birth_ns", "i8", "mglru", "when each of the 4 generations was made, ns"),
    Column("gen_head", "i4", "lru_gen", "list of each (lruvec, generation, type, zone_idx)"),
    Column("gen_pages", "i8", "lru_gen", "pages on each such list, and isolated from it for good"),
    Column("avg_refaulted", "i8", "mglru", "moving average of refaults, per lruvec, type, tier"),
    Column("avg_total", "i8", "mglru", "moving average of evicted + protected, per type, tier"),
    Column("protected", "i8", "mglru", "pages of tiers 1..3 moved up instead of evicted"),
    Column("evicted", "i8", "workingset", "pages evicted since the last aging, per type, tier"),
    Column("refaulted", "i8", "workingset", "pages refaulted since the last aging, per type, tier"),
)


@cython.final
@cython.cclass
class LruGen:
    """Generations of all lruvecs; rows are made by `set_up`."""

    def __init__(self, mem: MemMap, tunables: Tunables, nr_lruvecs: int, nr_types: int) -> None:
        self.mem = mem
        self.tunables = tunables
        self.nr_zone_types = nr_types
        self.nr_set_up = 0
        width = {
            "max_seq": 1, "min_seq": 2, "birth_ns": MAX_NR_GENS,
            "gen_head": MAX_NR_GENS * 2 * nr_types, "gen_pages": MAX_NR_GENS * 2 * nr_types,
        }  # fmt: skip
        for column in COLUMNS:
            rows = nr_lruvecs * width.get(column.name, 2 * MAX_NR_TIERS)
            setattr(self, column.name, zeros(rows, column.dtype))

    @cython.cfunc
    def set_up(self, lruvec: cython.int, now_ns: cython.longlong) -> cython.void:
        """Make the generations of a lruvec (mm/vmscan.c lru_gen_init_lruvec(), v6.12)."""
        i: cython.int
        base: cython.int = lruvec * MAX_NR_GENS * 2 * self.nr_zone_types
        for i in range(MAX_NR_GENS * 2 * self.nr_zone_types):
            self.gen_head[base + i] = self.mem.new_head()
        self.max_seq[lruvec] = MIN_NR_GENS + 1
        for i in range(MIN_NR_GENS + 2):
            self.birth_ns[lruvec * MAX_NR_GENS + i] = now_ns
        if lruvec >= self.nr_set_up:
            self.nr_set_up = lruvec + 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def at(
        self, lruvec: cython.int, gen: cython.int, gen_type: cython.int, zone_idx: cython.int
    ) -> cython.int:
        """Row of `gen_head` and `gen_pages`."""
        return ((lruvec * MAX_NR_GENS + gen) * 2 + gen_type) * self.nr_zone_types + zone_idx

    @cython.cfunc
    @cython.exceptval(check=False)
    def gen_of(self, pfn: cython.int) -> cython.int:
        """Generation 0..3 of a page on a generation's list, or NIL."""
        return ((self.mem.flags[pfn] & LRU_GEN_MASK) >> LRU_GEN_SHIFT) - 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def is_active(self, lruvec: cython.int, gen: cython.int) -> cython.int:
        """1 for the two youngest generations."""
        youngest: cython.longlong = self.max_seq[lruvec]
        return gen == youngest % MAX_NR_GENS or gen == (youngest - 1) % MAX_NR_GENS

    @cython.cfunc
    @cython.exceptval(check=False)
    def refs_of(self, flags: cython.longlong) -> cython.int:
        """Accesses through file descriptors beyond the first (folio_lru_refs)."""
        refs: cython.int = (flags & LRU_REFS_MASK) >> LRU_REFS_SHIFT
        if flags & PG_WORKINGSET:
            refs += 1
        return refs

    @cython.cfunc
    @cython.exceptval(check=False)
    def inc_refs(self, pfn: cython.int) -> cython.void:
        """folio_mark_accessed under multi-gen LRU (mm/swap.c folio_inc_refs(), v6.12)."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_UNEVICTABLE:
            return
        if not flags & PG_REFERENCED:
            flags |= PG_REFERENCED
        elif not flags & PG_WORKINGSET:
            flags |= PG_WORKINGSET
        elif (flags & LRU_REFS_MASK) != LRU_REFS_MASK:
            flags += cython.cast(cython.longlong, 1) << LRU_REFS_SHIFT
        self.mem.flags[pfn] = flags

    @cython.cfunc
    @cython.exceptval(check=False)
    def seq_for(
        self, lruvec: cython.int, flags: cython.longlong, reclaiming: cython.int
    ) -> cython.longlong:
        """Generation a page is added to (lru_gen_add_folio, v6.1 and v6.12)."""
        gen_type: cython.int = 0 if flags & PG_SWAPBACKED else 1
        youngest: cython.longlong = self.max_seq[lruvec]
        oldest: cython.longlong = self.min_seq[lruvec * 2 + gen_type]
        if flags & PG_ACTIVE:
            return youngest
        if gen_type == GEN_ANON and not flags & PG_SWAPCACHE:
            return youngest - 1
        if flags & PG_RECLAIM and flags & (PG_DIRTY | PG_WRITEBACK):
            return youngest - 1
        if reclaiming or oldest + MIN_NR_GENS >= youngest:
            return oldest
        return oldest + 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def add_folio(
        self, lruvec: cython.int, pfn: cython.int, zone_idx: cython.int, reclaiming: cython.int
    ) -> cython.int:
        """Put a page on its generation's list; the classic list whose size grows."""
        flags: cython.longlong = self.mem.flags[pfn]
        gen_type: cython.int = 0 if flags & PG_SWAPBACKED else 1
        gen: cython.int = self.seq_for(lruvec, flags, reclaiming) % MAX_NR_GENS
        clear: cython.longlong = LRU_GEN_MASK
        if flags & PG_ACTIVE:
            # v6.12 forgets references with it; v6.1 only the active bit
            clear |= PG_ACTIVE
            if self.tunables.kernel >= 612:
                clear |= LRU_REFS_MASK | PG_REFERENCED
        gen_plus_1: cython.longlong = gen + 1
        self.mem.flags[pfn] = (flags & ~clear) | (gen_plus_1 << LRU_GEN_SHIFT)
        row: cython.int = self.at(lruvec, gen, gen_type, zone_idx)
        nr_pages: cython.longlong = 1
        self.gen_pages[row] += nr_pages << self.mem.order[pfn]
        if reclaiming:
            self.mem.list_add_tail(self.gen_head[row], pfn)
        else:
            self.mem.list_add(self.gen_head[row], pfn)
        return self.classic_list(lruvec, gen, gen_type)

    @cython.cfunc
    @cython.exceptval(check=False)
    def classic_list(self, lruvec: cython.int, gen: cython.int, gen_type: cython.int) -> cython.int:
        """LRU_* whose size counts a generation's pages."""
        lru: cython.int = LRU_INACTIVE_FILE if gen_type == GEN_FILE else LRU_INACTIVE_ANON
        if self.is_active(lruvec, gen):
            lru += LRU_ACTIVE_ANON
        return lru

    @cython.cfunc
    @cython.exceptval(check=False)
    def del_folio(
        self, lruvec: cython.int, pfn: cython.int, zone_idx: cython.int, reclaiming: cython.int
    ) -> cython.int:
        """Take a page off its generation's list; the classic list whose size shrinks, or NIL."""
        gen: cython.int = self.gen_of(pfn)
        if gen < 0:
            return NIL
        flags: cython.longlong = self.mem.flags[pfn]
        gen_type: cython.int = 0 if flags & PG_SWAPBACKED else 1
        flags &= ~LRU_GEN_MASK
        if not reclaiming and self.is_active(lruvec, gen):
            flags |= PG_ACTIVE
        self.mem.flags[pfn] = flags
        nr_pages: cython.longlong = 1
        self.gen_pages[self.at(lruvec, gen, gen_type, zone_idx)] -= nr_pages << self.mem.order[pfn]
        self.mem.list_del(pfn)
        return self.classic_list(lruvec, gen, gen_type)

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of the generations in use, for digests."""
        rows = self.nr_set_up
        per_list = MAX_NR_GENS * 2 * self.nr_zone_types
        width = {"max_seq": 1, "min_seq": 2, "birth_ns": MAX_NR_GENS}
        width |= {"gen_head": per_list, "gen_pages": per_list}
        return [
            (column.name, getattr(self, column.name)[: rows * width.get(column.name, 8)])
            for column in COLUMNS
        ]
