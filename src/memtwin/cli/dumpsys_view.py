"""Owns `memtwin dumpsys-meminfo`: an app's heaps, and a whole phone's memory.

Imports cli/view, cli/maps_view, cli/android_view, analysis/android_memory, android_machine and
observe's readers. Sums nothing itself. Layouts are those of Android 15.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from memtwin.analysis import android_machine
from memtwin.analysis.android_machine import OomGroup, PhoneProcess, PhoneRam
from memtwin.analysis.android_memory import (
    DALVIK_HEAP,
    DETAILS,
    NATIVE_HEAP,
    UNKNOWN,
    AppSummary,
    CategoryRow,
    HeapTable,
    heaps_of,
    summary_of,
)
from memtwin.cli.android_view import argument_zero, read_meminfo, zram_used_bytes
from memtwin.cli.columns_text import DASH
from memtwin.cli.maps_view import read_areas
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Absent, Look, Snapshot
from memtwin.errors import UserError
from memtwin.observe.kernel_mm import read_ksm
from memtwin.observe.processes.record import Origin, Process
from memtwin.observe.processes.scan import Part, ProcessScan
from memtwin.observe.reading import Reading
from memtwin.observe.source import ReasonedTree, printable
from memtwin.units import PAGE_SIZE

_HEADER = "Applications Memory Usage (in Kilobytes):"
_NO_HEAP = Absent("Heap Size, Alloc and Free", "only the process itself knows them")
_NO_OBJECTS = Absent("Objects, SQL, DATABASES", "only the process itself counts them")
_NO_MTRACK = Absent("EGL, GL and Other mtrack", "the graphics driver's service tells them")
_NO_UPTIME = Absent("Uptime", "the clock that stands still in deep sleep is in no file")
_NO_STATUS = Absent("status of Total RAM", "a state of the activity manager")
_NO_DMABUF = Absent("DMA-BUF, GPU and Kernel CMA", "told by their drivers; they are in Lost RAM")
_NO_TUNING = Absent("Tuning", "system properties, not files")
_NO_ACTIVITIES = Absent('"/ activities"', "a state of the activity manager")
# what is shown of each heap: plain, and with -a
_COLUMNS = (
    ("Pss", "Total", "pss_kib"), ("Private", "Dirty", "private_dirty_kib"),
    ("Private", "Clean", "private_clean_kib"), ("Swap", "Dirty", "swap_kib"),
    ("Rss", "Total", "rss_kib"),
)  # fmt: skip
_ALL_COLUMNS = (
    ("Pss", "Total", "pss_kib"), ("Pss", "Clean", "pss_clean_kib"),
    ("Shared", "Dirty", "shared_dirty_kib"), ("Private", "Dirty", "private_dirty_kib"),
    ("Shared", "Clean", "shared_clean_kib"), ("Private", "Clean", "private_clean_kib"),
    ("Swap", "Dirty", "swap_kib"), ("Rss", "Total", "rss_kib"),
)  # fmt: skip
_HEAP_HEADS = (("Heap", "Size"), ("Heap", "Alloc"), ("Heap", "Free"))


class Detail(enum.Flag):
    """What is shown beyond the usual."""

    USUAL = 0
    ALL_COLUMNS = enum.auto()
    DALVIK = enum.auto()
    SUMMARY_ONLY = enum.auto()
    SWAP_PSS = enum.auto()
    OOM_ONLY = enum.auto()


class MachineRow(msgspec.Struct):
    """One process, importance or category of a phone. `adj`: None for a native process."""

    by: str  # "process", "oom adjustment" or "category"
    name: str
    pid: int | None
    adj: int | None
    pss_kib: int
    swap_pss_kib: int
    rss_kib: int


class Line(NamedTuple):
    """A line of the machine's lists, and what stands below it."""

    name: str
    sums: CategoryRow
    below: tuple[Line, ...] = ()
    user: str = ""


