"""Owns `memtwin free`: the layouts of procps, old and new, over analysis/free.

Imports analysis, observe and cli/view. Does no arithmetic of its own but scaling for print.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from memtwin.analysis import free as figures
from memtwin.analysis.free import FreeRow, UsedAs
from memtwin.cli.procps_text import Scale, scaled
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Look, Snapshot
from memtwin.errors import Absent, UserError
from memtwin.observe.meminfo import PATH, MemInfo, parse_meminfo
from memtwin.observe.reading import Reading

# src/free.c main(), procps 4.0.2
_NEW = "               total        used        free      shared  buff/cache   available"
_WIDE = _NEW.replace("  buff/cache", "     buffers       cache")
# free.c main(), procps 3.3.9
_OLD = "             total       used       free     shared    buffers     cached"
_NAME_WIDTH, _OLD_NAME_WIDTH = 9, 7


class Layout(NamedTuple):
    """Which lines and columns are asked for."""

    old: bool = False
    wide: bool = False
    low_and_high: bool = False
    total: bool = False
    committed: bool = False
    explain: bool = False


def look_at(root: Path, layout: Layout, scale: Scale, used_as: UsedAs) -> Look:
    """A look at `root`'s memory."""
    source = source_at(root)

    def look() -> Snapshot:
        reading = Reading(source)
        info = reading.record(PATH, parse_meminfo)
        if info is None:
            raise UserError(f"{PATH}: {reading.absent[0].why}, without it free has no figures")
        rows = _rows(info, layout, used_as)
        memory = figures.memory_of(info, used_as)
        notes = figures.explained(info, used_as) if layout.explain else []
        absent = list(reading.absent)
        if memory.stand_in:
            absent.append(Absent("available", f"{memory.stand_in}; free stands for it"))
        return Snapshot(
            "free",
            rows,
            _text(rows, layout, scale, memory),
            totals={"used_as": "total - free" if layout.old else used_as.value},
            absent=absent,
            notes=notes,
            root=str(root),
            taken_s=taken_s(source),
        )

    return look


def _rows(info: MemInfo, layout: Layout, used_as: UsedAs) -> list[FreeRow]:
    memory = figures.memory_of(info, used_as)
    if layout.old:
        rows = figures.old_mem_rows(memory)
    else:
        rows = [figures.mem_row(memory)]
    mem, swap = rows[0], figures.swap_row(info)
    if layout.low_and_high:
        rows[1:1] = figures.low_and_high_rows(info, memory)
    rows.append(swap)
    if layout.total:
        rows.append(figures.total_row(mem, swap))
    if layout.committed:
        rows.append(figures.committed_row(info))
    return rows


def _text(rows: Sequence[FreeRow], layout: Layout, scale: Scale, memory: figures.Memory) -> str:
    head = _OLD if layout.old else _WIDE if layout.wide else _NEW
    lines = [_old_line(row, scale) if layout.old else _line(row, layout, scale) for row in rows]
    if memory.stand_in and not layout.old:  # as procps prints it; `absent` below says so
        lines[0] += f" {scaled(memory.available_kib * 1024, scale):>11}"
    return "".join(f"{line}\n" for line in (head, *lines))


def _line(row: FreeRow, layout: Layout, scale: Scale) -> str:
    sizes: list[int | None] = [row.total_bytes, row.used_bytes, row.free_bytes, row.shared_bytes]
    if row.buffers_bytes is not None and row.cache_bytes is not None:
        split = [row.buffers_bytes, row.cache_bytes]
        sizes += split if layout.wide else [sum(split)]
    sizes.append(row.available_bytes)
    cells = " ".join(f"{scaled(size, scale):>11}" for size in sizes if size is not None)
    return f"{row.name + ':':<{_NAME_WIDTH}}{cells}"


def _old_line(row: FreeRow, scale: Scale) -> str:
    if row.name.startswith("-"):
        used, left = scaled(row.used_bytes, scale), scaled(row.free_bytes, scale)
        return f"{row.name}: {used:>10} {left:>10}"
    sizes = (
        row.total_bytes, row.used_bytes, row.free_bytes,
        row.shared_bytes, row.buffers_bytes, row.cache_bytes,
    )  # fmt: skip
    cells = "".join(f" {scaled(size, scale):>10}" for size in sizes if size is not None)
    return f"{row.name + ':':<{_OLD_NAME_WIDTH}}{cells}"
