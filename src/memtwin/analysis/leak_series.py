"""Owns which series a search for leaks looks at, and how stored samples become them.

Imports leak, the ledger and observe's records, and pyarrow for its tables. Does no reading: tables
and moments come in. Values are held from change to change, and thinned to what a trend needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
from numpy.typing import NDArray

from memtwin.analysis.leak import Kind, Series
from memtwin.analysis.ledger import Ledger, make_ledger
from memtwin.analysis.stairs import Values
from memtwin.analysis.timeline import Moment, row_bytes
from memtwin.errors import UserError
from memtwin.observe.fragments import BUDDYINFO_PATH, parse_buddyinfo
from memtwin.observe.ledger_texts import read_ledger_counters

Nanoseconds = NDArray[np.int64]
MOST_POINTS = 240
PATHS = frozenset(("/proc/meminfo", "/proc/vmstat", "/proc/zoneinfo", BUDDYINFO_PATH))
HUGE_ORDER = 9
# Caches that give back under pressure: SLAB_RECLAIM_ACCOUNT, as fs/dcache.c dcache_init(), v6.12
_RECLAIMABLE = ("dentry", "inode_cache", "_inode", "buffer_head", "radix_tree_node", "xfs_ili")
_ROWS = {
    Kind.PAGE_CACHE: ("file", "buffers"),
    Kind.SHMEM: ("shmem",),
    Kind.VMALLOC: ("vmalloc",),
    Kind.PAGE_TABLES: ("page_tables", "sec_page_tables"),
    Kind.KERNEL_STACKS: ("kernel_stacks",),
    Kind.UNACCOUNTED: ("unaccounted",),
}
_PROCESS_COLUMNS = {
    Kind.HEAP: "heap_bytes",
    Kind.ANONYMOUS_MAPS: "anonymous_maps_bytes",
    Kind.PROCESS_TABLES: "page_tables_bytes",
}


class SystemSeries(NamedTuple):
    """Series of the whole machine, and what it has left at the end."""

    series: list[Series]
    room_bytes: float | None


def system_series(moments: Iterable[Moment]) -> SystemSeries:
    """Series of the whole machine from its moments' texts of PATHS."""
    times: list[float] = []
    columns: dict[Kind, list[float]] = {}
    room: float | None = None
    for moment in moments:
        try:
            counters = read_ledger_counters(moment)
        except UserError:
            continue
        ledger, info = make_ledger(counters), counters.meminfo
        times.append(moment.taken_ns / 1e9)
        for kind, value in _values(ledger, moment).items():
            columns.setdefault(kind, []).append(value)
        if info.mem_available_kib is not None:
            columns.setdefault(Kind.AVAILABLE, []).append(info.mem_available_kib * 1024.0)
            room = (info.mem_available_kib + (info.swap_free_kib or 0)) * 1024.0
    at = np.array(times)
    found = [
        Series(kind, "machine", at, np.array(values))
        for kind, values in columns.items()
        if len(values) == len(times)
    ]
    return SystemSeries(found, room)


def _values(ledger: Ledger, moment: Moment) -> dict[Kind, float]:
    found = {kind: float(row_bytes(ledger, rows)) for kind, rows in _ROWS.items()}
    text = moment.read(BUDDYINFO_PATH)
    if text:
        free = usable = 0
        for zone in parse_buddyinfo(text):
            for order, blocks in enumerate(zone.blocks):
                free += blocks << order
                usable += blocks << order if order >= HUGE_ORDER else 0
        if free:
            found[Kind.FRAGMENTATION] = 1.0 - usable / free
    return found


