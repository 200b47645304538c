"""Owns how long a writer must pause: balance_dirty_pages(), one state a task.

Imports file_io (dirty, dirty_limits, flusher) and hardware/clock. Has never heard of pages: it
reads counters, starts background writing and lets time pass.
"""

from __future__ import annotations

from memtwin.file_io.dirty import Dirty
from memtwin.file_io.dirty_limits import (
    DIRTY_POLL_THRESH,
    HZ,
    JIFFY_NS,
    MAX_PAUSE,
    RATELIMIT_SHIFT,
    DirtyLimits,
    ilog2,
    roundup_pow_of_two,
)
from memtwin.file_io.flusher import Flusher
from memtwin.file_io.group_dirty import GroupDirty
from memtwin.hardware.clock import STALL_DIRTY, Clock

FIRST_PAUSE_PAGES = 128 >> (12 - 10)  # kernel/fork.c copy_process() nr_dirtied_pause, v6.1


def _poll_interval(thresh: int, dirty: int) -> int:
    """mm/page-writeback.c dirty_poll_interval(), v6.12."""
    return 1 << (ilog2(thresh - dirty) >> 1) if thresh > dirty else 1


class TaskDirty:
    """What a task_struct remembers for throttling."""

    __slots__ = ("nr_dirtied", "nr_dirtied_pause", "paused_when")

    def __init__(self) -> None:
        self.nr_dirtied = 0
        self.nr_dirtied_pause = FIRST_PAUSE_PAGES
        self.paused_when = 0  # jiffies


