"""Owns the HTML page of a report: one file, its style, script and data inside, nothing fetched.

Imports analysis. Draws nothing itself: `report.js` draws the charts from the JSON that the page
carries, the same that `--json` prints. Words, cards and tables need no script.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from memtwin import __version__
from memtwin.analysis import answers
from memtwin.analysis.answers import count, duration, percent, signed_percent, size
from memtwin.analysis.results import (
    MeasuredRun,
    Provenance,
    ReplayReport,
    ReplayResult,
    Report,
    SizingCurve,
    Verdict,
    VerifiedPoint,
    VerifyReport,
    to_json,
)
from memtwin.analysis.sizing import lost_ns

_FIGURE = re.compile(r"(\d[\d,.]*(?: ?%|[KMGT]\b| s\b| ms\b))")


def to_html(report: Report) -> str:
    """The whole page for `report`."""
    curve = report.curve if isinstance(report, VerifyReport) else report
    if isinstance(curve, ReplayReport):
        results, headline = [curve.result], answers.replay_headline(curve.result)
    elif isinstance(curve, SizingCurve):
        results, headline = curve.points, answers.headline(curve)
    else:
        results, headline = [], ""
    provenance = results[0].provenance if results else Provenance()
    words = [headline]
    if isinstance(report, VerifyReport):
        words.append(answers.verify_headline(report))
    sections = [
        _top(report, provenance),
        f'<p class="headline">{_bold_figures(" ".join(words))}</p>',
        _cards(_sizing_cards(curve) if isinstance(curve, SizingCurve) else _run_cards(results)),
    ]
    if isinstance(curve, SizingCurve):
        sections.append(_curve_panel(report))
    sections += [_timeline_panel(results), _stall_panel()]
    if isinstance(report, VerifyReport):
        sections.append(_verify_panel(report))
    sections += [_table_panel(curve, results), _provenance_panel(report, provenance)]
    return _page(_title(report, provenance), "\n".join(sections), to_json(report))


def _page(title: str, body: str, data: str) -> str:
    here = files("memtwin.cli")
    style = here.joinpath("report.css").read_text(encoding="utf-8")
    script = here.joinpath("report.js").read_text(encoding="utf-8")
    # "<" never appears raw in the data, so no text of the user's can end the script element
    data = data.replace("<", "\\u003c")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n<footer>Made by memtwin {escape(__version__)}. This page is whole: it loads"
        " nothing, and carries its data as JSON.</footer>\n</main>\n"
        f'<script type="application/json" id="report">{data}</script>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _bold_figures(text: str) -> str:
    return _FIGURE.sub(r"<b>\1</b>", escape(text))


def _title(report: Report, provenance: Provenance) -> str:
    command = shlex.join(provenance.command) or provenance.trace or "a recorded program"
    verb = {"sizing": "sizing", "verify": "sizing, verified", "replay": "replay"}[report.kind]
    return f"memtwin {verb}: {command}"


def _top(report: Report, provenance: Provenance) -> str:
    kind = {
        "sizing": "how much memory does it need?",
        "verify": "how much memory does it need? predicted and measured",
        "replay": "one replay",
    }[report.kind]
    command = shlex.join(provenance.command) or provenance.trace or "a recorded program"
    where = [
        f"replayed on {provenance.machine}" if provenance.machine else "",
        f"Linux {provenance.kernel}" if provenance.kernel else "",
        f"swap {provenance.swap}" if provenance.swap else "",
        f"recorded by {provenance.recorder}" if provenance.recorder else "",
    ]
    return (
        f'<header class="top"><div><p class="kicker"><b>memtwin</b> &nbsp;{escape(kind)}</p>'
        f"<h1><code>{escape(command)}</code></h1>"
        f'<p class="sub">{escape(", ".join(word for word in where if word))}</p></div>'
        '<button id="theme" title="Light or dark" aria-label="Light or dark">◐</button></header>'
    )


Card = tuple[str, str, str, str]  # dot, name, value, more


def _cards(cards: Iterable[Card]) -> str:
    inner = "".join(
        f'<div class="card"><div class="name"><i class="dot {dot}"></i>{escape(name)}</div>'
        f'<div class="value">{escape(value)}</div><div class="more">{escape(more)}</div></div>'
        for dot, name, value, more in cards
    )
    return f'<div class="cards">{inner}</div>'


def _sizing_cards(curve: SizingCurve) -> list[Card]:
    def slow(limit_bytes: int | None, otherwise: str) -> str:
        point = answers.at_limit(curve, limit_bytes)
        if point is None:
            return otherwise
        return f"{percent(point.slowdown_percent)} slower, {count(point.maj_flt)} major faults"

    target = f"under {curve.slowdown_target_percent:g} % slowdown"
    advised, knee = curve.smallest_under_target_bytes, curve.knee_bytes
    surviving = curve.smallest_surviving_bytes
    cards = [
        ("good", f"Smallest {target}", size(advised), slow(advised, "no limit tried")),
        ("knee", "Knee", size(knee), slow(knee, "the curve has none")),
        ("bad", "Smallest that survives", size(surviving), slow(surviving, "no limit tried")),
    ]
    if curve.unlimited is not None:
        peak = curve.unlimited
        more = f"without a limit, in {duration(peak.run_ns)}"
        cards.append(("accent", "Peak resident memory", size(peak.peak_rss_bytes), more))
    return cards


def _run_cards(results: Sequence[ReplayResult]) -> list[Card]:
    if not results:
        return []
    (run,) = results
    lost = f"{duration(lost_ns(run))} lost to memory"
    swap = f"{count(run.swap_in_pages)} pages in, {count(run.swap_out_pages)} out"
    end = "good" if run.survived else "bad"
    return [
        (end, "Ends", answers.ENDS[run.verdict], f"after {duration(run.run_ns)}"),
        ("knee", "Slowdown", percent(run.slowdown_percent), lost),
        ("accent", "Peak resident memory", size(run.peak_rss_bytes), answers.limit_name(run)),
        ("accent", "Major faults", count(run.maj_flt), f"swap: {swap}"),
    ]


def _legend(*entries: tuple[str, str, str]) -> str:
    inner = "".join(
        f'<span><i class="{shape}" style="{"background" if shape in ("", "line") else "color"}'
        f':var(--{colour})"></i>{escape(word)}</span>'
        for shape, colour, word in entries
    )
    return f'<div class="legend">{inner}</div>'


def _curve_panel(report: Report) -> str:
    entries = [("line", "accent", "predicted"), ("", "bad-wash", "does not survive")]
    if isinstance(report, VerifyReport):
        entries.insert(1, ("ring", "measured", "measured: median, bar from least to most"))
    return (
        '<section class="panel"><h2>Memory limit against cost</h2>'
        '<p class="hint">Each point is one replay of the same recording with that much memory.'
        " Both scales are logarithmic above their first mark.</p>"
        f"{_legend(*entries)}"
        '<div class="chart" id="curve" data-label="slowdown and faults by limit"></div></section>'
    )


def _timeline_panel(results: Sequence[ReplayResult]) -> str:
    picker = '<div class="picker" id="picker" aria-label="Limit"></div>' if len(results) > 1 else ""
    which = " under the chosen limit" if len(results) > 1 else ""
    legend = _legend(
        ("", "accent", "resident"),
        ("", "swap", "swapped out"),
        ("line", "file", "page cache"),
        ("", "measured", "major faults"),
        ("line", "faint", "minor faults"),
        ("", "good", "free"),
        ("dash", "bad", "limit, watermarks"),
    )
    return (
        f'<section class="panel"><h2>Over time</h2><p class="hint">The run{which}, in the'
        f" simulated machine's time.</p>{picker}{legend}"
        '<div class="chart" id="timeline" data-label="memory and faults over time"></div></section>'
    )


def _stall_panel() -> str:
    return (
        '<section class="panel"><h2>Where the time goes</h2>'
        '<p class="hint">Share of the run spent computing and waiting for memory; its length'
        " at the right.</p>"
        '<div class="legend" id="causes"><span><i style="background:var(--run)"></i>computing'
        '</span></div><div class="chart" id="stalls" data-label="time by cause"></div></section>'
    )


def _table(heads: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    head = "".join(f"<th>{cell}</th>" for cell in heads)
    body = "".join(
        f'<tr class="{mark}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for mark, cells in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _table_panel(curve: object, results: Sequence[ReplayResult]) -> str:
    badges: dict[int | None, str] = {}
    notes: list[str] = []
    if isinstance(curve, SizingCurve):
        if curve.knee_bytes is not None:
            badges[curve.knee_bytes] = '<span class="badge warn">knee</span>'
        if curve.smallest_under_target_bytes is not None:
            advised = curve.smallest_under_target_bytes
            badges[advised] = badges.get(advised, "") + '<span class="badge good">advised</span>'
        notes = curve.notes
    heads = ["Limit", "Peak<br>RSS", "Minor<br>faults", "Major<br>faults", "Refaults<br>anon"]
    heads += ["Refaults<br>file", "Swapped<br>in", "Swapped<br>out", "Read", "Written"]
    heads += ["Stalled", "Slowdown"]
    rows = []
    for run in results:
        mark = "mark" if run.limit_bytes in badges else ""
        slow = percent(run.slowdown_percent)
        if not run.survived:
            slow = f'<span class="bad">{escape(answers.ENDS[run.verdict].split(",")[0])}</span>'
        cells = [answers.limit_name(run) + badges.get(run.limit_bytes, "")]
        cells += [size(run.peak_rss_bytes), count(run.min_flt), count(run.maj_flt)]
        cells += [count(run.refaults.anon), count(run.refaults.file)]
        cells += [count(run.swap_in_pages), count(run.swap_out_pages)]
        cells += [size(run.bytes_read), size(run.bytes_written), duration(lost_ns(run)), slow]
        rows.append((mark, cells))
    return (
        '<section class="panel"><h2>Every figure</h2>'
        '<p class="hint">Faults and refaults in events, swap in pages of 4 KiB; read and written'
        f" count block devices, swap included.</p>{_table(heads, rows)}{_notes(notes)}</section>"
    )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return ""
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>'


def _error_class(point: VerifiedPoint) -> str:
    error = abs(point.error_percent or 0.0)
    return "good" if error <= 5 else "warn" if error <= 20 else "bad"


def _verify_panel(report: VerifyReport) -> str:
    heads = ["Limit", "Predicted<br>major", "Measured<br>major", "Error", "Spread of<br>real runs"]
    heads += ["Measured<br>runs", "Predicted<br>slowdown", "Measured<br>wall time"]
    base_ns = report.unlimited.wall_ns if report.unlimited is not None else 0
    rows = []
    for point in report.points:
        walls = sorted(run.wall_ns for run in point.runs)
        wall = duration(walls[len(walls) // 2]) if walls else "-"
        runs = ", ".join(_measured(run) for run in point.runs)
        error = f'<span class="{_error_class(point)}">{signed_percent(point.error_percent)}</span>'
        predicted = point.predicted
        cells = [size(point.limit_bytes), count(predicted.maj_flt), count(point.measured_maj_flt)]
        cells += [error, percent(point.spread_percent), escape(runs)]
        cells += [percent(predicted.slowdown_percent), wall]
        rows.append(("", cells))
    conditions = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
        for name, value in {
            **report.conditions,
            "without a limit": f"{duration(base_ns)} of wall time" if base_ns else "",
        }.items()
    )
    return (
        '<section class="panel"><h2>Against the real kernel</h2>'
        '<p class="hint">The same command, run in a memory cgroup of its own under each limit.'
        " The spread is the real kernel's own: the largest against the smallest of its runs.</p>"
        f"{_table(heads, rows)}{_notes(report.notes)}<dl>{conditions}</dl></section>"
    )


def _measured(run: MeasuredRun) -> str:
    return count(run.maj_flt) if run.verdict is Verdict.FINISHED else str(run.verdict)


def _provenance_panel(report: Report, origin: Provenance) -> str:
    entries = {
        "recording": origin.trace,
        "digest of the recording": origin.trace_digest,
        "recorder": origin.recorder
        + (
            f", one record a page and {origin.window_refs:,} references"
            if origin.window_refs
            else ""
        ),
        "machine": origin.machine,
        "digest of its description": origin.config_digest,
        "modelled kernel": origin.kernel,
        "swap": origin.swap,
        "seed": str(origin.seed),
        "digest of the final state": origin.state_digest,
        "memtwin": origin.memtwin_version,
        "schema version": str(report.schema_version),
    }
    inner = "".join(
        f'<dt>{name}</dt><dd class="mono">{escape(value)}</dd>'
        for name, value in entries.items()
        if value
    )
    return (
        '<section class="panel"><h2>Provenance</h2><p class="hint">The same recording, machine,'
        f" seed and version give the same digests.</p><dl>{inner}</dl></section>"
    )
