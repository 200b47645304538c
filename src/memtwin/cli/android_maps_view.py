"""Owns the views of mappings that people know from phones: librank and showmap.

Imports cli/view, cli/android_view and observe's scan. Layouts and rules are those of libmeminfo,
Android 15.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from memtwin.cli.android_view import SORTS, argument_zero
from memtwin.cli.maps_view import read_areas
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Look, Snapshot
from memtwin.errors import UserError
from memtwin.observe.map_files import MapArea
from memtwin.observe.processes.record import Origin
from memtwin.observe.processes.scan import Part, ProcessScan
from memtwin.observe.source import printable

_NEVER_RANKED = ("[heap]", "[stack]")  # librank.cpp main(), unless -a
_NO_ADJ = 1001  # processrecord.cpp: what could not be read
_FIGURES = {
    "rss_kib": "Rss", "pss_kib": "Pss", "shared_clean_kib": "Shared_Clean",
    "shared_dirty_kib": "Shared_Dirty", "private_clean_kib": "Private_Clean",
    "private_dirty_kib": "Private_Dirty", "swap_kib": "Swap", "swap_pss_kib": "SwapPss",
    "anon_huge_pages_kib": "AnonHugePages", "shmem_pmd_mapped_kib": "ShmemPmdMapped",
    "file_pmd_mapped_kib": "FilePmdMapped", "shared_hugetlb_kib": "Shared_Hugetlb",
    "private_hugetlb_kib": "Private_Hugetlb", "locked_kib": "Locked",
}  # fmt: skip
# smapinfo.cpp VmaInfo::to_raw(): the width of each figure
_WIDTHS = (8, 8, 8, 8, 8, 8, 8, 8, 8, 9, 9, 9, 8, 8, 8)
_HEAD_TOP = (
    " virtual                     shared   shared  private  private                   "
    "Anon      Shmem     File      Shared   Private"
)
_HEAD_LOW = (
    "    size      RSS      PSS    clean    dirty    clean    dirty     swap  swapPSS "
    "HugePages PmdMapped PmdMapped Hugetlb  Hugetlb    Locked "
)


class ShowMap(enum.Flag):
    """How showmap shows mappings."""

    USUAL = 0
    ADDRESSES = enum.auto()
    TERSE = enum.auto()  # only those with private pages
    VERBOSE = enum.auto()  # mappings of one name apart


class LibraryRow(msgspec.Struct):
    """What one process uses of one mapped thing."""

    library: str
    library_pss_kib: int
    pid: int
    command: str
    oom_score_adj: int | None
    vss_kib: int
    rss_kib: int
    pss_kib: int
    uss_kib: int
    swap_kib: int


class ShowMapRow(msgspec.Struct):
    """One mapping, or `count` of one name. `is_bss`: the zeroed data behind a library."""

    name: str
    is_bss: bool
    count: int
    perms: str
    start_vaddr: int | None
    end_vaddr: int | None
    vss_kib: int
    rss_kib: int
    pss_kib: int
    shared_clean_kib: int
    shared_dirty_kib: int
    private_clean_kib: int
    private_dirty_kib: int
    swap_kib: int
    swap_pss_kib: int
    anon_huge_pages_kib: int
    shmem_pmd_mapped_kib: int
    file_pmd_mapped_kib: int
    shared_hugetlb_kib: int
    private_hugetlb_kib: int
    locked_kib: int


_MAP_FIGURES = ShowMapRow.__struct_fields__[6:]


class Ranking(NamedTuple):
    """What librank is asked for. `prefix`: only mappings whose name begins so."""

    sort: str = "pss"
    reverse: bool = False
    all_mappings: bool = False
    prefix: str = ""


def librank_look(root: Path, ranking: Ranking) -> Look:
    """How to rank what is mapped, and by whom, as librank does."""
    if ranking.sort not in SORTS:
        raise UserError(f"--sort: found {ranking.sort!r}, allowed are {', '.join(SORTS)}")
    source = source_at(root)
    scan = ProcessScan(source, Part.STAT | Part.OOM)

    def look() -> Snapshot:
        scan.missed.clear()
        rows: dict[tuple[str, int], LibraryRow] = {}
        count = read = 0
        for pid in scan.pids():
            process = scan.cheap(pid)
            if process is None or process.origin is Origin.NO_MEMORY:
                continue
            count += 1
            areas = scan.areas(process)
            if areas is None:
                continue
            read += 1
            command = argument_zero(source.read_bytes(f"/proc/{pid}/cmdline"))
            start = LibraryRow(
                "", 0, pid, command or f"[{process.comm}]", process.oom_score_adj, 0, 0, 0, 0, 0
            )
            for area in areas:
                _take(rows, start, area, ranking)
        if not count:
            raise UserError(f"--root: found no processes in {root}/proc")
        ranked = _ranked(list(rows.values()), ranking)
        text = _rank_text(ranked, shows_oom=ranking.sort == "oom")
        notes = [f"{read} of {count} processes readable"]
        return Snapshot("librank", ranked, text, {}, [], notes, str(root), taken_s(source))

    return look


def _take(
    rows: dict[tuple[str, int], LibraryRow], start: LibraryRow, area: MapArea, ranking: Ranking
) -> None:
    if ranking.prefix and not area.path.startswith(ranking.prefix):
        return
    if area.path in _NEVER_RANKED and not ranking.all_mappings:
        return
    key = (area.path, start.pid)
    if key not in rows:
        rows[key] = msgspec.structs.replace(start, library=area.path)
    row, kib = rows[key], area.kib
    row.vss_kib += area.size_kib
    row.rss_kib += kib.get("Rss", 0)
    row.pss_kib += kib.get("Pss", 0)
    row.uss_kib += kib.get("Private_Clean", 0) + kib.get("Private_Dirty", 0)
    row.swap_kib += kib.get("Swap", 0)


def _ranked(rows: list[LibraryRow], ranking: Ranking) -> list[LibraryRow]:
    sums: dict[str, int] = {}
    for row in rows:
        sums[row.library] = sums.get(row.library, 0) + row.pss_kib
    for row in rows:
        row.library_pss_kib = sums[row.library]
    field = f"{ranking.sort}_kib"

    def figure(row: LibraryRow) -> int:
        if ranking.sort == "oom":
            return _NO_ADJ if row.oom_score_adj is None else row.oom_score_adj
        return int(getattr(row, field))

    rows.sort(key=figure, reverse=not ranking.reverse)
    rows.sort(key=lambda row: (-row.library_pss_kib, row.library))
    return rows


def _rank_text(rows: Sequence[LibraryRow], *, shows_oom: bool) -> str:
    """smapinfo.cpp librank print_header(), print_library() and print_proc_as_raw()."""
    has_swap = any(row.swap_kib for row in rows)
    head = f"{'RSStot':>7}{'VSS':>10}{'RSS':>9}{'PSS':>9}{'USS':>9}  "
    more = (f"{'Swap':>7}  " if has_swap else "") + (f"{'Oom':>7}  " if shows_oom else "")
    lines = [f"{head}{more}Name/PID"]
    before = None
    for row in rows:
        if row.library != before:
            before = row.library
            blank = " " * (10 + 3 * 9 + 2 + len(more))
            lines.append(f"{row.library_pss_kib:6}K{blank}{printable(row.library)}")
        line = f"{'':7}{row.vss_kib:9}K  {row.rss_kib:6}K  {row.pss_kib:6}K  {row.uss_kib:6}K  "
        if has_swap:
            line += f"{row.swap_kib:6}K  "
        if shows_oom:
            line += f"{_NO_ADJ if row.oom_score_adj is None else row.oom_score_adj:7}  "
        lines.append(f"{line}  {printable(row.command)} [{row.pid}]")
    return "".join(f"{line}\n" for line in lines)


def showmap_look(root: Path, pid: int, how: ShowMap) -> Look:
    """How to look at the mappings of `pid` by their names as showmap does."""
    source = source_at(root)

    def look() -> Snapshot:
        read = read_areas(source, pid)
        rows = _named_rows(read.text.areas)
        whole = msgspec.structs.replace(_whole(rows), name="TOTAL")
        if ShowMap.ADDRESSES not in how:
            rows.sort(key=lambda row: row.name.encode(errors="surrogateescape"))
            if ShowMap.VERBOSE not in how:
                rows = _merged(rows)
        if ShowMap.TERSE in how:
            rows = [row for row in rows if row.private_dirty_kib or row.private_clean_kib]
        text = _map_text(rows, whole, how)
        totals = msgspec.structs.asdict(whole)
        return Snapshot("showmap", rows, text, totals, read.absent, [], str(root), taken_s(source))

    return look


def _named_rows(areas: Sequence[MapArea]) -> list[ShowMapRow]:
    """One row a mapping; one without a name is the library's before it, or anonymous."""
    rows: list[ShowMapRow] = []
    for area in areas:
        name, is_bss = area.path, False
        if not name and rows:  # smapinfo.cpp collect_vma(): the first keeps the name it has
            library = rows[-1].name
            is_bss = rows[-1].end_vaddr == area.start_vaddr and _is_library(library)
            name = library if is_bss else "[anon]"
        figures = {field: area.kib.get(key, 0) for field, key in _FIGURES.items()}
        rows.append(
            ShowMapRow(
                name,
                is_bss,
                1,
                area.perms[:3],
                area.start_vaddr,
                area.end_vaddr,
                area.size_kib,
                **figures,
            )
        )
    return rows


