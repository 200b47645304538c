"""Owns the view `memtwin smem`: processes, mappings, users or the whole machine, as smem does.

Imports cli/smem_table, cli/view, analysis/whole_system and observe's scan. Reads and groups as
smem 1.5 does, mapping by mapping.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from memtwin.analysis.mapping_usage import ANONYMOUS
from memtwin.analysis.whole_system import AreaOfSystem, whole_system
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.smem_table import (
    BLANK,
    COUNT,
    DIFFERENT,
    SUM,
    SmemColumn,
    Style,
    Wholes,
    named,
    smem_text,
    sorted_rows,
)
from memtwin.cli.view import Absent, Look, Snapshot
from memtwin.errors import UserError
from memtwin.observe.map_files import MapArea
from memtwin.observe.meminfo import MemInfo, parse_meminfo
from memtwin.observe.processes.record import Process
from memtwin.observe.processes.scan import GONE, Part, ProcessScan
from memtwin.observe.source import ReasonedTree

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|K|kB|KB|M|MB|G|GB|T|TB)")
_KIB_OF = {"k": 1, "K": 1, "M": 1 << 10, "G": 1 << 20, "T": 1 << 30}
_TERMINAL = 80  # smem's, where there is none


class MemorySums(msgspec.Struct):
    """What mappings add up to, in KiB."""

    vss_kib: int = 0
    rss_kib: int = 0
    pss_kib: int = 0
    uss_kib: int = 0
    swap_kib: int = 0


class ProcessRow(MemorySums, kw_only=True):
    """One process."""

    pid: int
    uid: int
    user: str
    name: str
    command: str
    maps_count: int


class MapRow(MemorySums, kw_only=True):
    """All mappings of one name."""

    map: str
    count: int = 0
    pids_count: int = 0


class UserRow(MemorySums, kw_only=True):
    """All processes of one user."""

    uid: int
    user: str
    count: int = 0


class SmemWords(NamedTuple):
    """What the command line asks for. `report`: process, map, user or system."""

    report: str = "process"
    columns: str | None = None
    sort: str | None = None
    numeric: bool = False
    style: Style = Style()
    process_filter: str | None = None
    map_filter: str | None = None
    user_filter: str | None = None
    real_memory: str | None = None


def _sizes(*names: str) -> dict[str, SmemColumn]:
    found = {}
    for name in names:
        field = f"{name}_kib"
        found[name] = SmemColumn(name.upper(), _get(field), "% 8a", SUM)
    return found


def _get(field: str) -> Any:
    return lambda row: getattr(row, field)


def _average(field: str) -> Any:
    return lambda row: int(1.0 * getattr(row, field) / row.pids_count)


_SWAP = {"swap": SmemColumn("Swap", _get("swap_kib"), "% 8a", SUM)}
_PROCESS = {
    "pid": SmemColumn("PID", _get("pid"), "% 5s", COUNT),
    "user": SmemColumn("User", _get("user"), "%-8s", DIFFERENT),
    "name": SmemColumn("Name", _get("name"), "%-24.24s"),
    "command": SmemColumn("Command", _get("command"), "%-27.27s"),
    "maps": SmemColumn("Maps", _get("maps_count"), "% 5s", SUM),
    **_SWAP,
    **_sizes("uss", "rss", "pss", "vss"),
}
_MAP = {
    "map": SmemColumn("Map", _get("map"), "%-40.40s", COUNT),
    "count": SmemColumn("Count", _get("count"), "% 5s", SUM),
    "pids": SmemColumn("PIDs", _get("pids_count"), "% 5s", SUM),
    **_SWAP,
    **_sizes("uss", "rss", "pss", "vss"),
    "avgpss": SmemColumn("AVGPSS", _average("pss_kib"), "% 8a", SUM),
    "avguss": SmemColumn("AVGUSS", _average("uss_kib"), "% 8a", SUM),
    "avgrss": SmemColumn("AVGRSS", _average("rss_kib"), "% 8a", SUM),
}
# smem 1.5 shows PSS below VSS here, which is a slip of its table; VSS is shown
_USER = {
    "user": SmemColumn("User", _get("user"), "%-8s"),
    "count": SmemColumn("Count", _get("count"), "% 5s", SUM),
    **_SWAP,
    **_sizes("uss", "rss", "pss", "vss"),
}
_SYSTEM = {
    "order": SmemColumn("Order", _get("order"), "% 1s", BLANK),
    "area": SmemColumn("Area", _get("area"), "%-24s", BLANK),
    "used": SmemColumn("Used", _get("used_kib"), "%10a", SUM),
    "cache": SmemColumn("Cache", _get("cache_kib"), "%10a", SUM),
    "noncache": SmemColumn("Noncache", _get("noncache_kib"), "%10a", SUM),
}
# report -> its columns, those that are shown unless others are asked for, what it is sorted by
_REPORTS: Mapping[str, tuple[dict[str, SmemColumn], str, str]] = {
    "process": (_PROCESS, "pid user command swap uss pss rss", "pss"),
    "map": (_MAP, "map pids avgpss pss", "pss"),
    "user": (_USER, "user count swap uss pss rss", "pss"),
    "system": (_SYSTEM, "area used cache noncache", "order"),
}


def smem_look(root: Path, words: SmemWords) -> Look:
    """How to look as `words` ask.

    Raises UserError for a column, pattern or size that is not one.
    """
    columns, usual, by = _REPORTS[words.report]
    if words.numeric and "user" in columns:
        columns = {**columns, "user": columns["user"]._replace(get=_get("uid"))}
    names = named(columns, words.columns or usual)
    sort = words.sort or by
    sorted_rows([], columns, names, sort)
    ram_kib = None if words.real_memory is None else kib_of(words.real_memory)
    patterns = [
        _pattern(text, word)
        for text, word in (
            (words.process_filter, "-P"), (words.map_filter, "-M"), (words.user_filter, "-U"),
        )
    ]  # fmt: skip
    source = source_at(root)
    scan = ProcessScan(source, Part.STAT | Part.COMMAND | Part.USER)

    def look() -> Snapshot:
        at_s = taken_s(source)
        info, absent = _meminfo(source)
        rows: Sequence[Any]
        if words.report == "system":
            rows, notes = whole_system(info, ram_kib), list[str]()
        else:
            found, notes = _processes(scan, *patterns)
            if not found and not scan.pids():
                raise UserError(f"--root: found no processes in {root}/proc")
            rows = _grouped(found, words.report)
        rows = sorted_rows(rows, columns, names, sort)
        if words.style.reverse:
            rows.reverse()
        wholes = Wholes(ram_kib or info.mem_total_kib or 0, info.swap_total_kib or 0)
        text = smem_text(rows, columns, names, words.style, wholes)
        return Snapshot(f"smem-{words.report}", rows, text, {}, absent, notes, str(root), at_s)

    return look


def kib_of(text: str) -> float:
    """A size such as 1024M as -R takes it, in KiB."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UserError(f"-R: found {text!r}, allowed is a number with its unit, as 1024M")
    return int(float(match[1]) * 1024 * _KIB_OF[match[2][0]]) / 1024


