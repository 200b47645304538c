"""Owns which arena serves a thread: attached, fresh, or one that others use too.

Imports arenas and heaps. Knows nothing of chunks.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, grown, zeros
from memtwin.heap.arenas import Arenas
from memtwin.heap.constants import NARENAS_A_CORE
from memtwin.heap.heaps import Heaps
from memtwin.heap.par import MallocPar
from memtwin.heap.sysmalloc import NO_ARENA

COLUMNS = (Column("of_thread", "i4", "thread_arenas", "arena of each thread; -1 none yet"),)
_FIRST_THREADS = 16


@cython.final
@cython.cclass
class ThreadArenas:
    """malloc/arena.c thread_arena, free_list, narenas, next_to_use, glibc 2.36."""

    def __init__(self, arenas: Arenas, heaps: Heaps, par: MallocPar) -> None:
        self.arenas = arenas
        self.heaps = heaps
        self.par = par
        self.of_thread = zeros(_FIRST_THREADS, "i4")
        for thread in range(_FIRST_THREADS):
            self.of_thread[thread] = NO_ARENA
        self.of_thread[0] = 0
        self.free_list = NO_ARENA
        self.narenas = 1
        self.narenas_limit = 0
        self.next_to_use = 0

    def make_room(self, thread: int) -> None:
        """Let there be a thread of this number."""
        before = len(self.of_thread)
        if thread >= before:
            rows = max(2 * before, thread + 1)
            self.of_thread = grown(self.of_thread, rows)
            for number in range(before, rows):
                self.of_thread[number] = NO_ARENA

    @cython.ccall
    @cython.exceptval(-1)
    def arena_for(self, thread: cython.longlong, size: cython.longlong) -> cython.int:
        """malloc/arena.c arena_get(), glibc 2.36; NO_ARENA when there is none to be had."""
        arena: cython.int = self.of_thread[thread]
        if arena != NO_ARENA:
            return arena
        return self.arena_get2(thread, size)

    @cython.ccall
    @cython.exceptval(-1)
    def arena_get2(self, thread: cython.longlong, size: cython.longlong) -> cython.int:
        """malloc/arena.c arena_get2(), glibc 2.36."""
        arena: cython.int = self.free_list
        if arena != NO_ARENA:
            self.free_list = self.arenas.next_free[arena]
            self.arenas.attached_threads[arena] = 1
            return self._attach(thread, arena)
        if self.narenas_limit == 0:
            if self.par.arena_max != 0:
                self.narenas_limit = self.par.arena_max
            elif self.narenas > self.par.arena_test:
                self.narenas_limit = NARENAS_A_CORE * self.par.cores
        if self.narenas_limit == 0 or self.narenas <= self.narenas_limit - 1:
            return self._new_arena(thread, size)
        # DIFFERS: no arena is found locked by another thread; events come one after the other;
        # bends which arena serves whom once there are more threads than arenas
        arena = self.next_to_use
        self._remove_from_free_list(arena)
        self.arenas.attached_threads[arena] += 1
        self.next_to_use = self.arenas.next[arena]
        return self._attach(thread, arena)

    @cython.cfunc
    @cython.exceptval(-1)
    def _new_arena(self, thread: cython.longlong, size: cython.longlong) -> cython.int:
        arena: cython.int = self.heaps.new_arena(size)
        if arena < 0:
            return NO_ARENA
        self.narenas += 1
        self.arenas.next[arena] = self.arenas.next[0]
        self.arenas.next[0] = arena
        return self._attach(thread, arena)

    @cython.cfunc
    @cython.exceptval(-1)
    def _attach(self, thread: cython.longlong, arena: cython.int) -> cython.int:
        before: cython.int = self.of_thread[thread]
        if before != NO_ARENA:
            self.arenas.attached_threads[before] -= 1
        self.of_thread[thread] = arena
        return arena

    @cython.cfunc
    def _remove_from_free_list(self, arena: cython.int) -> cython.void:
        other: cython.int = self.free_list
        if other == arena:
            self.free_list = self.arenas.next_free[arena]
            return
        while other != NO_ARENA:
            if self.arenas.next_free[other] == arena:
                self.arenas.next_free[other] = self.arenas.next_free[arena]
                return
            other = self.arenas.next_free[other]

    @cython.ccall
    @cython.exceptval(-1)
    def retry(
        self, thread: cython.longlong, arena: cython.int, size: cython.longlong
    ) -> cython.int:
        """malloc/arena.c arena_get_retry(), glibc 2.36: another arena after one had no memory."""
        return 0 if arena != 0 else self.arena_get2(thread, size)

    @cython.ccall
    def leave(self, thread: cython.longlong) -> cython.void:
        """malloc/arena.c __malloc_arena_thread_freeres(), glibc 2.36, without its tcache."""
        arena: cython.int = self.of_thread[thread]
        self.of_thread[thread] = NO_ARENA
        if arena == NO_ARENA:
            return
        self.arenas.attached_threads[arena] -= 1
        if self.arenas.attached_threads[arena] == 0:
            self.arenas.next_free[arena] = self.free_list
            self.free_list = arena
