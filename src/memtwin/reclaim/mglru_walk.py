"""Owns how multi-gen LRU learns of use: walking page tables (aging), looking around young entries
(eviction).

Imports address_space, page and the generations. Knows nothing of evicting. Rules: mm/vmscan.c
walk_mm(), walk_pte_range() and lru_gen_look_around(), v6.12.

# DIFFERS: tables worth walking are an exact set and upper tables have no accessed bit, where the
# kernel has bloom filters and such bits; both only save work; bends which of a table's few young
# entries are seen one generation earlier.
"""

from __future__ import annotations

import cython

from memtwin.address_space.mm import Mm, Mms
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vm_flags import (
    VM_ACCESS,
    VM_LOCKED,
    VM_RAND_READ,
    VM_SEQ_READ,
    VMA_ANON,
    VMA_PFNMAP,
    VMA_SHMEM,
    VMA_SPECIAL,
)
from memtwin.address_space.vma import VMA
from memtwin.address_space.vma_tree import VmaTree
from memtwin.hardware.clock import Clock
from memtwin.hardware.pte import (
    HUGE_ENTRY,
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_PFN_MASK,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    PTE_SPECIAL,
    TABLE_SHIFT,
)
from memtwin.page.flags import (
    LRU_GEN_MASK,
    LRU_GEN_SHIFT,
    LRU_REFS_MASK,
    PG_ANON,
    PG_DIRTY,
    PG_REFERENCED,
    PG_SWAPBACKED,
    PG_SWAPCACHE,
    PG_WORKINGSET,
)
from memtwin.page.mem_map import MemMap
from memtwin.reclaim.constants import (
    MAX_NR_GENS,
    MIN_LRU_BATCH,
    THROTTLE_JIFFY_NS,
    YOUNG_FACTOR,
)
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.lru_gen import LruGen
from memtwin.reclaim.lruvec import Lruvecs


