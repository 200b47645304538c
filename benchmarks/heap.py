"""Owns the speed of the twin's malloc, and of recording: each beside the C library, in one run.

Runs `programs/heap_pairs.c` on the same sequences; judged is CPU time. `python benchmarks/heap.py`
prints a table and writes it to heap.md.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from memtwin.heap.build import HeapTerms, new_heap
from memtwin.heap.event_runner import EventRunner
from memtwin.heap.memory import Touching
from memtwin.record.heap_recorder import library_path

HERE = Path(__file__).resolve().parent
PAIRS = 1_000_000
ROUNDS = 3
Sequence = tuple[np.ndarray, np.ndarray, np.ndarray]


def pairs_of_one_size() -> Sequence:
    """malloc(100), free, again and again."""
    return (
        np.tile(np.array([1, 2], "i8"), PAIRS),
        np.zeros(2 * PAIRS, "i8"),
        np.full(2 * PAIRS, 100, "i8"),
    )


def churn(live: int, smallest: int, largest: int) -> Sequence:
    """Free one of `live` blocks by chance, allocate another in its place."""
    chance = np.random.default_rng(7)
    slots = np.repeat(chance.integers(0, live, PAIRS), 2)
    sizes = np.repeat(chance.integers(smallest, largest, PAIRS), 2)
    return np.tile(np.array([2, 1], "i8"), PAIRS), slots, sizes


SEQUENCES = {
    "malloc(100) and free": pairs_of_one_size(),
    "1,000 live of 16 to 512 B": churn(1000, 16, 512),
    "1,000 live of 16 to 4,096 B": churn(1000, 16, 4096),
    "100,000 live of 16 to 512 B": churn(100_000, 16, 512),
}


def twin_ns(sequence: Sequence) -> float:
    """CPU ns an event of the twin, the second time through."""
    heap = new_heap(HeapTerms(touching=Touching.REQUESTED))
    heap.memory.log.keeps = 0
    runner = EventRunner(heap)
    ops, slots, sizes = sequence
    runner.make_room(int(slots.max()) + 1)
    narrow, zero = ops.astype("u1"), np.zeros(len(ops), "i8")
    spent = 0.0
    for _ in range(2):
        before = time.process_time()
        runner.run(narrow.data, slots.data, sizes.data, zero.data, 0, len(ops))
        spent = time.process_time() - before
    return spent * 1e9 / len(ops)


def real_ns(program: Path, sequence: Sequence, directory: Path, recorder: str = "") -> float:
    """CPU ns an event of the C library, the second time through; with `recorder` preloaded."""
    events = directory / "events"
    np.stack(sequence, axis=1).astype("i8").tofile(events)
    environment = dict(os.environ)
    if recorder:
        segments = directory / "segments"
        segments.mkdir()
        environment |= {"LD_PRELOAD": recorder, "MEMTWIN_HEAP_DIR": str(segments)}
    done = subprocess.run(
        [str(program), str(events)], env=environment, capture_output=True, text=True, check=True
    )
    if recorder:
        for path in segments.iterdir():
            path.unlink()
        segments.rmdir()
    return int(done.stdout) / len(sequence[0])


def main() -> int:
    """Measure, print, write."""
    library = str(library_path())
    load = os.getloadavg()[0]
    lines = [
        "| sequence | twin, M pairs/s | C library, M pairs/s | twin / C library"
        " | recording costs, ns an event |",
        "| --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        program = directory / "heap_pairs"
        source = HERE / "programs" / "heap_pairs.c"
        subprocess.run(["gcc", "-O2", "-fno-builtin", "-o", str(program), str(source)], check=True)
        for what, sequence in SEQUENCES.items():
            twin, real, recorded = [], [], []
            for _ in range(ROUNDS):
                twin.append(twin_ns(sequence))
                real.append(real_ns(program, sequence, directory))
                recorded.append(real_ns(program, sequence, directory, library))
            ours, theirs, more = (statistics.median(x) for x in (twin, real, recorded))
            lines.append(
                f"| {what} | {500 / ours:.1f} | {500 / theirs:.1f} | {theirs / ours:.2f} |"
                f" {more - theirs:.0f} |"
            )
            print(lines[-1], flush=True)
    text = (
        "# malloc: the twin beside the C library\n\n"
        f"Median of {ROUNDS} rounds, CPU time of one core; both sides ran the same"
        f" {2 * PAIRS:,} events twice, the second\ntime counted. `make bench` or"
        " `python benchmarks/heap.py` makes this page; the load of the machine was"
        f" {load:.1f} as it began.\n\n" + "\n".join(lines) + "\n"
    )
    (HERE / "heap.md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
