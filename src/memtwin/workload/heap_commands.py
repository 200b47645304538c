"""Owns the commands of a script that use a process's C library heap: malloc, free, store and so on.

Imports places, program_heap and units. Knows nothing of how commands are read or in which order
they run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from memtwin.errors import UserError
from memtwin.observe.leak_reports.report import LeakReport
from memtwin.units import parse_size
from memtwin.workload.language import Command
from memtwin.workload.places import Place, parse_place, parse_value
from memtwin.workload.program_heap import CALLOC, MALLOC, MEMALIGN, ProgramHeap

if TYPE_CHECKING:
    from memtwin.workload.runner import Runner, Worker

_ENOMEM = -12


@dataclass(frozen=True)
class LeakCheck:
    """What a `leakcheck` found, and when."""

    name: str
    process: str
    time_ns: int
    report: LeakReport


def run(runner: Runner, worker: Worker, command: Command) -> int:
    """Do one of `VERBS`: 0 or -errno."""
    if worker.heap is None:
        worker.heap = ProgramHeap(worker.process)
    answer = VERBS[command.verb](_Call(runner, worker.heap, command), *command.words)
    if worker.heap.fault:
        runner.events.append(
            f"{runner.machine.clock.now_ns} {command.text()} : program ended, {worker.heap.fault}"
        )
    return answer


@dataclass(frozen=True)
class _Call:
    runner: Runner
    heap: ProgramHeap
    command: Command

    def value(self, place: Place) -> int:
        """The pointer that a script wrote."""
        if not place.name:
            return 0
        variables = self.heap.pointers.variables
        if place.name not in variables:
            known = ", ".join(variables) or "none"
            raise UserError(f"found variable {place.name!r}, this process has {known}")
        found = variables[place.name]
        for step in place.steps:
            found = self.heap.word(found + step)
        return found + place.plus

    def put(self, place: Place, value: int) -> None:
        """Store `value` where a script says."""
        if not place.steps:
            self.heap.set_variable(place.name, value)
            return
        self.heap.set_word(self.value(Place(place.name, place.steps[:-1])) + place.steps[-1], value)

    def keep(self, place: str, address: int) -> int:
        """Keep what an allocator gave; -ENOMEM when it gave nothing."""
        self.put(parse_place(place), address)
        return 0 if address else _ENOMEM


def _malloc(call: _Call, place: str, size: str) -> int:
    address = call.heap.allocate(MALLOC, parse_size(size, "malloc"), call.command.line)
    return call.keep(place, address)


def _calloc(call: _Call, place: str, size: str) -> int:
    address = call.heap.allocate(CALLOC, parse_size(size, "calloc"), call.command.line)
    return call.keep(place, address)


def _memalign(call: _Call, place: str, alignment: str, size: str) -> int:
    wanted = parse_size(alignment, "memalign")
    if wanted <= 0 or wanted & (wanted - 1):
        raise UserError(f"memalign: found {alignment!r}, allowed is a power of two")
    size_bytes = parse_size(size, "memalign")
    address = call.heap.allocate(MEMALIGN, size_bytes, call.command.line, wanted)
    return call.keep(place, address)


def _realloc(call: _Call, place: str, size: str) -> int:
    old, size_bytes = call.value(parse_place(place)), parse_size(size, "realloc")
    address = call.heap.reallocate(old, size_bytes, call.command.line)
    if address or size_bytes == 0:
        call.put(parse_place(place), address)
        return 0
    return _ENOMEM


def _free(call: _Call, value: str) -> int:
    call.heap.free(call.value(parse_value(value)))
    return 0


def _store(call: _Call, place: str, value: str) -> int:
    call.put(parse_place(place), call.value(parse_value(value)))
    return 0


def _leakcheck(call: _Call, name: str) -> int:
    runner, process = call.runner, call.command.process
    report = call.heap.leak_check(process, runner.script)
    now_ns = int(runner.machine.clock.now_ns)
    report.notes.append(f"leak check {name!r}, {now_ns / 1e9:.3f} s after the machine's start")
    runner.leak_checks.append(LeakCheck(name, process, now_ns, report))
    return 0


VERBS: dict[str, Callable[..., int]] = {
    "malloc": _malloc,
    "calloc": _calloc,
    "memalign": _memalign,
    "realloc": _realloc,
    "free": _free,
    "store": _store,
    "leakcheck": _leakcheck,
}
