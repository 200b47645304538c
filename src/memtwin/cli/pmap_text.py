"""Owns the layouts of procps' pmap: plain, -x, -d, -X and -XX, character by character.

Imports observe/map_files. Knows nothing of where the mappings were read.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

from memtwin.observe.map_files import MapArea
from memtwin.observe.source import printable

# what -X leaves out of a smaps and -XX shows
_DETAILS = frozenset({
    "KernelPageSize", "MMUPageSize", "Shared_Clean", "Shared_Dirty", "Private_Clean",
    "Private_Dirty", "AnonHugePages",
})  # fmt: skip
_FLAGS = "VmFlags"


class PmapLayout(enum.Enum):
    """Which columns."""

    PLAIN = ""
    EXTENDED = "-x"
    DEVICE = "-d"
    MORE = "-X"
    EVERYTHING = "-XX"


class Frame(enum.Enum):
    """Whether the head line and the sums are shown."""

    FULL = "full"
    QUIET = "quiet"


class Names(enum.Enum):
    """How a file is named."""

    LAST_PART = "last part"
    WHOLE_PATH = "whole path"


class Range(NamedTuple):
    """Which addresses are shown: mappings that have one of them, both ends included."""

    low_vaddr: int = 0
    high_vaddr: int = (1 << 64) - 1


EVERYWHERE = Range()


class PmapTask(NamedTuple):
    """A process as pmap shows it: its first line and its mappings."""

    title: str
    areas: Sequence[MapArea]
    start_stack: int = 0
    within: Range = EVERYWHERE


def in_range(areas: Sequence[MapArea], within: Range) -> list[MapArea]:
    """Those of `areas` that have an address in `within`."""
    low, high = within
    return [area for area in areas if area.start_vaddr <= high and area.end_vaddr > low]


def pmap_text(task: PmapTask, layout: PmapLayout, frame: Frame, names: Names) -> str:
    """The lines that pmap prints of one process."""
    if layout in (PmapLayout.MORE, PmapLayout.EVERYTHING):
        lines = _wide(task, layout, frame, names)
    else:
        lines = _narrow(task, layout, frame, names)
    return "".join(f"{line}\n" for line in [task.title, *lines])


def _narrow(task: PmapTask, layout: PmapLayout, frame: Frame, names: Names) -> list[str]:
    areas = in_range(task.areas, task.within)
    rows = [_narrow_row(area, layout, _shown_name(area, task, names)) for area in areas]
    if frame is Frame.QUIET:
        return rows
    size = sum(area.size_kib for area in areas)
    if layout is PmapLayout.EXTENDED:
        # procps 4.0.2 sums these two of all that it reads, from the first mapping on
        read = _read_for(task.areas, task.within)
        rss = sum(area.kib.get("Rss", 0) for area in read)
        dirty = sum(map(_dirty_kib, read))
        return [
            "Address           Kbytes     RSS   Dirty Mode  Mapping",
            *rows,
            "---------------- ------- ------- ------- ",
            f"total kB {size:15} {rss:7} {dirty:7}",
        ]
    if layout is PmapLayout.DEVICE:
        private = sum(a.size_kib for a in areas if a.perms[1] == "w" and a.perms[3] == "p")
        shared = sum(area.size_kib for area in areas if area.perms[3] == "s")
        return [
            "Address           Kbytes Mode  Offset           Device    Mapping",
            *rows,
            f"mapped: {size}K    writeable/private: {private}K    shared: {shared}K",
        ]
    return [*rows, f" total {size:16}K"]


def _read_for(areas: Sequence[MapArea], within: Range) -> list[MapArea]:
    """What comes before the first mapping beyond the range, where pmap stops to read."""
    low, high = within
    return list(takewhile(lambda a: a.end_vaddr <= low or a.start_vaddr <= high, areas))


def _narrow_row(area: MapArea, layout: PmapLayout, name: str) -> str:
    mode = area.perms[:3] + ("s" if area.perms[3] == "s" else "-") + "-"
    if layout is PmapLayout.EXTENDED:
        rss, dirty = area.kib.get("Rss", 0), _dirty_kib(area)
        return f"{area.start_vaddr:016x} {area.size_kib:7} {rss:7} {dirty:7} {mode} {name}"
    if layout is PmapLayout.DEVICE:
        major, _, minor = area.device.partition(":")
        device = f"{major.zfill(3)}:{minor.zfill(5)}"
        offset = f"{area.offset_bytes:016x}"
        return f"{area.start_vaddr:016x} {area.size_kib:7} {mode} {offset} {device} {name}"
    return f"{area.start_vaddr:016x} {area.size_kib:6}K {mode} {name}"


def _dirty_kib(area: MapArea) -> int:
    return area.sum_kib("Shared_Dirty", "Private_Dirty") or 0


def _shown_name(area: MapArea, task: PmapTask, names: Names) -> str:
    if "/" in area.path:
        if names is Names.WHOLE_PATH:
            return printable(area.path[area.path.index("/") :])
        return _last_part(area)
    if area.start_vaddr <= task.start_stack < area.end_vaddr:
        return "  [ stack ]"
    return "  [ anon ]"


def _last_part(area: MapArea) -> str:
    path = area.path
    return printable(path.rpartition("/")[2] or path)


def _wide(task: PmapTask, layout: PmapLayout, frame: Frame, names: Names) -> list[str]:
    """The columns that the kernel's smaps has, each as wide as its widest cell; all mappings."""
    keys = _keys(task.areas, layout)
    fixed = [_fixed_cells(area) for area in task.areas]
    figures = [[_figure(area, key) for key in keys] for area in task.areas]
    sums = [_sum_of(column) for column in zip(*figures, strict=True)] or [""] * len(keys)
    heads = ["Address", "Perm", "Offset", "Device", "Inode", *keys]
    # heads that are not shown need no room
    least = [16, *(0 if frame is Frame.QUIET else len(head) for head in heads[1:])]
    lines = [[*one, *cells] for one, cells in zip(fixed, figures, strict=True)]
    summed = [[""] * 5 + (sums if frame is Frame.FULL else [""] * len(keys))]
    widths = [
        max([low, *(len(line[n]) for line in [*lines, *summed])]) for n, low in enumerate(least)
    ]
    path = [area.path if names is Names.WHOLE_PATH else _last_part(area) for area in task.areas]
    rows = [
        f"{_aligned(line, widths)} {printable(name)}"
        for line, name in zip(lines, path, strict=True)
    ]
    if frame is Frame.QUIET or not task.areas:
        return rows
    numbers = len(widths) - (_FLAGS in keys)
    bars = [""] * 5 + ["=" * width for width in widths[5:numbers]]
    return [
        f"{_aligned(heads, widths)} Mapping",
        *rows,
        f"{_aligned(bars, widths[:numbers])} ",
        f"{_aligned(summed[0][:numbers], widths[:numbers])} KB ",
    ]


def _aligned(cells: Iterable[str], widths: Sequence[int]) -> str:
    return " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _keys(areas: Sequence[MapArea], layout: PmapLayout) -> list[str]:
    found: dict[str, None] = {}
    for area in areas:
        found.update(dict.fromkeys(area.kib))
        found.update(dict.fromkeys(area.words))
    if layout is PmapLayout.MORE:
        return [key for key in found if key not in _DETAILS]
    return [*found, _FLAGS]


def _fixed_cells(area: MapArea) -> list[str]:
    start, offset = f"{area.start_vaddr:08x}", f"{area.offset_bytes:08x}"
    return [start, area.perms, offset, area.device, str(area.inode)]


def _figure(area: MapArea, key: str) -> str:
    if key == _FLAGS:
        return " ".join(area.vm_flags)
    return area.words.get(key) or str(area.kib.get(key, 0))


def _sum_of(column: Iterable[str]) -> str:
    cells = list(column)
    return str(sum(map(int, cells))) if all(cell.isdigit() for cell in cells) else ""
