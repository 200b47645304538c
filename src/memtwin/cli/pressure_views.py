"""Owns the views `pressure`, `dirty`, `zram` and `cgroups`.

Imports analysis, observe and cli/view. Each is a function that gives looks at a root.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from memtwin.analysis import cgroup_rows, stalls
from memtwin.analysis.cgroup_rows import CgroupRow
from memtwin.analysis.compressed import ZramGain, gain_of
from memtwin.analysis.dirty_limits import dirty_limits, drift_percent
from memtwin.analysis.stalls import Stall, key_of, stalls_of
from memtwin.cli.columns_text import DASH, Column, figure, size, table
from memtwin.cli.memory_views import looks, needed
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Look, Snapshot, SortableLook
from memtwin.observe import bdi, swaps, system, vm_sysctl, vmstat, zoneinfo, zram
from memtwin.observe.cgroup_tree import MOST_CGROUPS, MOST_DEPTH, CgroupTree, read_cgroup_tree
from memtwin.observe.reading import NO_FILE, Reading
from memtwin.observe.source import printable
from memtwin.units import KIB, PAGE_SIZE

DRIFT_PERCENT = 2  # MODEL: what free pages move by while the texts are read
_RESOURCES = ("cpu", "memory", "io", "irq")


def pressure_at(root: Path, *, by_cgroup: bool) -> Look:
    """Looks at the pressure files; each look after the first has the share since the one before."""
    source = source_at(root)
    before: dict[stalls.Key, int] = {}
    before_s = 0.0

    def look() -> Snapshot:
        nonlocal before, before_s
        reading = Reading(source)
        now_s = time.monotonic()
        rows = _system_stalls(reading)
        if by_cgroup:
            tree = read_cgroup_tree(reading)
            for one in tree.cgroups if tree else ():
                rows += stalls_of(one.pressure, printable(one.path))
        stalls.since(rows, before, now_s - before_s)
        before, before_s = {key_of(row): row.total_us for row in rows}, now_s
        return Snapshot(
            "pressure", rows, _pressure_text(rows, by_cgroup=by_cgroup), absent=reading.absent,
            root=str(root), taken_s=taken_s(source),
        )  # fmt: skip

    return look


def _system_stalls(reading: Reading) -> list[Stall]:
    found = {}
    for resource in _RESOURCES:
        path = f"/proc/pressure/{resource}"
        pressure = reading.optional(path, system.parse_pressure)
        if pressure is not None:
            found[resource] = pressure
        elif resource != "irq" and reading.why(path) == NO_FILE:
            reading.tell(path, "no such file: a kernel without PSI (before 4.20, or not built in)")
    if any(one.why.startswith("Operation not supported") for one in reading.absent):
        reading.tell(
            "pressure", "PSI is disabled on this kernel; psi=1 on its command line enables"
        )
    return stalls_of(found)


def _pressure_text(rows: Sequence[Stall], *, by_cgroup: bool) -> str:
    heads = [Column("cgroup", "<")] if by_cgroup else []
    heads += [Column("resource", "<"), Column("tasks", "<"), Column("now"), Column("10 s")]
    heads += [Column("60 s"), Column("300 s"), Column("total")]
    cells = []
    for row in rows:
        now = DASH if row.now_percent is None else f"{row.now_percent:.2f} %"
        line = [row.cgroup or "(machine)"] if by_cgroup else []
        averages = (row.avg10_percent, row.avg60_percent, row.avg300_percent)
        line += [row.resource, row.tasks, now, *(f"{one:.2f} %" for one in averages)]
        cells.append([*line, f"{row.total_us / 1e6:,.3f} s"])
    return table(heads, cells)


class DirtyRow(msgspec.Struct, kw_only=True):
    """The machine, a backing device or a cgroup: what is dirty, and what may be."""

    where: str  # machine, bdi or cgroup
    name: str
    dirty_bytes: int | None
    writeback_bytes: int | None
    background_bytes: int | None = None
    limit_bytes: int | None = None
    write_bandwidth_bytes_per_s: int | None = None


def dirty_at(root: Path) -> Look:
    """Looks at dirty memory, its limits as the kernel computes them, and its settings."""

    def make(reading: Reading) -> Snapshot:
        counters = reading.record(vmstat.PATH, vmstat.parse_vmstat)
        if counters is None:
            raise needed(vmstat.PATH, reading, counters)
        vm = counters.figures
        info = reading.record(zoneinfo.PATH, zoneinfo.parse_zoneinfo)
        settings = vm_sysctl.read_dirty_settings(reading)
        machine = DirtyRow(
            where="machine", name="", dirty_bytes=_pages(vm, "nr_dirty"),
            writeback_bytes=_pages(vm, "nr_writeback"),
        )  # fmt: skip
        totals: dict[str, object] = {"settings": settings}
        notes = []
        if info is not None:
            limits = dirty_limits(vm, info, settings)
            machine.background_bytes = limits.background_pages * PAGE_SIZE
            machine.limit_bytes = limits.limit_pages * PAGE_SIZE
            kernels = vm.get("nr_dirty_threshold")
            kernels_background = vm.get("nr_dirty_background_threshold")
            totals |= {
                "limits": limits,
                "kernel_limit_pages": kernels,
                "kernel_background_pages": kernels_background,
                "drift_percent": drift_percent(limits.limit_pages, kernels),
            }
            notes += [
                f"background: {limits.background_by}; limit: {limits.limit_by}"
                f" ({size(limits.dirtyable_pages * PAGE_SIZE)})",
                _held_against(limits.background_pages, kernels_background, "background"),
                _held_against(limits.limit_pages, kernels, "limit"),
            ]
        notes += _periods(settings)
        rows = [machine, *_bdi_rows(reading), *_cgroup_rows(reading)]
        return Snapshot("dirty", rows, _dirty_text(rows), totals=totals, notes=notes)

    return looks(root, make)


def _pages(vm: dict[str, int], name: str) -> int | None:
    return vm[name] * PAGE_SIZE if name in vm else None


def _held_against(ours: int, kernels: int | None, what: str) -> str:
    if kernels is None:
        return f"{what}: {ours} pages computed; this kernel prints none of its own"
    apart = ours - kernels
    words = "equal"
    if apart:
        near = abs(apart) <= DRIFT_PERCENT / 100 * kernels
        why = "free pages moved between the texts" if near else "more than the texts explain"
        words = f"{apart:+} pages: {why}"
    return f"{what}: {ours} pages computed, the kernel's own {kernels} ({words})"


def _periods(settings: vm_sysctl.DirtySysctl) -> list[str]:
    expire, period = settings.expire_centisecs, settings.writeback_centisecs
    found = []
    if expire is not None:
        found.append(f"a page dirty for {expire / 100:g} s is written at the next round")
    if period is not None:
        often = f"each {period / 100:g} s" if period else "never by time alone"
        found.append(f"rounds of the flusher threads: {often}")
    return found


def _bdi_rows(reading: Reading) -> list[DirtyRow]:
    def size_of(kib: int | None) -> int | None:
        return None if kib is None else kib * KIB

    return [
        DirtyRow(
            where="bdi",
            name=printable(one.device),
            dirty_bytes=size_of(one.reclaimable_kib),
            writeback_bytes=size_of(one.writeback_kib),
            limit_bytes=size_of(one.dirty_thresh_kib),
            write_bandwidth_bytes_per_s=size_of(one.write_bandwidth_kib_per_s),
        )
        for one in bdi.read_bdis(reading)
    ]


def _cgroup_rows(reading: Reading) -> list[DirtyRow]:
    tree = read_cgroup_tree(reading)
    rows = cgroup_rows.rows_of(tree, "dirty") if tree else []
    return [
        DirtyRow(
            where="cgroup",
            name=row.path,
            dirty_bytes=row.dirty_bytes,
            writeback_bytes=row.writeback_bytes,
        )
        for row in rows
        if row.dirty_bytes or row.writeback_bytes
    ]


def _dirty_text(rows: Sequence[DirtyRow]) -> str:
    heads = [Column("where", "<"), Column("name", "<"), Column("dirty"), Column("writeback")]
    heads += [Column("background"), Column("limit"), Column("written at")]
    cells = []
    for row in rows:
        speed = row.write_bandwidth_bytes_per_s
        sizes = (row.dirty_bytes, row.writeback_bytes, row.background_bytes, row.limit_bytes)
        cells.append(
            [row.where, row.name, *map(size, sizes), DASH if speed is None else f"{size(speed)}/s"]
        )
    return table(heads, cells)


_ZRAM_HEADS = (
    Column("device", "<"), Column("alg", "<"), Column("disksize"), Column("data"),
    Column("compressed"), Column("memory"), Column("limit"), Column("ratio"), Column("effective"),
    Column("saved"), Column("same"), Column("huge"), Column("swap used"), Column("on disk"),
)  # fmt: skip


def zram_at(root: Path) -> Look:
    """Looks at each zram device: what it holds, what that takes, what it gains."""

    def make(reading: Reading) -> Snapshot:
        areas = reading.optional(swaps.PATH, swaps.parse_swaps) or []
        names = zram.zram_names(reading)
        rows = [gain_of(zram.read_zram(reading, name), areas) for name in names]
        totals = {
            field: sum(getattr(row, field) or 0 for row in rows)
            for field in ("data_bytes", "compressed_bytes", "memory_bytes", "saved_bytes")
        }
        notes = [] if rows else ["no zram device"]
        notes += [_advice(row) for row in rows if row.data_bytes]
        text = table(_ZRAM_HEADS, map(_zram_cells, rows)) if rows else ""
        return Snapshot("zram", rows, text, totals=totals, notes=notes)

    return looks(root, make)


def _zram_cells(row: ZramGain) -> list[str]:
    return [
        row.name, row.algorithm or DASH, size(row.disksize_bytes), size(row.data_bytes),
        size(row.compressed_bytes), size(row.memory_bytes), size(row.memory_limit_bytes),
        _ratio(row.ratio), _ratio(row.effective_ratio), signed_size(row.saved_bytes),
        size(row.same_filled_bytes), size(row.incompressible_bytes), size(row.swap_used_bytes),
        size(row.disk_swap_bytes),
    ]  # fmt: skip


def _ratio(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


def signed_size(size_bytes: int | None) -> str:
    """`size_bytes` as people write it, below 0 too."""
    if size_bytes is None or size_bytes >= 0:
        return size(size_bytes)
    return f"-{size(-size_bytes)}"


def _advice(row: ZramGain) -> str:
    assert row.memory_bytes is not None
    gained = f"{row.name} keeps {size(row.data_bytes)} in {size(row.memory_bytes)} of memory"
    on_disk = f"on a disk the same pages would take {size(row.disk_swap_bytes)} and no memory"
    return f"{gained}, so {signed_size(row.saved_bytes)} are gained; {on_disk}"


_CGROUP_HEADS = (
    Column("current"), Column("anon"), Column("file"), Column("kernel"), Column("swap"),
    Column("max"), Column("used"), Column("oom"), Column("stalled"), Column("procs"),
    Column("cgroup", "<"),
)  # fmt: skip


def cgroups_at(root: Path, sort: str, depth: int | None, most: int | None) -> Look:
    """Looks at the cgroups with memory, as a tree or most of `sort` first."""

    source = source_at(root)

    def look(sort: str) -> Snapshot:
        reading = Reading(source)
        tree = read_cgroup_tree(reading, MOST_DEPTH if depth is None else depth)
        rows = cgroup_rows.rows_of(tree, sort) if tree else []
        notes = _cgroup_notes(tree)
        totals = {"cgroups": len(rows), "version": tree.version if tree else None}
        shown = rows[:most]
        if len(shown) < len(rows):
            notes.append(f"{len(shown)} of {len(rows)} cgroups shown")
        text = table(_CGROUP_HEADS, [_cgroup_cells(row, sort) for row in shown]) if rows else ""
        return Snapshot(
            "cgroups", shown, text, totals, reading.absent, notes, str(root), taken_s(source)
        )

    return SortableLook(look, _CGROUP_KEYS, sort)


_CGROUP_KEYS = {
    "t": "path", "c": "current", "a": "anon", "f": "file", "k": "kernel", "s": "swap",
    "u": "used", "d": "dirty", "p": "pressure", "o": "oom",
}  # fmt: skip


def _cgroup_notes(tree: CgroupTree | None) -> list[str]:
    if tree is None:
        return []
    notes = [f"cgroup v{tree.version} at {printable(tree.mount_point)}"]
    if tree.truncated:
        notes.append(f"cut at {MOST_CGROUPS} cgroups and {MOST_DEPTH} levels")
    return notes


def _cgroup_cells(row: CgroupRow, sort: str) -> list[str]:
    stalled, used = row.pressure_some_avg10_percent, row.used_of_max_percent
    name = row.path
    if sort == "path" and row.depth:
        name = "  " * row.depth + row.path.rpartition("/")[2]
    sizes = (
        row.current_bytes, row.anon_bytes, row.file_bytes, row.kernel_bytes, row.swap_bytes,
        row.max_bytes,
    )  # fmt: skip
    return [
        *map(size, sizes), DASH if used is None else f"{used:.0f} %", figure(row.oom_kills),
        DASH if stalled is None else f"{stalled:.2f} %", figure(row.processes), name,
    ]  # fmt: skip
