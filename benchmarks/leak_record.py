"""What finding leaks with stacks costs a program: recorded, and under valgrind, in one table.

    python benchmarks/leak_record.py          # writes benchmarks/leak_record.md

The program is that of leak_scan.py: it holds blocks in lists, computes over them in rounds, and
takes and frees 200,000 blocks a round. A round's CPU time over its time alone is the slowdown;
what a run takes in all contains the start and the search at the end. Run it while nothing else
runs.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from leak_scan import HERE, build

from memtwin.observe.leak_reports import read_reports

BLOCKS, BYTES, ROUNDS = 100_000, 240, 5
MEMTWIN = str(Path(sys.executable).parent / "memtwin")
_ROUND = re.compile(r"^\d+\.\d+$", re.M)


def run(command: list[str]) -> tuple[float, float, str]:
    """(median CPU seconds of a round, wall seconds of all, what it printed)."""
    began_s = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall_s = time.monotonic() - began_s
    rounds = [float(line) for line in _ROUND.findall(done.stdout)]
    assert len(rounds) == ROUNDS, done.stdout[:300]
    return statistics.median(rounds), wall_s, done.stdout


def measured(folder: Path) -> list[tuple[str, float, float, str]]:
    """(way, seconds of a round, seconds of all, blocks in use that it told) of each way."""
    program = [str(build(folder)), str(BLOCKS), str(BYTES), str(ROUNDS)]
    record = [MEMTWIN, "heap", "record"]
    ways = {
        "alone": program,
        "heap record": [*record, "-o", f"{folder}/a.heap", "--", *program],
        "heap record --stacks": [*record, "--stacks", "-o", f"{folder}/b.heap", "--", *program],
        "heap record --leaks": [*record, "--leaks", "-o", f"{folder}/c.heap", "--", *program],
        "valgrind --leak-check=full": [
            "valgrind", "--leak-check=full", "--show-leak-kinds=all",
            f"--log-file={folder}/log", *program,
        ],
    }  # fmt: skip
    rows = []
    for way, command in ways.items():
        round_s, wall_s, printed = run(command)
        told = ""
        if way.endswith("--leaks"):
            told = re.findall(r"bytes in ([\d,]+) blocks", printed)[0]
        elif way.startswith("valgrind"):
            [report] = read_reports(folder / "log")
            told = f"{report.in_use.blocks:,}" if report.in_use else ""
        rows.append((way, round_s, wall_s, told))
    return rows


def table(rows: list[tuple[str, float, float, str]]) -> str:
    """The rows as Markdown."""
    alone_s = rows[0][1]
    lines = [
        "| how it runs | CPU of a round | slowdown | whole run | blocks in use at the end |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for way, round_s, wall_s, told in rows:
        cells = f"{round_s * 1e3:.1f} ms | {round_s / alone_s:.2f} | {wall_s:.2f} s"
        lines.append(f"| {way} | {cells} | {told} |")
    by_way = {way: round_s for way, round_s, _, _ in rows}
    ratio = by_way["valgrind --leak-check=full"] / by_way["heap record --leaks"]
    return (
        "\n".join(lines) + f"\n\nA round under valgrind takes {ratio:.1f} times a recorded one.\n"
    )


def main() -> None:
    """Measure, print and write the table."""
    with tempfile.TemporaryDirectory(prefix="memtwin-leaks-") as folder:
        text = table(measured(Path(folder)))
    print(text)
    (HERE / "leak_record.md").write_text(
        "# Leaks with stacks: what finding them costs\n\n"
        f"`python benchmarks/leak_record.py`: {BLOCKS:,} blocks of {BYTES} bytes in lists, {ROUNDS}"
        " rounds that compute over\nthem and take and free 200,000 blocks of 100 bytes each. CPU"
        " time; the whole run is wall time. Measured\nwhile other work ran on the machine.\n\n"
        + text
    )


if __name__ == "__main__":
    main()
