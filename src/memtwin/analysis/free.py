"""Owns what `free` says: used, free, cache and available, from the lines of /proc/meminfo.

Imports observe's records and units. Knows nothing of columns. Sizes are bytes. Both definitions of
`used` that procps has had are here, and the words that explain each figure.
"""

from __future__ import annotations

import enum

import msgspec

from memtwin.errors import UserError
from memtwin.observe.meminfo import PATH, MemInfo
from memtwin.units import KIB


class UsedAs(enum.Enum):
    """Which procps defines `used`."""

    PROCPS_3 = "procps-3"  # 3.3.10 to 3.3.17: what is neither free nor buffers nor cache
    PROCPS_4 = "procps-4"  # since 4.0.1: what is not available


class FreeRow(msgspec.Struct, kw_only=True):
    """One line of `free`; a figure that the line does not have is None."""

    name: str  # Mem, Low, High, Swap, Total or Comm
    total_bytes: int
    used_bytes: int
    free_bytes: int
    shared_bytes: int | None = None
    buffers_bytes: int | None = None
    cache_bytes: int | None = None
    available_bytes: int | None = None  # None: the kernel does not say


class Memory(msgspec.Struct, kw_only=True):
    """What `free` knows, in KiB as printed by the kernel; a missing line counts as procps has it.

    `stand_in` says that available is free, for want of a sound MemAvailable.
    """

    total_kib: int
    free_kib: int
    available_kib: int
    buffers_kib: int
    cached_kib: int
    reclaimable_kib: int
    shared_kib: int
    used_kib: int
    old_used_kib: int
    stand_in: str = ""


_NEEDED = ("MemTotal", "MemFree")


def memory_of(info: MemInfo, used_as: UsedAs = UsedAs.PROCPS_4) -> Memory:
    """The figures of `info`; UserError when MemTotal or MemFree is missing."""
    total_kib, free_kib = info.mem_total_kib, info.mem_free_kib
    if total_kib is None or free_kib is None:
        raise UserError(f"{PATH}: found no line {' or '.join(_NEEDED)}, which free is made of")
    buffers_kib, cached_kib = info.buffers_kib or 0, info.cached_kib or 0
    reclaimable_kib = info.sreclaimable_kib or 0
    available_kib, stand_in = info.mem_available_kib, ""
    # library/meminfo.c meminfo_read_failed(), procps 4.0.2
    if not available_kib:
        available_kib, stand_in = free_kib, "MemAvailable is not there"
    elif available_kib > total_kib:
        available_kib, stand_in = free_kib, "MemAvailable exceeds MemTotal"
    if used_as is UsedAs.PROCPS_4:
        used_kib = total_kib - available_kib
    else:  # proc/sysinfo.c meminfo(), procps 3.3.17
        used_kib = total_kib - free_kib - buffers_kib - cached_kib - reclaimable_kib
    if used_kib < 0:
        used_kib = total_kib - free_kib
    return Memory(
        total_kib=total_kib,
        free_kib=free_kib,
        available_kib=available_kib,
        buffers_kib=buffers_kib,
        cached_kib=cached_kib,
        reclaimable_kib=reclaimable_kib,
        shared_kib=info.shmem_kib or 0,
        used_kib=used_kib,
        old_used_kib=total_kib - free_kib,
        stand_in=stand_in,
    )


def mem_row(memory: Memory) -> FreeRow:
    """The line Mem of the new layout: cache is page cache and reclaimable slab."""
    available_kib = memory.available_kib
    return FreeRow(
        name="Mem",
        total_bytes=memory.total_kib * KIB,
        used_bytes=memory.used_kib * KIB,
        free_bytes=memory.free_kib * KIB,
        shared_bytes=memory.shared_kib * KIB,
        buffers_bytes=memory.buffers_kib * KIB,
        cache_bytes=(memory.cached_kib + memory.reclaimable_kib) * KIB,
        available_bytes=None if memory.stand_in else available_kib * KIB,
    )


