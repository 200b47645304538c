"""Owns struct heap_info: the heaps of all arenas but the main one, made, grown and cut.

They are of 64 MiB at most, or of four huge pages.

Imports arenas, the kernel's face and the figures. Knows nothing of freeing: `trim` is told to look.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.heap.arenas import Arenas
from memtwin.heap.constants import (
    BLOCK_ROWS,
    BLOCK_SHIFT,
    MADV_DONTNEED,
    MAP_HUGETLB,
    MINSIZE,
    PAGE_SIZE,
    PREV_INUSE,
    PROT_NONE,
    PROT_READ_WRITE,
    SIZE_BITS,
    SIZEOF_MALLOC_STATE,
)
from memtwin.heap.memory import HeapMemory
from memtwin.heap.par import MallocPar
from memtwin.heap.system import HeapSystem

COLUMNS = (
    Column("arena_of", "i4", "heaps", "arena of the heap in a block"),
    Column("prev", "i8", "heaps", "first row of the heap before it in its arena; 0 the first"),
    Column("size", "i8", "heaps", "bytes in use by the arena"),
    Column("mprotect_size", "i8", "heaps", "bytes that were made writable"),
    Column("page_bytes", "i8", "heaps", "size of the pages it is made of"),
)


@cython.final
@cython.cclass
class Heaps:
    """All heaps of one process, by their block of rows."""

    def __init__(
        self, memory: HeapMemory, arenas: Arenas, system: HeapSystem, par: MallocPar
    ) -> None:
        self.memory = memory
        self.arenas = arenas
        self.system = system
        self.par = par
        self.word = memory.word
        blocks = memory.nr_rows >> BLOCK_SHIFT
        self.arena_of = zeros(blocks, "i4")
        self.prev = zeros(blocks, "i8")
        self.size = zeros(blocks, "i8")
        self.mprotect_size = zeros(blocks, "i8")
        self.page_bytes = zeros(blocks, "i8")
        self.aligned_heap_area = 0

    @cython.ccall
    @cython.exceptval(check=False)
    def heap_for(self, row: cython.longlong) -> cython.longlong:
        """First row of the heap that holds `row`."""
        return row & -BLOCK_ROWS

    @cython.ccall
    @cython.exceptval(-1)
    def new_heap(self, size: cython.longlong) -> cython.longlong:
        """malloc/arena.c new_heap(), glibc 2.36: first row of a heap for `size` bytes; 0 none."""
        row: cython.longlong = 0
        if self.par.hp_bytes:
            row = self._alloc_new_heap(size, self.par.hp_bytes, MAP_HUGETLB)
        return row if row else self._alloc_new_heap(size, PAGE_SIZE, 0)

    @cython.cfunc
    @cython.exceptval(-1)
    def _alloc_new_heap(
        self, size: cython.longlong, page: cython.longlong, flags: cython.int
    ) -> cython.longlong:
        """malloc/arena.c alloc_new_heap(), glibc 2.36, of pages of `page` bytes."""
        base: cython.longlong
        row: cython.longlong
        block: cython.longlong
        pad: cython.longlong = self.par.top_pad
        most: cython.longlong = self.par.heap_max_bytes
        if size <= most and pad <= most and size + pad < self.par.heap_min_bytes:
            size = self.par.heap_min_bytes
        elif size <= most and pad <= most and size + pad <= most:
            size += pad
        elif size > most:
            return 0
        else:
            size = most
        size = (size + page - 1) & -page
        base = self._aligned_area(flags)
        if base <= 0:
            return 0
        if self.system.mprotect(base, size, PROT_READ_WRITE) != 0:
            self.system.munmap(base, most)
            return 0
        self.system.advise_huge(base, size)
        row = self.memory.take_blocks(base, 1)
        self.memory.name_heap(row)
        block = row >> BLOCK_SHIFT
        self.prev[block] = 0
        self.size[block] = size
        self.mprotect_size[block] = size
        self.page_bytes[block] = page
        self.memory.touch(row, self.par.heap_info_bytes)
        return row

    @cython.cfunc
    @cython.exceptval(-1)
    def _aligned_area(self, flags: cython.int) -> cython.longlong:
        """Address space for a heap, aligned to the largest size of one: the address, or errno."""
        found: cython.longlong
        lead: cython.longlong
        most: cython.longlong = self.par.heap_max_bytes
        protection: cython.int = PROT_NONE | flags
        if self.aligned_heap_area:
            found = self.system.mmap(self.aligned_heap_area, most, protection)
            self.aligned_heap_area = 0
            if found > 0 and found & (most - 1) == 0:
                return found
            if found > 0:
                self.system.munmap(found, most)
        found = self.system.mmap(0, 2 * most, protection)
        if found > 0:
            lead = (most - found % most) % most
            if lead:
                self.system.munmap(found, lead)
            else:
                self.aligned_heap_area = found + most
            self.system.munmap(found + lead + most, most - lead)
            return found + lead
        found = self.system.mmap(0, most, protection)
        if found > 0 and found & (most - 1):
            self.system.munmap(found, most)
            return 0
        return found

    @cython.ccall
    @cython.exceptval(-1)
    def new_arena(self, size: cython.longlong) -> cython.int:
        """malloc/arena.c _int_new_arena(), glibc 2.36, up to its place in the ring; -1 none."""
        overhead: cython.longlong = self.par.heap_info_bytes + SIZEOF_MALLOC_STATE + 16
        heap: cython.longlong = self.new_heap(size + overhead)
        if heap == 0:
            heap = self.new_heap(overhead)
        if heap == 0:
            return -1
        arena: cython.int = self.arenas.init_state()
        block: cython.longlong = heap >> BLOCK_SHIFT
        at: cython.longlong = self.par.heap_info_bytes + SIZEOF_MALLOC_STATE
        top: cython.longlong
        self.arena_of[block] = arena
        self.arenas.attached_threads[arena] = 1
        self.arenas.system_mem[arena] = self.size[block]
        self.arenas.max_system_mem[arena] = self.size[block]
        self.memory.touch(heap, at)
        at = (at + 15) & -16
        top = heap + (at >> 4)
        self.arenas.top[arena] = top
        self.arenas.put_size(top, (self.size[block] - at) | PREV_INUSE)
        return arena

    @cython.ccall
    @cython.exceptval(-1)
    def grow(self, heap: cython.longlong, difference: cython.longlong) -> cython.int:
        """malloc/arena.c grow_heap(), glibc 2.36: 0 done."""
        block: cython.longlong = heap >> BLOCK_SHIFT
        page: cython.longlong = self.page_bytes[block]
        new_size: cython.longlong
        if difference > self.par.heap_max_bytes:
            return -1
        new_size = self.size[block] + ((difference + page - 1) & -page)
        if new_size > self.par.heap_max_bytes:
            return -1
        if new_size > self.mprotect_size[block]:
            more: cython.longlong = new_size - self.mprotect_size[block]
            start: cython.longlong = self.memory.block_base[block] + self.mprotect_size[block]
            if self.system.mprotect(start, more, PROT_READ_WRITE) != 0:
                return -2
            self.mprotect_size[block] = new_size
        self.size[block] = new_size
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _shrink(self, heap: cython.longlong, difference: cython.longlong) -> cython.int:
        """malloc/arena.c shrink_heap(), glibc 2.36: 0 done."""
        block: cython.longlong = heap >> BLOCK_SHIFT
        new_size: cython.longlong = self.size[block] - difference
        address: cython.longlong = self.memory.block_base[block] + new_size
        if new_size < self.par.heap_info_bytes:
            return -1
        if self.par.may_shrink_heap:
            if self.system.mmap(address, difference, PROT_NONE) != address:
                return -2
            self.mprotect_size[block] = new_size
        else:
            self.system.madvise(address, difference, MADV_DONTNEED)
        self.memory.give_back(heap + (new_size >> 4), difference)
        self.size[block] = new_size
        return 0

    @cython.ccall
    @cython.exceptval(-1)
    def trim(self, heap: cython.longlong) -> cython.int:
        """malloc/arena.c heap_trim(), glibc 2.36: 1 when the last heap became smaller."""
        block: cython.longlong = heap >> BLOCK_SHIFT
        arena: cython.int = self.arena_of[block]
        top: cython.longlong = self.arenas.top[arena]
        pad: cython.longlong = self.par.top_pad
        top_size: cython.longlong
        extra: cython.longlong
        while top == heap + (self.par.heap_info_bytes >> 4):
            if not self._drop_last(heap, arena):
                break
            top = self.arenas.top[arena]
            heap = self.heap_for(top)
        top_size = self.word[2 * top + 1] & ~SIZE_BITS
        if top_size < self.par.trim_threshold or top_size - MINSIZE - 1 <= pad:
            return 0
        extra = (top_size - MINSIZE - 1 - pad) & -self.page_bytes[heap >> BLOCK_SHIFT]
        if extra == 0 or self._shrink(heap, extra) != 0:
            return 0
        self.arenas.system_mem[arena] -= extra
        self.arenas.put_size(top, (top_size - extra) | PREV_INUSE)
        return 1

    @cython.cfunc
    @cython.exceptval(-1)
    def _drop_last(self, heap: cython.longlong, arena: cython.int) -> cython.int:
        """Unmap the empty last heap of an arena, unless the one before is too full: 1 done."""
        block: cython.longlong = heap >> BLOCK_SHIFT
        before: cython.longlong = self.prev[block]
        size: cython.longlong = self.size[before >> BLOCK_SHIFT]
        most: cython.longlong = self.par.heap_max_bytes
        p: cython.longlong = before + ((size - (MINSIZE - 16)) >> 4)  # the fencepost
        new_size: cython.longlong
        p -= self.word[2 * p] >> 4  # what is before it: its size stands in front of the fencepost
        new_size = (self.word[2 * p + 1] & ~SIZE_BITS) + (MINSIZE - 16)
        if self.word[2 * p + 1] & PREV_INUSE == 0:
            new_size += self.word[2 * p]
        if new_size + (most - size) < self.par.top_pad + MINSIZE + self.page_bytes[block]:
            return 0
        self.arenas.system_mem[arena] -= self.size[block]
        if self.memory.block_base[block] + most == self.aligned_heap_area:
            self.aligned_heap_area = 0
        self.system.munmap(self.memory.block_base[block], most)
        self.memory.give_back(heap, most)
        self.memory.give_heap(heap)
        if self.word[2 * p + 1] & PREV_INUSE == 0:
            p -= self.word[2 * p] >> 4
            self.arenas.unlink_chunk(p)
        self.arenas.top[arena] = p
        self.arenas.put_size(p, new_size | PREV_INUSE)
        return 1
