"""Owns reading files: read() through the page cache, faults on mapped files, and readahead's I/O.

Imports reclaim, page_cache, file_io/cache_pages, hardware. Has never heard of dirty pages, tasks or
page tables. A hole reads as zeros without I/O. Pages come back without a reference: nothing else
runs until the caller has taken its own.
"""

from __future__ import annotations

import cython

from memtwin.columns import zeros
from memtwin.file_io.cache_pages import CachePages
from memtwin.file_io.constants import (
    ADVICE_RANDOM,
    ADVICE_SEQUENTIAL,
    FIRST_TRY,
    VM_FAULT_MAJOR,
    VM_FAULT_OOM,
    VM_FAULT_RETRY,
    VM_FAULT_SIGBUS,
)
from memtwin.file_io.open_file import OpenFile
from memtwin.hardware.clock import STALL_FILE_READ, Clock
from memtwin.hardware.cost import CostTable
from memtwin.page.flags import PG_LOCKED, PG_READAHEAD, PG_UPTODATE, PG_WORKINGSET, PG_WRITEBACK
from memtwin.page.gfp import GFP_FS, GFP_HIGHUSER_MOVABLE, GFP_NORETRY, GFP_NOWARN, NEED_OOM
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import PGMAJFAULT
from memtwin.page_cache.constants import READ_WINDOW
from memtwin.page_cache.mapping import Mapping
from memtwin.page_cache.page_cache import PageCache
from memtwin.page_cache.readahead import Readahead
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru import Lru
from memtwin.units import NIL

GFP_READAHEAD = (GFP_HIGHUSER_MOVABLE & ~GFP_FS) | GFP_NORETRY | GFP_NOWARN
GFP_CACHE = GFP_HIGHUSER_MOVABLE  # fs/inode.c inode_init_always(): mapping_set_gfp_mask, v6.12
MAP_ROOM = 512


