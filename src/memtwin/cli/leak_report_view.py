"""Owns how a common report of leaks is shown, whichever tool wrote it.

Imports observe/leak_reports and cli/leak_text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from memtwin.cli.leak_text import kinds_table, notes_and_absent, say, say_json
from memtwin.errors import UserError
from memtwin.observe.leak_reports import LeakReport, LossRecord, read_reports
from memtwin.observe.leak_reports.reader import REPORTS_SCHEMA, REPORTS_VERSION
from memtwin.observe.leak_reports.report import KIND_TITLES
from memtwin.units import format_size

if TYPE_CHECKING:
    from memtwin.record.heap_trace import HeapTrace

_FRAMES = 8
_PARQUET = b"PAR1"  # a recording of a heap is a Parquet file


def reports_in(file: Path) -> list[LeakReport]:
    """The reports in a file of any kind. Raises UserError when it has none."""
    try:
        with file.open("rb") as stream:
            is_recording = stream.read(len(_PARQUET)) == _PARQUET
    except OSError:
        is_recording = False  # which kind it is not, its reader says
    if not is_recording:
        return read_reports(file)
    from memtwin.record.heap_trace import read_heap_trace

    return of_recording(read_heap_trace(file), file)


def of_recording(trace: HeapTrace, file: Path) -> list[LeakReport]:
    """The leaks that were looked for while `trace` was recorded. Raises UserError without any."""
    if trace.info.leaks is None:
        why = next((one for one in trace.info.missing if one.startswith("leaks: ")), None)
        raise UserError(
            f"{file}: found a recording without leaks, "
            + (why.removeprefix("leaks: ") if why else "allowed is one made with --leaks")
        )
    return [msgspec.convert(trace.info.leaks, LeakReport)]


def show(reports: Sequence[LeakReport], top: int, *, as_json: bool) -> None:
    """Print the reports of one file or run."""
    if as_json:
        say_json(
            {"schema": REPORTS_SCHEMA, "version": REPORTS_VERSION, "reports": list(reports)}
        )
        return
    for number, report in enumerate(reports):
        say(("\n" if number else "") + _text(report, top))


def _text(report: LeakReport, top: int) -> str:
    parts = [_head(report), "\n", kinds_table(report.kinds)]
    lost = [record for record in report.records if record.kind != "reachable"]
    held = [record for record in report.records if record.kind == "reachable"]
    lost.sort(key=lambda one: (list(KIND_TITLES).index(one.kind), -one.bytes))
    for record in [*lost, *sorted(held, key=lambda one: -one.bytes)][:top]:
        parts += ["\n", _record(record)]
    rest = len(report.records) - top
    if rest > 0:
        parts.append(f"\nand {rest:,} records more\n")
    if report.other_errors:
        parts.append(f"\n{len(report.other_errors)} other errors: {report.other_errors[0]}\n")
    tail = notes_and_absent(report.notes, report.absent)
    return "".join(parts) + ("\n" + tail if tail else "")


def _head(report: LeakReport) -> str:
    words = [report.tool + (f" {report.tool_version}" if report.tool_version else "")]
    if report.command:
        words.append(report.command)
    if report.pid is not None:
        words.append(f"PID {report.pid}")
    head = ", ".join(words) + "\n"
    if report.in_use is not None:
        head += f"in use: {report.in_use.bytes:,} bytes in {report.in_use.blocks:,} blocks"
        if report.allocs is not None and report.frees is not None:
            head += f"; {report.allocs:,} allocs, {report.frees:,} frees"
        if report.allocated_bytes is not None:
            head += f", {report.allocated_bytes:,} bytes allocated"
        head += "\n"
    return head


def _record(record: LossRecord) -> str:
    text = f"{format_size(record.bytes)} in {record.blocks:,} blocks {KIND_TITLES[record.kind]}"
    if record.indirect_bytes:
        text += f", and {format_size(record.indirect_bytes)} that only they lead to"
    lines = [text, *(f"    {frame.shown()}" for frame in record.stack[:_FRAMES])]
    if len(record.stack) > _FRAMES:
        lines.append(f"    and {len(record.stack) - _FRAMES} calls more")
    if record.content:
        lines.append(f"    {record.content}")
    return "\n".join(lines) + "\n"
