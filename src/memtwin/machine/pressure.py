"""Owns pressure stall information: how long tasks waited for memory, devices or a CPU.

Imports machine/accounts and observe's record. Hears of stretches in which a task ran or waited,
and counts the time in which some, and in which all that were not idle, were held up: of the
machine and of every memory cgroup. Has never heard of schedulers or texts.

# DIFFERS: states are the machine's, not each CPU's weighted by its busy time; on one CPU there is
# no difference; with more, full pressure is rarer and CPU pressure begins when all are taken.
# DIFFERS: within a stretch, computing comes first, then reclaim, then waiting; stretches are heard
# of at their end; how stalls of several tasks overlap inside 3 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from memtwin.hardware.clock import (
    STALL_DIRTY,
    STALL_FILE_READ,
    STALL_HIGH,
    STALL_RECLAIM,
    STALL_SWAP_IN,
)
from memtwin.machine.accounts import Segment
from memtwin.observe.system import Pressure as PressureText
from memtwin.observe.system import PressureRow

RESOURCES = ("cpu", "io", "memory")
_HZ = 250  # MODEL: CONFIG_HZ of the kernels that the twin describes
PERIOD_NS = (2 * _HZ + 1) * (1_000_000_000 // _HZ)  # kernel/sched/psi.c PSI_FREQ, v6.1
_EXP = (1677, 1981, 2034)  # EXP_10s, EXP_60s, EXP_300s, the same file
_FSHIFT = 11  # include/linux/sched/loadavg.h, v6.1
_FIXED_1 = 1 << _FSHIFT
_MOST_UNCOUNTED = 256  # stretches: counting many at once costs little for each

Span = tuple[int, int]  # begin_ns, end_ns


class Stretch(NamedTuple):
    """What one task's segment is made of, in the order in which it is taken to happen."""

    waits_for_cpu: Span
    runs: Span  # for itself
    reclaims: Span  # runs, held up by memory
    waits_for_memory: Span
    waits_for_device: Span


