"""Owns the command `replay`, and the choices and outputs that replaying commands share.

Imports record, machine, workload and analysis. Does no arithmetic of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from memtwin.analysis.results import ReplayReport, Report, to_json
from memtwin.cli.output import check_writable, note, note_mode, progress, write_whole
from memtwin.errors import UserError
from memtwin.machine.config import MachineConfig, load_machine
from memtwin.record import Trace, open_trace
from memtwin.units import MIB, format_size, parse_size

HOST_MACHINE = "host"  # the live host, captured as a machine
LEAST_LIMIT_BYTES = MIB


@dataclass(frozen=True)
class Choices:
    """The machine that the user chose, and the changes to it."""

    machine: str
    swap: str | None = None
    changes: list[str] = field(default_factory=list)

    def config(self) -> MachineConfig:
        """The description, validated."""
        swap = [] if self.swap is None else [f"swap={self.swap}"]
        if self.machine == HOST_MACHINE:
            from memtwin.machine.capture import capture_machine
            from memtwin.machine.config import config_from_text

            return config_from_text(capture_machine("/"), "this host", [*self.changes, *swap])
        return load_machine(self.machine, [*self.changes, *swap])


@dataclass(frozen=True)
class Output:
    """Where a report goes besides the terminal."""

    as_json: bool
    html: Path | None

    def check(self) -> None:
        """Raise UserError now for what could not be written later."""
        check_writable(self.html, "--html")

    def give(self, report: Report) -> None:
        """Print `report` and write its page."""
        if self.html is not None:
            from memtwin.cli.html_report import to_html

            write_whole(self.html, to_html(report))
        if self.as_json:
            print(to_json(report), end="")
        else:
            from memtwin.cli.terminal_report import show

            show(report)
        if self.html is not None:
            note(f"{self.html}: open it in a browser")


def parse_limit(text: str, config: MachineConfig, option: str = "--limit") -> int:
    """The limit that `text` names; raises UserError unless it fits into the machine's RAM."""
    limit_bytes = parse_size(text, option)
    if not LEAST_LIMIT_BYTES <= limit_bytes <= config.ram_bytes:
        raise UserError(
            f"{option}: found {text}, allowed is {format_size(LEAST_LIMIT_BYTES)} to"
            f" {format_size(config.ram_bytes)}, the RAM of {config.name}"
        )
    return limit_bytes


def open_replayable(path: Path) -> Trace:
    """The trace at `path`; says so when it was cut short."""
    trace = open_trace(path)
    if not trace.complete:
        note(f"{path}: a recording cut short, replayed up to its last complete block")
    return trace


def replay(path: Path, choices: Choices, limit: str | None, output: Output) -> None:
    """The command `replay`."""
    output.check()
    config = choices.config()
    limit_bytes = None if limit is None else parse_limit(limit, config)
    trace = open_replayable(path)
    note_mode()
    from memtwin.workload.replay import replay as replay_trace

    with progress("replaying") as step:
        result = replay_trace(
            trace, config, limit_bytes, lambda done, total: step(done, total, "events")
        )
    output.give(ReplayReport(result=result))
