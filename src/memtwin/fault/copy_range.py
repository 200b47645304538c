"""Owns what fork does to page tables: the child's entries, made from the parent's.

Imports tables, rmap, swap. Has never heard of tasks. mm/memory.c copy_page_range(), v6.1 and v6.12.
"""

from __future__ import annotations

import cython

from memtwin.address_space.mm import Mm
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vm_flags import (
    MM_ANONPAGES,
    MM_FILEPAGES,
    MM_SHMEMPAGES,
    MM_SWAPENTS,
    NR_MM_COUNTERS,
    VM_SHARED,
    VMA_PFNMAP,
)
from memtwin.address_space.vma import VMA
from memtwin.columns import zeros
from memtwin.fault.table_alloc import TableAlloc
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.hardware.pte import (
    HPAGE_PAGES,
    HUGE_ENTRY,
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_PFN_MASK,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    PTE_RW,
    PTE_SPECIAL,
    PTE_SWAP_EXCLUSIVE,
    PTE_SWAP_MASK,
    PTE_SWAP_SHIFT,
    PTRS_PER_TABLE,
)
from memtwin.page.flags import PG_ANON, PG_SWAPBACKED
from memtwin.page.gfp import NEED_OOM
from memtwin.page.mem_map import MemMap
from memtwin.swap.swap import Swap


@cython.final
@cython.cclass
class CopyRange:
    """Copies the entries of one area into a new mm."""

    def __init__(
        self,
        mem: MemMap,
        tables: PageTables,
        rmap: Rmap,
        swap: Swap,
        table_alloc: TableAlloc,
        clock: Clock,
        cost: CostTable,
    ) -> None:
        self.mem = mem
        self.tables = tables
        self.rmap = rmap
        self.swap = swap
        self.table_alloc = table_alloc
        self.clock = clock
        self.cost = cost
        self.rss = zeros(NR_MM_COUNTERS, "i8")

    @cython.ccall
    def copy_vma(self, child: Mm, vma: VMA) -> cython.int:
        """Give `child` the entries of the parent's `vma`; 0, or NEED_OOM with part of them copied.

        vma_needs_copy(), v6.1: an area without anonymous pages is left to be faulted in again.
        """
        if vma.anon_vma == 0 and vma.kind != VMA_PFNMAP:
            return 0
        parent: Mm = vma.mm
        vpn: cython.longlong = vma.start_vpn
        beyond: cython.longlong
        source: cython.longlong
        target: cython.longlong
        i: cython.longlong
        kind: cython.int
        verdict: cython.int = 0
        while vpn < vma.end_vpn and verdict == 0:
            beyond = (vpn & ~(PTRS_PER_TABLE - 1)) + PTRS_PER_TABLE
            if beyond > vma.end_vpn:
                beyond = vma.end_vpn
            source = self.tables.lookup(parent.pgd, vpn)
            if source == HUGE_ENTRY:
                verdict = self.copy_huge(child, vma, vpn)
            elif source >= 0:
                verdict = self.table_alloc.ensure(child, vpn, 0)
                if verdict == 0:
                    target = self.tables.lookup(child.pgd, vpn)
                    for i in range(beyond - vpn):
                        if self.tables.pte[source + i]:
                            self.copy_entry(vma, source + i, target + i)
            vpn = beyond
        for kind in range(NR_MM_COUNTERS):
            child.rss[kind] += self.rss[kind]
            self.rss[kind] = 0
        return 0 if verdict == 0 else NEED_OOM

    @cython.cfunc
    def copy_entry(self, vma: VMA, source: cython.longlong, target: cython.longlong) -> cython.int:
        """One entry: shared read-only between the two where a write must be noticed."""
        entry: cython.longlong = self.tables.pte[source]
        pfn: cython.int
        self.clock.spend(self.cost.fork_pte_ns)
        if not entry & PTE_PRESENT:
            self.swap.swap_duplicate((entry >> PTE_SWAP_SHIFT) & PTE_SWAP_MASK, 1)
            entry &= ~PTE_SWAP_EXCLUSIVE
            self.tables.pte[source] = entry
            self.tables.pte[target] = entry
            self.rss[MM_SWAPENTS] += 1
            return 0
        if not entry & PTE_SPECIAL:
            pfn = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
            self.mem.refcount[self.rmap.head_of(pfn)] += 1
            if self.mem.flags[pfn] & PG_ANON:
                self.rmap.dup_anon(pfn)
                self.rss[MM_ANONPAGES] += 1
            else:
                self.rmap.add_file(pfn)
                self.rss[
                    MM_SHMEMPAGES if self.mem.flags[pfn] & PG_SWAPBACKED else MM_FILEPAGES
                ] += 1
        if vma.vm_flags & VM_SHARED:
            entry &= ~PTE_DIRTY
        elif entry & PTE_RW:
            entry &= ~PTE_RW
            self.tables.pte[source] = entry
        self.tables.pte[target] = entry & ~PTE_ACCESSED
        return 0

    @cython.cfunc
    def copy_huge(self, child: Mm, vma: VMA, vpn: cython.longlong) -> cython.int:
        """One 2 MiB entry (mm/huge_memory.c copy_huge_pmd(), v6.1); 0 or NEED_OOM."""
        if self.table_alloc.ensure(child, vpn, 1) < 0:
            return NEED_OOM
        table: cython.int = self.table_alloc.frame(child.memcg, 0)
        if table < 0:
            return NEED_OOM
        at: cython.longlong = self.tables.lookup_pmd(vma.mm.pgd, vpn)
        entry: cython.longlong = self.tables.pte[at]
        head: cython.int = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
        if not entry & PTE_SPECIAL:
            self.mem.refcount[head] += 1
            self.rmap.dup_huge(head)
            self.rss[MM_ANONPAGES] += HPAGE_PAGES
            entry &= ~PTE_RW
            self.tables.pte[at] = entry
        self.tables.install_huge(child, vpn, entry & ~PTE_ACCESSED, table)
        self.clock.spend(self.cost.fork_pte_ns)
        return 0
