"""Owns the replay of recorded allocations on a simulated heap: what it took, step by step.

Imports heap and record. Knows nothing of who asks. Pointers of the recording become slots, so that
a block may lie elsewhere in the twin, under other rules or thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memtwin.errors import UserError
from memtwin.hardware.cost import COSTS
from memtwin.heap.build import HeapTerms, mallopt_number, new_heap
from memtwin.heap.constants import BRK, CALL_NAMES, TOUCH
from memtwin.heap.event_runner import EventRunner
from memtwin.heap.heap import Heap
from memtwin.heap.upkeep import malloc_trim, mallopt
from memtwin.record.heap_trace import (
    FREE,
    MALLOC,
    MALLOPT,
    MEMALIGN,
    REALLOC,
    TRIM,
    HeapTrace,
)
from memtwin.units import PAGE_SIZE

STEPS = 200


@dataclass
class Events:
    """One image's events as an EventRunner takes them; `source` is the row in the trace."""

    ops: NDArray[Any]
    slots: NDArray[Any]
    sizes: NDArray[Any]
    arguments: NDArray[Any]
    threads: NDArray[Any]
    source: NDArray[Any]
    slots_needed: int
    unknown_frees: int  # of blocks that were there before recording began
    failures: int  # requests that got no memory when recorded


@dataclass
class Replayed:
    """What a replay took. Bytes, ns; `series` is (event, live bytes, resident bytes)."""

    heap: Heap
    runner: EventRunner
    events: Events
    series: list[tuple[int, int, int]] = field(default_factory=list)
    calls: dict[str, int] = field(default_factory=dict)
    faults: int = 0
    log: list[NDArray[Any]] = field(default_factory=list)

    @property
    def resident_bytes(self) -> int:
        """At the end."""
        return int(self.heap.memory.nr_resident) * PAGE_SIZE

    @property
    def resident_peak_bytes(self) -> int:
        """The most there ever was."""
        return int(self.heap.memory.resident_peak) * PAGE_SIZE

    @property
    def kernel_ns(self) -> int:
        """Virtual time of calls, first touches, and pages given back, by hardware/cost."""
        # DIFFERS: the allocator's own instructions cost nothing; only the kernel's work is priced;
        # bends the time of replays that differ in tcache or bins alone
        returned = self.faults - int(self.heap.memory.nr_resident)
        price = {name: ns for name, (ns, _) in COSTS.items()}
        return (
            sum(self.calls.values()) * price["syscall_ns"]
            + self.faults * (price["minor_fault_ns"] + price["clear_page_ns"])
            + returned * price["unmap_page_ns"]
        )


class _Slots:
    """Which slot holds which pointer. Freed slots are used again."""

    def __init__(self) -> None:
        self.live: dict[int, int] = {}
        self.overtaken: dict[int, list[int]] = {}
        self.free: list[int] = []
        self.count = 0

    def put(self, pointer: int) -> int:
        """A slot for a new block; one that is still held there is freed by the next free."""
        slot = self.free.pop() if self.free else self.count
        self.count = max(self.count, slot + 1)
        self._hold(pointer, slot)
        return slot

    def _hold(self, pointer: int, slot: int) -> None:
        if pointer in self.live:  # another thread's free came a moment later into the trace
            self.overtaken.setdefault(pointer, []).append(self.live[pointer])
        self.live[pointer] = slot

    def take(self, pointer: int) -> int:
        """The slot of a block that goes; -1 unknown."""
        waiting = self.overtaken.get(pointer)
        if waiting:
            slot = waiting.pop(0)
            if not waiting:
                del self.overtaken[pointer]
            return slot
        return self.live.pop(pointer, -1)

    def move(self, pointer: int, slot: int) -> None:
        """The block of `slot` lies at `pointer` now."""
        self._hold(pointer, slot)


