"""Owns shared anonymous memory: objects whose pages live in the page cache and leave it for swap.

Imports reclaim (swapin_readahead, folio_io), swap, page_cache, file_io (cache_pages, invalidate).
Has never heard of areas or page tables. A slot of an object holds a page or a swap entry; reclaim
moves pages out (shmem_writepage()), a fault here brings them back.
"""

from __future__ import annotations

import cython

from memtwin.errors import require
from memtwin.file_io.cache_pages import CachePages
from memtwin.file_io.constants import VM_FAULT_MAJOR, VM_FAULT_OOM, VM_FAULT_SIGBUS
from memtwin.file_io.invalidate import Invalidate
from memtwin.hardware.clock import STALL_SWAP_IN, Clock
from memtwin.hardware.cost import CostTable
from memtwin.page.flags import (
    PG_DIRTY,
    PG_LOCKED,
    PG_SWAPBACKED,
    PG_SWAPCACHE,
    PG_UPTODATE,
    PG_WRITEBACK,
)
from memtwin.page.gfp import GFP_HIGHUSER_MOVABLE, NEED_OOM
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat_items import PGMAJFAULT
from memtwin.page_cache.constants import SHMEM
from memtwin.page_cache.mapping import Mapping
from memtwin.page_cache.page_cache import PageCache
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.swapin_readahead import SwapIn
from memtwin.swap.swap import Swap
from memtwin.units import NIL


