"""Owns memcheck's report as text: lines that begin with `==PID==`.

Imports leak_reports/report. Knows the wording of valgrind 3.15 to 3.24; a line it does not know is
passed over, a report without its summary says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from memtwin.errors import Absent
from memtwin.observe.leak_reports.report import KINDS, Frame, LeakReport, LossRecord, Tally

_LINE = re.compile(r"^\s*==(\d+)== ?(.*)$")
_COUNT = r"([\d,]+)"
_RECORD = re.compile(
    rf"{_COUNT} (?:\({_COUNT} direct, {_COUNT} indirect\) )?bytes in {_COUNT} blocks are"
    r" (definitely lost|indirectly lost|possibly lost|still reachable) in loss record"
)
_SUMMARY = re.compile(
    rf"(definitely lost|indirectly lost|possibly lost|still reachable): {_COUNT} bytes in"
    rf" {_COUNT} blocks"
)
_IN_USE = re.compile(rf"in use at exit: {_COUNT} bytes in {_COUNT} blocks")
_TOTAL = re.compile(rf"total heap usage: {_COUNT} allocs, {_COUNT} frees, {_COUNT} bytes allocated")
_FRAME = re.compile(r"\s+(?:at|by) (0x[0-9A-Fa-f]+): (.*)$")
_PLACE = re.compile(r"^(.*) \((?:(in) (.*)|([^():]+):(\d+))\)$")
_KIND = {
    "definitely lost": "definite",
    "indirectly lost": "indirect",
    "possibly lost": "possible",
    "still reachable": "reachable",
}
_ENDED = re.compile(r"Process terminating with default action of signal (\d+) \((\w+)\)")
_ERRORS = (
    "Invalid read", "Invalid write", "Invalid free", "Mismatched free", "Conditional jump",
    "Use of uninitialised", "Syscall param", "Source and destination overlap",
    "Jump to the invalid",
)  # fmt: skip


def is_valgrind_text(text: str) -> bool:
    """Whether `text` looks like memcheck's."""
    return any(_LINE.match(line) for line in text.splitlines()[:200])


def parse_valgrind_text(text: str) -> list[LeakReport]:
    """One report for each process in `text` that memcheck wrote about leaks of."""
    lines: dict[int, list[str]] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match:
            lines.setdefault(int(match[1]), []).append(match[2])
    return [_parse(pid, body) for pid, body in lines.items()]


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _parse(pid: int, lines: list[str]) -> LeakReport:
    report = LeakReport(
        tool="valgrind", pid=pid, kinds=dict.fromkeys(KINDS), records=[], other_errors=[],
        notes=[], absent=[],
    )  # fmt: skip
    rest = iter(lines)
    for line in rest:
        _head(report, line)
        if match := _IN_USE.search(line):
            report.in_use = Tally(_number(match[2]), _number(match[1]))
        elif match := _TOTAL.search(line):
            report.allocs, report.frees, report.allocated_bytes = map(_number, match.groups())
        elif match := _RECORD.search(line):
            report.records.append(_record(match, rest))
        elif match := _SUMMARY.search(line):
            report.kinds[_KIND[match[1]]] = Tally(_number(match[3]), _number(match[2]))
        elif "no leaks are possible" in line:
            report.kinds = dict.fromkeys(KINDS, Tally())
        elif line.lstrip().startswith(_ERRORS):
            report.other_errors.append(line.strip())
    _tell_absent(report)
    return report


def _head(report: LeakReport, line: str) -> None:
    if match := re.match(r"Using Valgrind-([\w.]+)", line):
        report.tool_version = match[1]
    elif line.startswith("Command: "):
        report.command = line.removeprefix("Command: ").strip()
    elif match := _ENDED.match(line):
        report.notes.append(f"the program was ended by signal {match[1]} ({match[2]})")


def _record(match: re.Match[str], lines: Iterator[str]) -> LossRecord:
    total, direct, indirect, blocks, kind = match.groups()
    stack = []
    for line in lines:
        frame = _FRAME.match(line)
        if frame is None:
            break
        stack.append(_frame(frame))
    return LossRecord(
        _KIND[kind],
        _number(blocks),
        _number(direct if direct is not None else total),
        None,
        _number(indirect) if indirect is not None else None,
        stack,
    )


def _frame(match: re.Match[str]) -> Frame:
    vaddr, what = int(match[1], 16), match[2].strip()
    place = _PLACE.match(what)
    if place is None:
        return Frame(None if what == "???" else what, vaddr=vaddr)
    name = None if place[1] == "???" else place[1]
    if place[2]:
        return Frame(name, module=place[3], vaddr=vaddr)
    return Frame(name, place[4], int(place[5]), vaddr=vaddr)


def _tell_absent(report: LeakReport) -> None:
    if report.kinds["definite"] is None:
        why = "the report has no leak summary: memcheck was not run to its end, or without"
        report.absent.append(Absent("lost blocks", f"{why} --leak-check"))
    if report.in_use is None:
        report.absent.append(Absent("in use at exit", "the report has no heap summary"))
    shown = {record.kind for record in report.records}
    for kind in ("indirect", "reachable"):
        tally = report.kinds[kind]
        if tally is not None and tally.blocks and kind not in shown:
            why = "memcheck shows them with --show-leak-kinds=all"
            report.absent.append(Absent(f"records of {kind} blocks", why))
