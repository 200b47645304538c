"""Owns `make heap-truth`: the twin's malloc against the C library of this machine, at length.

Imports the harness of tests/heap. Every mix of events with every seed, single-threaded, then every
mix with threads that take turns; prints a line a mix, and the first differences of what differs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import house

sys.path.insert(0, str(house.ROOT))

from tests.heap import sequences, truth


def compare(driver: Path, name: str, seeds: int, events: int, threads: int) -> list[str]:
    """What differs in the sequences of one mix; prints how many were equal."""
    wrong, calls, equal = [], 0, 0
    for seed in range(seeds):
        if threads:
            rows = sequences.threaded(name, seed, threads, events)
        else:
            rows = sequences.sequence(name, seed, events)
        real = truth.real(driver, rows)
        twin, _ = truth.twin(rows, real.layout)
        found = truth.differences(real, twin)
        if real.status != 0:
            found.append(f"the driver ended with status {real.status}")
        calls += len(real.calls)
        equal += not found
        wrong += [f"{name}, seed {seed}, {threads} threads: {what}" for what in found]
    shown = f"{name}, {threads} threads" if threads else name
    print(
        f"{shown:28} {equal} of {seeds} equal, {seeds * events} events, {calls} calls", flush=True
    )
    return wrong


def main() -> int:
    """Command line: 1 when anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=16, help="sequences of each mix")
    parser.add_argument("--events", type=int, default=10_000, help="events of a sequence")
    parser.add_argument("--threads", type=int, default=5, help="threads besides the main one")
    parser.add_argument("--threaded-seeds", type=int, default=4, help="sequences with threads")
    chosen = parser.parse_args()
    reason = truth.why_not()
    if reason:
        print(f"heap-truth: {reason}", file=sys.stderr)
        return 1
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        driver = truth.build_driver(Path(directory))
        print(f"glibc {truth.glibc_version()}: addresses, usable sizes, calls to the kernel")
        for name in sequences.MIXES:
            wrong += compare(driver, name, chosen.seeds, chosen.events, 0)
        for name in sequences.MIXES:
            wrong += compare(driver, name, chosen.threaded_seeds, chosen.events, chosen.threads)
    print("\n".join(wrong) if wrong else "nothing differs")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
