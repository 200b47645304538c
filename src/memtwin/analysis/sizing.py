"""Owns what a sizing curve says: which limits to try, the knee, the recommended limits, oddities.

Imports analysis.results and units. Pure arithmetic over finished replays: has never heard of a
trace, a machine or a screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import msgspec

from memtwin.analysis.results import (
    MeasuredRun,
    ReplayResult,
    SizingCurve,
    Verdict,
    VerifiedPoint,
    VerifyReport,
)
from memtwin.units import MIB, PAGE_SIZE, format_size

# MODEL: a curve that never stalls as much as 1 % of the run has no knee worth naming.
KNEE_FLOOR_PERCENT = 1.0
# MODEL: more major faults at a larger limit than this share above the smaller one's is reported.
MONOTONE_SLACK = 0.05
# MODEL: below this many faults a relative error says nothing (libraries, noise of the start).
FEW_FAULTS = 100


def slowdown_percent(run_ns: int, base_ns: int) -> float:
    """How much longer than `base_ns` the run took, in percent (0.0 when the base is unknown).

    >>> slowdown_percent(150, 100)
    50.0
    """
    return 100.0 * (run_ns - base_ns) / base_ns if base_ns > 0 else 0.0


def choose_limits(peak_bytes: int, points: int, step_bytes: int = MIB) -> list[int]:
    """`points` ascending limits from an eighth of the peak to an eighth above it, evenly spaced.

    Limits are whole multiples of `step_bytes` (smaller where the peak is small).

    >>> [limit >> 20 for limit in choose_limits(64 << 20, 5)]
    [8, 24, 40, 56, 72]
    """
    while step_bytes > PAGE_SIZE and peak_bytes < 2 * points * step_bytes:
        step_bytes //= 2
    low, high = peak_bytes / 8, peak_bytes * 9 / 8
    stride = (high - low) / max(points - 1, 1)
    wanted = (low + stride * i for i in range(points)) if points > 1 else (high,)
    rounded = (max(1, math.floor(limit / step_bytes + 0.5)) * step_bytes for limit in wanted)
    return sorted(set(rounded))


def lost_ns(result: ReplayResult) -> int:
    """Virtual ns that the run lost to memory: every stall together."""
    return sum(result.stall_ns.values())


def knee_bytes(points: Sequence[ReplayResult]) -> int | None:
    """The limit at the knee of log(1 + slowdown in percent) over limit, or None without one.

    The knee is the surviving point farthest below the chord between the first and the last
    surviving point (Kneedle's rule for a falling convex curve), on axes scaled to 0..1.
    """
    alive = [point for point in points if point.survived and point.limit_bytes is not None]
    if len(alive) < 3 or max(point.slowdown_percent or 0.0 for point in alive) < KNEE_FLOOR_PERCENT:
        return None
    limits = [float(point.limit_bytes or 0) for point in alive]
    # MODEL: logarithm, so that thrashing does not hide the bend; in percent, so that noise does
    heights = [math.log1p(max(point.slowdown_percent or 0.0, 0.0)) for point in alive]
    span, rise = limits[-1] - limits[0], heights[0] - heights[-1]
    if span <= 0 or rise <= 0:
        return None
    best, best_gap = None, 0.0
    for point, limit, height in zip(alive, limits, heights, strict=True):
        across = (limit - limits[0]) / span
        down = (height - heights[-1]) / rise
        gap = 1.0 - across - down  # the chord falls from 1 to 0
        if gap > best_gap + 1e-9:
            best, best_gap = point.limit_bytes, gap
    return best


def smallest_under(points: Sequence[ReplayResult], target_percent: float) -> int | None:
    """The smallest limit from which on each one survives with less slowdown than the target."""
    found = None
    for point in reversed(points):
        slowdown = point.slowdown_percent
        if not point.survived or slowdown is None or slowdown >= target_percent:
            break
        found = point.limit_bytes
    return found


def smallest_surviving(points: Sequence[ReplayResult]) -> int | None:
    """The smallest limit from which on every larger one survives."""
    found = None
    for point in reversed(points):
        if not point.survived:
            break
        found = point.limit_bytes
    return found


def refine(
    points: Sequence[ReplayResult], target_percent: float, step_bytes: int = MIB
) -> int | None:
    """The limit whose replay would say most next: half-way in the gap where an answer lies.

    First the gap in which the slowdown crosses the target, then the one in which survival ends,
    the wider first; None when both are at most `step_bytes` wide.
    """
    gaps = []
    for answer in (smallest_under(points, target_percent), smallest_surviving(points)):
        below = [p.limit_bytes for p in points if (p.limit_bytes or 0) < (answer or 0)]
        if answer is not None and below and answer - (below[-1] or 0) > step_bytes:
            gaps.append((answer - (below[-1] or 0), answer))
    if not gaps:
        return None
    width, upper = max(gaps)
    return (upper - width // 2) // step_bytes * step_bytes or None


def oddities(points: Sequence[ReplayResult]) -> list[str]:
    """In words: where more memory brought more major faults, or death after survival."""
    notes = []
    for small, large in pairwise(points):
        names = format_size(small.limit_bytes or 0), format_size(large.limit_bytes or 0)
        if small.survived and not large.survived:
            notes.append(f"survives {names[0]} but not {names[1]}")
        elif small.survived and large.maj_flt > small.maj_flt * (1 + MONOTONE_SLACK) + FEW_FAULTS:
            notes.append(
                f"more major faults with {names[1]} ({large.maj_flt}) than with {names[0]}"
                f" ({small.maj_flt}): reclaim's choice, not noise (a replay repeats itself exactly)"
            )
    return notes


def _against(unlimited: ReplayResult | None, point: ReplayResult) -> ReplayResult:
    """`point` with its slowdown told against the run without a limit, if that one finished."""
    if unlimited is None or not unlimited.survived or unlimited.run_ns <= 0:
        return point
    base_ns = unlimited.run_ns
    slower = slowdown_percent(point.run_ns, base_ns) if point.survived else None
    return msgspec.structs.replace(point, base_ns=base_ns, slowdown_percent=slower)


def make_curve(
    points: Sequence[ReplayResult],
    unlimited: ReplayResult | None = None,
    slowdown_target_percent: float = 5.0,
) -> SizingCurve:
    """The curve of `points` (any order, one a limit) with its knee, answers and oddities.

    With `unlimited` each slowdown is the limit's own: against that run, what it waits for as well.
    """
    ordered = sorted(points, key=lambda point: point.limit_bytes or 0)
    ordered = [_against(unlimited, point) for point in ordered]
    return SizingCurve(
        points=ordered,
        unlimited=None if unlimited is None else _against(unlimited, unlimited),
        slowdown_target_percent=slowdown_target_percent,
        knee_bytes=knee_bytes(ordered),
        smallest_under_target_bytes=smallest_under(ordered, slowdown_target_percent),
        smallest_surviving_bytes=smallest_surviving(ordered),
        notes=oddities(ordered),
    )


def middle(replays: Sequence[ReplayResult]) -> ReplayResult:
    """Of replays that chance alone tells apart, the one with the median of major faults.

    Those of the commonest verdict are asked; of an even number, the lower of the middle two.
    """
    verdicts = [replay.verdict for replay in replays]
    common = max(verdicts, key=verdicts.count)
    alike = sorted(
        (replay for replay in replays if replay.verdict is common), key=lambda r: r.maj_flt
    )
    found = alike[(len(alike) - 1) // 2]
    if len(replays) > 1:
        found.chance_maj_flt = [replay.maj_flt for replay in replays]
    return found


def chance_percent(predicted: ReplayResult) -> float:
    """How far replays that chance alone tells apart differ: (max - min) / median, in percent."""
    faults = predicted.chance_maj_flt
    if not faults or not predicted.maj_flt:
        return 0.0
    return 100.0 * (max(faults) - min(faults)) / predicted.maj_flt


def compare(predicted: ReplayResult, runs: Sequence[MeasuredRun]) -> VerifiedPoint:
    """One prediction beside its measured runs: median, spread of the runs, error in percent.

    The error is None when a side did not finish, or both took fewer than 100 major faults.
    """
    done = [run.maj_flt for run in runs if run.verdict is Verdict.FINISHED]
    measured = round(median(done)) if done else None
    spread = error = None
    if measured is not None:
        spread = 100.0 * (max(done) - min(done)) / measured if measured else 0.0
        if predicted.survived and max(measured, predicted.maj_flt) >= FEW_FAULTS:
            error = 100.0 * (predicted.maj_flt - measured) / max(measured, 1)
    return VerifiedPoint(
        limit_bytes=predicted.limit_bytes or 0,
        predicted=predicted,
        runs=list(runs),
        measured_maj_flt=measured,
        spread_percent=spread,
        error_percent=error,
    )


def summarize(report: VerifyReport) -> None:
    """Fill the median and worst absolute error of `report` from its points."""
    errors = [
        abs(point.error_percent) for point in report.points if point.error_percent is not None
    ]
    report.median_error_percent = median(errors) if errors else None
    report.worst_error_percent = max(errors) if errors else None


def verdicts_agree(point: VerifiedPoint) -> bool:
    """Whether prediction and measurement agree on finishing or not."""
    return all(run.verdict is point.predicted.verdict for run in point.runs)
