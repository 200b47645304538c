"""Owns the cost of a view from a cold start: memtwin's and other programs', run in turns.

Imports nothing of memtwin. Writes benchmarks/views.md: CPU and wall seconds of each, least and
median of all runs. psutil and typer are there for scale: a look by the one, the bare other.

    python benchmarks/views.py --runs 30
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "views.md"
WANTED_FREE_CPU_S = 0.2
# as for a user: the first run of each leaves its compiled modules for the next
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
PSUTIL_EACH = """
import psutil
for one in psutil.process_iter():
    try:
        one.memory_full_info()
    except psutil.Error:
        pass
"""
# views of one subject stand together: memtwin's first, then what others need for the like of it
SUBJECTS = (
    ("python -c pass",),
    ("memtwin free", "free", "psutil virtual_memory", "import typer"),
    ("memtwin vmstat", "vmstat"),
    ("memtwin vmstat -s", "vmstat -s"),
    ("memtwin slabtop -o", "slabtop -o"),
    ("memtwin meminfo",),
    ("memtwin zoneinfo",),
    ("memtwin ledger",),
    ("memtwin oom",),
    ("memtwin ps", "smem", "psutil memory_full_info of each", "ps aux"),
)


def command_of(name: str) -> list[str] | None:
    """What runs `name`; None when it is not installed."""
    python = {
        "python -c pass": "pass",
        "import typer": "import typer",
        "psutil virtual_memory": "import psutil; psutil.virtual_memory()",
        "psutil memory_full_info of each": PSUTIL_EACH,
    }
    if name in python:
        return [sys.executable, "-c", python[name]]
    words = name.split()
    if words[0] == "memtwin":
        return [str(Path(sys.executable).with_name("memtwin")), *words[1:]]
    return words if shutil.which(words[0]) else None


def spent(command: list[str]) -> tuple[float, float]:
    """CPU and wall seconds of one run of `command`."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=ENVIRONMENT)
    wall_s = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu_s, wall_s


def measured(subject: tuple[str, ...], runs: int) -> dict[str, list[tuple[float, float]]]:
    """name -> CPU and wall seconds of each run, those of a subject in turns."""
    commands = {name: command for name in subject if (command := command_of(name)) is not None}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for command in commands.values():
        spent(command)
    for _ in range(runs):
        for name, command in commands.items():
            found[name].append(spent(command))
    return found


def main() -> None:
    """Run every view and its like in turns, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    runs = parser.parse_args().runs
    rows, free_s = [], 0.0
    for subject in SUBJECTS:
        for name, times in measured(subject, runs).items():
            cpu_s = [one[0] for one in times]
            wall_s = statistics.median(one[1] for one in times)
            median_s = statistics.median(cpu_s)
            rows.append(f"| `{name}` | {min(cpu_s):.3f} | {median_s:.3f} | {wall_s:.3f} |")
            if name == "memtwin free":
                free_s = median_s
    processes = sum(name.isdigit() for name in os.listdir("/proc"))
    machine = f"Linux {platform.release()}, Python {platform.python_version()}"
    machine += f", {os.cpu_count()} CPUs at a load of {os.getloadavg()[1]:.0f}"
    verdict = "holds" if free_s < WANTED_FREE_CPU_S else "does not hold"
    text = f"""# What a view costs from a cold start

    python benchmarks/views.py --runs {runs}

{runs} runs of each, those of one subject in turns. {machine}, {processes} processes.

| program | CPU s, least | CPU s, median | wall s, median |
| --- | ---: | ---: | ---: |
{chr(10).join(rows)}

`memtwin free` in less than {WANTED_FREE_CPU_S} s of CPU is asked for: that {verdict}, at
{free_s:.3f} s in the median. A view asked for in plain words loads what it shows with and
msgspec; the library that knows helps and mistakes is loaded for those alone (`cli/short_way.py`),
and a test holds each view to that.
"""
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
