"""Owns the report of AddressSanitizer's leak checker, LeakSanitizer: text of gcc and clang.

Imports leak_reports/report.
"""

from __future__ import annotations

import re

from memtwin.errors import Absent
from memtwin.observe.leak_reports.report import Frame, LeakReport, LossRecord, Tally, tallies_of

_LEAK = re.compile(
    r"^\s*(Direct|Indirect) leak of (\d+) byte\(s\) in (\d+) object\(s\) allocated from:"
)
_FRAME = re.compile(r"^\s*#\d+ (0x[0-9a-fA-F]+)(?: in (.*))?$")
_MODULE = re.compile(r"^(?:(.*) )?\((\S+?)\+0x[0-9a-f]+\)(?: \(BuildId: \w+\))?$")
_SOURCE = re.compile(r"^(.*) (\S+?):(\d+)(?::\d+)?$")
_ERROR = re.compile(r"^==(\d+)==\s?ERROR: (\w+Sanitizer): (.*)$")
_SUMMARY = re.compile(r"SUMMARY: \w+Sanitizer: (\d+) byte\(s\) leaked in (\d+) allocation\(s\)")
_FATAL = re.compile(r"^==\d+==(LeakSanitizer has encountered a fatal error.*)$")


def is_sanitizer_text(text: str) -> bool:
    """Whether `text` looks like a report of a sanitizer."""
    return "Sanitizer" in text


def parse_sanitizer(text: str) -> LeakReport:
    """The report in `text`; one without leaks has tallies of 0."""
    report = LeakReport(
        tool="AddressSanitizer", kinds={}, records=[], other_errors=[], notes=[], absent=[]
    )
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if match := _LEAK.match(line):
            stack = []
            while at < len(lines) and (frame := _FRAME.match(lines[at])):
                stack.append(_frame(frame))
                at += 1
            kind = "definite" if match[1] == "Direct" else "indirect"
            record = LossRecord(kind, int(match[3]), int(match[2]), stack=stack)
            report.records.append(record)
        elif match := _ERROR.match(line):
            report.pid = int(match[1])
            if match[2] != "LeakSanitizer":
                report.other_errors.append(match[3])
        elif match := _FATAL.match(line):
            report.notes.append(f"{match[1]}: it can't check under a tracer or without ptrace")
        elif match := _SUMMARY.search(line):
            report.in_use = None
            _compare(report, Tally(int(match[2]), int(match[1])))
    report.kinds = tallies_of(report.records)
    report.kinds["possible"] = report.kinds["reachable"] = None
    why = "LeakSanitizer reports lost blocks only"
    report.absent.append(Absent("possibly lost and reachable blocks", why))
    return report


def _compare(report: LeakReport, total: Tally) -> None:
    seen = Tally(sum(r.blocks for r in report.records), sum(r.bytes for r in report.records))
    if seen != total:
        report.notes.append(
            f"its records add up to {seen.bytes} bytes in {seen.blocks} blocks, its summary says"
            f" {total.bytes} in {total.blocks}"
        )


def _frame(match: re.Match[str]) -> Frame:
    vaddr, what = int(match[1], 16), (match[2] or "").strip()
    if module := _MODULE.match(what):
        return Frame(module[1] or None, module=module[2], vaddr=vaddr)
    if source := _SOURCE.match(what):
        return Frame(source[1], source[2], int(source[3]), vaddr=vaddr)
    return Frame(what or None, vaddr=vaddr)
