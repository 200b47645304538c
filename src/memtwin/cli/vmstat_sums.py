"""Owns the other modes of `memtwin vmstat`: sums, forks, disks, one partition, slab caches.

Imports analysis, observe and cli/view. Text is laid out as procps 4.0.2 has it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from memtwin.analysis import activity, free
from memtwin.analysis.slabs import SlabCache, caches_of
from memtwin.cli.procps_text import vmstat_size
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Look, Snapshot
from memtwin.cli.vmstat_view import VmstatLayout, moment_of
from memtwin.errors import UserError
from memtwin.observe import slabinfo, system
from memtwin.observe.reading import Reading
from memtwin.observe.source import printable
from memtwin.units import KIB

_SECTOR_HEAD = "{:<10} {:>10}  {:>16}  {:>10}  {:>16}\n"  # src/vmstat.c diskpartition_header()


class Sum(msgspec.Struct):
    """One line of `vmstat -s` or `-D`; the name carries the unit."""

    name: str
    figure: int


class Disk(msgspec.Struct, kw_only=True):
    """One block device since boot. Sectors are 512 bytes."""

    name: str
    is_disk: bool  # else a partition
    reads: int
    reads_merged: int
    sectors_read: int
    read_ms: int
    writes: int
    writes_merged: int
    sectors_written: int
    write_ms: int
    in_flight: int
    io_ms: int
    weighted_ms: int


def sums_at(root: Path, layout: VmstatLayout, letter: str) -> Look:
    """Looks of `vmstat -s`. `letter` names the unit of memory as -S has it."""

    def make(reading: Reading) -> Snapshot:
        moment = moment_of(reading)
        memory = free.memory_of(moment.meminfo)
        info, swap = moment.meminfo, free.swap_row(moment.meminfo)
        sizes = {
            "total memory": memory.total_kib,
            "used memory": memory.used_kib,
            "active memory": info.active_kib or 0,
            "inactive memory": info.inactive_kib or 0,
            "free memory": memory.free_kib,
            "buffer memory": memory.buffers_kib,
            "swap cache": memory.cached_kib + memory.reclaimable_kib,
            "total swap": swap.total_bytes // KIB,
            "used swap": swap.used_bytes // KIB,
            "free swap": swap.free_bytes // KIB,
        }
        counts = activity.sums(moment)
        lines = [
            f"{vmstat_size(size_kib, layout.unit_bytes):>13} {letter} {name}"
            for name, size_kib in sizes.items()
        ]
        words = [*_SUM_WORDS]
        lines += [f"{counts[name]:>13} {text}" for name, text in words]
        rows = [Sum(f"{name.replace(' ', '_')}_bytes", kib * KIB) for name, kib in sizes.items()]
        rows += [Sum(name, counts[name]) for name, _ in words]
        return _snapshot("vmstat.sums", rows, lines, reading)

    return _looks(root, make)


_SUM_WORDS = (  # src/vmstat.c sum_format(), procps 4.0.2
    ("user_ticks", "non-nice user cpu ticks"),
    ("nice_ticks", "nice user cpu ticks"),
    ("system_ticks", "system cpu ticks"),
    ("idle_ticks", "idle cpu ticks"),
    ("iowait_ticks", "IO-wait cpu ticks"),
    ("irq_ticks", "IRQ cpu ticks"),
    ("softirq_ticks", "softirq cpu ticks"),
    ("steal_ticks", "stolen cpu ticks"),
    ("guest_ticks", "non-nice guest cpu ticks"),
    ("guest_nice_ticks", "nice guest cpu ticks"),
    ("paged_in_kib", "K paged in"),
    ("paged_out_kib", "K paged out"),
    ("swapped_in_pages", "pages swapped in"),
    ("swapped_out_pages", "pages swapped out"),
    ("interrupts", "interrupts"),
    ("context_switches", "CPU context switches"),
    ("boot_time_s", "boot time"),
    ("forks", "forks"),
)


def forks_at(root: Path) -> Look:
    """Looks of `vmstat -f`."""

    def make(reading: Reading) -> Snapshot:
        stat = reading.record(system.STAT_PATH, system.parse_stat)
        if stat is None or "processes" not in stat.rows:
            raise UserError(f"{system.STAT_PATH}: found no line 'processes', which forks are")
        forks = stat.figure("processes")
        return _snapshot("vmstat.forks", [Sum("forks", forks)], [f"{forks:>13} forks"], reading)

    return _looks(root, make)


def slabs_at(root: Path, layout: VmstatLayout) -> Look:
    """Looks of `vmstat -m`."""
    head = f"{'Cache':<24} {'Num':>6} {'Total':>6} {'Size':>6} {'Pages':>6}"

    def make(reading: Reading) -> Snapshot:
        caches = sorted(slab_caches(reading), key=lambda one: one.name)
        lines = [
            f"{printable(one.name)[:24]:<24} {one.active_objs:>6} {one.objs:>6}"
            f" {one.obj_size_bytes:>6} {one.objs_per_slab:>6}"
            for one in caches
        ]
        return _snapshot("vmstat.slabs", caches, _headed(lines, head, layout), reading)

    return _looks(root, make)


def slab_caches(reading: Reading) -> list[SlabCache]:
    """The caches that /proc/slabinfo tells of. Raises UserError when it can't be read."""
    rows = reading.record(slabinfo.PATH, slabinfo.parse_slabinfo)
    if rows is None:
        why = reading.absent[-1].why
        hint = ", it is root's alone" if why == "Permission denied" else ""
        raise UserError(f"{slabinfo.PATH}: {why}{hint}")
    return caches_of(rows)


