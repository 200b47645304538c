"""Owns the loop that runs many allocation events on a heap without leaving the compiled code.

Imports the heap. Knows nothing of where events come from. An event is (op, slot, size, argument):
`slot` names a block of the program, so that the events of one heap can be run on another.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, grown, zeros
from memtwin.heap.constants import CHUNK_HDR_SZ
from memtwin.heap.heap import Heap

if not cython.compiled:
    from memtwin.columns import I8, U1

OP_MALLOC = 1
OP_FREE = 2
OP_REALLOC = 3
OP_CALLOC = 4
OP_MEMALIGN = 5  # argument: alignment; posix_memalign and aligned_alloc too

COLUMNS = (
    Column("row_of_slot", "i8", "event_runner", "row of the chunk that a slot holds; 0 none"),
    Column("size_of_slot", "i8", "event_runner", "bytes that the program asked for"),
)
_FIRST_SLOTS = 1024


@cython.final
@cython.cclass
class EventRunner:
    """Runs events on one heap. Counts what they did."""

    def __init__(self, heap: Heap) -> None:
        self.heap = heap
        self.row_of_slot = zeros(_FIRST_SLOTS, "i8")
        self.size_of_slot = zeros(_FIRST_SLOTS, "i8")
        self.events = 0
        self.failures = 0  # events that got no memory
        self.live_bytes = 0  # that the program asked for and did not free
        self.live_blocks = 0
        self.live_peak = 0
        self.zeroed_bytes = 0
        self.copied_bytes = 0

    def make_room(self, slots: int) -> None:
        """Let there be slots 0 .. `slots` - 1."""
        if slots > len(self.row_of_slot):
            rows = max(slots, 2 * len(self.row_of_slot))
            self.row_of_slot = grown(self.row_of_slot, rows)
            self.size_of_slot = grown(self.size_of_slot, rows)

    def skip(self) -> None:
        """An event that this loop knows nothing of took a number."""
        self.events += 1

    @cython.ccall
    @cython.exceptval(-1)
    def run(
        self, ops: U1, slots: I8, sizes: I8, arguments: I8, start: cython.longlong,
        end: cython.longlong,
    ) -> cython.longlong:  # fmt: skip
        """Run events start .. end - 1 of the running thread: how many, fewer after a fault."""
        i: cython.longlong
        for i in range(start, end):
            self.heap.memory.log.event = self.events
            self.step(ops[i], slots[i], sizes[i], arguments[i])
            self.events += 1
            if self.heap.memory.fault:
                return i + 1 - start
        return end - start

    @cython.ccall
    @cython.exceptval(-1)
    def run_recorded(
        self, ops: U1, slots: I8, sizes: I8, arguments: I8, addresses: I8, usable: I8
    ) -> cython.longlong:
        """As `run`, of all; into `addresses` and `usable` goes what each event answered."""
        i: cython.longlong
        p: cython.longlong
        for i in range(len(ops)):
            self.heap.memory.log.event = self.events
            p = self.step(ops[i], slots[i], sizes[i], arguments[i])
            self.events += 1
            addresses[i] = 0
            usable[i] = 0
            if self.heap.memory.fault:
                return i + 1
            if p:
                addresses[i] = self.heap.memory.address_of(p) + CHUNK_HDR_SZ
                usable[i] = self.heap.usable_row(p)
        return len(ops)

    @cython.ccall
    @cython.exceptval(-1)
    def step(
        self, op: cython.int, slot: cython.longlong, size: cython.longlong,
        argument: cython.longlong,
    ) -> cython.longlong:  # fmt: skip
        """One event: row of the chunk that the slot holds now; 0 none."""
        p: cython.longlong = self.row_of_slot[slot]
        if op == OP_FREE:
            self.row_of_slot[slot] = 0
            if p:
                self.heap.free_row(p)
                self._count(slot, 0)
                self.live_blocks -= 1
            return 0
        if op == OP_REALLOC:
            return self._realloc(slot, p, size)
        if op == OP_MALLOC:
            p = self.heap.malloc_row(size)
        elif op == OP_CALLOC:
            p = self.heap.calloc_row(size)
            self.zeroed_bytes += self.heap.zeroed_bytes
        else:
            p = self.heap.memalign_row(argument, size)
        self.row_of_slot[slot] = p
        if p == 0:
            self.failures += 1
            return 0
        self._count(slot, size)
        self.live_blocks += 1
        return p

    @cython.cfunc
    @cython.exceptval(-1)
    def _realloc(
        self, slot: cython.longlong, p: cython.longlong, size: cython.longlong
    ) -> cython.longlong:
        q: cython.longlong = self.heap.realloc_row(p, size)
        self.copied_bytes += self.heap.resize.copied_bytes
        if q == 0 and (p == 0 or size != 0):
            self.failures += 1  # the old block stays
            return 0
        self.row_of_slot[slot] = q
        self._count(slot, size)
        if p == 0:
            self.live_blocks += 1
        elif q == 0:
            self.live_blocks -= 1
        return q

    @cython.cfunc
    @cython.exceptval(-1)
    def _count(self, slot: cython.longlong, size: cython.longlong) -> cython.int:
        self.live_bytes += size - self.size_of_slot[slot]
        self.size_of_slot[slot] = size
        if self.live_bytes > self.live_peak:
            self.live_peak = self.live_bytes
        return 0
