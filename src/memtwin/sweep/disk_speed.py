"""Owns how fast the disk below a directory is: a few direct transfers to a file without a name.

Imports units and the standard library. Knows nothing of machines. Nothing is left behind: the file
never has a name, so it is gone with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from memtwin.units import MIB, PAGE_SIZE

PROBE_BYTES = 64 * MIB
TRANSFER_BYTES = MIB  # about as large as the requests of writeback and swap-out
SINGLE_READS = 64


class DiskSpeed(NamedTuple):
    """What one request costs a device."""

    latency_ns: int
    read_bytes_per_s: int
    write_bytes_per_s: int


def measure_disk(directory: Path) -> DiskSpeed | None:
    """The speed of the disk below `directory`, past the page cache.

    64 MiB are written and read back in pieces of 1 MiB, then single pages are read. Medians, so
    that a moment of somebody else's I/O does not count. None where that can't be done: no direct
    I/O, no file without a name, no room, not a directory that may be written.
    """
    try:
        file = os.open(directory, os.O_TMPFILE | os.O_DIRECT | os.O_RDWR, 0o600)
    except OSError:
        return None
    buffer = mmap.mmap(-1, TRANSFER_BYTES)  # page-aligned, as direct I/O wants it
    try:
        buffer.write(random.Random(1).randbytes(TRANSFER_BYTES))
        offsets = range(0, PROBE_BYTES, TRANSFER_BYTES)
        write_ns = median([_timed(os.pwritev, file, buffer, offset) for offset in offsets])
        os.fsync(file)
        read_ns = median([_timed(os.preadv, file, buffer, offset) for offset in offsets])
        page = memoryview(buffer)[:PAGE_SIZE]
        places = random.Random(2).sample(range(PROBE_BYTES // PAGE_SIZE), SINGLE_READS)
        single_ns = median([_timed(os.preadv, file, page, at * PAGE_SIZE) for at in places])
        page.release()
    except OSError:
        return None
    finally:
        os.close(file)
        with contextlib.suppress(BufferError):
            buffer.close()
    return DiskSpeed(
        int(single_ns), *(_rate(took_ns, single_ns) for took_ns in (read_ns, write_ns))
    )


def _timed(transfer: object, file: int, buffer: mmap.mmap | memoryview, offset: int) -> int:
    assert callable(transfer)
    begun_ns = time.perf_counter_ns()
    done = transfer(file, [buffer], offset)
    took_ns = time.perf_counter_ns() - begun_ns
    if done != len(buffer):
        raise OSError(f"{done} of {len(buffer)} bytes")
    return took_ns


def _rate(took_ns: float, single_ns: float) -> int:
    """Bytes a second of a large transfer, the latency that any has left out."""
    transfer_ns = max(took_ns - single_ns, took_ns / 2)
    return int(TRANSFER_BYTES * 1_000_000_000 / transfer_ns)
