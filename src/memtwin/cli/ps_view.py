"""Owns the view `memtwin ps`: which processes, summed by what, in which order.

Imports cli/view, cli/ps_columns, analysis/usage and observe's scan. Sums nothing itself.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from memtwin.analysis import mapping_usage, usage
from memtwin.analysis.usage import By, Usage
from memtwin.cli import ps_columns
from memtwin.cli.columns_text import table
from memtwin.cli.ps_columns import Field, Layout
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Absent, Snapshot, SortableLook
from memtwin.errors import UserError
from memtwin.observe.processes import scan as process_scan
from memtwin.observe.processes.record import Origin, Process
from memtwin.observe.processes.scan import Part, ProcessScan
from memtwin.observe.source import ReasonedTree

if TYPE_CHECKING:
    from memtwin.observe.processes.budgeted_looks import BudgetedLooks

USUAL_COLUMNS = "pid user swap uss pss rss vss command"
USUAL_GROUP_COLUMNS = "name count swap uss pss rss vss"
USUAL_MAPPING_COLUMNS = "map pids avgpss pss"
_PARTS = {
    "user": Part.USER,
    "uid": Part.USER,
    "command": Part.COMMAND,
    "cgroup": Part.CGROUP,
    "oom": Part.OOM,
    "oomadj": Part.OOM,
    **dict.fromkeys(("name", "ppid", "state", "threads", "minflt", "majflt"), Part.STAT),
}
# on the live screen; r, there, looks at once
SORT_KEYS = {"p": "pss", "u": "uss", "m": "rss", "v": "vss", "s": "swap"}
_MOST_ABSENT = 5  # named one by one; all are counted


class Choice(NamedTuple):
    """What the words of the command line ask for."""

    root: Path
    by: By = By.PROCESS
    mappings: bool = False
    columns: str | None = None
    sort: str | None = None
    descending: bool = False
    unit: str = ps_columns.KIB_UNIT
    totals: bool = False
    header: bool = True
    process_filter: str | None = None
    map_filter: str | None = None
    user_filter: str | None = None
    budget_share: float | None = None  # None: every process is walked at every look
    interval_s: float = 2.0
    parts: Part = Part.NONE  # read beside what the columns need


class ProcessLooks:
    """Looks at processes as a `Choice` asks."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.fields, usual = _fields_of(choice)
        names = ps_columns.chosen(self.fields, choice.columns, usual)
        self.sort = choice.sort or "pss"
        ps_columns.known(self.fields, self.sort, "sort")
        source = source_at(choice.root)
        self.scan = ProcessScan(source, _parts(choice, [*names, self.sort]))
        self.layout = Layout(self.fields, names, choice.unit, _ram_bytes(choice, source))
        self.map_pattern = _pattern(choice.map_filter, "-M")
        self.scan.wanted = _wanted(choice)
        share = choice.budget_share
        if share is not None and (choice.mappings or self.map_pattern):
            raise UserError("--budget: found with a look into mappings, which reads all of smaps")
        self.budgeted = None if share is None else _budgeted(self.scan, share)
        self._mapped: list[mapping_usage.MappingSum] = []

    def look(self) -> Snapshot:
        """The processes of this moment."""
        at_s = taken_s(self.scan.source)
        processes = self._processes()
        if not processes and not self.scan.pids():
            raise UserError(f"--root: found no processes in {self.choice.root}/proc")
        rows = self._rows(usage.with_memory(processes))
        key = self.fields[self.sort].get
        rows = sorted(rows, key=lambda row: _order(key(row)), reverse=self.choice.descending)
        seen, notes = usage.seen(processes), []
        notes.append(_readable(seen))
        if self.budgeted is not None:
            notes.append(_budget_note(self.budgeted))
        total = usage.total(usage.with_memory(processes))
        totals = {**msgspec.structs.asdict(total), **msgspec.structs.asdict(seen)}
        totals["missed"] = dict(self.scan.counts)
        return Snapshot(
            "ps",
            rows,
            self._text(rows, total),
            totals,
            _absent(self.scan),
            notes,
            str(self.choice.root),
            at_s,
        )

    def by(self, column: str) -> Snapshot:
        """The processes of this moment, sorted by `column`."""
        self.sort = column
        return self.look()

    def _processes(self) -> list[Process]:
        if self.budgeted is not None:
            return self.budgeted.look(time.monotonic(), self.choice.interval_s)
        if self.choice.mappings or self.map_pattern is not None:
            return self._by_areas()
        return process_scan.look(self.scan)

    def _by_areas(self) -> list[Process]:
        """Processes with what those of their mappings add up to that match the filter."""
        self.scan.missed.clear()
        pattern = self.map_pattern
        found, all_areas = [], []
        for pid in self.scan.pids():
            process = self.scan.cheap(pid)
            areas = None if process is None else self.scan.areas(process)
            if process is None or (areas is None and process.why == process_scan.GONE):
                continue
            if areas is None or process.origin is Origin.NO_MEMORY:
                found.append(process)
                continue
            if pattern is not None:
                areas = [area for area in areas if pattern.search(mapping_usage.name_of(area))]
                if not areas:
                    continue
            _take_sum(process, mapping_usage.sum_of(areas))
            found.append(process)
            if self.choice.mappings:
                all_areas.append(areas)
        self._mapped = mapping_usage.grouped(all_areas, mapping_usage.name_of)
        return found

    def _rows(self, processes: list[Process]) -> Sequence[Any]:
        if self.choice.mappings:
            return self._mapped
        if self.choice.by is By.PROCESS:
            return processes
        return usage.summed(processes, self.choice.by)

    def _text(self, rows: Sequence[Any], total: Usage) -> str:
        layout = self.layout
        lines = ps_columns.cells(layout, rows)
        if self.choice.totals:
            lines.append(["-" * len(head.head) for head in ps_columns.heads(layout)])
            lines.append(_total_cells(layout, rows, total, is_mappings=self.choice.mappings))
        columns = ps_columns.heads(layout)
        text = table(columns, lines)
        if not self.choice.header:
            text = text.partition("\n")[2]
        if sys.stdout.isatty() and layout.names[-1] in ("command", "cgroup", "name", "map"):
            import shutil

            width = shutil.get_terminal_size().columns
            text = "".join(f"{line[:width]}\n" for line in text.splitlines())
        return text


