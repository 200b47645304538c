"""Owns the views that people know from phones: procrank, procmem and dumpsys meminfo.

Imports cli/view, cli/maps_view, analysis/android_memory and observe's scan. Sums nothing itself
but the last lines.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from memtwin.analysis import usage
from memtwin.analysis.android_memory import (
    AppSummary,
    CategoryRow,
    by_category,
    summary_of,
    total_of,
)
from memtwin.cli.columns_text import DASH
from memtwin.cli.maps_view import read_areas
from memtwin.cli.view import Absent, Look, Snapshot
from memtwin.errors import UserError
from memtwin.observe.map_files import MapArea
from memtwin.observe.meminfo import MemInfo, parse_meminfo
from memtwin.observe.processes import scan as process_scan
from memtwin.observe.processes.record import Process, command_of
from memtwin.observe.processes.scan import Part, ProcessScan
from memtwin.observe.source import TreeSource, printable
from memtwin.observe.swaps import parse_mm_stat
from memtwin.units import KIB

_RANK_HEADS = ("Rss", "Pss", "Uss")
_SWAP_HEADS = ("Swap", "PSwap", "USwap", "ZSwap")
_MEM_FIGURES = {
    "rss_kib": ("Rss",), "pss_kib": ("Pss",), "uss_kib": ("Private_Clean", "Private_Dirty"),
    "shared_clean_kib": ("Shared_Clean",), "shared_dirty_kib": ("Shared_Dirty",),
    "private_clean_kib": ("Private_Clean",), "private_dirty_kib": ("Private_Dirty",),
}  # fmt: skip
_MEM_HEADS = ("Vss", "Rss", "Pss", "Uss", "ShCl", "ShDi", "PrCl", "PrDi")
_NO_USWAP = Absent("USwap", "smaps does not tell which swapped pages no one shares")
_NO_HEAP = Absent("Heap Size, Alloc and Free", "only the process itself knows them")


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
    command: str


class ProcMemRow(msgspec.Struct):
    """One mapping of procmem."""

    name: str
    vss_kib: int
    rss_kib: int
    pss_kib: int
    uss_kib: int
    shared_clean_kib: int
    shared_dirty_kib: int
    private_clean_kib: int
    private_dirty_kib: int


def procrank_look(root: Path) -> Look:
    """How to rank the processes of `root` by PSS."""
    source = TreeSource(root)
    scan = ProcessScan(source, Part.STAT | Part.COMMAND)

    def look() -> Snapshot:
        processes = usage.with_memory(process_scan.look(scan))
        if not processes:
            raise UserError(f"--root: found no processes in {root}/proc")
        info = _meminfo(source)
        used_bytes = _zram_used_bytes(source)
        rows = [_rank_row(one, info, used_bytes) for one in processes]
        rows.sort(key=lambda row: -(row.pss_bytes or 0))
        seen = usage.seen(processes)
        notes = [f"{seen.read_count} of {seen.count} processes readable"]
        text = _rank_text(rows, info, used_bytes)
        absent = [_NO_USWAP] if _has_swap(info) else []
        totals = msgspec.structs.asdict(usage.total(processes))
        return Snapshot("procrank", rows, text, totals, absent, notes, str(root), time.time())

    return look


def _meminfo(source: TreeSource) -> MemInfo | None:
    text = source.read("/proc/meminfo")
    try:
        return None if text is None else parse_meminfo(text)
    except UserError:  # a captured tree may hold anything; the processes still have their figures
        return None


def _zram_used_bytes(source: TreeSource) -> int | None:
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


def _has_swap(info: MemInfo | None) -> bool:
    return bool(info is not None and info.swap_total_kib)


def _swap_used_kib(info: MemInfo | None) -> int:
    if info is None or info.swap_total_kib is None or info.swap_free_kib is None:
        return 0
    return info.swap_total_kib - info.swap_free_kib


def _rank_row(process: Process, info: MemInfo | None, zram_bytes: int | None) -> RankRow:
    z_swap, used_bytes = None, _swap_used_kib(info) * KIB
    if zram_bytes is not None and process.swap_pss_bytes is not None and used_bytes:
        z_swap = process.swap_pss_bytes * zram_bytes // used_bytes
    return RankRow(
        process.pid,
        process.vss_bytes,
        process.rss_bytes,
        process.pss_bytes,
        process.uss_bytes,
        process.swap_bytes,
        process.swap_pss_bytes,
        z_swap,
        process.command or process.comm,
    )


def _rank_text(rows: Sequence[RankRow], info: MemInfo | None, zram_bytes: int | None) -> str:
    with_swap = _has_swap(info)
    heads = [*_RANK_HEADS, *(_SWAP_HEADS if with_swap else ())]
    lines = [f"  PID  {'Vss':>8}  " + "  ".join(f"{head:>7}" for head in heads) + "  cmdline"]
    for row in rows:
        cells = [row.rss_bytes, row.pss_bytes, row.uss_bytes]
        if with_swap:
            cells += [row.swap_bytes, row.swap_pss_bytes, None, row.z_swap_bytes]
        line = "  ".join(f"{_k(cell):>7}" for cell in cells)
        lines.append(f"{row.pid:5}  {_k(row.vss_bytes):>8}  {line}  {printable(row.command)}")
    sums = [_sum(row.pss_bytes for row in rows), _sum(row.uss_bytes for row in rows)]
    if with_swap:
        sums += [_sum(row.swap_bytes for row in rows), _sum(row.swap_pss_bytes for row in rows)]
        sums += [None, _sum(row.z_swap_bytes for row in rows)]
    blank = " " * (5 + 2 + 8 + 2 + 7)
    lines.append(f"{blank}  " + "  ".join(f"{'-' * 6:>7}" for _ in sums) + "  ------")
    lines.append(f"{blank}  " + "  ".join(f"{_k(one):>7}" for one in sums) + "  TOTAL")
    lines += ["", *_machine_lines(info, zram_bytes)]
    return "".join(f"{line}\n" for line in lines)


def _machine_lines(info: MemInfo | None, zram_bytes: int | None) -> list[str]:
    lines = []
    if zram_bytes is not None and info is not None:
        lines.append(
            f"ZRAM: {zram_bytes // KIB}K physical used for {_swap_used_kib(info)}K in swap"
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
    return lines


def _k(size_bytes: int | None) -> str:
    return DASH if size_bytes is None else f"{size_bytes // KIB}K"


def _sum(figures: Iterable[int | None]) -> int | None:
    found = [one for one in figures if one is not None]
    return sum(found) if found else None


def procmem_look(root: Path, pid: int) -> Look:
    """How to look at each mapping of `pid` as procmem does."""
    source = TreeSource(root)

    def look() -> Snapshot:
        read = read_areas(source, pid)
        rows = [_mem_row(area) for area in read.text.areas]
        whole = None
        if rows:
            columns = zip(*map(_mem_cells, rows), strict=True)
            whole = ProcMemRow("TOTAL", *map(sum, columns))
        text = _mem_text(rows, whole)
        totals = {} if whole is None else msgspec.structs.asdict(whole)
        return Snapshot("procmem", rows, text, totals, read.absent, [], str(root), time.time())

    return look


def _mem_row(area: MapArea) -> ProcMemRow:
    figures = {name: area.sum_kib(*keys) or 0 for name, keys in _MEM_FIGURES.items()}
    return ProcMemRow(name=area.path or "[anon]", vss_kib=area.size_kib, **figures)


def _mem_cells(row: ProcMemRow) -> list[int]:
    return [getattr(row, name) for name in row.__struct_fields__[1:]]


def _mem_text(rows: Sequence[ProcMemRow], whole: ProcMemRow | None) -> str:
    bar = "  ".join("-" * 7 for _ in _MEM_HEADS)
    lines = ["  ".join(f"{head:>7}" for head in _MEM_HEADS) + "  Name", bar]
    for row in [*rows, *([] if whole is None else [whole])]:
        if row is whole:
            lines.append(bar)
        lines.append(
            "  ".join(f"{f'{cell}K':>7}" for cell in _mem_cells(row)) + f"  {printable(row.name)}"
        )
    return "".join(f"{line}\n" for line in lines)


def dumpsys_look(root: Path, pid: int) -> Look:
    """How to look at the categories of `pid`'s memory as dumpsys meminfo does."""
    source = TreeSource(root)

    def look() -> Snapshot:
        read = read_areas(source, pid)
        rows = by_category(read.text.areas)
        command = command_of(source.read_bytes(f"/proc/{pid}/cmdline") or b"") or "?"
        summary = summary_of(rows)
        text = _category_text(rows, f"** MEMINFO in pid {pid} [{printable(command)}] **")
        text += _summary_text(summary)
        totals = msgspec.to_builtins(summary)
        absent = [*read.absent, _NO_HEAP]
        return Snapshot("dumpsys-meminfo", rows, text, totals, absent, [], str(root), time.time())

    return look


