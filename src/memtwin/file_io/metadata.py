"""Owns the file system's metadata blocks in the block device's page cache: the Buffers of meminfo.

Imports page_cache, reclaim, file_io (cache_pages, dirty, geometry, objects). Has never heard of
inodes or of why a block changes. The journal decides when a changed block may be written in place.

A block: read or made -> changed (RUNNING: in the running transaction) -> committed (DIRTY,
CHECKPOINT) -> written in place -> CHECKPOINT goes when the journal looks -> its page can be freed.
"""

from __future__ import annotations

from collections import OrderedDict

from memtwin.errors import require
from memtwin.file_io.border import Border
from memtwin.file_io.cache_pages import CachePages
from memtwin.file_io.dirty import Dirty
from memtwin.file_io.geometry import Ext4Geometry
from memtwin.file_io.objects import Objects
from memtwin.hardware.clock import STALL_FILE_READ
from memtwin.page.flags import PG_DIRTY, PG_LOCKED, PG_META, PG_PRIVATE, PG_UPTODATE
from memtwin.page.gfp import GFP_FS, GFP_KERNEL, GFP_MOVABLE_BIT, GFP_NOFAIL
from memtwin.page.vmstat_items import PGPGIN, PGPGOUT
from memtwin.page_cache.buffer_head import BufferHeads
from memtwin.page_cache.constants import BLOCK_DEVICE, CHECKPOINT, DIRTY, HELD, READ, RUNNING
from memtwin.page_cache.mapping import Mapping
from memtwin.reclaim.constants import IO_READ
from memtwin.reclaim.folio_io import FolioIo
from memtwin.units import NIL

# fs/buffer.c grow_dev_page(): the device's mask without FS, movable, and it must not fail, v6.1
GFP_BUFFERS = (GFP_KERNEL & ~GFP_FS) | GFP_MOVABLE_BIT | GFP_NOFAIL
BH_LRU_SIZE = 16  # fs/buffer.c, v6.12
FROM_DISK, NEW_BLOCK = range(2)
TASK_WAITS, THREAD_WAITS = range(
    2
)  # who waits for a block: the running task, or a kernel thread beside it


