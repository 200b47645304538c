"""Owns what becomes of one isolated page: freed, kept or activated (shrink_folio_list).

Imports address_space/rmap, page_cache, swap, memcg, page and the reclaim room below vmscan. Has
never heard of how many pages to look at. Rules: mm/vmscan.c shrink_folio_list(), v6.1; v6.12 where
it differs.

A page comes isolated: off its list, PG_LRU clear, one reference held by reclaim. It leaves freed,
or in `kept` (in order) for the caller to put back.
"""

from __future__ import annotations

import cython

from memtwin.address_space.huge_split import HugeSplit
from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vm_flags import VM_EXEC, VM_LOCKED
from memtwin.columns import zeros
from memtwin.hardware.clock import STALL_RECLAIM, Clock
from memtwin.hardware.cost import CostTable
from memtwin.hardware.pte import HPAGE_PAGES
from memtwin.memcg.charge import Charge
from memtwin.memcg.constants import CGROUP_V1
from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import (
    PG_ACTIVE,
    PG_ANON,
    PG_DIRTY,
    PG_HEAD,
    PG_LOCKED,
    PG_MLOCKED,
    PG_PRIVATE,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_SWAPBACKED,
    PG_SWAPCACHE,
    PG_WRITEBACK,
)
from memtwin.page.gfp import GFP_FS, GFP_IO
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    NR_VMSCAN_IMMEDIATE_RECLAIM,
    NR_VMSCAN_WRITE,
    PGACTIVATE,
    PGLAZYFREED,
    THP_SPLIT_PAGE,
    THP_SWPOUT,
    THP_SWPOUT_FALLBACK,
)
from memtwin.page_cache.buffer_head import BufferHeads
from memtwin.page_cache.constants import SHMEM
from memtwin.page_cache.mapping import Mapping
from memtwin.page_cache.page_cache import PageCache
from memtwin.reclaim.constants import (
    FOLIO_ACTIVATED,
    FOLIO_FREED,
    FOLIO_KEPT,
    FOLIO_SPLIT,
    FOLIOREF_ACTIVATE,
    FOLIOREF_KEEP,
    FOLIOREF_RECLAIM,
    FOLIOREF_RECLAIM_CLEAN,
    MAX_ISOLATED,
)
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.mglru_walk import MglruWalk
from memtwin.reclaim.scan_control import ScanControl
from memtwin.reclaim.swap_io import SwapIo
from memtwin.reclaim.workingset import Workingset
from memtwin.swap.swap import Swap


