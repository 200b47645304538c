"""Owns what happens by itself as time passes: timers of kernel threads, ends of I/O, planned
events.

Imports hardware. Has never heard of what a source does: it asks each when it is due and lets it
run. The order is by time, then by the order of the sources, so one seed replays everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from memtwin.errors import require
from memtwin.hardware.clock import Clock


@dataclass(frozen=True)
class Source:
    """One thing with a timer: `next_ns()` says when it is due (-1: never), `run()` lets it run."""

    name: str
    next_ns: Callable[[], int]
    run: Callable[[], object]


class Timers:
    """All sources of one machine."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.sources: list[Source] = []
        self._asked: list[Callable[[], int]] = []  # their `next_ns`, asked before every event

    def add(self, name: str, next_ns: Callable[[], int], run: Callable[[], object]) -> None:
        """Add a source; earlier ones go first at equal times."""
        self.sources.append(Source(name, next_ns, run))
        self._asked.append(next_ns)

    def next_ns(self) -> int:
        """When the first source is due, or -1."""
        first_ns = -1
        for next_ns in self._asked:
            time_ns = next_ns()
            if time_ns >= 0 and (first_ns < 0 or time_ns < first_ns):
                first_ns = time_ns
        return first_ns

    def run_until(self, now_ns: int) -> None:
        """Let every source that is due by `now_ns` run at its time; the clock stays put."""
        if not 0 <= self.next_ns() <= now_ns:
            return
        clock, came_ns = self.clock, self.clock.now_ns
        tasks_ns = clock.cpu_ns - clock.kthread_ns
        idle_rounds = 0
        while (due_ns := self.next_ns()) >= 0 and due_ns <= now_ns:
            source = next(s for s in self.sources if s.next_ns() == due_ns)
            self.clock.now_ns = due_ns
            source.run()
            idle_rounds = idle_rounds + 1 if self.next_ns() == due_ns else 0
            require(
                idle_rounds < 10_000, "timers.run_until", f"{source.name} stays due at {due_ns}"
            )
        clock.now_ns = max(came_ns, clock.now_ns)
        clock.kthread_ns = clock.cpu_ns - tasks_ns  # all that ran here are kernel threads'
