"""Owns the measurements of observing processes: what a look costs, and whom it stalls.

Run `python benchmarks/processes.py`; it writes benchmarks/processes.md. CPU time is judged, but of
stalls: those want a quiet machine.
"""

from __future__ import annotations

import argparse
import gzip
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from memtwin.cli import ps_choice, ps_view
from memtwin.cli.view import Form, rendered
from memtwin.observe.processes.budgeted_looks import BudgetedLooks
from memtwin.observe.processes.scan import Part, ProcessScan
from memtwin.observe.source import TreeSource

HERE = Path(__file__).resolve().parent
PROCESSES, ROUNDS = 300, 7
STALL_MIB, STALL_S = 1024, 4


def children_cpu_s() -> float:
    """CPU time of all children that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def speed() -> list[str]:
    """Rows: a raw loop over smaps_rollup, `memtwin ps` warm and cold, smem."""
    command = [sys.executable, "-c", "input()"]
    sleepers = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(PROCESSES)]
    pids = [one.pid for one in sleepers]
    try:
        time.sleep(12)  # until all have started
        looks = ps_view.ProcessLooks(ps_view.Choice(Path("/")))
        looks.scan.pids = lambda: pids  # type: ignore[method-assign]
        raw_s, ours_s = [], []
        for _ in range(ROUNDS):
            raw_s.append(raw(pids))
            begin = time.process_time()
            rendered(looks.look(), Form.TEXT)
            ours_s.append(time.process_time() - begin)
        low, high = statistics.median(raw_s), statistics.median(ours_s)
        cold_s = program_s([str(Path(sys.executable).parent / "memtwin"), "ps"])
        smem_s = program_s(["smem"])
    finally:
        for one in sleepers:
            one.kill()
            one.communicate()
    return [
        f"| os.read loop over {PROCESSES} smaps_rollup | {low * 1e3:.1f} ms | 1.00 |",
        f"| `memtwin ps`, the look and its text | {high * 1e3:.1f} ms | {high / low:.2f} |",
        f"| `memtwin ps` from a cold start, all processes | {cold_s * 1e3:.0f} ms |"
        f" {cold_s / low:.1f} |",
        f"| `smem` from a cold start, all processes | {smem_s * 1e3:.0f} ms | {smem_s / low:.1f} |",
    ]


GROWN = """
import mmap, sys
pages, areas = int(sys.argv[1]), int(sys.argv[2])
kept = []
for number in range(areas):
    one = mmap.mmap(-1, max(pages // areas, 2) * 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS,
                    mmap.PROT_READ | (mmap.PROT_WRITE if number % 2 or areas == 1 else 0))
    one.madvise(mmap.MADV_NOHUGEPAGE)
    if number % 2 or areas == 1:
        for at in range(0, pages // areas * 4096, 4096):
            one[at] = 1
    kept.append(one)
print("ready", flush=True)
input()
"""


def calibration() -> list[str]:
    """Rows: what one smaps_rollup costs by resident pages and mappings."""
    rows = []
    for pages, areas in ((0, 2), (131072, 1), (0, 10000)):
        words = [sys.executable, "-c", GROWN, str(pages), str(areas)]
        one = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert one.stdout is not None
        one.stdout.readline()
        cost_us = statistics.median(raw([one.pid]) for _ in range(15)) * 1e6
        resident = int(Path(f"/proc/{one.pid}/statm").read_text().split()[1])
        mapped = len(Path(f"/proc/{one.pid}/maps").read_text().splitlines())
        rows.append(f"| {resident:,} | {mapped:,} | {cost_us:.0f} us |")
        one.communicate(b"\n")
    return rows


def raw(pids: list[int]) -> float:
    """CPU time of opening, reading and closing each smaps_rollup, and nothing else."""
    begin = time.process_time()
    proc = os.open("/proc", os.O_RDONLY)
    for pid in pids:
        file = os.open(f"{pid}/smaps_rollup", os.O_RDONLY, dir_fd=proc)
        os.read(file, 4096)
        os.close(file)
    os.close(proc)
    return time.process_time() - begin


def program_s(words: list[str]) -> float:
    """Least CPU time of two runs of a program, its modules compiled before as for a user."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=environment)
    found = []
    for _ in range(2):
        begin = children_cpu_s()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL, env=environment)
        found.append(children_cpu_s() - begin)
    return min(found)


def per_vma_locks() -> str:
    """Whether page faults here take a lock of their own area, and by what that is told."""
    if Path("/proc/config.gz").exists():
        config = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
        answer = "has" if "\nCONFIG_PER_VMA_LOCK=y\n" in config else "has no"
        return f"{answer} per-VMA locks (/proc/config.gz)"
    try:
        symbols = Path("/proc/kallsyms").read_text()
    except OSError:
        symbols = ""
    if not symbols:
        return "does not tell whether it has per-VMA locks"
    # mm/memory.c lock_vma_under_rcu(), v6.4: there with CONFIG_PER_VMA_LOCK alone
    answer = "has" if " lock_vma_under_rcu\n" in symbols else "has no"
    return f"{answer} per-VMA locks (/proc/kallsyms)"


def stall(program: Path, kind: str, reader: str) -> str:
    """One row: the victim's latencies while `reader` looks once a second."""
    words = [str(program), kind, str(STALL_MIB), str(STALL_S)]
    victim = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert victim.stdout is not None
    victim.stdout.readline()
    stop = threading.Event()
    thread = threading.Thread(target=READERS[reader], args=(victim.pid, stop))
    thread.start()
    count, worst_ns, tail_ns, slow = map(int, victim.stdout.readline().split())
    stop.set()
    thread.join()
    victim.communicate()
    times = f"{worst_ns / 1e3:.0f} us | {tail_ns / 1e3:.0f} us"
    return f"| {kind} | {reader} | {count:,} | {times} | {slow} |"


def nobody(pid: int, stop: threading.Event) -> None:
    """No reader at all."""
    stop.wait()


def naive(pid: int, stop: threading.Event) -> None:
    """smaps_rollup each second, whatever it costs."""
    while not stop.wait(1.0):
        Path(f"/proc/{pid}/smaps_rollup").read_bytes()


def budgeted(pid: int, stop: threading.Event) -> None:
    """Our looks each second, with the usual budget of 1 %."""
    scan = ProcessScan(TreeSource("/"), Part.STAT)
    scan.pids = lambda: [pid]  # type: ignore[method-assign]
    looks = BudgetedLooks(scan, ps_choice.DEFAULT_SHARE)
    while not stop.wait(1.0):
        looks.look(time.monotonic(), 1.0)


READERS = {"none": nobody, "naive 1 Hz": naive, "memtwin, 1 %": budgeted}


def machine() -> str:
    """Where a section was measured."""
    load = os.getloadavg()[1]
    return f"Linux {platform.release()}, {os.cpu_count()} CPUs at a load of {load:.0f}."


def speed_section() -> str:
    """The cost of a look."""
    return "\n".join([
        f"## Cost of a look at {PROCESSES} idle Python processes", "",
        f"CPU time, median of {ROUNDS} rounds in one run; the programs' least of 2.", machine(), "",
        "| what | CPU | ratio |", "| --- | ---: | ---: |", *speed(), "",
    ])  # fmt: skip


def costs_section() -> str:
    """What one smaps_rollup costs."""
    return "\n".join([
        "## Cost of one smaps_rollup", "", machine(), "",
        "| resident pages | mappings | CPU |", "| ---: | ---: | ---: |", *calibration(), "",
    ])  # fmt: skip


def stalls_section() -> str:
    """What a look does to the process it looks at."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / "stall_victim"
        source = str(HERE / "stall_victim.c")
        subprocess.run(["gcc", "-O2", source, "-o", str(program)], check=True)
        stalls = [stall(program, kind, one) for kind in ("fault", "map") for one in READERS]
    return "\n".join([
        f"## Stall of a process with {STALL_MIB} MiB resident, {STALL_S} s each", "",
        "`fault` touches a page again and again, `map` maps and unmaps one; what stalls them is a"
        " reader,", f"or another program on the machine. {machine()} It {per_vma_locks()}.", "",
        "| victim | reader | operations | slowest | p99.99 | over 100 us |",
        "| --- | --- | ---: | ---: | ---: | ---: |", *stalls, "",
    ])  # fmt: skip


SECTIONS = {"speed": speed_section, "costs": costs_section, "stalls": stalls_section}
HEAD = """# Observing processes

Made by `python benchmarks/processes.py`; with `speed`, `costs` or `stalls` only that section is
measured anew. Each says on which machine.

"""


def main() -> None:
    """Measure what is asked for, and write it into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=" ".join(SECTIONS))
    asked = parser.parse_args().sections or list(SECTIONS)
    for name in asked:
        if name not in SECTIONS:
            parser.error(f"found {name!r}, allowed are {', '.join(SECTIONS)}")
    page = HERE / "processes.md"
    _, *before = page.read_text().split("\n## ")
    kept = dict(zip(SECTIONS, (f"## {one}" for one in before), strict=False))
    kept |= {name: SECTIONS[name]() for name in asked}
    page.write_text(HEAD + "\n".join(kept[name].rstrip() + "\n" for name in SECTIONS))
    print(page.read_text())


if __name__ == "__main__":
    main()
