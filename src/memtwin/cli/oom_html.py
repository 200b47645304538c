"""Owns an explained log as one page for the browser, without anything from outside of it.

Imports analysis' records, cli/columns_text and importlib. The words are those of the terminal; the
charts are bars of HTML and CSS, so that the page needs no program to be drawn.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple

from memtwin.analysis.oom_cause import ZoneVerdict
from memtwin.analysis.oom_choice import Candidate
from memtwin.analysis.oom_ledger import Ledger, LedgerRow
from memtwin.analysis.oom_story import Explanation
from memtwin.cli.columns_text import figure, size
from memtwin.observe.oom.records import ZoneText

MOST_CANDIDATES = 15
LEAST_SHARE = 0.002  # of the whole: a thinner slice of a bar is not drawn
_COLOURS = ("--accent", "--s1", "--s3", "--s0", "--s2", "--s5", "--run", "--faint")
_OF_POINTS = (("resident", "--accent"), ("swap", "--swap"), ("page tables", "--s3"),
              ("oom_score_adj", "--s5"))  # fmt: skip


class Part(NamedTuple):
    """One report on the page: `text` is its whole text, `what_if` that of the twin or ""."""

    number: int
    explanation: Explanation
    text: str
    what_if: str


def page(name: str, parts: Sequence[Part], reports: int, rest: str) -> str:
    """A self-contained page on `parts`, of so many `reports`; `rest`: what else the log has."""
    files = resources.files("memtwin") / "cli"
    style = (files / "report.css").read_text(encoding="utf-8")
    own = (files / "oom_report.css").read_text(encoding="utf-8")
    title = f"Out of memory: {name}"
    body = "\n".join(_part(one, reports) for one in parts)
    if not parts:
        body = "<p>No OOM kill of the kernel is in this text.</p>"
    if rest:
        body += (
            f'\n<section class="panel"><h2>Also in this log</h2><pre>{_safe(rest)}</pre></section>'
        )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_safe(title)}</title>\n<style>{style}\n{own}</style></head>\n"
        f'<body><main><p class="kicker"><b>memtwin</b> oom explain</p><h1>{_safe(title)}</h1>\n'
        f"{body}\n</main></body></html>\n"
    )


def _safe(text: str) -> str:
    return html.escape(text)


def _part(part: Part, reports: int) -> str:
    one = part.explanation
    report = one.report
    words = [f"report {part.number} of {reports}", f"lines {report.first_line}-{report.last_line}"]
    words += [f"at {report.stamp}"] if report.stamp else []
    words += [f"kernel {report.release}"] if report.release else []
    story = "".join(f"<p>{_safe(sentence)}</p>" for sentence in one.story)
    panels = [_suspects(one), _memory(one.ledger), _zones(one), _badness(one), _twin(part.what_if)]
    missing = "".join(
        f"<li>{_safe(what)}: {_safe(why)}</li>" for what, why in report.missing.items()
    )
    tail = (
        f'<p class="hint">Not in the text:</p><ul class="plain">{missing}</ul>' if missing else ""
    )
    return (
        f'<p class="kicker">{_safe(", ".join(words))}</p>\n'
        f'<p class="headline"><b>{_safe(one.headline)}</b></p>\n<div class="story">{story}</div>\n'
        + "\n".join(panel for panel in panels if panel)
        + f"\n{tail}<details><summary>The same as text</summary><pre>{_safe(part.text)}</pre>"
        "</details>\n"
    )


def _panel(title: str, hint: str, body: str) -> str:
    return (
        f'<section class="panel"><h2>{_safe(title)}</h2><p class="hint">{_safe(hint)}</p>'
        f"{body}</section>"
    )


def _suspects(one: Explanation) -> str:
    if not one.suspects:
        return ""
    rows = "".join(f"<li>{_safe(suspect.sentence)}</li>" for suspect in one.suspects)
    return _panel("What stands out", "Hints, not proofs.", f'<ul class="plain">{rows}</ul>')


def _memory(ledger: Ledger | None) -> str:
    """Who held memory: one stacked bar, and a row for each part."""
    if ledger is None or not ledger.total_bytes:
        return ""
    total = ledger.total_bytes
    outer = sorted((row for row in ledger.rows if not row.inside), key=lambda row: -row.size_bytes)
    outer = [row for row in outer if row.size_bytes]
    slices, rows = [], []
    for place, row in enumerate(outer):
        colour = _COLOURS[min(place, len(_COLOURS) - 1)]
        if row.size_bytes / total >= LEAST_SHARE:
            slices.append(
                _slice(row.size_bytes / total, colour, f"{row.name} {size(row.size_bytes)}")
            )
        rows.append(_memory_row(row, total, colour, ""))
        rows += [
            _memory_row(inner, total, colour, "inner")
            for inner in ledger.rows
            if inner.inside and row.name.startswith(inner.inside) and inner.size_bytes
        ]
    hint = f"{size(total)} in all. Each page stands in one row; indented rows are parts of a row."
    body = f'<div class="stack">{"".join(slices)}</div><div class="rows">{"".join(rows)}</div>'
    return _panel(f"Where {ledger.what} was", hint, body)


def _slice(share: float, colour: str, tip: str) -> str:
    width = max(min(share, 1.0), 0.0) * 100
    return f'<i style="width:{width:.2f}%;background:var({colour})" title="{_safe(tip)}"></i>'


def _memory_row(row: LedgerRow, total: int, colour: str, kind: str) -> str:
    share = row.size_bytes / total
    shown = f"-{size(-row.size_bytes)}" if row.size_bytes < 0 else size(row.size_bytes)
    note = f" <small>{_safe(row.note)}</small>" if row.note else ""
    key = f'<i class="key" style="background:var({colour})"></i>'
    return (
        f'<div class="row {kind}"><span class="what">{key}{_safe(row.name)}{note}</span>'
        f'<span class="bar">{_slice(share, colour, shown)}</span>'
        f'<span class="num">{shown}</span><span class="num">{share:.1%}</span></div>'
    )


def _zones(one: Explanation) -> str:
    """Free memory of each zone against what the request had to leave."""
    info = one.report.mem_info
    if info is None or not one.cause.zones:
        return ""
    texts = {(zone.node, zone.name): zone for zone in info.zones}
    rows = [_zone(verdict, texts.get((verdict.node, verdict.name))) for verdict in one.cause.zones]
    wanted = one.cause.request.size_bytes
    asked = f"{size(wanted)} were asked for. " if wanted else ""
    hint = (
        f"{asked}The bar is free memory; the request is served only where what is free and not held"
        " back passes the mark min and the pages kept for other requests (reserve)."
    )
    legend = (
        '<div class="legend"><span><i style="background:var(--bad)"></i>free, not enough</span>'
        '<span><i style="background:var(--good)"></i>free, enough</span>'
        '<span><i style="background:var(--run)"></i>free, the request may not use it</span>'
        '<span><i style="background:var(--bad-wash);border:1px dashed var(--bad)"></i>'
        "min and reserve</span><span>lines: min, low, high</span></div>"
    )
    return _panel("Zones against their marks", hint, legend + "".join(rows))


def _zone(verdict: ZoneVerdict, text: ZoneText | None) -> str:
    kib = text.kib if text is not None else {}
    free, floor = kib.get("free", 0), kib.get("min", 0) + (verdict.reserve_bytes or 0) // 1024
    whole = max(free, floor, kib.get("high", 0), 1) * 1.08
    colour = {True: "--good", False: "--bad", None: "--run"}[verdict.serves]
    sizes = {mark: size(kib[mark] << 10) for mark in ("min", "low", "high") if mark in kib}
    ticks = "".join(
        f'<b class="tick" style="left:{kib[mark] / whole:.2%}" title="{mark} {shown}"></b>'
        for mark, shown in sizes.items()
    )
    floored = (
        f'<b class="floor" style="width:{floor / whole:.2%}"></b>'
        if verdict.reachable and floor
        else ""
    )
    node = "" if verdict.node is None else f" of node {verdict.node}"
    marks = ", ".join(f"{mark} {shown}" for mark, shown in sizes.items())
    reserve = f", reserve {size(verdict.reserve_bytes)}" if verdict.reserve_bytes else ""
    bar = _slice(free / whole, colour, f"free {size(free << 10)}")
    managed = f" of {size(kib['managed'] << 10)}" if "managed" in kib else ""
    return (
        f'<div class="zone"><div><b>{_safe(verdict.name)}{node}</b> <span class="soft">free'
        f" {size(free << 10)}{managed} · {marks}{reserve}</span></div>"
        f'<div class="track">{floored}{bar}{ticks}</div>'
        f'<div class="soft">{_safe(verdict.why)}</div></div>'
    )


def _badness(one: Explanation) -> str:
    """The points of the processes that weigh most, by what they are made of."""
    judged = one.judgement
    page = one.report.page_bytes
    killed = {kill.pid for kill in one.report.kills}
    scored = [row for row in judged.candidates if row.points is not None]
    shown = scored[:MOST_CANDIDATES] + [
        row for row in scored[MOST_CANDIDATES:] if row.pid in killed
    ]
    if not shown:
        return ""
    most = max((_weight(row, judged.total_pages) for row in shown), default=1) or 1
    marks = dict.fromkeys(killed, ' <em class="killed">killed</em>')
    rows = [
        _candidate(row, marks.get(row.pid, ""), most, judged.total_pages, page) for row in shown
    ]
    more = len(scored) - len(shown)
    hint = f"Points are {judged.rules}. The one with the most is taken."
    hint += f" {more} more processes weigh less." if more > 0 else ""
    legend = "".join(
        f'<span><i style="background:var({colour})"></i>{name}</span>'
        for name, colour in _OF_POINTS
    )
    legend += "<span>pale: taken off by a negative oom_score_adj, dark: what is left</span>"
    return _panel(
        "Who weighed most",
        hint,
        f'<div class="legend">{legend}</div><div class="rows">{"".join(rows)}</div>',
    )


def _weight(row: Candidate, total_pages: int | None) -> int:
    return (
        row.rss_pages + row.swap_pages + row.page_table_pages + max(_adj_pages(row, total_pages), 0)
    )


def _adj_pages(row: Candidate, total_pages: int | None) -> int:
    # mm/oom_kill.c oom_badness(), v6.1: thousandths first
    return row.oom_score_adj * ((total_pages or 0) // 1000)


def _candidate(
    row: Candidate, mark: str, most: int, total_pages: int | None, page_bytes: int
) -> str:
    parts = (row.rss_pages, row.swap_pages, row.page_table_pages, _adj_pages(row, total_pages))
    slices = "".join(
        _slice(pages / most, colour, f"{name} {size(pages * page_bytes)}")
        for pages, (name, colour) in zip(parts, _OF_POINTS, strict=True)
        if pages > 0
    )
    if parts[3] < 0:  # what is left of the others, on top of them
        left = _slice(max(sum(parts), 0) / most, "--ink", f"points {figure(row.points)}")
        slices = f'<u class="left">{left}</u><u class="pale">{slices}</u>'
    adj = f" <small>oom_score_adj {row.oom_score_adj}</small>" if row.oom_score_adj else ""
    share = "" if row.thousandths is None else f"{row.thousandths:.0f} ‰"
    return (
        f'<div class="row"><span class="what">{_safe(row.name)} <small>{row.pid}</small>{mark}{adj}'
        f'</span><span class="bar">{slices}</span><span class="num">{figure(row.points)}</span>'
        f'<span class="num">{share}</span></div>'
    )


def _twin(text: str) -> str:
    if not text:
        return ""
    head, _, rest = text.partition("\n")
    title = _safe(head.rstrip(":"))
    return f'<section class="panel"><h2>{title}</h2><pre>{_safe(rest)}</pre></section>'