def process_series(
    table: pa.Table,
    moments_ns: Sequence[int],
    alive: Mapping[int, int],
    rooms: Mapping[int, float] | None = None,
) -> list[Series]:
    """Series of processes from the store's `processes`.

    `alive`: pid -> start in ticks of those that live at the end, which alone are judged. `rooms`:
    pid -> bytes that its cgroup's limit leaves.
    """
    found: list[Series] = []
    grid: Nanoseconds = np.array(_thin(moments_ns), dtype=np.int64)
    for pid, start_ticks in sorted(alive.items()):
        mine = pc.and_(pc.equal(table["pid"], pid), pc.equal(table["start_ticks"], start_ticks))
        rows = table.filter(mine)
        if rows.num_rows == 0:
            continue
        name = f"{pid} {rows['comm'][rows.num_rows - 1].as_py()}"
        room = (rooms or {}).get(pid)
        uss = _column(rows, "uss_bytes")
        if np.isnan(uss).all():  # not ours to read: what is resident and not of a file
            uss = _column(rows, "rss_bytes") - _column(rows, "shared_bytes")
        swapped = uss + np.nan_to_num(_column(rows, "swap_bytes"))
        columns = {Kind.USS: swapped}
        columns |= {kind: _column(rows, column) for kind, column in _PROCESS_COLUMNS.items()}
        at_ns = rows["taken_ns"].to_numpy()
        for kind, values in columns.items():
            held = _held(grid, at_ns, values)
            if held is not None:
                found.append(Series(kind, name, *held, room))
    return found


def slab_series(table: pa.Table, moments_ns: Sequence[int]) -> list[Series]:
    """Series of slab caches from the store's `slabs`."""
    found = []
    grid: Nanoseconds = np.array(_thin(moments_ns), dtype=np.int64)
    names = pc.unique(table["cache"]).to_pylist() if table.num_rows else []
    for name in sorted(names):
        rows = table.filter(pc.equal(table["cache"], name))
        held = _held(grid, rows["taken_ns"].to_numpy(), _column(rows, "size_bytes"))
        if held is not None:
            gives_back = any(part in name for part in _RECLAIMABLE)
            found.append(Series(Kind.RECLAIMABLE_SLAB if gives_back else Kind.SLAB, name, *held))
    return found


def cgroup_series(table: pa.Table, moments_ns: Sequence[int]) -> list[Series]:
    """Series of memory cgroups: what they hold beyond page cache."""
    found = []
    grid: Nanoseconds = np.array(_thin(moments_ns), dtype=np.int64)
    paths = pc.unique(table["path"]).to_pylist() if table.num_rows else []
    for path in sorted(paths):
        rows = table.filter(pc.equal(table["path"], path))
        own = _column(rows, "anon_bytes") + np.nan_to_num(_column(rows, "kernel_bytes"))
        held = _held(grid, rows["taken_ns"].to_numpy(), own)
        if held is not None:
            found.append(Series(Kind.CGROUP, path, *held, cgroup_room(rows)))
    return found


def cgroup_room(rows: pa.Table) -> float | None:
    """Bytes that a cgroup's own limit leaves at the end; None without one."""
    most, current = _column(rows, "max_bytes"), _column(rows, "current_bytes")
    if not len(most) or np.isnan(most[-1]) or np.isnan(current[-1]):
        return None
    return float(most[-1] - current[-1])


def _column(rows: pa.Table, name: str) -> Values:
    return np.asarray(rows[name].to_numpy(), dtype=np.float64)


def _held(grid: Nanoseconds, at_ns: Nanoseconds, values: Values) -> tuple[Values, Values] | None:
    """(times in seconds, values) on the grid, each held until the next is known."""
    known = ~np.isnan(values)
    if not known.any():
        return None
    at_ns, values = at_ns[known], values[known]
    grid = grid[grid >= at_ns[0]]
    if not len(grid):
        return None
    held = values[np.searchsorted(at_ns, grid, side="right") - 1]
    return grid / 1e9, held


def _thin(moments_ns: Sequence[int]) -> list[int]:
    step = -(-len(moments_ns) // MOST_POINTS) or 1
    return list(moments_ns[::-step][::-1])  # the newest is always among them


def thinned(moments_ns: Sequence[int]) -> set[int]:
    """The moments that a search looks at."""
    return set(_thin(moments_ns))
