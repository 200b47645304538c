"""Owns the lines of a kernel log: what each says, without whatever its carrier wrote before it.

Imports observe/source. Knows nothing of what a line means. Carriers: dmesg with
any of its times, serial consoles, syslog files, `journalctl` in each of its forms, /dev/kmsg,
Android's logcat, mail quotes of these.
"""

from __future__ import annotations

import enum
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from memtwin.observe.source import printable

MAX_LINE_CHARS = 8192  # a line of the kernel is shorter: include/linux/printk.h, v6.12


class Origin(enum.Enum):
    """Who wrote a line."""

    KERNEL = "kernel"
    PROGRAM = "program"
    UNKNOWN = "unknown"  # the carrier does not say


class LogLine(msgspec.Struct, frozen=True):
    """One line. `number` counts lines of the text from 1; `time_s` is seconds since boot."""

    number: int
    text: str
    origin: Origin = Origin.UNKNOWN
    stamp: str = ""  # the time as the carrier wrote it
    time_s: float | None = None
    program: str = ""  # who wrote it, of Origin.PROGRAM


_MAX_BROKEN_ENTRIES = 100  # MODEL: a journal cut short has one; more, and it is no journal
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_QUOTE = re.compile(r"(?:> ?)+")
_KMSG = re.compile(r"\d+,\d+,(\d+),[^;]{0,200};")
_PRIORITY = re.compile(r"<\d{1,3}>")
_FACILITY = re.compile(
    r"(?:kern|user|daemon|syslog) *:(?:emerg|alert|crit|err|warn|notice|info|debug) *: "
)
# journalctl -o short-delta adds how long ago the line before was
_SINCE_BOOT = re.compile(r"\[ *(\d{1,12}\.\d{1,9})(?: {1,32}(?:< *\d+\.\d+ >)?)?\] ?")
_FIELD = r"[A-Z_][A-Z0-9_]{0,63}"
_VERBOSE = re.compile(rf"[^\n]{{10,80}} \[s=[0-9a-f]+;i=[^\n]*\n {{4}}{_FIELD}=")
_VERBOSE_FIELD = re.compile(rf" {{4}}({_FIELD})=(.*)")
_BINARY_FIELD = re.compile(
    rf"(?:^|(?<=\n))({_FIELD})\n.{{8}}(.*?)\n(?={_FIELD}[=\n]|\n|\Z)", re.DOTALL
)
_CALLER = re.compile(r"\[ *[TC]\d+\] ")
_DATE = (
    r"(?:[A-Z][a-z]{2} )?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?"
    r"(?:Z|[+-]\d\d:?\d\d| [A-Z]{3,5})?"
    r"|[A-Z][a-z]{2} +\d{1,2}(?: \d{4})? \d\d:\d\d:\d\d(?:\.\d+)?(?: \d{4})?"
    r"|\d{9,12}\.\d{3,6}"
)
# dmesg -T names days and months in the language of whoever asked: "Di Aug 12", "ven. nov. 28"
_BRACKETED = re.compile(
    r"\[((?:[^\W_]{1,6}\.? +){1,2}\d{1,2}\.? \d\d:\d\d:\d\d \d{4}|[A-Z][a-z]{2} *\d{1,2} \d\d:\d\d"
    r"| *[+<] *\d+\.\d+>?)\] ?"
)
_PLAIN_DATE = re.compile(rf"({_DATE})[ \t]+")
_SPEAKER = re.compile(r"(?:[^\s:]+ )?([\w./@+-]+)(?:\[(\d+)\])?: ?")
_LOGCAT = re.compile(
    r"(?:(\d\d-\d\d \d\d:\d\d:\d\d\.\d+) +)?(?:(?:\w+ +)?\d+ +\d+ [VDIWEF] ([\w.-]+) *"
    r"|[VDIWEF]/([\w.-]+) *\( *\d+\)): ?"
)
# a second line that the console put on the same one
_EMBEDDED = re.compile(r"(?<=\S)(?=(?:<\d{1,3}>)?\[ {0,4}\d{1,8}\.\d{6}\] )")
# newlines inside a message, as rsyslog and journald write them
_ESCAPED_NEWLINE = re.compile(r"#012|\\x0a|\\n(?=[ a-z])")


