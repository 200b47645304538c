"""Owns the block file of the emulator's plugin: lays its header, checks and decodes its slots.

Imports NumPy, schema, cast. Knows the layout of plugin/recorder.h and nothing of Parquet. A
slot counts as soon as its header says so, even when its process died in the middle of it.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from memtwin.errors import UserError
from memtwin.record import schema
from memtwin.record.cast import Cast
from memtwin.record.schema import COLUMNS, TraceMetadata, TraceOp

PART_MAGIC = b"MTWNPART"
PART_VERSION = 1
SLOT_BYTES = HEADER_BYTES = 1 << 16
SLOT_MAGIC = 0x544C5354
CONTROL = struct.Struct("<8sIIQQIIQ")
JSON_OFFSET_BYTES = 4096  # the page before it is shared with the recorded processes
_BATCH_SLOTS = 64

SLOT = np.dtype(
    [
        ("magic", "<u4"), ("state", "<u4"), ("crc", "<u4"), ("seq", "<u4"),
        ("pid", "<u4"), ("tid", "<u4"), ("ppid", "<u4"), ("image", "<u4"),
        ("birth_ns", "<u8"), ("parent_birth_ns", "<u8"),
        ("t0_ns", "<u8"), ("insns0", "<u8"), ("insns", "<u8"), ("refs", "<u8"),
        ("n_touches", "<u4"), ("n_events", "<u4"), ("pad", "V40"),
    ]
)  # fmt: skip
TOUCH = np.dtype([("vpn_kind", "<u8"), ("insns", "<u4"), ("time_ns", "<u4")])
EVENT = np.dtype(
    [
        ("op", "u1"), ("strings", "u1"), ("kind", "<u2"), ("at_touch", "<u4"),
        ("insns", "<u4"), ("time_ns", "<u4"), ("v", "<i8", (5,)),
    ]
)  # fmt: skip
_OPEN, _CLOSED = 1, 2
_CRC_FROM = SLOT.fields["seq"][1] if SLOT.fields else 0


def part_header(metadata: TraceMetadata) -> bytes:
    """The first 64 KiB of a block file: the control words, then what is known at the start."""
    text = schema.encode_metadata(metadata)
    if JSON_OFFSET_BYTES + 4 + len(text) > HEADER_BYTES:
        raise UserError("the command line: found more than 60 KB of it, which a trace can't hold")
    control = CONTROL.pack(PART_MAGIC, PART_VERSION, SLOT_BYTES, HEADER_BYTES, 0, 0, 0, 0)
    page = control.ljust(JSON_OFFSET_BYTES, b"\0")
    return (page + struct.pack("<I", len(text)) + text).ljust(HEADER_BYTES, b"\0")


class Control:
    """The words a recorder shares with the processes it records, through the file's first page."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), JSON_OFFSET_BYTES)

    def _words(self) -> tuple[Any, ...]:
        return CONTROL.unpack_from(self._map, 0)

    @property
    def slots(self) -> int:
        """How many slots were taken so far."""
        return int(self._words()[4])

    @property
    def error(self) -> int:
        """errno of the plugin's first failure to get a slot, or 0."""
        return int(self._words()[6])

    def stop(self) -> None:
        """Tell every process that is still there to write nothing more."""
        struct.pack_into("<I", self._map, 32, 1)

    def close(self) -> None:
        """Let the page go."""
        self._map.close()


