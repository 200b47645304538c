"""Owns the log of what a heap asks of the kernel: calls and first touches, in order.

Imports columns and the constants. Knows nothing of chunks. Whoever drives a twin's process with it
drains it; nobody below reads it.
"""

from __future__ import annotations

from typing import Any

import cython
import numpy as np

from memtwin.columns import Column, array, grown, zeros
from memtwin.heap.constants import BRK, CALL_NAMES, TOUCH

COLUMNS = (
    Column("kind", "i8", "call_log", "1 brk 2 mmap 3 munmap 4 mremap 5 mprotect 6 madvise 7 touch"),
    Column("address", "i8", "call_log", "first argument: bytes; of brk the break wanted, 0 asks"),
    Column("length", "i8", "call_log", "bytes; 0 for brk"),
    Column("argument", "i8", "call_log", "protection, advice, or the new length of mremap"),
    Column("result", "i8", "call_log", "address or break, or -errno"),
    Column("event", "i8", "call_log", "number of the allocation event that caused it"),
)
_FIRST_ROWS = 256


@cython.final
@cython.cclass
class CallLog:
    """Rows of six columns, as COLUMNS says; `counts` goes on counting after they are drained."""

    def __init__(self) -> None:
        self.rows = 0
        self.event = 0
        self.keeps = 1  # 0: only count
        self.kind = zeros(_FIRST_ROWS, "i8")
        self.address = zeros(_FIRST_ROWS, "i8")
        self.length = zeros(_FIRST_ROWS, "i8")
        self.argument = zeros(_FIRST_ROWS, "i8")
        self.result = zeros(_FIRST_ROWS, "i8")
        self.event_of = zeros(_FIRST_ROWS, "i8")
        self.counts = zeros(TOUCH + 1, "i8")

    @cython.ccall
    def add(
        self,
        kind: cython.int,
        address: cython.longlong,
        length: cython.longlong,
        argument: cython.longlong,
        result: cython.longlong,
    ) -> cython.void:
        """One row more."""
        row: cython.longlong = self.rows
        self.counts[kind] += 1
        if self.keeps == 0:
            return
        if row == len(self.kind):
            self._grow()
        self.kind[row] = kind
        self.address[row] = address
        self.length[row] = length
        self.argument[row] = argument
        self.result[row] = result
        self.event_of[row] = self.event
        self.rows = row + 1

    @cython.ccall
    def touched(self, address: cython.longlong, length: cython.longlong) -> cython.void:
        """Pages touched for the first time; joined to the last row where they continue it."""
        last: cython.longlong = self.rows - 1
        if (
            self.keeps
            and last >= 0
            and self.kind[last] == TOUCH
            and self.address[last] + self.length[last] == address
            and self.event_of[last] == self.event
        ):
            self.length[last] += length
            return
        self.add(TOUCH, address, length, 0, 0)

    def _grow(self) -> None:
        rows = 2 * len(self.kind)
        self.kind = grown(self.kind, rows)
        self.address = grown(self.address, rows)
        self.length = grown(self.length, rows)
        self.argument = grown(self.argument, rows)
        self.result = grown(self.result, rows)
        self.event_of = grown(self.event_of, rows)

    def take(self) -> Any:
        """The rows so far as an array of shape (rows, 6), columns as in COLUMNS; none are left."""
        rows = int(self.rows)
        self.rows = 0
        found = np.empty((rows, 6), dtype=np.int64)
        found[:, 0] = array(self.kind)[:rows]
        found[:, 1] = array(self.address)[:rows]
        found[:, 2] = array(self.length)[:rows]
        found[:, 3] = array(self.argument)[:rows]
        found[:, 4] = array(self.result)[:rows]
        found[:, 5] = array(self.event_of)[:rows]
        return found

    def calls_by_name(self) -> dict[str, int]:
        """How many calls of each kind there were, touches left out."""
        return {CALL_NAMES[kind]: int(self.counts[kind]) for kind in range(BRK, TOUCH)}