def app_look(root: Path, pid: int, detail: Detail) -> Look:
    """How to look at the heaps of `pid` as `dumpsys meminfo PID` does."""
    source = source_at(root)

    def look() -> Snapshot:
        read = read_areas(source, pid)
        table = heaps_of(read.text.areas)
        name = argument_zero(source.read_bytes(f"/proc/{pid}/cmdline")) or "?"
        summary = summary_of(table)
        text = _header(source) + f"\n** MEMINFO in pid {pid} [{printable(name)}] **\n"
        if Detail.SUMMARY_ONLY not in detail:
            text += _heap_text(table, detail)
        text += _summary_text(summary, table)
        rows = [*table.rows, *table.details.values()]
        totals = msgspec.to_builtins(summary)
        absent = [*read.absent, _NO_UPTIME, _NO_HEAP, _NO_MTRACK, _NO_OBJECTS]
        return Snapshot(
            "dumpsys-meminfo", rows, text, totals, absent, [], str(root), taken_s(source), version=2
        )

    return look


def _header(source: ReasonedTree) -> str:
    """dumpApplicationMemoryUsageHeader(): milliseconds since boot, of two clocks."""
    words = (source.read("/proc/uptime") or "").split()
    try:
        realtime = str(round(float(words[0]) * 1000))
    except (IndexError, ValueError, OverflowError):
        realtime = DASH
    return f"{_HEADER}\nUptime: {DASH} Realtime: {realtime}\n"


def _heap_text(table: HeapTable, detail: Detail) -> str:
    """ActivityThread.java dumpMemInfoTable(), HEAP_COLUMN and HEAP_FULL_COLUMN."""
    columns = _ALL_COLUMNS if Detail.ALL_COLUMNS in detail else _COLUMNS
    swap = ("SwapPss", "swap_pss_kib") if table.has_swap_pss else ("Swap", "swap_kib")
    heads = [(swap[0] if top == "Swap" else top, low) for top, low, _ in columns]
    fields = [swap[1] if field == "swap_kib" else field for _, _, field in columns]
    blank = [""] * len(_HEAP_HEADS)
    lines = [_row("", [head[n] for head in (*heads, *_HEAP_HEADS)]) for n in (0, 1)]
    lines.append(_row("", ["------"] * (len(heads) + len(_HEAP_HEADS))))
    for row in [*table.rows, table.total]:
        # its own figures of these three lines are in no file
        own = [DASH] * 3 if row.name in (NATIVE_HEAP, DALVIK_HEAP, "TOTAL") else blank
        if own is not blank or row.name == UNKNOWN or not row.is_empty():
            lines.append(_row(row.name, [*_cells(row, fields), *own]))
    if Detail.DALVIK in detail:
        lines += [" ", " Dalvik Details"]
        for row in table.details.values():
            if not row.is_empty():
                lines.append(_row(row.name, [*_cells(row, fields), *blank]))
    return "".join(f"{line}\n" for line in lines)


def _cells(row: CategoryRow, fields: Sequence[str]) -> list[str]:
    return [str(getattr(row, field)) for field in fields]


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:>13}" + "".join(f" {cell:>8}" for cell in cells)


def _summary_text(summary: AppSummary, table: HeapTable) -> str:
    """ActivityThread.java dumpMemInfoTable(), TWO_COUNT_COLUMNS and its siblings."""
    lines = [" ", " App Summary"]
    for heads in (("Pss(KB)", "Rss(KB)"), ("------", "------")):
        lines.append(f"{'':>21} {heads[0]:>8} {'':>21} {heads[1]:>8}")
    for name in dict.fromkeys([*summary.pss_kib, *summary.rss_kib]):
        line = f"{name + ':':>21} {summary.pss_kib.get(name, ''):>8}"
        if name in summary.rss_kib:
            line += f" {'':>21} {summary.rss_kib[name]:>8}"
        lines.append(line)
    swap = ("TOTAL SWAP (KB):", summary.total_swap_kib)
    if table.has_swap_pss:
        swap = ("TOTAL SWAP PSS:", summary.total_swap_pss_kib)
    lines.append(" ")
    lines.append(
        f"{'TOTAL PSS:':>21} {summary.total_pss_kib:>8} {'TOTAL RSS:':>21}"
        f" {summary.total_rss_kib:>8} {swap[0]:>21} {swap[1]:>8}"
    )
    return "".join(f"{line}\n" for line in lines)