def log_lines(text: str) -> list[LogLine]:
    """The lines of `text`, whichever carrier it came by; empty ones are left out.

    >>> log_lines("<4>[   13.5] Mem-Info:")[0].text
    'Mem-Info:'
    >>> log_lines("May  1 10:00:00 host kernel: [   13.5] Mem-Info:")[0].time_s
    13.5
    """
    head = text.lstrip()[:4096]
    if head.startswith(("{", "data: {")) and '"MESSAGE"' in text[:1_000_000]:
        return list(_journal_json(text))
    if re.match(r"(?:__CURSOR|__REALTIME_TIMESTAMP|_TRANSPORT|MESSAGE)=", head):
        return list(_journal_export(text))
    if _VERBOSE.match(head):
        return list(_journal_verbose(text))
    found: list[LogLine] = []
    for number, raw in enumerate(text.split("\n"), 1):
        if not raw:
            continue
        line = _COLOUR.sub("", raw[:MAX_LINE_CHARS]).rstrip("\r \t\x00")
        if not line.strip():
            continue
        for part in _EMBEDDED.split(line):
            found.extend(_plain(part, number))
    return found


def _plain(raw: str, number: int) -> Iterator[LogLine]:
    """The lines of one line of a text without structure."""
    line, kernel = raw, False
    quoted = _QUOTE.match(line)
    if quoted:
        line = line[quoted.end() :]
    kmsg = _KMSG.match(line)
    if kmsg:
        yield from _split(line[kmsg.end() :], number, Origin.KERNEL, "", int(kmsg[1]) / 1e6)
        return
    logcat = _LOGCAT.match(line)
    if logcat:
        program = logcat[2] or logcat[3]
        stamp = logcat[1] or ""
        yield LogLine(number, _clean(line[logcat.end() :]), Origin.PROGRAM, stamp, program=program)
        return
    for pattern in (_PRIORITY, _FACILITY):
        match = pattern.match(line)
        if match:
            line, kernel = line[match.end() :], True
    stamp, line, dated = _dated(line)
    program, line = _speaker(line)
    since = _SINCE_BOOT.match(line)
    time_s = None
    if since:
        time_s, line = float(since[1]), line[since.end() :]
        kernel = True
        if not program and not dated:
            program, line = _speaker(line)
    caller = _CALLER.match(line)
    if caller:
        line = line[caller.end() :]
    kernel = kernel or program == "kernel" or dated == "["
    origin = Origin.KERNEL if kernel else Origin.PROGRAM if program else Origin.UNKNOWN
    if program and program != "kernel" and time_s is None:
        origin = Origin.PROGRAM
    shown = program if origin is Origin.PROGRAM else ""
    yield from _split(line, number, origin, stamp or (since[1] if since else ""), time_s, shown)


def _dated(line: str) -> tuple[str, str, str]:
    """The time before `line`, the rest, and how it stood: "" not at all, "[" in brackets, "."."""
    match = _BRACKETED.match(line)
    if match:
        return match[1].strip(), line[match.end() :], "["
    match = _PLAIN_DATE.match(line)
    if match:
        return match[1], line[match.end() :], "."
    return "", line, ""


def _speaker(line: str) -> tuple[str, str]:
    """Who speaks, and what is said: the kernel, or a program that gives its pid."""
    match = _SPEAKER.match(line)
    if match is None or (match[1] != "kernel" and not match[2]):
        return "", line
    return match[1], line[match.end() :]


