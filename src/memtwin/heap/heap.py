"""Owns the verbs of one process's heap: malloc, free and their relatives, for each of its threads.

Imports the whole room below. Knows nothing of programs or traces. Inside, blocks are rows of their
chunks; `malloc`, `free` and so on speak addresses, as programs do. After a fault (`fault` is not 0)
the process is dead: every verb answers 0 and changes nothing more.
"""

from __future__ import annotations

import cython

from memtwin.heap.arenas import Arenas
from memtwin.heap.constants import (
    BLOCK_SHIFT,
    CHUNK_HDR_SZ,
    DEFAULT_MMAP_THRESHOLD_MAX,
    FREE_INVALID_POINTER,
    IS_MMAPPED,
    MALLOC_ALIGN_MASK,
    MINSIZE,
    NON_MAIN_ARENA,
    PAGE_SIZE,
    PREV_INUSE,
    PTRDIFF_MAX,
    REALLOC_POINTER,
    ROWS_A_PAGE_SHIFT,
    SEGV,
    SIZE_BITS,
    SIZE_SZ,
    SIZEOF_TCACHE,
    TCACHE_KEY,
    TCACHE_MAX_BINS,
)
from memtwin.heap.heaps import Heaps
from memtwin.heap.int_free import NO_LOCK, IntFree
from memtwin.heap.int_malloc import IntMalloc
from memtwin.heap.memory import HeapMemory
from memtwin.heap.par import MallocPar
from memtwin.heap.resize import Resize
from memtwin.heap.sysmalloc import NO_ARENA, SysMalloc
from memtwin.heap.system import HeapSystem
from memtwin.heap.tcache import Tcache
from memtwin.heap.thread_arenas import ThreadArenas


