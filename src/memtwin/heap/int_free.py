"""Owns how a chunk is freed: into tcache, fastbin or merged; consolidation and trimming after it.

Imports what lies below: memory, arenas, heaps, tcache, the kernel's face. Knows nothing of malloc.
A fault is left in `memory.fault`; whoever called looks there.
"""

from __future__ import annotations

import cython

from memtwin.heap.arenas import Arenas
from memtwin.heap.constants import (
    ARENA_ROWS,
    BINMAPSIZE,
    CHUNK_HDR_SZ,
    CONSOLIDATE_SIZE,
    DOUBLE_FREE_OUT,
    DOUBLE_FREE_PREV,
    DOUBLE_FREE_TOP,
    FASTBIN_CONSOLIDATION_THRESHOLD,
    FASTBIN_ENTRY,
    FASTTOP,
    FREE_INVALID_SIZE,
    FREE_NEXT_SIZE,
    FREE_NEXT_SIZE_FAST,
    FREE_SMALLBIN,
    FREE_UNSORTED,
    IS_MMAPPED,
    MIN_LARGE_SIZE,
    MINSIZE,
    MUNMAP_INVALID,
    NFASTBINS,
    PAGE_SIZE,
    PREV_INUSE,
    PREV_SIZE_CONSOLIDATING,
    PREV_SIZE_FASTBINS,
    SIZE_BITS,
    TCACHE_KEY,
)
from memtwin.heap.heaps import Heaps
from memtwin.heap.memory import HeapMemory
from memtwin.heap.par import MallocPar
from memtwin.heap.system import HeapSystem
from memtwin.heap.tcache import Tcache

NO_LOCK = 0
HAVE_LOCK = 1


