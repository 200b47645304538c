"""Owns the cost of a view from a cold start: memtwin's and procps' programs, run in turns.

Imports nothing of memtwin. Prints the CPU and wall seconds of each, least and median of all runs:

    python benchmarks/views.py --runs 30
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

VIEWS = ("free", "vmstat", "vmstat -s", "slabtop -o")
WANTED_FREE_CPU_S = 0.2


def spent(command: list[str]) -> tuple[float, float]:
    """CPU and wall seconds of one run of `command`."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    wall_s = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s, wall_s


def main() -> None:
    """Run every view of both in turns, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    memtwin = str(Path(sys.executable).with_name("memtwin"))
    print("| view | runs | CPU s, least | CPU s, median | wall s, median |")
    print("| --- | ---: | ---: | ---: | ---: |")
    least_free_s = 0.0
    for view in VIEWS:
        commands = {f"memtwin {view}": [memtwin, *view.split()]}
        if shutil.which(view.split()[0]):
            commands[f"procps {view}"] = view.split()
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                found[name].append(spent(command))
        for name, times in found.items():
            cpu = [one[0] for one in times]
            wall = statistics.median(one[1] for one in times)
            print(
                f"| {name} | {runs} | {min(cpu):.3f} | {statistics.median(cpu):.3f} | {wall:.3f} |"
            )
        if view == "free":
            least_free_s = statistics.median(one[0] for one in found["memtwin free"])
    verdict = "holds" if least_free_s < WANTED_FREE_CPU_S else "does not hold"
    print(f"\nfree under {WANTED_FREE_CPU_S} s of CPU: {verdict}")


if __name__ == "__main__":
    main()
