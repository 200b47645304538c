"""Owns the views of one process's mappings: `memtwin maps PID` and `memtwin pmap PID`.

Imports cli/view, cli/pmap_text, analysis/mapping_usage and observe's readers. Sums nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from memtwin.analysis import mapping_usage
from memtwin.analysis.mapping_usage import MappingSum
from memtwin.cli.columns_text import Column, table
from memtwin.cli.pmap_text import (
    EVERYWHERE,
    Frame,
    Names,
    PmapLayout,
    PmapTask,
    Range,
    in_range,
    pmap_text,
)
from memtwin.cli.ps_columns import shown_size
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Absent, Look, Snapshot
from memtwin.errors import UserError
from memtwin.observe.map_files import MapArea, MapText, parse_maps
from memtwin.observe.processes.record import command_of
from memtwin.observe.source import ReasonedTree, SmallFiles, printable

PROC = "/proc"
_STARTSTACK = 28  # man 5 proc_pid_stat, counted from 1; the state is the third
BY = ("area", "file", "kind")
_SIZES = (
    ("VSS", "vss_bytes"),
    ("RSS", "rss_bytes"),
    ("PSS", "pss_bytes"),
    ("USS", "uss_bytes"),
    ("Dirty", "dirty_bytes"),
    ("Swap", "swap_bytes"),
)


class AreaRow(msgspec.Struct):
    """One mapping as `memtwin maps` shows it; None: smaps does not tell."""

    start_vaddr: int
    end_vaddr: int
    perms: str
    kind: str
    vss_bytes: int
    rss_bytes: int | None
    pss_bytes: int | None
    uss_bytes: int | None
    dirty_bytes: int | None
    swap_bytes: int | None
    swap_pss_bytes: int | None
    vm_flags: tuple[str, ...]
    path: str


class PmapWords(NamedTuple):
    """What pmap is asked for."""

    layout: PmapLayout = PmapLayout.PLAIN
    frame: Frame = Frame.FULL
    names: Names = Names.LAST_PART
    within: Range = EVERYWHERE


class Read(NamedTuple):
    """What was read of one process's mappings."""

    text: MapText
    absent: list[Absent]


def read_areas(source: ReasonedTree, pid: int) -> Read:
    """The mappings of `pid` from its smaps, or from its maps where that can't be read.

    Raises UserError when neither can.
    """
    smaps, maps = f"{PROC}/{pid}/smaps", f"{PROC}/{pid}/maps"
    data = source.read(smaps)
    absent = []
    if data is None:
        data = source.read(maps)
        if data is None:
            raise UserError(f"{pid}: found no mappings, {source.why_not(maps)}")
        absent.append(Absent("figures of each mapping", source.why_not(smaps)))
    elif smaps in source.reasons:
        absent.append(Absent("the last mappings", source.why_not(smaps)))
    text = parse_maps(data)
    if text.malformed:
        absent.append(Absent(f"{text.malformed} lines", "malformed"))
    return Read(text, absent)


def maps_look(root: Path, pid: int, by: str, unit: str) -> Look:
    """How to look at the mappings of `pid`. Raises UserError for a `by` that is not one."""
    if by not in BY:
        raise UserError(f"--by: found {by!r}, allowed are {', '.join(BY)}")
    source = source_at(root)

    def look() -> Snapshot:
        at_s = taken_s(source)
        read = read_areas(source, pid)
        areas = read.text.areas
        whole = mapping_usage.sum_of(areas, "total")
        rows: Sequence[AreaRow | MappingSum]
        if by == "area":
            rows = area_rows = [_row(area) for area in areas]
            text = _area_text(area_rows, whole, unit)
        else:
            key = mapping_usage.name_of if by == "file" else mapping_usage.kind_of
            rows = sums = mapping_usage.grouped([areas], key)
            sums.sort(key=lambda row: -(row.pss_bytes or row.vss_bytes))
            text = _sum_text(sums, whole, by, unit)
        totals = msgspec.structs.asdict(whole)
        return Snapshot("maps", rows, text, totals, read.absent, [], str(root), at_s)

    return look


