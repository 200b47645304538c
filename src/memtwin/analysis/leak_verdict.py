"""Owns the one verdict on a process: leaking or not, how fast, which blocks, how sure, what not.

Imports heap_growth, the trend of samples and the records of reports. Reads nothing. Three kinds of
evidence are joined, each with what it alone can tell: the trend says whether memory grows for good,
two scans say whether what grows can still be reached, reports say where it was allocated.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from memtwin.analysis.heap_growth import Growth, HeapGrowth
from memtwin.observe.leak_reports.report import LeakReport
from memtwin.observe.live_heap.records import HeapScan
from memtwin.units import format_size

# MODEL: growth below this (or this share of the heap) in the time between two scans is breathing
LEAST_GROWTH_BYTES = 64 << 10
LEAST_GROWTH_SHARE = 0.01
MANY_BLOCKS = 8  # new lost blocks: so many are no chance word that was overwritten
_CULPRITS = 8


class Answer(enum.Enum):
    """Whether the process leaks."""

    LEAKING = "leaking"
    LEAKED = "has leaked, but not meanwhile"
    GROWING = "growing, and all of it is still reachable"
    OUTSIDE = "growing outside this heap"
    NOT_LEAKING = "not leaking"
    UNKNOWN = "not to be told"


class Sureness(enum.Enum):
    """How sure the answer is."""

    CERTAIN = "certain"
    LIKELY = "likely"
    WEAK = "weak"


class MemoryTrend(msgspec.Struct, frozen=True):
    """The trend of the process's own memory over the samples between the scans."""

    shape: str  # in words
    grows: bool
    bytes_per_s: float
    low_per_s: float
    high_per_s: float
    samples: int


class LeakVerdict(msgspec.Struct, frozen=True):
    """The verdict. `culprits` are groups of blocks, the fastest growing first."""

    pid: int
    name: str
    answer: Answer
    sureness: Sureness
    why: list[str]
    bytes_per_s: float
    lost_bytes: int
    seconds: float
    culprits: list[Growth]
    not_leaks: list[str]  # what else takes memory, and is none
    look_at: list[str]  # where to look next
    trend: MemoryTrend | None = None


def judge_process(
    before: HeapScan,
    after: HeapScan,
    growth: HeapGrowth,
    trend: MemoryTrend | None,
    reports: Sequence[LeakReport] = (),
) -> LeakVerdict:
    """Join the evidence on one process."""
    least = max(LEAST_GROWTH_BYTES, int(LEAST_GROWTH_SHARE * after.heap.in_use_bytes))
    why: list[str] = []
    answer, sureness = _answer(after, growth, trend, least, why)
    rate = growth.lost_bytes_since / growth.seconds
    if answer is Answer.GROWING:
        rate = growth.in_use_bytes_since / growth.seconds
    elif answer is Answer.OUTSIDE and trend is not None:
        rate = trend.bytes_per_s
    elif answer is not Answer.LEAKING:
        rate = 0.0
    culprits = _culprits(growth, answer) or _lost_already(after)
    return LeakVerdict(
        after.pid,
        after.name,
        answer,
        sureness,
        why,
        rate,
        after.lost_bytes,
        growth.seconds,
        culprits,
        _not_leaks(before, after, growth),
        _look_at(answer, culprits, reports),
        trend,
    )


