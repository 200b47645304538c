"""Owns driving a process of the twin's kernel with what a replayed heap asked for and touched.

Imports machine, heap. Knows nothing of chunks. The break is the process's own; mappings get the
addresses that the twin's kernel gives them, and touches follow.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import Any

from memtwin.heap.constants import BRK, MADV_DONTNEED, MADVISE, MMAP, MREMAP, MUNMAP, TOUCH
from memtwin.machine.config import load_machine
from memtwin.machine.machine import Machine
from memtwin.machine.process import Process
from memtwin.units import bytes_to_pages
from memtwin.workload.heap_replay import Replayed

_GROUP = "heap"


class HeapProcess:
    """One process of a machine, and where the heap's addresses lie in it."""

    def __init__(self, process: Process, brk_start: int) -> None:
        self.process = process
        self.brk_start = brk_start
        self.brk_there = int(process.syscalls.brk(process.task, 0))
        self.starts: list[int] = []
        self.regions: dict[int, tuple[int, int]] = {}  # heap address -> (length, there)
        self.failures = 0

    def of_child(self, child: Process) -> HeapProcess:
        """The same heap in a forked child: addresses are those of the parent."""
        found = HeapProcess(child, self.brk_start)
        found.brk_there = self.brk_there
        found.starts, found.regions = list(self.starts), dict(self.regions)
        return found

    def apply(self, kind: int, address: int, length: int, argument: int, result: int) -> None:
        """One row of the log. A killed process is left alone."""
        if not self.process.alive:
            return
        if kind == TOUCH:
            self._touch(address, length)
        elif kind == BRK and address:
            self._brk(address)
        elif kind == MMAP and result > 0:
            self._map(result, length)
        elif kind == MUNMAP:
            self._unmap(address, length)
        elif kind == MREMAP and result > 0:
            self._move(address, length, argument, result)
        elif kind == MADVISE and argument == MADV_DONTNEED:
            there = self._there(address)
            if there:
                self.process.madvise(there, length, "dontneed")

    def _brk(self, wanted: int) -> None:
        target = self.brk_there + wanted - self.brk_start
        if self.process.syscalls.brk(self.process.task, target) != target:
            self.failures += 1

    def _map(self, address: int, length: int) -> None:
        there = self.process.mmap(length)
        if there < 0:
            self.failures += 1
            return
        self.regions[address] = (length, there)
        insort(self.starts, address)

    def _find(self, address: int) -> int:
        at = bisect_right(self.starts, address) - 1
        if at < 0:
            return 0
        start = self.starts[at]
        return start if address < start + self.regions[start][0] else 0

    def _there(self, address: int) -> int:
        """Where an address of the heap lies in the process; 0 nowhere."""
        start = self._find(address)
        if start:
            return self.regions[start][1] + address - start
        if self.brk_start <= address < self.brk_start + (1 << 40):
            return self.brk_there + address - self.brk_start
        return 0

    def _touch(self, address: int, length: int) -> None:
        there = self._there(address)
        if there:
            self.process.touch(there, bytes_to_pages(length))

    def _unmap(self, address: int, length: int) -> None:
        """Unmap all or one end of a region, as heaps are trimmed to their alignment."""
        start = self._find(address)
        if not start:
            return
        size, there = self.regions.pop(start)
        self.starts.remove(start)
        length = min(length, start + size - address)
        self.process.munmap(there + address - start, length)
        for low, high in ((start, address), (address + length, start + size)):
            if high > low:
                self.regions[low] = (high - low, there + low - start)
                insort(self.starts, low)

    def _move(self, address: int, old: int, new: int, result: int) -> None:
        start = self._find(address)
        if start != address:
            return
        _, there = self.regions.pop(start)
        self.starts.remove(start)
        syscalls = self.process.syscalls
        moved = int(syscalls.mremap(self.process.task, there, old, new))
        if moved < 0:
            self.failures += 1
            moved = there
        self.regions[result] = (new, moved)
        insort(self.starts, result)


def run_on_machine(done: Replayed, machine: str, limit: str | None) -> dict[str, Any]:
    """Drive a process of `machine` with a replay whose log was kept: what it took there."""
    host = Machine(load_machine(machine))
    if limit is not None:
        host.cgroups.create(_GROUP)
        host.cgroups.set(_GROUP, "memory.max", limit)
    process = host.spawn("program", _GROUP if limit is not None else "")
    brk_start = int(done.heap.system.map.layout.brk_start)
    mm = process.task.space()
    mm.start_brk = mm.brk = brk_start
    driven = HeapProcess(process, brk_start)
    before_ns = int(host.clock.now_ns)
    for rows in done.log:
        for row in rows[:, :5].tolist():
            driven.apply(*row)
    found: dict[str, Any] = {
        "twin_alive": int(process.alive),
        "twin_refusals": driven.failures,
        "twin_time_ns": int(host.clock.now_ns) - before_ns,
    }
    if process.alive:
        status = dict(
            line.split(":", 1) for line in host.proc(f"{process.pid}/status").splitlines() if line
        )
        for name in ("VmRSS", "VmSwap", "VmPeak"):
            if name in status:
                found[f"twin_{name}_bytes"] = int(status[name].split()[0]) << 10
    figures = host.figures()
    found |= {f"twin_{name}": int(figures[name]) for name in ("pgmajfault", "pswpout")}
    host.verify()
    return found