def _row(area: MapArea) -> AreaRow:
    one = mapping_usage.sum_of([area])
    return AreaRow(
        area.start_vaddr,
        area.end_vaddr,
        area.perms,
        mapping_usage.kind_of(area).value,
        one.vss_bytes,
        one.rss_bytes,
        one.pss_bytes,
        one.uss_bytes,
        one.dirty_bytes,
        one.swap_bytes,
        one.swap_pss_bytes,
        area.vm_flags,
        area.path,
    )


def _figures(row: AreaRow | MappingSum, unit: str) -> list[str]:
    return [shown_size(getattr(row, field), unit, 0) for _, field in _SIZES]


def _area_text(rows: Sequence[AreaRow], whole: MappingSum, unit: str) -> str:
    heads = [Column("Address", "<"), Column("Perm", "<")]
    heads += [Column(head) for head, _ in _SIZES]
    heads += [Column("Kind", "<"), Column("Mapping", "<")]
    lines = [
        [f"{row.start_vaddr:012x}-{row.end_vaddr:012x}", row.perms, *_figures(row, unit),
         row.kind, printable(row.path)]
        for row in rows
    ]  # fmt: skip
    lines.append([f"total of {whole.count}", "", *_figures(whole, unit), "", ""])
    return table(heads, lines)


def _sum_text(rows: Sequence[MappingSum], whole: MappingSum, by: str, unit: str) -> str:
    heads = [Column("Count"), *(Column(head) for head, _ in _SIZES)]
    heads.append(Column("Mapping" if by == "file" else "Kind", "<"))
    lines = [[str(row.count), *_figures(row, unit), printable(row.name)] for row in rows]
    lines.append([str(whole.count), *_figures(whole, unit), "total"])
    return table(heads, lines)


def pmap_look(root: Path, pids: Sequence[int], words: PmapWords) -> Look:
    """How to look at the mappings of `pids` as pmap does."""
    source = source_at(root)

    def look() -> Snapshot:
        rows: list[AreaRow] = []
        absent: list[Absent] = []
        text = ""
        for pid in pids:
            task, missing = _task(source, pid)
            task = task._replace(within=words.within)
            wide = words.layout in (PmapLayout.MORE, PmapLayout.EVERYTHING)
            rows += map(_row, task.areas if wide else in_range(task.areas, words.within))
            absent += missing
            text += pmap_text(task, words.layout, words.frame, words.names)
        return Snapshot("pmap", rows, text, {}, absent, [], str(root), taken_s(source))

    return look


def range_of(text: str) -> Range:
    """The range that -A LOW[,HIGH] names, in hexadecimal; HIGH left out: the one address.

    >>> range_of("1000,1fff"), range_of("0x1000,").low_vaddr, range_of(",fff").high_vaddr
    (Range(low_vaddr=4096, high_vaddr=8191), 4096, 4095)
    """
    low, comma, high = text.partition(",")
    found = EVERYWHERE
    try:
        if low:
            found = found._replace(low_vaddr=int(low, 16))
        if high or (low and not comma):
            found = found._replace(high_vaddr=int(high or low, 16))
    except ValueError:
        found = Range(-1, -1)
    if not all(0 <= end <= EVERYWHERE.high_vaddr for end in found):
        raise UserError(f"-A: found {text!r}, allowed is LOW or LOW,HIGH in hexadecimal")
    return found


def _task(source: ReasonedTree, pid: int) -> tuple[PmapTask, list[Absent]]:
    files = SmallFiles(source, PROC, 1 << 17)
    try:
        stat = files.read(f"{pid}/stat")
        words = stat[stat.rindex(b")") + 2 :].split()
        comm = stat[stat.index(b"(") + 1 : stat.rindex(b")")].decode(errors="surrogateescape")
        command = command_of(files.read(f"{pid}/cmdline")) or f"[{comm}]"
        start_stack = int(words[_STARTSTACK - 3])
    except OSError as fault:
        raise UserError(f"{pid}: found no process ({fault.strerror})") from None
    except (ValueError, IndexError):
        raise UserError(f"{pid}: found a malformed {PROC}/{pid}/stat") from None
    title = f"{pid}:   {printable(command)}"
    if words[20] == b"0":
        return PmapTask(title, []), []  # a kernel thread or a zombie
    read = read_areas(source, pid)
    return PmapTask(title, read.text.areas, start_stack), read.absent
