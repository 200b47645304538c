"""Owns one row a cgroup: what it holds and may hold, named alike for v1 and v2.

Imports observe/cgroup_tree. Knows nothing of columns. Sizes are bytes; None: that version, or that
kernel, does not say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from memtwin.errors import UserError
from memtwin.observe.cgroup_tree import Cgroup, CgroupTree
from memtwin.observe.source import printable


class CgroupRow(msgspec.Struct, kw_only=True):
    """One cgroup with all below it, as its hierarchical counters have it."""

    path: str
    depth: int
    current_bytes: int | None
    anon_bytes: int | None
    file_bytes: int | None
    kernel_bytes: int | None
    shmem_bytes: int | None
    swap_bytes: int | None
    max_bytes: int | None  # None: no limit
    high_bytes: int | None
    low_bytes: int | None
    min_bytes: int | None
    swap_max_bytes: int | None
    peak_bytes: int | None
    dirty_bytes: int | None
    writeback_bytes: int | None
    used_of_max_percent: float | None
    oom_kills: int | None
    max_events: int | None  # times that the limit held (v1: failcnt)
    high_events: int | None
    refault_pages: int | None
    pressure_some_avg10_percent: float | None
    pressure_full_avg10_percent: float | None
    processes: int | None  # in itself, not below


def row_of(cgroup: Cgroup) -> CgroupRow:
    """The row of `cgroup`."""
    memory = cgroup.memory
    stat = memory.stat
    old = memory.version == 1
    stall = cgroup.pressure.get("memory")
    swap = stat.get("total_swap") if old else memory.swap_current_bytes
    current, limit = memory.current_bytes, memory.max_bytes
    return CgroupRow(
        path=printable(cgroup.path),
        depth=cgroup.depth,
        current_bytes=current,
        anon_bytes=stat.get("total_rss" if old else "anon"),
        file_bytes=stat.get("total_cache" if old else "file"),
        kernel_bytes=memory.kmem_current_bytes if old else _kernel(stat),
        shmem_bytes=stat.get("total_shmem" if old else "shmem"),
        swap_bytes=swap,
        max_bytes=limit,
        high_bytes=memory.high_bytes,
        low_bytes=memory.low_bytes,
        min_bytes=memory.min_bytes,
        swap_max_bytes=memory.swap_max_bytes,
        peak_bytes=memory.peak_bytes,
        dirty_bytes=stat.get("total_dirty" if old else "file_dirty"),
        writeback_bytes=stat.get("total_writeback" if old else "file_writeback"),
        used_of_max_percent=None if current is None or not limit else 100 * current / limit,
        oom_kills=memory.events.get("oom_kill"),
        max_events=memory.failcnt if old else memory.events.get("max"),
        high_events=memory.events.get("high"),
        refault_pages=_refaults(stat),
        pressure_some_avg10_percent=stall.some.avg10_percent if stall and stall.some else None,
        pressure_full_avg10_percent=stall.full.avg10_percent if stall and stall.full else None,
        processes=cgroup.processes,
    )


# what a v2 memory.stat counts of the kernel, where it has no sum (before 5.18)
_KERNEL_PARTS = ("kernel_stack", "pagetables", "sec_pagetables", "percpu", "vmalloc", "slab")


def _kernel(stat: dict[str, int]) -> int | None:
    if "kernel" in stat:
        return stat["kernel"]
    parts = [stat[name] for name in _KERNEL_PARTS if name in stat]
    return sum(parts) if parts else None


def _refaults(stat: dict[str, int]) -> int | None:
    names = ("workingset_refault_anon", "workingset_refault_file", "workingset_refault")
    found = [stat[name] for name in names if name in stat]
    return sum(found) if found else None


_KEYS: dict[str, Callable[[CgroupRow], float | None]] = {
    "current": lambda row: row.current_bytes,
    "anon": lambda row: row.anon_bytes,
    "file": lambda row: row.file_bytes,
    "kernel": lambda row: row.kernel_bytes,
    "swap": lambda row: row.swap_bytes,
    "used": lambda row: row.used_of_max_percent,
    "dirty": lambda row: row.dirty_bytes,
    "pressure": lambda row: row.pressure_some_avg10_percent,
    "oom": lambda row: row.oom_kills,
}
SORTS = ("path", *_KEYS)


def rows_of(tree: CgroupTree, sort: str = "path") -> list[CgroupRow]:
    """The rows of `tree`: as a tree by path, or flat with the most of `sort` first."""
    rows = [row_of(cgroup) for cgroup in tree.cgroups]
    if sort == "path":
        return rows
    if sort not in _KEYS:
        raise UserError(f"--sort: found {sort!r}, allowed is one of {', '.join(SORTS)}")
    return _most_first(rows, _KEYS[sort])


def _most_first(
    rows: Iterable[CgroupRow], key: Callable[[CgroupRow], float | None]
) -> list[CgroupRow]:
    """What is absent comes last."""

    def place(row: CgroupRow) -> tuple[bool, float]:
        figure = key(row)
        return figure is None, -(figure or 0)

    return sorted(rows, key=place)
