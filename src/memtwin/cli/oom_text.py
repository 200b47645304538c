"""Owns how an explained OOM report looks on a terminal.

Imports analysis' records and cli/columns_text. Does no arithmetic beyond shares of a whole.
"""

from __future__ import annotations

import textwrap

from memtwin.analysis.oom_ledger import Ledger
from memtwin.analysis.oom_story import Explanation
from memtwin.cli.columns_text import Column, figure, size, table
from memtwin.observe.oom.records import OomLog

WIDTH = 100
_BAR_CELLS = 24
_TRACE_SHOWN = 8
# the killer's own functions, which say nothing of who asked
_OWN_FRAMES = ("dump_stack", "dump_header", "oom_", "out_of_memory", "show_stack", "__dump_stack")


def explanation_text(one: Explanation, number: int, of: int, rows: int) -> str:
    """Everything about one report."""
    parts = [_title(one, number, of), _paragraph(one.headline, ""), ""]
    parts += [_paragraph(sentence, "  ") for sentence in one.story]
    if one.suspects:
        parts += ["", "What stands out:"]
        parts += [_paragraph(suspect.sentence, "  - ") for suspect in one.suspects]
    if one.judgement.candidates:
        parts += ["", _candidates(one, rows)]
    if one.ledger is not None:
        parts += ["", _ledger(one.ledger)]
    trace = _trace(one)
    if trace:
        parts += ["", _paragraph(f"Asked by way of {trace}.", "")]
    if one.report.missing:
        parts += ["", "Not in the text:"]
        parts += [_paragraph(f"{part}: {why}", "  - ") for part, why in one.report.missing.items()]
    return "\n".join(parts) + "\n"


def _paragraph(text: str, lead: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _title(one: Explanation, number: int, of: int) -> str:
    report = one.report
    where = f"lines {report.first_line}-{report.last_line}"
    words = [f"report {number} of {of}", where]
    words += [f"at {report.stamp}"] if report.stamp else []
    words += [f"kernel {report.release}"] if report.release else []
    return f"--- {', '.join(words)} ---"


def _candidates(one: Explanation, rows: int) -> str:
    page = one.report.page_bytes
    judged = one.judgement
    columns = [
        Column(""), Column("pid"), Column("name", "<"), Column("uid"), Column("rss"),
        Column("swap"), Column("tables"), Column("adj"), Column("points"), Column("/1000"),
        Column("", "<"),
    ]  # fmt: skip
    killed = {kill.pid for kill in one.report.kills}
    shown = []
    for place, candidate in enumerate(judged.candidates):
        if place >= rows and candidate.pid not in killed:
            continue
        share = candidate.thousandths
        shown.append([
            "killed" if candidate.pid in killed else "",
            str(candidate.pid), candidate.name, str(candidate.uid),
            size(candidate.rss_pages * page), size(candidate.swap_pages * page),
            size(candidate.page_table_pages * page), str(candidate.oom_score_adj),
            figure(candidate.points), "-" if share is None else f"{share:.0f}",
            candidate.exempt_because,
        ])  # fmt: skip
    total = "unknown" if judged.total_pages is None else size(judged.total_pages * page)
    head = _paragraph(
        f"Points = {judged.rules} ({judged.rules_from}); all memory here is {total}"
        f" ({judged.total_from}).", "",
    )  # fmt: skip
    more = len(judged.candidates) - len(shown)
    tail = f"and {more} more processes\n" if more > 0 else ""
    return f"{head}\n{table(columns, shown)}{tail}".rstrip("\n")


def _ledger(ledger: Ledger) -> str:
    total = ledger.total_bytes
    rows = []
    outer = sorted((row for row in ledger.rows if not row.inside), key=lambda row: -row.size_bytes)
    for row in outer:
        if row.size_bytes == 0:
            continue
        rows.append([row.name, size_signed(row.size_bytes), _share(row.size_bytes, total),
                     _bar(row.size_bytes, total), row.note])  # fmt: skip
        for part in ledger.rows:
            if part.inside and row.name.startswith(part.inside) and part.size_bytes:
                rows.append([f"  {part.name}", size_signed(part.size_bytes),
                             _share(part.size_bytes, total), "", part.note])  # fmt: skip
    columns = [Column("memory of", "<"), Column("size"), Column("share"), Column("", "<"),
               Column("", "<")]  # fmt: skip
    whole = f" ({size(total)})" if total is not None else ""
    absent = f"not printed by this kernel: {', '.join(ledger.absent)}\n" if ledger.absent else ""
    return f"Where {ledger.what}{whole} was:\n{table(columns, rows)}{absent}".rstrip("\n")


def size_signed(size_bytes: int) -> str:
    """A size that may be below zero: counters of a running machine need not add up."""
    return f"-{size(-size_bytes)}" if size_bytes < 0 else size(size_bytes)


def _share(part: int, total: int | None) -> str:
    return "-" if not total else f"{part / total:.1%}"


def _bar(part: int, total: int | None) -> str:
    cells = 0 if not total or part <= 0 else min(round(part / total * _BAR_CELLS), _BAR_CELLS)
    return "█" * cells


def _trace(one: Explanation) -> str:
    trace = one.report.trace or one.report.doubtful_trace
    own = [name for name in trace if not name.startswith(_OWN_FRAMES)]
    cut = ", ..." if len(own) > _TRACE_SHOWN else ""
    return ", ".join(own[:_TRACE_SHOWN]) + cut


def rest_text(log: OomLog) -> str:
    """What else the log has: kills by others, failures that killed nobody, lines lost."""
    lines = []
    for other in log.others:
        pid = f" ({other.pid})" if other.pid is not None else ""
        lines.append(
            f"line {other.line}: not the kernel's OOM killer but {other.killer}"
            f" killed {other.name}{pid}: {other.why}"
        )
    if log.failures:
        lines.append(
            f"{log.failures} reports of failed allocations and memory dumps that killed nobody"
        )
    lines += [f"the log is not whole: {lost}" for lost in log.lost]
    return "".join(_paragraph(line, "") + "\n" for line in lines)
