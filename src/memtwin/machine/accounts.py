"""Owns whose the time of the CPUs was: what each task computed, read and wrote.

Imports hardware, page counters and process/task. Has never heard of schedulers or texts. Between
two moments at which the running task changes, what the clock and the counters grew by is its own;
without a running task it is that of programs outside the twin (a recorder, an administrator).

Conserved: what tasks (living, dead and reaped), programs outside and kernel threads computed is
what kept the CPUs busy: clock.cpu_ns + clock.beside_ns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from memtwin.hardware.clock import Clock
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    NR_DIRTIED,
    NR_NODE_ITEMS,
    PGPGIN,
    PSWPIN,
    WORKINGSET_RESTORE_ANON,
    WORKINGSET_RESTORE_FILE,
)
from memtwin.process.task import Task, TaskTimes
from memtwin.units import PAGE_SIZE

_KIB = 1024
_OVER_NODES = (NR_DIRTIED, WORKINGSET_RESTORE_ANON, WORKINGSET_RESTORE_FILE)


class Segment(NamedTuple):
    """A stretch of time in which one task ran or waited.

    `refaulted_anon`, `refaulted_file`: which share of what it read back was of the working set.
    """

    task: Task | None
    ready_ns: int  # since then it could run
    begin_ns: int
    end_ns: int
    cpu_ns: int
    kswapd_ns: int  # meanwhile kswapd computed
    stall_ns: tuple[int, ...]  # in the order of STALLS
    refaulted_anon: float
    refaulted_file: float


class _Mark(NamedTuple):
    now_ns: int
    cpu_ns: int
    user_ns: int
    kswapd_ns: int
    read_kib: int
    dirtied_pages: int
    restored_anon: int
    restored_file: int
    swapped_in: int
    stall_ns: tuple[int, ...]


class Accounts:
    """The accounts of one machine."""

    def __init__(self, clock: Clock, vmstat: VmStat) -> None:
        self.clock = clock
        self.vmstat = vmstat
        self.current: Task | None = None
        self.outside = TaskTimes()
        self.heard: Callable[[Segment], None] | None = None  # told of each segment
        self._mark = self._now()
        self._ready_ns = self._mark.now_ns

    def switch(self, task: Task | None) -> None:
        """From now on `task` runs, or nobody of the twin."""
        if task is not self.current:
            self.close()
            self.current = task

    def close(self) -> None:
        """Book what was spent since the last time."""
        mark, now = self._mark, self._now()
        if now == mark:
            return
        self._mark = now
        times = self.outside if self.current is None else self.current.times
        _book(times, mark, now)
        if self.heard is not None:
            self.heard(_segment(self.current, self._ready_ns, mark, now))
        self._ready_ns = now.now_ns

    def restart(self, ready_ns: int) -> None:
        """The clock was set to the time of a task that could run since `ready_ns`."""
        self._mark = self._mark._replace(now_ns=int(self.clock.now_ns))
        self._ready_ns = ready_ns

    def times_of(self, task: Task) -> TaskTimes:
        """What `task` spent until now; nothing is booked."""
        if task is not self.current:
            return task.times
        times = task.times.copy()
        _book(times, self._mark, self._now())
        return times

    def outside_now(self) -> TaskTimes:
        """What programs outside the twin spent until now; nothing is booked."""
        times = self.outside.copy()
        if self.current is None:
            _book(times, self._mark, self._now())
        return times

    def _now(self) -> _Mark:
        clock, event = self.clock, self.vmstat.event
        dirtied, anon, file = (self._over_nodes(item) for item in _OVER_NODES)
        return _Mark(
            int(clock.now_ns),
            int(clock.cpu_ns) - int(clock.kthread_ns),
            int(clock.user_ns),
            int(clock.kswapd_ns),
            int(event[PGPGIN]),
            dirtied,
            anon,
            file,
            int(event[PSWPIN]),
            tuple(clock.stall_ns),
        )

    def _over_nodes(self, item: int) -> int:
        stat = self.vmstat.node_stat
        found = int(stat[item])
        for row in range(item + NR_NODE_ITEMS, len(stat), NR_NODE_ITEMS):
            found += int(stat[row])
        return found


def _segment(task: Task | None, ready_ns: int, before: _Mark, now: _Mark) -> Segment:
    swapped_in = now.swapped_in - before.swapped_in
    read_pages = max((now.read_kib - before.read_kib) * _KIB // PAGE_SIZE, 1)
    return Segment(
        task,
        min(ready_ns, before.now_ns),
        before.now_ns,
        now.now_ns,
        now.cpu_ns - before.cpu_ns,
        now.kswapd_ns - before.kswapd_ns,
        tuple(n - m for n, m in zip(now.stall_ns, before.stall_ns, strict=True)),
        min((now.restored_anon - before.restored_anon) / max(swapped_in, 1), 1.0),
        min((now.restored_file - before.restored_file) / read_pages, 1.0),
    )


def _book(times: TaskTimes, before: _Mark, now: _Mark) -> None:
    user_ns = now.user_ns - before.user_ns
    times.user_ns += user_ns
    times.system_ns += now.cpu_ns - before.cpu_ns - user_ns
    # PGPGIN and the task's account grow at one place: block/blk-core.c submit_bio(), v6.1
    # so do NR_DIRTIED and its: mm/page-writeback.c folio_account_dirtied(), v6.1
    times.read_bytes += (now.read_kib - before.read_kib) * _KIB
    times.write_bytes += (now.dirtied_pages - before.dirtied_pages) * PAGE_SIZE
