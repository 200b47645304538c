"""Owns writing to files through the page cache: write(), and the first write to a mapped page.

Imports file_io (cache_pages, dirty, filemap, flusher, throttle, ext4). Has never heard of
descriptors or paths.
"""

from __future__ import annotations

from typing import Any

import cython

from memtwin.file_io.cache_pages import CachePages
from memtwin.file_io.dirty import Dirty
from memtwin.file_io.ext4 import Ext4
from memtwin.file_io.filemap import Filemap
from memtwin.file_io.flusher import Flusher
from memtwin.file_io.inode import Inode
from memtwin.file_io.objects import Objects
from memtwin.file_io.open_file import OpenFile
from memtwin.file_io.throttle import Throttle
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.page.flags import PG_LOCKED, PG_PRIVATE, PG_UPTODATE
from memtwin.page.gfp import GFP_FS, GFP_HIGHUSER_MOVABLE, GFP_WRITE, NEED_OOM
from memtwin.page.mem_map import MemMap
from memtwin.page_cache.buffer_head import BufferHeads
from memtwin.page_cache.mapping import Mapping
from memtwin.page_cache.page_cache import PageCache

# mm/folio-compat.c grab_cache_page_write_begin() with FGP_NOFS of ext4, v6.1
GFP_WRITE_BEGIN = (GFP_HIGHUSER_MOVABLE & ~GFP_FS) | GFP_WRITE


@cython.final
@cython.cclass
class BufferedWrite:
    """Writes pages of files and makes their writers wait."""

    def __init__(
        self,
        filemap: Filemap,
        dirty: Dirty,
        buffer_heads: BufferHeads,
        objects: Objects,
        ext4: Ext4,
        flusher: Flusher,
        throttle: Throttle,
    ) -> None:
        self.filemap = filemap
        self.pages: CachePages = filemap.pages
        self.mem: MemMap = filemap.mem
        self.page_cache: PageCache = filemap.page_cache
        self.dirty = dirty
        self.buffer_heads = buffer_heads
        self.objects = objects
        self.ext4 = ext4
        self.flusher = flusher
        self.throttle = throttle
        self.clock: Clock = filemap.clock
        self.cost: CostTable = filemap.cost

    @cython.ccall
    def write(
        self, file: OpenFile, offset: cython.longlong, length: cython.longlong
    ) -> cython.longlong:
        """One write() of `length` bytes: bytes written, or NEED_OOM. generic_perform_write(),
        v6.12."""
        mapping: Mapping = file.mapping
        inode: Inode = file.inode
        if length <= 0:
            return 0
        self.ext4.dirty_inode(inode)  # file_update_time()
        end: cython.longlong = offset + length
        at: cython.longlong = offset
        budget: cython.longlong = self.throttle.pages_left()
        while at < end:
            index: cython.longlong = at >> 12
            stop: cython.longlong = (index + 1) << 12
            if stop > end:
                stop = end
            pfn: cython.int = self._write_begin(mapping, inode, index, at, stop)
            if pfn < 0:
                break
            if stop > mapping.size_bytes:
                mapping.size_bytes = stop
            self._write_end(mapping, pfn)
            at = stop
            budget -= 1
            if budget <= 0:
                self.throttle.ratelimited()
                budget = self.throttle.pages_left()
        pages: cython.longlong = (at - offset + 4095) >> 12
        self.clock.spend(pages * self.cost.write_page_ns + self.cost.syscall_ns)
        self.flusher.run_if_due()
        if at == offset:
            return NEED_OOM
        if self._extends(inode, at):
            self.ext4.dirty_inode(inode)
        return at - offset

    def _extends(self, inode: Inode, end: int) -> bool:
        """Whether the write grew the file (the inode's size on disk follows)."""
        if end <= inode.size_bytes:
            return False
        inode.size_bytes = end
        return True

    @cython.cfunc
    def _write_begin(
        self,
        mapping: Mapping,
        inode: Any,
        index: cython.longlong,
        start: cython.longlong,
        stop: cython.longlong,
    ) -> cython.int:
        """The page, with buffers, and read first when it is written in part: ext4_da_write_begin(),
        v6.1."""
        pfn: cython.int = self.page_cache.find_get_entry(mapping, index)
        if pfn < 0:
            pfn = self.pages.add_new(mapping, index, GFP_WRITE_BEGIN)
            if pfn < 0:
                return NEED_OOM
            self.mem.flags[pfn] &= ~PG_LOCKED
        self.mem.refcount[pfn] += 1
        self._prepare(mapping, index, pfn, start, stop)
        if not self.mem.flags[pfn] & PG_PRIVATE:
            self.objects.alloc_heads(pfn)
        if not mapping.is_mapped(index):
            self._delay(inode)
        self.mem.refcount[pfn] -= 1
        return pfn

    @cython.cfunc
    def _prepare(
        self,
        mapping: Mapping,
        index: cython.longlong,
        pfn: cython.int,
        start: cython.longlong,
        stop: cython.longlong,
    ) -> cython.void:
        if self.mem.flags[pfn] & PG_UPTODATE:
            return
        if self.mem.flags[pfn] & PG_LOCKED:
            self.filemap.read_for_write(mapping, index, pfn)
            return
        whole: cython.int = (
            1 if start & 4095 == 0 and (stop & 4095 == 0 or stop >= mapping.size_bytes) else 0
        )
        if not whole and index << 12 < mapping.size_bytes:
            self.filemap.read_for_write(mapping, index, pfn)

    def _delay(self, inode: Inode) -> None:
        """A page without blocks: the file gets a delayed extent and what is left of the hole.

        fs/ext4/inode.c ext4_da_map_blocks(), v6.1. MODEL: one delayed extent a file at a time.
        """
        if inode.es_delayed == 0:
            self.ext4.cache.add_es(inode, 0 if inode.es_clean else 1, 1)

    @cython.cfunc
    def _write_end(self, mapping: Mapping, pfn: cython.int) -> cython.void:
        """The page is uptodate and dirty: ext4_da_write_end(), v6.1."""
        self.mem.flags[pfn] |= PG_UPTODATE
        self.dirty.folio_mark_dirty(mapping, pfn)
        if self.dirty.newly_dirty:
            self.flusher.collect()

    @cython.ccall
    def page_mkwrite(
        self, file: OpenFile, index: cython.longlong, pfn: cython.int
    ) -> cython.longlong:
        """A shared mapping is about to write the page: dirty it, perhaps pause; ns paused.

        fs/ext4/inode.c ext4_page_mkwrite(), mm/memory.c fault_dirty_shared_page(), v6.12.
        """
        mapping: Mapping = file.mapping
        inode: Inode = file.inode
        self.ext4.dirty_inode(inode)
        # folio_wait_stable() waits only for devices with checksums; none of ours has them
        if not self.mem.flags[pfn] & PG_PRIVATE:
            self.objects.alloc_heads(pfn)
        if not mapping.is_mapped(index):
            self._delay(inode)
        self._write_end(mapping, pfn)
        self.mem.refcount[pfn] += 1
        paused_ns: cython.longlong = self.throttle.ratelimited()
        self.mem.refcount[pfn] -= 1
        return paused_ns
