"""Owns the command `size`: record if need be, sweep the limits, verify if asked, report.

Imports record, machine, workload, sweep and analysis. Does no arithmetic of its own.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memtwin.analysis.results import Report, SizingCurve
from memtwin.analysis.sizing import choose_limits, make_curve
from memtwin.cli.output import note, note_mode, progress
from memtwin.cli.replay_command import HOST_MACHINE, Choices, Output, open_replayable, parse_limit
from memtwin.errors import UserError
from memtwin.machine.config import MachineConfig
from memtwin.record import Trace
from memtwin.units import parse_size

if TYPE_CHECKING:
    from memtwin.sweep.measure import RealCommand
    from memtwin.sweep.verify import Terms

POINTS_MOST = 200


@dataclass(frozen=True)
class Grid:
    """Which limits to try, and what counts as slow."""

    limits: str | None = None
    points: int = 12
    slowdown_percent: float = 5.0

    def check(self) -> None:
        """Raise UserError for what cannot be."""
        if not 2 <= self.points <= POINTS_MOST:
            raise UserError(f"--points: found {self.points}, allowed is 2 to {POINTS_MOST}")
        if not 0 < self.slowdown_percent <= 10_000:
            raise UserError(
                f"--slowdown: found {self.slowdown_percent:g}, allowed is above 0 to 10000 percent"
            )


@dataclass(frozen=True)
class VerifyTerms:
    """How the user wants the prediction verified."""

    with_zram: str | None
    runs: int
    timeout_s: float
    random_layout: bool
    stale_statistics: bool
    unseen_accesses: bool

    def check(self) -> None:
        """Raise UserError for what cannot be."""
        if not 1 <= self.runs <= 100:
            raise UserError(f"--runs: found {self.runs}, allowed is 1 to 100")
        if not 1 <= self.timeout_s <= 86_400:
            raise UserError(f"--timeout: found {self.timeout_s:g}, allowed is 1 to 86400 seconds")


def size(
    path: Path | None,
    command: list[str],
    choices: Choices,
    grid: Grid,
    terms: VerifyTerms | None,
    output: Output,
) -> None:
    """The command `size`."""
    if (path is None) == (not command):
        found = "neither" if path is None else "both"
        raise UserError(f"size: found {found}, allowed is a TRACE or a command after --")
    grid.check()
    output.check()
    if terms is not None:
        terms.check()
        choices = _with_swap_of(terms, choices)
    config = choices.config()
    limits = _limits(grid, config)
    if path is not None:
        output.give(_answer(open_replayable(path), choices, config, limits, grid, terms))
        return
    with tempfile.TemporaryDirectory(prefix="memtwin-") as directory:
        trace = _record(command, Path(directory) / "program.trace")
        output.give(_answer(trace, choices, config, limits, grid, terms))


def _with_swap_of(terms: VerifyTerms, choices: Choices) -> Choices:
    """Predict with the swap that the real runs will have, unless the user says otherwise."""
    if terms.with_zram is None or choices.swap is not None:
        return choices
    return Choices(choices.machine, f"zram:{terms.with_zram}", choices.changes)


def _limits(grid: Grid, config: MachineConfig) -> list[int]:
    """The limits the user named, ascending; empty when the peak has to be known first."""
    if grid.limits is None:
        return []
    return sorted({parse_limit(word, config, "--limits") for word in grid.limits.split(",")})


def _record(command: list[str], out: Path) -> Trace:
    from memtwin.cli.record_command import record_to, tell_summary
    from memtwin.record import Method, NativeRunMode, open_trace
    from memtwin.record.schema import DEFAULT_WINDOW_REFS

    summary = record_to(command, out, Method.AUTO, DEFAULT_WINDOW_REFS, NativeRunMode.SKIP)
    tell_summary(summary)
    note("the recording is not kept; `memtwin record -o FILE` keeps one")
    if summary.interrupted:
        raise KeyboardInterrupt
    return open_trace(out)


def _answer(
    trace: Trace,
    choices: Choices,
    config: MachineConfig,
    limits: list[int],
    grid: Grid,
    terms: VerifyTerms | None,
) -> Report:
    if terms is None:
        note_mode()
        return sweep_trace(trace, config, limits, grid)
    from memtwin.sweep.verify import check, verify

    command, real_terms = _real(trace, config, terms)
    check(command, real_terms)  # whatever stops the real runs is told before the long part
    config, disk = _with_disk_of_host(_with_group_of_host(config, terms), trace, choices)
    note_mode()
    curve = sweep_trace(trace, config, limits, grid, terms.runs)
    with progress("verifying") as step:
        report = verify(command, curve, real_terms, step)
    report.conditions["disk"] = disk
    return report


def _with_disk_of_host(
    config: MachineConfig, trace: Trace, choices: Choices
) -> tuple[MachineConfig, str]:
    """Predict with the disk that the command's files lie on as it measures; and what was found.

    A machine that the user describes keeps the disk it is described with.
    """
    import msgspec

    from memtwin.sweep.disk_speed import measure_disk

    if choices.machine != HOST_MACHINE or any(one.startswith("block.") for one in choices.changes):
        return config, "as described"
    files = [file for file in trace.metadata.files if file.kind == "regular"]
    largest = max(files, key=lambda file: file.size_bytes, default=None)
    directory = Path(trace.metadata.cwd) if largest is None else Path(largest.path).parent
    speed = measure_disk(directory)
    if speed is None:
        return config, f"not measurable below {directory}: that of the machine's description"
    block = msgspec.structs.replace(
        config.block,
        latency_ns=speed.latency_ns,
        read_bytes_per_s=speed.read_bytes_per_s,
        write_bytes_per_s=speed.write_bytes_per_s,
    )
    rates = [f"{rate / 1e6:,.0f} MB/s" for rate in speed[1:]]
    found = f"{speed.latency_ns / 1e3:.0f} us, read {rates[0]}, write {rates[1]}"
    return msgspec.structs.replace(config, block=block), f"measured below {directory}: {found}"


def _with_group_of_host(config: MachineConfig, terms: VerifyTerms) -> MachineConfig:
    """Predict with groups of the version that the real runs will have, their statistics as old."""
    import msgspec

    from memtwin.machine.description import STAT_READ_US, LimitConfig
    from memtwin.sweep.host import find_memory_controller

    version, _ = find_memory_controller()
    group = config.limit or LimitConfig(config.ram_bytes)
    group = msgspec.structs.replace(
        group,
        cgroup_version=int(version.value),
        stat_read_us=0 if terms.stale_statistics else STAT_READ_US,
    )
    return msgspec.structs.replace(config, limit=group)


def sweep_trace(
    trace: Trace, config: MachineConfig, limits: list[int], grid: Grid, replays: int = 1
) -> SizingCurve:
    """The curve of `trace` over `limits`, or over limits around its peak if there are none.

    Each limit is replayed `replays` times, told apart by chance; the median counts.
    """
    from memtwin.sweep.sizing import sweep
    from memtwin.workload.replay import replay

    with progress("sizing") as step:
        unlimited = replay(trace, config, None, lambda done, total: step(done, total, "no limit"))
        peak_bytes = max(unlimited.peak_usage_bytes or 0, unlimited.peak_rss_bytes)
        chosen = limits or choose_limits(peak_bytes, grid.points)
        curve = sweep(
            trace, config, [at for at in chosen if at <= config.ram_bytes], step, 0, replays
        )
    return make_curve(curve.points, unlimited, grid.slowdown_percent)


def _real(trace: Trace, config: MachineConfig, terms: VerifyTerms) -> tuple[RealCommand, Terms]:
    """The command to run for real, and how: the swap follows the machine description."""
    from memtwin.sweep.measure import Accesses, HugePages, Layout, Statistics
    from memtwin.sweep.real_command import command_of
    from memtwin.sweep.verify import SwapSource, Terms

    command = command_of(
        trace,
        Layout.RANDOM if terms.random_layout else Layout.FIXED,
        HugePages.OFF if config.thp == "never" else HugePages.AS_HOST,
        Statistics.AS_KERNEL if terms.stale_statistics else Statistics.FRESH,
        Accesses.AS_CPU if terms.unseen_accesses else Accesses.SEEN,
    )
    if terms.with_zram is not None:
        source, zram_bytes = SwapSource.ZRAM, parse_size(terms.with_zram, "--with-zram")
    else:
        source, zram_bytes = SwapSource.HOST if config.swap else SwapSource.NONE, 0
    return command, Terms(source, zram_bytes, terms.runs, terms.timeout_s)
