"""Owns what a result says in words: the headline, and how figures are written for people.

Imports analysis.results and units. Knows no screen: plain text without markup, for every face.
"""

from __future__ import annotations

from collections.abc import Mapping

from memtwin.analysis.results import ReplayResult, SizingCurve, Verdict, VerifyReport
from memtwin.units import format_size

NS_PER_S = 1_000_000_000

ENDS: Mapping[Verdict, str] = {
    Verdict.FINISHED: "finished",
    Verdict.OOM_KILLED: "killed, out of memory",
    Verdict.SEGFAULT: "segmentation fault",
    Verdict.TIMED_OUT: "timed out",
    Verdict.FAILED: "failed",
}


def size(size_bytes: int | None) -> str:
    """A size, or a dash for one that is not known."""
    return "-" if size_bytes is None else format_size(size_bytes)


def count(number: int | None) -> str:
    """A count with thin groups of three digits.

    >>> count(1234567)
    '1,234,567'
    """
    return "-" if number is None else f"{number:,}"


def percent(share: float | None) -> str:
    """A percentage with one decimal where it says something.

    >>> percent(4.04), percent(1234.5), percent(None)
    ('4.0 %', '1,234 %', '-')
    """
    if share is None:
        return "-"
    return f"{share:,.0f} %" if abs(share) >= 99.95 else f"{share:.1f} %"


def signed_percent(share: float | None) -> str:
    """A percentage with its sign, for errors."""
    return "-" if share is None else f"{share:+.1f} %"


def duration(time_ns: int) -> str:
    """A duration with three digits.

    >>> duration(1_500_000_000), duration(2_000_000), duration(90_000_000_000)
    ('1.50 s', '2.00 ms', '90.0 s')
    """
    value, unit = time_ns / NS_PER_S, "s"
    if value < 0.1:
        value, unit = (value * 1e3, "ms") if time_ns >= 100_000 else (value * 1e6, "us")
    digits = max(0, 3 - len(str(int(value))))
    return f"{value:,.{digits}f} {unit}"


def limit_name(result: ReplayResult) -> str:
    """The limit of a run, or "no limit"."""
    return "no limit" if result.limit_bytes is None else format_size(result.limit_bytes)


def at_limit(curve: SizingCurve, limit_bytes: int | None) -> ReplayResult | None:
    """The point of `curve` at exactly `limit_bytes`."""
    return next((point for point in curve.points if point.limit_bytes == limit_bytes), None)


def _limit(result: ReplayResult) -> int:
    return result.limit_bytes or 0


def headline(curve: SizingCurve) -> str:
    """The answer of a sizing in one or two sentences."""
    target = f"{curve.slowdown_target_percent:g} %"
    advised = at_limit(curve, curve.smallest_under_target_bytes)
    parts = []
    if advised is not None:
        parts.append(
            f"Give it {limit_name(advised)}: the smallest limit tried that keeps the slowdown"
            f" under {target} ({percent(advised.slowdown_percent)})."
        )
    else:
        parts.append(f"No limit tried keeps the slowdown under {target}.")
    knee = at_limit(curve, curve.knee_bytes)
    if knee is not None and (advised is None or _limit(knee) < _limit(advised)):
        slow = percent(knee.slowdown_percent)
        parts.append(f"Below the knee at {limit_name(knee)} ({slow}) it gets steep.")
    elif knee is not None and knee is not advised:
        parts.append(f"More than {limit_name(knee)}, the knee, brings little.")
    killed = [point for point in curve.points if not point.survived]
    if curve.smallest_surviving_bytes is None:
        parts.append("It survives none of them.")
    elif killed:
        parts.append(f"With {limit_name(killed[-1])} it dies.")
    else:
        parts.append(f"It survives all of them, down to {limit_name(curve.points[0])}.")
    return " ".join(parts)


def replay_headline(result: ReplayResult) -> str:
    """The answer of one replay in a sentence."""
    limit = "Without a limit" if result.limit_bytes is None else f"With {limit_name(result)}"
    if not result.survived:
        victims = ", ".join(result.oom_victims)
        whom = f" ({victims})" if victims else ""
        return f"{limit} it ends early: {ENDS[result.verdict]}{whom}."
    return (
        f"{limit} it finishes in {duration(result.run_ns)},"
        f" {percent(result.slowdown_percent)} slower than without stalls,"
        f" with {count(result.maj_flt)} major faults and a peak of {size(result.peak_rss_bytes)}."
    )


def verify_headline(report: VerifyReport) -> str:
    """How well prediction and measurement agree, in a sentence."""
    kernel = report.conditions.get("kernel", "?")
    compared = sum(point.error_percent is not None for point in report.points)
    if report.median_error_percent is None:
        return "No limit gave major faults on both sides, so there is no error to name."
    return (
        f"Predicted major faults are off by {percent(report.median_error_percent)} in the median,"
        f" {percent(report.worst_error_percent)} at worst, over {compared}"
        f" limit{'s' if compared != 1 else ''}, against kernel {kernel}."
    )
