"""Owns looking again and again at all processes within a share of one CPU, as records.

Imports the room's `scan`, `record` and `walk_budget`. Knows nothing of views. Every process's stat
is read at every look, its smaps_rollup only where something moved and the budget affords it; the
rest keeps its last figures with their age.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import cast

import msgspec

from memtwin.observe.processes.record import Origin, Process, RollupFigures
from memtwin.observe.processes.scan import GONE, ProcessScan, take_figures
from memtwin.observe.processes.walk_budget import WalkBudget, Wish
from memtwin.units import PAGE_SHIFT

STALE_S = 30.0  # MODEL: what others do changes a PSS too; older figures use up what is left

Key = tuple[int, int]  # pid and start: a pid alone comes again


class Kept(msgspec.Struct, gc=False):
    """What the last walk of a process found, and what its stat said then."""

    figures: RollupFigures
    read_s: float
    rss_bytes: int
    vss_bytes: int
    faults: int


class Spent(msgspec.Struct):
    """What a look did with its budget."""

    walked: int = 0
    carried: int = 0
    estimated: int = 0
    cost_ns: int = 0
    oldest_s: float = 0.0
    too_costly: int = 0


class BudgetedLooks:
    """Looks again and again, and walks as `share` of one CPU allows; `scan` reads Part.STAT."""

    def __init__(
        self,
        scan: ProcessScan,
        share: float,
        cpu_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self.scan = scan
        self.spent = Spent()
        self._cpu_ns = cpu_ns
        self.budget = WalkBudget(share, self._areas_of, cpu_ns)
        self._kept: dict[Key, Kept] = {}
        self._first_seen_s: dict[Key, float] = {}
        self._last_s: float | None = None

    def look(self, now_s: float, interval_s: float) -> list[Process]:
        """All processes at `now_s` (of any steady clock); the first look earns one interval."""
        scan, self.spent = self.scan, Spent()
        scan.missed.clear()
        elapsed_s = interval_s if self._last_s is None else max(now_s - self._last_s, 0.0)
        self._last_s = now_s
        processes = [one for pid in scan.pids() if (one := scan.cheap(pid)) is not None]
        alive = {_key(process): process for process in processes}
        wishes = self._wishes(alive, now_s)
        self.budget.earn(elapsed_s)
        gone = set()
        for wish in self.budget.affordable(wishes):
            process = alive[cast("Key", wish.key)]
            if not self._walk(process, wish, now_s):
                gone.add(process.pid)
        for key, cost_ns in self.budget.too_costly.items():
            alive[cast("Key", key)].why = f"a walk would take {cost_ns / 1e6:.0f} ms"
        self.spent.too_costly = len(self.budget.too_costly)
        processes = [one for one in processes if one.pid not in gone]
        self._carry(processes, now_s)
        return processes

    def _wishes(self, alive: dict[Key, Process], now_s: float) -> list[Wish]:
        self._kept = {key: kept for key, kept in self._kept.items() if key in alive}
        self._first_seen_s = {k: s for k, s in self._first_seen_s.items() if k in alive}
        self.budget.keep_only(alive.keys())
        found = []
        for key, process in alive.items():
            if process.origin is Origin.NO_MEMORY:
                continue
            kept = self._kept.get(key)
            since_s = kept.read_s if kept else self._first_seen_s.setdefault(key, now_s)
            moved = _moved_pages(process, kept, now_s)
            if moved:
                rss_pages = (process.rss_bytes or 0) >> PAGE_SHIFT
                found.append(Wish(key, moved, now_s - since_s, rss_pages))
        return found

    def _areas_of(self, key: Hashable) -> int:
        pid, _ = cast("Key", key)
        return self.scan.files.line_count(f"{pid}/maps")

    def _walk(self, process: Process, wish: Wish, now_s: float) -> bool:
        stat_rss_bytes = process.rss_bytes or 0
        begin_ns = self._cpu_ns()
        alive = self.scan.costly(process)
        cost_ns = self._cpu_ns() - begin_ns
        self.budget.paid(wish, cost_ns)
        self.spent.walked += 1
        self.spent.cost_ns += cost_ns
        if process.origin is Origin.FRESH:
            figures = RollupFigures(
                process.rss_bytes or 0,
                process.pss_bytes or 0,
                process.uss_bytes or 0,
                process.swap_bytes,
                process.swap_pss_bytes,
                process.hugetlb_bytes,
            )
            self._kept[_key(process)] = Kept(
                figures, now_s, stat_rss_bytes, process.vss_bytes, _faults(process)
            )
        return alive

    def _carry(self, processes: list[Process], now_s: float) -> None:
        """Give every process that was not walked what is known of it, with its age and source."""
        for process in processes:
            if process.origin is not Origin.ABSENT or process.why == GONE:
                continue
            kept = self._kept.get(_key(process))
            if kept is not None:
                rss_bytes = process.rss_bytes
                take_figures(process, kept.figures)
                process.rss_bytes = rss_bytes  # stat's is newer
                process.origin = Origin.CARRIED
                process.age_s = now_s - kept.read_s
                self.spent.carried += 1
                self.spent.oldest_s = max(self.spent.oldest_s, process.age_s)
            elif not process.why or process.why.startswith("a walk"):
                self.spent.estimated += self.scan.estimate(process)


def _key(process: Process) -> Key:
    return process.pid, process.start_ticks or 0


def _faults(process: Process) -> int:
    return (process.min_flt or 0) + (process.maj_flt or 0)


def _moved_pages(process: Process, kept: Kept | None, now_s: float) -> int:
    """Pages that may have moved since the last walk; 0 when nothing did."""
    rss_bytes = process.rss_bytes or 0
    if kept is None:
        return (rss_bytes >> PAGE_SHIFT) + 1
    resized = abs(rss_bytes - kept.rss_bytes) + abs(process.vss_bytes - kept.vss_bytes) // 64
    moved = (resized >> PAGE_SHIFT) + max(_faults(process) - kept.faults, 0)
    if moved == 0 and now_s - kept.read_s > STALE_S:
        return 1
    return moved