@cython.final
@cython.cclass
class Filemap:
    """Reads pages of files on `device`."""

    def __init__(
        self,
        pages: CachePages,
        readahead: Readahead,
        folio_io: FolioIo,
        clock: Clock,
        cost: CostTable,
        device: int,
    ) -> None:
        self.pages = pages
        self.mem: MemMap = pages.mem
        self.page_cache: PageCache = pages.page_cache
        self.lru: Lru = pages.lru
        self.readahead = readahead
        self.folio_io = folio_io
        self.vmstat: VmStat = folio_io.vmstat
        self.clock = clock
        self.cost = cost
        self.device = device
        self.kernel = readahead.kernel
        # include/linux/pagevec.h PAGEVEC_SIZE: 15 in v6.1, 31 in v6.12
        self.batch_size = 31 if readahead.kernel >= 612 else 15
        self.fault_pfn = NIL
        self.nr_found = 0
        self.last_pos = 0  # of the read() under way: where its last batch ended
        self.pinned: Mapping | None = None  # whose pages the caller copies from
        self.pinned_index = 0
        self.nr_pinned = 0
        self.found_pfn = zeros(MAP_ROOM, "i4")
        self.found_index = zeros(MAP_ROOM, "i8")

    @cython.ccall
    def read(
        self, file: OpenFile, offset: cython.longlong, length: cython.longlong
    ) -> cython.longlong:
        """One read() of `length` bytes: bytes read, or NEED_OOM. mm/filemap.c filemap_read(),
        v6.12."""
        done: cython.longlong = 0
        self.begin_read(file)
        while done < length:
            got: cython.longlong = self._read_batch(file, offset + done, length - done)
            if got <= 0:
                break
            done += got
        self.end_read(file)
        if done == 0 and length > 0 and offset < file.mapping.size_bytes:
            return NEED_OOM
        return done

    @cython.ccall
    def begin_read(self, file: OpenFile) -> cython.int:
        """A read() whose caller copies each batch before the next one is read; 0."""
        self.last_pos = file.ra.prev_pos
        self.clock.spend(self.cost.syscall_ns)
        return 0

    @cython.ccall
    def read_batch(
        self, file: OpenFile, offset: cython.longlong, length: cython.longlong
    ) -> cython.longlong:
        """The next batch of a begun read(), of which `length` bytes are left: bytes, or NEED_OOM.

        Its pages stay pinned until the next batch or `end_read`, as while they are copied from.
        """
        self._unpin()
        got: cython.longlong = self._read_batch(file, offset, length)
        if got > 0:
            self.pinned = file.mapping
            self.pinned_index = offset >> 12
            self.nr_pinned = cython.cast(
                cython.int, ((offset + got + 4095) >> 12) - self.pinned_index
            )
            self._pin(file.mapping, self.pinned_index, self.nr_pinned, 1)
        return got

    @cython.ccall
    def end_read(self, file: OpenFile) -> cython.int:
        """The begun read() is over; 0."""
        self._unpin()
        file.ra.prev_pos = self.last_pos
        return 0

    @cython.cfunc
    def _unpin(self) -> cython.void:
        """Let go of the batch that was copied from."""
        if self.pinned is not None and self.nr_pinned > 0:
            self._pin(self.pinned, self.pinned_index, self.nr_pinned, -1)
            self.nr_pinned = 0

    @cython.cfunc
    def _read_batch(
        self, file: OpenFile, offset: cython.longlong, length: cython.longlong
    ) -> cython.longlong:
        """Pages from `offset` on that one batch holds: bytes, 0 at the end, or NEED_OOM."""
        mapping: Mapping = file.mapping
        if offset >= mapping.size_bytes or length <= 0:
            return 0
        end: cython.longlong = offset + length
        beyond: cython.longlong = (end + 4095) >> 12
        if end > mapping.size_bytes:
            end = mapping.size_bytes
        index: cython.longlong = offset >> 12
        got: cython.int = self._get_pages(file, index, beyond)
        if got < 0:
            return NEED_OOM
        # a page read in several pieces is marked accessed once
        if self.last_pos <= 0 or index != (self.last_pos - 1) >> 12:
            self.lru.folio_mark_accessed(cython.cast(cython.int, mapping.slots[index] - 1))
        i: cython.int
        for i in range(1, got):
            self.lru.folio_mark_accessed(cython.cast(cython.int, mapping.slots[index + i] - 1))
        self.clock.spend(got * self.cost.read_page_ns)
        at: cython.longlong = (index + got) << 12
        if at > end:
            at = end
        self.last_pos = at
        if self.kernel < 612:
            file.ra.prev_pos = at
        return at - offset

    @cython.ccall
    def read_range(
        self,
        file: OpenFile,
        offset: cython.longlong,
        length: cython.longlong,
        block_bytes: cython.longlong,
    ) -> cython.longlong:
        """read() of `block_bytes` at a time until `length` is read, the file ends or the slice
        does.

        Bytes read, or NEED_OOM when the first read() met it.
        """
        done: cython.longlong = 0
        while done < length:
            piece: cython.longlong = block_bytes if block_bytes < length - done else length - done
            got: cython.longlong = self.read(file, offset + done, piece)
            if got < 0:
                return got if done == 0 else done
            if got == 0:
                break
            done += got
            if self.clock.must_yield:
                break
        return done

    @cython.cfunc
    def _scan(
        self, mapping: Mapping, index: cython.longlong, beyond: cython.longlong
    ) -> cython.int:
        """Pages from `index` on up to a gap, a mark or one not yet read:
        filemap_get_read_batch()."""
        last: cython.longlong = index + self.batch_size
        if beyond < last:
            last = beyond
        if mapping.nr_slots < last:
            last = mapping.nr_slots
        at: cython.longlong = index
        flags: cython.longlong
        while at < last:
            entry: cython.longlong = mapping.slots[at]
            if entry <= 0:
                break
            at += 1
            flags = self.mem.flags[entry - 1]
            if flags & (PG_UPTODATE | PG_READAHEAD) != PG_UPTODATE:
                break
        return cython.cast(cython.int, at - index)

    @cython.cfunc
    def _get_pages(
        self, file: OpenFile, index: cython.longlong, beyond: cython.longlong
    ) -> cython.int:
        """Read pages are ready from `index` on: how many, or NEED_OOM. filemap_get_pages(),
        v6.12."""
        mapping: Mapping = file.mapping
        got: cython.int
        pfn: cython.int
        while True:
            got = self._scan(mapping, index, beyond)
            if got == 0:
                if (
                    self.readahead.sync_readahead(mapping, file.ra, index, beyond - index)
                    == READ_WINDOW
                ):
                    self._read_window(mapping)
                got = self._scan(mapping, index, beyond)
            if got == 0:
                pfn = self.pages.add_new(mapping, index, GFP_CACHE)
                if pfn < 0:
                    return NEED_OOM
                self._read_page(mapping, index, pfn)
                return 1
            pfn = cython.cast(cython.int, mapping.slots[index + got - 1] - 1)
            if self.mem.flags[pfn] & PG_READAHEAD:
                self._pin(mapping, index, got, 1)
                self._async(file, pfn, index + got - 1, beyond - (index + got - 1))
                self._pin(mapping, index, got, -1)
            if self.mem.flags[pfn] & PG_UPTODATE:
                return got
            if not self.mem.flags[pfn] & PG_LOCKED:
                self._read_page(mapping, index + got - 1, pfn)
                return got
            self._pin(mapping, index, got, 1)
            self.folio_io.wait_on_folio(pfn, STALL_FILE_READ)
            self._pin(mapping, index, got, -1)
            if got > 1:
                return got - 1

    @cython.cfunc
    def _pin(
        self, mapping: Mapping, index: cython.longlong, nr: cython.int, delta: cython.int
    ) -> cython.void:
        """Take or drop the batch's references, so that reclaim passes its pages by."""
        i: cython.int
        for i in range(nr):
            self.mem.refcount[mapping.slots[index + i] - 1] += delta

    @cython.cfunc
    def _async(
        self, file: OpenFile, pfn: cython.int, index: cython.longlong, req: cython.longlong
    ) -> cython.int:
        """The mark at `index` was met: page_cache_async_ra(), v6.12. 1 when a window was read."""
        if file.ra.ra_pages == 0 or self.mem.flags[pfn] & PG_WRITEBACK:
            return 0
        self.mem.flags[pfn] &= ~PG_READAHEAD
        if self.readahead.async_readahead(file.mapping, file.ra, index, req) == READ_WINDOW:
            self._read_window(file.mapping)
            return 1
        return 0

    @cython.cfunc
    def _read_window(self, mapping: Mapping) -> cython.void:
        """Read what `readahead` decided, in chunks of 2 MiB when it was forced (no mark)."""
        start: cython.longlong = self.readahead.start
        nr: cython.longlong = self.readahead.nr
        lookahead: cython.longlong = self.readahead.lookahead
        self.read_pages(mapping, start, nr, lookahead)

    @cython.ccall
    def read_pages(
        self,
        mapping: Mapping,
        start: cython.longlong,
        nr: cython.longlong,
        lookahead: cython.longlong,
    ) -> cython.longlong:
        """Start reading the missing pages of the window; how many. page_cache_ra_unbounded(),
        v6.12."""
        if mapping.size_bytes == 0:
            return 0
        last: cython.longlong = (mapping.size_bytes - 1) >> 12
        if start > last:
            return 0
        if nr > last - start:
            nr = last - start + 1  # mm/readahead.c do_page_cache_ra(), v6.12
        mark: cython.longlong = start + nr - lookahead if 0 < lookahead <= nr else -1
        started: cython.longlong = 0
        index: cython.longlong
        for index in range(start, start + nr):
            if mapping.slot(index) > 0:
                continue
            pfn: cython.int = self.pages.add_new(mapping, index, GFP_READAHEAD)
            if pfn < 0:
                break
            if index == mark:
                self.mem.flags[pfn] |= PG_READAHEAD
            self._start_read(mapping, index, pfn)
            started += 1
        self.folio_io.unplug()
        return started

    @cython.cfunc
    def _start_read(self, mapping: Mapping, index: cython.longlong, pfn: cython.int) -> cython.void:
        """Put a locked page to the device; a hole is full of zeros at once."""
        if mapping.is_mapped(index):
            self.folio_io.submit_read(self.device, pfn, mapping.block_base + index)
        else:
            self.folio_io.end_read(pfn)

    @cython.cfunc
    def _read_page(self, mapping: Mapping, index: cython.longlong, pfn: cython.int) -> cython.void:
        """Read one page and wait for it: filemap_read_folio(), v6.12."""
        self.mem.flags[pfn] |= PG_LOCKED
        self.mem.refcount[pfn] += 1
        self._start_read(mapping, index, pfn)
        self.folio_io.unplug()
        self.folio_io.wait_on_folio(pfn, STALL_FILE_READ)
        self.mem.refcount[pfn] -= 1

    @cython.ccall
    def read_for_write(
        self, mapping: Mapping, index: cython.longlong, pfn: cython.int
    ) -> cython.int:
        """A page is written in part: read the rest of it first; 0."""
        if self.mem.flags[pfn] & PG_LOCKED:
            self.folio_io.wait_on_folio(pfn, STALL_FILE_READ)
        if not self.mem.flags[pfn] & PG_UPTODATE:
            self._read_page(mapping, index, pfn)
        return 0

    @cython.ccall
    def fault(
        self,
        file: OpenFile,
        index: cython.longlong,
        advice: cython.int,
        tried: cython.int,
        memcg_id: cython.int,
    ) -> cython.int:
        """A fault on page `index`: VM_FAULT_* bits, and `fault_pfn` unless RETRY, OOM or SIGBUS is
        set.

        `tried` is SECOND_TRY after a RETRY. filemap_fault(), v6.12.
        """
        mapping: Mapping = file.mapping
        self.fault_pfn = NIL
        if index >= mapping.end_index():
            return VM_FAULT_SIGBUS
        verdict: cython.int = 0
        dropped: cython.int = 0  # the mmap lock was given up for I/O: the fault must start again
        pfn: cython.int = self.page_cache.find_get_entry(mapping, index)
        if pfn >= 0:
            if tried == FIRST_TRY:
                dropped = self._async_mmap(file, pfn, index, advice)
        else:
            self.vmstat.count(PGMAJFAULT, 1)
            self.folio_io.memcgs.count_event(memcg_id, PGMAJFAULT, 1)
            verdict = VM_FAULT_MAJOR
            dropped = self._sync_mmap(file, index, advice, tried)
            pfn = self.page_cache.find_get_entry(mapping, index)
            if pfn < 0:
                pfn = self.pages.add_new(mapping, index, GFP_CACHE)
                if pfn < 0:
                    return verdict | (VM_FAULT_RETRY if dropped else VM_FAULT_OOM)
                self.mem.flags[pfn] &= ~PG_LOCKED  # FGP_FOR_MMAP
        if self.mem.flags[pfn] & PG_LOCKED:
            dropped |= 1 if tried == FIRST_TRY else 0
            self.mem.refcount[pfn] += 1
            self.folio_io.wait_on_folio(pfn, STALL_FILE_READ)
            self.mem.refcount[pfn] -= 1
        if not self.mem.flags[pfn] & PG_UPTODATE:
            dropped |= 1 if tried == FIRST_TRY else 0
            self._read_page(mapping, index, pfn)
        if dropped:
            return verdict | VM_FAULT_RETRY
        self.fault_pfn = pfn
        return verdict

    @cython.cfunc
    def _async_mmap(
        self, file: OpenFile, pfn: cython.int, index: cython.longlong, advice: cython.int
    ) -> cython.int:
        """mm/filemap.c do_async_mmap_readahead(), v6.12: 1 when the mmap lock was given up."""
        if advice == ADVICE_RANDOM or file.ra.ra_pages == 0:
            return 0
        if file.ra.mmap_miss > 0:
            file.ra.mmap_miss -= 1
        if not self.mem.flags[pfn] & PG_READAHEAD:
            return 0
        self.mem.refcount[pfn] += 1
        self._async(file, pfn, index, file.ra.ra_pages)
        self.mem.refcount[pfn] -= 1
        return 1

    @cython.cfunc
    def _sync_mmap(
        self, file: OpenFile, index: cython.longlong, advice: cython.int, tried: cython.int
    ) -> cython.int:
        """mm/filemap.c do_sync_mmap_readahead(), v6.12: 1 when the mmap lock was given up."""
        if advice == ADVICE_RANDOM:
            return 0
        sequential: cython.int = 1 if advice == ADVICE_SEQUENTIAL else 0
        if self.readahead.mmap_readahead(file.mapping, file.ra, index, sequential) != READ_WINDOW:
            return 0
        self._read_window(file.mapping)
        return 1 if tried == FIRST_TRY else 0

    @cython.ccall
    def map_pages(self, file: OpenFile, start: cython.longlong, end: cython.longlong) -> cython.int:
        """Fault-around: pages of [start, end) that can be mapped now, into `found_pfn`,
        `found_index`.

        How many (MAP_ROOM at most). The caller skips those whose PTE is in use.
        filemap_map_pages(), v6.12.
        """
        mapping: Mapping = file.mapping
        if end > mapping.end_index():
            end = mapping.end_index()
        if end > mapping.nr_slots:
            end = mapping.nr_slots
        if end > start + MAP_ROOM:
            end = start + MAP_ROOM
        missed: cython.int = file.ra.mmap_miss
        nr: cython.int = 0
        at: cython.longlong
        flags: cython.longlong
        entry: cython.longlong
        for at in range(start, end):
            entry = mapping.slots[at]
            if entry <= 0:
                continue
            flags = self.mem.flags[entry - 1]
            if flags & (PG_LOCKED | PG_UPTODATE | PG_READAHEAD) != PG_UPTODATE:
                continue
            # mm/filemap.c filemap_map_order0_folio(), v6.12: a refaulted page was a miss, not a hit
            if missed > 0 and not (self.kernel >= 612 and flags & PG_WORKINGSET):
                missed -= 1
            self.found_pfn[nr] = cython.cast(cython.int, entry - 1)
            self.found_index[nr] = at
            nr += 1
        file.ra.mmap_miss = missed
        self.nr_found = nr
        return nr
