"""Owns taking a huge page apart: 512 rows of one folio become 512 pages of their own.

Imports rmap and its rooms. Has never heard of LRU lists: the page must be off them, and the caller
puts the pieces where it wants them. mm/huge_memory.c split_huge_page_to_list(), v6.1.
"""

from __future__ import annotations

import cython

from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vma import VMA
from memtwin.hardware.pte import HPAGE_PAGES, PTE_PSE
from memtwin.page.flags import (
    PG_ACTIVE,
    PG_ANON,
    PG_ANON_EXCLUSIVE,
    PG_DIRTY,
    PG_HEAD,
    PG_ISOLATED,
    PG_REFERENCED,
    PG_SWAPBACKED,
    PG_SWAPCACHE,
    PG_UPTODATE,
    PG_WORKINGSET,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import THP_SPLIT_PAGE, THP_SPLIT_PAGE_FAILED

# what a piece takes over from the head (__split_huge_page_tail(), v6.1)
SHARED_FLAGS = (
    PG_REFERENCED
    | PG_SWAPBACKED
    | PG_UPTODATE
    | PG_ACTIVE
    | PG_WORKINGSET
    | PG_DIRTY
    | PG_ANON
    | PG_ISOLATED
)


@cython.final
@cython.cclass
class HugeSplit:
    """Splits huge pages."""

    def __init__(self, rmap: Rmap, vmstat: VmStat) -> None:
        self.mem: MemMap = rmap.mem
        self.tables: PageTables = rmap.tables
        self.rmap = rmap
        self.vmstat = vmstat

    @cython.ccall
    def split(self, head: cython.int) -> cython.int:
        """part(), counted as a split: 1, or 0."""
        done: cython.int = self.part(head)
        self.vmstat.count(THP_SPLIT_PAGE, done)
        return done

    @cython.ccall
    def part(self, head: cython.int) -> cython.int:
        """Split the isolated huge page at `head`, of which the caller has one reference: 1, or 0.

        Each piece then is an isolated page of order 0 with its mappings' references and one of the
        caller's; a piece that nothing maps is the caller's to free.
        """
        if not self.mem.flags[head] & PG_HEAD or self.mem.flags[head] & PG_SWAPCACHE:
            return 0
        if self.mem.refcount[head] != 1 + self.mappings(head):
            self.vmstat.count(THP_SPLIT_PAGE_FAILED, 1)
            return 0
        i: cython.int
        for i in range(self.rmap.collect(head)):
            vma: VMA = self.rmap.found_vma[i]
            if self.tables.pte[self.rmap.found_at[i]] & PTE_PSE:
                self.rmap.split_pmd(vma.mm, self.rmap.found_vpn[i])
        flags: cython.longlong = self.mem.flags[head] & SHARED_FLAGS
        own: cython.longlong
        self.mem.private[head + 1] = 0
        for i in range(HPAGE_PAGES):
            own = self.mem.flags[head + i] & PG_ANON_EXCLUSIVE
            self.mem.flags[head + i] = flags | own
            self.mem.order[head + i] = 0
            self.mem.memcg[head + i] = self.mem.memcg[head]
            self.mem.refcount[head + i] = 1 + self.mem.mapcount[head + i]
        return 1

    @cython.cfunc
    def mappings(self, head: cython.int) -> cython.longlong:
        """References that page table entries hold: one each, small or huge."""
        count: cython.longlong = self.mem.private[head + 1]
        i: cython.int
        for i in range(HPAGE_PAGES):
            count += self.mem.mapcount[head + i]
        return count