def _budgeted(scan: ProcessScan, share: float) -> BudgetedLooks:
    from memtwin.observe.processes.budgeted_looks import BudgetedLooks

    return BudgetedLooks(scan, share)


def ps_look(choice: Choice) -> SortableLook:
    """How to look at processes. Raises UserError for a column, pattern or root that is not one."""
    looks = ProcessLooks(choice)
    return SortableLook(looks.by, SORT_KEYS, looks.sort)


def _fields_of(choice: Choice) -> tuple[Mapping[str, Field], str]:
    if choice.mappings:
        return ps_columns.MAPPING_FIELDS, USUAL_MAPPING_COLUMNS
    if choice.by is not By.PROCESS:
        return ps_columns.GROUP_FIELDS, USUAL_GROUP_COLUMNS
    usual = USUAL_COLUMNS
    if choice.budget_share is not None:
        usual = usual.replace(" command", " age command")
    return ps_columns.PROCESS_FIELDS, usual


def _parts(choice: Choice, names: Sequence[str]) -> Part:
    parts = choice.parts
    if choice.by is By.PROGRAM or choice.budget_share is not None:
        parts |= Part.STAT
    for name in names if choice.by is By.PROCESS else ():
        parts |= _PARTS.get(name, Part.NONE)
    if choice.by in (By.USER, By.CGROUP):
        parts |= Part.USER if choice.by is By.USER else Part.CGROUP
    if choice.process_filter is not None:
        parts |= Part.COMMAND | Part.STAT
    return parts | Part.USER if choice.user_filter is not None else parts


