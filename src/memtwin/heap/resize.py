"""Owns realloc within an arena and by mremap, and memalign: what cuts or joins a chunk in use.

Imports what lies below. Knows nothing of threads' choice of arena. Answers are rows of chunks; 0 is
no memory, or a fault in `memory.fault`.
"""

from __future__ import annotations

import cython

from memtwin.heap.arenas import Arenas
from memtwin.heap.constants import (
    CHUNK_HDR_SZ,
    IS_MMAPPED,
    MALLOC_ALIGN_MASK,
    MINSIZE,
    MREMAP_INVALID,
    NON_MAIN_ARENA,
    PAGE_SIZE,
    PREV_INUSE,
    REALLOC_NEXT_SIZE,
    REALLOC_OLD_SIZE,
    SIZE_BITS,
    SIZE_SZ,
)
from memtwin.heap.int_free import HAVE_LOCK, IntFree
from memtwin.heap.int_malloc import IntMalloc
from memtwin.heap.memory import HeapMemory
from memtwin.heap.par import MallocPar
from memtwin.heap.system import HeapSystem


@cython.final
@cython.cclass
class Resize:
    """malloc/malloc.c _int_realloc(), mremap_chunk(), _int_memalign(), glibc 2.36 and 2.38."""

    def __init__(
        self, memory: HeapMemory, arenas: Arenas, system: HeapSystem, par: MallocPar,
        int_free: IntFree, int_malloc: IntMalloc,
    ) -> None:  # fmt: skip
        self.memory = memory
        self.arenas = arenas
        self.system = system
        self.par = par
        self.int_free = int_free
        self.int_malloc = int_malloc
        self.word = memory.word
        self.copied_bytes = 0  # by the last realloc

    @cython.cfunc
    @cython.exceptval(-1)
    def _die(self, fault: cython.int) -> cython.longlong:
        self.memory.fault = fault
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def realloc_chunk(
        self, arena: cython.int, p: cython.longlong, nb: cython.longlong
    ) -> cython.longlong:
        """malloc/malloc.c _int_realloc(), glibc 2.36: the chunk, maybe elsewhere."""
        old_size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        after: cython.longlong = p + (old_size >> 4)
        after_size: cython.longlong
        new_size: cython.longlong
        system_mem: cython.longlong = self.arenas.system_mem[arena]
        if self.word[2 * p + 1] <= CHUNK_HDR_SZ or old_size >= system_mem:
            return self._die(REALLOC_OLD_SIZE)
        after_size = self.word[2 * after + 1] & ~SIZE_BITS
        if self.word[2 * after + 1] <= CHUNK_HDR_SZ or after_size >= system_mem:
            return self._die(REALLOC_NEXT_SIZE)
        if old_size >= nb:
            return self._give_tail(arena, p, old_size, nb)
        new_size = old_size + after_size
        if after == self.arenas.top[arena]:
            if new_size >= nb + MINSIZE:
                self._set_size(arena, p, nb)
                self.arenas.top[arena] = p + (nb >> 4)
                self.arenas.put_size(p + (nb >> 4), (new_size - nb) | PREV_INUSE)
                return p
        elif self.word[2 * (after + (after_size >> 4)) + 1] & PREV_INUSE == 0 and new_size >= nb:
            if self.arenas.unlink_chunk(after) != 0:
                return 0
            return self._give_tail(arena, p, new_size, nb)
        return self._move(arena, p, old_size, nb)

    @cython.cfunc
    @cython.exceptval(-1)
    def _fill(self, p: cython.longlong, size: cython.longlong) -> cython.int:
        """malloc/malloc.c alloc_perturb(), glibc 2.36: `size` bytes of a block are written."""
        if p >= self.memory.mmap_first:
            self.memory.touch_mapped(p, CHUNK_HDR_SZ + size)
        else:
            self.memory.touch(p, CHUNK_HDR_SZ + size)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _move(
        self, arena: cython.int, p: cython.longlong, old_size: cython.longlong,
        nb: cython.longlong,
    ) -> cython.longlong:  # fmt: skip
        fresh: cython.longlong = self.int_malloc.malloc_chunk(arena, nb)
        if fresh == 0:
            return 0
        if self.par.perturb:
            self._fill(fresh, nb - MALLOC_ALIGN_MASK)
        if fresh == p + (old_size >> 4):
            old_size += self.word[2 * fresh + 1] & ~SIZE_BITS
            return self._give_tail(arena, p, old_size, nb)
        self.copied_bytes = old_size - SIZE_SZ
        if self.int_free.free_chunk(arena, p, HAVE_LOCK) != 0:
            return 0
        return fresh

    @cython.cfunc
    @cython.exceptval(-1)
    def _set_size(self, arena: cython.int, p: cython.longlong, size: cython.longlong) -> cython.int:
        """set_head_size, with the mark of the arena: the bit of the chunk before it stays."""
        bits: cython.longlong = self.word[2 * p + 1] & SIZE_BITS
        if arena != 0:
            bits |= NON_MAIN_ARENA
        self.word[2 * p + 1] = size | bits
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _give_tail(
        self, arena: cython.int, p: cython.longlong, size: cython.longlong, nb: cython.longlong
    ) -> cython.longlong:
        """Keep `nb` of the `size` bytes at `p` and free the rest, where it makes a chunk."""
        rest: cython.longlong = p + (nb >> 4)
        bits: cython.longlong = PREV_INUSE
        if arena != 0:
            bits = PREV_INUSE | NON_MAIN_ARENA
        if size - nb < MINSIZE:
            self._set_size(arena, p, size)
            self.word[2 * (p + (size >> 4)) + 1] |= PREV_INUSE
            return p
        self._set_size(arena, p, nb)
        self.arenas.put_size(rest, (size - nb) | bits)
        self.word[2 * (p + (size >> 4)) + 1] |= PREV_INUSE
        if self.int_free.free_chunk(arena, rest, HAVE_LOCK) != 0:
            return 0
        return p

    @cython.ccall
    @cython.exceptval(-1)
    def mremap_chunk(self, p: cython.longlong, nb: cython.longlong) -> cython.longlong:
        """malloc/malloc.c mremap_chunk(), glibc 2.36: the chunk, or 0 when it can't grow."""
        lead: cython.longlong = self.word[2 * p]
        total: cython.longlong = lead + (self.word[2 * p + 1] & ~SIZE_BITS)
        wanted: cython.longlong = (nb + lead + SIZE_SZ + PAGE_SIZE - 1) & -PAGE_SIZE
        address: cython.longlong = self.memory.address_of(p)
        within: cython.longlong = (address + CHUNK_HDR_SZ) & (PAGE_SIZE - 1)
        moved: cython.longlong
        if ((address - lead) | total) & (PAGE_SIZE - 1) or within & (within - 1):
            return self._die(MREMAP_INVALID)
        if total == wanted:
            return p
        moved = self.system.mremap(address - lead, total, wanted)
        if moved < 0:
            return 0
        self.system.advise_huge(moved, wanted)
        self.memory.move_slot(p, moved + lead)
        self.word[2 * p + 1] = (wanted - lead) | IS_MMAPPED
        self.memory.cut_mapped(p, wanted - lead)
        self.par.mapped(0, wanted - total)
        return p

    @cython.ccall
    @cython.exceptval(-1)
    def memalign_chunk(
        self, arena: cython.int, alignment: cython.longlong, nb: cython.longlong
    ) -> cython.longlong:
        """malloc/malloc.c _int_memalign(), glibc 2.36 and 2.38; `alignment` is a power of 2."""
        lead: cython.longlong
        size: cython.longlong
        memory: cython.longlong
        aligned: cython.longlong
        # as _int_malloc() sees it: the sum is one more request, padded again
        request: cython.longlong = nb + alignment + MINSIZE
        p: cython.longlong = self.int_malloc.malloc_chunk(
            arena, (request + SIZE_SZ + MALLOC_ALIGN_MASK) & ~MALLOC_ALIGN_MASK
        )
        if p == 0:
            return 0
        if self.par.perturb:
            self._fill(p, request)
        memory = self.memory.address_of(p) + CHUNK_HDR_SZ
        if memory & (alignment - 1):
            aligned = (memory + alignment - 1) & -alignment
            if aligned - memory < MINSIZE:
                aligned += alignment
            lead = aligned - memory
            size = (self.word[2 * p + 1] & ~SIZE_BITS) - lead
            if self.word[2 * p + 1] & IS_MMAPPED:
                self.word[2 * p] += lead
                self.word[2 * p + 1] = size | IS_MMAPPED
                self.memory.advance_slot(p, aligned - CHUNK_HDR_SZ)
                return p
            p = self._give_lead(arena, p, lead, size)
            if p == 0:
                return 0
        if self.word[2 * p + 1] & IS_MMAPPED:
            return p
        if self.par.memalign_merges:
            return self._merge_tail(arena, p, nb)
        return self._free_tail(arena, p, nb)

    @cython.cfunc
    @cython.exceptval(-1)
    def _give_lead(
        self, arena: cython.int, p: cython.longlong, lead: cython.longlong,
        size: cython.longlong,
    ) -> cython.longlong:  # fmt: skip
        """Free the `lead` bytes before the aligned place; the chunk there, of `size` bytes."""
        aligned: cython.longlong = p + (lead >> 4)
        bits: cython.longlong = PREV_INUSE
        failed: cython.int
        if arena != 0:
            bits = PREV_INUSE | NON_MAIN_ARENA
        self.arenas.put_size(aligned, size | bits)
        self.word[2 * (aligned + (size >> 4)) + 1] |= PREV_INUSE
        self._set_size(arena, p, lead)
        if self.par.memalign_merges:
            failed = self.int_free.merge_chunk(arena, p, lead)
        else:
            failed = self.int_free.free_chunk(arena, p, HAVE_LOCK)
        return 0 if failed else aligned

    @cython.cfunc
    @cython.exceptval(-1)
    def _free_tail(
        self, arena: cython.int, p: cython.longlong, nb: cython.longlong
    ) -> cython.longlong:
        size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        bits: cython.longlong = PREV_INUSE
        if arena != 0:
            bits = PREV_INUSE | NON_MAIN_ARENA
        if size <= nb + MINSIZE:
            return p
        self.arenas.put_size(p + (nb >> 4), (size - nb) | bits)
        self.word[2 * p + 1] = nb | (self.word[2 * p + 1] & SIZE_BITS)
        if self.int_free.free_chunk(arena, p + (nb >> 4), HAVE_LOCK) != 0:
            return 0
        return p

    @cython.cfunc
    @cython.exceptval(-1)
    def _merge_tail(
        self, arena: cython.int, p: cython.longlong, nb: cython.longlong
    ) -> cython.longlong:
        size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        after: cython.longlong = p + (size >> 4)
        after_size: cython.longlong = self.word[2 * after + 1] & ~SIZE_BITS
        tail: cython.longlong = size - nb
        if tail <= 0:
            return p
        if (
            tail < MINSIZE
            and after != self.arenas.top[arena]
            and self.word[2 * (after + (after_size >> 4)) + 1] & PREV_INUSE
        ):
            return p
        self.word[2 * p + 1] = nb | (self.word[2 * p + 1] & SIZE_BITS)
        tail = self.int_free.create_chunk(arena, p + (nb >> 4), tail, after, after_size)
        if tail < 0 or self.int_free.maybe_consolidate(arena, tail) != 0:
            return 0
        return p