class Metadata:
    """Blocks of one file system on `device`."""

    def __init__(
        self,
        geometry: Ext4Geometry,
        pages: CachePages,
        buffer_heads: BufferHeads,
        objects: Objects,
        dirty: Dirty,
        folio_io: FolioIo,
        device: int,
    ) -> None:
        self.geometry = geometry
        self.pages = pages
        self.mem = pages.mem
        self.lru = pages.lru
        self.page_cache = pages.page_cache
        self.buffer_heads = buffer_heads
        self.objects = objects
        self.dirty = dirty
        self.folio_io = folio_io
        self.border = Border(folio_io)
        self.device = device
        size_bytes = geometry.nr_blocks * geometry.block_bytes
        self.mapping_id = int(self.page_cache.new_mapping(0, BLOCK_DEVICE, size_bytes))
        self.mapping: Mapping = self.page_cache.mapping(self.mapping_id)
        self.mapping.mapped_end = self.mapping.end_index()
        self.block_kib = geometry.block_bytes // 1024
        self.reader = TASK_WAITS
        self._bh_lru: OrderedDict[int, None] = OrderedDict()  # blocks held, oldest first

    def place(self, block: int) -> tuple[int, int]:
        """(page index, number within the page) of `block`."""
        return divmod(block, self.geometry.blocks_per_page)

    def page_of(self, block: int) -> int:
        """pfn of the page that holds `block`, or NIL."""
        return int(self.page_cache.find_get_entry(self.mapping, self.place(block)[0]))

    def get_block(self, block: int, content: int) -> int:
        """pfn of the block's page, brought in if need be: bread() (FROM_DISK) or getblk()
        (NEW_BLOCK)."""
        pfn = self._find_or_grow(block)
        within = self.place(block)[1]
        if not self.buffer_heads.bits(pfn, READ) >> within & 1:
            if content == FROM_DISK:
                self._read(block, pfn)
            self.buffer_heads.set_bit(pfn, READ, within)
        self._touch(block, pfn)
        return pfn

    def readahead(self, first: int, end: int) -> None:
        """Read the blocks first .. end - 1 that are not there: sb_breadahead_unmovable()."""
        for block in range(first, end):
            pfn = self._find_or_grow(block)
            within = self.place(block)[1]
            if not self.buffer_heads.bits(pfn, READ) >> within & 1:
                self._count(PGPGIN)
                self.buffer_heads.set_bit(pfn, READ, within)

    def _find_or_grow(self, block: int) -> int:
        index = self.place(block)[0]
        pfn = int(self.page_cache.find_get_entry(self.mapping, index))
        if pfn < 0:
            pfn = int(self.pages.add_new(self.mapping, index, GFP_BUFFERS))
            require(pfn >= 0, "metadata.get_block", f"no frame for block {block} (GFP_NOFAIL)")
            # a page of buffers is unlocked at once and never wholly uptodate by itself
            self.mem.flags[pfn] = (self.mem.flags[pfn] | PG_META | PG_UPTODATE) & ~PG_LOCKED
        if not self.mem.flags[pfn] & PG_PRIVATE:
            self.objects.alloc_heads(pfn)
        return pfn

    def _count(self, event: int) -> None:
        self.border.count(event, self.block_kib)

    def _read(self, block: int, pfn: int) -> None:
        """Wait for one block.

        # DIFFERS: a block of 1 KiB costs the device a page; it counts in pages; the time of
        # metadata reads.
        # DIFFERS: a kernel thread goes on at once, as if its block came without delay; threads have
        # no time of their own; when, not whether, the flusher submits what follows.
        """
        if self.reader == THREAD_WAITS:
            self.folio_io.submit_raw(self.device, IO_READ, self.place(block)[0], 1)
            self.border.count(PGPGIN, self.block_kib - 4)
            return
        flags = self.mem.flags[pfn]
        self.mem.flags[pfn] = (flags & ~PG_UPTODATE) | PG_LOCKED
        self.mem.refcount[pfn] += 1
        self.folio_io.submit_read(self.device, pfn, self.place(block)[0])
        self.border.count(PGPGIN, self.block_kib - 4)
        self.folio_io.unplug()
        self.folio_io.wait_on_folio(pfn, STALL_FILE_READ)
        self.mem.refcount[pfn] -= 1

    def _touch(self, block: int, pfn: int) -> None:
        """touch_buffer(), and the CPU's list of 16 buffers that keeps their pages busy."""
        self.lru.folio_mark_accessed(pfn)
        if block in self._bh_lru:
            self._bh_lru.move_to_end(block)
            return
        self._bh_lru[block] = None
        self.buffer_heads.set_bit(pfn, HELD, self.place(block)[1])
        if len(self._bh_lru) > BH_LRU_SIZE:
            self._release(self._bh_lru.popitem(last=False)[0])

    def _release(self, block: int) -> None:
        pfn = self.page_of(block)
        if pfn != NIL:
            self.buffer_heads.clear_bit(pfn, HELD, self.place(block)[1])

    def invalidate_bh_lrus(self) -> None:
        """fs/buffer.c invalidate_bh_lrus_cpu(): 6.12 does so in lru_add_drain_all()."""
        while self._bh_lru:
            self._release(self._bh_lru.popitem()[0])

    def set_running(self, block: int, content: int) -> bool:
        """The block joins the running transaction: False when it was there. Pins its page."""
        pfn = self.get_block(block, content)
        return bool(self.buffer_heads.set_bit(pfn, RUNNING, self.place(block)[1]))

    def forget(self, block: int, state: int) -> bool:
        """Clear `state` of a block; whether it was set."""
        pfn = self.page_of(block)
        return pfn != NIL and bool(self.buffer_heads.clear_bit(pfn, state, self.place(block)[1]))

    def committed(self, block: int) -> None:
        """The block is in the journal: dirty in place from now on, pinned until checkpointed."""
        pfn = self.page_of(block)
        require(pfn != NIL, "metadata.committed", f"block {block} of a transaction has no page")
        within = self.place(block)[1]
        self.buffer_heads.clear_bit(pfn, RUNNING, within)
        self.buffer_heads.set_bit(pfn, CHECKPOINT, within)
        if self.buffer_heads.set_bit(pfn, DIRTY, within):
            self.dirty.folio_mark_dirty(self.mapping, pfn)

    def is_read(self, block: int) -> bool:
        """Whether the block's contents are in memory."""
        pfn = self.page_of(block)
        return pfn != NIL and bool(self.buffer_heads.bits(pfn, READ) >> self.place(block)[1] & 1)

    def is_dirty(self, block: int) -> bool:
        """Whether the block waits to be written in place."""
        pfn = self.page_of(block)
        return pfn != NIL and bool(self.buffer_heads.bits(pfn, DIRTY) >> self.place(block)[1] & 1)

    def write_pages(self, start: int, end: int, most: int) -> int:
        """Start writing dirty pages of [start, end): how many. Of each, only dirty blocks are
        written."""
        written = 0
        index = max(start, int(self.mapping.dirty_start))
        end = min(end, int(self.mapping.dirty_end))
        while index < end and written < most and self.mapping.nr_dirty > 0:
            pfn = int(self.mapping.slot(index)) - 1
            if pfn >= 0 and self.mem.flags[pfn] & PG_DIRTY:
                self._write_page(index, pfn)
                written += 1
            index += 1
        self.folio_io.unplug()
        return written

    def _write_page(self, index: int, pfn: int) -> None:
        self.folio_io.wait_on_writeback(pfn, STALL_FILE_READ)
        nr_blocks = bin(self.buffer_heads.bits(pfn, DIRTY)).count("1")
        for within in range(self.geometry.blocks_per_page):
            self.buffer_heads.clear_bit(pfn, DIRTY, within)
        self.dirty.clear_dirty(self.mapping, pfn)
        self.border.write_page(self.device, pfn, index)
        self.border.count(PGPGOUT, nr_blocks * self.block_kib - 4)

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [("bh_lru", list(self._bh_lru))]