class Averages:
    """One line of a pressure file: total and decaying averages."""

    def __init__(self) -> None:
        self.total_ns = 0
        self.averaged_ns = 0  # of total_ns, what the averages have seen
        self.averages = [0, 0, 0]

    def sample(self, period_ns: int) -> None:
        """kernel/sched/psi.c update_averages() and calc_avgs(), v6.1, without missed periods."""
        sample_ns = min(self.total_ns - self.averaged_ns, period_ns)
        self.averaged_ns += sample_ns
        percent = sample_ns * 100 // period_ns * _FIXED_1
        self.averages = [
            _calc_load(average, exp, percent)
            for average, exp in zip(self.averages, _EXP, strict=True)
        ]

    def copy(self) -> Averages:
        """One that grows by itself."""
        found = Averages()
        found.total_ns, found.averaged_ns = self.total_ns, self.averaged_ns
        found.averages = list(self.averages)
        return found

    def row(self) -> PressureRow:
        """As it is printed."""
        of_10_s, of_60_s, of_300_s = (
            (average >> _FSHIFT) + ((average & (_FIXED_1 - 1)) * 100 >> _FSHIFT) / 100
            for average in self.averages
        )
        return PressureRow(of_10_s, of_60_s, of_300_s, self.total_ns // 1000)


def _calc_load(load: int, exp: int, active: int) -> int:
    """include/linux/sched/loadavg.h calc_load(), v6.1."""
    grown = load * exp + active * (_FIXED_1 - exp)
    if active >= load:
        grown += _FIXED_1 - 1
    return grown // _FIXED_1


class PressureGroup:
    """The pressure of the machine or of one cgroup (struct psi_group)."""

    def __init__(self, now_ns: int, start: dict[str, PressureText] | None = None) -> None:
        self.lines = {(name, full): Averages() for name in RESOURCES for full in (False, True)}
        self.counted_until_ns = now_ns
        self.next_update_ns = now_ns + PERIOD_NS
        self.stretches: list[Stretch] = []  # that are not counted to their end yet
        for (name, full), line in self.lines.items():
            known = (start or {}).get(name)
            row = None if known is None else known.full if full else known.some
            if row is not None:
                line.total_ns = line.averaged_ns = row.total_us * 1000
                percents = (row.avg10_percent, row.avg60_percent, row.avg300_percent)
                line.averages = [round(percent * _FIXED_1) for percent in percents]

    def copy(self) -> PressureGroup:
        """One that can be counted to the end without changing this one."""
        found = PressureGroup(self.counted_until_ns)
        found.next_update_ns = self.next_update_ns
        found.lines = {key: line.copy() for key, line in self.lines.items()}
        found.stretches = list(self.stretches)
        return found

    def count_until(self, end_ns: int) -> None:
        """Count all that happened before `end_ns`; nothing that begins earlier will be heard."""
        while self.next_update_ns <= end_ns:
            self._count(self.next_update_ns)
            for line in self.lines.values():
                line.sample(PERIOD_NS)
            self.next_update_ns += PERIOD_NS
        self._count(end_ns)

    def _count(self, end_ns: int) -> None:
        begin_ns = self.counted_until_ns
        if end_ns <= begin_ns:
            return
        window = begin_ns, end_ns
        self.counted_until_ns = end_ns
        if not self.stretches:
            return
        of = {
            field: _union((getattr(one, field) for one in self.stretches), window)
            for field in Stretch._fields
        }
        runnable = _merged([*of["runs"], *of["waits_for_cpu"]])
        running = _merged([*runnable, *of["reclaims"]])
        on_cpu = _merged([*of["runs"], *of["reclaims"]])
        memory = _merged([*of["reclaims"], *of["waits_for_memory"]])
        # kernel/sched/psi.c test_state(), v6.1
        counted = {
            ("memory", False): memory,
            ("memory", True): _without(memory, runnable),
            ("io", False): of["waits_for_device"],
            ("io", True): _without(of["waits_for_device"], running),
            ("cpu", False): of["waits_for_cpu"],
            ("cpu", True): _without(of["waits_for_cpu"], on_cpu),
        }
        for key, spans in counted.items():
            self.lines[key].total_ns += sum(end - begin for begin, end in spans)
        self.stretches = [one for one in self.stretches if max(end for _, end in one) > end_ns]

    def text(self, resource: str) -> PressureText:
        """The record of a pressure file, as counted."""
        some, full = self.lines[resource, False], self.lines[resource, True]
        return PressureText(some.row(), full.row())


class Pressures:
    """The machine's pressure, and its memory cgroups'. `parent_of`: of a group's row, -1: none."""

    def __init__(
        self,
        now_ns: Callable[[], int],
        parent_of: Callable[[int], int],
        start: dict[str, PressureText],
    ) -> None:
        self.now_ns = now_ns
        self.parent_of = parent_of
        self.groups: dict[int, PressureGroup] = {0: PressureGroup(now_ns(), start)}

    def hear(self, segment: Segment) -> None:
        """A stretch is over."""
        if segment.kswapd_ns:
            # mm/vmscan.c balance_pgdat(), v6.1: kswapd's own time is a memory stall
            begin_ns = max(segment.end_ns - segment.kswapd_ns, segment.begin_ns)
            span, none = (begin_ns, segment.end_ns), (begin_ns, begin_ns)
            self._add(0, Stretch(none, none, span, none, none), segment.ready_ns)
        if segment.task is not None:
            self._add(segment.task.memcg_id, stretch_of(segment), segment.ready_ns)

    def _add(self, memcg: int, stretch: Stretch, horizon_ns: int) -> None:
        while memcg >= 0:
            group = self.groups.get(memcg)
            if group is None:
                group = self.groups[memcg] = PressureGroup(horizon_ns)
            if len(group.stretches) >= _MOST_UNCOUNTED or horizon_ns >= group.next_update_ns:
                group.count_until(horizon_ns)
            group.stretches.append(stretch)
            memcg = self.parent_of(memcg)

    def text(self, memcg: int, resource: str) -> PressureText:
        """The record of a group's file now (0: the machine's); nothing is counted."""
        group = self.groups.get(memcg)
        group = PressureGroup(self.now_ns()) if group is None else group.copy()
        group.count_until(self.now_ns())
        found = group.text(resource)
        if memcg == 0 and resource == "cpu":
            found.full = PressureRow(0.0, 0.0, 0.0, 0)  # undefined: psi_show(), v6.1
        return found


def stretch_of(segment: Segment) -> Stretch:
    """What `segment` is made of."""
    begin_ns, end_ns = segment.begin_ns, segment.end_ns
    stall = segment.stall_ns
    run_end_ns = min(begin_ns + segment.cpu_ns, end_ns)
    waited_ns = end_ns - run_end_ns
    # what stalls took beyond waiting was computed: scanning, compressing
    held_up = (stall[STALL_RECLAIM], stall[STALL_SWAP_IN], stall[STALL_FILE_READ],
               stall[STALL_DIRTY], stall[STALL_HIGH])  # fmt: skip
    reclaim_ns = min(max(sum(held_up) - waited_ns, 0), run_end_ns - begin_ns)
    device_ns = stall[STALL_SWAP_IN] + stall[STALL_FILE_READ] + stall[STALL_DIRTY]
    # mm/page_io.c swap_readpage() and mm/filemap.c folio_wait_bit_common(), v6.1: reading back a
    # page of the working set is a memory stall
    memory_ns = stall[STALL_RECLAIM] + stall[STALL_HIGH]
    memory_ns += int(stall[STALL_SWAP_IN] * segment.refaulted_anon)
    memory_ns += int(stall[STALL_FILE_READ] * segment.refaulted_file)
    memory_wait_ns = min(max(memory_ns - reclaim_ns, 0), waited_ns)
    return Stretch(
        (segment.ready_ns, begin_ns),
        (begin_ns, run_end_ns - reclaim_ns),
        (run_end_ns - reclaim_ns, run_end_ns),
        (run_end_ns, run_end_ns + memory_wait_ns),
        (end_ns - min(device_ns, waited_ns), end_ns),
    )


def _union(spans: Iterable[Span], window: Span) -> list[Span]:
    low, high = window
    inside = ((max(begin, low), min(end, high)) for begin, end in spans)
    return _merged([span for span in inside if span[0] < span[1]])


def _merged(spans: list[Span]) -> list[Span]:
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((begin, end))
    return found


def _without(spans: list[Span], taken: list[Span]) -> list[Span]:
    """What of `spans` no span of `taken` covers; both are merged.

    >>> _without([(0, 10)], [(2, 3), (8, 12)])
    [(0, 2), (3, 8)]
    """
    found: list[Span] = []
    for begin, end in spans:
        at = begin
        for low, high in taken:
            if high <= at or low >= end:
                continue
            if low > at:
                found.append((at, low))
            at = max(at, high)
        if at < end:
            found.append((at, end))
    return found
