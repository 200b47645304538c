"""Owns who runs when: CPUs, runnable jobs, and the timers between them.

Imports hardware and timers. Has never heard of pages. A job is a generator that yields whenever it
could let another run (after a wait, or at the end of its slice); its `return` ends it. On one CPU
computing is serial and waiting overlaps; on more, computing overlaps too, one slice at a time and
in order of virtual time.

# DIFFERS: no priorities and no preemption inside a slice; CFS and EEVDF divide CPU time more
# finely; bends the order in which concurrent processes touch pages, not their totals.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator
from inspect import GEN_RUNNING, getgeneratorstate

from memtwin.errors import require
from memtwin.hardware.clock import Clock
from memtwin.machine.accounts import Accounts
from memtwin.machine.timers import Timers

Job = Generator[None, None, None]
SLICE_NS = 3_000_000  # kernel/sched/fair.c sysctl_sched_min_granularity 0.75 ms * 4, v6.1
_FOREVER = 1 << 62


class Scheduler:
    """Runs jobs on CPUs in virtual time."""

    def __init__(
        self, clock: Clock, nr_cpus: int, timers: Timers, accounts: Accounts | None = None
    ) -> None:
        self.clock = clock
        self.accounts = accounts  # told when the clock goes to another job's time
        self.timers = timers
        self._cpu_free_ns = [0] * nr_cpus
        self._ready: list[tuple[int, int, str]] = []
        self._jobs: dict[str, Job] = {}
        self._seq = 0

    def add(self, name: str, job: Job) -> None:
        """Let `job` run from now on under `name` (one job a name at a time)."""
        require(name not in self._jobs, "scheduler.add", f"{name} has a job already")
        self._jobs[name] = job
        self._push(name, self.clock.now_ns)

    def drop(self, name: str) -> None:
        """End the job of `name` where it stands, if it has one (its process died)."""
        job = self._jobs.pop(name, None)
        if job is not None and getgeneratorstate(job) != GEN_RUNNING:
            job.close()

    def busy(self, name: str) -> bool:
        """Whether `name` still has a job."""
        return name in self._jobs

    def state(self, name: str) -> str:
        """R: could run, D: waits for a device or for memory, S: has nothing to do."""
        if name not in self._jobs:
            return "S"
        later = any(one == name and at > self.clock.now_ns for at, _, one in self._ready)
        return "D" if later else "R"

    def load(self) -> tuple[int, int]:
        """(jobs that could run now, jobs that wait until later)."""
        ready_ns = {name: time_ns for time_ns, _, name in self._ready if name in self._jobs}
        waiting = sum(time_ns > self.clock.now_ns for time_ns in ready_ns.values())
        return len(self._jobs) - waiting, waiting

    def run(self, until_done: str) -> None:
        """Run jobs in order of time until the job of `until_done` has ended."""
        while until_done in self._jobs and self._step():
            pass

    def sleep_until(self, time_ns: int) -> None:
        """Let jobs and timers run until `time_ns`, then stand there."""
        while self._ready and self._ready[0][0] < time_ns:
            self._step()
        self.timers.run_until(time_ns)
        self.clock.now_ns = max(self.clock.now_ns, time_ns)

    def _push(self, name: str, ready_ns: int) -> None:
        heapq.heappush(self._ready, (ready_ns, self._seq, name))
        self._seq += 1

    def _step(self) -> bool:
        while self._ready and self._ready[0][2] not in self._jobs:
            heapq.heappop(self._ready)
        if not self._ready:
            return False
        ready_ns, _, name = heapq.heappop(self._ready)
        cpu = min(range(len(self._cpu_free_ns)), key=self._cpu_free_ns.__getitem__)
        start_ns = max(ready_ns, self._cpu_free_ns[cpu])
        if self.accounts is not None:
            self.accounts.close()
        self.timers.run_until(start_ns)
        clock = self.clock
        clock.now_ns = start_ns
        if self.accounts is not None:
            self.accounts.restart(ready_ns)
        clock.many_tasks = int(len(self._jobs) > 1)
        timer_ns = self.timers.next_ns()
        slice_ns = start_ns + SLICE_NS if len(self._jobs) > 1 else _FOREVER
        clock.slice_end_ns = min(slice_ns, timer_ns if timer_ns >= 0 else _FOREVER)
        clock.must_yield = 0
        cpu_before_ns = clock.cpu_ns
        job = self._jobs.get(name)
        if job is None:
            return True
        try:
            next(job)
        except StopIteration:
            self._jobs.pop(name, None)
        else:
            if name in self._jobs:
                self._push(name, clock.now_ns)
        if self.accounts is not None:
            self.accounts.close()
        self._cpu_free_ns[cpu] = start_ns + clock.cpu_ns - cpu_before_ns
        clock.slice_end_ns = _FOREVER
        clock.must_yield = 0
        return True