class Throttle:
    """Throttles whoever dirties pages. `current` is the running task's id; the machine sets it."""

    def __init__(self, clock: Clock, limits: DirtyLimits, dirty: Dirty, flusher: Flusher) -> None:
        self.clock = clock
        self.limits = limits
        self.dirty = dirty
        self.flusher = flusher
        self.current = 0
        self._tasks: dict[int, TaskDirty] = {}

    def forget(self, task_id: int) -> None:
        """The task ended."""
        self._tasks.pop(task_id, None)

    def pages_left(self) -> int:
        """Pages that the running task may dirty before it must call `ratelimited`."""
        task = self._task()
        limit = task.nr_dirtied_pause
        if self.limits.dirty_exceeded:
            limit = min(limit, 32 >> (12 - 10))
        return max(limit - task.nr_dirtied - self.dirty.nr_dirtied, 1)

    def ratelimited(self) -> int:
        """balance_dirty_pages_ratelimited(): pause when it is time; ns paused."""
        task = self._task()
        task.nr_dirtied += int(self.dirty.nr_dirtied)
        self.dirty.nr_dirtied = 0
        self.flusher.run_if_due()
        limit = task.nr_dirtied_pause
        if self.limits.dirty_exceeded:
            limit = min(limit, 32 >> (12 - 10))
        if task.nr_dirtied < limit:
            return 0
        return self._balance(task)

    def _task(self) -> TaskDirty:
        task = self._tasks.get(self.current)
        if task is None:
            task = self._tasks[self.current] = TaskDirty()
        return task

    def _balance(self, task: TaskDirty) -> int:
        """mm/page-writeback.c balance_dirty_pages(), v6.1."""
        limits = self.limits
        paused_ns = 0
        dirtied = task.nr_dirtied
        while True:
            now = limits.jiffies()
            limits.domain_dirty_limits()
            if limits.nr_dirty() > limits.bg_thresh:
                self.flusher.start_background()
            group = self._group()
            if limits.wb_dirty() <= limits.freerun() and (
                group is None or group.total <= group.freerun()
            ):
                task.paused_when = now
                task.nr_dirtied = 0
                task.nr_dirtied_pause = _poll_interval(limits.thresh, limits.wb_dirty())
                if group is not None:
                    least = _poll_interval(group.thresh, group.total)
                    task.nr_dirtied_pause = min(task.nr_dirtied_pause, least)
                return paused_ns
            self.flusher.start_background()
            group = self._group()
            dirty, ratio = self._domain(group)
            limits.update_bandwidth(1, limits.pos_ratio(), group)
            rate = limits.dirty_ratelimit * ratio >> RATELIMIT_SHIFT
            pause, period, next_pause = self._pause(task, now, dirty, rate, dirtied)
            if pause is None:
                self._no_pause(task, now, period, dirtied)
                return paused_ns
            paused_ns += self.flusher.sleep_until(self.clock.now_ns + pause * JIFFY_NS, STALL_DIRTY)
            task.paused_when = now + pause
            task.nr_dirtied = 0
            task.nr_dirtied_pause = next_pause
            if rate or dirty <= 0:
                return paused_ns

    def _group(self) -> GroupDirty | None:
        """The running task's group, measured now, if it has limits of its own."""
        group = self.limits.groups
        return group if group is not None and group.measure_current() else None

    def _domain(self, group: GroupDirty | None) -> tuple[int, int]:
        """(dirty pages, rate's ratio) of the machine or the group, whichever is nearer its end."""
        limits = self.limits
        dirty, ratio = limits.wb_dirty(), limits.pos_ratio()
        exceeded = dirty > limits.wb_thresh(limits.thresh) and dirty > limits.thresh
        if group is not None:
            exceeded = exceeded or group.exceeded()
            group_ratio = group.pos_ratio()
            if group_ratio < ratio:
                dirty, ratio = group.total, group_ratio
        limits.dirty_exceeded = int(exceeded)
        return dirty, ratio

    def _pause(
        self, task: TaskDirty, now: int, dirty: int, rate: int, dirtied: int
    ) -> tuple[int | None, int, int]:
        """(jiffies to pause or None, period, next nr_dirtied_pause) as balance_dirty_pages()
        decides."""
        longest = self._max_pause(dirty)
        shortest, next_pause = self._min_pause(longest, rate)
        if rate == 0:
            return longest, longest, next_pause
        period = HZ * dirtied // rate
        pause = period
        if task.paused_when:
            pause -= now - task.paused_when
        if pause < shortest:
            return None, (-1 if pause < -HZ else period), next_pause
        return min(pause, longest), period, next_pause

    def _no_pause(self, task: TaskDirty, now: int, period: int, dirtied: int) -> None:
        """The task is behind its share of time: let it run on."""
        if period < 0:
            task.paused_when = now
            task.nr_dirtied = 0
        elif period:
            task.paused_when += period
            task.nr_dirtied = 0
        elif task.nr_dirtied_pause <= dirtied:
            task.nr_dirtied_pause += dirtied

    def _max_pause(self, dirty: int) -> int:
        """mm/page-writeback.c wb_max_pause(), v6.1; jiffies."""
        bandwidth = self.limits.avg_write_bandwidth
        pause = dirty // (1 + bandwidth // roundup_pow_of_two(1 + HZ // 8)) + 1
        return min(pause, MAX_PAUSE)

    def _min_pause(self, longest: int, rate: int) -> tuple[int, int]:
        """mm/page-writeback.c wb_min_pause(), v6.1: (jiffies, pages until the next look)."""
        limits = self.limits
        high, low = ilog2(limits.avg_write_bandwidth), ilog2(limits.dirty_ratelimit)
        t = max(1, HZ // 100)
        if high > low:
            t += (high - low) * (10 * HZ) // 1024
        t = min(t, 1 + longest // 2)
        pages = limits.dirty_ratelimit * t // roundup_pow_of_two(HZ)
        if pages < DIRTY_POLL_THRESH:
            t = longest
            pages = limits.dirty_ratelimit * t // roundup_pow_of_two(HZ)
            if pages > DIRTY_POLL_THRESH:
                pages = DIRTY_POLL_THRESH
                t = HZ * DIRTY_POLL_THRESH // limits.dirty_ratelimit
        pause = HZ * pages // (rate + 1)
        if pause > longest:
            t = longest
            pages = rate * t // roundup_pow_of_two(HZ)
        return (1 + t // 2 if pages >= DIRTY_POLL_THRESH else t), pages

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [
            (f"task{task_id}", [task.nr_dirtied, task.nr_dirtied_pause, task.paused_when])
            for task_id, task in sorted(self._tasks.items())
        ]
