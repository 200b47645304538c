"""Holds the prediction against real kernels on three programs; writes a table to docs/FIDELITY.md.

Usage (as root): verify_table.py [--runs N] [--zram SIZE] [--python EXE] [--keep DIR]
                                 [--only NAME] [--no-write]

Each program is recorded, predicted under five limits, and run for real under them: `memtwin size
TRACE --verify --with-zram SIZE --limits ...`. Inputs, recordings and reports lie in DIR (else in a
temporary directory); a recording that is there already is used again. With --only one program is
run, and the reports of the others are those that an earlier run left in DIR: without them nothing
is written. Exit status 1 when a command fails.
"""

from __future__ import annotations

import argparse
import compileall
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "benchmarks" / "programs"
DOCUMENT = ROOT / "docs" / "FIDELITY.md"
BEGIN, END = "<!-- verify:begin -->", "<!-- verify:end -->"
LINES, LINE_BITS = 390_000, 252  # of sort's input: 25 MB
MIB = 1 << 20
GOAL_MEDIAN_PERCENT, GOAL_WORST_PERCENT = 5, 20


@dataclass(frozen=True)
class Program:
    """One program: what it is, its command, and the limits (MiB) it is held to."""

    name: str
    about: str
    command: Callable[[Path, str], list[str]]
    limits_mib: tuple[int, ...]


# fmt: off
PLAN = (
    Program(
        "sort",
        "sort of a 25 MB text file",
        lambda place, _: [
            "sort", "-S", "100M", "--parallel=1", f"{place}/big.txt", "-o", "/dev/null",
        ],
        (20, 25, 30, 35, 40),
    ),
    Program(
        "group_by",
        "Python data job: 150,000 records grouped by key, 60,000 look-ups",
        lambda place, python: [python, f"{place}/group_by.py", "150000", "60000"],
        (16, 20, 24, 28, 32),
    ),
    Program(
        "key_value",
        "SQLite: 150,000 rows inserted, 40,000 random reads, 4,000 updates, in a file of 32 MB",
        lambda place, python: [
            python, f"{place}/key_value.py", f"{place}/store.db", "150000", "40000",
        ],
        (12, 16, 20, 24, 28),
    ),
)
# fmt: on


def prepare(place: Path) -> None:
    """Make the programs' files: the same on every host."""
    for path in PROGRAMS.glob("*.py"):
        shutil.copy(path, place)
    compileall.compile_dir(place, quiet=1)
    text = place / "big.txt"
    if not text.exists():
        made = random.Random(1)
        digits = LINE_BITS // 4
        lines = (f"{made.getrandbits(LINE_BITS):0{digits}x}\n" for _ in range(LINES))
        text.write_text("".join(lines))


def memtwin(*words: str) -> str:
    """What a memtwin command printed; ends the tool when it fails."""
    command = [sys.executable, "-m", "memtwin", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"verify_table: {' '.join(command)}: exit status {done.returncode}")
    return done.stdout


def verified(program: Program, place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The report of one program."""
    trace = place / f"{program.name}.trace"
    if not trace.exists():
        memtwin("record", "-o", str(trace), "--", *program.command(place, options.python))
    limits = ",".join(f"{limit}M" for limit in program.limits_mib)
    terms = ["--verify", "--with-zram", options.zram, "--runs", str(options.runs), "--json"]
    text = memtwin("size", str(trace), "--limits", limits, *terms)
    (place / f"{program.name}.json").write_text(text)
    found: dict[str, Any] = json.loads(text)
    return found


def range_of(faults: list[int]) -> str:
    """Least to most of several replays."""
    return f"{min(faults):,} to {max(faults):,}" if faults else "–"


def row_of(point: dict[str, Any]) -> list[str]:
    """One limit as cells."""
    predicted, runs = point["predicted"], point["runs"]
    measured = point["measured_maj_flt"]
    error = point["error_percent"]
    return [
        f"{point['limit_bytes'] // MIB}M",
        f"{predicted['maj_flt']:,}",
        range_of(predicted["chance_maj_flt"]),
        "–" if measured is None else f"{measured:,}",
        ", ".join(f"{run['maj_flt']:,}" for run in runs),
        "–" if error is None else f"{error:+.1f} %",
        f"{predicted['min_flt']:,}",
        f"{round(median(run['min_flt'] for run in runs)):,}",
        f"{predicted['swap_out_pages']:,}",
        f"{round(median(run['swap_out_pages'] for run in runs)):,}",
    ]


HEAD = (
    "limit", "predicted", "all replays", "measured (median)", "each real run", "error",
    "minor predicted", "minor measured", "pages swapped out, predicted", "measured",
)  # fmt: skip


def section(reports: dict[str, dict[str, Any]], options: argparse.Namespace) -> str:
    """The Markdown between the markers."""
    errors = [
        abs(point["error_percent"])
        for report in reports.values()
        for point in report["points"]
        if point["error_percent"] is not None
    ]
    count = sum(len(report["points"]) for report in reports.values())
    lines = [
        f"Major faults under {count} limits, {options.runs} real runs and as many replays each:"
        " medians; median error"
        f" **{median(errors):.1f} %**, worst **{max(errors):.1f} %**"
        f" (wanted: {GOAL_MEDIAN_PERCENT} % and {GOAL_WORST_PERCENT} %).",
        f"Made by `tools/verify_table.py --runs {options.runs} --zram {options.zram}`, which runs"
        f" `memtwin size TRACE --verify --with-zram {options.zram} --runs {options.runs}"
        " --limits ...` for each program.",
        "",
        "Conditions (docs/VERIFY.md explains them): "
        + "; ".join(
            f"{name} {value}"
            for name, value in next(iter(reports.values()))["conditions"].items()
            if name != "page cache"
        )
        + ".",
    ]
    for program in PLAN:
        if program.name not in reports:
            continue
        report = reports[program.name]
        peak = report["curve"]["unlimited"]["peak_rss_bytes"] / MIB
        usage = report["unlimited"]["peak_usage_bytes"] / MIB
        lines += [
            "",
            f"**{program.name}**: {program.about}. Without a limit: {peak:.0f} MiB resident, the"
            f" group {usage:.0f} MiB with its page cache. Median error"
            f" {report['median_error_percent']:.1f} %,"
            f" worst {report['worst_error_percent']:.1f} %.",
            "",
            "| " + " | ".join(HEAD) + " |",
            "|---" + "|---:" * (len(HEAD) - 1) + "|",
        ]
        lines += ["| " + " | ".join(row_of(point)) + " |" for point in report["points"]]
    return "\n".join(lines)


def main() -> None:
    """Record, predict, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--zram", default="512M")
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--only", choices=[program.name for program in PLAN])
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memtwin-verify-") as scratch:
        place = (options.keep or Path(scratch)).absolute()
        place.mkdir(parents=True, exist_ok=True)
        prepare(place)
        reports = {}
        for program in PLAN:
            kept = place / f"{program.name}.json"
            if options.only in (None, program.name):
                reports[program.name] = verified(program, place, options)
            elif kept.exists():
                reports[program.name] = json.loads(kept.read_text())
    text = section(reports, options)
    print(text)
    if options.no_write or len(reports) < len(PLAN):
        return
    document = DOCUMENT.read_text(encoding="utf-8")
    if BEGIN not in document or END not in document:
        sys.exit(f"verify_table: {DOCUMENT}: found no {BEGIN} ... {END}, both have to be there")
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
