"""Owns the commands `run`, `capture` and `machines`.

Imports machine and workload. Does no arithmetic of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from memtwin.cli.output import check_writable, note, note_mode, progress, write_whole
from memtwin.errors import UserError
from memtwin.machine.config import MachineConfig, config_from_case, load_machine, machine_names

DEFAULT_MACHINE = "laptop-8g"
SHOWN = ("pgfault", "pgmajfault", "pswpin", "pswpout", "nr_free_pages")  # of vmstat, a checkpoint


def machines() -> None:
    """The command `machines`."""
    names = machine_names()
    width = max(len(name) for name in names)
    for name, about in names.items():
        print(f"{name:<{width}}  {about}")


def capture(root: Path, out: Path | None) -> None:
    """The command `capture`."""
    from memtwin.machine.capture import capture_machine

    check_writable(out, "--out")
    text = capture_machine(str(root))
    if out is None:
        print(text, end="")
    else:
        write_whole(out, text)
        note(f"{out}: written")


def run(script: Path, machine: str | None, changes: list[str], out: Path | None) -> None:
    """The command `run`."""
    check_writable(out, "--out")
    config, lines = _read(script, machine, changes)
    note_mode()
    from memtwin.workload.script import run_case

    with progress("running") as step:
        result = run_case(config, lines, lambda done, total: step(done, total, "commands"))
    if out is not None:
        write_whole(out, json.dumps(result))
        note(f"{out}: {len(result['checkpoints'])} checkpoints")
    else:
        _show(result)


def _read(script: Path, machine: str | None, changes: list[str]) -> tuple[MachineConfig, list[str]]:
    """The machine and the lines of a script, or of a case, which describes its machine itself."""
    try:
        text = script.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        reason = getattr(fault, "strerror", None) or "found no UTF-8 text"
        raise UserError(f"{script}: {reason}") from None
    if script.suffix != ".json":
        return load_machine(machine or DEFAULT_MACHINE, changes), text.splitlines()
    if machine is not None or changes:
        raise UserError(
            f"{script}: a case describes its machine; --machine and --set are for scripts"
        )
    try:
        case = json.loads(text)
        lines = case["case"]["script"]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{script}: found no case, allowed is JSON with case.script") from None
    return config_from_case(case), [str(line) for line in lines]


def _show(result: dict[str, Any]) -> None:
    """One line a checkpoint on the terminal; everything is in the file of --out."""
    print(f"{'checkpoint':<20} {'time':>10} " + " ".join(f"{name:>13}" for name in SHOWN))
    for checkpoint in result["checkpoints"]:
        vmstat = dict(
            line.split()[:2]
            for line in checkpoint["files"].get("/proc/vmstat", "").splitlines()
            if line
        )
        cells = " ".join(f"{vmstat.get(name, '-'):>13}" for name in SHOWN)
        print(f"{checkpoint['name']:<20} {checkpoint['time_ns'] / 1e9:>8.3f} s {cells}")
    if result.get("dmesg"):
        print(result["dmesg"], end="")
