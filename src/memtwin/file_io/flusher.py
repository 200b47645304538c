"""Owns writing back: the lists of dirty inodes, the flusher thread, kjournald2's timer, sync and
fsync.

Imports file_io (dirty_limits, ext4, journal, metadata, page_writer), hardware. Has never heard of
tasks; who must pause is file_io/throttle's affair. The machine calls `run(now_ns)` when `next_ns()`
has come.

A dirty inode: b_dirty -> b_io (its turn) -> clean, or b_more_io (more to write), or b_dirty again.
"""

from __future__ import annotations

from collections import deque

from memtwin.file_io.constants import EVERYTHING, SYNC_ALL, SYNC_NONE
from memtwin.file_io.dirty_limits import DIRTY_SCOPE, MIN_WRITEBACK_PAGES, DirtyLimits
from memtwin.file_io.ext4 import Ext4
from memtwin.file_io.inode import REGULAR, Inode
from memtwin.file_io.journal import SOMEONE_WAITS
from memtwin.file_io.metadata import TASK_WAITS, THREAD_WAITS
from memtwin.file_io.objects import IO_END, IO_END_VEC
from memtwin.file_io.page_writer import PageWriter
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.page.tunables import Tunables
from memtwin.page_cache.mapping import Mapping

CENTISECOND_NS = 10_000_000
BACKGROUND, PERIODIC, START_ALL = range(3)  # why wb_writeback() runs


