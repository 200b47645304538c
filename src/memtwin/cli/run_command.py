"""Owns the commands `run`, `capture` and `machines`.

Imports machine and workload. Does no arithmetic of its own.
"""

from __future__ import annotations

from pathlib import Path

from memtwin.cli.output import check_writable, note, write_whole
from memtwin.machine.config import machine_names


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
