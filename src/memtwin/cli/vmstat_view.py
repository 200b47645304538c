"""Owns `memtwin vmstat`: procps' layouts over analysis/activity, and one of reclaim.

Imports analysis, observe and cli/view. Text rounds as procps 4.0.2 does; JSON and CSV do not round.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

from memtwin.analysis import activity as figures
from memtwin.analysis.activity import Activity, Moment, Reclaim
from memtwin.analysis.vmstat_eras import missing
from memtwin.cli.columns_text import figure
from memtwin.cli.procps_text import vmstat_size
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Look, Snapshot
from memtwin.errors import Absent, UserError
from memtwin.observe import meminfo, system, vmstat
from memtwin.observe.reading import Reading
from memtwin.observe.source import Tree
from memtwin.units import KIB, PAGE_SIZE

HZ = 100  # USER_HZ, the same on all of Linux's common machines: include/asm-generic/param.h, v6.12
LIVE_LINES = 500
# src/vmstat.c new_header(), new_format(), procps 4.0.2
_HEAD = "procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----"
_WIDE_HEAD = (
    "--procs-- -----------------------memory---------------------- ---swap-- -----io----"
    " -system-- ----------cpu----------"
)
_STAMP_HEAD = " -----timestamp-----"
_WIDTHS = (2, 2, 6, 6, 6, 6, 4, 4, 5, 5, 4, 4, 2, 2, 2, 2, 2)
_WIDE_WIDTHS = (4, 4, 12, 12, 12, 12, 4, 4, 5, 5, 4, 4, 3, 3, 3, 3, 3, 3)


class VmstatLayout(NamedTuple):
    """How lines are printed. `header_lines`: a head each so many lines, 0 for the first alone."""

    wide: bool = False
    active: bool = False
    stamp: bool = False
    skip_first: bool = False
    reclaim: bool = False
    unit_bytes: int = KIB
    header_lines: int = 21
    is_live: bool = False


def moment_of(reading: Reading) -> Moment:
    """What `reading` holds for a line. Raises UserError when one of its texts is not there."""
    stat = reading.record(system.STAT_PATH, system.parse_stat)
    info = reading.record(meminfo.PATH, meminfo.parse_meminfo)
    counters = reading.record(vmstat.PATH, vmstat.parse_vmstat)
    if stat is None or info is None or counters is None:
        raise UserError(f"vmstat: found no {reading.absent[0].what} ({reading.absent[0].why})")
    if "cpu" not in stat.rows:
        raise UserError(f"{system.STAT_PATH}: found no line cpu, which vmstat is made of")
    if info.mem_free_kib is None:
        raise UserError(f"{meminfo.PATH}: found no line MemFree, which vmstat is made of")
    if "pgpgin" not in counters.figures:
        raise UserError(f"{vmstat.PATH}: found no line pgpgin, which vmstat is made of")
    uptime = reading.optional(system.UPTIME_PATH, system.parse_uptime)
    return Moment(
        taken_s=time.time(),
        vmstat=counters.figures,
        stat=stat,
        meminfo=info,
        up_s=uptime.up_s if uptime else None,
    )


def look_at(root: Path, layout: VmstatLayout, delay_s: float) -> Look:
    """Looks that each know the one before."""
    return _Looks(source_at(root), str(root), layout, delay_s)


class _Looks:
    def __init__(self, source: Tree, root: str, layout: VmstatLayout, delay_s: float) -> None:
        self.source, self.root, self.layout, self.delay_s = source, root, layout, delay_s
        self.before: Moment | None = None
        self.debt = 0  # idle ticks that ran backwards
        self.lines: list[str] = []
        self.printed = 0

    def __call__(self) -> Snapshot:
        reading = Reading(self.source)
        now = moment_of(reading)
        before, self.before = self.before, now
        skipped = self.layout.skip_first and before is None
        absent = list(reading.absent)
        row: Activity | Reclaim
        if self.layout.reclaim:
            row, line = self._reclaim_line(before, now)
            if before is None:
                why = "not counted by this kernel"
                absent += [Absent(name, why) for name in missing(now.vmstat)]
        else:
            row = figures.activity(before, now)
            line = self._line(row, before, now)
        if before is None and now.up_s is None:
            absent.append(Absent("rates since boot", "no /proc/uptime"))
        return Snapshot(
            "vmstat.reclaim" if self.layout.reclaim else "vmstat",
            [] if skipped else [row],
            self._head() if skipped and not self.layout.is_live else self._with_head(line),
            absent=absent,
            root=self.root,
            taken_s=taken_s(self.source),
        )

    def _with_head(self, line: str) -> str:
        every = self.layout.header_lines
        head = self._head()
        if self.layout.is_live:
            self.lines = [*self.lines, line][-LIVE_LINES:]
            return head + "".join(reversed(self.lines))
        begins = self.printed == 0 or (every and self.printed % every == 0)
        if self.layout.skip_first and self.printed == 0:
            begins = False
        self.printed += 1
        return head + line if begins else line

    def _head(self) -> str:
        if self.layout.reclaim:
            return _RECLAIM_HEAD
        wide, active = self.layout.wide, self.layout.active
        names = ["r", "b", "swpd", "free"]
        names += ["inact", "active"] if active else ["buff", "cache"]
        names += ["si", "so", "bi", "bo", "in", "cs", "us", "sy", "id", "wa", "st"]
        names += ["gu"] if wide else []
        first, second = (_WIDE_HEAD if wide else _HEAD), _cells(names, self.layout)
        if self.layout.stamp:
            first += _STAMP_HEAD
            second += f" {time.strftime('%Z'):>{len(_STAMP_HEAD) - 1}}"
        return f"{first}\n{second}\n"

    def _line(self, row: Activity, before: Moment | None, now: Moment) -> str:
        unit = self.layout.unit_bytes
        memory = [row.swap_used_bytes, row.free_bytes]
        memory += (
            [row.inactive_bytes, row.active_bytes]
            if self.layout.active
            else [row.buffers_bytes, row.cache_bytes]
        )
        use, div = self._cpu(row.cpu_ticks)
        si, so = (
            vmstat_size(figures.delta(before, now, name) * PAGE_SIZE // KIB, unit)
            for name in ("pswpin", "pswpout")
        )
        amounts = [si, so, figures.delta(before, now, "pgpgin")]
        amounts += [figures.delta(before, now, "pgpgout")]
        amounts += [figures.stat_delta(before, now, name) for name in ("intr", "ctxt")]
        if before is None:  # src/vmstat.c: by all CPUs' ticks, so rates are those of one CPU
            rates = [(amount * HZ + div // 2) // div for amount in amounts]
        else:
            # procps divides by the delay asked for; on the live screen keys change that
            delay_s = now.taken_s - before.taken_s if self.layout.is_live else self.delay_s
            delay_s = max(delay_s, 0.001)
            rates = [int((amount + delay_s / 2) / delay_s) for amount in amounts]
        shares = [(100 * ticks + div // 2) // div for ticks in use]
        cells = [row.running, row.blocked]
        cells += [vmstat_size(size // KIB, unit) for size in memory]
        cells += [max(rate, 0) for rate in rates]
        cells += shares if self.layout.wide else shares[:5]
        line = _cells([str(cell) for cell in cells], self.layout)
        if self.layout.stamp:
            line += f" {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(row.taken_s))}"
        return f"{line}\n"

    def _cpu(self, ticks: dict[str, int]) -> tuple[list[int], int]:
        """Ticks of us, sy, id, wa, st and gu, and what they are shares of."""
        use = ticks["user"] + ticks["nice"]
        system_ticks = ticks["system"] + ticks["irq"] + ticks["softirq"]
        idle = ticks["idle"] + self.debt
        self.debt = min(idle, 0)
        idle = max(idle, 0)
        guest = ticks["guest"] + ticks["guest_nice"]
        div = use + system_ticks + idle + ticks["iowait"] + ticks["steal"]
        if div <= 0:
            div, idle = 1, 1
        use = max(use - guest, 0)
        return [use, system_ticks, idle, ticks["iowait"], ticks["steal"], guest], div

    def _reclaim_line(self, before: Moment | None, now: Moment) -> tuple[Reclaim, str]:
        row = figures.reclaim(before, now)
        cells = [
            row.scan_kswapd_pages, row.steal_kswapd_pages, _whole(row.efficiency_kswapd_percent),
            row.scan_direct_pages, row.steal_direct_pages, _whole(row.efficiency_direct_percent),
            _whole(row.direct_share_percent), row.allocstall, row.refault_anon_pages,
            row.refault_file_pages, row.activate_file_pages, row.restore_file_pages,
            row.swap_in_pages, row.swap_out_pages, row.major_faults, row.oom_kills,
        ]  # fmt: skip
        texts = [figure(cell).replace(",", "") for cell in cells]
        return row, " ".join(
            f"{text:>{width}}" for text, width in zip(texts, _RECLAIM_WIDTHS, strict=True)
        ) + "\n"


_RECLAIM_NAMES = (
    "scan", "steal", "eff", "scan", "steal", "eff", "dir%", "stall", "anon", "file", "activ",
    "restor", "in", "out", "majflt", "oom",
)  # fmt: skip
_RECLAIM_WIDTHS = (8, 8, 4, 8, 8, 4, 4, 6, 8, 8, 8, 8, 8, 8, 8, 4)
_RECLAIM_HEAD = (
    "------kswapd (pages)-- ------direct (pages)-- --waits--- "
    "-------refaults and workingset----- -------swap------ --events-----\n"
    + " ".join(f"{name:>{w}}" for name, w in zip(_RECLAIM_NAMES, _RECLAIM_WIDTHS, strict=True))
    + "\n"
)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _cells(texts: list[str], layout: VmstatLayout) -> str:
    widths = _WIDE_WIDTHS if layout.wide else _WIDTHS
    return " ".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=True))


def rows_of_terminal() -> int:
    """Lines from head to head: what the terminal holds less three, as vmstat counts them."""
    try:
        lines = os.get_terminal_size().lines
    except OSError:
        lines = 24
    return lines - 3 if lines > 3 else 22
