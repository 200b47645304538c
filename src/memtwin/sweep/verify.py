"""Owns a verification: the real command under each predicted limit, both sides in one report.

Imports errors, analysis, sweep.host and sweep.measure. Does not predict: the curve comes ready.
Leaves the host as it was on every way out (see `sweep/guardian.py`).
"""

from __future__ import annotations

import enum
import itertools
import os
import platform
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from memtwin.analysis.results import (
    MeasuredRun,
    SizingCurve,
    Verdict,
    VerifiedPoint,
    VerifyReport,
)
from memtwin.analysis.sizing import chance_percent, compare, summarize, verdicts_agree
from memtwin.errors import UserError
from memtwin.sweep.host import (
    HostChanges,
    active_swap_kib,
    find_memory_controller,
    make_group,
    require_root,
)
from memtwin.sweep.measure import CommandFiles, RealCommand, run_limited
from memtwin.units import GIB, MIB, format_size

ZRAM_LEAST_BYTES, ZRAM_MOST_BYTES = MIB, 64 * GIB
SPREAD_WORTH_SAYING_PERCENT = 5.0

Progress = Callable[[int, int, str], None]  # done, of how many, what runs next


class SwapSource(enum.StrEnum):
    """Where the group's anonymous pages go."""

    HOST = "host"  # what is switched on already
    ZRAM = "zram"  # a device of our own, first in priority
    NONE = "none"  # nowhere


@dataclass(frozen=True)
class Terms:
    """How to verify: the swap, how often each limit is run, how long to wait for one run."""

    swap: SwapSource = SwapSource.HOST
    zram_bytes: int = 0
    runs: int = 3
    patience_s: float = 120.0


def check(command: RealCommand, terms: Terms) -> None:
    """Raise UserError for whatever would stop the verification later."""
    require_root()
    find_memory_controller()
    program = command.argv[0]
    path = Path(command.cwd, program) if "/" in program else program
    if shutil.which(path) is None:
        raise UserError(f"verify: {program}: no such program here")
    if not os.path.isdir(command.cwd):
        raise UserError(f"verify: {command.cwd}: the recorded working directory is not here")
    if terms.swap is SwapSource.HOST and active_swap_kib() == 0:
        raise UserError(
            "verify: this host has no swap, anonymous pages could not leave memory;"
            " add some, allow a zram device with --with-zram SIZE, or predict with --swap none"
        )
    if terms.swap is SwapSource.ZRAM:
        if not ZRAM_LEAST_BYTES <= terms.zram_bytes <= ZRAM_MOST_BYTES:
            raise UserError(
                f"--with-zram: found {format_size(terms.zram_bytes)}, allowed is"
                f" {format_size(ZRAM_LEAST_BYTES)} to {format_size(ZRAM_MOST_BYTES)}"
            )
        if not os.path.exists("/sys/class/zram-control/hot_add"):
            raise UserError("--with-zram: this kernel has no zram (or its module is not loaded)")


def verify(
    command: RealCommand, curve: SizingCurve, terms: Terms, progress: Progress | None = None
) -> VerifyReport:
    """Run `command` at each limit of `curve` on this host, and lay the figures side by side."""
    check(command, terms)
    total = 1 + terms.runs * len(curve.points)
    done = itertools.count()

    def tell(what: str) -> None:
        if progress is not None:
            progress(next(done), total, what)

    with HostChanges() as changes:
        if terms.swap is SwapSource.ZRAM:
            changes.ask("zram", terms.zram_bytes)
        own_files = CommandFiles(command, changes)
        numbers = itertools.count()

        def once(limit_bytes: int | None) -> MeasuredRun:
            tell("no limit" if limit_bytes is None else format_size(limit_bytes))
            group = make_group(changes, f"memtwin-verify-{os.getpid()}-{next(numbers)}")
            if terms.swap is SwapSource.NONE:
                group.forbid_swap()
            return run_limited(command, group, own_files, limit_bytes, terms.patience_s)

        unlimited = once(None)
        if unlimited.verdict is not Verdict.FINISHED:
            raise UserError(_did_not_run(command, unlimited, terms.patience_s))
        points = [
            compare(point, [once(point.limit_bytes) for _ in range(terms.runs)])
            for point in curve.points
        ]
        conditions = _conditions(command, terms, own_files)
    tell("done")
    report = VerifyReport(
        command=command.argv,
        points=points,
        curve=curve,
        unlimited=unlimited,
        conditions=conditions,
        notes=_notes(unlimited, points),
    )
    summarize(report)
    return report


def _did_not_run(command: RealCommand, run: MeasuredRun, patience_s: float) -> str:
    name = command.argv[0]
    if run.verdict is Verdict.TIMED_OUT:
        return f"verify: {name} took over {patience_s:g} s even without a limit (see --timeout)"
    return (
        f"verify: {name} without a limit: {run.verdict}, found exit status {run.exit_status},"
        f" the recorded run had {command.expected_status}"
    )


def _conditions(command: RealCommand, terms: Terms, own_files: CommandFiles) -> dict[str, str]:
    version, _ = find_memory_controller()
    swap = {
        SwapSource.ZRAM: f"zram of {format_size(terms.zram_bytes)}, made for this run",
        SwapSource.HOST: f"the host's, {format_size(active_swap_kib() * 1024)}",
        SwapSource.NONE: "none: the group may not swap",
    }[terms.swap]
    return {
        "kernel": platform.release(),
        "cgroup": f"version {version.value}",
        "swap": swap,
        "address space": f"{command.layout} layout",
        "huge pages": str(command.huge_pages),
        "group statistics": f"{command.statistics} (see docs/VERIFY.md)",
        "accesses": f"{command.accesses} (see docs/VERIFY.md)",
        "CPU": "any" if command.cpu is None else f"only {command.cpu}",
        "page cache": f"{len(own_files.warm)} files that it executes in memory before, charged to"
        f" nobody; its other files cold, {len(own_files.copies)} of them by unread copies",
        "runs": f"{terms.runs} at each limit, and as many replays: the medians count",
    }


def _notes(unlimited: MeasuredRun, points: Sequence[VerifiedPoint]) -> list[str]:
    notes = []
    if unlimited.cached_elsewhere_bytes:
        notes.append(
            f"{format_size(unlimited.cached_elsewhere_bytes)} of its files stayed in memory"
            " for others: these pages cost the measured runs nothing"
        )
    for point in points:
        name = format_size(point.limit_bytes)
        if (point.spread_percent or 0.0) > SPREAD_WORTH_SAYING_PERCENT and len(point.runs) > 1:
            notes.append(f"{name}: real runs differ by {point.spread_percent:.0f} %")
        if (chance := chance_percent(point.predicted)) > SPREAD_WORTH_SAYING_PERCENT:
            notes.append(f"{name}: replays with different seeds differ by {chance:.0f} %")
        if not verdicts_agree(point):
            ends = ", ".join(sorted({str(run.verdict) for run in point.runs}))
            notes.append(f"{name}: predicted {point.predicted.verdict}, measured {ends}")
    return notes
