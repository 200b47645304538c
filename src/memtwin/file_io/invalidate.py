"""Owns throwing cached pages away: drop_caches, fadvise DONTNEED, truncate.

Imports reclaim/lru, page_cache, file_io/dirty, address_space/rmap. Has never heard of inodes or
names.
"""

from __future__ import annotations

import cython

from memtwin.file_io.dirty import Dirty
from memtwin.hardware.clock import STALL_DIRTY, STALL_FILE_READ
from memtwin.page.flags import PG_DIRTY, PG_LOCKED, PG_PRIVATE, PG_WRITEBACK
from memtwin.page.mem_map import MemMap
from memtwin.page_cache.buffer_head import BufferHeads
from memtwin.page_cache.constants import SHMEM
from memtwin.page_cache.mapping import Mapping
from memtwin.page_cache.page_cache import PageCache
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru import Lru


@cython.final
@cython.cclass
class Invalidate:
    """Removes pages from mappings."""

    def __init__(
        self,
        page_cache: PageCache,
        buffer_heads: BufferHeads,
        dirty: Dirty,
        lru: Lru,
        folio_io: FolioIo,
    ) -> None:
        self.mem: MemMap = page_cache.mem
        self.page_cache = page_cache
        self.buffer_heads = buffer_heads
        self.dirty = dirty
        self.lru = lru
        self.folio_io = folio_io

    @cython.ccall
    def invalidate_mapping_pages(
        self, mapping: Mapping, start: cython.longlong, end: cython.longlong
    ) -> cython.longlong:
        """Drop what can be dropped of [start, end): pages dropped. mm/truncate.c, v6.12.

        Pages that are dirty, in use or busy stay and are queued for early reclaim. Shadows go.
        """
        dropped: cython.longlong = 0
        index: cython.longlong
        entry: cython.longlong
        pfn: cython.int
        left: cython.int = (
            self.lru.batch_size
        )  # of the first batch: its release drains the LRU batches
        if end > mapping.nr_slots:
            end = mapping.nr_slots
        for index in range(start, end):
            entry = mapping.slots[index]
            if entry == 0:
                continue
            if left == 0:
                self.lru.lru_add_drain()  # mm/swap.c __pagevec_release(), v6.1: once a walk
            left -= 1
            if entry < 0:
                if mapping.kind != SHMEM:
                    self.page_cache.erase_value(mapping, index)
                continue
            pfn = cython.cast(cython.int, entry - 1)
            if self.mem.flags[pfn] & PG_LOCKED:
                continue
            if self.evict_folio(mapping, index, pfn):
                dropped += 1
            else:
                self.lru.deactivate_file_folio(pfn)
        if left >= 0 and left < self.lru.batch_size:
            self.lru.lru_add_drain()
        return dropped

    @cython.ccall
    def evict_folio(self, mapping: Mapping, index: cython.longlong, pfn: cython.int) -> cython.int:
        """1 when the page was clean and unused and is gone: mapping_evict_folio(), v6.12."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & (PG_DIRTY | PG_WRITEBACK):
            return 0
        # one reference of the cache, one of the buffers; the check itself holds one in the kernel
        held: cython.int = 2 if flags & PG_PRIVATE else 1
        if self.mem.refcount[pfn] > held:
            return 0
        if not self.buffer_heads.try_to_free(pfn) or self.mem.refcount[pfn] != 1:
            return 0
        self.page_cache.delete_from_page_cache(mapping, index, 0)
        self.lru.release(pfn)
        return 1

    @cython.ccall
    def truncate_page(self, mapping: Mapping, index: cython.longlong) -> cython.int:
        """Remove the page or entry at `index` whatever its state, but not its mappings: 1 when a
        page went.

        The caller has unmapped it. mm/truncate.c truncate_inode_folio(), v6.12.
        """
        entry: cython.longlong = mapping.slot(index)
        if entry <= 0:
            if entry < 0:
                self.page_cache.erase_value(mapping, index)
            return 0
        pfn: cython.int = cython.cast(cython.int, entry - 1)
        if self.mem.flags[pfn] & PG_LOCKED:
            self.folio_io.wait_on_folio(pfn, STALL_FILE_READ)
        if self.mem.flags[pfn] & PG_WRITEBACK:
            self.folio_io.wait_on_writeback(pfn, STALL_DIRTY)
        self.dirty.clear_dirty(mapping, pfn)
        self.buffer_heads.drop(pfn)
        self.mem.refcount[pfn] += 1
        self.page_cache.delete_from_page_cache(mapping, index, 0)
        self.lru.folio_put(pfn)
        return 1

    @cython.ccall
    def truncate_pages(
        self, mapping: Mapping, start: cython.longlong, end: cython.longlong
    ) -> cython.longlong:
        """truncate_page of each of [start, end): pages removed."""
        removed: cython.longlong = 0
        index: cython.longlong
        if end > mapping.nr_slots:
            end = mapping.nr_slots
        if mapping.nr_pages > 0:
            self.lru.lru_add_drain()
        for index in range(start, end):
            if mapping.slots[index] != 0:
                removed += self.truncate_page(mapping, index)
        return removed
