"""Owns /proc/swaps and zram's mm_stat and io_stat: records, readers and writers.

Imports observe/scan. Knows nothing of slots.
"""

from __future__ import annotations

import msgspec

from memtwin.observe.scan import no_match, whole

PATH = "/proc/swaps"
_HEADER = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


class SwapRow(msgspec.Struct):
    """One swap area."""

    filename: str
    kind: str  # "partition" or "file"
    size_kib: int
    used_kib: int
    priority: int


class ZramMmStat(msgspec.Struct):
    """One reading of /sys/block/zramN/mm_stat; huge_pages_since is None before 5.15."""

    orig_data_bytes: int
    compr_data_bytes: int
    mem_used_bytes: int
    mem_limit_bytes: int
    mem_used_max_bytes: int
    same_pages: int
    pages_compacted: int
    huge_pages: int
    huge_pages_since: int | None = None


def parse_swaps(text: str) -> list[SwapRow]:
    """The areas of a /proc/swaps text, in its order."""
    rows = []
    for line in text.splitlines()[1:]:
        words = line.rsplit(maxsplit=4)
        if len(words) != 5:
            raise no_match(PATH, line, "'NAME TYPE SIZE USED PRIORITY'")
        size_kib, used_kib, priority = (whole(word, PATH, line) for word in words[2:])
        rows.append(SwapRow(words[0], words[1], size_kib, used_kib, priority))
    return rows


def render_swaps(rows: list[SwapRow]) -> str:
    """The text of `rows` (mm/swapfile.c swap_show(), v6.12)."""
    out = [_HEADER]
    for row in rows:
        pad = " " * (40 - len(row.filename) if len(row.filename) < 40 else 1)
        kind = "partition" if row.kind == "partition" else "file\t"
        out.append(
            f"{row.filename}{pad}{kind}\t{row.size_kib}\t" + "\t" * (row.size_kib < 10_000_000)
        )
        out.append(f"{row.used_kib}\t" + "\t" * (row.used_kib < 10_000_000) + f"{row.priority}\n")
    return "".join(out)


def parse_mm_stat(text: str) -> ZramMmStat:
    """The record of a zram mm_stat text."""
    path = "mm_stat"
    figures = [whole(word, path, text) for word in text.split()]
    if len(figures) < 8:
        raise no_match(path, text, "eight or nine whole numbers")
    return ZramMmStat(*figures[:9])


def render_mm_stat(stat: ZramMmStat) -> str:
    """The text of `stat` (drivers/block/zram/zram_drv.c mm_stat_show(), v6.12)."""
    figures = [figure for figure in msgspec.structs.astuple(stat) if figure is not None]
    return " ".join(f"{figure:>8}" for figure in figures) + "\n"


class ZramIoStat(msgspec.Struct):
    """One reading of /sys/block/zramN/io_stat (times, not bytes)."""

    failed_reads: int
    failed_writes: int
    invalid_io: int
    notify_free: int


def parse_io_stat(text: str) -> ZramIoStat:
    """The record of a zram io_stat text."""
    figures = [whole(word, "io_stat", text) for word in text.split()]
    if len(figures) < 4:
        raise no_match("io_stat", text, "four whole numbers")
    return ZramIoStat(*figures[:4])


def render_io_stat(stat: ZramIoStat) -> str:
    """The text of `stat` (drivers/block/zram/zram_drv.c io_stat_show(), v6.1)."""
    return " ".join(f"{figure:>8}" for figure in msgspec.structs.astuple(stat)) + "\n"
