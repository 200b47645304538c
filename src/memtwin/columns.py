"""Owns how state is stored: NumPy-backed columns, their sentences, digests of them.

Imports errors only. Knows nothing of what a column means. `zeros` is lazy: a page of host memory is
taken when a row in it is first written, so a simulated terabyte costs what is touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_LAZY_BYTES = 1 << 20
_MAP_NORESERVE = 0x4000  # include/uapi/asm-generic/mman-common.h; the mmap module lacks the name
_HUGE_BYTES = 1 << 21
_MADV_HUGEPAGE = 14  # include/uapi/asm-generic/mman-common.h MADV_HUGEPAGE
_BLOCK_BYTES = 4096
# from here on a digest skips blocks of zeros: most of a column is unused
_MOST_BYTES_PLAIN = 1 << 16
DTYPES = {"i1": "int8", "u1": "uint8", "i2": "int16", "i4": "int32", "i8": "int64"}

# what a column is to a reader of signatures; views.pxd gives compiled rooms the C types so named
I1 = memoryview
U1 = memoryview
I2 = memoryview
I4 = memoryview
I8 = memoryview


@dataclass(frozen=True)
class Column:
    """One declaration of a column: its name, type, the room that writes it, and one sentence."""

    name: str
    dtype: str  # a key of DTYPES
    writer: str  # the file that writes it
    sentence: str  # meaning, unit, what 0 means


def zeros(length: int, dtype: str) -> memoryview:
    """A zeroed, writable column of `length` rows of `dtype` (a key of DTYPES).

    >>> column = zeros(3, "i4"); column[1] = 7; list(column)
    [0, 7, 0]
    """
    return _zeroed(max(length, 1), np.dtype(DTYPES[dtype])).data


def _zeroed(length: int, dtype: np.dtype) -> np.ndarray:
    """Zeros; long ones straight from the host's kernel, which gives them page by page as written.

    NumPy would ask for huge pages, and reuse freed memory by clearing it: both take pages that
    nobody has written.
    """
    if length * dtype.itemsize < _LAZY_BYTES:
        return np.zeros(length, dtype=dtype)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    return np.frombuffer(mmap.mmap(-1, length * dtype.itemsize, flags=flags), dtype=dtype)


def dense(length: int, dtype: str) -> memoryview:
    """As `zeros`, for a column of which every row is written and that is read in no order.

    Huge pages where the host has them: the processor finds their addresses sooner.
    """
    size_bytes = length * np.dtype(DTYPES[dtype]).itemsize
    if size_bytes < _HUGE_BYTES:
        return zeros(length, dtype)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    raw = mmap.mmap(-1, size_bytes, flags=flags)
    with contextlib.suppress(OSError):  # EINVAL: a kernel without them
        raw.madvise(_MADV_HUGEPAGE)
    return np.frombuffer(raw, dtype=np.dtype(DTYPES[dtype])).data


def fetch(column: memoryview, row: int) -> None:
    """Interpreted, nothing; compiled rooms ask here for a row's memory (prefetch.pxd)."""


def reserved(length: int, dtype: str) -> memoryview | None:
    """As `zeros`, of a length that the host need not be able to back; None when it refuses.

    For columns that lie as sparse as the addresses they stand for.
    """
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
    try:
        raw = mmap.mmap(-1, length * np.dtype(DTYPES[dtype]).itemsize, flags=flags)
    except OSError:
        return None
    return np.frombuffer(raw, dtype=np.dtype(DTYPES[dtype])).data


def grown(column: memoryview, length: int) -> memoryview:
    """A copy of `column` with `length` rows; the new rows are 0. The caller replaces its view."""
    old = np.asarray(column)
    new = _zeroed(length, old.dtype)
    new[: len(old)] = old
    return new.data


def array(column: memoryview) -> np.ndarray:
    """The column as a NumPy array, without a copy."""
    return np.asarray(column)


class Digest:
    """BLAKE2b over named values, equal in interpreted and compiled mode and on every host."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, name: str, value: object) -> None:
        """Add one named int, str, column or iterable of ints."""
        self._hash.update(name.encode() + b"\0")
        if isinstance(value, int):
            self._hash.update(str(int(value)).encode())
        elif isinstance(value, str):
            self._hash.update(value.encode())
        elif isinstance(value, (list, tuple)):
            self._hash.update(repr([int(item) for item in value]).encode())
        else:
            self._add_array(np.ascontiguousarray(np.asarray(value)))
        self._hash.update(b"\1")

    def add_all(self, prefix: str, values: Iterable[tuple[str, object]]) -> None:
        """Add each (name, value) under `prefix`."""
        for name, value in values:
            self.add(f"{prefix}.{name}", value)

    def _add_array(self, values: np.ndarray) -> None:
        """Add what a column holds; of a long one, its length and the blocks that are not all 0."""
        raw = values.reshape(-1).view(np.uint8)
        whole = len(raw) // _BLOCK_BYTES * _BLOCK_BYTES
        if whole < _MOST_BYTES_PLAIN:
            self._hash.update(raw.data)
            return
        blocks = raw[:whole].reshape(-1, _BLOCK_BYTES)
        used = np.flatnonzero(blocks.view(np.int64).any(axis=1))
        self._hash.update(f"{len(raw)}".encode())
        self._hash.update(used.astype("<i8").data)
        self._hash.update(np.ascontiguousarray(blocks[used]).data)
        self._hash.update(raw[whole:].data)

    def hexdigest(self) -> str:
        """32 hexadecimal digits."""
        return self._hash.hexdigest()
