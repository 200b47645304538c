"""Owns the views that people know from phones: procrank and procmem.

Imports cli/view, cli/maps_view, analysis/usage and observe's scan. Sums nothing itself but the
last lines. Layouts are those of libmeminfo, Android 15.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from memtwin.analysis import usage
from memtwin.cli.columns_text import DASH
from memtwin.cli.maps_view import read_areas
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Absent, Look, Snapshot
from memtwin.errors import UserError
from memtwin.observe.map_files import MapArea
from memtwin.observe.meminfo import MemInfo, parse_meminfo
from memtwin.observe.processes import scan as process_scan
from memtwin.observe.processes.record import Process
from memtwin.observe.processes.scan import Part, ProcessScan
from memtwin.observe.source import ReasonedTree, printable
from memtwin.observe.swaps import parse_mm_stat
from memtwin.units import KIB

_RANK_HEADS = ("Rss", "Pss", "Uss")
_SWAP_HEADS = ("Swap", "PSwap", "USwap")
_MEM_FIGURES = {
    "rss_kib": ("Rss",), "pss_kib": ("Pss",), "uss_kib": ("Private_Clean", "Private_Dirty"),
    "shared_clean_kib": ("Shared_Clean",), "shared_dirty_kib": ("Shared_Dirty",),
    "private_clean_kib": ("Private_Clean",), "private_dirty_kib": ("Private_Dirty",),
    "thp_kib": ("AnonHugePages",),
}  # fmt: skip
_MEM_HEADS = ("Vss", "Rss", "Pss", "Uss", "ShCl", "ShDi", "PrCl", "PrDi", "THP", "Flags")
_NO_USWAP = Absent("USwap", "smaps does not tell which swapped pages no one shares")
_NO_ADJ = 1001  # processrecord.cpp: OOM_SCORE_ADJ_MAX + 1, what could not be read
SORTS = ("vss", "rss", "pss", "uss", "swap", "oom")


class RankRow(msgspec.Struct):
    """One process of procrank; `z_swap_bytes`: what its part of swap takes in zram."""

    pid: int
    vss_bytes: int
    rss_bytes: int | None
    pss_bytes: int | None
    uss_bytes: int | None
    swap_bytes: int | None
    swap_pss_bytes: int | None
    z_swap_bytes: int | None
    oom_score_adj: int | None
    command: str


class ProcMemRow(msgspec.Struct):
    """One mapping of procmem."""

    name: str
    flags: str
    vss_kib: int
    rss_kib: int
    pss_kib: int
    uss_kib: int
    shared_clean_kib: int
    shared_dirty_kib: int
    private_clean_kib: int
    private_dirty_kib: int
    thp_kib: int


class Columns(NamedTuple):
    """Which columns procrank has: swap where there is any, zram where it is in use."""

    oom: bool
    swap: bool
    zram: bool


def rank_keys(sort: str) -> Callable[[RankRow], int]:
    """What `sort` orders processes by. Raises UserError for a word that is not one of SORTS."""
    if sort not in SORTS:
        raise UserError(f"--sort: found {sort!r}, allowed are {', '.join(SORTS)}")
    if sort == "oom":
        return lambda row: _NO_ADJ if row.oom_score_adj is None else row.oom_score_adj
    return lambda row: getattr(row, f"{sort}_bytes") or 0


def procrank_look(root: Path, sort: str = "pss", *, reverse: bool = False) -> Look:
    """How to rank the processes of `root`, by PSS unless `sort` says otherwise."""
    key = rank_keys(sort)
    source = source_at(root)
    scan = ProcessScan(source, Part.STAT | Part.COMMAND | Part.OOM)

    def look() -> Snapshot:
        processes = usage.with_memory(process_scan.look(scan))
        if not processes:
            raise UserError(f"--root: found no processes in {root}/proc")
        info = read_meminfo(source)
        used_bytes = zram_used_bytes(source)
        rows = [_rank_row(one, info, used_bytes, source) for one in processes]
        rows.sort(key=key, reverse=not reverse)
        seen = usage.seen(processes)
        notes = [f"{seen.read_count} of {seen.count} processes readable"]
        has_swap = bool(info is not None and info.swap_total_kib)
        columns = Columns(sort == "oom", has_swap, bool(has_swap and used_bytes))
        text = _rank_text(rows, columns) + _machine_text(info, used_bytes)
        absent = [_NO_USWAP] if has_swap else []
        totals = msgspec.structs.asdict(usage.total(processes))
        return Snapshot("procrank", rows, text, totals, absent, notes, str(root), taken_s(source))

    return look


def read_meminfo(source: ReasonedTree) -> MemInfo | None:
    """What /proc/meminfo tells, if it can be read."""
    text = source.read("/proc/meminfo")
    try:
        return None if text is None else parse_meminfo(text)
    except UserError:  # a captured tree may hold anything; the processes still have their figures
        return None


def zram_used_bytes(source: ReasonedTree) -> int | None:
    """What all zram devices take of memory; None without any."""
    found = []
    for name in source.names("/sys/block"):
        text = source.read(f"/sys/block/{name}/mm_stat") if name.startswith("zram") else None
        try:
            if text is not None:
                found.append(parse_mm_stat(text).mem_used_bytes)
        except UserError:
            continue
    return sum(found) if found else None


def argument_zero(data: bytes | None) -> str:
    """The first word of a cmdline text: what Android calls a process.

    >>> argument_zero(b"com.example" + bytes(2) + b"-x")
    'com.example'
    """
    return (data or b"").partition(b"\0")[0].decode(errors="surrogateescape")


def _swap_used_kib(info: MemInfo | None) -> int:
    if info is None or info.swap_total_kib is None or info.swap_free_kib is None:
        return 0
    return info.swap_total_kib - info.swap_free_kib


def _rank_row(
    process: Process, info: MemInfo | None, zram_bytes: int | None, source: ReasonedTree
) -> RankRow:
    z_swap, used_kib = None, _swap_used_kib(info)
    if zram_bytes is not None and process.swap_pss_bytes is not None and used_kib:
        # smapinfo.cpp run_procrank(): the ratio of whole KiB
        z_swap = process.swap_pss_bytes * (zram_bytes // KIB) // used_kib
    command = argument_zero(source.read_bytes(f"/proc/{process.pid}/cmdline"))
    return RankRow(
        process.pid,
        process.vss_bytes,
        process.rss_bytes,
        process.pss_bytes,
        process.uss_bytes,
        process.swap_bytes,
        process.swap_pss_bytes,
        z_swap,
        process.oom_score_adj,
        command or f"[{process.comm}]",
    )


def _rank_text(rows: Sequence[RankRow], columns: Columns) -> str:
    """smapinfo.cpp print_header(), print_processrecord(), print_divider() and print_totals()."""
    heads = [*_RANK_HEADS, *(_SWAP_HEADS if columns.swap else ()), *(["ZSwap"] * columns.zram)]
    oom = f"{'oom':>5}  " if columns.oom else ""
    lines = [f"{'PID':>5}  {oom}{'Vss':>8}  {_row(heads)}cmdline"]
    for row in rows:
        cells = [row.rss_bytes, row.pss_bytes, row.uss_bytes, *_swap_cells(row, columns)]
        adj = _NO_ADJ if row.oom_score_adj is None else row.oom_score_adj
        oom = f"{adj:>5}  " if columns.oom else ""
        line = _row([_k(cell) for cell in cells])
        lines.append(f"{row.pid:5}  {oom}{_k(row.vss_bytes):>8}  {line}{printable(row.command)}")
    sums = [_sum(row.pss_bytes for row in rows), _sum(row.uss_bytes for row in rows)]
    sums += map(_sum, zip(*(_swap_cells(row, columns) for row in rows), strict=True))
    blank = f"{'':5}  {'       ' if columns.oom else ''}{'':8}  {'':7}  "
    lines.append(blank + _row(["------"] * len(sums)) + "------")
    lines.append(blank + _row([_k(one) for one in sums]) + "TOTAL")
    return "".join(f"{line}\n" for line in [*lines, ""])


def _row(cells: Sequence[str]) -> str:
    return "".join(f"{cell:>7}  " for cell in cells)


def _swap_cells(row: RankRow, columns: Columns) -> list[int | None]:
    if not columns.swap:
        return []
    cells = [row.swap_bytes, row.swap_pss_bytes, None]
    return [*cells, row.z_swap_bytes] if columns.zram else cells


def _machine_text(info: MemInfo | None, zram_bytes: int | None) -> str:
    """smapinfo.cpp print_sysmeminfo()."""
    lines = []
    if info is not None and info.swap_total_kib:
        lines.append(
            f"ZRAM: {(zram_bytes or 0) // KIB}K physical used for {_swap_used_kib(info)}K in swap"
            f" ({info.swap_total_kib}K total swap)"
        )
    if info is not None:
        shown = (
            (info.mem_total_kib, "total"), (info.mem_free_kib, "free"),
            (info.buffers_kib, "buffers"), (info.cached_kib, "cached"),
            (info.shmem_kib, "shmem"), (info.slab_kib, "slab"),
        )  # fmt: skip
        words = [f"{DASH if n is None else f'{n}K'} {what}" for n, what in shown]
        lines.append(f" RAM: {', '.join(words)}")
    return "".join(f"{line}\n" for line in lines)


def _k(size_bytes: int | None) -> str:
    return DASH if size_bytes is None else f"{size_bytes // KIB}K"


def _sum(figures: Iterable[int | None]) -> int | None:
    found = [one for one in figures if one is not None]
    return sum(found) if found else None


def procmem_look(root: Path, pid: int, sort: str = "map", *, resident_only: bool = False) -> Look:
    """How to look at each mapping of `pid` as procmem does; `sort`: map (their order), pss, uss."""
    if sort not in ("map", "pss", "uss"):
        raise UserError(f"--sort: found {sort!r}, allowed are map, pss, uss")
    source = source_at(root)

    def look() -> Snapshot:
        read = read_areas(source, pid)
        rows = [_mem_row(area) for area in read.text.areas]
        whole = None
        if rows:
            columns = zip(*map(_mem_cells, rows), strict=True)
            whole = ProcMemRow("TOTAL", "", *map(sum, columns))
        if sort != "map":
            rows.sort(key=lambda row: -int(getattr(row, f"{sort}_kib")))
        if resident_only:
            rows = [row for row in rows if row.rss_kib]
        text = _mem_text(rows, whole)
        totals = {} if whole is None else msgspec.structs.asdict(whole)
        return Snapshot("procmem", rows, text, totals, read.absent, [], str(root), taken_s(source))

    return look


def _mem_row(area: MapArea) -> ProcMemRow:
    figures = {name: area.sum_kib(*keys) or 0 for name, keys in _MEM_FIGURES.items()}
    # procmem.cpp show(): never "s"
    flags = area.perms[:3] + "p"
    return ProcMemRow(name=area.path, flags=flags, vss_kib=area.size_kib, **figures)


def _mem_cells(row: ProcMemRow) -> list[int]:
    return [getattr(row, name) for name in row.__struct_fields__[2:]]


def _mem_text(rows: Sequence[ProcMemRow], whole: ProcMemRow | None) -> str:
    """procmem.cpp print_header(), print_separator() and print_stats()."""
    bar = _row(["-------"] * len(_MEM_HEADS))
    lines = [_row(_MEM_HEADS) + "Name", bar]
    for row in rows:
        lines.append(f"{_mem_stats(row)}{row.flags:>7}  {printable(row.name)}")
    lines.append(bar)
    if whole is not None:
        lines.append(f"{_mem_stats(whole)}TOTAL")
    return "".join(f"{line}\n" for line in lines)


def _mem_stats(row: ProcMemRow) -> str:
    # the last of them has one blank behind it, so flags stand left of their head
    return "  ".join(f"{cell:6}K" for cell in _mem_cells(row)) + " "
