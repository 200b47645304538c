"""Owns struct malloc_state of every arena: bins and their lists, fastbins, binmap, top, counts.

Imports the heap's memory and its figures. Knows nothing of where memory comes from. Bins are pseudo
chunks in block 0, overlapping as in glibc: bin i of arena a is row (a + 1) * 256 + i, its fd and bk
are the words of the row after it. A broken list sets `memory.fault` and the answer means nothing.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.heap.constants import (
    ARENA_ROWS,
    BINMAPSIZE,
    LARGEBIN_BK,
    LARGEBIN_NEXTSIZE,
    MAX_ARENAS,
    MIN_LARGE_SIZE,
    NBINS,
    NFASTBINS,
    PREV_INUSE,
    ROWS_A_PAGE_SHIFT,
    SIZE_BITS,
    UNLINK_LIST,
    UNLINK_NEXTSIZE,
    UNLINK_SIZE,
)
from memtwin.heap.memory import HeapMemory

COLUMNS = (
    Column("top", "i8", "arenas", "row of the top chunk"),
    Column("last_remainder", "i8", "arenas", "row of what the last small split left; 0 none"),
    Column("system_mem", "i8", "arenas", "bytes from the system"),
    Column("max_system_mem", "i8", "arenas", "most bytes from the system so far"),
    Column("noncontiguous", "i4", "arenas", "1: the break is not one piece"),
    Column("have_fastchunks", "i4", "arenas", "1: something may lie in a fastbin"),
    Column("next", "i4", "arenas", "next arena in the ring"),
    Column("next_free", "i4", "arenas", "next arena without threads; -1 the last"),
    Column("attached_threads", "i4", "arenas", "threads that use it"),
    Column("fastbin", "i8", "arenas", "row of the first chunk, 10 bins an arena; 0 empty"),
    Column("binmap", "i8", "arenas", "bits of bins that may hold chunks, 4 words of 32 an arena"),
)


@cython.final
@cython.cclass
class Arenas:
    """All arenas; number 0 is main_arena."""

    def __init__(self, memory: HeapMemory) -> None:
        self.memory = memory
        self.word = memory.word
        self.end_row = memory.end_row
        self.resident = memory.resident
        self.count = 0
        self.top = zeros(MAX_ARENAS, "i8")
        self.last_remainder = zeros(MAX_ARENAS, "i8")
        self.system_mem = zeros(MAX_ARENAS, "i8")
        self.max_system_mem = zeros(MAX_ARENAS, "i8")
        self.noncontiguous = zeros(MAX_ARENAS, "i4")
        self.have_fastchunks = zeros(MAX_ARENAS, "i4")
        self.next = zeros(MAX_ARENAS, "i4")
        self.next_free = zeros(MAX_ARENAS, "i4")
        self.attached_threads = zeros(MAX_ARENAS, "i4")
        self.fastbin = zeros(MAX_ARENAS * NFASTBINS, "i8")
        self.binmap = zeros(MAX_ARENAS * BINMAPSIZE, "i8")

    def init_state(self) -> int:
        """malloc/malloc.c malloc_init_state(), glibc 2.36: the number of a new arena."""
        arena = int(self.count)
        self.count = arena + 1
        for i in range(1, NBINS):
            row = self.bin_at(arena, i)
            self.word[2 * row + 2] = row
            self.word[2 * row + 3] = row
        self.noncontiguous[arena] = int(arena != 0)
        self.next_free[arena] = -1
        self.top[arena] = self.bin_at(arena, 1)
        return arena

    @cython.ccall
    @cython.exceptval(check=False)
    def bin_at(self, arena: cython.int, i: cython.int) -> cython.longlong:
        """Row of bin `i`; 1 is the unsorted bin."""
        return (arena + 1) * ARENA_ROWS + i

    # words

    @cython.ccall
    @cython.exceptval(check=False)
    def chunk_size(self, p: cython.longlong) -> cython.longlong:
        """Bytes of chunk `p`, without the bits."""
        return self.word[2 * p + 1] & ~SIZE_BITS

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def put_size(self, p: cython.longlong, value: cython.longlong) -> cython.int:
        """set_head: size and bits of chunk `p`."""
        self.word[2 * p + 1] = value
        if self.resident[p >> ROWS_A_PAGE_SHIFT] == 0:
            self.memory.first_touch(p >> ROWS_A_PAGE_SHIFT)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def put_foot(self, p: cython.longlong, size: cython.longlong) -> cython.int:
        """set_foot: the size once more, in the word after the chunk."""
        p += size >> 4
        self.word[2 * p] = size
        if self.resident[p >> ROWS_A_PAGE_SHIFT] == 0:
            self.memory.first_touch(p >> ROWS_A_PAGE_SHIFT)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def link_between(
        self, p: cython.longlong, bck: cython.longlong, fwd: cython.longlong
    ) -> cython.int:
        """Put `p` into a list, after `bck` and before `fwd`."""
        p += 1
        self.word[2 * p] = fwd
        self.word[2 * p + 1] = bck
        self.word[2 * fwd + 3] = p - 1
        self.word[2 * bck + 2] = p - 1
        if self.resident[p >> ROWS_A_PAGE_SHIFT] == 0:
            self.memory.first_touch(p >> ROWS_A_PAGE_SHIFT)
        return 0

    # lists

    @cython.cfunc
    @cython.exceptval(check=False)
    def _is_outside(self, row: cython.longlong) -> cython.int:
        """As HeapMemory.is_outside, without a call: it is asked ten times an event."""
        return 0 if 1 <= row < self.end_row else self.memory.is_outside(row)

    @cython.cfunc
    @cython.exceptval(-1)
    def unlink_chunk(self, p: cython.longlong) -> cython.int:
        """malloc/malloc.c unlink_chunk(), glibc 2.36: 0, or -1 when the lists are broken."""
        size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        fd: cython.longlong
        bk: cython.longlong
        if self._is_outside(p + (size >> 4)):
            return -1
        if size != self.word[2 * (p + (size >> 4))]:
            return self._broken(UNLINK_SIZE)
        fd = self.word[2 * p + 2]
        bk = self.word[2 * p + 3]
        if self._is_outside(fd) or self._is_outside(bk):
            return -1
        if self.word[2 * fd + 3] != p or self.word[2 * bk + 2] != p:
            return self._broken(UNLINK_LIST)
        self.word[2 * fd + 3] = bk
        self.word[2 * bk + 2] = fd
        if self.word[2 * p + 1] >= MIN_LARGE_SIZE and self.word[2 * p + 4] != 0:
            return self._unlink_size(p, fd)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _unlink_size(self, p: cython.longlong, fd: cython.longlong) -> cython.int:
        # p is the first of its size: its neighbours among sizes, or the next of its size, inherit
        larger: cython.longlong = self.word[2 * p + 5]
        smaller: cython.longlong = self.word[2 * p + 4]
        if self._is_outside(larger) or self._is_outside(smaller):
            return -1
        if self.word[2 * smaller + 5] != p or self.word[2 * larger + 4] != p:
            return self._broken(UNLINK_NEXTSIZE)
        if self.word[2 * fd + 4] != 0:
            self.word[2 * smaller + 5] = larger
            self.word[2 * larger + 4] = smaller
        elif smaller == p:
            self.word[2 * fd + 4] = fd
            self.word[2 * fd + 5] = fd
        else:
            self.word[2 * fd + 4] = smaller
            self.word[2 * fd + 5] = larger
            self.word[2 * smaller + 5] = fd
            self.word[2 * larger + 4] = fd
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _broken(self, fault: cython.int) -> cython.int:
        self.memory.fault = fault
        return -1

    @cython.cfunc
    @cython.exceptval(-1)
    def to_unsorted(
        self, arena: cython.int, p: cython.longlong, size: cython.longlong, fault: cython.int
    ) -> cython.int:
        """Put the free chunk `p` first into the unsorted bin: 0, or -1 and `fault`."""
        bck: cython.longlong = (arena + 1) * ARENA_ROWS + 1
        fwd: cython.longlong = self.word[2 * bck + 2]
        if self._is_outside(fwd):
            return -1
        if self.word[2 * fwd + 3] != bck:
            return self._broken(fault)
        self.link_between(p, bck, fwd)
        if size >= MIN_LARGE_SIZE:
            self.clear_nextsize(p)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def clear_nextsize(self, p: cython.longlong) -> cython.int:
        """fd_nextsize and bk_nextsize of `p` are NULL: it is not the first of its size."""
        p += 2
        self.word[2 * p] = 0
        self.word[2 * p + 1] = 0
        if self.resident[p >> ROWS_A_PAGE_SHIFT] == 0:
            self.memory.first_touch(p >> ROWS_A_PAGE_SHIFT)
        return 0

    @cython.ccall
    @cython.exceptval(check=False)
    def bin_index(self, size: cython.longlong) -> cython.int:
        """malloc/malloc.c bin_index(), glibc 2.36, of a chunk of `size` bytes."""
        if size < MIN_LARGE_SIZE:
            return size >> 4
        if size >> 6 <= 48:
            return 48 + (size >> 6)
        if size >> 9 <= 20:
            return 91 + (size >> 9)
        if size >> 12 <= 10:
            return 110 + (size >> 12)
        if size >> 15 <= 4:
            return 119 + (size >> 15)
        if size >> 18 <= 2:
            return 124 + (size >> 18)
        return 126

    @cython.cfunc
    @cython.exceptval(check=False)
    def mark_bin(self, arena: cython.int, i: cython.int) -> cython.void:
        """Bin `i` may hold chunks."""
        bit: cython.longlong = 1
        self.binmap[arena * BINMAPSIZE + (i >> 5)] |= bit << (i & 31)

    @cython.cfunc
    @cython.exceptval(-1)
    def sort_chunk(
        self, arena: cython.int, p: cython.longlong, size: cython.longlong
    ) -> cython.int:
        """Put the free chunk `p` into the bin of its size, as malloc/malloc.c _int_malloc() does.

        Large bins are in order of size, the first of each size in a list of its own (glibc 2.36).
        """
        i: cython.int = self.bin_index(size)
        bck: cython.longlong = (arena + 1) * ARENA_ROWS + i
        fwd: cython.longlong = self.word[2 * bck + 2]
        if size >= MIN_LARGE_SIZE:
            if fwd == bck:
                self._place_nextsize(p, p, p)
            else:
                fwd = self._place_large(p, size | PREV_INUSE, bck)
                if fwd < 0:
                    return -1
                bck = self.word[2 * fwd + 3]
        self.mark_bin(arena, i)
        self.link_between(p, bck, fwd)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _place_large(
        self, p: cython.longlong, size: cython.longlong, bck: cython.longlong
    ) -> cython.longlong:
        """The chunk that `p` goes before in the large bin `bck`, which is not empty; -1 broken."""
        fwd: cython.longlong = self.word[2 * bck + 2]
        last: cython.longlong = self.word[2 * bck + 3]
        if size < self.word[2 * last + 1]:
            larger: cython.longlong = self.word[2 * fwd + 5]
            self._place_nextsize(p, fwd, larger)
            self.word[2 * fwd + 5] = p
            self.word[2 * larger + 4] = p
            return bck
        while size < self.word[2 * fwd + 1]:
            fwd = self.word[2 * fwd + 4]
        if size == self.word[2 * fwd + 1]:
            fwd = self.word[2 * fwd + 2]  # always second, so that the list of sizes stays
        else:
            larger = self.word[2 * fwd + 5]
            self._place_nextsize(p, fwd, larger)
            if self._is_outside(larger):
                return -1
            if self.word[2 * larger + 4] != fwd:
                return self._broken(LARGEBIN_NEXTSIZE)
            self.word[2 * fwd + 5] = p
            self.word[2 * larger + 4] = p
        if self.word[2 * self.word[2 * fwd + 3] + 2] != fwd:
            return self._broken(LARGEBIN_BK)
        return fwd

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _place_nextsize(
        self, p: cython.longlong, smaller: cython.longlong, larger: cython.longlong
    ) -> cython.int:
        p += 2
        self.word[2 * p] = smaller
        self.word[2 * p + 1] = larger
        if self.resident[p >> ROWS_A_PAGE_SHIFT] == 0:
            self.memory.first_touch(p >> ROWS_A_PAGE_SHIFT)
        return 0
