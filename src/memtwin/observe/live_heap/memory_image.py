"""Owns the memory of a frozen process as words: read once, looked up by address afterwards.

Imports mappings and units. Knows nothing of heaps. All regions stand one after the other in one
array of words; pages that hold nothing (never touched, or the file's own) are zeros in it, are
not read, and cost no memory here.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from memtwin.observe.live_heap.mappings import Mapping, may_hold_pointers
from memtwin.units import PAGE_SHIFT, PAGE_SIZE

WORD_SHIFT = 3
_WORDS_A_PAGE = PAGE_SIZE >> WORD_SHIFT
# include/uapi/linux/fs.h and Documentation/admin-guide/mm/pagemap.rst, v6.12: bits of an entry
_PRESENT, _SWAPPED, _FILE_OR_SHARED = np.uint64(1 << 63), np.uint64(1 << 62), np.uint64(1 << 61)
_READ_BYTES = 1 << 28
_ENTRIES = 1 << 20  # of pagemap at a time
# MODEL: a mapping beyond this is a reservation (a shadow, a sandbox), and reading it takes minutes
_MOST_BYTES = 256 << 30
_HUGE_BYTES = 1 << 21
_MADV_HUGEPAGE = 14  # include/uapi/asm-generic/mman-common.h MADV_HUGEPAGE


class Region(NamedTuple):
    """One mapping of the image; `row` is where its first word stands."""

    mapping: Mapping
    row: int

    @property
    def start_vaddr(self) -> int:
        """First address."""
        return self.mapping.start_vaddr

    @property
    def end_vaddr(self) -> int:
        """Address behind the last."""
        return self.mapping.end_vaddr


class Extent(NamedTuple):
    """Pages of a region that follow each other and hold something."""

    region: Region
    start_vaddr: int
    end_vaddr: int


class MemoryImage:
    """The words of a process: `words[row]`, with `resident[row // 512]` 0 for pages of zeros."""

    def __init__(self, pid: int, mappings: list[Mapping]) -> None:
        """Read `pid`'s memory. Raises OSError when it is gone or may not be read."""
        self.mappings = mappings
        self.regions: list[Region] = []
        self.unreadable: list[str] = []
        row = 0
        for mapping in mappings:
            if may_hold_pointers(mapping):
                if mapping.end_vaddr - mapping.start_vaddr > _MOST_BYTES:
                    self.unreadable.append(f"{mapping.start_vaddr:#x}: a very large reservation")
                    continue
                self.regions.append(Region(mapping, row))
                row += (mapping.end_vaddr - mapping.start_vaddr) >> WORD_SHIFT
        size_bytes = max(row << WORD_SHIFT, PAGE_SIZE)
        # MAP_NORESERVE: most of it is never touched
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
        self._store = mmap.mmap(-1, size_bytes, flags=flags)
        self.words = np.frombuffer(self._store, np.int64)
        self.resident = np.zeros(size_bytes >> PAGE_SHIFT, np.uint8)
        self.extents: list[Extent] = []
        self.read_bytes = 0
        self.starts = np.array([region.start_vaddr for region in self.regions], np.int64)
        self.ends = np.array([region.end_vaddr for region in self.regions], np.int64)
        self.rows = np.array([region.row for region in self.regions], np.int64)
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            try:
                for region in self.regions:
                    for extent in self._extents(pagemap, region):
                        self._read(memory, extent)
            finally:
                os.close(pagemap)
        finally:
            os.close(memory)

    def _extents(self, pagemap: int, region: Region) -> Iterator[Extent]:
        end_vpn = region.end_vaddr >> PAGE_SHIFT
        for start_vpn in range(region.start_vaddr >> PAGE_SHIFT, end_vpn, _ENTRIES):
            count = min(end_vpn - start_vpn, _ENTRIES)
            raw = os.pread(pagemap, count * 8, start_vpn * 8)
            yield from self._held(region, start_vpn, np.frombuffer(raw, np.uint64))

    @staticmethod
    def _held(region: Region, start_vpn: int, entries: np.ndarray) -> Iterator[Extent]:
        """The pages that hold something, of those from `start_vpn` on."""
        if region.mapping.is_private:
            own = (entries & (_PRESENT | _FILE_OR_SHARED)) == _PRESENT
            here = own | ((entries & _SWAPPED) != 0)
        else:
            here = (entries & _PRESENT) != 0
        edges = np.flatnonzero(np.diff(np.concatenate(([0], here.view(np.int8), [0]))))
        for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            yield Extent(region, (start_vpn + first) << PAGE_SHIFT, (start_vpn + end) << PAGE_SHIFT)

    def _read(self, memory: int, extent: Extent) -> None:
        at = (extent.region.row << WORD_SHIFT) + extent.start_vaddr - extent.region.start_vaddr
        length = extent.end_vaddr - extent.start_vaddr
        if length >= _HUGE_BYTES:  # fewer faults of our own
            self._store.madvise(_MADV_HUGEPAGE, at, length)
        view = memoryview(self._store)
        done = 0
        while done < length:
            part = view[at + done : at + min(length, done + _READ_BYTES)]
            try:
                got = os.preadv(memory, [part], extent.start_vaddr + done)
            except OSError as error:
                self.unreadable.append(f"{extent.start_vaddr + done:#x}: {error.strerror}")
                break
            if got <= 0:
                break
            done += got
        if done:
            end_vaddr = extent.start_vaddr + (done & ~(PAGE_SIZE - 1))
            self.extents.append(Extent(extent.region, extent.start_vaddr, end_vaddr))
            self.resident[at >> PAGE_SHIFT : (at + done) >> PAGE_SHIFT] = 1
            self.read_bytes += done

    def region_at(self, vaddr: int) -> Region | None:
        """The region that holds `vaddr`."""
        i = int(np.searchsorted(self.starts, vaddr, side="right")) - 1
        if i < 0 or vaddr >= self.ends[i]:
            return None
        return self.regions[i]

    def row_of(self, vaddr: int) -> int | None:
        """The row of the word at `vaddr`."""
        region = self.region_at(vaddr)
        if region is None:
            return None
        return region.row + ((vaddr - region.start_vaddr) >> WORD_SHIFT)

    def word(self, vaddr: int) -> int | None:
        """The word at `vaddr`, None where nothing is mapped."""
        row = self.row_of(vaddr)
        return None if row is None else int(self.words[row])

    def words_at(self, vaddr: int, count: int) -> np.ndarray:
        """`count` words from `vaddr`, fewer where the region ends before; int64."""
        region = self.region_at(vaddr)
        if region is None:
            return np.zeros(0, np.int64)
        row = region.row + ((vaddr - region.start_vaddr) >> WORD_SHIFT)
        end = region.row + ((region.end_vaddr - region.start_vaddr) >> WORD_SHIFT)
        return self.words[row : min(row + count, end)]

    def bytes_at(self, vaddr: int, count: int) -> bytes:
        """Bytes from an aligned `vaddr`, as many as are mapped up to `count`."""
        return self.words_at(vaddr, (count + 7) >> WORD_SHIFT).tobytes()[:count]

    def rows_of(self, vaddrs: np.ndarray) -> np.ndarray:
        """The rows of many addresses, -1 where nothing is mapped; int64."""
        i = np.searchsorted(self.starts, vaddrs, side="right") - 1
        inside = (i >= 0) & (vaddrs < self.ends[i])
        return np.where(inside, self.rows[i] + ((vaddrs - self.starts[i]) >> WORD_SHIFT), -1)