@cython.final
@cython.cclass
class Shmem:
    """All shmem objects of a machine; an object is named by its mapping's id."""

    def __init__(
        self,
        pages: CachePages,
        invalidate: Invalidate,
        folio_io: FolioIo,
        swap: Swap,
        swap_in: SwapIn,
    ) -> None:
        self.pages = pages
        self.mem: MemMap = pages.mem
        self.page_cache: PageCache = pages.page_cache
        self.lru: Lru = pages.lru
        self.invalidate = invalidate
        self.folio_io = folio_io
        self.swap = swap
        self.swap_in = swap_in
        self.clock: Clock = folio_io.clock
        self.cost: CostTable = folio_io.cost
        self.fault_pfn = NIL

    @cython.ccall
    def create(self, size_bytes: cython.longlong) -> cython.int:
        """A new object of that size, empty: its mapping's id. shmem_zero_setup(), v6.12."""
        return self.page_cache.new_mapping(0, SHMEM, size_bytes)

    @cython.ccall
    def fault(
        self, mapping_id: cython.int, index: cython.longlong, memcg_id: cython.int
    ) -> cython.int:
        """A fault on page `index`: VM_FAULT_* bits, and `fault_pfn` (no reference) unless OOM or
        SIGBUS.

        mm/shmem.c shmem_fault(), shmem_get_folio_gfp(), v6.12.
        """
        mapping: Mapping = self.page_cache.mapping(mapping_id)
        self.fault_pfn = NIL
        if index >= mapping.end_index():
            return VM_FAULT_SIGBUS
        entry: cython.longlong = mapping.slot(index)
        verdict: cython.int = 0
        pfn: cython.int
        if entry > 0:
            pfn = cython.cast(cython.int, entry - 1)
            if self.mem.flags[pfn] & PG_LOCKED:
                self.folio_io.wait_on_folio(pfn, STALL_SWAP_IN)
        else:
            saved: cython.int = self.pages.memcg_id
            self.pages.memcg_id = memcg_id
            if entry < 0:
                verdict = VM_FAULT_MAJOR
                pfn = self._swapin(mapping, index, -entry, memcg_id)
            else:
                pfn = self._new_page(mapping, index)
            self.pages.memcg_id = saved
            if pfn < 0:
                return VM_FAULT_OOM
        self.fault_pfn = pfn
        return verdict

    @cython.cfunc
    def _new_page(self, mapping: Mapping, index: cython.longlong) -> cython.int:
        """A page of zeros: pfn or NEED_OOM."""
        pfn: cython.int = self.pages.add_new(mapping, index, GFP_HIGHUSER_MOVABLE)
        if pfn < 0:
            return NEED_OOM
        self.clock.spend(self.cost.clear_page_ns)
        self.mem.flags[pfn] = (self.mem.flags[pfn] | PG_UPTODATE | PG_SWAPBACKED) & ~PG_LOCKED
        return pfn

    @cython.cfunc
    def _swapin(
        self,
        mapping: Mapping,
        index: cython.longlong,
        entry: cython.longlong,
        memcg_id: cython.int,
    ) -> cython.int:
        """Bring the page of `entry` back: pfn or NEED_OOM. shmem_swapin_folio(), v6.12."""
        pfn: cython.int = self.swap_in.lookup(entry, None, 0)
        if pfn >= 0:
            self.mem.refcount[pfn] += 1
        else:
            self.folio_io.vmstat.count(PGMAJFAULT, 1)
            self.folio_io.memcgs.count_event(memcg_id, PGMAJFAULT, 1)
            self.clock.spend(self.cost.major_fault_ns)
            pfn = self.swap_in.swapin_shmem(entry, memcg_id)
            if pfn < 0:
                return NEED_OOM
        if self.mem.flags[pfn] & PG_LOCKED:
            self.folio_io.wait_on_folio(pfn, STALL_SWAP_IN)
        if self.mem.flags[pfn] & PG_WRITEBACK:
            self.folio_io.wait_on_writeback(pfn, STALL_SWAP_IN)
        if self.mem.flags[pfn] & PG_SWAPCACHE:
            self.swap.delete_from_swap_cache(pfn, 0)
        self.page_cache.add_to_page_cache(mapping, index, pfn)
        self.mem.refcount[pfn] -= 1
        self.mem.flags[pfn] |= PG_DIRTY | PG_UPTODATE
        self.swap.swap_free(entry)
        return pfn

    @cython.ccall
    def free_object(self, mapping_id: cython.int) -> cython.longlong:
        """The object's last user is gone, its pages unmapped: pages and slots given back.
        shmem_evict_inode()."""
        mapping: Mapping = self.page_cache.mapping(mapping_id)
        require(mapping.kind == SHMEM, "shmem.free_object", f"mapping {mapping_id} is not shmem")
        removed: cython.longlong = self.remove_range(mapping_id, 0, mapping.nr_slots)
        self.page_cache.drop_mapping(mapping_id)
        return removed

    @cython.ccall
    def remove_range(
        self, mapping_id: cython.int, start: cython.longlong, end: cython.longlong
    ) -> cython.longlong:
        """Pages and slots of [start, end) go: how many. shmem_undo_range(), v6.12 (MADV_REMOVE,
        truncate)."""
        mapping: Mapping = self.page_cache.mapping(mapping_id)
        removed: cython.longlong = 0
        index: cython.longlong
        entry: cython.longlong
        if end > mapping.nr_slots:
            end = mapping.nr_slots
        if mapping.nr_pages > 0:
            self.lru.lru_add_drain()
        for index in range(start, end):
            entry = mapping.slots[index]
            if entry > 0:
                removed += self.invalidate.truncate_page(mapping, index)
            elif entry < 0:
                self._free_slot(self.page_cache.erase_value(mapping, index))
                removed += 1
        return removed

    @cython.cfunc
    def _free_slot(self, entry: cython.longlong) -> cython.void:
        """mm/swapfile.c free_swap_and_cache(), v6.12: the slot, and its page if the swap cache has
        it."""
        pfn: cython.int = self.swap.lookup(entry)
        self.swap.swap_free(entry)
        if pfn >= 0 and self.mem.flags[pfn] & PG_SWAPCACHE:
            self.swap.folio_free_swap(pfn)
            if self.mem.refcount[pfn] == 0:
                self.lru.release(pfn)

    @cython.ccall
    def swap_usage(
        self, mapping_id: cython.int, start: cython.longlong, end: cython.longlong
    ) -> cython.longlong:
        """Swap slots that [start, end) of the object uses, pages: shmem_partial_swap_usage(),
        v6.12."""
        mapping: Mapping = self.page_cache.mapping(mapping_id)
        found: cython.longlong = 0
        index: cython.longlong
        if end > mapping.nr_slots:
            end = mapping.nr_slots
        for index in range(start, end):
            if mapping.slots[index] < 0:
                found += 1
        return found