@cython.final
@cython.cclass
class FolioReclaim:
    """Decides and carries out, page by page."""

    def __init__(
        self, lru: Lru, rmap: Rmap, page_cache: PageCache, buffer_heads: BufferHeads, swap: Swap,
        swap_io: SwapIo, folio_io: FolioIo, workingset: Workingset, walk: MglruWalk, clock: Clock,
        cost: CostTable,
    ) -> None:  # fmt: skip
        self.lru = lru
        self.mem: MemMap = lru.mem
        self.vmstat: VmStat = lru.vmstat
        self.tunables: Tunables = lru.tunables
        self.charge: Charge = lru.charge
        self.memcgs: MemcgTable = lru.charge.table
        self.page_alloc: PageAlloc = lru.page_alloc
        self.rmap = rmap
        self.page_cache = page_cache
        self.buffer_heads = buffer_heads
        self.swap = swap
        self.swap_io = swap_io
        self.folio_io = folio_io
        self.workingset = workingset
        self.walk = walk
        self.clock = clock
        self.cost = cost
        self.huge_split = HugeSplit(rmap, lru.vmstat)
        self.node_writeback = zeros(lru.lruvecs.nr_nodes, "i4")  # PGDAT_WRITEBACK, 0 or 1
        self.node_dirty = zeros(lru.lruvecs.nr_nodes, "i4")  # PGDAT_DIRTY, 0 or 1
        self.isolated = zeros(MAX_ISOLATED, "i4")  # handed in: frames in the order of scanning
        self.nr_isolated = 0
        self.kept = zeros(MAX_ISOLATED, "i4")  # handed back, in the order of scanning
        self.nr_kept = 0
        self.freed = zeros(MAX_ISOLATED, "i4")
        self.nr_freed = 0
        self.clear_stat()

    @cython.cfunc
    @cython.exceptval(check=False)
    def clear_stat(self) -> cython.void:
        """Forget the tally of one list (struct reclaim_stat)."""
        self.nr_dirty = 0
        self.nr_unqueued_dirty = 0
        self.nr_congested = 0
        self.nr_writeback = 0
        self.nr_immediate = 0
        self.nr_pageout = 0
        self.nr_activate_anon = 0
        self.nr_activate_file = 0
        self.nr_ref_keep = 0
        self.nr_unmap_fail = 0
        self.nr_lazyfree_fail = 0

    @cython.cfunc
    def shrink_folio_list(
        self, sc: ScanControl, node: cython.int, ignore_references: cython.int
    ) -> cython.longlong:
        """Deal with `isolated`; pages freed. The rest is in `kept`, flags saying where it goes."""
        self.clear_stat()
        self.nr_kept = 0
        self.nr_freed = 0
        nr_reclaimed: cython.longlong = 0
        i: cython.int
        pfn: cython.int
        verdict: cython.int
        nr_pages: cython.longlong
        i = 0
        # only a huge page that is taken apart adds pages, and it adds them behind `i`
        while i < self.nr_isolated:
            pfn = self.isolated[i]
            i += 1
            nr_pages = 1
            nr_pages = nr_pages << self.mem.order[pfn]
            if self.mem.flags[pfn] & PG_LOCKED:
                # under read: someone else holds the lock (folio_trylock fails)
                self.keep(pfn)
                continue
            sc.nr_scanned += nr_pages
            verdict = self.shrink_folio(pfn, sc, node, ignore_references, nr_pages)
            if verdict == FOLIO_FREED:
                nr_reclaimed += nr_pages
                continue
            if verdict == FOLIO_SPLIT:
                sc.nr_scanned -= nr_pages  # its pieces are looked at one by one
                continue
            if verdict == FOLIO_ACTIVATED:
                self.activate_locked(pfn, nr_pages)
            self.keep(pfn)
        self.vmstat.count(PGACTIVATE, self.nr_activate_anon + self.nr_activate_file)
        self.free_the_freed()
        nr_looked: cython.longlong = self.nr_isolated
        self.clock.charge_stall(nr_looked * self.cost.scan_page_ns, STALL_RECLAIM)
        self.nr_isolated = 0
        return nr_reclaimed

    @cython.cfunc
    @cython.exceptval(check=False)
    def keep(self, pfn: cython.int) -> cython.void:
        """The page goes back to a list."""
        self.kept[self.nr_kept] = pfn
        self.nr_kept += 1

    @cython.cfunc
    def free_the_freed(self) -> cython.void:
        """Uncharge and free what this list gave (mem_cgroup_uncharge_list, free_unref_page_list).
        """
        i: cython.int
        pfn: cython.int
        nr: cython.int = self.nr_freed
        for i in range(nr):
            # v6.1 gathers on a list from which the last comes first; v6.12 batches in order
            pfn = self.freed[i if self.tunables.kernel >= 612 else nr - 1 - i]
            self.lru.release(pfn)
        self.nr_freed = 0

    @cython.cfunc
    def activate_locked(self, pfn: cython.int, nr_pages: cython.longlong) -> cython.void:
        """The page is spared: its slot may go, and it joins the active list unless mlocked."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_SWAPCACHE and (self.swap_is_full(pfn) or flags & PG_MLOCKED):
            self.swap.folio_free_swap(pfn)
        if flags & PG_MLOCKED:
            return
        self.mem.flags[pfn] |= PG_ACTIVE
        if flags & PG_SWAPBACKED:
            self.nr_activate_anon += nr_pages
        else:
            self.nr_activate_file += nr_pages
        self.memcgs.count_event(self.mem.memcg[pfn], PGACTIVATE, nr_pages)

    @cython.cfunc
    def swap_is_full(self, pfn: cython.int) -> cython.int:
        """mem_cgroup_swap_full: the machine or the page's group used half of its swap."""
        if self.swap.vm_swap_full():
            return 1
        return self.charge.swap_full(self.mem.memcg[pfn])

    @cython.cfunc
    @cython.exceptval(check=False)
    def writeback_throttling_sane(self, sc: ScanControl) -> cython.int:
        """0 for reclaim of a v1 group, which balance_dirty_pages does not throttle."""
        return 0 if sc.target_memcg > 0 and self.memcgs.version == CGROUP_V1 else 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def may_enter_fs(self, pfn: cython.int, gfp: cython.int) -> cython.int:
        """1 when the caller may wait for the page's owner."""
        if gfp & GFP_FS:
            return 1
        return 1 if self.mem.flags[pfn] & PG_SWAPCACHE and gfp & GFP_IO else 0

    @cython.cfunc
    def shrink_folio(
        self, pfn: cython.int, sc: ScanControl, node: cython.int, ignore_references: cython.int,
        nr_pages: cython.longlong,
    ) -> cython.int:  # fmt: skip
        """One page's pass: FOLIO_FREED, FOLIO_KEPT or FOLIO_ACTIVATED."""
        flags: cython.longlong = self.mem.flags[pfn]
        references: cython.int = FOLIOREF_RECLAIM
        if flags & PG_MLOCKED:
            return FOLIO_ACTIVATED
        if not sc.may_unmap and self.is_mapped(pfn):
            return FOLIO_KEPT
        if self.tunables.lru_gen_enabled and not ignore_references:
            if flags & PG_REFERENCED and self.is_mapped(pfn):
                return FOLIO_KEPT
        self.note_dirty(pfn, flags, nr_pages)
        if flags & PG_WRITEBACK:
            if not self.meet_writeback(pfn, sc, node, nr_pages):
                return FOLIO_ACTIVATED
        if not ignore_references:
            references = self.folio_check_references(pfn, sc)
            if references == FOLIOREF_ACTIVATE:
                return FOLIO_ACTIVATED
            if references == FOLIOREF_KEEP:
                self.nr_ref_keep += nr_pages
                return FOLIO_KEPT
        entry: cython.longlong = 0
        flags = self.mem.flags[pfn]
        if flags & PG_ANON and flags & PG_SWAPBACKED:
            if not flags & PG_SWAPCACHE:
                if not sc.gfp & GFP_IO:
                    return FOLIO_KEPT
                if flags & PG_HEAD:
                    return self.take_apart(pfn)
                if self.mem.refcount[pfn] == 1 and self.mem.mapcount[pfn] == 0:
                    return self.free(pfn)  # a piece that was unmapped before
                if not self.add_to_swap(pfn):
                    return FOLIO_ACTIVATED
            entry = self.mem.private[pfn]
        if self.is_mapped(pfn) and not self.unmap(pfn, entry, nr_pages):
            return FOLIO_ACTIVATED
        if self.mem.flags[pfn] & PG_DIRTY:
            verdict: cython.int = self.write_dirty(pfn, sc, node, references, nr_pages)
            if verdict != FOLIO_FREED:
                return verdict
        if self.mem.flags[pfn] & PG_PRIVATE and not self.buffer_heads.try_to_free(pfn):
            return FOLIO_ACTIVATED
        return self.remove_mapping(pfn, sc, nr_pages)

    @cython.cfunc
    @cython.exceptval(check=False)
    def is_mapped(self, pfn: cython.int) -> cython.int:
        """1 when page tables map the page (or, for a huge page, may)."""
        return 1 if self.mem.mapcount[pfn] > 0 or self.mem.flags[pfn] & PG_HEAD else 0

    @cython.cfunc
    def take_apart(self, head: cython.int) -> cython.int:
        """Put the 512 pieces of a huge page behind what is isolated: FOLIO_SPLIT, or ACTIVATED."""
        # mm/vmscan.c shrink_folio_list(), v6.1. MODEL: one that is mapped whole goes to swap whole,
        # to a free cluster; here its pieces go one by one, which moves and counts the same pages
        whole: cython.int = self.mem.private[head + 1] > 0
        i: cython.int
        if self.nr_isolated + HPAGE_PAGES > MAX_ISOLATED or not self.huge_split.part(head):
            return FOLIO_ACTIVATED
        for i in range(HPAGE_PAGES):
            self.isolated[self.nr_isolated + i] = head + i
        self.nr_isolated += HPAGE_PAGES
        if whole and self.swap.has_free_cluster():
            self.vmstat.count(THP_SWPOUT, 1)
            return FOLIO_SPLIT
        self.vmstat.count(THP_SPLIT_PAGE, 1)
        if whole:
            self.vmstat.count(THP_SWPOUT_FALLBACK, 1)
        return FOLIO_SPLIT

    @cython.cfunc
    @cython.exceptval(check=False)
    def note_dirty(
        self, pfn: cython.int, flags: cython.longlong, nr_pages: cython.longlong
    ) -> cython.void:
        """Tally dirty file pages (folio_check_dirty_writeback: never anonymous ones)."""
        if flags & (PG_SWAPBACKED | PG_ANON):
            return
        # DIFFERS: a page whose buffers alone are under writeback is not seen as such; blocks of
        # metadata have no writeback state of their own here; bends throttling on their writeback
        if flags & (PG_DIRTY | PG_WRITEBACK):
            self.nr_dirty += nr_pages
        if flags & PG_DIRTY and not flags & PG_WRITEBACK:
            self.nr_unqueued_dirty += nr_pages
        if flags & PG_WRITEBACK and flags & PG_RECLAIM:
            self.nr_congested += nr_pages

    @cython.cfunc
    def meet_writeback(
        self, pfn: cython.int, sc: ScanControl, node: cython.int, nr_pages: cython.longlong
    ) -> cython.int:
        """A page under writeback: 1 when it was waited for (v1 groups) and reclaim may go on."""
        flags: cython.longlong = self.mem.flags[pfn]
        if sc.is_kswapd and flags & PG_RECLAIM and self.node_writeback[node]:
            self.nr_immediate += nr_pages
            return 0
        if (
            self.writeback_throttling_sane(sc)
            or not flags & PG_RECLAIM
            or not self.may_enter_fs(pfn, sc.gfp)
        ):
            self.mem.flags[pfn] |= PG_RECLAIM
            self.nr_writeback += nr_pages
            return 0
        self.folio_io.wait_on_writeback(pfn, STALL_RECLAIM)
        return 1

    @cython.cfunc
    def folio_check_references(self, pfn: cython.int, sc: ScanControl) -> cython.int:
        """Second chance: FOLIOREF_* from page table and flag references."""
        # mm/vmscan.c folio_check_references(), v6.1
        referenced: cython.int = 0
        self.rmap.vm_flags = 0
        if self.is_mapped(pfn):
            if self.tunables.lru_gen_enabled:
                referenced = self.walk.folio_referenced(pfn, sc.target_memcg)
            else:
                referenced = self.rmap.folio_referenced(pfn, sc.target_memcg)
        flags: cython.longlong = self.mem.flags[pfn]
        self.mem.flags[pfn] = flags & ~PG_REFERENCED
        if self.rmap.vm_flags & VM_LOCKED:
            # DIFFERS: the page is not mlocked here (mlock_vma_folio); the fault room locks what it
            # maps; bends nothing but pages that a lock missed, which stay active instead
            return FOLIOREF_ACTIVATE
        if referenced > 0:
            self.mem.flags[pfn] |= PG_REFERENCED
            if flags & PG_REFERENCED or referenced > 1:
                return FOLIOREF_ACTIVATE
            if self.rmap.vm_flags & VM_EXEC and not flags & PG_SWAPBACKED:
                return FOLIOREF_ACTIVATE
            return FOLIOREF_KEEP
        if flags & PG_REFERENCED and not flags & PG_SWAPBACKED:
            return FOLIOREF_RECLAIM_CLEAN
        return FOLIOREF_RECLAIM

    @cython.cfunc
    def add_to_swap(self, pfn: cython.int) -> cython.int:
        """Give an anonymous page a slot and put it into the swap cache, dirty; 0 without slot."""
        # mm/swap_state.c add_to_swap(), v6.1
        entry: cython.longlong = self.swap.get_swap_page(pfn)
        if entry == 0:
            return 0
        self.clock.spend(self.cost.swap_slot_ns)
        self.swap.add_to_swap_cache(pfn, entry)
        self.mem.flags[pfn] |= PG_DIRTY
        return 1

    @cython.cfunc
    def unmap(
        self, pfn: cython.int, entry: cython.longlong, nr_pages: cython.longlong
    ) -> cython.int:
        """Take the page out of all page tables; 0 when it stays mapped somewhere."""
        was_swapbacked: cython.longlong = self.mem.flags[pfn] & PG_SWAPBACKED
        self.rmap.try_to_unmap(pfn, entry)
        if entry != 0 and self.rmap.nr_unmapped > 0:
            self.swap.swap_duplicate(entry, self.rmap.nr_unmapped)
        if self.mem.mapcount[pfn] == 0:
            return 1
        self.nr_unmap_fail += nr_pages
        if not was_swapbacked and self.mem.flags[pfn] & PG_SWAPBACKED:
            self.nr_lazyfree_fail += nr_pages
        return 0

    @cython.cfunc
    def write_dirty(
        self, pfn: cython.int, sc: ScanControl, node: cython.int, references: cython.int,
        nr_pages: cython.longlong,
    ) -> cython.int:  # fmt: skip
        """A dirty, unmapped page: FOLIO_FREED means clean by now, go on freeing it."""
        flags: cython.longlong = self.mem.flags[pfn]
        memcg: cython.int = self.mem.memcg[pfn]
        if not flags & PG_SWAPBACKED:
            if flags & PG_ANON:
                return FOLIO_FREED  # lazily freed: remove_mapping sees whether it is dirty
            if not (sc.is_kswapd and flags & PG_RECLAIM and self.node_dirty[node]):
                self.vmstat.mod_node(node, NR_VMSCAN_IMMEDIATE_RECLAIM, nr_pages)
                self.mem.flags[pfn] |= PG_RECLAIM
                return FOLIO_ACTIVATED
            # DIFFERS: kswapd never writes file pages itself; ext4 refuses to allocate delayed
            # blocks there, so the kernel seldom succeeds; bends file writes when the flusher is
            # far behind
            return FOLIO_KEPT
        if references == FOLIOREF_RECLAIM_CLEAN:
            return FOLIO_KEPT
        if not self.may_enter_fs(pfn, sc.gfp) or not sc.may_writepage:
            return FOLIO_KEPT
        # is_page_cache_freeable: nobody but the cache, reclaim and buffer heads holds it
        if self.mem.refcount[pfn] != 2:
            return FOLIO_KEPT
        self.mem.flags[pfn] = (flags & ~PG_DIRTY) | PG_RECLAIM
        if not flags & PG_SWAPCACHE and not self.shmem_to_swap_cache(pfn):
            self.mem.flags[pfn] = (self.mem.flags[pfn] | PG_DIRTY) & ~PG_RECLAIM
            return FOLIO_ACTIVATED
        self.swap_io.swap_writepage(pfn)
        if not self.mem.flags[pfn] & PG_WRITEBACK:
            self.mem.flags[pfn] &= ~PG_RECLAIM
        self.memcgs.mod_stat(memcg, NR_VMSCAN_WRITE, nr_pages)
        self.vmstat.mod_node(node, NR_VMSCAN_WRITE, nr_pages)
        self.nr_pageout += nr_pages
        if self.mem.flags[pfn] & (PG_WRITEBACK | PG_DIRTY):
            return FOLIO_KEPT
        return FOLIO_FREED

    @cython.cfunc
    def shmem_to_swap_cache(self, pfn: cython.int) -> cython.int:
        """A shared memory page moves from its mapping to the swap cache; 0 without slot."""
        # mm/shmem.c shmem_writepage(), v6.1
        if self.swap.total_swap_pages == 0:
            return 0
        entry: cython.longlong = self.swap.get_swap_page(pfn)
        if entry == 0:
            return 0
        mapping: Mapping = self.page_cache.mappings[self.mem.mapping[pfn]]
        self.swap.add_to_swap_cache(pfn, entry)
        self.swap.swap_duplicate(entry, 1)
        self.page_cache.replace_by_swap(mapping, self.mem.index[pfn], entry)
        return 1

    @cython.cfunc
    def remove_mapping(
        self, pfn: cython.int, sc: ScanControl, nr_pages: cython.longlong
    ) -> cython.int:
        """Take a clean, unmapped page out of its cache, leaving a shadow: FOLIO_FREED or
        FOLIO_KEPT.
        """
        # mm/vmscan.c __remove_mapping(), v6.1
        flags: cython.longlong = self.mem.flags[pfn]
        shadow: cython.longlong = 0
        if flags & PG_ANON and not flags & PG_SWAPBACKED:
            if self.mem.refcount[pfn] != 1:
                return FOLIO_KEPT
            self.vmstat.count(PGLAZYFREED, nr_pages)
            self.memcgs.count_event(self.mem.memcg[pfn], PGLAZYFREED, nr_pages)
            return self.free(pfn)
        if flags & PG_SWAPCACHE:
            if self.mem.refcount[pfn] != 2 or flags & PG_DIRTY:
                return FOLIO_KEPT
            shadow = self.workingset.workingset_eviction(pfn, sc.target_memcg)
            memcg: cython.int = self.charge.swapout(pfn)
            if memcg > 0:
                self.swap.record_slot(self.mem.private[pfn], memcg)
            self.swap.delete_from_swap_cache(pfn, shadow)
            return self.free(pfn)
        if self.mem.mapping[pfn] == 0 or flags & PG_ANON:
            # no cache holds it: gone when reclaim's reference was the last
            return self.free(pfn) if self.mem.refcount[pfn] == 1 else FOLIO_KEPT
        if self.mem.refcount[pfn] != 2 or flags & PG_DIRTY:
            return FOLIO_KEPT
        mapping: Mapping = self.page_cache.mappings[self.mem.mapping[pfn]]
        if mapping.kind != SHMEM:
            shadow = self.workingset.workingset_eviction(pfn, sc.target_memcg)
        self.page_cache.delete_from_page_cache(mapping, self.mem.index[pfn], shadow)
        return self.free(pfn)

    @cython.cfunc
    @cython.exceptval(check=False)
    def free(self, pfn: cython.int) -> cython.int:
        """Reclaim's reference was the last: the page is freed with its list. FOLIO_FREED."""
        self.mem.refcount[pfn] = 0
        self.freed[self.nr_freed] = pfn
        self.nr_freed += 1
        return FOLIO_FREED
