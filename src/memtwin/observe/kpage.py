"""Owns the files that tell one figure a frame: /proc/kpageflags, kpagecount and kpagecgroup.

Imports errors and numpy. Knows what the bits are called, nothing of what a set of them means.
Each file holds 64 bits a frame in the host's byte order, from frame 0; only root may read them.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FLAGS_PATH, COUNT_PATH, CGROUP_PATH = "/proc/kpageflags", "/proc/kpagecount", "/proc/kpagecgroup"
CHUNK_FRAMES = 1 << 17  # 512 MiB of 4 KiB frames: 1 MiB of each file

# include/uapi/linux/kernel-page-flags.h KPF_UPTODATE and on, v6.12
KPF_UPTODATE = 1 << 3
KPF_LRU = 1 << 5
KPF_SLAB = 1 << 7
KPF_BUDDY = 1 << 10
KPF_MMAP = 1 << 11
KPF_ANON = 1 << 12
KPF_SWAPCACHE = 1 << 13
KPF_SWAPBACKED = 1 << 14
KPF_COMPOUND_HEAD = 1 << 15
KPF_COMPOUND_TAIL = 1 << 16
KPF_HUGE = 1 << 17
KPF_UNEVICTABLE = 1 << 18
KPF_HWPOISON = 1 << 19
KPF_NOPAGE = 1 << 20
KPF_THP = 1 << 22
KPF_OFFLINE = 1 << 23
KPF_ZERO_PAGE = 1 << 24
KPF_PGTABLE = 1 << 26
# include/linux/kernel-page-flags.h KPF_RESERVED and on, v6.12: shown, but no promise
KPF_RESERVED = 1 << 32
KPF_MLOCKED = 1 << 33

Frames = NDArray[np.uint64]


class FrameChunk(NamedTuple):
    """Consecutive frames: KPF_* bits; how many page tables map each; inode of its memory cgroup.

    `counts` and `cgroups` are None where their file can't be read.
    """

    flags: Frames
    counts: Frames | None = None
    cgroups: Frames | None = None


class NoFrames(Exception):
    """The files of a root can't be read; the text says why."""


def read_frames(root: Path) -> Iterator[FrameChunk]:
    """The frames of the machine at `root`, in chunks. Raises NoFrames when there are none."""
    flags = _open(root, FLAGS_PATH)
    with flags:
        others: list[FileIO | None] = []
        for path in (COUNT_PATH, CGROUP_PATH):
            try:
                others.append(_open(root, path))
            except NoFrames:
                others.append(None)
        try:
            while True:
                chunk = _read(flags)
                if not len(chunk):
                    return
                counts, cgroups = (None if o is None else _read(o) for o in others)
                yield FrameChunk(chunk, _same(counts, chunk), _same(cgroups, chunk))
        finally:
            for other in others:
                if other is not None:
                    other.close()


def _same(column: Frames | None, flags: Frames) -> Frames | None:
    return column if column is not None and len(column) == len(flags) else None


def _open(root: Path, path: str) -> FileIO:
    try:
        return FileIO(root / path.lstrip("/"))
    except OSError as fault:
        raise NoFrames(f"{path}: {fault.strerror}") from None


def _read(file: FileIO) -> Frames:
    pieces, wanted = [], CHUNK_FRAMES * 8
    while wanted:
        try:
            piece = file.read(wanted)
        except OSError as fault:
            raise NoFrames(f"{file.name}: {fault.strerror}") from None
        if not piece:
            break
        pieces.append(piece)
        wanted -= len(piece)
    data = b"".join(pieces)
    return np.frombuffer(data[: len(data) // 8 * 8], dtype=np.uint64)
