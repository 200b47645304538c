"""Owns the command `demo`: everything once, on a small shipped recording, without privileges.

Imports record, machine and the commands it shows. Does no arithmetic of its own.
"""

from __future__ import annotations

import importlib.resources
import random
import shutil
import tempfile
from pathlib import Path

from memtwin.analysis import answers
from memtwin.cli.html_report import to_html
from memtwin.cli.output import check_writable, note, note_mode, write_whole
from memtwin.cli.record_command import record_to
from memtwin.cli.size_command import Grid, sweep_trace
from memtwin.cli.terminal_report import show
from memtwin.machine.config import load_machine
from memtwin.record import Method, NativeRunMode, open_trace
from memtwin.record.schema import DEFAULT_WINDOW_REFS

MACHINE = "laptop-8g"
SHIPPED = "demo.trace"
LIVE_LINES, LIVE_WIDTH = 20_000, 60
LIVE_TOOL = "qemu-x86_64"


def demo(out: Path) -> None:
    """The command `demo`."""
    check_writable(out, "--out")
    note_mode()
    config = load_machine(MACHINE)
    trace = open_trace(Path(str(importlib.resources.files("memtwin") / "data" / SHIPPED)))
    note(f"a real recording, shipped: {' '.join(trace.metadata.command)}")
    curve = sweep_trace(trace, config, [], Grid())
    show(curve)
    write_whole(out, to_html(curve))
    live()
    print(f"\nThe report: {out.absolute().as_uri()}")


def live() -> None:
    """Record a program of this host and size it, where a recorder is installed."""
    program = shutil.which("sort")
    if shutil.which(LIVE_TOOL) is None or program is None:
        note(f"no {LIVE_TOOL} here, so nothing is recorded live; apt install qemu-user")
        return
    with tempfile.TemporaryDirectory(prefix="memtwin-") as directory:
        lines = Path(directory) / "lines.txt"
        made = random.Random(1)
        lines.write_text(
            "".join(f"{made.getrandbits(4 * LIVE_WIDTH):x}\n" for _ in range(LIVE_LINES))
        )
        command = [program, "--parallel=1", "-o", "/dev/null", str(lines)]
        note("recording live: sort of 20,000 lines")
        summary = record_to(
            command,
            Path(directory) / "live.trace",
            Method.QEMU,
            DEFAULT_WINDOW_REFS,
            NativeRunMode.SKIP,
        )
        curve = sweep_trace(open_trace(summary.path), load_machine(MACHINE), [], Grid(points=6))
        print(f"\nAnd sort of 20,000 lines, recorded just now: {answers.headline(curve)}")