def terminal_width() -> int:
    """The columns of the terminal that is asked, smem's 80 where there is none."""
    try:
        return os.get_terminal_size(0).columns
    except OSError:
        return _TERMINAL


def _pattern(text: str | None, word: str) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text else None
    except re.error as fault:
        raise UserError(f"{word}: found {text!r}, allowed is a pattern ({fault})") from None


def _meminfo(source: ReasonedTree) -> tuple[MemInfo, list[Absent]]:
    text = source.read("/proc/meminfo")
    if text is None:
        return MemInfo(), [Absent("/proc/meminfo", source.why_not("/proc/meminfo"))]
    return parse_meminfo(text), []


class _Found(NamedTuple):
    process: Process
    areas: list[MapArea]


def _processes(
    scan: ProcessScan,
    of_process: re.Pattern[str] | None,
    of_map: re.Pattern[str] | None,
    of_user: re.Pattern[str] | None,
) -> tuple[list[_Found], list[str]]:
    """The processes that match and have mappings that do; who has no command line is none."""
    scan.missed.clear()
    found, count, read = [], 0, 0
    for pid in scan.pids():
        process = scan.cheap(pid)
        if process is None or not process.command:
            continue
        if of_process and not (
            of_process.search(process.comm) or of_process.search(process.command)
        ):
            continue
        if of_user and not of_user.search(process.user or "?"):
            continue
        areas = scan.areas(process)
        if areas is None and process.why == GONE:
            continue
        count += 1
        if areas is None:
            continue
        read += 1
        if of_map:
            areas = [area for area in areas if of_map.search(_name(area))]
        if areas:
            found.append(_Found(process, areas))
    return found, [] if read == count else [f"{read} of {count} processes readable"]


def _name(area: MapArea) -> str:
    """smem's name of a mapping: the first word of what the kernel calls it."""
    return area.path.split()[0] if area.path else ANONYMOUS


def _grouped(found: Iterable[_Found], report: str) -> list[Any]:
    if report == "process":
        return [_process_row(one) for one in found]
    return _map_rows(found) if report == "map" else _user_rows(found)


def _process_row(found: _Found) -> ProcessRow:
    process = found.process
    row = ProcessRow(
        pid=process.pid,
        uid=-1 if process.uid is None else process.uid,
        user=process.user or "?",
        name=process.comm.partition(")")[0],  # smem ends it there
        command=process.command or "",
        maps_count=len(found.areas),
    )
    for area in found.areas:
        _add(row, area)
    return row


def _map_rows(found: Iterable[_Found]) -> list[MapRow]:
    rows: dict[str, MapRow] = {}
    for one in found:
        seen: set[str] = set()
        for area in one.areas:
            name = _name(area)
            row = rows.setdefault(name, MapRow(map=name))
            _add(row, area)
            row.count += 1
            row.pids_count += name not in seen
            seen.add(name)
    return list(rows.values())


def _user_rows(found: Iterable[_Found]) -> list[UserRow]:
    rows: dict[int, UserRow] = {}
    for process, areas in found:
        uid = -1 if process.uid is None else process.uid
        row = rows.setdefault(uid, UserRow(uid=uid, user=process.user or "?"))
        row.count += 1
        for area in areas:
            _add(row, area)
    return list(rows.values())


def _add(row: MemorySums, area: MapArea) -> None:
    kib = area.kib
    row.vss_kib += kib.get("Size", 0)
    row.rss_kib += kib.get("Rss", 0)
    row.pss_kib += kib.get("Pss", 0)
    row.uss_kib += kib.get("Private_Clean", 0) + kib.get("Private_Dirty", 0)
    row.swap_kib += kib.get("Swap", 0)


__all__ = ["AreaOfSystem", "SmemWords", "kib_of", "smem_look", "terminal_width"]
