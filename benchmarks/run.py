"""Owns `make bench`: both sides of each benchmark in one run, and the page of results.

Imports nothing of memtwin: the twin's side is twin.py, the kernel's kernel_faults.c, each in a
process of its own. CPU time stands beside wall time; judged is CPU time, because other programs
share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
RESULTS_JSON = HERE / "results.json"
SIZE_MIB = 1024
ROUNDS = 5
MILLION = 1e6


@dataclass(frozen=True)
class Goal:
    """One line of the page: what was measured, what was found, what is asked for."""

    what: str
    found: str
    wanted: str
    cpu_s: float
    wall_s: float
    holds: bool

    def row(self) -> str:
        """Its row of the table."""
        verdict = "yes" if self.holds else "**no**"
        times = f"{self.cpu_s:.3f} | {self.wall_s:.3f}"
        return f"| {self.what} | {self.found} | {self.wanted} | {verdict} | {times} |"


def build_kernel_side(directory: Path) -> Path:
    """Compile the C program."""
    program = directory / "kernel_faults"
    compiler = os.environ.get("CC", "gcc").split()
    subprocess.run(
        [*compiler, "-O2", str(HERE / "kernel_faults.c"), "-o", str(program)], check=True
    )
    return program


def kernel_round(program: Path) -> dict[str, float]:
    """One round of the C program: count, cpu_s, wall_s."""
    done = subprocess.run(
        [str(program), str(SIZE_MIB), "1"], check=True, capture_output=True, text=True
    )
    count, cpu_ns, wall_ns = (int(word) for word in done.stdout.split())
    return {"count": count, "cpu_s": cpu_ns / 1e9, "wall_s": wall_ns / 1e9}


def twin(*words: str) -> Any:
    """What twin.py answers."""
    command = [sys.executable, str(HERE / "twin.py"), *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"twin.py {' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def rate(rounds: list[dict[str, float]], clock: str) -> float:
    """Median of count a second by `clock` (cpu_s or wall_s)."""
    return statistics.median(part["count"] / part[clock] for part in rounds)


def measure_faults(directory: Path) -> tuple[Goal, dict[str, Any]]:
    """Minor faults, a round of the kernel and a round of the twin in turn."""
    program = build_kernel_side(directory)
    kernel, ours = [], []
    for number in range(ROUNDS):
        print(f"faults: round {number + 1} of {ROUNDS}", flush=True)
        kernel.append(kernel_round(program))
        ours += twin("faults", str(SIZE_MIB), "1")["rounds"]
    times = rate(ours, "cpu_s") / rate(kernel, "cpu_s")
    found = (
        f"{rate(ours, 'cpu_s') / MILLION:.2f} M/s; this kernel "
        f"{rate(kernel, 'cpu_s') / MILLION:.2f} M/s: {times:.1f} times"
    )
    goal = Goal(
        "anonymous minor faults, fully accounted",
        found,
        "10 times the kernel's rate",
        statistics.median(part["cpu_s"] for part in ours),
        statistics.median(part["wall_s"] for part in ours),
        times >= 10,
    )
    return goal, {"kernel": kernel, "twin": ours, "times": times}


def measure_touches() -> tuple[list[Goal], dict[str, Any]]:
    """Touches of resident pages."""
    print("touches", flush=True)
    found = twin("touches", str(SIZE_MIB))
    goals = []
    for order, least in (("sequential", 30), ("random", 10)):
        part = found[order]
        millions = part["count"] / part["cpu_s"] / MILLION
        goals.append(
            Goal(
                f"resident touches, {order} over {SIZE_MIB} MiB",
                f"{millions:.0f} M/s",
                f"{least} M/s",
                part["cpu_s"],
                part["wall_s"],
                millions >= least,
            )
        )
    return goals, found


def measure_memory() -> tuple[list[Goal], dict[str, Any]]:
    """Host memory of touched pages and of a machine of 1 TiB."""
    print("host memory", flush=True)
    pages = twin("host_memory", str(SIZE_MIB))
    boot = twin("boot")
    goals = [
        Goal(
            "host memory a simulated page touched",
            f"{pages['bytes_per_page']:.1f} bytes",
            "at most 64 bytes",
            pages["cpu_s"],
            pages["wall_s"],
            pages["bytes_per_page"] <= 64,
        ),
        Goal(
            "a machine of 1 TiB boots and runs a first process",
            f"{boot['cpu_s']:.3f} s, {boot['rss_bytes'] / 1e6:.0f} MB resident with Python "
            f"and NumPy, {boot['grew_bytes'] / 1e6:.1f} MB of it the machine",
            "5 s, 500 MB",
            boot["cpu_s"],
            boot["wall_s"],
            boot["wall_s"] < 5 and boot["rss_bytes"] < 500e6,
        ),
    ]
    return goals, {"pages": pages, "boot": boot}


def measure_sweep() -> tuple[Goal, dict[str, Any]]:
    """12 limits over the shipped recording, in one process."""
    print("sweep", flush=True)
    found = twin("sweep")
    goal = Goal(
        f"sweep of {len(found['limits_mib'])} limits over the shipped recording, one core",
        f"{found['cpu_s']:.1f} s",
        "10 s",
        found["cpu_s"],
        found["wall_s"],
        found["cpu_s"] < 10 and len(found["limits_mib"]) == 12,
    )
    return goal, found


def page_of(goals: list[Goal], host: dict[str, str]) -> str:
    """The text of RESULTS.md."""
    rows = "\n".join(goal.row() for goal in goals)
    return f"""# Speed and memory

Made by `make bench` ({host["python"]}, {host["kernel"]}, {host["cpus"]} CPUs, {host["cpu"]}).
CPU and wall are seconds of the measured part; rates are by CPU time, medians of {ROUNDS} rounds for
faults, where a round of the kernel (kernel_faults.c, huge pages off, {SIZE_MIB} MiB) and one of the
twin (machine laptop-8g, 6.12, a memory cgroup whose limit is not reached) take turns. All figures:
results.json.

| What | Found | Asked for | Holds | CPU s | Wall s |
|---|---|---|---|---:|---:|
{rows}
"""


def host_facts() -> dict[str, str]:
    """What the figures depend on."""
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {
        "python": f"Python {platform.python_version()}",
        "kernel": f"Linux {platform.release()}",
        "cpus": str(os.cpu_count()),
        "cpu": model,
    }


def main() -> int:
    """Measure, print, write; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description="Speed and memory, beside this machine's kernel.")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md as it is")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memtwin-bench-") as directory:
        faults, faults_raw = measure_faults(Path(directory))
    touches, touches_raw = measure_touches()
    memory, memory_raw = measure_memory()
    sweep, sweep_raw = measure_sweep()
    goals = [faults, *touches, *memory, sweep]
    page = page_of(goals, host_facts())
    print(page)
    if not options.no_write:
        RESULTS.write_text(page)
        raw = {
            "host": host_facts(),
            "faults": faults_raw,
            "touches": touches_raw,
            "memory": memory_raw,
            "sweep": sweep_raw,
        }
        RESULTS_JSON.write_text(json.dumps(raw, indent=1) + "\n")
    return 0 if all(goal.holds for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