def events_of(trace: HeapTrace, image: int) -> Events:
    """The events of one image; raises UserError when it has none."""
    rows = np.flatnonzero(trace.table["image"] == image)
    if not len(rows):
        raise UserError(f"heap: found no image {image}, allowed are 0 to {len(trace.images()) - 1}")
    columns = [trace.table[name][rows].tolist() for name in ("op", "pointer", "size", "argument")]
    tids = trace.table["tid"][rows].tolist()
    main = int(trace.table["pid"][rows[0]])
    threads: dict[int, int] = {main: 0}
    slots, out, unknown, failures = _Slots(), [], 0, 0
    for at, (op, pointer, size, argument) in enumerate(zip(*columns, strict=True)):
        thread = threads.setdefault(tids[at], len(threads))
        if op in (MALLOPT, TRIM):
            out.append((op, 0, size, argument, thread, rows[at]))
        elif op == FREE:
            slot = slots.take(pointer)
            unknown += slot < 0
            if slot >= 0:
                slots.free.append(slot)
                out.append((FREE, slot, 0, 0, thread, rows[at]))
        elif op == REALLOC and argument:
            slot = slots.take(argument)
            if pointer == 0 and size == 0 and slot >= 0:
                slots.free.append(slot)
                out.append((FREE, slot, 0, 0, thread, rows[at]))
            elif pointer == 0:
                failures += 1
                if slot >= 0:
                    slots.move(argument, slot)
            elif slot < 0:
                unknown += 1
                out.append((MALLOC, slots.put(pointer), size, 0, thread, rows[at]))
            else:
                slots.move(pointer, slot)
                out.append((REALLOC, slot, size, 0, thread, rows[at]))
        elif pointer == 0:
            failures += 1
        else:
            kind = MALLOC if op == REALLOC else op
            alignment = argument if kind == MEMALIGN else 0
            out.append((kind, slots.put(pointer), size, alignment, thread, rows[at]))
    table = np.array(out, dtype="int64").reshape(-1, 6)
    ops, held, sizes, arguments, callers, source = (
        np.ascontiguousarray(table[:, k]) for k in range(6)
    )
    return Events(
        ops.astype("uint8"), held, sizes, arguments, callers, source,
        slots.count, unknown, failures,
    )  # fmt: skip


def replay(events: Events, terms: HeapTerms, keep_log: str = "") -> Replayed:
    """Run all `events` on a new heap; `keep_log` "log" keeps every call and touch.

    Recorded mallopt calls are done too, but for what `terms.changes` sets.
    """
    heap = new_heap(terms)
    runner = EventRunner(heap)
    runner.make_room(events.slots_needed + 1)
    done = Replayed(heap, runner, events)
    special = (events.ops == MALLOPT) | (events.ops == TRIM)
    borders = np.flatnonzero(np.diff(events.threads) | special[1:] | special[:-1]) + 1
    steps = np.linspace(0, len(events.ops), STEPS + 1).astype("int64")
    edges = np.unique(np.concatenate([[0, len(events.ops)], borders, steps]))
    measured = set(steps.tolist())
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        heap.run_as(int(events.threads[start]))
        if special[start]:
            _special(heap, events, start, terms)
            runner.skip()
        else:
            runner.run(
                events.ops.data, events.slots.data, events.sizes.data, events.arguments.data,
                start, end,
            )  # fmt: skip
        if end in measured:
            _measure(done, end, keep_log)
    heap.run_as(0)
    done.calls = {name: n for name, n in heap.memory.log.calls_by_name().items() if n}
    return done


def _special(heap: Heap, events: Events, at: int, terms: HeapTerms) -> None:
    size, argument = int(events.sizes[at]), int(events.arguments[at])
    if events.ops[at] == TRIM:
        malloc_trim(heap, size)
        return
    if size not in {mallopt_number(name) for name, _ in terms.changes}:
        mallopt(heap, size, argument)


def _measure(done: Replayed, event: int, keep_log: str) -> None:
    rows = done.heap.memory.log.take()
    done.faults += int(rows[rows[:, 0] == TOUCH, 2].sum()) // PAGE_SIZE
    if keep_log:
        done.log.append(rows)
    resident = int(done.heap.memory.nr_resident) * PAGE_SIZE
    done.series.append((event, int(done.runner.live_bytes), resident))


def call_names() -> list[str]:
    """Of all calls that a heap makes, in the order of their numbers."""
    return [CALL_NAMES[kind] for kind in range(BRK, TOUCH)]
