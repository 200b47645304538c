"""Owns memcheck's report as XML (`--xml=yes`, protocol 4).

Imports leak_reports/report. XML has no heap summary: what was in use is the sum of its records, and
it is whole only with --show-leak-kinds=all.
"""

from __future__ import annotations

import io
from xml.etree import ElementTree as ET

from memtwin.errors import Absent, UserError
from memtwin.observe.leak_reports.report import (
    Frame,
    LeakReport,
    LossRecord,
    tallies_of,
)

_KIND = {
    "Leak_DefinitelyLost": "definite",
    "Leak_IndirectlyLost": "indirect",
    "Leak_PossiblyLost": "possible",
    "Leak_StillReachable": "reachable",
}


def is_valgrind_xml(text: str) -> bool:
    """Whether `text` looks like memcheck's."""
    return "<valgrindoutput>" in text[:2000]


def parse_valgrind_xml(text: str, name: str = "the report") -> LeakReport:
    """The report in `text`; what stands before a broken end is kept.

    Raises UserError when there is nothing in it that can be read; `name` stands in the message.
    """
    report = LeakReport(tool="valgrind", kinds={}, records=[], other_errors=[], notes=[], absent=[])
    finished = False
    try:
        for _, element in ET.iterparse(io.BytesIO(text.encode()), events=("end",)):
            if element.tag == "error":
                _error(report, element)
                element.clear()
            elif element.tag == "status" and element.findtext("state") == "FINISHED":
                finished = True
            else:
                _head(report, element)
    except ET.ParseError as fault:
        if report.pid is None and not report.records:
            raise UserError(f"{name}: found XML that can't be read ({fault})") from None
        report.notes.append(f"the file is broken at its end ({fault})")
    report.kinds = tallies_of(report.records)
    if not finished:
        report.notes.append("memcheck did not finish: later leaks are missing")
    report.absent.append(Absent("allocs and frees", "memcheck's XML does not have them"))
    return report


def _head(report: LeakReport, element: ET.Element) -> None:
    if element.tag == "pid" and element.text:
        report.pid = int(element.text)
    elif element.tag == "argv":
        report.command = " ".join(part.text or "" for part in element)
    elif element.tag == "preamble":
        for line in element.itertext():
            if "Valgrind-" in line:
                report.tool_version = line.split("Valgrind-", 1)[1].split()[0]


def _error(report: LeakReport, element: ET.Element) -> None:
    kind = element.findtext("kind") or ""
    if kind not in _KIND:
        report.other_errors.append(element.findtext("what") or kind)
        return
    stack = element.find("stack")
    frames = [_frame(frame) for frame in stack] if stack is not None else []
    leaked = int(element.findtext("xwhat/leakedbytes") or 0)
    blocks = int(element.findtext("xwhat/leakedblocks") or 0)
    text = element.findtext("xwhat/text") or ""
    direct, indirect = leaked, None
    if " direct, " in text:  # "88 (8 direct, 80 indirect) bytes": leakedbytes is the sum
        inner = text.split("(", 1)[1].split(")", 1)[0].replace(",", "").split()
        direct, indirect = int(inner[0]), int(inner[2])
    report.records.append(LossRecord(_KIND[kind], blocks, direct, None, indirect, frames))


def _frame(element: ET.Element) -> Frame:
    line, address = element.findtext("line"), element.findtext("ip")
    return Frame(
        element.findtext("fn"),
        element.findtext("file"),
        int(line) if line else None,
        element.findtext("obj"),
        int(address, 16) if address else None,
    )
