"""What a look into a live heap costs, beside valgrind on the same program: one table.

    python benchmarks/leak_scan.py            # writes benchmarks/leak_scan.md
    python benchmarks/leak_scan.py --soak N   # N scans of a churning program, none may find a leak

The program holds blocks in lists (so that marking follows pointers), computes over them in rounds
and takes each round's CPU time; its round under valgrind over its round alone is the slowdown. Run
it while nothing else runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from memtwin.observe.live_heap import HeapScan, Method, scan_heap

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE.parent / "tests/observe/live_heap/programs"
SCANS = 5
ROUNDS_ALONE = 5
Measured = tuple[HeapScan, int]  # and the CPU time of all of it, in ns

SOURCE = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
struct node { struct node *next, *other; char fill[]; };
struct node *volatile lists[1024];
int main(int argc, char **argv)
{
    long blocks = atol(argv[1]), size = atol(argv[2]), rounds = argc > 3 ? atol(argv[3]) : 0;
    for (long i = 0; i < blocks; i++) {
        struct node *n = malloc(size);
        memset(n, 1, size);
        n->next = lists[i % 1024];
        n->other = i % 7 ? lists[(i * 31) % 1024] : NULL;
        lists[i % 1024] = n;
    }
    puts("READY");
    fflush(stdout);
    for (long round = 0; !rounds || round < rounds; round++) {
        struct timespec a, b;
        long sum = 0;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
        for (int i = 0; i < 1024; i++)
            for (struct node *n = lists[i]; n; n = n->next)
                for (int k = 0; k < 200; k++)
                    sum = sum * 31 + n->fill[k];
        for (int i = 0; i < 200000; i++) {
            char *volatile p = malloc(100);
            p[0] = (char)sum;
            free(p);
        }
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
        printf("%.6f\n", (b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) / 1e9);
        fflush(stdout);
    }
}
"""


def build(folder: Path) -> Path:
    """The program of the measurement."""
    source, out = folder / "rounds.c", folder / "rounds"
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-g", "-o", str(out), str(source)], check=True)
    return out


def rounds_of(command: list[str]) -> list[float]:
    """The seconds of each round of a run to its end."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(line) for line in done.stdout.split() if line != "READY"]


def scans_of(program: Path, blocks: int, size_bytes: int, method: Method) -> list[Measured]:
    """Scans of the running program."""
    running = subprocess.Popen(
        [str(program), str(blocks), str(size_bytes)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None
        running.stdout.readline()
        drain = subprocess.Popen(["cat"], stdin=running.stdout, stdout=subprocess.DEVNULL)
        found = []
        for _ in range(SCANS):
            began_ns = time.process_time_ns()
            scan = scan_heap(running.pid, method)
            found.append((scan, time.process_time_ns() - began_ns))
        drain.kill()
        drain.wait()
        return found
    finally:
        running.kill()
        running.wait()


def row(label: str, measured: list[Measured]) -> str:
    """A line of the table: medians."""
    scans = [scan for scan, _ in measured]
    total_s = statistics.median(cpu_ns for _, cpu_ns in measured) / 1e9

    def median(of: str) -> float:
        return statistics.median(getattr(scan.cost, of) for scan in scans)

    rate = statistics.median(scan.cost.marked_bytes / scan.cost.mark_cpu_ns for scan in scans)
    used = sum(tally.blocks for tally in scans[0].kinds.values())
    return (
        f"| {label} | {used:,} | {scans[0].heap.in_use_bytes >> 20} MiB |"
        f" {median('stop_ns') / 1e6:.1f} ms | {median('read_cpu_ns') / 1e9:.2f} s |"
        f" {median('walk_cpu_ns') / 1e9:.2f} s | {median('mark_cpu_ns') / 1e9:.2f} s |"
        f" {rate:.2f} GB/s | {total_s:.2f} s |"
    )


def measure() -> str:
    """The whole table."""
    with tempfile.TemporaryDirectory() as name:
        program = build(Path(name))
        lines = [
            "# A look into a live heap, beside valgrind",
            "",
            "Made by `python benchmarks/leak_scan.py`; medians of"
            f" {SCANS} scans. Marking includes the index of blocks. Stood still is wall time, the"
            " rest CPU time of memtwin's. The load of the machine was"
            f" {os.getloadavg()[0]:.1f} as it began.",
            "",
            "| program | blocks | in use | stood still | read | walk | mark | marking | in all |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
        for label, blocks, size, method in (
            ("256 MiB in 16 KiB blocks, forked copy", 16_384, 16_300, Method.FORK),
            ("256 MiB in 1 M blocks, forked copy", 1_000_000, 240, Method.FORK),
            ("256 MiB in 1 M blocks, where it stands", 1_000_000, 240, Method.COPY),
        ):
            lines.append(row(label, scans_of(program, blocks, size, method)))
        words = [str(program), "200000", "240", str(ROUNDS_ALONE)]
        alone = statistics.median(rounds_of(words))
        valgrind = statistics.median(rounds_of(["valgrind", "-q", "--leak-check=no", *words]))
        scans = scans_of(program, 200_000, 240, Method.FORK)
        stop_s = statistics.median(scan.cost.stop_ns for scan, _ in scans) / 1e9
        lines += [
            "",
            f"The same program with 200,000 blocks: a round takes {alone * 1e3:.1f} ms of CPU"
            f" alone and {valgrind * 1e3:.0f} ms under valgrind,"
            f" **{valgrind / alone:.0f} times**. A scan stops it once"
            f" for {stop_s * 1e3:.1f} ms; scanned once a minute that is"
            f" {1 + stop_s / 60:.4f} times.",
        ]
    return "\n".join(lines) + "\n"


def soak(scans: int) -> int:
    """Scan a churning program again and again; the number of scans that named a lost block."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "churn"
        subprocess.run(
            ["gcc", "-O1", "-pthread", "-o", str(out), str(PROGRAMS / "churn.c")], check=True
        )
        running = subprocess.Popen([str(out)], stdout=subprocess.PIPE, text=True)
        wrong = tries = 0
        try:
            assert running.stdout is not None
            running.stdout.readline()
            for number in range(scans):
                scan = scan_heap(running.pid, Method.COPY if number % 4 == 3 else Method.FORK)
                tries += scan.cost.tries
                if scan.kinds["definite"].blocks:
                    wrong += 1
                    print(scan.groups[0])
                time.sleep(0.01)
        finally:
            running.kill()
            running.wait()
    print(f"{scans} scans ({tries} looks): {wrong} named a lost block")
    return wrong


def main() -> None:
    """Measure and write the table, or soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--soak", type=int, metavar="N")
    arguments = parser.parse_args()
    if arguments.soak:
        sys.exit(1 if soak(arguments.soak) else 0)
    text = measure()
    (HERE / "leak_scan.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
