"""Owns the command `oom explain`: where the log comes from, and how its explanation is shown.

Imports observe, analysis and the view framework. Does no arithmetic of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from memtwin.cli.output import check_writable, note, write_whole
from memtwin.cli.view import Form, Snapshot, rendered
from memtwin.errors import UserError

if TYPE_CHECKING:
    from memtwin.analysis.oom_story import Explanation

MAX_LOG_BYTES = 512 << 20
KMSG = "/dev/kmsg"
JOURNAL_MAGIC = b"LPKSHHRH"  # systemd's JOURNAL_FILE_FORMAT.md, "Header"


class Log(NamedTuple):
    """A log's text and what it is called."""

    name: str
    text: str


class Asked(NamedTuple):
    """What the command line asks for beside the log."""

    number: int | None
    rows: int
    what_if: bool
    growth: str | None
    form: Form
    html: Path | None


def source(file: str | None, *, dmesg: bool, journal: bool) -> Log:
    """The log that the command line names; UserError when it names none or several."""
    named = [word for word, given in (("FILE", file), ("--dmesg", dmesg), ("--journal", journal))
             if given]  # fmt: skip
    if len(named) != 1:
        found = " and ".join(named) or "nothing"
        raise UserError(f"oom explain: found {found}, allowed is one of FILE, --dmesg, --journal")
    if dmesg:
        return Log("dmesg", _kernel_log())
    if journal:
        return Log("journal", _journal("-k"))
    assert file is not None
    if file == "-":
        return Log("-", sys.stdin.buffer.read(MAX_LOG_BYTES).decode(errors="replace"))
    return Log(file, _file(Path(file)))


def _file(path: Path) -> str:
    try:
        with path.open("rb") as log:
            raw = log.read(MAX_LOG_BYTES)
    except OSError as fault:
        raise UserError(f"{path}: {fault.strerror}") from None
    if raw.startswith(JOURNAL_MAGIC):
        return _journal("--file", str(path), "_TRANSPORT=kernel")
    if raw[:2] == b"\x1f\x8b":  # logrotate compresses
        import gzip
        import io
        import zlib

        try:
            raw = gzip.GzipFile(fileobj=io.BytesIO(raw)).read(MAX_LOG_BYTES)
        except (OSError, EOFError, zlib.error) as fault:
            raise UserError(f"{path}: found no whole gzip data ({fault})") from None
    return raw.decode(errors="replace")


def _kernel_log() -> str:
    """What the kernel's ring buffer has."""
    try:
        handle = os.open(KMSG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as fault:
        raise UserError(f"{KMSG}: {fault.strerror}; as root, or with CAP_SYSLOG") from None
    parts: list[bytes] = []
    try:
        while True:
            try:
                parts.append(os.read(handle, 8192))
            except BlockingIOError:
                break
            except BrokenPipeError:  # overwritten while we read: the next read goes on
                continue
            except OSError as fault:
                raise UserError(f"{KMSG}: {fault.strerror}") from None
            if not parts[-1]:
                break
    finally:
        os.close(handle)
    return b"".join(parts).decode(errors="replace")


def _journal(*which: str) -> str:
    """What journalctl has of the entries that `which` names."""
    words = ["journalctl", "-o", "json", "--no-pager", *which]
    named = which[1] if which[0] == "--file" else "--journal"
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except FileNotFoundError:
        raise UserError(f"{named}: found no journalctl on this host to read a journal") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"{named}: journalctl failed: {said[-1] if said else done.returncode}")
    return done.stdout[:MAX_LOG_BYTES].decode(errors="replace")


def explain(log: Log, asked: Asked) -> None:
    """Show the explanation of `log`."""
    from memtwin.analysis.oom_story import explain_all
    from memtwin.cli.oom_text import explanation_text, rest_text
    from memtwin.observe.oom.report import read_oom_log

    check_writable(asked.html, "--html")
    found = read_oom_log(log.text)
    explained = explain_all(found.reports)
    numbers = _numbers(asked.number, len(explained), log.name)
    shown = [explained[number - 1] for number in numbers]
    parts = [
        explanation_text(one, number, len(explained), asked.rows)
        for one, number in zip(shown, numbers, strict=True)
    ]
    alone, answers = list(parts), [""] * len(parts)
    totals: dict[str, Any] = {
        "reports": len(explained), "others": found.others, "failures": found.failures,
        "lost": found.lost, "lines": found.lines,
    }  # fmt: skip
    if asked.what_if:
        answers, totals["what_if"] = _what_ifs(shown, asked.growth)
        parts = [f"{part}\n{answer}" for part, answer in zip(parts, answers, strict=True)]
    rest = rest_text(found)
    if not explained:
        parts = [f"No OOM kill of the kernel in {found.lines} lines of {log.name}.\n"]
    text = "\n".join([*parts, *([rest] if rest else [])])
    snapshot = Snapshot("oom.explain", shown, text, totals, root=log.name)
    print(rendered(snapshot, asked.form), end="")
    if asked.html is not None:
        from memtwin.cli.oom_html import Part, page

        drawn = [
            Part(number, one, said, answer)
            for number, one, said, answer in zip(numbers, shown, alone, answers, strict=True)
        ]
        write_whole(asked.html, page(log.name, drawn, len(explained), rest))
        note(f"{asked.html}: written")


def _numbers(number: int | None, count: int, name: str) -> list[int]:
    if number is None:
        return list(range(1, count + 1))
    at = count + 1 + number if number < 0 else number
    if not 1 <= at <= count:
        allowed = f"1 to {count}" if count else "nothing: it has no report"
        raise UserError(f"--report: found {number}, allowed of {name} is {allowed}")
    return [at]


def _what_ifs(shown: list[Explanation], growth: str | None) -> tuple[list[str], list[Any]]:
    """(texts, records) of the twin's answer for each report."""
    from memtwin.cli.oom_what_if_text import what_if_text
    from memtwin.cli.output import progress
    from memtwin.sweep.oom_what_if import what_if
    from memtwin.units import parse_size

    growth_bytes = None if growth is None else parse_size(growth, "--growth")
    answers, texts = [], []
    with progress("in the twin") as step:
        for number, one in enumerate(shown):
            step(number, len(shown), "reports")
            answers.append(what_if(one.report, growth_bytes))
            texts.append(what_if_text(answers[-1]))
    return texts, answers
