"""Owns refault detection: the shadow an evicted page leaves, and what its return means.

Imports page, memcg, swap counts and the lists. Knows nothing of where shadows are kept: page cache
slots and swap slots keep the number, and hand it back.
"""

from __future__ import annotations

import cython

from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import (
    LRU_ACTIVE_ANON,
    LRU_ACTIVE_FILE,
    LRU_INACTIVE_ANON,
    LRU_INACTIVE_FILE,
    LRU_REFS_MASK,
    PG_ACTIVE,
    PG_SWAPBACKED,
    PG_WORKINGSET,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat_items import (
    WORKINGSET_ACTIVATE_ANON,
    WORKINGSET_REFAULT_ANON,
    WORKINGSET_RESTORE_ANON,
)
from memtwin.reclaim.constants import EVICTION_BITS, SWAP_CLUSTER_MAX
from memtwin.reclaim.lru_gen import LruGen
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.stat_fold import StatFold
from memtwin.swap.swap import Swap


@cython.final
@cython.cclass
class Workingset:
    """Packs, unpacks and judges shadows."""

    def __init__(
        self, mem: MemMap, lruvecs: Lruvecs, memcgs: MemcgTable, swap: Swap, tunables: Tunables
    ) -> None:
        self.mem = mem
        self.lruvecs = lruvecs
        self.gen: LruGen = lruvecs.gen
        self.memcgs = memcgs
        self.swap = swap
        self.tunables = tunables
        self.stat_fold: StatFold | None = None  # None: statistics are always exact

    @cython.cfunc
    @cython.exceptval(check=False)
    def pack(
        self, memcg: cython.longlong, node: cython.int, age: cython.longlong, workingset: cython.int
    ) -> cython.longlong:
        """A shadow."""
        one: cython.longlong = 1
        shadow: cython.longlong = age & ((one << EVICTION_BITS) - 1)
        shadow = (shadow << 12) | memcg
        shadow = (shadow << 6) | node
        return (one << 60) | (shadow << 1) | workingset

    @cython.ccall
    def workingset_eviction(self, pfn: cython.int, target_memcg: cython.int) -> cython.longlong:
        """The shadow (> 0) of a page that reclaim on behalf of `target_memcg` (-1: the machine)
        evicts.
        """
        node: cython.int = self.lruvecs.node_of(pfn)
        if self.tunables.lru_gen_enabled:
            return self.gen_eviction(pfn, node)
        memcg: cython.int = target_memcg if target_memcg > 0 else 0
        lruvec: cython.int = self.lruvecs.of(memcg, node)
        age: cython.longlong = self.lruvecs.nonresident_age[lruvec]
        nr_pages: cython.longlong = 1
        self.lruvecs.age_nonresident(lruvec, nr_pages << self.mem.order[pfn])
        workingset: cython.int = 1 if self.mem.flags[pfn] & PG_WORKINGSET else 0
        return self.pack(memcg, node, age, workingset)

    @cython.ccall
    def workingset_refault(self, pfn: cython.int, shadow: cython.longlong) -> cython.int:
        """Judge the return of a page, already charged, not yet on a list; 1 when it was activated.
        """
        # mm/workingset.c workingset_refault(), v6.1 and v6.12
        one: cython.longlong = 1
        age_mask: cython.longlong = (one << EVICTION_BITS) - 1
        workingset: cython.int = shadow & 1
        node: cython.int = (shadow >> 1) & 63
        evicting: cython.int = (shadow >> 7) & 4095
        evicted_at: cython.longlong = (shadow >> 19) & age_mask
        if self.tunables.lru_gen_enabled:
            return self.gen_refault(pfn, evicting, node, evicted_at, workingset)
        if evicting > 0 and not self.memcgs.online[evicting]:
            return 0
        is_file: cython.int = 0 if self.mem.flags[pfn] & PG_SWAPBACKED else 1
        memcg: cython.int = self.mem.memcg[pfn]
        at: cython.int = self.lruvecs.of(evicting, node)
        lruvec: cython.int = self.lruvecs.of(memcg, node)
        distance: cython.longlong = (self.lruvecs.nonresident_age[at] - evicted_at) & age_mask
        nr_pages: cython.longlong = one << self.mem.order[pfn]
        self.memcgs.mod_lruvec_page_state(pfn, node, WORKINGSET_REFAULT_ANON + is_file, nr_pages)
        if self.stat_fold is not None:
            self.stat_fold.before_refault()
        if distance > self.workingset_size(at, memcg, is_file):
            return 0
        self.mem.flags[pfn] |= PG_ACTIVE
        self.lruvecs.age_nonresident(lruvec, nr_pages)
        self.count_activation(pfn, node, is_file, nr_pages)
        if workingset:
            self.mem.flags[pfn] |= PG_WORKINGSET
            cost: cython.longlong = nr_pages
            if self.tunables.kernel >= 612:
                cost = nr_pages * SWAP_CLUSTER_MAX
            self.lruvecs.note_cost(lruvec, is_file, cost)
            self.memcgs.mod_lruvec_page_state(
                pfn, node, WORKINGSET_RESTORE_ANON + is_file, nr_pages
            )
        return 1

    @cython.cfunc
    def workingset_size(
        self, lruvec: cython.int, memcg: cython.int, is_file: cython.int
    ) -> cython.longlong:
        """Pages that a returning page could have displaced, had it stayed."""
        size: cython.longlong = self.lruvecs.tree_size(lruvec, LRU_ACTIVE_FILE)
        if not is_file:
            size += self.lruvecs.tree_size(lruvec, LRU_INACTIVE_FILE)
        if self.swap.charge.nr_swap_pages(memcg, self.swap.nr_swap_pages) > 0:
            size += self.lruvecs.tree_size(lruvec, LRU_ACTIVE_ANON)
            if is_file:
                size += self.lruvecs.tree_size(lruvec, LRU_INACTIVE_ANON)
        return size

    @cython.cfunc
    def count_activation(
        self, pfn: cython.int, node: cython.int, is_file: cython.int, nr_pages: cython.longlong
    ) -> cython.void:
        """WORKINGSET_ACTIVATE_*, here and in every group above (what shrink_node compares)."""
        self.memcgs.mod_lruvec_page_state(pfn, node, WORKINGSET_ACTIVATE_ANON + is_file, nr_pages)
        memcg: cython.int = self.mem.memcg[pfn]
        while memcg >= 0:
            lruvec: cython.int = self.lruvecs.of(memcg, node)
            self.lruvecs.activations[lruvec * 2 + is_file] += nr_pages
            memcg = self.memcgs.parent[memcg]

    # -- multi-gen LRU -------------------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(check=False)
    def tier_of(self, refs: cython.int) -> cython.int:
        """Tier of a page with that many accesses (order_base_2(refs + 1))."""
        if refs == 0:
            return 0
        if refs == 1:
            return 1
        return 2 if refs <= 3 else 3

    @cython.cfunc
    def gen_eviction(self, pfn: cython.int, node: cython.int) -> cython.longlong:
        """mm/workingset.c lru_gen_eviction(), v6.12: the generation and the accesses are the age.
        """
        memcg: cython.int = self.mem.memcg[pfn]
        lruvec: cython.int = self.lruvecs.of(memcg, node)
        flags: cython.longlong = self.mem.flags[pfn]
        gen_type: cython.int = 0 if flags & PG_SWAPBACKED else 1
        refs: cython.int = self.gen.refs_of(flags)
        oldest: cython.longlong = self.gen.min_seq[lruvec * 2 + gen_type]
        nr_pages: cython.longlong = 1
        # NR_HIST_GENS is 1 without debugging: all generations share one history
        self.gen.evicted[(lruvec * 2 + gen_type) * 4 + self.tier_of(refs)] += (
            nr_pages << self.mem.order[pfn]
        )
        token: cython.longlong = (oldest << 2) | (refs - 1 if refs > 0 else 0)
        return self.pack(memcg, node, token, 1 if refs > 0 else 0)

    @cython.cfunc
    def gen_refault(
        self, pfn: cython.int, evicting: cython.int, node: cython.int, token: cython.longlong,
        workingset: cython.int,
    ) -> cython.int:  # fmt: skip
        """mm/workingset.c lru_gen_refault(), v6.12; v6.1 counts refaults of the oldest generation
        only.
        """
        gen_type: cython.int = 0 if self.mem.flags[pfn] & PG_SWAPBACKED else 1
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        lruvec: cython.int = self.lruvecs.of(evicting, node)
        if lruvec != self.lruvecs.of_page(pfn):
            return 0
        one: cython.longlong = 1
        seq_mask: cython.longlong = (one << (EVICTION_BITS - 2)) - 1
        recent: cython.int = 0
        if token >> 2 == self.gen.min_seq[lruvec * 2 + gen_type] & seq_mask:
            recent = 1
        counted: cython.int = 1 if recent or self.tunables.kernel >= 612 else 0
        if counted:
            self.memcgs.mod_lruvec_page_state(
                pfn, node, WORKINGSET_REFAULT_ANON + gen_type, nr_pages
            )
        if not recent:
            return 0
        refs: cython.int = (token & 3) + workingset
        self.gen.refaulted[(lruvec * 2 + gen_type) * 4 + self.tier_of(refs)] += nr_pages
        if self.tunables.kernel >= 612:
            self.memcgs.mod_lruvec_page_state(
                pfn, node, WORKINGSET_ACTIVATE_ANON + gen_type, nr_pages
            )
        if self.lruvecs.in_lru_fault or refs >= 3:
            self.mem.flags[pfn] |= LRU_REFS_MASK | PG_WORKINGSET
            self.memcgs.mod_lruvec_page_state(
                pfn, node, WORKINGSET_RESTORE_ANON + gen_type, nr_pages
            )
        return 0