@cython.final
@cython.cclass
class MglruWalk:
    """Promotes pages whose page table entries were used."""

    def __init__(self, lru: Lru, rmap: Rmap, tables: PageTables, mms: Mms, clock: Clock) -> None:
        self.lru = lru
        self.mem: MemMap = lru.mem
        self.lruvecs: Lruvecs = lru.lruvecs
        self.gen: LruGen = lru.lruvecs.gen
        self.rmap = rmap
        self.tables = tables
        self.mms = mms
        self.clock = clock
        # 1 while the running reclaim has a struct lru_gen_mm_walk: promote at once, not by batches
        self.has_walk = 0
        # tables worth walking, by (lruvec, sequence number's parity); missing: never made, walk all
        self.filters: dict[tuple[int, int], set[int]] = {}
        self.walked_ns: dict[tuple[int, int], int] = {}  # when (lruvec, mm id) was walked last
        self.keep: set[int] = set()  # tables that the walk at hand found worth walking again
        self.table = -1  # the table it is in, entries looked at there and used ones among them
        self.total = 0
        self.young = 0
        self.nr_walked = 0  # entries looked at so far, for figures and costs

    @cython.cfunc
    def update_gen(self, pfn: cython.int, lruvec: cython.int, new_gen: cython.int) -> cython.void:
        """A page was used: its generation is the youngest now; its list place stays
        (folio_update_gen).
        """
        flags: cython.longlong = self.mem.flags[pfn]
        if not flags & LRU_GEN_MASK:
            self.mem.flags[pfn] = flags | PG_REFERENCED
            return
        old_gen: cython.int = ((flags & LRU_GEN_MASK) >> LRU_GEN_SHIFT) - 1
        flags &= ~(LRU_GEN_MASK | LRU_REFS_MASK | PG_REFERENCED | PG_WORKINGSET)
        plus_1: cython.longlong = new_gen + 1
        self.mem.flags[pfn] = flags | (plus_1 << LRU_GEN_SHIFT)
        if old_gen != new_gen:
            self.move_counts(pfn, lruvec, old_gen, new_gen)

    @cython.cfunc
    @cython.exceptval(check=False)
    def move_counts(
        self, pfn: cython.int, lruvec: cython.int, old_gen: cython.int, new_gen: cython.int
    ) -> cython.void:
        """Count a page in another generation (lru_gen_update_size)."""
        gen_type: cython.int = 0 if self.mem.flags[pfn] & PG_SWAPBACKED else 1
        zone_id: cython.int = self.lruvecs.zones.zone_of(pfn)
        zone_idx: cython.int = zone_id % self.lruvecs.nr_zone_types
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        self.gen.gen_pages[self.gen.at(lruvec, old_gen, gen_type, zone_idx)] -= nr_pages
        self.gen.gen_pages[self.gen.at(lruvec, new_gen, gen_type, zone_idx)] += nr_pages
        was: cython.int = self.gen.classic_list(lruvec, old_gen, gen_type)
        now: cython.int = self.gen.classic_list(lruvec, new_gen, gen_type)
        if was != now:
            self.lruvecs.update_size(lruvec, was, zone_id, -nr_pages)
            self.lruvecs.update_size(lruvec, now, zone_id, nr_pages)

    @cython.cfunc
    @cython.exceptval(check=False)
    def young_frame(
        self, at: cython.longlong, memcg: cython.int, can_swap: cython.int
    ) -> cython.int:
        """Clear a used entry's accessed bit: its frame (folio head), or -1 when it is not for us.
        """
        entry: cython.longlong = self.tables.pte[at]
        if not entry & PTE_PRESENT or entry & PTE_SPECIAL or not entry & PTE_ACCESSED:
            return -1
        pfn: cython.int = self.rmap.head_of((entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK)
        if self.mem.memcg[pfn] != memcg:
            return -1
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_SWAPBACKED and not can_swap:
            return -1
        self.tables.pte[at] = entry & ~PTE_ACCESSED
        if entry & PTE_DIRTY and not flags & PG_DIRTY and flags & (PG_ANON | PG_SWAPBACKED):
            if not (flags & PG_ANON and flags & PG_SWAPBACKED and not flags & PG_SWAPCACHE):
                self.mem.flags[pfn] = flags | PG_DIRTY
        return pfn

    # -- aging ---------------------------------------------------------------------------------

    @cython.cfunc
    def walk_mms(
        self, lruvec: cython.int, seq: cython.longlong, can_swap: cython.int
    ) -> cython.void:
        """Walk the page tables of every mm of the group (try_to_inc_max_seq's iteration)."""
        memcg: cython.int = lruvec // self.lruvecs.nr_nodes
        node: cython.int = lruvec % self.lruvecs.nr_nodes
        now_ns: cython.longlong = self.clock.now_ns
        first: cython.int = 1
        force: cython.int = 0
        i: cython.int
        for i in range(len(self.mms.all)):
            mm: Mm = self.mms.all[i]
            if mm is None or mm.memcg != memcg or mm.users <= 0:
                continue
            walked_ns = self.walked_ns.get((lruvec, mm.id))
            if walked_ns is None:
                force = 1  # added after the last iteration
            elif not force and now_ns - walked_ns < THROTTLE_JIFFY_NS:
                # MODEL: get_next_mm() skips an mm that was not switched to since it was walked; on
                # a live system some switch happens every jiffy
                continue
            self.walked_ns[(lruvec, mm.id)] = now_ns
            if first:
                self.filters[(lruvec, (seq + 1) & 1)] = set()
                first = 0
            self.walk_mm(mm, lruvec, memcg, node, seq, can_swap, force)
        self.has_walk = 1

    @cython.cfunc
    def walk_mm(
        self, mm: Mm, lruvec: cython.int, memcg: cython.int, node: cython.int,
        seq: cython.longlong, can_swap: cython.int, force: cython.int,
    ) -> cython.void:  # fmt: skip
        """Walk one address space, table by table."""
        worth = None if force else self.filters.get((lruvec, seq & 1))
        self.keep = self.filters[(lruvec, (seq + 1) & 1)]
        self.table = -1
        tree: VmaTree = mm.tree  # type: ignore[assignment]
        new_gen: cython.int = self.gen.max_seq[lruvec] % MAX_NR_GENS
        pfn: cython.int
        i: cython.int
        for i in range(tree.nr):
            vma: VMA = tree.vmas[i]
            if self.skip_vma(vma, can_swap):
                continue
            vpn: cython.longlong = vma.start_vpn
            while vpn < vma.end_vpn:
                stop: cython.longlong = ((vpn >> TABLE_SHIFT) + 1) << TABLE_SHIFT
                if stop > vma.end_vpn:
                    stop = vma.end_vpn
                at: cython.longlong = self.tables.lookup(mm.pgd, vpn)
                if at == HUGE_ENTRY:
                    at = self.tables.lookup_pmd(mm.pgd, vpn)
                    pfn = self.young_frame(at, memcg, can_swap)
                    if pfn >= 0 and self.lruvecs.node_of(pfn) == node:
                        self.update_gen(pfn, lruvec, new_gen)
                elif at >= 0 and (worth is None or at >> TABLE_SHIFT in worth):
                    if at >> TABLE_SHIFT != self.table:
                        self.judge_table()
                        self.table = at >> TABLE_SHIFT
                    self.total += cython.cast(cython.int, stop - vpn)
                    self.young += self.walk_entries(
                        at,
                        cython.cast(cython.int, stop - vpn),
                        lruvec,
                        memcg,
                        node,
                        new_gen,
                        can_swap,
                    )
                vpn = stop
        self.judge_table()

    @cython.cfunc
    def judge_table(self) -> cython.void:
        """The walk leaves a table: remember it for the next one if it was worth it."""
        if self.table >= 0 and self.young * YOUNG_FACTOR >= self.total:
            self.keep.add(self.table)
        self.total = 0
        self.young = 0

    @cython.cfunc
    def walk_entries(
        self, at: cython.longlong, nr: cython.int, lruvec: cython.int, memcg: cython.int,
        node: cython.int, new_gen: cython.int, can_swap: cython.int,
    ) -> cython.int:  # fmt: skip
        """Promote the frames of used entries among `nr` from row `at` on; how many were used."""
        young: cython.int = 0
        i: cython.int
        self.nr_walked += nr
        for i in range(nr):
            pfn: cython.int = self.young_frame(at + i, memcg, can_swap)
            if pfn >= 0 and self.lruvecs.node_of(pfn) == node:
                young += 1
                self.update_gen(pfn, lruvec, new_gen)
        return young

    @cython.cfunc
    @cython.exceptval(check=False)
    def skip_vma(self, vma: VMA, can_swap: cython.int) -> cython.int:
        """Areas that aging leaves alone (should_skip_vma)."""
        if not vma.vm_flags & VM_ACCESS or vma.vm_flags & (VM_SEQ_READ | VM_RAND_READ | VM_LOCKED):
            return 1
        if vma.kind == VMA_SPECIAL or vma.kind == VMA_PFNMAP:
            return 1
        if vma.kind == VMA_ANON or vma.kind == VMA_SHMEM:
            return 0 if can_swap else 1
        return 0

    # -- eviction ------------------------------------------------------------------------------

    @cython.cfunc
    def folio_referenced(self, pfn: cython.int, memcg: cython.int) -> cython.int:
        """Like Rmap.folio_referenced, and promote what lies around each used entry."""
        self.rmap.vm_flags = 0
        if self.mem.mapcount[pfn] == 0 and self.mem.order[pfn] == 0:
            return 0
        total: cython.int = 0
        i: cython.int
        found: cython.int = self.rmap.collect(pfn)
        for i in range(found):
            vma: VMA = self.rmap.found_vma[i]
            if memcg > 0 and not self.lruvecs.memcgs.is_descendant(vma.mm.memcg, memcg):
                continue
            if vma.vm_flags & VM_LOCKED:
                self.rmap.vm_flags |= VM_LOCKED
                return total
            if vma.vm_flags & (VM_SEQ_READ | VM_RAND_READ):
                continue  # invalid_folio_referenced_vma(): no recency
            if self.tables.pte[self.rmap.found_at[i]] & PTE_ACCESSED:
                self.look_around(pfn, vma, self.rmap.found_at[i], self.rmap.found_vpn[i])
                total += 1
                self.rmap.vm_flags |= vma.vm_flags
        return total

    @cython.cfunc
    def look_around(
        self, pfn: cython.int, vma: VMA, at: cython.longlong, vpn: cython.longlong
    ) -> cython.void:
        """Clear the used entry, and promote used neighbours: 64 entries around it in its table."""
        self.tables.pte[at] &= ~PTE_ACCESSED
        if vma.kind == VMA_SPECIAL or vma.kind == VMA_PFNMAP or self.mem.order[pfn] > 0:
            return
        lruvec: cython.int = self.lruvecs.of_page(pfn)
        can_swap: cython.int = 1 if self.mem.flags[pfn] & PG_SWAPBACKED else 0
        memcg: cython.int = self.mem.memcg[pfn]
        node: cython.int = self.lruvecs.node_of(pfn)
        start: cython.longlong = (vpn >> TABLE_SHIFT) << TABLE_SHIFT
        end: cython.longlong = start + (1 << TABLE_SHIFT)
        if start < vma.start_vpn:
            start = vma.start_vpn
        if end > vma.end_vpn:
            end = vma.end_vpn
        if end - start == 1:
            return
        if end - start > MIN_LRU_BATCH:
            if vpn - start < MIN_LRU_BATCH // 2:
                end = start + MIN_LRU_BATCH
            elif end - vpn < MIN_LRU_BATCH // 2:
                start = end - MIN_LRU_BATCH
            else:
                start = vpn - MIN_LRU_BATCH // 2
                end = vpn + MIN_LRU_BATCH // 2
        seq: cython.longlong = self.gen.max_seq[lruvec]
        new_gen: cython.int = seq % MAX_NR_GENS
        young: cython.int = 1
        step: cython.longlong
        for step in range(start, end):
            near: cython.int = self.young_frame(at - vpn + step, memcg, can_swap)
            if near < 0 or self.lruvecs.node_of(near) != node:
                continue
            young += 1
            self.promote(near, lruvec, new_gen)
        if young * YOUNG_FACTOR >= end - start:
            key = (lruvec, seq & 1)
            if key in self.filters:
                self.filters[key].add(at >> TABLE_SHIFT)

    @cython.cfunc
    def promote(self, pfn: cython.int, lruvec: cython.int, new_gen: cython.int) -> cython.void:
        """A neighbour was used: at once with a walk, else by the activation batch."""
        if self.has_walk:
            self.update_gen(pfn, lruvec, new_gen)
            return
        old_gen: cython.int = self.gen.gen_of(pfn)
        if old_gen < 0:
            self.mem.flags[pfn] |= PG_REFERENCED
        elif old_gen != new_gen:
            self.mem.flags[pfn] &= ~(LRU_REFS_MASK | PG_REFERENCED | PG_WORKINGSET)
            self.lru.folio_activate(pfn)