class PartReader:
    """A block file: `metadata` as far as it can be told, `n_events`, and the events in order.

    `ended` gives the wait status of processes whose end the recorder saw.
    Raises UserError when the file isn't one of ours.
    """

    def __init__(self, path: Path, ended: dict[int, int] | None = None) -> None:
        self.path = path
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self._map) < HEADER_BYTES:
            raise UserError(f"{path}: found {len(self._map)} bytes, a block file begins with 65536")
        words = CONTROL.unpack_from(self._map, 0)
        if words[1] != PART_VERSION or words[2] != SLOT_BYTES:
            raise UserError(
                f"{path}: found block file version {words[1]}, allowed is {PART_VERSION}"
            )
        (length,) = struct.unpack_from("<I", self._map, JSON_OFFSET_BYTES)
        text = self._map[JSON_OFFSET_BYTES + 4 : JSON_OFFSET_BYTES + 4 + length]
        try:
            self.metadata = schema.decode_metadata(text)
        except msgspec.MsgspecError as error:
            raise UserError(f"{path}: found damaged metadata ({error})") from None
        self.metadata.counts.lost_blocks = int(words[7])
        self._headers, self._offsets = self._sound_slots()
        self.cast = Cast(self._headers)
        self.cast.tell_ends(ended or {})
        self._meet_the_cast()
        self.cast.describe(self.metadata)
        self.n_events = self.metadata.counts.events

    def close(self) -> None:
        """Let the file go; the arrays handed out were copies."""
        self._map.close()

    def _sound_slots(self) -> tuple[NDArray[Any], NDArray[np.int64]]:
        n = (len(self._map) - HEADER_BYTES) // SLOT_BYTES
        headers = np.zeros(n, SLOT)
        sound = np.zeros(n, bool)
        for i in range(n):
            at = HEADER_BYTES + i * SLOT_BYTES
            headers[i] = np.frombuffer(self._map, SLOT, 1, at)[0]
            sound[i] = self._is_sound(headers[i], at)
        # A slot that was allocated and never used is empty, not damaged.
        used = headers["magic"] != 0
        self.metadata.counts.damaged_blocks = int((used & ~sound).sum())
        kept = np.flatnonzero(sound)
        order = kept[np.argsort(headers["t0_ns"][kept], kind="stable")]
        return headers[order], HEADER_BYTES + order.astype(np.int64) * SLOT_BYTES

    def _is_sound(self, header: NDArray[Any], at: int) -> bool:
        if header["magic"] != SLOT_MAGIC:
            return False
        used = int(header["n_touches"]) * TOUCH.itemsize + int(header["n_events"]) * EVENT.itemsize
        if used > SLOT_BYTES - SLOT.itemsize:
            return False
        if header["state"] == _CLOSED:
            body = memoryview(self._map)[at + _CRC_FROM : at + SLOT_BYTES]
            return zlib.crc32(body) == int(header["crc"])
        return bool(header["state"] == _OPEN)

    def _slot_events(self, i: int) -> NDArray[Any]:
        n = int(self._headers["n_events"][i])
        end = int(self._offsets[i]) + SLOT_BYTES
        return np.frombuffer(self._map, EVENT, n, end - n * EVENT.itemsize)[::-1]

    def _slot_touches(self, i: int) -> NDArray[Any]:
        at = int(self._offsets[i]) + SLOT.itemsize
        return np.frombuffer(self._map, TOUCH, int(self._headers["n_touches"][i]), at)

    def _meet_the_cast(self) -> None:
        for i in range(len(self._headers)):
            touches, events = self._slot_touches(i), self._slot_events(i)
            last = 0
            if len(touches):
                last = int(touches["time_ns"][-1])
            if len(events):
                last = max(last, int(events["time_ns"].max()))
            self.cast.meet(i, self._headers[i], events, len(touches), last)

    def batches(self) -> Iterator[dict[str, NDArray[Any]]]:
        """Events of all threads in order of time; each thread's own order is exact."""
        starts = self._headers["t0_ns"]
        waiting: list[tuple[NDArray[np.uint64], dict[str, NDArray[Any]]]] = []
        for first in range(0, len(self._headers), _BATCH_SLOTS):
            stop = min(first + _BATCH_SLOTS, len(self._headers))
            waiting += [self._decode(i) for i in range(first, stop)]
            # No slot to come holds anything older than the start of the next one.
            until = int(starts[stop]) if stop < len(self._headers) else None
            ready, waiting = _settle(waiting, until)
            if ready is not None:
                yield ready

    def _decode(self, i: int) -> tuple[NDArray[np.uint64], dict[str, NDArray[Any]]]:
        header, touches = self._headers[i], self._slot_touches(i)
        events = self.cast.public(header, self._slot_events(i))
        n, m = len(touches), len(events)
        # Where each event goes: after `at_touch` touches and the events before it.
        place = events["at_touch"].astype(np.int64) + np.arange(m)
        is_event = np.zeros(n + m, bool)
        is_event[place] = True
        columns = {name: np.zeros(n + m, dtype) for name, (dtype, _) in COLUMNS.items()}
        columns["tid"][:] = self.cast.tid_of(header)
        time_ns = np.full(n + m, int(header["t0_ns"]), np.uint64)
        columns["insns"][:] = int(header["insns0"])
        for where, records in ((~is_event, touches), (is_event, events)):
            time_ns[where] += records["time_ns"]
            columns["insns"][where] += records["insns"]
        columns["op"][~is_event] = touches["vpn_kind"] & np.uint64(3)
        columns["a"][~is_event] = touches["vpn_kind"] >> np.uint64(2)
        columns["op"][is_event] = events["op"]
        for k, name in enumerate("abcde"):
            columns[name][is_event] = events["v"][:, k]
        closing = self.cast.closing(i)
        if closing is not None:
            time_ns = np.append(time_ns, time_ns.max(initial=0))
            row = dict.fromkeys(COLUMNS, 0) | {"op": int(TraceOp.EXIT)}
            row["tid"], row["a"], row["b"] = closing
            row["insns"] = int(columns["insns"].max(initial=0))
            columns = {
                name: np.append(columns[name], np.array(row[name], dtype))
                for name, (dtype, _) in COLUMNS.items()
            }
        # Time never runs back within a thread, so a stable sort keeps its order.
        return np.maximum.accumulate(time_ns), columns


def _settle(
    waiting: list[tuple[NDArray[np.uint64], dict[str, NDArray[Any]]]], until_ns: int | None
) -> tuple[
    dict[str, NDArray[Any]] | None, list[tuple[NDArray[np.uint64], dict[str, NDArray[Any]]]]
]:
    """Split off what happened before `until_ns`, in order of time; the rest goes on waiting."""
    if not waiting:
        return None, waiting
    time_ns = np.concatenate([times for times, _ in waiting])
    columns = {name: np.concatenate([c[name] for _, c in waiting]) for name in COLUMNS}
    order = np.argsort(time_ns, kind="stable")
    n = len(order)
    if until_ns is not None:
        n = int(np.searchsorted(time_ns[order], np.uint64(until_ns), side="left"))
    now, later = order[:n], np.sort(order[n:])
    rest = []
    if len(later):
        rest = [(time_ns[later], {name: column[later] for name, column in columns.items()})]
    if n == 0:
        return None, rest
    return {name: column[now] for name, column in columns.items()}, rest


