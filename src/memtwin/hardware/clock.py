"""Owns virtual time: now_ns, and how it splits into computing and waiting.

Imports nothing. Has never heard of what takes time. The queue of events ordered by (time_ns, seq)
is `hardware/event_queue.py`. With several tasks, `machine` sets `now_ns` to the running task's
time.
"""

from __future__ import annotations

import cython

# why a task waited: rows of `stall_ns`
STALL_SWAP_IN, STALL_FILE_READ, STALL_RECLAIM, STALL_DIRTY, STALL_HIGH, STALL_SLEEP = range(6)
STALLS = ("swap_in", "file_read", "reclaim", "dirty", "memcg_high", "sleep")


@cython.final
@cython.cclass
class Clock:
    """The one clock of a machine. A running task's time only grows."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.cpu_ns = 0  # of all spent so far, what kept a CPU busy
        self.user_ns = 0  # of cpu_ns, what programs computed; the rest is the kernel's
        self.kthread_ns = 0  # of cpu_ns, what kernel threads computed; a task's are cpu_ns - it
        self.kswapd_ns = 0  # what kswapd computed
        self.beside_ns = 0  # of it, on other CPUs: no part of cpu_ns
        self.many_tasks = 0  # 1 while more than one task is runnable
        self.must_yield = 0  # 1 after a wait while many_tasks: batch loops return
        self.slice_end_ns = 1 << 62  # batch loops also return once now_ns reaches it
        self.stall_ns = [0] * len(STALLS)

    @cython.cfunc
    def spend(self, duration_ns: cython.longlong) -> cython.void:
        """Compute for `duration_ns` (>= 0)."""
        self.now_ns += duration_ns
        self.cpu_ns += duration_ns
        if self.now_ns >= self.slice_end_ns:
            self.must_yield = 1

    @cython.cfunc
    def spend_user(self, duration_ns: cython.longlong) -> cython.void:
        """Compute for `duration_ns` (>= 0) in a program itself, outside the kernel."""
        self.user_ns += duration_ns
        self.spend(duration_ns)

    @cython.cfunc
    def wait_until(self, time_ns: cython.longlong, why: cython.int) -> cython.longlong:
        """Wait until `time_ns` if it lies ahead, because of stall `why`; the ns waited."""
        waited_ns: cython.longlong = time_ns - self.now_ns
        if waited_ns <= 0:
            return 0
        self.now_ns = time_ns
        self.stall_ns[why] += waited_ns
        self.must_yield = self.many_tasks
        return waited_ns

    @cython.cfunc
    def charge_stall(self, duration_ns: cython.longlong, why: cython.int) -> cython.void:
        """Compute for `duration_ns` on behalf of stall `why` (direct reclaim, decompression)."""
        self.spend(duration_ns)
        self.stall_ns[why] += duration_ns

    @cython.cfunc
    def go_back(
        self,
        now_ns: cython.longlong,
        cpu_ns: cython.longlong,
        stall_ns: list,  # type: ignore[type-arg]
        must_yield: cython.int,
    ) -> cython.void:
        """What was spent since was a kernel thread's on another CPU: the task stands where it
        stood.
        """
        self.now_ns = now_ns
        self.cpu_ns = cpu_ns
        self.stall_ns[:] = stall_ns
        self.must_yield = must_yield

    def stall_names(self) -> tuple[str, ...]:
        """Names of the rows of `stall_ns`."""
        return STALLS

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = ("now_ns", "cpu_ns", "user_ns", "kthread_ns", "kswapd_ns", "beside_ns")
        return [(name, getattr(self, name)) for name in (*names, "stall_ns")]