def _headed(lines: list[str], head: str, layout: VmstatLayout) -> list[str]:
    """`lines` with `head` before the first and each time a screen is full."""
    every = layout.header_lines
    if not every:
        return [head, *lines]
    parts = [lines[at : at + every] for at in range(0, len(lines), every)]
    return [line for part in parts for line in (head, *part)]


def disks_at(root: Path, layout: VmstatLayout) -> Look:
    """Looks of `vmstat -d`."""
    width, wide = (9, 11), layout.wide
    first = "disk- ------------reads------------ ------------writes----------- -----IO------"
    if wide:
        first = (
            "disk- -------------------reads------------------- "
            "-------------------writes------------------ ------IO-------"
        )
    count, sector = width if wide else (6, 7)
    last = 7 if wide else 6
    widths = (count, count, sector, sector, count, count, sector, sector, last, last)
    names = ["total", "merged", "sectors", "ms"] * 2 + ["cur", "sec"]
    second = f"{' ':>5} " + " ".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True))

    def make(reading: Reading) -> Snapshot:
        disks = disks_of(reading)
        stamp = time.strftime(" %Y-%m-%d %H:%M:%S") if layout.stamp else ""
        lines = []
        for one in disks:
            if one.is_disk:
                figures = (
                    one.reads, one.reads_merged, one.sectors_read, one.read_ms, one.writes,
                    one.writes_merged, one.sectors_written, one.write_ms,
                    one.in_flight // 1000, one.io_ms // 1000,
                )  # fmt: skip
                cells = " ".join(f"{n:>{w}}" for n, w in zip(figures, widths, strict=True))
                lines.append(f"{one.name:<5} {cells}{stamp}")
        zone = f" {time.strftime('%Z'):>{len(_STAMP) - 1}}" if layout.stamp else ""
        head = f"{first}{_STAMP if layout.stamp else ''}\n{second}{zone}"
        return _snapshot("vmstat.disks", disks, _headed(lines, head, layout), reading)

    return _looks(root, make)


_STAMP = " -----timestamp-----"


def disk_sums_at(root: Path) -> Look:
    """Looks of `vmstat -D`."""

    def make(reading: Reading) -> Snapshot:
        disks = disks_of(reading)
        whole = [one for one in disks if one.is_disk]
        rows = [Sum("disks", len(whole)), Sum("partitions", len(disks) - len(whole))]
        words = ["disks", "partitions"]
        for field, text in _DISK_WORDS:
            figures = [getattr(one, field) for one in whole]
            rows.append(Sum(field, sum(figures)))
            words.append(text)
        by_thousand = ("in_flight", "io_ms", "weighted_ms")  # src/vmstat.c disksum_format()
        lines = []
        for row, text in zip(rows, words, strict=True):
            shown = row.figure
            if row.name in by_thousand:
                shown = sum(getattr(one, row.name) // 1000 for one in whole)
            lines.append(f"{shown:>13} {text}")
        return _snapshot("vmstat.disk_sums", rows, lines, reading)

    return _looks(root, make)


_DISK_WORDS = (
    ("reads", "total reads"),
    ("reads_merged", "merged reads"),
    ("sectors_read", "read sectors"),
    ("read_ms", "milli reading"),
    ("writes", "writes"),
    ("writes_merged", "merged writes"),
    ("sectors_written", "written sectors"),
    ("write_ms", "milli writing"),
    ("in_flight", "inprogress IO"),
    ("io_ms", "milli spent IO"),
    ("weighted_ms", "milli weighted IO"),
)


def partition_at(root: Path, name: str) -> Look:
    """Looks of `vmstat -p NAME`."""
    name = name.removeprefix("/dev/")
    first = True

    def make(reading: Reading) -> Snapshot:
        nonlocal first
        found = [one for one in disks_of(reading) if one.name == name]
        if not found:
            known = ", ".join(one.name for one in disks_of(reading)) or "none"
            raise UserError(f"--partition: found {name!r}, allowed is one of {known}")
        one = found[0]
        line = (
            f"{one.reads:>21}  {one.sectors_read:>16}  {one.writes:>10}  {one.sectors_written:>16}"
        )
        head = _SECTOR_HEAD.format(name, "reads", "read sectors", "writes", "requested writes")
        lines = [head.rstrip("\n"), line] if first else [line]
        first = False
        return _snapshot("vmstat.partition", [one], lines, reading)

    return _looks(root, make)


def disks_of(reading: Reading) -> list[Disk]:
    """The block devices; a device is a disk when /sys/block has it, or has no names at all."""
    rows = reading.record(system.DISKSTATS_PATH, system.parse_diskstats)
    if rows is None:
        raise UserError(f"{system.DISKSTATS_PATH}: {reading.absent[-1].why}")
    blocks = set(reading.names("/sys/block"))
    fields = Disk.__struct_fields__[2:]
    return [
        Disk(
            name=printable(row.name),
            is_disk=not blocks or row.name in blocks,
            **{field: getattr(row, field) for field in fields},
        )
        for row in rows
    ]


def _looks(root: Path, make: Callable[[Reading], Snapshot]) -> Look:
    source = source_at(root)

    def look() -> Snapshot:
        return make(Reading(source))._replace(root=str(root), taken_s=taken_s(source))

    return look


def _snapshot(
    name: str, rows: list[Sum] | list[Disk] | list[SlabCache], lines: list[str], reading: Reading
) -> Snapshot:
    return Snapshot(name, rows, "".join(f"{line}\n" for line in lines), absent=reading.absent)
