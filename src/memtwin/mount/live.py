"""Owns twins that are run to be shown: a script, a case or a recording, up to where it is wanted.

Imports machine, record and workload. Knows nothing of files that show by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from memtwin.errors import UserError
from memtwin.machine.machine import Machine
from memtwin.mount.gate import Gate
from memtwin.mount.player import Player
from memtwin.mount.wanted import Opened, Progress, Wanted
from memtwin.record import open_trace
from memtwin.workload.language import Command, parse_script
from memtwin.workload.replay import Replay
from memtwin.workload.runner import Runner
from memtwin.workload.script import case_runner, script_runner

_LAST = "final"  # the checkpoint that every run of a script ends with


def open_script(text: str, path: Path, wanted: Wanted, progress: Progress | None) -> Opened:
    """The script `text` of `path` on the machine wanted."""
    commands = parse_script(text.splitlines())
    _check_at(commands, path, wanted)
    return _run(script_runner(wanted.config()), commands, path, wanted, progress)


def open_case(
    case: Mapping[str, Any], path: Path, wanted: Wanted, progress: Progress | None
) -> Opened:
    """The decoded case of `path` on its own machine."""
    commands = parse_script(case["case"]["script"])
    _check_at(commands, path, wanted)
    return _run(case_runner(case), commands, path, wanted, progress)


def open_recording(path: Path, wanted: Wanted, progress: Progress | None) -> Opened:
    """The recording at `path` on the machine wanted; its first process never ends."""
    share = 1.0 if wanted.at is None else _share(wanted.at)
    # libfuse goes to the root directory when it begins to serve
    replay = Replay(open_trace(path.absolute()), wanted.config(), wanted.limit_bytes)
    return _shown(replay.machine, path, wanted, lambda: replay.run_to(share, progress))


def _run(
    runner: Runner, commands: list[Command], path: Path, wanted: Wanted, progress: Progress | None
) -> Opened:
    at = wanted.at or _LAST
    return _shown(runner.machine, path, wanted, lambda: runner.run_to(commands, at, progress))


def _shown(machine: Machine, path: Path, wanted: Wanted, program: Callable[[], None]) -> Opened:
    gate = Gate()
    player = None
    if wanted.play_speed is None:
        program()
    else:
        player = Player(machine, program, wanted.play_speed, gate)
    return Opened(machine.tree, f"{path} on {machine.config.name}", gate, player, machine)


def _check_at(commands: list[Command], path: Path, wanted: Wanted) -> None:
    names = [c.words[0] for c in commands if c.verb == "checkpoint"] + [_LAST]
    if wanted.at is not None and wanted.at not in names:
        raise UserError(f"--at: found {wanted.at!r}, {path} has {', '.join(names)}")


def _share(text: str) -> float:
    """0 to 1 of a text as "60%"."""
    number = text.removesuffix("%")
    try:
        percent = float(number)
    except ValueError:
        percent = -1.0
    if not text.endswith("%") or not 0 <= percent <= 100:
        raise UserError(f"--at: found {text!r}, allowed for a recording is 0% .. 100%")
    return percent / 100
