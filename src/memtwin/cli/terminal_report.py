"""Owns a report on the terminal: tables, bars and a small plot of block characters.

Imports analysis and rich. Does no arithmetic but scaling to columns and rows of the screen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from memtwin.analysis import answers
from memtwin.analysis.answers import count, duration, percent, signed_percent, size
from memtwin.analysis.results import (
    MeasuredRun,
    ReplayReport,
    ReplayResult,
    Report,
    SizingCurve,
    Verdict,
    VerifiedPoint,
    VerifyReport,
)
from memtwin.analysis.sizing import lost_ns

EIGHTHS = " ▁▂▃▄▅▆▇█"
PLOT_ROWS = 6
PLOT_COLUMNS = 5  # of characters, a limit


def show(report: Report, console: Console | None = None) -> None:
    """Print `report` to standard output."""
    console = console or Console(highlight=False)
    if isinstance(report, ReplayReport):
        console.print(_replay(report.result))
    elif isinstance(report, SizingCurve):
        console.print(_sizing(report, console.width >= WIDE_COLUMNS))
    else:
        if report.curve is not None:
            console.print(_sizing(report.curve, console.width >= WIDE_COLUMNS))
        console.print(_verified(report))


def bar(share: float, width: int) -> str:
    """A bar that fills `share` (0..1) of `width` characters, to an eighth of one.

    >>> bar(0.5, 4), bar(0.03, 4)
    ('██', '▏')
    """
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    if share > 0 and eighths == 0:
        eighths = 1
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def column(share: float, rows: int) -> list[str]:
    """The characters of an upright bar, top to bottom, that fills `share` of `rows`.

    >>> column(0.75, 2)
    ['▄', '█']
    """
    eighths = round(min(max(share, 0.0), 1.0) * rows * 8)
    if share > 0 and eighths == 0:
        eighths = 1
    return [EIGHTHS[min(max(eighths - 8 * row, 0), 8)] for row in reversed(range(rows))]


def _colour(result: ReplayResult, target_percent: float) -> str:
    if not result.survived:
        return "red"
    return "green" if (result.slowdown_percent or 0.0) < target_percent else "yellow"


def _marks(curve: SizingCurve, limit_bytes: int | None) -> Text:
    words = Text()
    if limit_bytes == curve.smallest_under_target_bytes:
        words.append(" advised", style="bold green")
    if limit_bytes == curve.knee_bytes:
        words.append(" knee", style="bold yellow")
    if limit_bytes == curve.smallest_surviving_bytes:
        words.append(" survives", style="bold")
    return words


def _plot(curve: SizingCurve) -> Text:
    """Slowdown by limit as upright bars, logarithmic above 1 %; x where it dies."""
    slow = [max(point.slowdown_percent or 0.0, 0.0) for point in curve.points]
    top = max([*slow, 2 * curve.slowdown_target_percent])
    text = Text()
    bars = []
    for point, value in zip(curve.points, slow, strict=True):
        share = math.log1p(value) / math.log1p(top)
        bars.append(column(share, PLOT_ROWS) if point.survived else [" "] * (PLOT_ROWS - 1) + ["x"])
    for row in range(PLOT_ROWS):
        value = math.expm1(math.log1p(top) * (PLOT_ROWS - row) / PLOT_ROWS)
        text.append(f"{percent(value):>10} │", style="dim")
        for point, upright in zip(curve.points, bars, strict=True):
            style = _colour(point, curve.slowdown_target_percent)
            text.append(f"{upright[row] * (PLOT_COLUMNS - 1)} ", style=style)
        text.append("\n")
    text.append(f"{'0 %':>10} └{'─' * PLOT_COLUMNS * len(bars)}\n{'':12}", style="dim")
    for point in curve.points:
        text.append(f"{answers.limit_name(point)[: PLOT_COLUMNS - 1]:<{PLOT_COLUMNS}}", style="dim")
    return text


def _table(title: str) -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=title or None,
        title_justify="left",
        title_style="bold",
    )


_COLUMNS: dict[str, Callable[[ReplayResult], str]] = {
    "limit": answers.limit_name,
    "peak RSS": lambda run: size(run.peak_rss_bytes),
    "minor": lambda run: count(run.min_flt),
    "major": lambda run: count(run.maj_flt),
    "refaults a/f": lambda run: f"{count(run.refaults.anon)}/{count(run.refaults.file)}",
    "read": lambda run: size(run.bytes_read),
    "written": lambda run: size(run.bytes_written),
    "stalled": lambda run: duration(lost_ns(run)),
}
_NARROW = ("limit", "peak RSS", "minor", "major", "stalled")  # where there is no room for all
WIDE_COLUMNS = 116


def _sizing(curve: SizingCurve, wide: bool) -> RenderableType:  # noqa: FBT001
    table = _table("")
    cells_of = {name: cell for name, cell in _COLUMNS.items() if wide or name in _NARROW}
    for name in (*cells_of, "slowdown"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", min_width=8, no_wrap=True)
    runs = [*curve.points, *([curve.unlimited] if curve.unlimited is not None else [])]
    worst = max([math.log1p(max(run.slowdown_percent or 0.0, 0.0)) for run in runs], default=0.0)
    for run in runs:
        style = _colour(run, curve.slowdown_target_percent)
        share = math.log1p(max(run.slowdown_percent or 0.0, 0.0)) / (worst or 1.0)
        last = Text(bar(share, 8) if run.survived else "", style=style)
        if run.limit_bytes is not None:
            last.append_text(_marks(curve, run.limit_bytes))
        end = percent(run.slowdown_percent) if run.survived else _short(run.verdict)
        cells = [cell(run) for cell in cells_of.values()]
        table.add_row(*cells, Text(end, style=style), last)
    parts: list[RenderableType] = [Text(answers.headline(curve), style="bold"), Text()]
    if len(curve.points) > 1:
        parts.append(Text("slowdown by memory limit", style="dim"))
        parts.append(_plot(curve))
    return Group(*parts, table, *_notes(curve.notes))


def _short(verdict: Verdict) -> str:
    return {Verdict.OOM_KILLED: "killed", Verdict.SEGFAULT: "segfault"}.get(verdict, str(verdict))


def _notes(notes: Sequence[str]) -> list[RenderableType]:
    return [Text(f"note: {line}", style="yellow") for line in notes]


def _replay(run: ReplayResult) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in (
        ("limit", answers.limit_name(run)),
        ("ends", answers.ENDS[run.verdict]),
        ("peak resident", size(run.peak_rss_bytes)),
        ("minor faults", count(run.min_flt)),
        ("major faults", count(run.maj_flt)),
        ("refaults anon, file", f"{count(run.refaults.anon)}, {count(run.refaults.file)}"),
        ("activations", count(run.activations)),
        ("read, written", f"{size(run.bytes_read)}, {size(run.bytes_written)}"),
        ("swapped in, out", f"{count(run.swap_in_pages)}, {count(run.swap_out_pages)} pages"),
        ("scanned, reclaimed", f"{count(run.pgscan)}, {count(run.pgsteal)} pages"),
        ("virtual time", duration(run.run_ns)),
        ("slowdown", percent(run.slowdown_percent)),
    ):
        table.add_row(name, value)
    for cause, lost in run.stall_ns.items():
        if lost:
            share = Text(f" {bar(lost / max(run.run_ns, 1), 20)}", style="yellow")
            table.add_row(f"stalled: {cause.replace('_', ' ')}", duration(lost), share)
    state = run.provenance.state_digest
    digest = [Text(f"state {state}", style="dim")] if state else []
    return Group(Text(answers.replay_headline(run), style="bold"), Text(), table, Text(), *digest)


def _runs(runs: Sequence[MeasuredRun]) -> str:
    finished = Verdict.FINISHED
    return ", ".join(count(r.maj_flt) if r.verdict is finished else _short(r.verdict) for r in runs)


def _error(point: VerifiedPoint) -> Text:
    error = abs(point.error_percent or 0.0)
    style = "green" if error <= 5 else "yellow" if error <= 20 else "red"
    return Text(signed_percent(point.error_percent), style=style)


def _verified(report: VerifyReport) -> RenderableType:
    table = _table("Predicted against the real kernel: major faults")
    for name in ("limit", "predicted", "measured", "error", "spread", "real runs", "wall time"):
        table.add_column(name, justify="right")
    for point in report.points:
        walls = sorted(run.wall_ns for run in point.runs)
        predicted = point.predicted
        table.add_row(
            size(point.limit_bytes),
            count(predicted.maj_flt) if predicted.survived else _short(predicted.verdict),
            count(point.measured_maj_flt),
            _error(point),
            percent(point.spread_percent),
            _runs(point.runs),
            duration(walls[len(walls) // 2]) if walls else "-",
        )
    conditions = "\n".join(f"{name}: {value}" for name, value in report.conditions.items())
    headline = Text(answers.verify_headline(report), style="bold")
    return Group(table, headline, *_notes(report.notes), Text(conditions, style="dim"))