def _category_text(rows: Sequence[CategoryRow], title: str) -> str:
    heads = (("Pss", "Total"), ("Private", "Dirty"), ("Private", "Clean"), ("SwapPss", "Dirty"),
             ("Rss", "Total"))  # fmt: skip
    lines = ["Applications Memory Usage (in Kilobytes):", "", title]
    lines += [" " * 13 + "".join(f"{head[n]:>9}" for head in heads) for n in (0, 1)]
    lines.append(" " * 13 + "".join(f"{'-' * 6:>9}" for _ in heads))
    for row in [*rows, total_of(rows)]:
        cells = [row.pss_kib, row.private_dirty_kib, row.private_clean_kib, row.swap_pss_kib,
                 row.rss_kib]  # fmt: skip
        if any(cells) or row.name in ("Native Heap", "Dalvik Heap", "TOTAL"):
            lines.append(f"{row.name:>13}" + "".join(f"{cell:>9}" for cell in cells))
    return "".join(f"{line}\n" for line in lines)


def _summary_text(summary: AppSummary) -> str:
    lines = ["", " App Summary", f"{'Pss(KB)':>30}{'Rss(KB)':>31}", f"{'-' * 6:>30}{'-' * 6:>31}"]
    for name in dict.fromkeys([*summary.pss_kib, *summary.rss_kib]):
        pss, rss = summary.pss_kib.get(name, ""), summary.rss_kib.get(name, "")
        lines.append(f"{name + ':':>21}{pss:>9}{rss:>31}".rstrip())
    lines.append("")
    lines.append(
        f"{'TOTAL PSS:':>21}{summary.total_pss_kib:>9}{'TOTAL RSS:':>22}{summary.total_rss_kib:>9}"
        f"{'TOTAL SWAP PSS:':>21}{summary.total_swap_pss_kib:>9}"
    )
    return "".join(f"{line}\n" for line in lines)