@cython.final
@cython.cclass
class IntFree:
    """malloc/malloc.c _int_free() and what it calls, glibc 2.36 and 2.41."""

    def __init__(
        self, memory: HeapMemory, arenas: Arenas, heaps: Heaps, system: HeapSystem,
        par: MallocPar, tcache: Tcache,
    ) -> None:  # fmt: skip
        self.memory = memory
        self.arenas = arenas
        self.heaps = heaps
        self.system = system
        self.par = par
        self.tcache = tcache
        self.word = memory.word
        self.end_row = memory.end_row

    @cython.cfunc
    @cython.exceptval(check=False)
    def _is_outside(self, row: cython.longlong) -> cython.int:
        """As HeapMemory.is_outside, without a call: it is asked ten times an event."""
        return 0 if 1 <= row < self.end_row else self.memory.is_outside(row)

    @cython.cfunc
    @cython.exceptval(-1)
    def _die(self, fault: cython.int) -> cython.int:
        self.memory.fault = fault
        return -1

    @cython.ccall
    @cython.exceptval(-1)
    def free_chunk(self, arena: cython.int, p: cython.longlong, lock: cython.int) -> cython.int:
        """malloc/malloc.c _int_free(), glibc 2.36: 0, or -1 and a fault."""
        size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        i: cython.longlong
        if size < MINSIZE or size & 15:
            return self._die(FREE_INVALID_SIZE)
        i = (size - MINSIZE) >> 4
        if i < self.par.tcache_bins and self.tcache.own_chunk[self.tcache.thread]:
            if self.word[2 * p + 3] == TCACHE_KEY and self.tcache.holds(p, i) != 0:
                return -1
            if self.tcache.has_room(i):
                self.tcache.put(p, i)
                return 0
        if self._is_outside(p + (size >> 4)):
            return -1
        if self.par.perturb and p < self.memory.mmap_first:
            self.memory.touch(p, size)  # malloc/malloc.c free_perturb(), glibc 2.36
        if size <= self.par.max_fast:
            return self._to_fastbin(arena, p, size, lock)
        if self.word[2 * p + 1] & IS_MMAPPED:
            return self.munmap_chunk(p)
        return self.merge_chunk(arena, p, size)

    @cython.cfunc
    @cython.exceptval(-1)
    def _to_fastbin(
        self, arena: cython.int, p: cython.longlong, size: cython.longlong, lock: cython.int
    ) -> cython.int:
        beyond: cython.longlong = self.word[2 * (p + (size >> 4)) + 1]
        i: cython.longlong = (size >> 4) - 2
        at: cython.longlong = arena * NFASTBINS + i
        first: cython.longlong = self.arenas.fastbin[at]
        if beyond <= CHUNK_HDR_SZ or beyond & ~SIZE_BITS >= self.arenas.system_mem[arena]:
            return self._die(FREE_NEXT_SIZE_FAST)
        self.arenas.have_fastchunks[arena] = 1
        if first == p:
            return self._die(FASTTOP)
        self.word[2 * p + 2] = first
        self.arenas.fastbin[at] = p
        if lock and first and ((self.word[2 * first + 1] & ~SIZE_BITS) >> 4) - 2 != i:
            return self._die(FASTBIN_ENTRY)
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def merge_chunk(
        self, arena: cython.int, p: cython.longlong, size: cython.longlong
    ) -> cython.int:
        """malloc/malloc.c _int_free_merge_chunk(), glibc 2.41: 0, or -1 and a fault."""
        after: cython.longlong = p + (size >> 4)
        top: cython.longlong = self.arenas.top[arena]
        after_size: cython.longlong
        if p == top:
            return self._die(DOUBLE_FREE_TOP)
        if self.arenas.noncontiguous[arena] == 0 and after >= top + (
            (self.word[2 * top + 1] & ~SIZE_BITS) >> 4
        ):
            return self._die(DOUBLE_FREE_OUT)
        if self.word[2 * after + 1] & PREV_INUSE == 0:
            return self._die(DOUBLE_FREE_PREV)
        after_size = self.word[2 * after + 1] & ~SIZE_BITS
        if self.word[2 * after + 1] <= CHUNK_HDR_SZ or after_size >= self.arenas.system_mem[arena]:
            return self._die(FREE_NEXT_SIZE)
        if self.word[2 * p + 1] & PREV_INUSE == 0:
            size += self.word[2 * p]
            p = self._take_before(p, PREV_SIZE_CONSOLIDATING)
            if p < 0:
                return -1
        size = self.create_chunk(arena, p, size, after, after_size)
        if size < 0:
            return -1
        return self.maybe_consolidate(arena, size)

    @cython.cfunc
    @cython.exceptval(-1)
    def _take_before(self, p: cython.longlong, fault: cython.int) -> cython.longlong:
        """The free chunk before `p`, out of its list; -1 and a fault where there is none."""
        before: cython.longlong = self.word[2 * p]
        p -= before >> 4
        if self._is_outside(p):
            return -1
        if self.word[2 * p + 1] & ~SIZE_BITS != before:
            return self._die(fault)
        if self.arenas.unlink_chunk(p) != 0:
            return -1
        return p

    @cython.ccall
    @cython.exceptval(-1)
    def create_chunk(
        self, arena: cython.int, p: cython.longlong, size: cython.longlong,
        after: cython.longlong, after_size: cython.longlong,
    ) -> cython.longlong:  # fmt: skip
        """malloc/malloc.c _int_free_create_chunk(), glibc 2.41: the size it became; -1 a fault."""
        if after == self.arenas.top[arena]:
            size += after_size
            self.arenas.top[arena] = p
            self.arenas.put_size(p, size | PREV_INUSE)
            return size
        if self.word[2 * (after + (after_size >> 4)) + 1] & PREV_INUSE == 0:
            if self.arenas.unlink_chunk(after) != 0:
                return -1
            size += after_size
        else:
            self.word[2 * after + 1] &= ~PREV_INUSE
        if self.par.small_chunks_skip_unsorted and size < MIN_LARGE_SIZE:
            if self._to_smallbin(arena, p, size) != 0:
                return -1
        elif self.arenas.to_unsorted(arena, p, size, FREE_UNSORTED) != 0:
            return -1
        self.arenas.put_size(p, size | PREV_INUSE)
        self.arenas.put_foot(p, size)
        return size

    @cython.cfunc
    @cython.exceptval(-1)
    def _to_smallbin(
        self, arena: cython.int, p: cython.longlong, size: cython.longlong
    ) -> cython.int:
        i: cython.int = size >> 4
        bck: cython.longlong = (arena + 1) * ARENA_ROWS + i
        fwd: cython.longlong = self.word[2 * bck + 2]
        bit: cython.longlong = 1
        if self._is_outside(fwd):
            return -1
        if self.word[2 * fwd + 3] != bck:
            return self._die(FREE_SMALLBIN)
        self.arenas.binmap[arena * BINMAPSIZE + (i >> 5)] |= bit << (i & 31)
        self.arenas.link_between(p, bck, fwd)
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def maybe_consolidate(self, arena: cython.int, size: cython.longlong) -> cython.int:
        """malloc/malloc.c _int_free_maybe_consolidate(), glibc 2.41: 0, or -1 and a fault."""
        if size < FASTBIN_CONSOLIDATION_THRESHOLD:
            return 0
        if self.arenas.have_fastchunks[arena]:
            if self.consolidate(arena) != 0:
                return -1
        if arena != 0:
            self.heaps.trim(self.heaps.heap_for(self.arenas.top[arena]))
        elif self.arenas.chunk_size(self.arenas.top[0]) >= self.par.trim_threshold:
            self.systrim(self.par.top_pad)
        return 0 if self.memory.fault == 0 else -1

    @cython.ccall
    @cython.exceptval(-1)
    def consolidate(self, arena: cython.int) -> cython.int:
        """malloc/malloc.c malloc_consolidate(), glibc 2.36: 0, or -1 and a fault."""
        i: cython.int
        p: cython.longlong
        following: cython.longlong
        self.arenas.have_fastchunks[arena] = 0
        for i in range(NFASTBINS):
            p = self.arenas.fastbin[arena * NFASTBINS + i]
            self.arenas.fastbin[arena * NFASTBINS + i] = 0
            while p:
                if self._is_outside(p):
                    return -1
                if ((self.word[2 * p + 1] & ~SIZE_BITS) >> 4) - 2 != i:
                    return self._die(CONSOLIDATE_SIZE)
                following = self.word[2 * p + 2]
                if self._consolidate_one(arena, p) != 0:
                    return -1
                p = following
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _consolidate_one(self, arena: cython.int, p: cython.longlong) -> cython.int:
        size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        after: cython.longlong = p + (size >> 4)
        after_size: cython.longlong = self.word[2 * after + 1] & ~SIZE_BITS
        if self.word[2 * p + 1] & PREV_INUSE == 0:
            size += self.word[2 * p]
            p = self._take_before(p, PREV_SIZE_FASTBINS)
            if p < 0:
                return -1
        if after == self.arenas.top[arena]:
            self.arenas.top[arena] = p
            self.arenas.put_size(p, (size + after_size) | PREV_INUSE)
            return 0
        if self._is_outside(after + (after_size >> 4)):
            return -1
        if self.word[2 * (after + (after_size >> 4)) + 1] & PREV_INUSE == 0:
            size += after_size
            if self.arenas.unlink_chunk(after) != 0:
                return -1
        else:
            self.word[2 * after + 1] &= ~PREV_INUSE
        # glibc looks at no links here, but nothing breaks them between a look and this one
        if self.arenas.to_unsorted(arena, p, size, FREE_UNSORTED) != 0:
            return -1
        self.arenas.put_size(p, size | PREV_INUSE)
        self.arenas.put_foot(p, size)
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def systrim(self, pad: cython.longlong) -> cython.int:
        """malloc/malloc.c systrim(), glibc 2.36: 1 when the break went down."""
        top: cython.longlong = self.arenas.top[0]
        top_size: cython.longlong = self.arenas.chunk_size(top)
        top_area: cython.longlong = top_size - MINSIZE - 1
        extra: cython.longlong
        released: cython.longlong
        before: cython.longlong
        # glibc compares unsigned: of a top of MINSIZE, -1 is large, and the break goes up a page
        if top_area >= 0 and top_area <= pad:
            return 0
        extra = (top_area - pad) & -(self.par.thp_bytes if self.par.thp_bytes else PAGE_SIZE)
        if extra == 0:
            return 0
        before = self.system.morecore(0)
        if before != self.memory.address_of(top) + top_size:
            return 0
        self.system.morecore(-extra)
        released = before - self.system.morecore(0)
        if released == 0:
            return 0
        self.arenas.system_mem[0] -= released
        if released > 0:
            self.memory.give_back(top + ((top_size - released) >> 4), released)
        self.arenas.put_size(top, (top_size - released) | PREV_INUSE)
        return 1

    @cython.ccall
    @cython.exceptval(-1)
    def munmap_chunk(self, p: cython.longlong) -> cython.int:
        """malloc/malloc.c munmap_chunk(), glibc 2.36: 0, or -1 and a fault."""
        lead: cython.longlong = self.word[2 * p]
        total: cython.longlong = lead + (self.word[2 * p + 1] & ~SIZE_BITS)
        address: cython.longlong = self.memory.address_of(p)
        within: cython.longlong = (address + CHUNK_HDR_SZ) & (PAGE_SIZE - 1)
        if p < self.memory.mmap_first or ((address - lead) | total) & (PAGE_SIZE - 1):
            return self._die(MUNMAP_INVALID)
        if within & (within - 1):
            return self._die(MUNMAP_INVALID)
        self.par.mapped(-1, -total)
        self.system.munmap(address - lead, total)
        self.memory.give_slot(p)
        return 0
