"""Owns telling what a file of leaks is, and reading it, whichever tool wrote it.

Imports the other files of the room, live_heap/records and errors.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from memtwin.errors import UserError
from memtwin.observe.leak_reports.kmemleak import is_kmemleak, parse_kmemleak
from memtwin.observe.leak_reports.report import LeakReport, LossRecord, Tally
from memtwin.observe.leak_reports.sanitizer import is_sanitizer_text, parse_sanitizer
from memtwin.observe.leak_reports.valgrind_text import is_valgrind_text, parse_valgrind_text
from memtwin.observe.leak_reports.valgrind_xml import is_valgrind_xml, parse_valgrind_xml
from memtwin.observe.live_heap.records import SCHEMA, HeapScan

_KNOWN = (
    "a report of valgrind (text or XML), AddressSanitizer or kmemleak, or as JSON a scan, common"
    " reports, or a result of `memtwin run` with leak checks"
)
REPORTS_SCHEMA, REPORTS_VERSION = "memtwin.leak_reports", 1


class _Check(msgspec.Struct):
    """A leak check in a result of a script; other fields are not of interest here."""

    report: LeakReport


class _Json(msgspec.Struct):
    """What tells the kinds of JSON apart, and what two of them hold."""

    schema: str | None = None
    version: int | None = None
    reports: list[LeakReport] | None = None
    leak_checks: list[_Check] | None = None


def read_reports(path: Path) -> list[LeakReport]:
    """The reports in a file, one a process.

    Raises UserError when it can't be read or is of no known kind.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as fault:
        raise UserError(f"{path}: can't be read ({fault.strerror})") from None
    if text.lstrip().startswith("{"):
        return _from_json(path, text)
    if is_valgrind_xml(text):
        return [parse_valgrind_xml(text, str(path))]
    if is_kmemleak(text):
        return [parse_kmemleak(text)]
    if is_sanitizer_text(text):
        return [parse_sanitizer(text)]
    if is_valgrind_text(text):
        return parse_valgrind_text(text)
    head = text.strip().splitlines()
    found = f"{head[0][:50]!r}" if head else "an empty file"
    raise UserError(f"{path}: found {found}, allowed is {_KNOWN}")


def read_scan(path: Path) -> HeapScan:
    """A saved scan. Raises UserError when it can't be read or is none."""
    try:
        return _scan(path, path.read_text(encoding="utf-8", errors="replace"))
    except OSError as fault:
        raise UserError(f"{path}: can't be read ({fault.strerror})") from None


def _from_json(path: Path, text: str) -> list[LeakReport]:
    try:
        found = msgspec.json.decode(text, type=_Json)
    except (msgspec.ValidationError, msgspec.DecodeError) as fault:
        raise UserError(
            f"{path}: found JSON that can't be read ({fault}); allowed is {_KNOWN}"
        ) from None
    if found.leak_checks is not None and found.schema is None:
        if not found.leak_checks:
            raise UserError(
                f"{path}: found a result without leak checks, allowed is one of a script with"
                " leakcheck commands"
            )
        return [one.report for one in found.leak_checks]
    if found.schema == REPORTS_SCHEMA and found.reports is not None:
        if found.version != REPORTS_VERSION:
            raise UserError(
                f"{path}: found version {found.version}, allowed is {REPORTS_VERSION}"
            )
        return found.reports
    return [report_of(_scan(path, text))]


def _scan(path: Path, text: str) -> HeapScan:
    try:
        scan = msgspec.json.decode(text, type=HeapScan)
    except (msgspec.ValidationError, msgspec.DecodeError) as fault:
        found = f"found JSON that is no scan ({fault})"
        raise UserError(f"{path}: {found}; allowed is {_KNOWN}") from None
    if scan.schema != SCHEMA:
        raise UserError(f"{path}: found schema {scan.schema!r}, allowed is {SCHEMA!r}")
    return scan


def report_of(scan: HeapScan) -> LeakReport:
    """A scan of a live heap as the common report."""
    records = [
        LossRecord(
            group.kind,
            group.blocks,
            group.bytes,
            group.indirect_blocks or None,
            group.indirect_bytes or None,
            content=_content(group.content, group.text, group.held_by),
        )
        for group in scan.groups
    ]
    kinds: dict[str, Tally | None] = {
        kind: Tally(tally.blocks, tally.bytes) for kind, tally in scan.kinds.items()
    }
    return LeakReport(
        tool="memtwin scan",
        tool_version=scan.allocator,
        command=scan.name,
        pid=scan.pid,
        kinds=kinds,
        records=records,
        in_use=Tally(sum(t.blocks for t in scan.kinds.values()), scan.heap.in_use_bytes),
        notes=list(scan.notes),
    )


def _content(content: str | None, text: str | None, held_by: list[str]) -> str | None:
    words = [content] if content else []
    if text:
        words.append(f'"{text[:40]}"')
    if held_by:
        words.append("held by " + " < ".join(held_by[:3]))
    return ", ".join(words) or None