def machine_look(root: Path, detail: Detail) -> Look:
    """How to look at a whole phone as `dumpsys meminfo` does."""
    source = source_at(root)
    scan = ProcessScan(source, Part.STAT | Part.OOM | Part.USER)

    def look() -> Snapshot:
        processes, found = _phone_processes(scan, source)
        if not found:
            raise UserError(f"--root: found no processes in {root}/proc")
        groups = android_machine.oom_groups(processes)
        info, zram = read_meminfo(source), zram_used_bytes(source)
        ram = None if info is None else android_machine.ram_of(processes, info, zram)
        text = _header(source) + "\n" + _lists_text(processes, groups, detail)
        absent = [_NO_UPTIME, _NO_MTRACK, _NO_ACTIVITIES]
        if ram is None:
            absent.append(Absent("Total, Free, Used and Lost RAM", source.why_not("/proc/meminfo")))
        else:
            text += "\n" + _ram_text(ram, source, detail)
            absent += [_NO_STATUS, _NO_DMABUF, _NO_TUNING]
        rows = _machine_rows(processes, groups)
        notes = [f"{len(processes)} of {found} processes readable"]
        if not any(one.adj is not None for one in processes):
            notes.append("found no child of a zygote: every process counts as native")
        totals = {} if ram is None else msgspec.structs.asdict(ram)
        return Snapshot(
            "dumpsys-meminfo-machine", rows, text, totals, absent, notes, str(root), taken_s(source)
        )

    return look


def _phone_processes(scan: ProcessScan, source: ReasonedTree) -> tuple[list[PhoneProcess], int]:
    """The processes whose mappings could be read, and how many have memory."""
    scan.missed.clear()
    found = [one for pid in scan.pids() if (one := scan.cheap(pid)) is not None]
    found = [one for one in found if one.origin is not Origin.NO_MEMORY]
    names = {one.pid: _name(one, source) for one in found}
    apps = android_machine.managed(names, {one.pid: one.ppid for one in found})
    processes = []
    for one in found:
        areas = scan.areas(one)
        if areas is not None:
            adj = one.oom_score_adj if one.pid in apps else None
            table = heaps_of(areas)
            processes.append(PhoneProcess(one.pid, one.ppid, names[one.pid], one.uid, adj, table))
    return processes, len(found)


def _name(process: Process, source: ReasonedTree) -> str:
    """What a process is called (ProcessCpuTracker.java getName(), Android 15)."""
    name = argument_zero(source.read_bytes(f"/proc/{process.pid}/cmdline"))
    if len(name) < 2:
        return process.comm
    last = name.rpartition("/")[2]
    # the activity manager calls its own process by its package's process name
    return {"system_server": "system"}.get(last, last) or name


def _lists_text(
    processes: Sequence[PhoneProcess], groups: Sequence[OomGroup], detail: Detail
) -> str:
    by_process = [_process_line(one) for one in processes]
    by_oom = [
        Line(group.name, group.sums, tuple(map(_process_line, group.processes))) for group in groups
    ]
    table = android_machine.categories(processes)
    by_category = [Line(row.name, row, _parts(row, table, detail)) for row in table.rows]
    has_swap = any(one.table.has_swap_pss for one in processes)
    swap = Detail.SWAP_PSS in detail and has_swap
    text = ""
    for field in ("rss_kib", "pss_kib"):
        what = field[:3].upper()
        with_swap = swap and field == "pss_kib"
        if Detail.OOM_ONLY not in detail:
            text += f"\nTotal {what} by process:\n"
            text += _items(_sorted(by_process, field), field, "  ", with_swap=with_swap) + "\n"
        text += f"Total {what} by OOM adjustment:\n"
        text += _items(by_oom, field, "  ", with_swap=with_swap)
        if Detail.OOM_ONLY not in detail:
            text += f"\nTotal {what} by category:\n"
            text += _items(_sorted(by_category, field), field, "  ", with_swap=with_swap)
    return text


def _process_line(process: PhoneProcess) -> Line:
    user = f" (user {process.user})" if process.user else ""
    name = f"{printable(process.name)} (pid {process.pid})"
    return Line(name, process.table.total, (), user)


