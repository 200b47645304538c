"""Owns the commands `run`, `capture` and `machines`.

Imports machine and workload. Does no arithmetic of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from memtwin.cli.output import check_writable, note, note_mode, progress, write_whole
from memtwin.errors import UserError
from memtwin.machine.config import load_machine, machine_names

DEFAULT_MACHINE = "laptop-8g"
RECORDS_SHOWN = 12  # loss records of a leak check
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
    from memtwin.workload.script import read_case, run_case, run_script

    case = read_case(script)
    if case is not None and (machine is not None or changes):
        raise UserError(f"{script}: a case names its machine, --machine and --set are for scripts")
    config = load_machine(machine or DEFAULT_MACHINE, changes) if case is None else None
    note_mode()
    with progress("running") as step:

        def tell(done: int, total: int) -> None:
            step(done, total, "commands")

        if config is None:
            assert case is not None
            result = run_case(case, tell)
        else:
            result = run_script(script.read_text(), config, tell, script.name)
    if out is not None:
        write_whole(out, json.dumps(result))
        checks = len(result["leak_checks"])
        told = f", {checks} leak checks" if checks else ""
        note(f"{out}: {len(result['checkpoints'])} checkpoints{told}")
    else:
        _show(result)


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
    if result["leak_checks"]:
        import msgspec

        from memtwin.cli import leak_report_view
        from memtwin.observe.leak_reports import LeakReport

        print()
        reports = [msgspec.convert(one["report"], LeakReport) for one in result["leak_checks"]]
        leak_report_view.show(reports, RECORDS_SHOWN, as_json=False)
