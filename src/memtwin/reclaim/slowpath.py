"""Owns the retry loops of allocating and charging: the one place where memory pressure is met.

Imports page, memcg and the reclaim room. Knows nothing of who asks or what the page is for. When nothing
can be reclaimed it answers NEED_OOM; `process/oom` acts and the caller tries again.
"""

from __future__ import annotations

import cython

from memtwin.memcg.charge import Charge
from memtwin.memcg.constants import CHARGE_OK
from memtwin.page.gfp import GFP_HIGHUSER_MOVABLE, NEED_OOM
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.units import NIL


@cython.final
@cython.cclass
class Slowpath:
    """Allocation and charging as the kernel's callers see them."""

    def __init__(self, mem: MemMap, page_alloc: PageAlloc, charge: Charge) -> None:
        self.mem = mem
        self.page_alloc = page_alloc
        self.charge = charge
        # after NEED_OOM: the group that is out of memory, -1 when it is the machine
        self.oom_memcg_id = NIL

    @cython.ccall
    def alloc_page(self, gfp: cython.int, order: cython.int) -> cython.int:
        """A pfn (2**order frames, refcount 1), NEED_OOM or ALLOC_FAILED."""
        pfn: cython.int = self.page_alloc.alloc_fast(gfp, order)
        if pfn >= 0:
            return pfn
        return self.alloc_slowly(gfp, order)

    @cython.cfunc
    def alloc_slowly(self, gfp: cython.int, order: cython.int) -> cython.int:
        """The slow path: kswapd, reserves, direct reclaim, retries."""
        self.oom_memcg_id = NIL
        return NEED_OOM

    @cython.ccall
    def charge_page(self, pfn: cython.int, memcg: cython.int, gfp: cython.int) -> cython.int:
        """Charge a page (its folio) to a group: CHARGE_OK or NEED_OOM (see `oom_memcg_id`)."""
        verdict: cython.int = self.try_charge(memcg, 1 << self.mem.order[pfn], gfp)
        if verdict == CHARGE_OK:
            self.charge.commit_charge(pfn, memcg)
        return verdict

    @cython.ccall
    def try_charge(self, memcg: cython.int, nr_pages: cython.int, gfp: cython.int) -> cython.int:
        """Charge pages to a group, reclaiming inside it: CHARGE_OK or NEED_OOM."""
        over: cython.int = self.charge.try_charge(memcg, nr_pages)
        if over == CHARGE_OK:
            return CHARGE_OK
        self.oom_memcg_id = over
        return NEED_OOM

    @cython.ccall
    def charge_kmem(self, memcg: cython.int, nr_pages: cython.int, gfp: cython.int) -> cython.int:
        """Charge kernel pages (page tables, GFP_ACCOUNT): CHARGE_OK or NEED_OOM."""
        verdict: cython.int = self.try_charge(memcg, nr_pages, gfp)
        if verdict == CHARGE_OK:
            self.charge.account_kmem(memcg, nr_pages)
        return verdict

    @cython.ccall
    def alloc_anon(self, memcg: cython.int) -> cython.int:
        """A charged frame for an anonymous page: a pfn, NEED_OOM or ALLOC_FAILED."""
        pfn: cython.int = self.page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0)
        if pfn < 0:
            pfn = self.alloc_slowly(GFP_HIGHUSER_MOVABLE, 0)
            if pfn < 0:
                return pfn
        if memcg <= 0:
            self.mem.memcg[pfn] = 0
            return pfn
        cpu: cython.int = self.charge.cpu
        if self.charge.stock_memcg[cpu] == memcg and self.charge.stock_pages[cpu] > 0:
            self.charge.stock_pages[cpu] -= 1
        elif self.try_charge(memcg, 1, GFP_HIGHUSER_MOVABLE) != CHARGE_OK:
            self.page_alloc.put_page(pfn)
            return NEED_OOM
        self.charge.commit_charge(pfn, memcg)
        return pfn
