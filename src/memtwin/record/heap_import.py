"""Owns reading recordings that others made: heaptrack's files, as text within gzip or zstd.

Imports heap_trace, PyArrow. Knows nothing of the allocator. A heaptrack file (format 2 or 3) names
sizes and stacks, not addresses: which of several equal blocks is freed is not in it. memray's
files are not read: their format is documented nowhere and differs from version to version.
"""

from __future__ import annotations

import io
from collections import deque
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

from memtwin.errors import UserError
from memtwin.record.heap_trace import FREE, MALLOC, HeapTrace, HeapTraceInfo, read_heap_trace

_GZIP, _ZSTD, _MEMRAY = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"memray"
FORMATS = ("2", "3")


def read_any(path: Path) -> HeapTrace:
    """A recording of ours, a directory of segments, or a heaptrack file."""
    if not path.is_dir():
        try:
            head = path.open("rb").read(8)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        if head.startswith(_MEMRAY):
            raise UserError(
                f"{path}: found a memray file, whose format is documented nowhere; allowed are"
                " recordings of `memtwin heap record` and of heaptrack"
            )
        if head.startswith(_GZIP):
            return read_heaptrack(path, "gzip")
        if head.startswith(_ZSTD):
            return read_heaptrack(path, "zstd")
    return read_heap_trace(path)


def read_heaptrack(path: Path, compression: str) -> HeapTrace:
    """The events of a heaptrack file; its blocks get numbers for addresses."""
    try:
        with pa.input_stream(str(path), compression=compression) as stream:
            return _read(path, io.BufferedReader(stream))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: found a damaged heaptrack file ({error})") from None


def _read(path: Path, lines: BinaryIO) -> HeapTrace:
    info = HeapTraceInfo(method="heaptrack")
    sizes: list[int] = []
    # MODEL: of blocks with one size and stack, the oldest goes first
    live: list[deque[int]] = []
    rows: list[tuple[int, int, int, int]] = []
    now_ms, blocks, lost = 0, 0, 0
    for number, line in enumerate(lines, 1):
        words = line.decode(errors="replace").split()
        if not words:
            continue
        if number == 1 and (words[0] != "v" or len(words) < 3 or words[2] not in FORMATS):
            raise UserError(f"{path}: found no heaptrack file of format {' or '.join(FORMATS)}")
        if words[0] == "X":
            info.command = words[1:]
        elif words[0] == "c":
            now_ms = int(words[1], 16)
        elif words[0] == "a":
            sizes.append(int(words[1], 16))
            live.append(deque())
        elif words[0] == "+":
            index = int(words[1], 16)
            blocks += 1
            live[index].append(blocks)
            rows.append((now_ms, MALLOC, blocks << 4, sizes[index]))
        elif words[0] == "-":
            index = int(words[1], 16)
            if live[index]:
                rows.append((now_ms, FREE, live[index].popleft() << 4, 0))
            else:
                lost += 1
    info.missing = [
        "addresses, threads, alignments, and which of several equal blocks was freed",
        "realloc, calloc and memalign: they stand as malloc and free",
    ]
    if lost:
        info.missing.append(f"{lost} frees of blocks that the file does not name")
    return _trace(info, rows)


def _trace(info: HeapTraceInfo, rows: list[tuple[int, int, int, int]]) -> HeapTrace:
    table = np.array(rows, dtype="int64").reshape(-1, 4)
    count = len(table)
    return HeapTrace(
        info,
        {
            "time_ns": table[:, 0] * 1_000_000,
            "op": table[:, 1].astype("uint8"),
            "image": np.zeros(count, "int32"),
            "pid": np.ones(count, "int32"),
            "tid": np.ones(count, "int32"),
            "pointer": table[:, 2].copy(),
            "size": table[:, 3].copy(),
            "argument": np.zeros(count, "int64"),
            "stack": np.zeros(count, "uint32"),
        },
    )