def _answer(
    after: HeapScan, growth: HeapGrowth, trend: MemoryTrend | None, least: int, why: list[str]
) -> tuple[Answer, Sureness]:
    grows = trend is not None and trend.grows
    if growth.lost_blocks_since > 0 and growth.lost_bytes_since > 0:
        why.append(
            f"{growth.lost_blocks_since:,} blocks more"
            f" ({format_size(growth.lost_bytes_since)}) have no pointer to them"
            f" than {growth.seconds:.1f} s before"
        )
        if grows:
            why.append("and the process's own memory grows for good")
        many = growth.lost_blocks_since >= MANY_BLOCKS
        return Answer.LEAKING, Sureness.CERTAIN if many else Sureness.LIKELY
    if growth.in_use_bytes_since > least:
        why.append(
            f"{format_size(growth.in_use_bytes_since)} more is in use, and pointers lead to it:"
            " a cache, a queue, or references that nobody drops"
        )
        return Answer.GROWING, Sureness.LIKELY if grows else Sureness.WEAK
    if trend is not None and grows and trend.bytes_per_s * growth.seconds > least:
        why.append(
            "the process's own memory grows for good, this heap's blocks do not: mappings of its"
            " own, another allocator, stacks, or fragmentation"
        )
        return Answer.OUTSIDE, Sureness.LIKELY
    if after.kinds["definite"].blocks > 0:
        why.append(
            f"{after.kinds['definite'].blocks:,} blocks are lost"
            f" ({format_size(after.lost_bytes)} with what only they lead to), none of them in"
            f" these {growth.seconds:.1f} s"
        )
        return Answer.LEAKED, Sureness.CERTAIN
    why.append("every block has a pointer to it, and what is in use does not grow")
    # without a trend two moments speak, and a slow leak needs longer
    return Answer.NOT_LEAKING, Sureness.LIKELY if trend is not None else Sureness.WEAK


def _culprits(growth: HeapGrowth, answer: Answer) -> list[Growth]:
    if answer is Answer.LEAKING:
        return [one for one in growth.groups if one.is_lost and one.bytes_since > 0][:_CULPRITS]
    if answer is Answer.GROWING:
        grown = [one for one in growth.groups if one.bytes_since > 0]
        return sorted(grown, key=lambda one: -one.bytes_since)[:_CULPRITS]
    return []


def _lost_already(after: HeapScan) -> list[Growth]:
    return [
        Growth(
            group.kind, group.size_bytes, group.blocks, group.bytes, 0, 0, 0.0, group.content,
            group.text, group.held_by,
        )
        for group in after.groups
        if group.kind == "definite"
    ][:_CULPRITS]  # fmt: skip


def _not_leaks(before: HeapScan, after: HeapScan, growth: HeapGrowth) -> list[str]:
    """What takes memory without being lost, with its figures."""
    heap, found = after.heap, []
    reachable = after.kinds["reachable"]
    since = reachable.bytes - before.kinds["reachable"].bytes
    found.append(
        f"cache: {format_size(reachable.bytes)} is reachable"
        f" ({'+' if since >= 0 else '-'}{format_size(abs(since))})"
    )
    found.append(
        f"fragmentation: {format_size(heap.free_bytes)} free lies between used blocks"
        f" ({'+' if growth.free_bytes_since >= 0 else '-'}"
        f"{format_size(abs(growth.free_bytes_since))} with the end of the heap)"
    )
    found.append(
        f"not yet returned: {format_size(heap.top_bytes)} is free at the ends of the arenas, and"
        f" {heap.cached_chunks:,} chunks wait in threads' caches; malloc_trim(3) returns most"
    )
    possible = after.kinds["possible"]
    if possible.blocks:
        found.append(
            f"possibly lost: {possible.blocks:,} blocks ({format_size(possible.bytes)}) have only"
            " pointers to their inside, as C++ and thread libraries keep them"
        )
    return found


def _look_at(
    answer: Answer, culprits: Sequence[Growth], reports: Sequence[LeakReport]
) -> list[str]:
    hints = []
    for one in culprits[:3]:
        what = one.content or (f'text "{one.text[:40]}"' if one.text else None)
        size = f"blocks of {one.size_bytes} bytes"
        if what:
            hints.append(f"{size}: {what}")
        if answer is Answer.GROWING and one.held_by:
            hints.append(f"{size} hang from {one.held_by[-1]}")
    for report in reports:
        for record in [r for r in report.records if r.kind == "definite"][:3]:
            frames = [frame.shown() for frame in record.stack if frame.file] or [
                frame.shown() for frame in record.stack[:3]
            ]
            if frames:
                hints.append(
                    f"{report.tool}: {format_size(record.bytes)} in {record.blocks:,} blocks from"
                    f" {' < '.join(frames[:3])}"
                )
    if answer is Answer.LEAKING and not reports:
        hints.append("who allocates it: `memtwin leak run --valgrind -- COMMAND` names the calls")
    return hints
