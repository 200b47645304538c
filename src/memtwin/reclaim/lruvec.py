"""Owns the LRU lists of each (memcg, node): heads, sizes, reclaim costs, the age of evictions.

Imports page, memcg and reclaim/lru_gen. Knows nothing of batches, swap, files or page tables. A
lruvec's number is memcg * nr_nodes + node. The unevictable list is counted, never threaded, as in
the kernel; `lru_prev` of such a page is its mlock_count.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.errors import InternalError
from memtwin.memcg.constants import MAX_MEMCGS
from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import (
    LRU_INACTIVE_ANON,
    LRU_INACTIVE_FILE,
    LRU_UNEVICTABLE,
    NR_LRU_LISTS,
    PG_ACTIVE,
    PG_LRU,
    PG_SWAPBACKED,
    PG_UNEVICTABLE,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import NR_NODE_ITEMS, NR_ZONE_INACTIVE_ANON, NR_ZONE_ITEMS
from memtwin.page.zone import Zones
from memtwin.reclaim.constants import HEAD_SIDE
from memtwin.reclaim.lru_gen import LruGen

COLUMNS = (
    Column(
        "list_head", "i4", "lruvec", "list of each (lruvec, LRU_*); 0 while the lruvec is unused"
    ),
    Column("lru_size", "i8", "lruvec", "pages on each (lruvec, LRU_*)"),
    Column("lru_zone_size", "i8", "lruvec", "pages on each (lruvec, zone_idx, LRU_*)"),
    Column("anon_cost", "i8", "lruvec.note_cost", "decaying cost of reclaiming anon pages"),
    Column("file_cost", "i8", "lruvec.note_cost", "decaying cost of reclaiming file pages"),
    Column("nonresident_age", "i8", "workingset", "evictions and activations, pages"),
    Column("refaults", "i8", "vmscan", "WORKINGSET_ACTIVATE_* at the last reclaim, anon and file"),
    Column(
        "activations", "i8", "workingset", "WORKINGSET_ACTIVATE_* of the lruvec, here and below"
    ),
    Column("folded_size", "i8", "lruvec.fold", "pages of (lruvec, LRU_*) and below, last folding"),
    Column("folded_activations", "i8", "lruvec.fold", "`activations` at the last folding"),
)
_WIDTHS = {
    "list_head": NR_LRU_LISTS, "lru_size": NR_LRU_LISTS, "refaults": 2, "activations": 2,
    "folded_size": NR_LRU_LISTS, "folded_activations": 2,
}  # fmt: skip


@cython.final
@cython.cclass
class Lruvecs:
    """All lruvecs of a machine."""

    def __init__(
        self, mem: MemMap, zones: Zones, vmstat: VmStat, tunables: Tunables, memcgs: MemcgTable
    ) -> None:
        self.mem = mem
        self.zones = zones
        self.vmstat = vmstat
        self.tunables = tunables
        self.memcgs = memcgs
        self.nr_nodes = zones.nr_nodes
        self.nr_zone_types = zones.nr_types
        self.nr_zone_items = NR_ZONE_ITEMS
        self.nr_node_items = NR_NODE_ITEMS
        self.zone_lru_base = NR_ZONE_INACTIVE_ANON
        self.nr_set_up = 0
        self.folding = 0  # 1: figures of groups are as of the last `fold`; 0: always exact
        # 1 while a fault in an area with recency is served (current->in_lru_fault); fault/ sets it
        self.in_lru_fault = 0
        rows = MAX_MEMCGS * self.nr_nodes
        for column in COLUMNS:
            width = _WIDTHS.get(column.name, 1)
            if column.name == "lru_zone_size":
                width = NR_LRU_LISTS * self.nr_zone_types
            setattr(self, column.name, zeros(rows * width, column.dtype))
        self.gen = LruGen(mem, tunables, rows, self.nr_zone_types)

    @cython.cfunc
    @cython.exceptval(check=False)
    def node_of(self, pfn: cython.int) -> cython.int:
        """NUMA node of a frame."""
        if self.nr_nodes == 1:
            return 0
        return self.zones.zone_of(pfn) // self.nr_zone_types

    @cython.cfunc
    def of(self, memcg: cython.int, node: cython.int) -> cython.int:
        """Number of the lruvec, set up if it was not in use."""
        lruvec: cython.int = memcg * self.nr_nodes + node
        if self.list_head[lruvec * NR_LRU_LISTS] == 0:
            self.set_up(lruvec)
        return lruvec

    @cython.cfunc
    def of_page(self, pfn: cython.int) -> cython.int:
        """Number of the lruvec that a page belongs to."""
        return self.of(self.mem.memcg[pfn], self.node_of(pfn))

    @cython.cfunc
    def set_up(self, lruvec: cython.int) -> cython.void:
        """Make a lruvec's empty lists."""
        lru: cython.int
        for lru in range(NR_LRU_LISTS):
            self.list_head[lruvec * NR_LRU_LISTS + lru] = self.mem.new_head()
        if self.tunables.lru_gen_enabled:
            self.gen.set_up(lruvec, 0)
        if lruvec >= self.nr_set_up:
            self.nr_set_up = lruvec + 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def update_size(
        self, lruvec: cython.int, lru: cython.int, zone_id: cython.int, nr_pages: cython.longlong
    ) -> cython.void:
        """Count pages in or out of a list, its zone's and its node's counters (update_lru_size)."""
        zone_idx: cython.int = zone_id % self.nr_zone_types
        node: cython.int = lruvec % self.nr_nodes
        self.memcgs.nr_stat_updates += nr_pages if nr_pages >= 0 else -nr_pages
        self.lru_size[lruvec * NR_LRU_LISTS + lru] += nr_pages
        self.lru_zone_size[(lruvec * self.nr_zone_types + zone_idx) * NR_LRU_LISTS + lru] += (
            nr_pages
        )
        self.vmstat.node_stat[node * self.nr_node_items + lru] += nr_pages
        self.vmstat.zone_stat[zone_id * self.nr_zone_items + self.zone_lru_base + lru] += nr_pages

    @cython.cfunc
    @cython.exceptval(check=False)
    def list_of(self, flags: cython.longlong) -> cython.int:
        """LRU_* that a page's flags ask for (folio_lru_list)."""
        if flags & PG_UNEVICTABLE:
            return LRU_UNEVICTABLE
        lru: cython.int = LRU_INACTIVE_ANON if flags & PG_SWAPBACKED else LRU_INACTIVE_FILE
        if flags & PG_ACTIVE:
            lru += 1
        return lru

    @cython.cfunc
    @cython.exceptval(check=False)
    def add_folio(self, lruvec: cython.int, pfn: cython.int, side: cython.int) -> cython.void:
        """Put a page on its list, first (HEAD_SIDE) or last; the caller sets PG_LRU."""
        zone_id: cython.int = self.zones.zone_of(pfn)
        flags: cython.longlong = self.mem.flags[pfn]
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        lru: cython.int
        if self.tunables.lru_gen_enabled and not flags & PG_UNEVICTABLE:
            lru = self.gen.add_folio(lruvec, pfn, zone_id % self.nr_zone_types, side)
            self.update_size(lruvec, lru, zone_id, nr_pages)
            return
        lru = self.list_of(flags)
        self.update_size(lruvec, lru, zone_id, nr_pages)
        if lru == LRU_UNEVICTABLE:
            return
        if side == HEAD_SIDE:
            self.mem.list_add(self.list_head[lruvec * NR_LRU_LISTS + lru], pfn)
        else:
            self.mem.list_add_tail(self.list_head[lruvec * NR_LRU_LISTS + lru], pfn)

    @cython.cfunc
    @cython.exceptval(check=False)
    def del_folio(self, lruvec: cython.int, pfn: cython.int) -> cython.void:
        """Take a page off its list; the caller clears PG_LRU."""
        zone_id: cython.int = self.zones.zone_of(pfn)
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        lru: cython.int
        if self.tunables.lru_gen_enabled:
            lru = self.gen.del_folio(lruvec, pfn, zone_id % self.nr_zone_types, 0)
            if lru >= 0:
                self.update_size(lruvec, lru, zone_id, -nr_pages)
                return
        lru = self.list_of(self.mem.flags[pfn])
        if lru != LRU_UNEVICTABLE:
            self.mem.list_del(pfn)
        self.update_size(lruvec, lru, zone_id, -nr_pages)

    @cython.cfunc
    @cython.exceptval(check=False)
    def relist(self, pfn: cython.int, clear: cython.longlong, side: cython.int) -> cython.void:
        """Take a page off its list, clear flags, and put it where its flags now say."""
        lruvec: cython.int = self.of_page(pfn)
        self.del_folio(lruvec, pfn)
        self.mem.flags[pfn] &= ~clear
        self.add_folio(lruvec, pfn, side)

    @cython.ccall
    def size_up_to(
        self, lruvec: cython.int, lru: cython.int, zone_idx: cython.int
    ) -> cython.longlong:
        """Pages of a list in zones 0 .. zone_idx (lruvec_lru_size, v6.1)."""
        size: cython.longlong = 0
        idx: cython.int
        for idx in range(zone_idx + 1):
            if idx < self.nr_zone_types:
                size += self.lru_zone_size[(lruvec * self.nr_zone_types + idx) * NR_LRU_LISTS + lru]
        return size

    @cython.ccall
    def tree_size(self, lruvec: cython.int, lru: cython.int) -> cython.longlong:
        """Pages of a list in the group and all below it, as its statistics say
        (lruvec_page_state).
        """
        if self.folding:
            return self.folded_size[lruvec * NR_LRU_LISTS + lru]
        return self.exact_tree_size(lruvec, lru)

    @cython.ccall
    def activated(self, lruvec: cython.int, is_file: cython.int) -> cython.longlong:
        """WORKINGSET_ACTIVATE_* of the group and all below it, as its statistics say."""
        if self.folding:
            return self.folded_activations[lruvec * 2 + is_file]
        return self.activations[lruvec * 2 + is_file]

    @cython.ccall
    def fold(self) -> cython.int:
        """Bring what the statistics say up to now (cgroup_rstat_flush); 0."""
        lruvec: cython.int
        lru: cython.int
        for lruvec in range(self.nr_set_up):
            if self.list_head[lruvec * NR_LRU_LISTS] == 0:
                continue
            for lru in range(NR_LRU_LISTS):
                self.folded_size[lruvec * NR_LRU_LISTS + lru] = self.exact_tree_size(lruvec, lru)
            self.folded_activations[lruvec * 2] = self.activations[lruvec * 2]
            self.folded_activations[lruvec * 2 + 1] = self.activations[lruvec * 2 + 1]
        return 0

    @cython.cfunc
    def exact_tree_size(self, lruvec: cython.int, lru: cython.int) -> cython.longlong:
        """Pages of a list in the group and all below it, now."""
        memcg: cython.int = lruvec // self.nr_nodes
        node: cython.int = lruvec % self.nr_nodes
        if memcg == 0:
            return self.vmstat.node_page_state(node, lru)
        total: cython.longlong = self.lru_size[lruvec * NR_LRU_LISTS + lru]
        below: cython.int
        for below in range(memcg + 1, self.memcgs.nr):
            # a child's row lies behind its parent's
            if self.memcgs.parent[below] >= memcg and self.memcgs.is_descendant(below, memcg):
                total += self.lru_size[(below * self.nr_nodes + node) * NR_LRU_LISTS + lru]
        return total

    @cython.cfunc
    def note_cost(
        self, lruvec: cython.int, is_file: cython.int, cost: cython.longlong
    ) -> cython.void:
        """Add to the cost of a type, and halve both when they outgrow the lists."""
        # mm/swap.c lru_note_cost(), v6.1; in v6.12 the caller weighs I/O by SWAP_CLUSTER_MAX
        memcg: cython.int = lruvec // self.nr_nodes
        node: cython.int = lruvec % self.nr_nodes
        lru: cython.int
        while memcg >= 0:
            at: cython.int = memcg * self.nr_nodes + node
            if is_file:
                self.file_cost[at] += cost
            else:
                self.anon_cost[at] += cost
            size: cython.longlong = 0
            for lru in range(4):
                size += self.tree_size(at, lru)
            if self.file_cost[at] + self.anon_cost[at] > size // 4:
                self.file_cost[at] = self.file_cost[at] // 2
                self.anon_cost[at] = self.anon_cost[at] // 2
            memcg = self.memcgs.parent[memcg]

    @cython.cfunc
    @cython.exceptval(check=False)
    def age_nonresident(self, lruvec: cython.int, nr_pages: cython.longlong) -> cython.void:
        """One more eviction or activation (mm/workingset.c workingset_age_nonresident(), v6.1)."""
        memcg: cython.int = lruvec // self.nr_nodes
        node: cython.int = lruvec % self.nr_nodes
        while memcg >= 0:
            self.nonresident_age[memcg * self.nr_nodes + node] += nr_pages
            memcg = self.memcgs.parent[memcg]

    def walk(self, memcg: int, node: int, lru: int) -> list[int]:
        """Frames of a classic list, first to last (for verify and tests)."""
        head = self.list_head[(memcg * self.nr_nodes + node) * NR_LRU_LISTS + lru]
        return self.mem.walk(head) if head else []

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of the lruvecs in use, for digests."""
        found: list[tuple[str, object]] = []
        for column in COLUMNS:
            width = _WIDTHS.get(column.name, 1)
            if column.name == "lru_zone_size":
                width = NR_LRU_LISTS * self.nr_zone_types
            found.append((column.name, getattr(self, column.name)[: self.nr_set_up * width]))
        return [*found, *[("gen." + name, value) for name, value in self.gen.columns()]]

    def verify(self) -> None:
        """Every list's length is its size; sizes by zone add up; node counters are their sum."""
        for lruvec in range(self.nr_set_up):
            memcg, node = divmod(lruvec, self.nr_nodes)
            for lru in range(NR_LRU_LISTS):
                size = self.lru_size[lruvec * NR_LRU_LISTS + lru]
                by_zone = self.size_up_to(lruvec, lru, self.nr_zone_types - 1)
                if by_zone != size:
                    raise InternalError(
                        f"lruvec.verify: memcg {memcg} list {lru}: size {size}, by zone {by_zone}"
                    )
                if lru == LRU_UNEVICTABLE or self.tunables.lru_gen_enabled:
                    continue
                pages = self.walk(memcg, node, lru)
                length = sum(1 << self.mem.order[pfn] for pfn in pages)
                if length != size:
                    raise InternalError(
                        f"lruvec.verify: memcg {memcg} list {lru}: size {size}, length {length}"
                    )
                for pfn in pages:
                    if not self.mem.flags[pfn] & PG_LRU or self.mem.memcg[pfn] != memcg:
                        raise InternalError(
                            f"lruvec.verify: frame {pfn} on a list of memcg {memcg} has flags "
                            f"{self.mem.flags[pfn]:#x} and memcg {self.mem.memcg[pfn]}"
                        )
        self._verify_generations()
        for node in range(self.nr_nodes):
            for lru in range(NR_LRU_LISTS):
                total = sum(
                    int(self.lru_size[lruvec * NR_LRU_LISTS + lru])
                    for lruvec in range(node, self.nr_set_up, self.nr_nodes)
                )
                counter = self.vmstat.node_page_state(node, lru)
                if total != counter:
                    raise InternalError(
                        f"lruvec.verify: node {node} counter {lru} is {counter}, lists hold {total}"
                    )

    def _verify_generations(self) -> None:
        if not self.tunables.lru_gen_enabled:
            return
        per_lruvec = 8 * self.nr_zone_types
        for lruvec in range(self.nr_set_up):
            counted = [0] * per_lruvec
            base = lruvec * per_lruvec
            for row in range(per_lruvec):
                head = self.gen.gen_head[base + row]
                for pfn in self.mem.walk(head) if head else []:
                    # promoted pages keep their place on an older list until eviction sorts them
                    gen_type = row // self.nr_zone_types % 2
                    at = self.gen.at(0, self.gen.gen_of(pfn), gen_type, row % self.nr_zone_types)
                    counted[at] += 1 << self.mem.order[pfn]
            for row in range(per_lruvec):
                if counted[row] != self.gen.gen_pages[base + row]:
                    raise InternalError(
                        f"lruvec.verify: generation row {base + row} counts "
                        f"{self.gen.gen_pages[base + row]}, {counted[row]} pages say so"
                    )
            size = sum(int(self.lru_size[lruvec * NR_LRU_LISTS + lru]) for lru in range(4))
            if sum(counted) != size:
                raise InternalError(
                    f"lruvec.verify: lruvec {lruvec}: size {size}, generations hold {sum(counted)}"
                )
