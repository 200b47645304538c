"""Owns `memtwin leak kernel`: what of the kernel's memory grew, and kmemleak's report.

Imports analysis/kernel_growth, observe and cli/leak_text.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from memtwin.analysis.kernel_growth import KernelGrowth, KernelLook, kernel_growth
from memtwin.cli import leak_report_view
from memtwin.cli.columns_text import Column, figure, table
from memtwin.cli.leak_scan_view import checked_seconds
from memtwin.cli.leak_text import notes_and_absent, per_hour, say, say_json, signed
from memtwin.cli.root import source_at
from memtwin.errors import Absent, UserError
from memtwin.observe import meminfo, slabinfo, system
from memtwin.observe.leak_reports.kmemleak import PATH, parse_kmemleak
from memtwin.observe.leak_reports.report import LeakReport
from memtwin.observe.reading import Reading
from memtwin.observe.source import Tree
from memtwin.units import format_size


class Looks(NamedTuple):
    """Which two looks are compared: `seconds` apart, or an earlier tree and this one."""

    seconds: float
    since: Path | None = None


def kernel(root: Path, looks: Looks, top: int, *, trigger: bool, as_json: bool) -> None:
    """Look twice, compare, and read kmemleak."""
    checked_seconds(looks.seconds, "--for")
    source = source_at(root)
    absent: list[Absent] = []
    if trigger:
        _trigger(root)
    if looks.since is None:
        before = _look(source, absent, time.time())
        time.sleep(looks.seconds)
        after = _look(source, absent, time.time())
    else:
        earlier = source_at(looks.since, "--since")
        before = _look(earlier, absent, _up_s(earlier, looks.since))
        after = _look(source, absent, _up_s(source, root))
        if after.taken_s < before.taken_s:
            raise UserError(
                f"--since: {looks.since} was up {before.taken_s:g} s, {root} {after.taken_s:g} s;"
                " allowed is an earlier moment of the same machine"
            )
    rows = kernel_growth(before, after)
    report = _kmemleak(source, absent)
    if as_json:
        say_json(
            {"schema": "memtwin.kernel_growth", "version": 1,
             "seconds": after.taken_s - before.taken_s, "rows": rows, "kmemleak": report,
             "absent": absent}
        )  # fmt: skip
        return
    say(_text(rows, after.taken_s - before.taken_s, top))
    if report is not None:
        say("\n")
        leak_report_view.show([report], top, as_json=False)
    say(notes_and_absent([], absent))


def _up_s(source: Tree, root: Path) -> float:
    """When a tree was taken, in seconds since its machine booted."""
    reading = Reading(source)
    uptime = reading.record(system.UPTIME_PATH, system.parse_uptime)
    if uptime is None:
        raise UserError(f"{root}: {system.UPTIME_PATH}: {reading.absent[0].why}")
    return uptime.up_s


def _look(source: Tree, absent: list[Absent], taken_s: float) -> KernelLook:
    reading = Reading(source)
    info = reading.record(meminfo.PATH, meminfo.parse_meminfo)
    slabs = reading.record(slabinfo.PATH, slabinfo.parse_slabinfo)
    absent += [one for one in reading.absent if one not in absent]
    if info is None:
        raise UserError(f"{meminfo.PATH}: {reading.absent[0].why}")
    return KernelLook(taken_s, info, slabs)


def _kmemleak(source: Tree, absent: list[Absent]) -> LeakReport | None:
    text = source.read(PATH)
    if text is None:
        reading = Reading(source)
        why = f"{reading.why(PATH)}; needed is a kernel with CONFIG_DEBUG_KMEMLEAK, debugfs, root"
        absent.append(Absent(PATH, why))
        return None
    return parse_kmemleak(text)


def _trigger(root: Path) -> None:
    path = root / PATH.lstrip("/")
    try:
        path.write_text("scan")
    except OSError as fault:
        raise UserError(f"--trigger: {path}: {fault.strerror}") from None


def _text(rows: list[KernelGrowth], seconds: float, top: int) -> str:
    grown = [row for row in rows if row.bytes_since > 0 or (row.objects_since or 0) > 0]
    if not grown:
        return f"in {seconds:.1f} s: no slab cache, vmalloc or page tables grew\n"
    columns = [Column("what", "<"), Column("now"), Column("since"), Column("rate"),
               Column("objects"), Column("since")]  # fmt: skip
    cells = [
        [
            row.name, format_size(row.bytes), signed(row.bytes_since), per_hour(row.bytes_per_s),
            figure(row.objects) if row.objects is not None else "",
            f"{row.objects_since:+,}" if row.objects_since is not None else "",
        ]
        for row in grown[:top]
    ]  # fmt: skip
    return f"in {seconds:.1f} s\n" + table(columns, cells)
