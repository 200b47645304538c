"""Owns moving pages between their lists and the unevictable one (mm/mlock.c, v6.1).

Imports page and reclaim/lruvec. Knows nothing of batches or of who locks memory. `lru_prev` of an
unevictable page is its mlock_count.
"""

from __future__ import annotations

import cython

from memtwin.page.flags import PG_ACTIVE, PG_LRU, PG_MLOCKED, PG_UNEVICTABLE
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    NR_MLOCK,
    UNEVICTABLE_PGS_CULLED,
    UNEVICTABLE_PGS_MLOCKED,
    UNEVICTABLE_PGS_MUNLOCKED,
    UNEVICTABLE_PGS_RESCUED,
    UNEVICTABLE_PGS_STRANDED,
)
from memtwin.reclaim.constants import HEAD_SIDE, MLOCK_NEW
from memtwin.reclaim.lruvec import Lruvecs


@cython.final
@cython.cclass
class Mlock:
    """Makes pages unevictable and evictable again."""

    def __init__(self, mem: MemMap, lruvecs: Lruvecs, vmstat: VmStat) -> None:
        self.mem = mem
        self.lruvecs = lruvecs
        self.vmstat = vmstat

    @cython.cfunc
    @cython.exceptval(check=False)
    def count_mlocked(self, pfn: cython.int) -> cython.void:
        """Set PG_MLOCKED and count it."""
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        self.mem.flags[pfn] |= PG_MLOCKED
        self.vmstat.mod_zone(self.lruvecs.zones.zone_of(pfn), NR_MLOCK, nr_pages)
        self.vmstat.count(UNEVICTABLE_PGS_MLOCKED, nr_pages)

    @cython.cfunc
    def mlock_now(self, pfn: cython.int, what: cython.int) -> cython.void:
        """mm/mlock.c __mlock_page() and __mlock_new_page(), v6.1."""
        flags: cython.longlong = self.mem.flags[pfn]
        lruvec: cython.int = self.lruvecs.of_page(pfn)
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        mlocked: cython.int = 1 if flags & PG_MLOCKED else 0
        if what == MLOCK_NEW:
            if mlocked:
                self.mem.flags[pfn] |= PG_UNEVICTABLE
                self.mem.lru_prev[pfn] = 1
                self.vmstat.count(UNEVICTABLE_PGS_CULLED, nr_pages)
            self.lruvecs.add_folio(lruvec, pfn, HEAD_SIDE)
            self.mem.flags[pfn] |= PG_LRU
        elif not mlocked:
            if flags & PG_UNEVICTABLE:
                self.lruvecs.relist(pfn, PG_UNEVICTABLE, HEAD_SIDE)
                self.vmstat.count(UNEVICTABLE_PGS_RESCUED, nr_pages)
        elif flags & PG_UNEVICTABLE:
            self.mem.lru_prev[pfn] += 1
        else:
            self.lruvecs.del_folio(lruvec, pfn)
            self.mem.flags[pfn] = (self.mem.flags[pfn] & ~PG_ACTIVE) | PG_UNEVICTABLE
            self.mem.lru_prev[pfn] = 1
            self.lruvecs.add_folio(lruvec, pfn, HEAD_SIDE)
            self.vmstat.count(UNEVICTABLE_PGS_CULLED, nr_pages)

    @cython.cfunc
    def munlock_now(self, pfn: cython.int) -> cython.void:
        """mm/mlock.c __munlock_page(), v6.1."""
        flags: cython.longlong = self.mem.flags[pfn]
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        isolated: cython.int = 1 if flags & PG_LRU else 0
        if isolated and flags & PG_UNEVICTABLE:
            if self.mem.lru_prev[pfn] > 0:
                self.mem.lru_prev[pfn] -= 1
            if self.mem.lru_prev[pfn] > 0:
                return
        if flags & PG_MLOCKED:
            self.mem.flags[pfn] &= ~PG_MLOCKED
            self.vmstat.mod_zone(self.lruvecs.zones.zone_of(pfn), NR_MLOCK, -nr_pages)
            if isolated or not flags & PG_UNEVICTABLE:
                self.vmstat.count(UNEVICTABLE_PGS_MUNLOCKED, nr_pages)
            else:
                self.vmstat.count(UNEVICTABLE_PGS_STRANDED, nr_pages)
        if isolated and flags & PG_UNEVICTABLE:
            self.lruvecs.relist(pfn, PG_UNEVICTABLE, HEAD_SIDE)
            self.vmstat.count(UNEVICTABLE_PGS_RESCUED, nr_pages)
