"""Owns `make heap-truth`: the twin's malloc against real C libraries, at length.

Imports the harness of tests/heap. Every mix of events with every seed, single-threaded, then every
mix with threads that take turns, then with a mapping in the way of the break; prints a line a mix,
and the first differences of what differs. Where builds are named, the same for each of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import house

sys.path.insert(0, str(house.ROOT))

from tests import glibc_builds
from tests.glibc_builds import Library
from tests.heap import sequences, truth


def kinds(chosen: argparse.Namespace) -> Iterator[tuple[str, list[np.ndarray]]]:
    """What is run, by its name: lists of sequences."""
    names, events = list(sequences.MIXES), chosen.events
    for name in names:
        yield name, [sequences.sequence(name, seed, events) for seed in range(chosen.seeds)]
    for name in names if chosen.threaded_seeds else []:
        seeds = range(chosen.threaded_seeds)
        rows = [sequences.threaded(name, seed, chosen.threads, events) for seed in seeds]
        yield f"{name}, {chosen.threads} threads", rows
    for name in names if chosen.walled_seeds else []:
        seeds = range(chosen.walled_seeds)
        yield f"{name}, walled", [sequences.walled(name, seed, events) for seed in seeds]


def compare(driver: Path, library: Library, name: str, runs: list[np.ndarray]) -> list[str]:
    """What differs in the sequences of one kind; prints how many were equal."""
    wrong, calls, equal = [], 0, 0
    for seed, rows in enumerate(runs):
        real = truth.real(driver, rows)
        twin, _ = truth.twin(rows, real.layout, glibc=library.version)
        found = truth.differences(real, twin)
        if real.status != 0:
            found.append(f"the driver ended with status {real.status}")
        if library.directory and str(library.directory) not in real.maps:
            found.append(f"the driver did not run on {library.directory}")
        calls += len(real.calls)
        equal += not found
        wrong += [f"{name}, seed {seed}: {what}" for what in found]
    events = sum(len(rows) for rows in runs)
    shown = f"{equal} of {len(runs)} equal, {events} events, {calls} calls"
    print(f"{name:28} {shown}", flush=True)
    return wrong


def compare_all(library: Library, chosen: argparse.Namespace) -> list[str]:
    """What differs on one C library, of all kinds of sequences."""
    reason = glibc_builds.why_not(library)
    if reason:
        return [reason]
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        driver = truth.build_driver(Path(directory), library)
        print(f"glibc {library}: addresses, usable sizes, calls to the kernel")
        for name, runs in kinds(chosen):
            wrong += compare(driver, library, name, runs)
    print("\n".join(wrong) if wrong else "nothing differs", flush=True)
    return wrong


def main() -> int:
    """Command line: 1 when anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=16, help="sequences of each mix")
    parser.add_argument("--events", type=int, default=10_000, help="events of a sequence")
    parser.add_argument("--threads", type=int, default=5, help="threads besides the main one")
    parser.add_argument("--threaded-seeds", type=int, default=4, help="sequences with threads")
    parser.add_argument("--walled-seeds", type=int, default=2, help="with the break in a corner")
    words = "directory with another libc.so.6 and its loader; may be repeated"
    parser.add_argument("--glibc", type=Path, action="append", default=[], help=words)
    chosen = parser.parse_args()
    libraries = [] if chosen.glibc else [glibc_builds.installed()]
    for directory in chosen.glibc:
        found = glibc_builds.in_directory(directory)
        if found is None:
            print(f"heap-truth: {directory} holds no libc.so.6 beside its loader", file=sys.stderr)
            return 2
        libraries.append(found)
    wrong = [what for library in libraries for what in compare_all(library, chosen)]
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
