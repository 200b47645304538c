"""Owns where new memory comes from when no free chunk serves: mmap, the break, a larger heap.

Imports what lies below. Knows nothing of bins.
"""

from __future__ import annotations

import cython

from memtwin.heap.arenas import Arenas
from memtwin.heap.constants import (
    BLOCK_ROWS,
    BLOCK_SHIFT,
    BRK_ADJUSTED,
    CHUNK_HDR_SZ,
    IS_MMAPPED,
    MALLOC_ALIGN_MASK,
    MAP_HUGETLB,
    MINSIZE,
    MMAP_AS_MORECORE_SIZE,
    NON_MAIN_ARENA,
    PAGE_SIZE,
    PREV_INUSE,
    PROT_READ_WRITE,
    PTRDIFF_MAX,
    SIZE_BITS,
    SIZE_SZ,
)
from memtwin.heap.heaps import Heaps
from memtwin.heap.int_free import HAVE_LOCK, IntFree
from memtwin.heap.memory import HeapMemory
from memtwin.heap.par import MallocPar
from memtwin.heap.system import HeapSystem

NO_ARENA = -1


@cython.final
@cython.cclass
class SysMalloc:
    """malloc/malloc.c sysmalloc(), glibc 2.36."""

    def __init__(
        self, memory: HeapMemory, arenas: Arenas, heaps: Heaps, system: HeapSystem,
        par: MallocPar, int_free: IntFree,
    ) -> None:  # fmt: skip
        self.memory = memory
        self.arenas = arenas
        self.heaps = heaps
        self.system = system
        self.par = par
        self.int_free = int_free
        self.word = memory.word
        self.region_bytes = 0  # of the last region that stood in for the break

    @cython.ccall
    @cython.exceptval(-1)
    def mapped_chunk(self, nb: cython.longlong) -> cython.longlong:
        """A chunk in a mapping of its own, of huge pages where it is as large as one; 0 none."""
        p: cython.longlong = 0
        if self.par.hp_bytes and nb >= self.par.hp_bytes:
            p = self._map(nb, self.par.hp_bytes, MAP_HUGETLB)
        return p if p else self._map(nb, PAGE_SIZE, 0)

    @cython.cfunc
    @cython.exceptval(-1)
    def _map(
        self, nb: cython.longlong, page: cython.longlong, flags: cython.int
    ) -> cython.longlong:
        """malloc/malloc.c sysmalloc_mmap(), glibc 2.36, in pages of `page` bytes."""
        size: cython.longlong = (nb + SIZE_SZ + page - 1) & -page
        address: cython.longlong
        p: cython.longlong
        if size <= nb:
            return 0
        address = self.system.mmap(0, size, PROT_READ_WRITE | flags)
        if address < 0:
            return 0
        if flags == 0:
            self.system.advise_huge(address, size)
        p = self.memory.take_slot(address)
        self.word[2 * p] = 0
        self.word[2 * p + 1] = size | IS_MMAPPED
        self.memory.touch_mapped(p, CHUNK_HDR_SZ)
        self.par.mapped(1, size)
        return p

    @cython.ccall
    @cython.exceptval(-1)
    def more(self, arena: cython.int, nb: cython.longlong) -> cython.longlong:
        """A chunk of `nb` bytes from the system; 0 when there is none, or a fault."""
        tried_mmap: cython.int = 0
        p: cython.longlong
        if arena == NO_ARENA or (
            nb >= self.par.mmap_threshold and self.par.n_mmaps < self.par.n_mmaps_max
        ):
            p = self.mapped_chunk(nb)
            if p or arena == NO_ARENA:
                return p
            tried_mmap = 1
        if arena == 0:
            self._more_main(nb)
            if self.memory.fault:
                return 0
        else:
            p = self._more_heap(arena, nb, tried_mmap)
            if p:
                return p
        if self.arenas.system_mem[arena] > self.arenas.max_system_mem[arena]:
            self.arenas.max_system_mem[arena] = self.arenas.system_mem[arena]
        return self.take_top(arena, nb)

    @cython.ccall
    @cython.exceptval(-1)
    def take_top(self, arena: cython.int, nb: cython.longlong) -> cython.longlong:
        """`nb` bytes from the start of top; 0 when it is too small."""
        p: cython.longlong = self.arenas.top[arena]
        size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        bits: cython.longlong = PREV_INUSE
        if size < nb + MINSIZE:
            return 0
        if arena != 0:
            bits = PREV_INUSE | NON_MAIN_ARENA
        self.arenas.top[arena] = p + (nb >> 4)
        self.arenas.put_size(p, nb | bits)
        self.arenas.put_size(p + (nb >> 4), (size - nb) | PREV_INUSE)
        return p

    @cython.cfunc
    @cython.exceptval(-1)
    def _more_heap(
        self, arena: cython.int, nb: cython.longlong, tried_mmap: cython.int
    ) -> cython.longlong:
        """Grow the last heap of an arena or give it a new one; else a mapped chunk."""
        top: cython.longlong = self.arenas.top[arena]
        old_size: cython.longlong = self.word[2 * top + 1] & ~SIZE_BITS
        heap: cython.longlong = self.heaps.heap_for(top)
        block: cython.longlong = heap >> BLOCK_SHIFT
        before: cython.longlong = self.heaps.size[block]
        fresh: cython.longlong
        info: cython.longlong = self.par.heap_info_bytes
        if MINSIZE + nb - old_size > 0 and self.heaps.grow(heap, MINSIZE + nb - old_size) == 0:
            self.arenas.system_mem[arena] += self.heaps.size[block] - before
            end: cython.longlong = heap + (self.heaps.size[block] >> 4)
            self.arenas.put_size(top, ((end - top) << 4) | PREV_INUSE)
            return 0
        fresh = 0
        if nb < PTRDIFF_MAX - 2 * MINSIZE - info:
            fresh = self.heaps.new_heap(nb + MINSIZE + info)
        if fresh == 0:
            return 0 if tried_mmap else self._map(nb, PAGE_SIZE, 0)
        block = fresh >> BLOCK_SHIFT
        self.heaps.arena_of[block] = arena
        self.heaps.prev[block] = heap
        self.arenas.system_mem[arena] += self.heaps.size[block]
        self.arenas.top[arena] = fresh + (info >> 4)
        self.arenas.put_size(self.arenas.top[arena], (self.heaps.size[block] - info) | PREV_INUSE)
        self._leave_heap(arena, top, old_size)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _leave_heap(
        self, arena: cython.int, top: cython.longlong, old_size: cython.longlong
    ) -> cython.int:
        """Free what is left of the top of a full heap, with a fencepost behind it."""
        old_size = (old_size - MINSIZE) & ~MALLOC_ALIGN_MASK
        end: cython.longlong = top + (old_size >> 4)
        self.arenas.put_size(end + 1, PREV_INUSE)
        if old_size < MINSIZE:
            self.arenas.put_size(top, (old_size + CHUNK_HDR_SZ) | PREV_INUSE)
            self.arenas.put_foot(top, old_size + CHUNK_HDR_SZ)
            return 0
        self.arenas.put_size(end, CHUNK_HDR_SZ | PREV_INUSE)
        self.arenas.put_foot(end, CHUNK_HDR_SZ)
        self.arenas.put_size(top, old_size | PREV_INUSE | NON_MAIN_ARENA)
        return self.int_free.free_chunk(arena, top, HAVE_LOCK)

    @cython.cfunc
    @cython.exceptval(-1)
    def _more_main(self, nb: cython.longlong) -> cython.int:
        """Enlarge or replace the top of main_arena by the break, or by mmap in its stead."""
        top: cython.longlong = self.arenas.top[0]
        old_size: cython.longlong = self.word[2 * top + 1] & ~SIZE_BITS
        old_end: cython.longlong = self.memory.address_of(top) + old_size
        size: cython.longlong = nb + self.par.top_pad + MINSIZE  # wraps for the largest, as in C
        brk: cython.longlong = -1
        end: cython.longlong = -1
        if size < nb or size > PTRDIFF_MAX - PAGE_SIZE:
            size = -1
        else:
            if self.arenas.noncontiguous[0] == 0:
                size -= old_size
            size = self._rounded(size)
        if size > 0:
            brk = self.system.morecore(size)
            if brk >= 0:
                self.system.advise_huge(brk, size)
        if brk < 0:
            if size <= 0:
                return 0
            brk = self._instead_of_break(size, nb, old_size)
            if brk <= 0:
                return 0
            size = self.region_bytes
            end = brk + size
        self.arenas.system_mem[0] += size
        if end < 0 and self.par.sbrk_base != 0 and brk == old_end:
            self.arenas.put_size(top, (size + old_size) | PREV_INUSE)
            return 0
        if self.arenas.noncontiguous[0] == 0 and old_size and brk < old_end:
            self.memory.fault = BRK_ADJUSTED
            return -1
        return self._new_top(brk, size, end, old_size)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _rounded(self, size: cython.longlong) -> cython.longlong:
        """`size` up to a whole page, or so that the break comes to a huge page's end."""
        end: cython.longlong
        if self.par.thp_bytes:
            end = self.system.curbrk + size + self.par.thp_bytes - 1
            return (end & -self.par.thp_bytes) - self.system.curbrk
        return (size + PAGE_SIZE - 1) & -PAGE_SIZE

    @cython.cfunc
    @cython.exceptval(-1)
    def _instead_of_break(
        self, size: cython.longlong, nb: cython.longlong, old_size: cython.longlong
    ) -> cython.longlong:
        """Address of a region of `region_bytes` mapped where the break failed; 0 none."""
        found: cython.longlong = 0
        unit: cython.longlong = PAGE_SIZE
        least: cython.longlong = MMAP_AS_MORECORE_SIZE
        if self.par.fallback_is_transposed:
            unit = MMAP_AS_MORECORE_SIZE
            least = PAGE_SIZE
        if self.par.hp_bytes:
            found = self._region(
                size, nb, old_size, self.par.hp_bytes, self.par.hp_bytes, MAP_HUGETLB
            )
        return found if found else self._region(size, nb, old_size, unit, least, 0)

    @cython.cfunc
    @cython.exceptval(-1)
    def _region(
        self, size: cython.longlong, nb: cython.longlong, old_size: cython.longlong,
        unit: cython.longlong, least: cython.longlong, flags: cython.int,
    ) -> cython.longlong:  # fmt: skip
        """malloc/malloc.c sysmalloc_mmap_fallback(), glibc 2.36: an address, 0 none."""
        address: cython.longlong
        if self.arenas.noncontiguous[0] == 0:
            size = (size + old_size + unit - 1) & -unit
        size = max(size, least)
        if size <= nb:
            return 0
        address = self.system.mmap(0, size, PROT_READ_WRITE | flags)
        if address < 0:
            return 0
        if flags == 0:
            self.system.advise_huge(address, size)
        self.arenas.noncontiguous[0] = 1
        self.region_bytes = size
        return address

    @cython.cfunc
    @cython.exceptval(-1)
    def _new_top(
        self, brk: cython.longlong, size: cython.longlong, end: cython.longlong,
        old_size: cython.longlong,
    ) -> cython.int:  # fmt: skip
        """Start a top at `brk`; `end` is -1 when the break has to be asked and made whole."""
        top: cython.longlong = self.arenas.top[0]
        start: cython.longlong = brk
        old_end: cython.longlong = self.memory.address_of(top) + old_size
        correction: cython.longlong = 0
        row: cython.longlong
        if self.arenas.noncontiguous[0] == 0:
            if old_size:
                self.arenas.system_mem[0] += brk - old_end
            if brk & MALLOC_ALIGN_MASK:
                correction = CHUNK_HDR_SZ - (brk & MALLOC_ALIGN_MASK)
                start += correction
            correction += old_size
            end = brk + size + correction
            correction += ((end + PAGE_SIZE - 1) & -PAGE_SIZE) - end
            end = self.system.morecore(correction)
            if end < 0:
                correction = 0
                end = self.system.morecore(0)
            else:
                self.system.advise_huge(end, correction)
        elif end < 0:
            end = self.system.morecore(0)
        row = self._row_at(start, size, end)
        if self.par.sbrk_base == 0:
            self.par.sbrk_base = row
        self.arenas.top[0] = row
        self.arenas.put_size(row, (end - start + correction) | PREV_INUSE)
        self.arenas.system_mem[0] += correction
        if old_size != 0:
            self._fence(top, old_size)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _row_at(
        self, start: cython.longlong, size: cython.longlong, end: cython.longlong
    ) -> cython.longlong:
        """Row of an address of the break, or the first row of a region that stands in for it."""
        row: cython.longlong
        if self.system.curbrk >= end and start >= self.memory.main_base:
            row = self.memory.row_of(start)
            if row >= self.memory.main_first and row < self.memory.main_end:
                return row
        row = self.memory.take_blocks(start, (size >> 4) // BLOCK_ROWS + 1)
        self.memory.name_region(row, size)
        return row

    @cython.cfunc
    @cython.exceptval(-1)
    def _fence(self, top: cython.longlong, old_size: cython.longlong) -> cython.int:
        """Close an old top by two fenceposts and free the rest of it."""
        old_size = (old_size - 2 * CHUNK_HDR_SZ) & ~MALLOC_ALIGN_MASK
        self.arenas.put_size(top, old_size | PREV_INUSE)
        self.arenas.put_size(top + (old_size >> 4), CHUNK_HDR_SZ | PREV_INUSE)
        self.arenas.put_size(top + (old_size >> 4) + 1, CHUNK_HDR_SZ | PREV_INUSE)
        if old_size >= MINSIZE:
            return self.int_free.free_chunk(0, top, HAVE_LOCK)
        return 0