def _is_library(name: str) -> bool:
    return len(name) > 4 and name.startswith("/") and name.endswith(".so")


def _whole(rows: Sequence[ShowMapRow]) -> ShowMapRow:
    sums = [sum(getattr(row, field) for row in rows) for field in _MAP_FIGURES]
    return ShowMapRow("", False, sum(row.count for row in rows), "", None, None, *sums)


def _merged(rows: Sequence[ShowMapRow]) -> list[ShowMapRow]:
    groups: dict[str, list[ShowMapRow]] = {}
    for row in rows:
        groups.setdefault(row.name, []).append(row)
    return [
        msgspec.structs.replace(
            _whole(group), name=name, is_bss=all(row.is_bss for row in group)
        )
        for name, group in groups.items()
    ]  # fmt: skip


def _map_text(rows: Sequence[ShowMapRow], whole: ShowMapRow, how: ShowMap) -> str:
    """smapinfo.cpp showmap print_text_header(), print_text_divider() and to_raw()."""
    addresses, verbose = ShowMap.ADDRESSES in how, ShowMap.VERBOSE in how
    top, low, bar = _HEAD_TOP, _HEAD_LOW, "".join(f"{'-' * width} " for width in _WIDTHS)
    if addresses:
        top = "           start              end " + top
        low = "            addr             addr " + low
        bar = f"{'-' * 16} {'-' * 16} " + bar
    if not verbose and not addresses:
        low, bar = low + "   # ", bar + "---- "
    if verbose:
        low, bar = low + "flags ", bar + "----- "
    head, bar = f"{top}\n{low}object\n", f"{bar}{'-' * 30}\n"
    lines = "".join(_map_line(row, how) for row in rows)
    return head + bar + lines + bar + head + bar + _map_line(whole, how)


def _map_line(row: ShowMapRow, how: ShowMap) -> str:
    line = ""
    if ShowMap.ADDRESSES in how:
        line = " " * 34
        if row.start_vaddr is not None and row.end_vaddr is not None:
            line = f"{row.start_vaddr:16x} {row.end_vaddr:16x} "
    for width, field in zip(_WIDTHS, _MAP_FIGURES, strict=True):
        line += f"{getattr(row, field):{width}} "
    if ShowMap.VERBOSE in how:
        line += f"{row.perms:>5} "
    elif ShowMap.ADDRESSES not in how:
        line += f"{row.count:4} "
    return f"{line}{printable(row.name)}{' [bss]' if row.is_bss else ''}\n"
