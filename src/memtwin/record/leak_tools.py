"""Owns running a program under valgrind or AddressSanitizer, and the report that it leaves.

Imports errors and observe/leak_reports. The program keeps its own input and output; the report goes
to files of ours, which are removed.
"""

from __future__ import annotations

import enum
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from memtwin.errors import UserError
from memtwin.observe.leak_reports import LeakReport, read_reports

_SANITIZER_EXIT_STATUS = 23  # AddressSanitizer's own when it found something
_MARK = b"__asan_init"  # what every program built with it calls first
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Tool(enum.Enum):
    """Who looks for leaks."""

    VALGRIND = "valgrind"
    ASAN = "asan"


class ToolRun(NamedTuple):
    """What was found: the program's own report first, then its children's."""

    reports: list[LeakReport]
    status: int  # of the program, as a shell says it


def run_under(tool: Tool, command: Sequence[str]) -> ToolRun:
    """Run `command` under `tool` to its end.

    Raises UserError when the tool or the program isn't there, or it leaves no report.
    """
    program = shutil.which(command[0])
    if program is None:
        raise UserError(f"{command[0]}: no such program")
    with tempfile.TemporaryDirectory(prefix="memtwin-leak-") as folder:
        if tool is Tool.VALGRIND:
            return _valgrind(command, Path(folder))
        return _asan(command, program, Path(folder))


def _valgrind(command: Sequence[str], folder: Path) -> ToolRun:
    if shutil.which("valgrind") is None:
        raise UserError("valgrind is not installed; apt install valgrind")
    # text, not XML: only the text has what was in use, and how many calls there were
    words = [
        "valgrind", "--tool=memcheck", "--leak-check=full", "--show-leak-kinds=all",
        f"--log-file={folder}/%p.txt", "--", *command,
    ]  # fmt: skip
    process, status = _run(words, dict(os.environ))
    reports = [report for path in sorted(folder.glob("*.txt")) for report in read_reports(path)]
    reports.sort(key=lambda report: report.pid != process)
    if not reports:
        raise UserError(f"valgrind left no report of {command[0]} (exit status {status})")
    return ToolRun(reports, status)


def _asan(command: Sequence[str], program: str, folder: Path) -> ToolRun:
    if _MARK not in Path(program).read_bytes():
        raise UserError(
            f"{command[0]}: found no AddressSanitizer in it; build it with"
            " gcc -g -fsanitize=address"
        )
    given = os.environ.get("ASAN_OPTIONS", "")
    options = f"detect_leaks=1:log_path={folder}/report:exitcode={_SANITIZER_EXIT_STATUS}"
    environment = {**os.environ, "ASAN_OPTIONS": f"{given}:{options}" if given else options}
    process, status = _run(list(command), environment)
    reports = []
    for path in sorted(folder.glob("report.*")):
        report = read_reports(path)[0]
        report.command, report.pid = " ".join(command), int(path.suffix[1:])
        reports.append(report)
    reports.sort(key=lambda report: report.pid != process)
    if status == _SANITIZER_EXIT_STATUS and not reports:
        raise UserError(f"{command[0]}: AddressSanitizer ended it and left no report")
    if not reports:
        reports = [_nothing_found(command, process, status)]
    return ToolRun(reports, status)


def _nothing_found(command: Sequence[str], pid: int, status: int) -> LeakReport:
    """AddressSanitizer writes nothing when it finds nothing; a signal ends it before it looks."""
    from memtwin.observe.leak_reports.sanitizer import parse_sanitizer

    report = parse_sanitizer("")
    report.command, report.pid = " ".join(command), pid
    if status >= 128:
        report.kinds = dict.fromkeys(report.kinds)
        report.notes.append(
            f"ended by signal {status - 128}: leaks are looked for at exit() only, so none were"
        )
    return report


def _run(words: list[str], environment: dict[str, str]) -> tuple[int, int]:
    """Run to the end; signals that come to us go to the program, which decides what they mean."""
    process = subprocess.Popen(words, env=environment)
    before = {
        number: signal.signal(number, lambda n, _: process.send_signal(n)) for number in _FORWARDED
    }
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if process.poll() is None:
            process.kill()
            process.wait()
    return process.pid, 128 - code if code < 0 else code
