"""Owns the per-thread caches: struct tcache_perthread_struct of every thread.

Imports the heap's memory and figures. Knows nothing of arenas. The list runs through the second row
of each chunk, where glibc keeps next and key; safe-linking changes what stands there, no address.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, grown, zeros
from memtwin.heap.constants import (
    TCACHE_DOUBLE_FREE,
    TCACHE_KEY,
    TCACHE_MAX_BINS,
    TCACHE_TOO_MANY,
)
from memtwin.heap.memory import HeapMemory
from memtwin.heap.par import MallocPar

COLUMNS = (
    Column("counts", "i8", "tcache", "chunks in a bin, 64 bins a thread"),
    Column("entries", "i8", "tcache", "row of the first chunk of a bin; 0 none"),
    Column("own_chunk", "i8", "tcache", "row of the thread's cache itself; 0 it has none"),
    Column("shutting_down", "i1", "tcache", "1: the thread ends and gets no cache any more"),
)
_FIRST_THREADS = 16


@cython.final
@cython.cclass
class Tcache:
    """The caches of all threads; `thread` runs now."""

    def __init__(self, memory: HeapMemory, par: MallocPar) -> None:
        self.memory = memory
        self.par = par
        self.word = memory.word
        self.thread = 0
        self.first_bin = 0  # row of the running thread's bin 0
        self.threads = _FIRST_THREADS
        self.counts = zeros(_FIRST_THREADS * TCACHE_MAX_BINS, "i8")
        self.entries = zeros(_FIRST_THREADS * TCACHE_MAX_BINS, "i8")
        self.own_chunk = zeros(_FIRST_THREADS, "i8")
        self.shutting_down = zeros(_FIRST_THREADS, "i1")

    def make_room(self, thread: int) -> None:
        """Let there be a thread of this number."""
        while thread >= self.threads:
            self.threads *= 2
        if len(self.own_chunk) < self.threads:
            self.counts = grown(self.counts, self.threads * TCACHE_MAX_BINS)
            self.entries = grown(self.entries, self.threads * TCACHE_MAX_BINS)
            self.own_chunk = grown(self.own_chunk, self.threads)
            self.shutting_down = grown(self.shutting_down, self.threads)

    def run_as(self, thread: int) -> None:
        """This thread runs from now on."""
        self.make_room(thread)
        self.thread = thread
        self.first_bin = thread * TCACHE_MAX_BINS

    @cython.ccall
    @cython.exceptval(check=False)
    def has(self, i: cython.longlong) -> cython.int:
        """Whether bin `i` of this thread has a chunk to give."""
        return (
            i < self.par.tcache_bins
            and self.own_chunk[self.thread] != 0
            and self.counts[self.thread * TCACHE_MAX_BINS + i] > 0
        )

    @cython.ccall
    @cython.exceptval(check=False)
    def has_room(self, i: cython.longlong) -> cython.int:
        """Whether bin `i` of this thread takes one more."""
        return (
            i < self.par.tcache_bins
            and self.own_chunk[self.thread] != 0
            and self.counts[self.thread * TCACHE_MAX_BINS + i] < self.par.tcache_count
        )

    @cython.ccall
    @cython.exceptval(check=False)
    def put(self, p: cython.longlong, i: cython.longlong) -> cython.void:
        """malloc/malloc.c tcache_put(), glibc 2.36: there is room."""
        at: cython.longlong = self.thread * TCACHE_MAX_BINS + i
        self.word[2 * p + 2] = self.entries[at]
        self.word[2 * p + 3] = TCACHE_KEY
        self.entries[at] = p
        self.counts[at] += 1

    @cython.ccall
    @cython.exceptval(check=False)
    def get(self, i: cython.longlong) -> cython.longlong:
        """malloc/malloc.c tcache_get(), glibc 2.36: there is one."""
        at: cython.longlong = self.thread * TCACHE_MAX_BINS + i
        p: cython.longlong = self.entries[at]
        self.entries[at] = self.word[2 * p + 2]
        self.counts[at] -= 1
        self.word[2 * p + 3] = 0
        return p

    @cython.ccall
    @cython.exceptval(-1)
    def get_aligned(self, i: cython.longlong, alignment: cython.longlong) -> cython.longlong:
        """The first chunk of bin `i` whose memory is so aligned, taken out; 0 none.

        malloc/malloc.c _mid_memalign(), glibc 2.38
        """
        at: cython.longlong = self.thread * TCACHE_MAX_BINS + i
        p: cython.longlong = self.entries[at]
        before: cython.longlong = 0
        while p and (self.memory.address_of(p) + 16) & (alignment - 1):
            before = p
            p = self.word[2 * p + 2]
        if p == 0:
            return 0
        if before == 0:
            self.entries[at] = self.word[2 * p + 2]
        else:
            self.word[2 * before + 2] = self.word[2 * p + 2]
        self.counts[at] -= 1
        self.word[2 * p + 3] = 0
        return p

    @cython.ccall
    @cython.exceptval(-1)
    def holds(self, p: cython.longlong, i: cython.longlong) -> cython.int:
        """malloc/malloc.c _int_free(), glibc 2.36: -1 if `p`, with the key, is in bin `i`."""
        entry: cython.longlong = self.entries[self.thread * TCACHE_MAX_BINS + i]
        count: cython.longlong = 0
        while entry:
            if count >= self.par.tcache_count:
                self.memory.fault = TCACHE_TOO_MANY
                return -1
            if entry == p:
                self.memory.fault = TCACHE_DOUBLE_FREE
                return -1
            if self.memory.is_outside(entry):
                return -1
            entry = self.word[2 * entry + 2]
            count += 1
        return 0
