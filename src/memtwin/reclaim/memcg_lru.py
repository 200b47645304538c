"""Owns the order in which global reclaim under multi-gen LRU visits groups: memcg generations.

Imports memcg and reclaim/lruvec. Moves no page. Rules: mm/vmscan.c lru_gen_rotate_memcg(), v6.12.

# DIFFERS: one list of groups a node and memcg generation, not eight random bins; bins spread lock
# contention; bends the order in which groups give pages when there are many.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.memcg.constants import MAX_MEMCGS
from memtwin.memcg.table import MemcgTable
from memtwin.reclaim.constants import (
    MEMCG_LRU_TAIL,
    MEMCG_LRU_YOUNG,
    MEMCG_NR_GENS,
    SEG_NONE,
    SEG_TAIL,
)
from memtwin.reclaim.lruvec import Lruvecs

COLUMNS = (
    Column("seq", "i8", "memcg_lru", "memcg generation that a node's reclaim visits now"),
    Column("memcg_gen", "i1", "memcg_lru", "memcg generation 0..2 of each lruvec"),
    Column("seg", "i1", "memcg_lru", "SEG_TAIL once a lruvec was sent to the tail"),
)


@cython.final
@cython.cclass
class MemcgLru:
    """Lists of lruvecs, one a node and memcg generation."""

    def __init__(self, lruvecs: Lruvecs, memcgs: MemcgTable) -> None:
        self.lruvecs = lruvecs
        self.memcgs = memcgs
        self.nr_nodes = lruvecs.nr_nodes
        self.seq = zeros(self.nr_nodes, "i8")
        self.memcg_gen = zeros(MAX_MEMCGS * self.nr_nodes, "i1")
        self.seg = zeros(MAX_MEMCGS * self.nr_nodes, "i1")
        # row node * 3 + memcg generation: lruvecs in order
        self.fifo: list[list[int]] = [[] for _ in range(self.nr_nodes * MEMCG_NR_GENS)]
        self.nr_known = 0  # groups that have been put into fifo

    @cython.cfunc
    def know_groups(self) -> cython.void:
        """Put groups made since last time into the order (lru_gen_online_memcg)."""
        node: cython.int
        while self.nr_known < self.memcgs.nr:
            for node in range(self.nr_nodes):
                lruvec: cython.int = self.lruvecs.of(self.nr_known, node)
                gen: cython.int = self.seq[node] % MEMCG_NR_GENS
                self.memcg_gen[lruvec] = gen
                self.fifo[node * MEMCG_NR_GENS + gen].append(lruvec)
            self.nr_known += 1

    @cython.cfunc
    def rotate(self, lruvec: cython.int, op: cython.int) -> cython.void:
        """Move a group in the order (lru_gen_rotate_memcg)."""
        self.know_groups()
        node: cython.int = lruvec % self.nr_nodes
        old: cython.int = self.memcg_gen[lruvec]
        new: cython.int = old
        self.seg[lruvec] = SEG_TAIL if op == MEMCG_LRU_TAIL else SEG_NONE
        if op == MEMCG_LRU_YOUNG:
            new = (self.seq[node] + 1) % MEMCG_NR_GENS
        self.memcg_gen[lruvec] = new
        self.fifo[node * MEMCG_NR_GENS + old].remove(lruvec)
        self.fifo[node * MEMCG_NR_GENS + new].append(lruvec)
        gone: cython.int = len(self.fifo[node * MEMCG_NR_GENS + old])
        if gone == 0 and old == self.seq[node] % MEMCG_NR_GENS:
            self.seq[node] += 1

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        found: list[tuple[str, object]] = [("seq", self.seq), ("nr_known", self.nr_known)]
        return found + [(f"fifo.{row}", list(lruvecs)) for row, lruvecs in enumerate(self.fifo)]
