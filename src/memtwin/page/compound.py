"""Owns what an allocated block's rows look like: plain frames, compound heads and tails.

Imports mem_map, flags and gfp. Has never heard of free lists.
"""

from __future__ import annotations

import cython

from memtwin.page.flags import PG_HEAD, PG_TAIL
from memtwin.page.gfp import GFP_COMP
from memtwin.page.mem_map import MemMap


@cython.final
@cython.cclass
class Compound:
    """Prepares, takes apart and splits blocks of several frames."""

    def __init__(self, mem_map: MemMap) -> None:
        self.mem_map = mem_map

    @cython.cfunc
    @cython.exceptval(check=False)
    def prep_new_page(self, pfn: cython.int, order: cython.int, gfp: cython.int) -> cython.void:
        """Make the rows of a block just taken those of an allocation."""
        # mm/page_alloc.c prep_new_page() and prep_compound_page(), v6.12
        tail_pfn: cython.int
        self.mem_map.flags[pfn] = 0
        self.mem_map.refcount[pfn] = 1
        self.mem_map.order[pfn] = order
        if order and gfp & GFP_COMP:
            self.mem_map.flags[pfn] = PG_HEAD
            for tail_pfn in range(pfn + 1, pfn + (1 << order)):
                self.mem_map.flags[tail_pfn] = PG_TAIL
                self.mem_map.order[tail_pfn] = order

    @cython.cfunc
    @cython.exceptval(check=False)
    def clear_tails(self, pfn: cython.int, order: cython.int) -> cython.void:
        """Undo prep_new_page() on the tails of a compound block."""
        tail_pfn: cython.int
        if self.mem_map.flags[pfn] & PG_HEAD:
            for tail_pfn in range(pfn + 1, pfn + (1 << order)):
                self.mem_map.flags[tail_pfn] = 0
                self.mem_map.order[tail_pfn] = 0

    @cython.ccall
    @cython.exceptval(check=False)
    def head_of(self, pfn: cython.int) -> cython.int:
        """First frame of the compound block that `pfn` is in, or `pfn` itself."""
        # include/linux/page-flags.h compound_head(), v6.12: blocks are aligned to their size
        if self.mem_map.flags[pfn] & PG_TAIL:
            return pfn & ~((1 << self.mem_map.order[pfn]) - 1)
        return pfn

    @cython.ccall
    @cython.exceptval(check=False)
    def split(self, pfn: cython.int) -> cython.int:
        """Make 2**order single frames of a block, each with refcount 1; the order it had."""
        # mm/page_alloc.c split_page(), v6.12
        order: cython.int = self.mem_map.order[pfn]
        at: cython.int
        for at in range(pfn, pfn + (1 << order)):
            self.mem_map.flags[at] &= ~(PG_HEAD | PG_TAIL)
            self.mem_map.order[at] = 0
            self.mem_map.refcount[at] = 1
        return order
