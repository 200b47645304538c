"""Owns writing dirty pages of one mapping: from dirty to under writeback, in order of index.

Imports reclaim/folio_io, address_space/rmap, page_cache, file_io/dirty. Has never heard of inodes,
lists of dirty files or journals: it says how many pages it wrote and how many of them got their
blocks just now.
"""

from __future__ import annotations

import cython

from memtwin.address_space.rmap import Rmap
from memtwin.file_io.constants import SYNC_NONE
from memtwin.file_io.dirty import Dirty
from memtwin.hardware.clock import STALL_DIRTY
from memtwin.page.flags import PG_DIRTY, PG_WRITEBACK
from memtwin.page.mem_map import MemMap
from memtwin.page_cache.mapping import Mapping
from memtwin.reclaim.folio_io import FolioIo


@cython.final
@cython.cclass
class PageWriter:
    """Writes pages of files to `device`."""

    def __init__(
        self, mem: MemMap, dirty: Dirty, rmap: Rmap, folio_io: FolioIo, device: int
    ) -> None:
        self.mem = mem
        self.dirty = dirty
        self.rmap = rmap
        self.folio_io = folio_io
        self.device = device
        self.nr_mapped = 0  # pages of the last call that had no blocks before
        self.next_index = 0

    @cython.ccall
    def write_range(
        self,
        mapping: Mapping,
        start: cython.longlong,
        end: cython.longlong,
        most: cython.longlong,
        sync: cython.int,
    ) -> cython.longlong:
        """Start writing at most `most` dirty pages of [start, end): how many.
        mpage_prepare_extent_to_map().

        `next_index` is where it stopped; `nr_mapped` says how many pages were delayed allocations.
        """
        self.nr_mapped = 0
        written: cython.longlong = 0
        at: cython.longlong = start
        if at < mapping.dirty_start:
            at = mapping.dirty_start
        if end > mapping.dirty_end:
            end = mapping.dirty_end
        while at < end and written < most and mapping.nr_dirty > 0:
            if self._write_one(mapping, at, sync):
                written += 1
            at += 1
        self.next_index = at
        self.folio_io.unplug()
        return written

    @cython.cfunc
    def _write_one(self, mapping: Mapping, index: cython.longlong, sync: cython.int) -> cython.int:
        entry: cython.longlong = mapping.slots[index]
        if entry <= 0:
            return 0
        pfn: cython.int = cython.cast(cython.int, entry - 1)
        if not self.mem.flags[pfn] & PG_DIRTY:
            return 0
        if self.mem.flags[pfn] & PG_WRITEBACK:
            if sync == SYNC_NONE:
                return 0
            self.folio_io.wait_on_writeback(pfn, STALL_DIRTY)
        if self.mem.mapcount[pfn] > 0:
            self.rmap.page_mkclean(pfn)
        self.dirty.clear_dirty(mapping, pfn)
        self.nr_mapped += mapping.map_page(index)
        self.folio_io.start_writeback(pfn)
        self.folio_io.submit_write(self.device, pfn, mapping.block_base + index)
        return 1

    @cython.ccall
    def wait_range(
        self, mapping: Mapping, start: cython.longlong, end: cython.longlong
    ) -> cython.longlong:
        """Wait for the writeback of [start, end): ns waited. filemap_fdatawait_range(), v6.12."""
        waited_ns: cython.longlong = 0
        if end > mapping.nr_slots:
            end = mapping.nr_slots
        index: cython.longlong
        entry: cython.longlong
        for index in range(start, end):
            entry = mapping.slots[index]
            if entry > 0 and self.mem.flags[entry - 1] & PG_WRITEBACK:
                waited_ns += self.folio_io.wait_on_writeback(
                    cython.cast(cython.int, entry - 1), STALL_DIRTY
                )
        return waited_ns
