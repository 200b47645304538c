"""Owns the views of the ledger: `memtwin ledger`, alone, repeated with its trend, or by census.

Imports cli/view and analysis/ledger and census. Sums nothing itself.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from memtwin.analysis.ledger import Ledger, LedgerRow, ledger_changes, make_ledger
from memtwin.cli.columns_text import DASH, Column, figure, size, table
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Absent, Look, Snapshot
from memtwin.observe.ledger_texts import LedgerCounters, read_ledger_counters
from memtwin.observe.source import Source

if TYPE_CHECKING:
    from memtwin.analysis.census import Census, CensusRow

LIVE_HOST = Path("/")


class LedgerLine(msgspec.Struct):
    """One row of the ledger as printed; `change_pages` is since the first look, None at it."""

    section: str  # "row" sums to MemTotal; "of_rows" is part of rows; "outside" never was in it
    row: str
    pages: int
    size_bytes: int
    low_pages: int
    high_pages: int
    change_pages: int | None
    change_pages_per_s: float | None
    counted_by: str


class LedgerLooks:
    """Looks at the ledger of one source, and remembers the first look to tell the trend."""

    def __init__(self, source: Source, root: str, dmesg: str | None) -> None:
        self.source, self.root, self.dmesg = source, root, dmesg
        self._first: tuple[float, Ledger] | None = None

    def counters(self) -> LedgerCounters:
        """What the kernel counts now."""
        return read_ledger_counters(self.source, self.dmesg)

    def look(self, at_s: float | None = None) -> Snapshot:
        """The ledger of this moment, or of `at_s` where the source is a stored one."""
        at_s = time.time() if at_s is None else at_s
        counters = self.counters()
        ledger = make_ledger(counters)
        before, self._first = self._first, self._first or (at_s, ledger)
        lines = _lines(ledger, before, at_s)
        absent = [Absent(what, why) for what, why in counters.absent.items()]
        totals = {
            "mem_total_pages": ledger.total_pages,
            "page_bytes": ledger.page_bytes,
            "sum_of_rows_pages": sum(row.pages for row in ledger.rows),
        }
        return Snapshot(
            "ledger", lines, _text(lines, ledger), totals, absent, ledger.notes, self.root, at_s
        )


def ledger_look(root: Path) -> Look:
    """How to look at the ledger of `root`."""
    source = source_at(root)
    looks = LedgerLooks(source, str(root), _log_of(root))
    return lambda: looks.look(taken_s(source))


def _log_of(root: Path) -> str | None:
    if root != LIVE_HOST:
        return None
    from memtwin.observe.kernel_log import kernel_log

    return kernel_log()


def _lines(ledger: Ledger, before: tuple[float, Ledger] | None, taken_s: float) -> list[LedgerLine]:
    trend = {}
    if before is not None:
        changes = ledger_changes(before[1], ledger, taken_s - before[0])
        trend = {change.row: change for change in changes}

    def line(section: str, row: LedgerRow) -> LedgerLine:
        moved = trend.get(row.row) if section == "row" else None
        return LedgerLine(
            section=section,
            row=row.row,
            pages=row.pages,
            size_bytes=row.size_bytes,
            low_pages=row.low_pages,
            high_pages=row.high_pages,
            change_pages=None if moved is None else moved.change_pages,
            change_pages_per_s=None if moved is None else moved.pages_per_s,
            counted_by=row.counted_by,
        )

    found = [line("row", row) for row in ledger.rows]
    for one in ledger.attributes:
        row = LedgerRow(one.name, one.pages, one.size_bytes, one.pages, one.pages, one.of_rows)
        found.append(line("of_rows", row))
    return found + [line("outside", row) for row in ledger.outside]


def _text(lines: list[LedgerLine], ledger: Ledger) -> str:
    with_trend = any(one.change_pages is not None for one in lines)
    columns = [Column("MemTotal", "<"), Column("pages"), Column("size")]
    columns += [Column("change"), Column("pages/s")] if with_trend else []
    columns += [Column("counted by", "<")]
    rows = [
        [*_cells(one), *(_trend_cells(one) if with_trend else []), one.counted_by]
        for one in lines
        if one.section == "row" and (one.pages or one.high_pages)
    ]
    total = ["sum", figure(ledger.total_pages), size(ledger.total_pages * ledger.page_bytes)]
    rows.append([*total, *(["", ""] if with_trend else []), "MemTotal"])
    out = table(columns, rows)
    sections = (("of_rows", "of which", "in rows"), ("outside", "outside", "told by"))
    for section, head, last in sections:
        told = [one for one in lines if one.section == section]
        if told:
            columns = [Column(head, "<"), Column("pages"), Column("size"), Column(last, "<")]
            cells = ([*_cells(one), one.counted_by] for one in told)
            out += "\n" + table(columns, cells)
    return out


def _cells(one: LedgerLine) -> list[str]:
    pages = figure(one.pages)
    if one.low_pages != one.pages or one.high_pages != one.pages:
        pages = f"{one.low_pages:,}..{one.high_pages:,} ~ {pages}"
    return [one.row, pages, _signed_size(one.size_bytes)]


def _trend_cells(one: LedgerLine) -> list[str]:
    return [_signed(one.change_pages), _signed(one.change_pages_per_s)]


def _signed_size(size_bytes: int) -> str:
    return size(size_bytes) if size_bytes >= 0 else f"-{size(-size_bytes)}"


def _signed(value: float | None) -> str:
    return DASH if value is None else f"{value:+,.0f}"


def census_look(root: Path) -> Look:
    """How to take a census of the frames of `root` beside its ledger."""
    from memtwin.analysis.census import take_census
    from memtwin.observe.kpage import NoFrames, read_frames

    looks = LedgerLooks(source_at(root), str(root), _log_of(root))

    def look() -> Snapshot:
        before = make_ledger(looks.counters())
        try:
            census = take_census(read_frames(root))
        except NoFrames as fault:
            ledger = looks.look()
            return ledger._replace(absent=[*ledger.absent, Absent("census", str(fault))])
        return _census_snapshot(census, before, make_ledger(looks.counters()), str(root))

    return look


def _census_snapshot(census: Census, before: Ledger, after: Ledger, root: str) -> Snapshot:
    from memtwin.analysis.census import beside_ledger

    rows = beside_ledger(census, before, after)
    absent = []
    if census.mapped_often is None:
        absent.append(Absent("shared", "/proc/kpagecount can't be read"))
    if census.charged is None:
        absent.append(Absent("charged", "/proc/kpagecgroup can't be read"))
    totals = {
        "frames": census.frames,
        "page_bytes": after.page_bytes,
        "frames_by_cgroup_inode": {str(inode): n for inode, n in census.by_cgroup.items()},
    }
    text = table(_CENSUS_COLUMNS, map(_census_cells, rows))
    return Snapshot("census", rows, text, totals, absent, after.notes, root, time.time())


_CENSUS_COLUMNS = (
    Column("frames that are", "<"), Column("census"), Column("ledger"), Column("difference"),
    Column("moved"), Column("mapped"), Column("shared"), Column("charged"),
    Column("why they may differ", "<"),
)  # fmt: skip


def _census_cells(row: CensusRow) -> list[str]:
    return [
        row.row, figure(row.frames), figure(row.ledger_pages), _signed(row.difference_pages),
        _signed(row.moved_pages), figure(row.mapped_frames), figure(row.mapped_often_frames),
        figure(row.charged_frames), row.why,
    ]  # fmt: skip
