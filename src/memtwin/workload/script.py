"""Owns a script's way from file to result: a recorded case, or a script for a machine of one's own.

Imports machine, workload/runner, language. Knows nothing of how a result is shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from memtwin.errors import UserError
from memtwin.machine.config import config_from_case
from memtwin.machine.description import MachineConfig
from memtwin.machine.machine import Machine
from memtwin.workload.checkpoint import finish_start, machine_files, recorder_files
from memtwin.workload.language import parse_script
from memtwin.workload.runner import Progress, Runner


def result_of(runner: Runner, start: Mapping[str, Any] | None) -> dict[str, Any]:
    """What scorers and people read: checkpoints with file texts, events, dmesg, provenance."""
    checkpoints = [
        {"name": point.name, "time_ns": point.time_ns, "files": point.files}
        for point in runner.checkpoints
    ]
    machine = runner.machine
    leak_checks = [
        {
            "name": one.name,
            "process": one.process,
            "time_ns": one.time_ns,
            "report": msgspec.to_builtins(one.report),
        }
        for one in runner.leak_checks
    ]
    return {
        "checkpoints": ([dict(start)] if start is not None else []) + checkpoints,
        "leak_checks": leak_checks,
        "events": runner.events,
        "dmesg": "\n".join(machine.kernel.dmesg) + "\n" if machine.kernel.dmesg else "",
        "provenance": machine.provenance(),
    }


def run_case(case: Mapping[str, Any], progress: Progress | None = None) -> dict[str, Any]:
    """Run a decoded case file on the machine it was recorded on, seeded by its start."""
    runner = case_runner(case)
    runner.run(parse_script(case["case"]["script"]), progress)
    runner.take_checkpoint("final")
    return result_of(runner, case["start"])


def case_runner(case: Mapping[str, Any]) -> Runner:
    """The machine of a decoded case as its recording began, ready to run the case's script."""
    machine = Machine(config_from_case(case))
    machine.boot_init()
    runner = Runner(machine, recorder_files)
    finish_start(runner)
    return runner


def script_runner(config: MachineConfig) -> Runner:
    """A machine of one's own, ready to run a script."""
    return Runner(Machine(config), machine_files)


def run_script(
    text: str, config: MachineConfig, progress: Progress | None = None, name: str = "script"
) -> dict[str, Any]:
    """Run a script on a machine of one's own; a last checkpoint `final` is taken.

    `name` is the script's, as loss records name its lines.
    """
    commands = parse_script(text.splitlines())
    runner = script_runner(config)
    runner.script = name
    runner.run(commands, progress)
    runner.take_checkpoint("final")
    return result_of(runner, None)


def read_case(path: Path) -> dict[str, Any] | None:
    """The decoded case at `path`, or None when it is a script; UserError when it can't be read."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"run: {path}: found no readable text ({error})") from None
    if not text.lstrip().startswith("{"):
        return None
    try:
        case = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"run: {path}: found no valid JSON: {error}") from None
    if not isinstance(case, dict) or "case" not in case:
        found = ", ".join(case) if isinstance(case, dict) else type(case).__name__
        raise UserError(f"run: {path}: found {found}, allowed is a case file or a script")
    return case
