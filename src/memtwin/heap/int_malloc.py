"""Owns how a chunk is found: fastbin, small bin, unsorted, large bins, top, then the system.

Imports what lies below. Knows nothing of threads' choice of arena. Answers are rows of chunks; 0 is
no memory, or a fault in `memory.fault`.
"""

from __future__ import annotations

import cython

from memtwin.heap.arenas import Arenas
from memtwin.heap.constants import (
    ARENA_ROWS,
    BINMAPSIZE,
    BITSPERMAP,
    CHUNK_HDR_SZ,
    FAST_CORRUPTION,
    MAX_ITERS,
    MIN_LARGE_SIZE,
    MINSIZE,
    NFASTBINS,
    NON_MAIN_ARENA,
    PREV_INUSE,
    ROWS_A_PAGE_SHIFT,
    SIZE_BITS,
    SMALLBIN_LIST,
    TOP_SIZE,
    UNSORTED_CHUNKS,
    UNSORTED_CHUNKS_2,
    UNSORTED_LIST,
    UNSORTED_MISMATCH,
    UNSORTED_NEXT_SIZE,
    UNSORTED_PREV_INUSE,
    UNSORTED_SIZE,
)
from memtwin.heap.int_free import IntFree
from memtwin.heap.memory import HeapMemory
from memtwin.heap.par import MallocPar
from memtwin.heap.sysmalloc import NO_ARENA, SysMalloc
from memtwin.heap.tcache import Tcache


