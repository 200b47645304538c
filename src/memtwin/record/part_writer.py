"""Owns writing block files from Python: for recorders that don't run inside the program.

Imports NumPy, part, schema. The layout is that of the emulator's plugin, so one reader serves
every recorder and a recording cut short is readable whatever made it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memtwin.record.part import EVENT, SLOT, SLOT_BYTES, SLOT_MAGIC, TOUCH, part_header
from memtwin.record.schema import TraceMetadata

_ROOM_BYTES = SLOT_BYTES - SLOT.itemsize
_CLOSED = 2
_TEXT_BYTES = 40
_OP_STRING = 201
_DELTA_LIMIT = (1 << 32) - 1
_CRC_FROM = 12  # behind magic, state and crc
_NEXT_SLOT_OFFSET = 24


class PartWriter:
    """A block file being written; `stream()` gives one writer for each thread recorded."""

    def __init__(self, path: Path, metadata: TraceMetadata) -> None:
        self.path = path
        self._file = path.open("w+b")
        self._file.write(part_header(metadata))
        self._file.flush()
        self.slots = 0

    def stream(self, **identity: int) -> Stream:
        """A thread's writer; `identity` are header fields: pid, tid, ppid, birth_ns, image..."""
        return Stream(self, identity)

    def put_slot(self, body: bytes) -> None:
        """Append one sealed slot."""
        self._file.seek(0, 2)
        self._file.write(body)
        self.slots += 1
        self._file.seek(_NEXT_SLOT_OFFSET)
        self._file.write(struct.pack("<Q", self.slots))
        self._file.flush()

    def close(self) -> None:
        """Let the file go; streams must have been flushed."""
        self._file.close()


@dataclass
class Stream:
    """One thread's events on their way into slots."""

    part: PartWriter
    identity: dict[str, int]
    refs: int = 0
    seq: int = 0
    _touches: list[NDArray[Any]] = field(default_factory=list)
    _n_touches: int = 0
    _events: list[tuple[Any, ...]] = field(default_factory=list)
    _begin: tuple[int, int] | None = None  # time_ns, insns of the slot's start
    _last_insns: int = 0

    def _make_room(self, n_bytes: int, time_ns: int, insns: int) -> int:
        """Begin a new slot unless this one takes `n_bytes`; gives the bytes that are free."""
        used = self._n_touches * TOUCH.itemsize + len(self._events) * EVENT.itemsize
        if self._begin is not None:
            begin_ns, begin_insns = self._begin
            late = time_ns - begin_ns >= _DELTA_LIMIT or insns - begin_insns >= _DELTA_LIMIT
            if late or used + n_bytes > _ROOM_BYTES:
                self.flush()
        if self._begin is None:
            self._begin, used = (time_ns, insns), 0
        return _ROOM_BYTES - used

    def touches(
        self, vpn: NDArray[np.int64], kind: NDArray[np.int64], insns: NDArray[np.int64], now_ns: int
    ) -> None:
        """Add touches in order; they all happened at `now_ns`, `insns` are their counts."""
        done = 0
        while done < len(vpn):
            room = self._make_room(TOUCH.itemsize, now_ns, int(insns[-1]))
            n = min(room // TOUCH.itemsize, len(vpn) - done)
            assert self._begin is not None
            records = np.zeros(n, TOUCH)
            records["vpn_kind"] = vpn[done : done + n] << 2 | kind[done : done + n]
            records["insns"] = insns[done : done + n] - self._begin[1]
            records["time_ns"] = now_ns - self._begin[0]
            self._touches.append(records)
            self._n_touches += n
            done += n
            self._last_insns = int(insns[done - 1])

    def event(
        self,
        op: int,
        time_ns: int,
        insns: int,
        arguments: tuple[int, ...] = (),
        text: str = "",
        kind: int = 0,
    ) -> None:
        """Add an event; unused arguments are 0."""
        raw = text.encode("utf-8", "replace")[: 255 * _TEXT_BYTES]
        parts = [raw[i : i + _TEXT_BYTES] for i in range(0, len(raw), _TEXT_BYTES)]
        self._make_room((1 + len(parts)) * EVENT.itemsize, time_ns, insns)
        assert self._begin is not None
        since = (insns - self._begin[1], max(time_ns - self._begin[0], 0))
        values = (tuple(_signed(x) for x in arguments) + (0,) * 5)[:5]
        self._events.append((op, len(parts), kind, self._n_touches, *since, values))
        for part in parts:
            words = struct.unpack("<5q", part.ljust(_TEXT_BYTES, b"\0"))
            self._events.append((_OP_STRING, 0, 0, self._n_touches, *since, words))
        self._last_insns = insns

    def flush(self) -> None:
        """Seal the slot, if there is one."""
        if self._begin is None:
            return
        header = np.zeros(1, SLOT)
        for name, value in self.identity.items():
            header[name] = value
        header["magic"], header["state"], header["seq"] = SLOT_MAGIC, _CLOSED, self.seq
        header["t0_ns"], header["insns0"] = self._begin
        header["insns"], header["refs"] = self._last_insns, self.refs
        header["n_touches"], header["n_events"] = self._n_touches, len(self._events)
        touches = b"".join(records.tobytes() for records in self._touches)
        events = np.array(self._events, EVENT)[::-1].tobytes()
        body = bytearray(header.tobytes() + touches)
        body += bytes(SLOT_BYTES - len(body) - len(events)) + events
        struct.pack_into("<I", body, 8, zlib.crc32(memoryview(body)[_CRC_FROM:]))
        self.part.put_slot(bytes(body))
        self.seq += 1
        self._touches, self._n_touches, self._events, self._begin = [], 0, [], None


def _signed(value: int) -> int:
    """`value` as a signed 64-bit number."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value
