"""Owns which processes are worth a walk of their page tables now, within a share of one CPU.

Imports the room's `scan` and `record`. Knows nothing of views. Reading smaps_rollup holds
the process's mmap_lock while the kernel walks its page tables; so every process's stat is read at
every look, its smaps_rollup only where something moved, the largest change first, and the rest
keeps its last figures with their age.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from memtwin.observe.processes.record import Origin, Process, RollupFigures
from memtwin.observe.processes.scan import GONE, ProcessScan, take_figures
from memtwin.units import PAGE_SHIFT

DEFAULT_SHARE = 0.01
SAVED_S = 60.0  # MODEL: earnings are kept so long; a walk that costs more is never made
STALE_S = 30.0  # MODEL: what others do changes a PSS too; older figures use up what is left
COUNTED_FROM_BYTES = 32 << 20  # MODEL: below, counting mappings costs more than it tells
USUAL_AREAS = 50  # measured: benchmarks/processes.md, a Python process has 46
# measured: benchmarks/processes.md, its three rows; small processes cost up to three times less
WALK_NS, NS_PER_AREA, NS_PER_PAGE = 10_000, 100, 150
_CHUNK_BYTES = 4096  # one read of maps holds mmap_lock for as much text only

Key = tuple[int, int]  # pid and start: a pid alone comes again


class Kept(msgspec.Struct, gc=False):
    """What the last walk of a process found, and what its stat said then."""

    figures: RollupFigures
    read_s: float
    cost_ns: int
    rss_bytes: int
    vss_bytes: int
    faults: int


class Candidate(NamedTuple):
    """A process that a walk would tell something new of; `benefit`: pages in doubt x seconds."""

    benefit: float
    predicted_ns: int
    process: Process


class Spent(msgspec.Struct):
    """What a look did with its budget."""

    walked: int = 0
    carried: int = 0
    estimated: int = 0
    cost_ns: int = 0
    oldest_s: float = 0.0
    too_costly: int = 0


def predicted_ns(rss_bytes: int, area_count: int) -> int:
    """CPU time that one smaps_rollup of a process takes.

    >>> predicted_ns(1 << 30, 100) > 2 * predicted_ns(1 << 28, 100)
    True
    """
    return WALK_NS + NS_PER_AREA * area_count + NS_PER_PAGE * (rss_bytes >> PAGE_SHIFT)


class BudgetedLooks:
    """Looks again and again, and walks as `share` of one CPU allows; `scan` reads Part.STAT."""

    def __init__(
        self,
        scan: ProcessScan,
        share: float = DEFAULT_SHARE,
        cpu_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self.scan = scan
        self.share = share
        self.spent = Spent()
        self._cpu_ns = cpu_ns
        self._kept: dict[Key, Kept] = {}
        self._first_seen_s: dict[Key, float] = {}
        self._earned_ns = 0.0  # may be below 0: a walk that cost more than predicted
        self._saved_ns = 0.0  # set aside for `_saving_for`
        self._saving_for: Key | None = None
        self._last_s: float | None = None

    def look(self, now_s: float, interval_s: float) -> list[Process]:
        """All processes at `now_s` (of any steady clock); the first look earns one interval."""
        scan, self.spent = self.scan, Spent()
        scan.missed.clear()
        elapsed_s = interval_s if self._last_s is None else max(now_s - self._last_s, 0.0)
        self._last_s = now_s
        processes = [one for pid in scan.pids() if (one := scan.cheap(pid)) is not None]
        candidates = self._candidates(processes, now_s)
        self._earn(elapsed_s * self.share * 1e9, candidates)
        gone = self._walk(candidates, now_s)
        processes = [one for one in processes if one.pid not in gone]
        self._carry(processes, now_s)
        return processes

    def _candidates(self, processes: list[Process], now_s: float) -> list[Candidate]:
        alive = {_key(process): process for process in processes}
        self._kept = {key: kept for key, kept in self._kept.items() if key in alive}
        self._first_seen_s = {k: s for k, s in self._first_seen_s.items() if k in alive}
        found = []
        for key, process in alive.items():
            if process.origin is Origin.NO_MEMORY:
                continue
            kept = self._kept.get(key)
            since_s = kept.read_s if kept else self._first_seen_s.setdefault(key, now_s)
            benefit = _moved_pages(process, kept, now_s) * max(now_s - since_s, 1.0)
            if benefit:
                found.append(Candidate(benefit, self._predicted(process, kept), process))
        found.sort(key=lambda one: -one.benefit)
        return found

    def _predicted(self, process: Process, kept: Kept | None) -> int:
        rss_bytes = process.rss_bytes or 0
        if kept is not None:
            moved_pages = (rss_bytes - kept.rss_bytes) >> PAGE_SHIFT
            return max(kept.cost_ns + moved_pages * NS_PER_PAGE, WALK_NS)
        areas = USUAL_AREAS
        if rss_bytes >= COUNTED_FROM_BYTES:
            begin_ns = self._cpu_ns()
            areas = count_areas(self.scan, process.pid)
            self._earned_ns -= self._cpu_ns() - begin_ns
        return predicted_ns(rss_bytes, areas)

    def _earn(self, earned_ns: float, candidates: list[Candidate]) -> None:
        """Put earnings into the purse; half of them aside while one walk is being saved for."""
        wanted = {_key(one.process) for one in candidates}
        if self._saving_for not in wanted:
            self._saving_for = None
            self._earned_ns += self._saved_ns
            self._saved_ns = 0.0
        if self._saving_for is not None:
            self._saved_ns += earned_ns / 2
            earned_ns /= 2
        most_ns = SAVED_S * self.share * 1e9
        self._earned_ns = min(self._earned_ns + earned_ns, most_ns)

    def _walk(self, candidates: list[Candidate], now_s: float) -> set[int]:
        """Walk what can be afforded; returns the pids that ended meanwhile."""
        gone = set()
        for candidate in candidates:
            process, key = candidate.process, _key(candidate.process)
            purse_ns = self._earned_ns + (self._saved_ns if key == self._saving_for else 0)
            if candidate.predicted_ns > SAVED_S * self.share * 1e9:
                self.spent.too_costly += 1
                process.why = f"a walk would take {candidate.predicted_ns / 1e6:.0f} ms"
                continue
            if candidate.predicted_ns > purse_ns:
                if self._saving_for is None:
                    self._saving_for = key
                continue
            if key == self._saving_for:
                self._earned_ns += self._saved_ns
                self._saved_ns, self._saving_for = 0.0, None
            if not self._walk_one(process, now_s):
                gone.add(process.pid)
        return gone

    def _walk_one(self, process: Process, now_s: float) -> bool:
        stat_rss_bytes = process.rss_bytes or 0
        begin_ns = self._cpu_ns()
        alive = self.scan.costly(process)
        cost_ns = self._cpu_ns() - begin_ns
        self._earned_ns -= cost_ns
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
                figures, now_s, cost_ns, stat_rss_bytes, process.vss_bytes, _faults(process)
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


def count_areas(scan: ProcessScan, pid: int) -> int:
    """How many mappings `pid` has, read in small pieces so that none holds its lock for long."""
    count = 0
    try:
        for piece in scan.files.pieces(f"{pid}/maps", _CHUNK_BYTES):
            count += piece.count(b"\n")
    except (OSError, ValueError):
        return count or USUAL_AREAS
    return count


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