class Flusher:
    """The one bdi_writeback of the machine's file device."""

    def __init__(
        self,
        clock: Clock,
        cost: CostTable,
        tunables: Tunables,
        limits: DirtyLimits,
        writer: PageWriter,
        ext4: Ext4,
    ) -> None:
        self.clock = clock
        self.write_page_ns = int(cost.write_page_ns)
        self.tunables = tunables
        self.limits = limits
        self.writer = writer
        self.ext4 = ext4
        self.journal = ext4.journal
        self.metadata = ext4.metadata
        self.folio_io = writer.folio_io
        self.dirty = writer.dirty
        self.b_dirty: deque[Inode] = deque()  # dirtied last at the left
        self.b_io: deque[Inode] = deque()  # the right one is next
        self.b_more_io: deque[Inode] = deque()
        self.timer_ns = -1  # when the delayed work runs; -1: it is not queued
        self.last_old_flush_ns = clock.now_ns
        self.device_inode = Inode(0, "", 0, REGULAR)  # stands for the block device's own inode
        self.device_inode.mapping_id = self.metadata.mapping_id
        self._running = False

    # time

    def next_ns(self) -> int:
        """When the flusher or the journal next has something to do, or -1."""
        commit_ns = self.journal.commit_due_ns
        if self.timer_ns < 0 or 0 <= commit_ns < self.timer_ns:
            return commit_ns
        return self.timer_ns

    def run(self, now_ns: int) -> None:
        """Do what is due at `now_ns`."""
        self.metadata.reader = THREAD_WAITS
        self.journal.commit_if_due(now_ns)
        self.metadata.reader = TASK_WAITS
        self.collect()
        if 0 <= self.timer_ns <= now_ns:
            self.timer_ns = -1
            self._workfn()

    def run_if_due(self) -> None:
        """Do what has become due while a task computed."""
        if self.dirty.newly_dirty:
            self.collect()
        due_ns = self.next_ns()
        if 0 <= due_ns <= self.clock.now_ns:
            self.run(self.clock.now_ns)

    def sleep_until(self, time_ns: int, why: int) -> int:
        """Let time pass for the running task, with I/O ending and timers going off: ns waited."""
        waited_ns = 0
        while self.clock.now_ns < time_ns:
            stops = [
                stop for stop in (self.next_ns(), int(self.folio_io.next_end_ns())) if stop >= 0
            ]
            stop_ns = max(min([time_ns, *stops]), self.clock.now_ns)
            waited_ns += int(self.metadata.border.wait_until(stop_ns, why))
            self.folio_io.run_completions(self.clock.now_ns)
            self.run_if_due()
        return waited_ns

    # dirty inodes

    def mark_dirty(self, inode: Inode) -> None:
        """The inode has its first dirty page, or a changed record: __mark_inode_dirty(), v6.1."""
        if inode.dirty:
            return
        inode.dirty = True
        if inode.queue:
            return
        inode.dirtied_when_ns = self.clock.now_ns
        idle = not (self.b_dirty or self.b_io or self.b_more_io)
        self._put(inode, "b_dirty")
        if idle:
            self._wakeup_delayed()

    def collect(self) -> None:
        """Put the inodes of mappings that got their first dirty page on b_dirty."""
        newly, self.dirty.newly_dirty = self.dirty.newly_dirty, []
        for mapping_id in newly:
            if mapping_id == self.metadata.mapping_id:
                self.mark_dirty(self.device_inode)
            elif mapping_id in self.ext4.by_mapping:
                self.mark_dirty(self.ext4.by_mapping[mapping_id])

    def _put(self, inode: Inode, queue: str) -> None:
        self._take_off(inode)
        inode.queue = queue
        getattr(self, queue).appendleft(inode)

    def _take_off(self, inode: Inode) -> None:
        if inode.queue:
            getattr(self, inode.queue).remove(inode)
            inode.queue = ""

    def forget(self, inode: Inode) -> None:
        """The inode is evicted."""
        self._take_off(inode)
        inode.dirty = False

    def _mapping_of(self, inode: Inode) -> Mapping:
        return self.metadata.mapping if inode is self.device_inode else self.ext4.mapping_of(inode)

    def _wakeup_delayed(self) -> None:
        interval = self.tunables.dirty_writeback_centisecs
        if interval > 0 and self.timer_ns < 0:
            self.timer_ns = self.clock.now_ns + interval * CENTISECOND_NS

    # the flusher thread

    def start_background(self) -> None:
        """wb_start_background_writeback(). MODEL: the woken thread runs at once."""
        if not self._running:
            self.timer_ns = -1  # mod_delayed_work() moves a queued run to now
            self._workfn()

    def start_all(self) -> None:
        """wakeup_flusher_threads(): reclaim met too many dirty pages; write as many as there
        are."""
        nr_pages = self.limits.nr_dirty()
        if nr_pages and not self._running:
            self.collect()
            self._running = True
            self.metadata.reader = THREAD_WAITS
            self._writeback(START_ALL, nr_pages)
            self._running = False
            self.metadata.reader = TASK_WAITS
            if self.b_dirty or self.b_io or self.b_more_io:
                self._wakeup_delayed()

    def _workfn(self) -> None:
        """fs/fs-writeback.c wb_workfn(), v6.1."""
        self.collect()
        self._running = True
        self.metadata.reader = THREAD_WAITS
        self._check_old_data()
        if self.limits.over_bg_thresh():
            self._writeback(BACKGROUND, EVERYTHING)
        self._running = False
        self.metadata.reader = TASK_WAITS
        if self.b_dirty or self.b_io or self.b_more_io:
            self._wakeup_delayed()

    def _check_old_data(self) -> None:
        """fs/fs-writeback.c wb_check_old_data_flush(), v6.1."""
        interval_ns = self.tunables.dirty_writeback_centisecs * CENTISECOND_NS
        if not interval_ns or self.clock.now_ns < self.last_old_flush_ns + interval_ns:
            return
        self.last_old_flush_ns = self.clock.now_ns
        nr_pages = self.limits.nr_dirty() + sum(map(len, (self.b_dirty, self.b_io, self.b_more_io)))
        if nr_pages:
            self._writeback(PERIODIC, nr_pages)

    def _writeback(self, reason: int, nr_pages: int) -> None:
        """fs/fs-writeback.c wb_writeback(), v6.1 and v6.12."""
        now_ns = self.clock.now_ns
        before_ns = now_ns
        if reason == PERIODIC:
            before_ns = now_ns - self.tunables.dirty_expire_centisecs * CENTISECOND_NS
        queued = False
        # MODEL: the thread's own time passes beside the running task's, a page's price for each
        # page put in; a write that ends meanwhile gives the device its share of the limits
        thread_ns = now_ns
        while nr_pages > 0:
            if 0 <= self.folio_io.next_end_ns() <= thread_ns:
                self.limits.note_completion()
            if reason == BACKGROUND and not self.limits.over_bg_thresh():
                break
            if not self.b_io:
                self._queue_io(before_ns)
                queued = True
            progress, nr_pages = self._write_inodes(before_ns, nr_pages)
            thread_ns += progress * self.write_page_ns
            if progress:
                continue
            if self.tunables.kernel >= 612 and not queued:
                continue
            # with nothing in b_more_io there is no more to do; with something, it would only wait
            break
        self.limits.update_bandwidth(0, 0)

    def _queue_io(self, before_ns: int) -> None:
        """fs/fs-writeback.c queue_io(), v6.1."""
        while self.b_more_io:
            inode = self.b_more_io.pop()
            inode.queue = "b_io"
            self.b_io.appendleft(inode)
        while self.b_dirty and self.b_dirty[-1].dirtied_when_ns <= before_ns:
            inode = self.b_dirty.pop()
            inode.queue = "b_io"
            self.b_io.appendleft(inode)

    def _chunk_pages(self, nr_pages: int) -> int:
        """fs/fs-writeback.c writeback_chunk_size(), v6.1."""
        pages = min(
            self.limits.avg_write_bandwidth // 2, self.limits.dirty_limit // DIRTY_SCOPE, nr_pages
        )
        return (pages + MIN_WRITEBACK_PAGES) // MIN_WRITEBACK_PAGES * MIN_WRITEBACK_PAGES

    def _write_inodes(self, before_ns: int, nr_pages: int) -> tuple[int, int]:
        """fs/fs-writeback.c writeback_sb_inodes(), v6.1: (pages and inodes done, pages left to
        do)."""
        done = 0
        while self.b_io:
            inode = self.b_io[-1]
            chunk = self._chunk_pages(nr_pages)
            wrote = self._write_inode(inode, chunk)
            nr_pages -= wrote
            done += wrote
            if self._requeue(inode, chunk - wrote, before_ns):
                done += 1
            # the kernel also stops after 100 ms of writing; here submitting takes no time
            if done and nr_pages <= 0:
                break
        return done, nr_pages

    def _write_inode(self, inode: Inode, most: int) -> int:
        """Write a chunk of one inode, from where it stopped: do_writepages() with range_cyclic."""
        mapping = self._mapping_of(inode)
        self.limits.estimate_start()
        if mapping.nr_dirty == 0:
            return 0
        if inode is self.device_inode:
            return self.metadata.write_pages(0, EVERYTHING, most)
        start = int(mapping.writeback_index)
        wrote = self._write_data(inode, mapping, start, EVERYTHING, most, SYNC_NONE)
        if wrote < most and start > 0:
            wrote += self._write_data(inode, mapping, 0, start, most - wrote, SYNC_NONE)
        mapping.writeback_index = self.writer.next_index if mapping.nr_dirty else 0
        self.limits.update_bandwidth(0, 0)
        return wrote

    def _write_data(
        self, inode: Inode, mapping: Mapping, start: int, end: int, most: int, sync: int
    ) -> int:
        self.ext4.place(inode)
        # fs/ext4/page-io.c ext4_init_io_end(), v6.1
        # DIFFERS: given back at once; the end of a write calls nobody up here; bends how many slabs
        # of it a burst of small files leaves behind
        for kind in (IO_END, IO_END_VEC):
            self.ext4.cache.objects.free_one(kind, self.ext4.cache.objects.alloc_one(kind))
        wrote = int(self.writer.write_range(mapping, start, end, most, sync))
        if self.writer.nr_mapped:
            self.ext4.allocate(inode, int(self.writer.nr_mapped))
        return wrote

    def _requeue(self, inode: Inode, left: int, before_ns: int) -> bool:
        """fs/fs-writeback.c requeue_inode(): True when the inode is clean."""
        mapping = self._mapping_of(inode)
        if mapping.nr_dirty == 0:
            self._clean(inode)
            return True
        fresh = inode.dirtied_when_ns > before_ns
        if left <= 0 and not (self.tunables.kernel >= 612 and fresh):
            self._put(inode, "b_more_io")
        else:
            self._redirty_tail(inode)
        return False

    def _redirty_tail(self, inode: Inode) -> None:
        """fs/fs-writeback.c redirty_tail_locked(), v6.1: keep b_dirty in order of time."""
        self._take_off(inode)
        if self.b_dirty and inode.dirtied_when_ns < self.b_dirty[0].dirtied_when_ns:
            inode.dirtied_when_ns = self.clock.now_ns
        self._put(inode, "b_dirty")

    def _clean(self, inode: Inode) -> None:
        self._take_off(inode)
        inode.dirty = False
        if inode is not self.device_inode:
            self.ext4.cache.iput(inode, int(self._mapping_of(inode).nr_pages))

    # sync

    def _dirty_inodes(self) -> list[Inode]:
        return [*reversed(self.b_io), *reversed(self.b_more_io), *reversed(self.b_dirty)]

    def sync(self) -> int:
        """sync(): write everything and wait: ns waited. fs/sync.c ksys_sync(), v6.12."""
        started_ns = self.clock.now_ns
        self.collect()
        files = [inode for inode in self._dirty_inodes() if inode is not self.device_inode]
        for inode in files:
            self._write_data(inode, self._mapping_of(inode), 0, EVERYTHING, EVERYTHING, SYNC_ALL)
        for inode in files:
            self.writer.wait_range(self._mapping_of(inode), 0, EVERYTHING)
            self._clean(inode)
        self._sync_device()
        self.journal.commit(SOMEONE_WAITS)
        self.collect()
        self._sync_device()
        self.limits.update_bandwidth(0, 0)
        return self.clock.now_ns - started_ns

    def _sync_device(self) -> None:
        self.metadata.write_pages(0, EVERYTHING, EVERYTHING)
        self.writer.wait_range(self.metadata.mapping, 0, EVERYTHING)
        if self.metadata.mapping.nr_dirty == 0:
            self._take_off(self.device_inode)
            self.device_inode.dirty = False

    def fsync(self, inode: Inode) -> int:
        """fsync(): the file's pages, then the journal: ns waited. fs/ext4/fsync.c, v6.12."""
        started_ns = self.clock.now_ns
        self.write_and_wait(inode, 0, EVERYTHING)
        if self.geometry_block_of(inode) in self.journal.running:
            self.journal.commit(SOMEONE_WAITS)
            self.collect()
        return self.clock.now_ns - started_ns

    def start_write(self, inode: Inode) -> None:
        """Start writing all the file's dirty pages, without waiting:
        __filemap_fdatawrite_range()."""
        mapping = self._mapping_of(inode)
        if mapping.nr_dirty:
            self._write_data(inode, mapping, 0, EVERYTHING, EVERYTHING, SYNC_NONE)

    def geometry_block_of(self, inode: Inode) -> int:
        """The metadata block that holds the inode's record."""
        return self.ext4.geometry.inode_block(inode.ino)

    def write_and_wait(self, inode: Inode, start: int, end: int) -> None:
        """file_write_and_wait_range() of pages [start, end)."""
        mapping = self._mapping_of(inode)
        self._write_data(inode, mapping, start, end, EVERYTHING, SYNC_ALL)
        self.writer.wait_range(mapping, start, end)
        if mapping.nr_dirty == 0 and inode.dirty:
            self._clean(inode)

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        lists = [
            (name, [inode.ino for inode in getattr(self, name)])
            for name in ("b_dirty", "b_io", "b_more_io")
        ]
        return [*lists, ("timer_ns", self.timer_ns), ("last_old_flush_ns", self.last_old_flush_ns)]