@cython.final
@cython.cclass
class IntMalloc:
    """malloc/malloc.c _int_malloc(), glibc 2.36."""

    def __init__(
        self, memory: HeapMemory, arenas: Arenas, par: MallocPar, tcache: Tcache,
        int_free: IntFree, sysmalloc: SysMalloc,
    ) -> None:  # fmt: skip
        self.memory = memory
        self.arenas = arenas
        self.par = par
        self.tcache = tcache
        self.int_free = int_free
        self.sysmalloc = sysmalloc
        self.word = memory.word
        self.end_row = memory.end_row
        self.resident = memory.resident
        self.sorted_chunks = 0  # by this malloc so far: tcache_unsorted_count

    @cython.cfunc
    @cython.exceptval(check=False)
    def _is_outside(self, row: cython.longlong) -> cython.int:
        """As HeapMemory.is_outside, without a call: it is asked ten times an event."""
        return 0 if 1 <= row < self.end_row else self.memory.is_outside(row)

    @cython.cfunc
    @cython.exceptval(-1)
    def _die(self, fault: cython.int) -> cython.longlong:
        self.memory.fault = fault
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def malloc_chunk(self, arena: cython.int, nb: cython.longlong) -> cython.longlong:
        """A chunk of at least `nb` bytes, header included, from `arena` or a mapping."""
        p: cython.longlong
        self.sorted_chunks = 0
        if arena == NO_ARENA:
            return self.sysmalloc.more(arena, nb)
        if nb <= self.par.max_fast:
            p = self._from_fastbin(arena, nb)
            if p or self.memory.fault:
                return p
        if nb < MIN_LARGE_SIZE:
            p = self._from_smallbin(arena, nb)
            if p or self.memory.fault:
                return p
        elif self.arenas.have_fastchunks[arena]:
            if self.int_free.consolidate(arena) != 0:
                return 0
        while True:
            p = self._from_unsorted(arena, nb)
            if p or self.memory.fault:
                return p
            if nb >= MIN_LARGE_SIZE:
                p = self._from_large_bin(arena, nb)
                if p or self.memory.fault:
                    return p
            p = self._from_larger_bins(arena, nb)
            if p or self.memory.fault:
                return p
            p = self._from_top(arena, nb)
            if p or self.memory.fault:
                return p
            if self.arenas.have_fastchunks[arena] == 0:
                return self.sysmalloc.more(arena, nb)
            if self.int_free.consolidate(arena) != 0:
                return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _from_fastbin(self, arena: cython.int, nb: cython.longlong) -> cython.longlong:
        at: cython.longlong = arena * NFASTBINS + (nb >> 4) - 2
        i: cython.longlong = (nb - MINSIZE) >> 4
        p: cython.longlong = self.arenas.fastbin[at]
        other: cython.longlong
        if p == 0:
            return 0
        if self._is_outside(p):
            return 0
        self.arenas.fastbin[at] = self.word[2 * p + 2]
        if (self.word[2 * p + 1] & ~SIZE_BITS) >> 4 != nb >> 4:
            return self._die(FAST_CORRUPTION)
        while self.arenas.fastbin[at] and self.tcache.has_room(i):
            other = self.arenas.fastbin[at]
            if self._is_outside(other):
                return 0
            self.arenas.fastbin[at] = self.word[2 * other + 2]
            self.tcache.put(other, i)
        return p

    @cython.cfunc
    @cython.exceptval(-1)
    def _from_smallbin(self, arena: cython.int, nb: cython.longlong) -> cython.longlong:
        head: cython.longlong = (arena + 1) * ARENA_ROWS + (nb >> 4)
        i: cython.longlong = (nb - MINSIZE) >> 4
        p: cython.longlong = self.word[2 * head + 3]
        bck: cython.longlong
        other: cython.longlong
        if p == head:
            return 0
        bck = self.word[2 * p + 3]
        if self._is_outside(bck):
            return 0
        if self.word[2 * bck + 2] != p:
            return self._die(SMALLBIN_LIST)
        self._use(arena, p, nb)
        self.word[2 * head + 3] = bck
        self.word[2 * bck + 2] = head
        while self.word[2 * head + 3] != head and self.tcache.has_room(i):
            other = self.word[2 * head + 3]
            bck = self.word[2 * other + 3]
            if self._is_outside(bck):
                return 0
            self._use(arena, other, nb)
            self.word[2 * head + 3] = bck
            self.word[2 * bck + 2] = head
            self.tcache.put(other, i)
        return p

    @cython.cfunc
    @cython.exceptval(check=False)
    def _use(self, arena: cython.int, p: cython.longlong, size: cython.longlong) -> cython.void:
        """The whole of the free chunk `p` is in use."""
        self.word[2 * (p + (size >> 4)) + 1] |= PREV_INUSE
        if arena != 0:
            self.word[2 * p + 1] |= NON_MAIN_ARENA

    @cython.cfunc
    @cython.exceptval(-1)
    def _from_unsorted(self, arena: cython.int, nb: cython.longlong) -> cython.longlong:
        """Sort what was freed lately; an exact fit, or what the last small split left, ends it."""
        unsorted: cython.longlong = (arena + 1) * ARENA_ROWS + 1
        i: cython.longlong = (nb - MINSIZE) >> 4
        cached: cython.int = 0
        iters: cython.longlong = 0
        p: cython.longlong = self.word[2 * unsorted + 3]
        bck: cython.longlong
        size: cython.longlong
        while p != unsorted:
            if self._is_broken(arena, p, unsorted):
                return 0
            bck = self.word[2 * p + 3]
            size = self.word[2 * p + 1] & ~SIZE_BITS
            if (
                nb < MIN_LARGE_SIZE
                and bck == unsorted
                and p == self.arenas.last_remainder[arena]
                and size > nb + MINSIZE
            ):
                return self._split_last_remainder(arena, p, size, nb)
            self.word[2 * unsorted + 3] = bck
            self.word[2 * bck + 2] = unsorted
            if size == nb:
                self._use(arena, p, size)
                if not self.tcache.has_room(i):
                    return p
                self.tcache.put(p, i)
                cached = 1
                p = self.word[2 * unsorted + 3]
                continue
            if self.arenas.sort_chunk(arena, p, size) != 0:
                return 0
            self.sorted_chunks += 1
            if cached and 0 < self.par.tcache_unsorted_limit < self.sorted_chunks:
                return self.tcache.get(i)
            iters += 1
            if iters >= MAX_ITERS:
                break
            p = self.word[2 * unsorted + 3]
        return self.tcache.get(i) if cached else 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _is_broken(
        self, arena: cython.int, p: cython.longlong, unsorted: cython.longlong
    ) -> cython.int:
        """The looks at an unsorted chunk before it is taken: 1 and a fault, or 0."""
        size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        system_mem: cython.longlong = self.arenas.system_mem[arena]
        bck: cython.longlong = self.word[2 * p + 3]
        after: cython.longlong = p + (size >> 4)
        fault: cython.int = 0
        if size <= CHUNK_HDR_SZ or size > system_mem:
            fault = UNSORTED_SIZE
        elif self._is_outside(after) or self._is_outside(bck):
            return 1
        elif self.word[2 * after + 1] < CHUNK_HDR_SZ or self.word[2 * after + 1] > system_mem:
            fault = UNSORTED_NEXT_SIZE
        elif self.word[2 * after] & ~SIZE_BITS != size:
            fault = UNSORTED_MISMATCH
        elif self.word[2 * bck + 2] != p or self.word[2 * p + 2] != unsorted:
            fault = UNSORTED_LIST
        elif self.word[2 * after + 1] & PREV_INUSE:
            fault = UNSORTED_PREV_INUSE
        if fault:
            self.memory.fault = fault
            return 1
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _split_last_remainder(
        self, arena: cython.int, p: cython.longlong, size: cython.longlong, nb: cython.longlong
    ) -> cython.longlong:
        unsorted: cython.longlong = (arena + 1) * ARENA_ROWS + 1
        rest: cython.longlong = p + (nb >> 4)
        size -= nb
        self.arenas.last_remainder[arena] = rest
        self.arenas.link_between(rest, unsorted, unsorted)
        if size >= MIN_LARGE_SIZE:
            self.arenas.clear_nextsize(rest)
        self._set_heads(arena, p, nb, rest, size)
        return p

    @cython.cfunc
    @cython.exceptval(-1)
    def _set_heads(
        self, arena: cython.int, p: cython.longlong, nb: cython.longlong,
        rest: cython.longlong, rest_size: cython.longlong,
    ) -> cython.int:  # fmt: skip
        bits: cython.longlong = PREV_INUSE
        if arena != 0:
            bits = PREV_INUSE | NON_MAIN_ARENA
        self.arenas.put_size(p, nb | bits)
        self.arenas.put_size(rest, rest_size | PREV_INUSE)
        self.arenas.put_foot(rest, rest_size)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _from_large_bin(self, arena: cython.int, nb: cython.longlong) -> cython.longlong:
        """The smallest that fits in the bin of the size asked for."""
        head: cython.longlong = (arena + 1) * ARENA_ROWS + self.arenas.bin_index(nb)
        p: cython.longlong = self.word[2 * head + 2]
        following: cython.longlong
        if p == head or self.word[2 * p + 1] < nb:
            return 0
        p = self.word[2 * p + 5]
        while self.word[2 * p + 1] & ~SIZE_BITS < nb:
            p = self.word[2 * p + 5]
            if self._is_outside(p):
                return 0
        following = self.word[2 * p + 2]
        if p != self.word[2 * head + 3] and self.word[2 * p + 1] == self.word[2 * following + 1]:
            p = following  # so that the list of sizes stays
        return self._cut(arena, p, nb, UNSORTED_CHUNKS)

    @cython.cfunc
    @cython.exceptval(-1)
    def _from_larger_bins(self, arena: cython.int, nb: cython.longlong) -> cython.longlong:
        """The smallest of the first bin above that holds anything; bits found stale are cleared."""
        i: cython.int = self.arenas.bin_index(nb) + 1
        block: cython.int = i >> 5
        one: cython.longlong = 1
        bit: cython.longlong = one << (i & (BITSPERMAP - 1))
        bits: cython.longlong = self.arenas.binmap[arena * BINMAPSIZE + block]
        head: cython.longlong
        p: cython.longlong
        while True:
            if bit > bits:
                block += 1
                while block < BINMAPSIZE and self.arenas.binmap[arena * BINMAPSIZE + block] == 0:
                    block += 1
                if block >= BINMAPSIZE:
                    return 0
                bits = self.arenas.binmap[arena * BINMAPSIZE + block]
                i = block << 5
                bit = 1
            while bit & bits == 0:
                bit <<= 1
                i += 1
            head = (arena + 1) * ARENA_ROWS + i
            p = self.word[2 * head + 3]
            if p != head:
                p = self._cut(arena, p, nb, UNSORTED_CHUNKS_2)
                return p
            bits &= ~bit
            self.arenas.binmap[arena * BINMAPSIZE + block] = bits
            bit <<= 1
            i += 1

    @cython.cfunc
    @cython.exceptval(-1)
    def _cut(
        self, arena: cython.int, p: cython.longlong, nb: cython.longlong, fault: cython.int
    ) -> cython.longlong:
        """Take the free chunk `p` out of its bin for `nb` bytes; what is left becomes unsorted."""
        size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        rest: cython.longlong = p + (nb >> 4)
        if self.arenas.unlink_chunk(p) != 0:
            return 0
        if size - nb < MINSIZE:
            self._use(arena, p, size)
            return p
        if self.arenas.to_unsorted(arena, rest, size - nb, fault) != 0:
            return 0
        if fault == UNSORTED_CHUNKS_2 and nb < MIN_LARGE_SIZE:
            self.arenas.last_remainder[arena] = rest
        self._set_heads(arena, p, nb, rest, size - nb)
        return p

    @cython.cfunc
    @cython.exceptval(-1)
    def _from_top(self, arena: cython.int, nb: cython.longlong) -> cython.longlong:
        p: cython.longlong = self.arenas.top[arena]
        size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        rest: cython.longlong
        if size > self.arenas.system_mem[arena]:
            return self._die(TOP_SIZE)
        if size < nb + MINSIZE:
            return 0
        rest = p + (nb >> 4)
        self.arenas.top[arena] = rest
        self.word[2 * p + 1] = nb | PREV_INUSE
        if arena != 0:
            self.word[2 * p + 1] |= NON_MAIN_ARENA
        self.word[2 * rest + 1] = (size - nb) | PREV_INUSE
        if self.resident[rest >> ROWS_A_PAGE_SHIFT] == 0:
            self.memory.first_touch(rest >> ROWS_A_PAGE_SHIFT)
        return p