def _parts(row: CategoryRow, table: HeapTable, detail: Detail) -> tuple[Line, ...]:
    if Detail.DALVIK not in detail:
        return ()
    whole = {value: key for key, value in android_machine.CATEGORY_NAMES.items()}
    heap = whole.get(row.name, row.name)
    return tuple(Line(name, part) for name, part in table.details.items() if DETAILS[name] == heap)


def _sorted(lines: Sequence[Line], field: str) -> list[Line]:
    return sorted(lines, key=lambda line: -getattr(line.sums, field))


def _items(lines: Sequence[Line], field: str, prefix: str, *, with_swap: bool) -> str:
    """ActivityManagerService.java dumpMemItems()."""
    text = ""
    for line in lines:
        name = f"{line.name}{line.user}"
        if with_swap:
            name = f"{line.name:<60}{line.user}({_kb(line.sums.swap_pss_kib)} in swap)"
        text += f"{prefix}{_kb(getattr(line.sums, field))}: {name}\n"
        below = _sorted(line.below, field)
        text += _items(below, field, prefix + "    ", with_swap=with_swap)
    return text


def _kb(kib: int | None) -> str:
    """stringifyKBSize(): thousands apart, nine wide."""
    return f"{DASH:>10}" if kib is None else f"{kib:>9,}K"


def _ram_text(ram: PhoneRam, source: ReasonedTree, detail: Detail) -> str:
    """The last lines of ActivityManagerService.java dumpApplicationMemoryUsage()."""
    free = _sum(ram.cached_pss_kib, ram.cached_kernel_kib, ram.free_kib)
    lines = [
        f"Total RAM: {_kb(ram.total_kib)} (status {DASH})",
        f" Free RAM: {_kb(free)} ({_kb(ram.cached_pss_kib)} cached pss + "
        f"{_kb(ram.cached_kernel_kib)} cached kernel + {_kb(ram.free_kib)} free)",
        f" Used RAM: {_kb(_sum(ram.used_pss_kib, ram.kernel_kib))} ({_kb(ram.used_pss_kib)} used"
        f" pss + {_kb(ram.kernel_kib)} kernel)",
        f" Lost RAM: {_kb(ram.lost_kib)}",
    ]
    if ram.zram_kib:
        lines.append(
            f"     ZRAM: {_kb(ram.zram_kib)} physical used for {_kb(ram.swap_used_kib)} in swap"
            f" ({_kb(ram.swap_total_kib)} total swap)"
        )
    ksm = read_ksm(Reading(source))
    pages = (ksm.pages_sharing, ksm.pages_shared, ksm.pages_unshared, ksm.pages_volatile)
    if any(pages):
        # the first two and the last two stand in one line, as they are printed there
        kib = [(count or 0) * PAGE_SIZE // 1024 for count in pages]
        lines.append(
            f"      KSM: {_kb(kib[0])} saved from shared {_kb(kib[1])}           {_kb(kib[2])}"
            f" unshared; {_kb(kib[3])} volatile"
        )
    return "".join(f"{line}\n" for line in lines)


def _sum(*figures: int | None) -> int | None:
    found = [one for one in figures if one is not None]
    return sum(found) if len(found) == len(figures) else None


def _machine_rows(
    processes: Sequence[PhoneProcess], groups: Sequence[OomGroup]
) -> list[MachineRow]:
    least = {name: adj for adj, name in android_machine.OOM_GROUPS}
    rows = [
        _machine_row("process", one.name, one.table.total, one.pid, one.adj) for one in processes
    ]
    rows += [
        _machine_row("oom adjustment", group.name, group.sums, None, least[group.name])
        for group in groups
    ]
    categories = android_machine.categories(processes)
    rows += [_machine_row("category", row.name, row, None, None) for row in categories.rows]
    return rows


def _machine_row(
    by: str, name: str, sums: CategoryRow, pid: int | None, adj: int | None
) -> MachineRow:
    return MachineRow(by, name, pid, adj, sums.pss_kib, sums.swap_pss_kib, sums.rss_kib)