def _pattern(text: str | None, word: str) -> re.Pattern[str] | None:
    try:
        return None if text is None else re.compile(text)
    except re.error as fault:
        raise UserError(f"{word}: found {text!r}, allowed is a pattern ({fault})") from None


def _wanted(choice: Choice) -> Callable[[Process], bool] | None:
    of_process = _pattern(choice.process_filter, "-P")
    of_user = _pattern(choice.user_filter, "-U")
    if of_process is None and of_user is None:
        return None
    return lambda process: bool(usage.matching([process], of_process, of_user))


def _ram_bytes(choice: Choice, source: ReasonedTree) -> int:
    if choice.unit != ps_columns.PERCENT_UNIT:
        return 0
    from memtwin.observe.meminfo import parse_meminfo

    text = source.read("/proc/meminfo")
    total_kib = None if text is None else parse_meminfo(text).mem_total_kib
    if not total_kib:
        raise UserError(f"-p: found no MemTotal, {source.why_not('/proc/meminfo')}")
    return total_kib << 10


def _take_sum(process: Process, row: mapping_usage.MappingSum) -> None:
    process.vss_bytes, process.rss_bytes = row.vss_bytes, row.rss_bytes
    process.pss_bytes, process.uss_bytes = row.pss_bytes, row.uss_bytes
    process.swap_bytes, process.swap_pss_bytes = row.swap_bytes, row.swap_pss_bytes
    process.origin = Origin.FRESH


def _order(value: Any) -> tuple[bool, Any]:
    return value is not None, value if value is not None else 0


def _readable(seen: usage.Seen) -> str:
    note = f"{seen.read_count} of {seen.count} processes readable"
    if seen.why:
        note += f" ({', '.join(f'{n}: {why}' for why, n in seen.why.items())})"
    if seen.without_memory_count:
        note += f"; {seen.without_memory_count} kernel threads and zombies have no memory"
    return note


def _budget_note(budgeted: BudgetedLooks) -> str:
    spent = budgeted.spent
    note = (
        f"budget {budgeted.budget.share:.2%} of one CPU: {spent.walked} walked"
        f" in {spent.cost_ns / 1e6:.1f} ms, {spent.carried} carried over"
    )
    if spent.carried:
        note += f" (oldest {spent.oldest_s:.0f} s)"
    if spent.estimated:
        note += f", {spent.estimated} estimated from statm (~)"
    if spent.too_costly:
        note += f", {spent.too_costly} too costly to walk"
    return note


def _absent(scan: ProcessScan) -> list[Absent]:
    missed = [one for one in scan.missed if one.why != process_scan.GONE]
    found = [Absent(f"/proc/{one.pid}/{one.file}", one.why) for one in missed[:_MOST_ABSENT]]
    if len(missed) > _MOST_ABSENT:
        found.append(Absent(f"{len(missed) - _MOST_ABSENT} more files", "as counted above"))
    return found


def _total_cells(
    layout: Layout, rows: Sequence[Any], total: Usage, *, is_mappings: bool
) -> list[str]:
    """The last line: sums below sizes, the number of rows below the first column."""
    source = _sum_of_rows(rows) if is_mappings else total
    cells = []
    for number, name in enumerate(layout.names):
        field = layout.fields[name]
        if field.is_size and hasattr(source, f"{_field_name(name)}_bytes"):
            size_bytes = getattr(source, f"{_field_name(name)}_bytes")
            cells.append(ps_columns.shown_size(size_bytes, layout.unit, layout.ram_bytes))
        elif number == 0:
            cells.append(str(len(rows)))
        elif name == "count":
            cells.append(str(sum(row.count for row in rows)))
        else:
            cells.append("")
    return cells


def _field_name(name: str) -> str:
    return "swap_pss" if name == "swappss" else name


def _sum_of_rows(rows: Sequence[Any]) -> Any:
    whole = mapping_usage.MappingSum("")
    for field in usage.SIZES:
        figures = [one for row in rows if (one := getattr(row, field)) is not None]
        setattr(whole, field, sum(figures) if figures else None)
    return whole
