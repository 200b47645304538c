"""Owns what watching costs: `memtwin watch` at 1 s beside a plain psutil loop, in one run.

Imports psutil, and of memtwin the reader of stores. Both watch the same processes of this run, of
which every tenth moves its memory each second; judged is CPU time. Writes benchmarks/watch.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from memtwin.observe.samples.reader import StoreReader

PAGE = Path(__file__).resolve().parent / "watch.md"
LOOP_S = 20
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
HELD_BYTES, MOVED_BYTES = 4 << 20, 2 << 20
PSUTIL_LOOP = """
import sys, time, psutil
end = time.monotonic() + float(sys.argv[1])
due = time.monotonic()
while time.monotonic() < end:
    for process in psutil.process_iter():
        try:
            process.memory_full_info()
        except psutil.Error:
            pass
    psutil.virtual_memory()
    due += 1.0
    time.sleep(max(due - time.monotonic(), 0))
"""


class Cost(NamedTuple):
    """What a program took: CPU seconds of its own and of the kernel for it, and wall seconds."""

    user_s: float
    system_s: float
    wall_s: float

    @property
    def percent(self) -> float:
        """Of one CPU."""
        return 100 * (self.user_s + self.system_s) / self.wall_s


def crowd(count: int) -> list[int]:
    """`count` processes that hold some memory; every tenth takes and gives some each second."""
    pids = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            live(number)
        pids.append(pid)
    return pids


def live(number: int) -> None:
    """The life of one of the crowd; it never returns."""
    held = bytearray(HELD_BYTES)
    held[::4096] = b"x" * len(held[::4096])
    extra = b""
    turn = 0
    while os.getppid() != 1:
        turn += 1
        if number % 10 == 0:
            extra = bytes([turn % 250 + 1]) * (MOVED_BYTES * (turn % 2))
        time.sleep(1.0)
    os._exit(len(extra) & 1)


def run(words: list[str]) -> Cost:
    """Run a program to its end and tell its cost."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    after, wall_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
    user_s, system_s = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return Cost(user_s, system_s, wall_s)


def _row(name: str, cost: Cost) -> str:
    figures = f"{cost.user_s:.2f} | {cost.system_s:.2f} | {cost.wall_s:.1f}"
    return f"| {name} | {figures} | {cost.percent:.2f} % |"


def main() -> None:
    """Measure both, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=240)
    arguments = parser.parse_args()
    pids = crowd(arguments.processes)
    try:
        time.sleep(3)
        seen = sum(name.isdigit() for name in os.listdir("/proc"))
        with tempfile.TemporaryDirectory(prefix="memtwin-watch-") as folder:
            store = Path(folder) / "store"
            words = [sys.executable, "-m", "memtwin", "watch", "-o", str(store), "--interval", "1"]
            run([*words[:5], str(Path(folder) / "first"), "--for", "0s"])  # compiles the modules
            ours = run([*words, "--for", f"{arguments.seconds}s"])
            reader = StoreReader(store)
            once = [*words[:5], str(Path(folder) / "once"), "--for", "0s"]
            start = run(once)
            cpu_ns = reader.table("samples")["cpu_ns"].to_pylist()[2:]
            followed = len(set(reader.table("processes")["pid"].to_pylist()))
            size_bytes = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        naive = run([sys.executable, "-c", PSUTIL_LOOP, str(LOOP_S)])
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    looks_percent = 100 * statistics.mean(cpu_ns) / 1e9
    looks = len(cpu_ns) + 2
    running = ours.percent - 100 * (start.user_s + start.system_s) / ours.wall_s
    holds = "holds once it runs" if running < 2 else "does not hold"
    if ours.percent < 2:
        holds = "holds, start and sealing included"
    text = f"""# What watching costs

{arguments.processes} processes of {HELD_BYTES >> 20} MiB made for it among {seen} on this machine,
every tenth of which takes or gives {MOVED_BYTES >> 20} MiB each second; one look a second for
{arguments.seconds} s. Python {platform.python_version()}, Linux {platform.release()}. Made by
`python benchmarks/watch.py --processes {arguments.processes} --seconds {arguments.seconds}`.

| | user s | system s | wall s | of one CPU |
| --- | --- | --- | --- | --- |
{_row(f"`memtwin watch`: start, {looks} looks, sealing", ours)}
| the same without what start, first look and sealing that cost | | | | {running:.2f} % |
| its looks alone, by its own clock | | | | {looks_percent:.2f} % |
{_row("a psutil loop, memory_full_info() of each", naive)}

The loop takes {naive.percent / ours.percent:.0f} times as much. Less than 2 % is asked for: that
{holds}. The machine's load was {os.getloadavg()[1]:.0f} on {os.cpu_count()} CPUs.
{followed} processes were followed; the store takes {size_bytes / 1024 / looks:.1f} KiB a look.
"""
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