def old_mem_rows(memory: Memory) -> list[FreeRow]:
    """The lines Mem and -/+ buffers/cache of the old layout: used is all that is not free."""
    cache_kib = memory.buffers_kib + memory.cached_kib
    mem = FreeRow(
        name="Mem",
        total_bytes=memory.total_kib * KIB,
        used_bytes=memory.old_used_kib * KIB,
        free_bytes=memory.free_kib * KIB,
        shared_bytes=memory.shared_kib * KIB,
        buffers_bytes=memory.buffers_kib * KIB,
        cache_bytes=memory.cached_kib * KIB,
    )
    without = FreeRow(
        name="-/+ buffers/cache",
        total_bytes=memory.total_kib * KIB,
        used_bytes=(memory.old_used_kib - cache_kib) * KIB,
        free_bytes=(memory.free_kib + cache_kib) * KIB,
    )
    return [mem, without]


def swap_row(info: MemInfo) -> FreeRow:
    """The line Swap; used is 0 where free exceeds total, as procps has it."""
    total_kib, free_kib = info.swap_total_kib or 0, info.swap_free_kib or 0
    return _plain("Swap", total_kib, max(total_kib - free_kib, 0), free_kib)


def low_and_high_rows(info: MemInfo, memory: Memory) -> list[FreeRow]:
    """The lines Low and High: without highmem all memory is low."""
    low_total_kib, low_free_kib = info.low_total_kib or 0, info.low_free_kib or 0
    if not low_total_kib:
        low_total_kib, low_free_kib = memory.total_kib, memory.free_kib
    high_total_kib, high_free_kib = info.high_total_kib or 0, info.high_free_kib or 0
    return [
        _plain("Low", low_total_kib, max(low_total_kib - low_free_kib, 0), low_free_kib),
        _plain("High", high_total_kib, max(high_total_kib - high_free_kib, 0), high_free_kib),
    ]


def total_row(mem: FreeRow, swap: FreeRow) -> FreeRow:
    """The line Total: memory and swap together."""
    return FreeRow(
        name="Total",
        total_bytes=mem.total_bytes + swap.total_bytes,
        used_bytes=mem.used_bytes + swap.used_bytes,
        free_bytes=mem.free_bytes + swap.free_bytes,
    )


def committed_row(info: MemInfo) -> FreeRow:
    """The line Comm: the commit limit, what is promised, what is left (below 0: overcommitted)."""
    limit_kib, promised_kib = info.commit_limit_kib or 0, info.committed_as_kib or 0
    return _plain("Comm", limit_kib, promised_kib, limit_kib - promised_kib)


def _plain(name: str, total_kib: int, used_kib: int, free_kib: int) -> FreeRow:
    return FreeRow(
        name=name,
        total_bytes=total_kib * KIB,
        used_bytes=used_kib * KIB,
        free_bytes=free_kib * KIB,
    )


def explained(info: MemInfo, used_as: UsedAs) -> list[str]:
    """Sentences: how each figure of the new layout is made from which lines of the text."""
    memory = memory_of(info, used_as)
    total, free, used = memory.total_kib, memory.free_kib, memory.used_kib
    cache = memory.cached_kib + memory.reclaimable_kib
    if used_as is UsedAs.PROCPS_4:
        how = f"total - available = {total} - {memory.available_kib}"
        which = "procps since 4.0.1; --used procps-3 has the older one"
    else:
        how = f"total - free - buffers - cache = {total} - {free} - {memory.buffers_kib} - {cache}"
        which = "procps 3.3.10 to 3.3.17; --used procps-4 has the newer one"
    if memory.stand_in:
        available = f"free = {memory.available_kib} kB, since {memory.stand_in}"
    else:
        available = (
            f"MemAvailable = {memory.available_kib} kB: the kernel's estimate of what a new program"
            " could have without swapping (free less reserves, most of page cache and reclaimable"
            " slab)"
        )
    swap = swap_row(info)
    return [
        f"total      MemTotal = {total} kB: what the kernel manages, less than what is installed",
        f"used       {how} = {used} kB ({which})",
        f"free       MemFree = {free} kB: pages that hold nothing",
        f"shared     Shmem = {memory.shared_kib} kB: tmpfs and shared memory; it is part of cache",
        f"buffers    Buffers = {memory.buffers_kib} kB: page cache of block devices",
        f"cache      Cached + SReclaimable = {memory.cached_kib} + {memory.reclaimable_kib}"
        f" = {cache} kB: files in memory, and slab that gives way",
        f"available  {available}",
        f"swap used  SwapTotal - SwapFree = {swap.used_bytes // KIB} kB",
    ]