@cython.final
@cython.cclass
class Heap:
    """One process's heap. Build it by `memtwin.heap.build.new_heap`."""

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
        self.int_free = IntFree(memory, arenas, heaps, system, par, tcache)
        self.sysmalloc = SysMalloc(memory, arenas, heaps, system, par, self.int_free)
        self.int_malloc = IntMalloc(memory, arenas, par, tcache, self.int_free, self.sysmalloc)
        self.resize = Resize(memory, arenas, system, par, self.int_free, self.int_malloc)
        self.thread_arenas = ThreadArenas(arenas, heaps, par)
        self.is_threaded = 0  # SINGLE_THREAD_P is false
        self.zeroed_bytes = 0  # by the last calloc
        self.requested: dict[int, int] = {}  # bytes asked for, by row, of checked blocks
        arenas.init_state()
        arenas.attached_threads[0] = 1

    # threads

    def run_as(self, thread: int) -> None:
        """From now on this thread calls; 0 is the main one. A new number is a new thread."""
        if thread and self.par.checks == 0:  # checked blocks are all of main_arena
            self.is_threaded = 1
        self.thread_arenas.make_room(thread)
        self.tcache.run_as(thread)

    def exit_thread(self) -> None:
        """The running thread ends: its cache and its arena are given back."""
        thread = int(self.tcache.thread)
        cache = int(self.tcache.own_chunk[thread])
        self.tcache.shutting_down[thread] = 1
        if cache:
            self.tcache.own_chunk[thread] = 0
            for i in range(TCACHE_MAX_BINS):
                at = thread * TCACHE_MAX_BINS + i
                while self.tcache.entries[at] and not self.memory.fault:
                    p = int(self.tcache.entries[at])
                    self.tcache.entries[at] = self.word[2 * p + 2]
                    self.free_row(p)
                self.tcache.counts[at] = 0
            self.free_row(cache)
        self.thread_arenas.leave(thread)

    def forget_thread(self, thread: int) -> None:
        """A number whose thread has ended may be used for a new one."""
        self.tcache.shutting_down[thread] = 0

    @cython.ccall
    @cython.exceptval(-1)
    def arena_for_chunk(self, p: cython.longlong) -> cython.int:
        """malloc/arena.c arena_for_chunk(), glibc 2.36."""
        if self.word[2 * p + 1] & NON_MAIN_ARENA:
            return self.heaps.arena_of[self.heaps.heap_for(p) >> BLOCK_SHIFT]
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _arena(self, size: cython.longlong) -> cython.int:
        if self.is_threaded:
            return self.thread_arenas.arena_for(self.tcache.thread, size)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _init_tcache(self) -> cython.int:
        """malloc/malloc.c tcache_init(), glibc 2.36."""
        p: cython.longlong
        thread: cython.longlong = self.tcache.thread
        if self.tcache.shutting_down[thread] or self.par.checks:
            return 0
        p = self._from_arenas(SIZEOF_TCACHE, SIZEOF_TCACHE + CHUNK_HDR_SZ)
        if p:
            self.tcache.own_chunk[thread] = p
            self._touch(p, CHUNK_HDR_SZ + SIZEOF_TCACHE)
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def _from_arenas(self, size: cython.longlong, nb: cython.longlong) -> cython.longlong:
        """A chunk from this thread's arena, or where that has no memory from one more."""
        arena: cython.int = self._arena(size)
        p: cython.longlong = self.int_malloc.malloc_chunk(arena, nb)
        if p == 0 and arena != NO_ARENA and self.is_threaded and self.memory.fault == 0:
            arena = self.thread_arenas.retry(self.tcache.thread, arena, size)
            p = self.int_malloc.malloc_chunk(arena, nb)
        if p and self.par.perturb:
            self._touch(p, CHUNK_HDR_SZ + size)  # malloc/malloc.c alloc_perturb(), glibc 2.36
        return p

    @cython.cfunc
    @cython.exceptval(-1)
    def _touch(self, p: cython.longlong, end_bytes: cython.longlong) -> cython.int:
        """[p, p + end_bytes) is written."""
        page: cython.longlong
        if p >= self.memory.mmap_first:
            self.memory.touch_mapped(p, end_bytes)
            return 0
        page = p >> ROWS_A_PAGE_SHIFT
        if (
            self.memory.resident[page] == 0
            or (p + ((end_bytes - 1) >> 4)) >> ROWS_A_PAGE_SHIFT != page
        ):
            self.memory.touch(p, end_bytes)
        return 0

    # by rows

    @cython.ccall
    @cython.exceptval(-1)
    def malloc_row(self, size: cython.longlong) -> cython.longlong:
        """malloc/malloc.c __libc_malloc(), glibc 2.36: row of the chunk, 0 for NULL."""
        nb: cython.longlong
        p: cython.longlong
        if size < 0 or size > PTRDIFF_MAX - 64 or self.memory.fault:
            return 0
        nb = (size + SIZE_SZ + MALLOC_ALIGN_MASK) & ~MALLOC_ALIGN_MASK
        if nb < MINSIZE:
            nb = MINSIZE
        if self.tcache.own_chunk[self.tcache.thread] == 0:
            if self.par.checks:
                return self._checked_malloc(size)
            self._init_tcache()
        p = self._cached((nb - MINSIZE) >> 4)
        if p == 0:
            p = self._from_arenas(size, nb)
        if p and self.memory.touching:
            self._touch(p, CHUNK_HDR_SZ + size)
        return p

    @cython.cfunc
    @cython.exceptval(-1)
    def _checked_malloc(self, size: cython.longlong) -> cython.longlong:
        """malloc/hooks.c malloc_check(), glibc 2.33: a byte more, behind what was asked for."""
        nb: cython.longlong = (size + 1 + SIZE_SZ + MALLOC_ALIGN_MASK) & ~MALLOC_ALIGN_MASK
        return self._checked(self._from_arenas(size + 1, max(MINSIZE, nb)), size)

    @cython.cfunc
    @cython.exceptval(-1)
    def _checked(self, p: cython.longlong, size: cython.longlong) -> cython.longlong:
        """malloc/hooks.c mem2mem_check(), glibc 2.33: what is behind the block is filled."""
        if p:
            self.requested[p] = size
            if self.memory.touching:
                self._touch(p, self.word[2 * p + 1] & ~SIZE_BITS)
        return p

    @cython.cfunc
    @cython.exceptval(check=False)
    def _cached(self, i: cython.longlong) -> cython.longlong:
        """A chunk of bin `i` of this thread's cache, taken out; 0 none."""
        at: cython.longlong = self.tcache.first_bin + i
        p: cython.longlong
        if i >= self.par.tcache_bins or self.tcache.counts[at] == 0:
            return 0
        p = self.tcache.entries[at]
        self.tcache.entries[at] = self.word[2 * p + 2]
        self.tcache.counts[at] -= 1
        self.word[2 * p + 3] = 0
        return p

    @cython.cfunc
    @cython.exceptval(check=False)
    def _cache(self, p: cython.longlong, size: cython.longlong) -> cython.int:
        """Put the sound chunk `p`, of `size` with its bits, into this thread's cache: 1 done.

        Of a full bin, and of whatever is odd about a chunk, IntFree.free_chunk knows more.
        """
        i: cython.longlong = ((size & ~SIZE_BITS) - MINSIZE) >> 4
        at: cython.longlong = self.tcache.first_bin + i
        if (
            i < 0
            or i >= self.par.tcache_bins
            or size & CHUNK_HDR_SZ >> 1
            or self.word[2 * p + 3] == TCACHE_KEY
            or self.tcache.counts[at] >= self.par.tcache_count
        ):
            return 0
        self.word[2 * p + 2] = self.tcache.entries[at]
        self.word[2 * p + 3] = TCACHE_KEY
        self.tcache.entries[at] = p
        self.tcache.counts[at] += 1
        return 1

    @cython.ccall
    @cython.exceptval(-1)
    def free_row(self, p: cython.longlong) -> cython.int:
        """malloc/malloc.c __libc_free(), glibc 2.36: 0, or -1 and a fault."""
        size: cython.longlong = self.word[2 * p + 1]
        if self.memory.fault:
            return -1
        if size & IS_MMAPPED:
            if (
                self.par.no_dyn_threshold == 0
                and size > self.par.mmap_threshold
                and size <= DEFAULT_MMAP_THRESHOLD_MAX
            ):
                self.par.mmap_threshold = size & ~SIZE_BITS
                self.par.trim_threshold = 2 * self.par.mmap_threshold
            return self.int_free.munmap_chunk(p)
        if self.tcache.own_chunk[self.tcache.thread] == 0:
            self._init_tcache()
            if self.tcache.own_chunk[self.tcache.thread] == 0:
                return self.int_free.free_chunk(self.arena_for_chunk(p), p, NO_LOCK)
        if self._cache(p, size):
            return 0
        return self.int_free.free_chunk(self.arena_for_chunk(p), p, NO_LOCK)

    @cython.ccall
    @cython.exceptval(-1)
    def calloc_row(self, size: cython.longlong) -> cython.longlong:
        """malloc/malloc.c __libc_calloc(), glibc 2.36 and 2.41, of one product."""
        nb: cython.longlong
        p: cython.longlong
        i: cython.longlong
        arena: cython.int
        top: cython.longlong
        dirty: cython.longlong
        self.zeroed_bytes = 0
        if size < 0 or size > PTRDIFF_MAX - 64 or self.memory.fault:
            return 0
        nb = max(MINSIZE, (size + SIZE_SZ + MALLOC_ALIGN_MASK) & ~MALLOC_ALIGN_MASK)
        if self.tcache.own_chunk[self.tcache.thread] == 0:
            if self.par.checks:
                p = self._checked_malloc(size)
                return self._zeroed(p, size, size) if p else 0
            self._init_tcache()
        i = (nb - MINSIZE) >> 4
        if self.par.calloc_uses_tcache and self.tcache.has(i):
            p = self.tcache.get(i)
            return self._zeroed(p, (self.word[2 * p + 1] & ~SIZE_BITS) - SIZE_SZ, size)
        arena = self._arena(size)
        top = 0
        dirty = 0
        if arena != NO_ARENA:
            top = self.arenas.top[arena]
            dirty = self._dirty_top(arena, top)
        p = self._from_arenas(size, nb)
        if p == 0:
            return 0
        nb = self.word[2 * p + 1]
        if nb & IS_MMAPPED:
            return self._zeroed(p, size if self.par.perturb else 0, size)
        nb &= ~SIZE_BITS
        if p == top and nb > dirty and self.par.perturb == 0:
            nb = dirty
        return self._zeroed(p, nb - SIZE_SZ, size)

    @cython.cfunc
    @cython.exceptval(-1)
    def _dirty_top(self, arena: cython.int, top: cython.longlong) -> cython.longlong:
        """Bytes from `top` on that something may have written before."""
        dirty: cython.longlong = self.word[2 * top + 1] & ~SIZE_BITS
        block: cython.longlong = top >> BLOCK_SHIFT
        most: cython.longlong
        if arena == 0:
            return dirty  # sysdeps/unix/sysv/linux/Makefile MORECORE_CLEARS=2, glibc 2.36
        most = ((self.heaps.heap_for(top) - top) << 4) + self.heaps.mprotect_size[block]
        return max(dirty, most)

    @cython.cfunc
    @cython.exceptval(-1)
    def _zeroed(
        self, p: cython.longlong, zeroed: cython.longlong, size: cython.longlong
    ) -> cython.longlong:
        self.zeroed_bytes = zeroed
        if zeroed > 0:
            self._touch(p, CHUNK_HDR_SZ + zeroed)
        if self.memory.touching:
            self._touch(p, CHUNK_HDR_SZ + size)
        return p

    @cython.ccall
    @cython.exceptval(-1)
    def realloc_row(self, p: cython.longlong, size: cython.longlong) -> cython.longlong:
        """malloc/malloc.c __libc_realloc(), glibc 2.36 and 2.38; `p` is 0 for NULL."""
        usable: cython.longlong
        self.resize.copied_bytes = 0
        if self.memory.fault:
            return 0
        if p == 0:
            return self.malloc_row(size)
        if size == 0:
            self.free_row(p)
            return 0
        if self.par.realloc_keeps_usable and size > 0:
            usable = self.usable_row(p)
            if size <= usable and (
                usable - size < 2 * SIZE_SZ
                or (self.word[2 * p + 1] & IS_MMAPPED and usable - size <= PAGE_SIZE)
            ):
                return p
        p = self._reallocate(p, size)
        if self.par.checks:
            return self._checked(p, size)
        if p and self.memory.touching:
            self._touch(p, CHUNK_HDR_SZ + size)
        return p

    @cython.cfunc
    @cython.exceptval(-1)
    def _reallocate(self, p: cython.longlong, size: cython.longlong) -> cython.longlong:
        old_size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        nb: cython.longlong
        moved: cython.longlong
        arena: cython.int = 0
        if self.word[2 * p + 1] & IS_MMAPPED == 0:
            if self.tcache.own_chunk[self.tcache.thread] == 0:
                self._init_tcache()
            arena = self.arena_for_chunk(p)
        if size < 0 or size > PTRDIFF_MAX - 64:
            return 0
        nb = size + self.par.checks + SIZE_SZ + MALLOC_ALIGN_MASK
        nb = max(MINSIZE, nb & ~MALLOC_ALIGN_MASK)
        if self.word[2 * p + 1] & IS_MMAPPED:
            moved = self.resize.mremap_chunk(p, nb)
            if moved or self.memory.fault:
                return moved
            if old_size - SIZE_SZ >= nb:
                return p
            moved = self.malloc_row(size)
            if moved:
                self.resize.copied_bytes = old_size - CHUNK_HDR_SZ
                self._touch(moved, CHUNK_HDR_SZ + self.resize.copied_bytes)
                self.int_free.munmap_chunk(p)
            return moved
        moved = self.resize.realloc_chunk(arena, p, nb)
        if moved == 0 and self.is_threaded and self.memory.fault == 0:
            moved = self.malloc_row(size)
            if moved:
                self.resize.copied_bytes = old_size - SIZE_SZ
                self.int_free.free_chunk(arena, p, NO_LOCK)
        if moved and self.resize.copied_bytes:
            self._touch(moved, CHUNK_HDR_SZ + self.resize.copied_bytes)
        return moved

    @cython.ccall
    @cython.exceptval(-1)
    def memalign_row(self, alignment: cython.longlong, size: cython.longlong) -> cython.longlong:
        """malloc/malloc.c _mid_memalign(), glibc 2.36 and 2.38; `alignment` above 0."""
        nb: cython.longlong
        p: cython.longlong
        arena: cython.int
        rounded: cython.longlong = 2 * CHUNK_HDR_SZ
        if alignment <= CHUNK_HDR_SZ:
            return self.malloc_row(size)
        while rounded < alignment and rounded < PTRDIFF_MAX // 4:
            rounded <<= 1
        alignment = rounded
        if size < 0 or size > PTRDIFF_MAX - 64 - 2 * alignment or self.memory.fault:
            return 0
        nb = size + self.par.checks + SIZE_SZ + MALLOC_ALIGN_MASK
        nb = max(MINSIZE, nb & ~MALLOC_ALIGN_MASK)
        p = 0
        if self.par.memalign_uses_tcache and self.tcache.has((nb - MINSIZE) >> 4):
            p = self.tcache.get_aligned((nb - MINSIZE) >> 4, alignment)
        if p == 0:
            arena = self._arena(size + alignment + MINSIZE)
            p = self.resize.memalign_chunk(arena, alignment, nb)
            if p == 0 and arena != NO_ARENA and self.is_threaded and self.memory.fault == 0:
                arena = self.thread_arenas.retry(self.tcache.thread, arena, size)
                p = self.resize.memalign_chunk(arena, alignment, nb)
        if self.par.checks:
            return self._checked(p, size)
        if p and self.memory.touching:
            self._touch(p, CHUNK_HDR_SZ + size)
        return p

    @cython.ccall
    @cython.exceptval(-1)
    def usable_row(self, p: cython.longlong) -> cython.longlong:
        """malloc/malloc.c musable(), glibc 2.36: bytes that the program may use."""
        size: cython.longlong = self.word[2 * p + 1] & ~SIZE_BITS
        if self.par.checks:
            return self.requested.get(p, 0)
        if self.word[2 * p + 1] & IS_MMAPPED:
            return size - CHUNK_HDR_SZ
        if self.word[2 * (p + (size >> 4)) + 1] & PREV_INUSE:
            return size - SIZE_SZ
        return 0

    # by addresses

    def _row(self, address: int, fault: int) -> int:
        """Row of the chunk whose memory is at `address`; 0 and a fault where there is none."""
        row = int(self.memory.row_of((address & -16) - CHUNK_HDR_SZ))
        if row == 0 or self.memory.fault:
            self.memory.fault = self.memory.fault or SEGV
            return 0
        if address & MALLOC_ALIGN_MASK:
            self.memory.fault = fault
            return 0
        return row

    def address(self, row: int) -> int:
        """Address that a program holds of the chunk at `row`; 0 for 0."""
        return int(self.memory.address_of(row)) + CHUNK_HDR_SZ if row else 0

    def malloc(self, size: int) -> int:
        """An address, or 0."""
        return self.address(int(self.malloc_row(size)))

    def calloc(self, count: int, size: int) -> int:
        """An address, or 0; `zeroed_bytes` says how much was cleared."""
        product = count * size
        return self.address(int(self.calloc_row(product))) if product < PTRDIFF_MAX else 0

    def realloc(self, address: int, size: int) -> int:
        """An address, or 0."""
        row = self._row(address, REALLOC_POINTER) if address else 0
        if address and not row:
            return 0
        return self.address(int(self.realloc_row(row, size)))

    def free(self, address: int) -> None:
        """Free what is at `address`; 0 is nothing."""
        row = self._row(address, FREE_INVALID_POINTER) if address else 0
        if row:
            self.free_row(row)

    def memalign(self, alignment: int, size: int) -> int:
        """An address, or 0."""
        return self.address(int(self.memalign_row(alignment, size)))

    def aligned_alloc(self, alignment: int, size: int) -> int:
        """An address, or 0: since 2.38 also for an alignment that is no power of two."""
        is_power = alignment > 0 and alignment & (alignment - 1) == 0
        if self.par.aligned_alloc_checks and not is_power:
            return 0
        return self.memalign(alignment, size)

    def usable_size(self, address: int) -> int:
        """malloc_usable_size."""
        row = self._row(address, FREE_INVALID_POINTER) if address else 0
        return int(self.usable_row(row)) if row else 0
