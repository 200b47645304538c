"""Owns getting and giving back the frames of page tables, and kernel memory charged like them.

Imports slowpath, charge, page_table. Has never heard of areas. A table's frame is kernel memory
of the memcg whose task needed it (GFP_PGTABLE_USER has __GFP_ACCOUNT,
include/asm-generic/pgalloc.h, v6.1).
"""

from __future__ import annotations

import cython

from memtwin.address_space.mm import Mm
from memtwin.address_space.page_table import PageTables
from memtwin.memcg.charge import Charge
from memtwin.memcg.constants import CHARGE_OK
from memtwin.page.gfp import GFP_ACCOUNT, GFP_KERNEL, NEED_OOM
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.reclaim.slowpath import Slowpath

GFP_PGTABLE_USER = GFP_KERNEL | GFP_ACCOUNT
# arch/x86/include/asm/pgalloc.h PGD_ALLOCATION_ORDER, v6.1: two pages, one for the user half of
# CONFIG_PAGE_TABLE_ISOLATION, also when the isolation is switched off at boot
PGD_ORDER = 1


@cython.final
@cython.cclass
class TableAlloc:
    """Allocates page tables before what they map is allocated."""

    def __init__(self, mem: MemMap, tables: PageTables, slowpath: Slowpath, charge: Charge) -> None:
        self.mem = mem
        self.tables = tables
        self.slowpath = slowpath
        self.charge = charge
        self.page_alloc: PageAlloc = slowpath.page_alloc

    @cython.ccall
    def frame(self, memcg: cython.int, order: cython.int) -> cython.int:
        """A charged frame for a table, or NEED_OOM."""
        pfn: cython.int = self.slowpath.alloc_page(GFP_PGTABLE_USER, order)
        if pfn < 0:
            return NEED_OOM
        if memcg > 0:
            if self.slowpath.charge_kmem(memcg, 1 << order, GFP_PGTABLE_USER) != CHARGE_OK:
                self.page_alloc.put_page(pfn)
                return NEED_OOM
        self.mem.memcg[pfn] = memcg
        return pfn

    @cython.ccall
    def give_back(self, pfn: cython.int) -> cython.int:
        """Free the frame of a table that page_table has forgotten."""
        self.uncharge(pfn)
        return self.page_alloc.put_page(pfn)

    @cython.ccall
    def uncharge(self, pfn: cython.int) -> cython.int:
        """Give back the charge of a frame of kernel memory."""
        if self.mem.memcg[pfn] > 0:
            self.charge.uncharge_kmem(self.mem.memcg[pfn], 1 << self.mem.order[pfn])
            self.mem.memcg[pfn] = 0
        return 0

    @cython.ccall
    def ensure(self, mm: Mm, vpn: cython.longlong, leave: cython.int) -> cython.int:
        """Install tables over `vpn` until `leave` are missing (0: it has a PTE; 1: a PMD entry).

        0, or NEED_OOM; tables installed before that stay, as in the kernel.
        """
        pfn: cython.int
        while self.tables.missing_tables(mm, vpn) > leave:
            pfn = self.frame(mm.memcg, 0)
            if pfn < 0:
                return NEED_OOM
            self.tables.install_table(mm, vpn, pfn)
        return 0

    @cython.ccall
    def give_pgd(self, mm: Mm) -> cython.int:
        """Give a new mm its top table; 0 or NEED_OOM."""
        pfn: cython.int = self.frame(mm.memcg, PGD_ORDER)
        if pfn < 0:
            return NEED_OOM
        self.tables.install_pgd(mm, pfn)
        return 0