def _split(
    text: str, number: int, origin: Origin, stamp: str, time_s: float | None, program: str = ""
) -> Iterator[LogLine]:
    for part in _ESCAPED_NEWLINE.sub("\n", text).split("\n"):
        if part.strip():
            yield LogLine(number, _clean(part), origin, stamp, time_s, program)


def _clean(text: str) -> str:
    """`text` without what a terminal would obey."""
    return printable(text.replace("\t", " ").rstrip())


def _journal_json(text: str) -> Iterator[LogLine]:
    """`journalctl -o json`, `-o json-pretty` and `-o json-sse`: one object after the other."""
    decoder, at, number, broken = json.JSONDecoder(), 0, 1, 0
    while True:
        start = text.find("{", at)
        if start < 0:
            return
        number += text.count("\n", at, start)
        try:
            entry, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            at, broken = text.find("\n", start), broken + 1
            if at < 0 or broken > _MAX_BROKEN_ENTRIES:
                return
            continue
        if isinstance(entry, dict):
            yield from _journal_entry(entry, number)
        number += text.count("\n", start, end)
        at = end


def _journal_export(text: str) -> Iterator[LogLine]:
    """`journalctl -o export`: NAME=value lines, entries apart by an empty line.

    A value that is no plain text stands after a line with its NAME and eight bytes of its length.
    """
    text = _BINARY_FIELD.sub(_as_plain, text)
    entry: dict[str, Any] = {}
    first = 1
    for number, line in enumerate((*text.split("\n"), ""), 1):
        name, equals, value = line.partition("=")
        if equals:
            entry[name] = value[:MAX_LINE_CHARS]
        elif not line.strip() and entry:
            yield from _journal_entry(entry, first)
            entry, first = {}, number + 1


def _as_plain(match: re.Match[str]) -> str:
    """A binary field as NAME=value; what is no text in it is left out, its lines kept apart."""
    value = match[2].replace("\n", "\\x0a")
    return f"{match[1]}={value}\n"


def _journal_verbose(text: str) -> Iterator[LogLine]:
    """`journalctl -o verbose`: a line with the time and the cursor, and fields indented below."""
    entry: dict[str, Any] = {}
    first = 1
    for number, line in enumerate((*text.split("\n"), ""), 1):
        field = _VERBOSE_FIELD.match(line)
        if field:
            entry[field[1]] = field[2][:MAX_LINE_CHARS]
        elif entry and not line.startswith("    "):
            yield from _journal_entry(entry, first)
            entry, first = {}, number


def _journal_entry(entry: dict[str, Any], number: int) -> Iterator[LogLine]:
    message = entry.get("MESSAGE")
    if isinstance(message, list):  # bytes that are not UTF-8
        message = bytes(one for one in message if isinstance(one, int) and 0 <= one < 256).decode(
            errors="replace"
        )
    if not isinstance(message, str):
        return
    program = str(entry.get("SYSLOG_IDENTIFIER") or entry.get("_COMM") or "")
    kernel = entry.get("_TRANSPORT") == "kernel" or program == "kernel"
    time_s = _microseconds(entry.get("_SOURCE_MONOTONIC_TIMESTAMP"))
    stamp = _date_of(_clean(str(entry.get("__REALTIME_TIMESTAMP", ""))))
    origin = Origin.KERNEL if kernel else Origin.PROGRAM
    for part in _ESCAPED_NEWLINE.sub("\n", message).split("\n"):
        if part.strip():
            shown = "" if kernel else program
            yield LogLine(number, _clean(part[:MAX_LINE_CHARS]), origin, stamp, time_s, shown)


def _date_of(stamp: str) -> str:
    """Microseconds since 1970 as people write it; anything else as it is.

    >>> _date_of("1700000006924696")
    '2023-11-14 22:13:26 UTC'
    """
    if not stamp.isdecimal() or not 12 <= len(stamp) <= 17:
        return stamp
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(int(stamp) // 1_000_000))


def _microseconds(value: object) -> float | None:
    return int(value) / 1e6 if isinstance(value, str) and value.isdecimal() else None
