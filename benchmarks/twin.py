"""Owns the twin's side of the benchmarks: each measure as a function, in a process of its own.

Imports memtwin. Run by run.py as `twin.py MEASURE`, it prints one JSON object; CPU and wall time
are those of the measured part alone, boot and imports excluded unless they are what is measured.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import memtwin
from memtwin.fault.verdicts import WRITE
from memtwin.machine.config import load_machine
from memtwin.machine.machine import Machine
from memtwin.units import GIB, PAGE_SIZE, vaddr_to_vpn

MIB = 1 << 20
SWEEP_LIMITS = 12


class Watch:
    """CPU and wall seconds of what runs inside `with`."""

    def __enter__(self) -> Watch:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu_s = time.process_time() - self._cpu
        self.wall_s = time.perf_counter() - self._wall


def rss_bytes() -> int:
    """Resident bytes of this process, as the kernel counts them page by page."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("/proc/self/smaps_rollup: found no Rss")


def machine_with_limit() -> Machine:
    """8 GiB, kernel 6.12, and a memory cgroup whose limit is never reached."""
    return Machine(load_machine("laptop-8g", ["limit=4G", "thp=never"]))


class Program:
    """One process of a machine with one anonymous area."""

    def __init__(self, size_bytes: int) -> None:
        self.machine = machine_with_limit()
        self.pages = size_bytes // PAGE_SIZE
        self.process = self.machine.spawn("bench")
        self.map()

    def map(self) -> None:
        """Map the area afresh."""
        self.address = self.process.mmap(self.pages * PAGE_SIZE)
        self.vpn = vaddr_to_vpn(self.address)

    def unmap(self) -> None:
        """Give everything back."""
        self.process.munmap(self.address, self.pages * PAGE_SIZE)

    def pass_over(self) -> None:
        """Write one word in each page, in order."""
        access, mm = self.machine.kernel.access, self.process.task.space()
        done = access.touch_seq(mm, self.vpn, 0, 1, self.pages, 0, self.pages, WRITE)
        assert done == self.pages, f"touched {done} of {self.pages}"


def faults(size_mib: int = 1024, rounds: int = 1) -> dict[str, Any]:
    """Anonymous minor faults of a fresh area; a round is one line of the answer."""
    program = Program(size_mib * MIB)
    found = []
    for number in range(rounds):
        if number:
            program.map()
        before = program.machine.figures()["pgfault"]
        with Watch() as watch:
            program.pass_over()
        count = program.machine.figures()["pgfault"] - before
        assert count == program.pages, f"{count} faults for {program.pages} pages"
        found.append({"count": count, "cpu_s": watch.cpu_s, "wall_s": watch.wall_s})
        program.unmap()
    program.machine.verify()
    return {"rounds": found}


def touches(size_mib: int = 1024, passes: int = 40) -> dict[str, Any]:
    """Touches of resident pages: in order, and at random over the whole area."""
    program = Program(size_mib * MIB)
    program.pass_over()
    access, mm = program.machine.kernel.access, program.process.task.space()
    with Watch() as sequential:
        total = program.pages * passes
        access.touch_seq(mm, program.vpn, 0, 1, program.pages, 0, total, WRITE)
    wanted = np.random.default_rng(1).integers(0, program.pages, 4_000_000) + program.vpn
    vpns = memoryview(np.ascontiguousarray(wanted, dtype=np.int64))
    access.touch_list(mm, vpns, 0, 100_000, WRITE)
    with Watch() as random:
        done = access.touch_list(mm, vpns, 0, len(vpns), WRITE)
    assert done == len(vpns), f"touched {done} of {len(vpns)}"
    return {
        "sequential": {"count": total, "cpu_s": sequential.cpu_s, "wall_s": sequential.wall_s},
        "random": {"count": done, "cpu_s": random.cpu_s, "wall_s": random.wall_s},
    }


def host_memory(size_mib: int = 1024) -> dict[str, Any]:
    """Host bytes that a simulated page costs once it is touched."""
    program = Program(size_mib * MIB)
    before = rss_bytes()
    with Watch() as watch:
        program.pass_over()
    grew = rss_bytes() - before
    return {
        "bytes_per_page": grew / program.pages,
        "grew_bytes": grew,
        "pages": program.pages,
        "cpu_s": watch.cpu_s,
        "wall_s": watch.wall_s,
    }


def boot() -> dict[str, Any]:
    """A machine of 1 TiB from nothing to its first process."""
    config = load_machine("server-64g", ["ram=1024G"])
    before = rss_bytes()
    with Watch() as watch:
        machine = Machine(config)
        program = machine.spawn("first")
        program.touch(program.mmap(PAGE_SIZE))
    assert config.ram_bytes >= 1000 * GIB, f"found {config.ram_bytes} bytes"
    return {
        "cpu_s": watch.cpu_s,
        "wall_s": watch.wall_s,
        "grew_bytes": rss_bytes() - before,
        "rss_bytes": rss_bytes(),
    }


def sweep() -> dict[str, Any]:
    """12 limits around the peak of the shipped recording, one after the other."""
    from memtwin.analysis.sizing import choose_limits
    from memtwin.record.trace import open_trace
    from memtwin.sweep.sizing import sweep as sweep_limits
    from memtwin.workload.replay import replay

    trace = open_trace(Path(str(importlib.resources.files("memtwin") / "data" / "demo.trace")))
    config = load_machine("laptop-8g")
    peak_bytes = replay(trace, config).peak_rss_bytes
    limits = choose_limits(peak_bytes, SWEEP_LIMITS)
    with Watch() as watch:
        curve = sweep_limits(trace, config, limits, jobs=1)
    return {
        "limits_mib": [limit / MIB for limit in limits],
        "cpu_s": watch.cpu_s,
        "wall_s": watch.wall_s,
        "verdicts": [str(point.verdict.value) for point in curve.points],
        "maj_flt": [point.maj_flt for point in curve.points],
    }


MEASURES: dict[str, Callable[..., dict[str, Any]]] = {
    "faults": faults,
    "touches": touches,
    "host_memory": host_memory,
    "boot": boot,
    "sweep": sweep,
}


def main() -> None:
    """Run the measure that the command line names, with the numbers after it."""
    if not memtwin.compiled() and "MEMTWIN_BENCH_INTERPRETED" not in os.environ:
        raise SystemExit("found interpreted rooms, allowed is compiled: run `make build`")
    print(json.dumps(MEASURES[sys.argv[1]](*(int(word) for word in sys.argv[2:]))))


if __name__ == "__main__":
    main()
