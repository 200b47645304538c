"""Owns the search for leaks by sampling: which of many series grows for good, and until when.

Imports trend. Does no reading: series of samples come in, findings go out. Growth alone is no leak:
caches grow and give back under pressure, programs warm up, allocators keep what they once used, and
free memory falls apart without becoming less.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from memtwin.analysis.stairs import Values
from memtwin.analysis.trend import GROWING, Shape, Trend, judge

FALSE_DISCOVERY_RATE = 0.05  # of what is called a leak, the share that may be chance
LEAST_PROCESS_BYTES = 256 << 10
LEAST_KERNEL_BYTES = 512 << 10
LEAST_SYSTEM_BYTES = 4 << 20
LEAST_SHARE = 0.002  # of the level: growth of less is not worth a word


class Kind(enum.Enum):
    """What a series measures."""

    USS = "uss"
    HEAP = "heap"
    ANONYMOUS_MAPS = "anonymous maps"
    PROCESS_TABLES = "page tables of process"
    SLAB = "slab"
    VMALLOC = "vmalloc"
    PAGE_TABLES = "page tables"
    KERNEL_STACKS = "kernel stacks"
    UNACCOUNTED = "unaccounted"
    SHMEM = "shmem"
    CGROUP = "cgroup"
    AVAILABLE = "available"  # falls where others grow
    PAGE_CACHE = "page cache"
    RECLAIMABLE_SLAB = "reclaimable slab"
    FRAGMENTATION = "fragmentation"  # share of free memory that is no block of order 9


class Verdict(enum.Enum):
    """What growth means."""

    LEAK = "leak"
    CACHE = "cache"
    FRAGMENTATION = "fragmentation"
    WATCH = "watch on"
    NONE = "none"


_LEAST = {
    Kind.USS: LEAST_PROCESS_BYTES,
    Kind.HEAP: LEAST_PROCESS_BYTES,
    Kind.ANONYMOUS_MAPS: LEAST_PROCESS_BYTES,
    Kind.PROCESS_TABLES: 64 << 10,
    Kind.SLAB: LEAST_KERNEL_BYTES,
    Kind.VMALLOC: LEAST_KERNEL_BYTES,
    Kind.PAGE_TABLES: 256 << 10,
    Kind.KERNEL_STACKS: LEAST_KERNEL_BYTES,
    Kind.UNACCOUNTED: LEAST_KERNEL_BYTES,
    Kind.RECLAIMABLE_SLAB: LEAST_KERNEL_BYTES,
    Kind.FRAGMENTATION: 0.05,
}
_CACHES = frozenset((Kind.PAGE_CACHE, Kind.RECLAIMABLE_SLAB))


class Series(NamedTuple):
    """Samples of one thing: `times_s` ascending, `values` in bytes (fragmentation: a share).

    `room_bytes`: what its own limit leaves, where that is less than what the machine has.
    """

    kind: Kind
    name: str
    times_s: Values
    values: Values
    room_bytes: float | None = None


class Finding(msgspec.Struct):
    """What is found of one series. Rates are bytes a second; the last three are absent where the
    end is not in sight.
    """

    kind: Kind
    name: str
    verdict: Verdict
    trend: Trend
    why: str
    until_oom_s: float | None = None
    until_oom_low_s: float | None = None
    until_oom_high_s: float | None = None


def find_leaks(
    series: Sequence[Series], room_bytes: float | None = None, rate: float = FALSE_DISCOVERY_RATE
) -> list[Finding]:
    """A finding for each of `series`, leaks first, the fastest first.

    `room_bytes`: what can still be taken before the OOM killer comes. `rate`: of those called a
    leak, the share that may be chance, whatever the number of series (Benjamini, Hochberg 1995).
    """
    trends = [_judged(one) for one in series]
    # only what chance alone keeps from being called a leak is asked about; the rest can't be one,
    # however small its p (Tarone 1990)
    growing = [at for at, trend in enumerate(trends) if trend.asked]
    stands = _discoveries([trends[at].p_value for at in growing], rate)
    sure = [True] * len(trends)
    for at, stood in zip(growing, stands, strict=True):
        sure[at] = stood
    found = [
        _finding(one, trend if is_sure else _unsure(trend), room_bytes)
        for one, trend, is_sure in zip(series, trends, sure, strict=True)
    ]
    order = list(Verdict)
    found.sort(key=lambda one: (order.index(one.verdict), -abs(one.trend.slope_per_s)))
    return found


def _judged(one: Series) -> Trend:
    values = -one.values if one.kind is Kind.AVAILABLE else one.values
    level = float(np.median(one.values)) if len(one.values) else 0.0
    least = float(_LEAST.get(one.kind, LEAST_SYSTEM_BYTES))
    if one.kind is not Kind.FRAGMENTATION:
        least = max(least, LEAST_SHARE * level)
    return judge(one.times_s, values, least)


def _discoveries(p_values: Sequence[float], rate: float) -> list[bool]:
    """Which of many tests stand when all of them are taken together."""
    order = np.argsort(p_values)
    allowed = 0.0
    for rank, at in enumerate(order, 1):
        if p_values[at] <= rate * rank / len(order):
            allowed = p_values[at]
    return [p_value <= allowed for p_value in p_values]


def _unsure(trend: Trend) -> Trend:
    """A growth that one of so many series may have by chance."""
    if trend.shape in GROWING:
        return msgspec.structs.replace(trend, shape=Shape.UNSURE)
    return trend


def _finding(one: Series, trend: Trend, room_bytes: float | None) -> Finding:
    verdict, why = _verdict(one.kind, trend)
    finding = Finding(one.kind, one.name, verdict, trend, why)
    rooms = [room for room in (room_bytes, one.room_bytes) if room is not None]
    if verdict is Verdict.LEAK and rooms and trend.slope_per_s > 0:
        room = max(min(rooms), 0.0)
        finding.until_oom_s = room / trend.slope_per_s
        finding.until_oom_low_s = room / max(trend.high_per_s, trend.slope_per_s)
        if trend.low_per_s > 0:
            finding.until_oom_high_s = room / trend.low_per_s
    return finding


def _verdict(kind: Kind, trend: Trend) -> tuple[Verdict, str]:
    shape = trend.shape
    if shape in GROWING:
        if kind in _CACHES:
            return Verdict.CACHE, "grows, but the kernel takes it back when memory is short"
        if kind is Kind.FRAGMENTATION:
            return Verdict.FRAGMENTATION, "free memory is there, but in ever smaller pieces"
        if kind is Kind.AVAILABLE:
            return Verdict.LEAK, "what a new program could have becomes less and less"
        if trend.bursts:
            chance = f"1 in {1 / trend.p_value:,.0f}"
            said = f"grew in {trend.bursts} bursts and gave nothing back: by chance {chance}"
            return Verdict.LEAK, said
        if shape is Shape.BURSTS:
            return Verdict.LEAK, "its floor rises in bursts"
        return Verdict.LEAK, "its floor rises, as fast late as early"
    told = {
        Shape.TOO_SHORT: (Verdict.NONE, "too few samples"),
        Shape.FEW_BURSTS: (
            Verdict.WATCH,
            f"grew in {trend.bursts} bursts and gave nothing back: too few to tell",
        ),
        Shape.UNSURE: (Verdict.WATCH, "one of so many series may grow like that by chance"),
        Shape.SLOWING: (Verdict.WATCH, "grows ever slower: warming up, or keeping what it used"),
        Shape.STEP: (Verdict.NONE, "grew once and stayed: kept memory, not a leak"),
        Shape.SAWTOOTH: (Verdict.NONE, "comes back to the same floor"),
        Shape.FALLING: (Verdict.NONE, "becomes less"),
        Shape.FLAT: (Verdict.NONE, "no trend to be told from noise"),
    }
    return told[shape]
