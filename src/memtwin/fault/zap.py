"""Owns taking pages out of page tables, for munmap, exit and MADV_DONTNEED.

Imports rmap, tables, lru, swap, page_cache, file_io.dirty. Has never heard of tasks. Frames leave
in the order and in the batches in which the kernel's mmu_gather lets them go.
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
    VM_LOCKED,
    VM_SEQ_READ,
    VMA_FILE,
)
from memtwin.address_space.vma import VMA
from memtwin.columns import zeros
from memtwin.fault.table_alloc import TableAlloc
from memtwin.file_io.dirty import Dirty
from memtwin.file_io.open_file import OpenFile
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
    PTE_SPECIAL,
    PTE_SWAP_MASK,
    PTE_SWAP_SHIFT,
    PTRS_PER_TABLE,
)
from memtwin.page.flags import PG_ANON, PG_DIRTY, PG_HEAD, PG_SWAPBACKED, PG_SWAPCACHE
from memtwin.page.mem_map import MemMap
from memtwin.reclaim.lru import Lru
from memtwin.swap.swap import Swap

# include/asm-generic/tlb.h, v6.1: 8 frames on the stack (MMU_GATHER_BUNDLE), then batches of one
# page of pointers, at most 10000 frames (MAX_GATHER_BATCH_COUNT)
BUNDLE_PAGES = 8
BATCH_PAGES = 510
GATHER_PAGES = BUNDLE_PAGES + 19 * BATCH_PAGES


@cython.final
@cython.cclass
class Zap:
    """Empties ranges of page tables and lets go of what they mapped."""

    def __init__(
        self,
        mem: MemMap,
        tables: PageTables,
        rmap: Rmap,
        lru: Lru,
        swap: Swap,
        table_alloc: TableAlloc,
        dirty: Dirty,
        clock: Clock,
        cost: CostTable,
    ) -> None:
        self.mem = mem
        self.tables = tables
        self.rmap = rmap
        self.lru = lru
        self.swap = swap
        self.table_alloc = table_alloc
        self.dirty = dirty
        self.clock = clock
        self.cost = cost
        self.gathered = zeros(GATHER_PAGES, "i4")
        self.nr_gathered = 0
        self.batch = zeros(BATCH_PAGES, "i4")
        self.rss = zeros(NR_MM_COUNTERS, "i8")

    @cython.ccall
    def unmap_range(
        self, vma: VMA, start_vpn: cython.longlong, end_vpn: cython.longlong
    ) -> cython.longlong:
        """Empty the entries of [start_vpn, end_vpn) inside `vma`; how many pages they mapped.

        Frames are gathered; call `finish` when the whole operation is done. unmap_page_range(),
        v6.1.
        """
        mm: Mm = vma.mm
        vpn: cython.longlong = start_vpn
        beyond: cython.longlong
        at: cython.longlong
        gone: cython.longlong = 0
        mm.update_hiwater_rss()
        while vpn < end_vpn:
            beyond = (vpn & ~(PTRS_PER_TABLE - 1)) + PTRS_PER_TABLE
            if beyond > end_vpn:
                beyond = end_vpn
            at = self.tables.lookup(mm.pgd, vpn)
            if at == HUGE_ENTRY:
                if beyond - vpn == HPAGE_PAGES:
                    gone += self.zap_huge(vma, vpn)
                    vpn = beyond
                    continue
                self.rmap.split_pmd(mm, vpn)
                at = self.tables.lookup(mm.pgd, vpn)
            if at >= 0:
                gone += self.zap_table(vma, at, at + (beyond - vpn))
            vpn = beyond
        self.clock.spend(gone * self.cost.unmap_page_ns)
        return gone

    @cython.cfunc
    def zap_table(
        self, vma: VMA, first: cython.longlong, beyond: cython.longlong
    ) -> cython.longlong:
        """Empty the rows [first, beyond) of one page table (zap_pte_range())."""
        at: cython.longlong
        entry: cython.longlong
        gone: cython.longlong = 0
        kind: cython.int
        for at in range(first, beyond):
            entry = self.tables.pte[at]
            if entry == 0:
                continue
            self.tables.pte[at] = 0
            if not entry & PTE_PRESENT:
                self.rss[MM_SWAPENTS] -= 1
                self.free_swap_and_cache((entry >> PTE_SWAP_SHIFT) & PTE_SWAP_MASK)
                continue
            gone += 1
            if not entry & PTE_SPECIAL:
                self.zap_present(vma, entry)
        for kind in range(NR_MM_COUNTERS):
            if self.rss[kind]:
                vma.mm.add_rss(kind, self.rss[kind])
                self.rss[kind] = 0
        if vma.mm.split_rss:
            vma.mm.sync_rss()  # mm/memory.c add_mm_rss_vec(), v6.1
        return gone

    @cython.cfunc
    def zap_present(self, vma: VMA, entry: cython.longlong) -> cython.int:
        """One entry that mapped a page is gone: what it knew passes to the page."""
        pfn: cython.int = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_ANON:
            self.rss[MM_ANONPAGES] -= 1
        else:
            if entry & PTE_DIRTY and not flags & PG_DIRTY:
                self.mark_dirty(vma, pfn)
            if entry & PTE_ACCESSED and not vma.vm_flags & VM_SEQ_READ:
                self.lru.folio_mark_accessed(pfn)
            self.rss[MM_SHMEMPAGES if flags & PG_SWAPBACKED else MM_FILEPAGES] -= 1
        self.rmap.remove(pfn)
        pfn = self.rmap.head_of(pfn)
        if vma.vm_flags & VM_LOCKED:
            self.lru.munlock_folio(pfn)
        return self.gather(pfn)

    @cython.cfunc
    def mark_dirty(self, vma: VMA, pfn: cython.int) -> cython.int:
        """The dirty bit of an entry moves to its page; files count it."""
        if vma.kind == VMA_FILE and vma.file is not None:
            file: OpenFile = vma.file  # type: ignore[assignment]
            return self.dirty.folio_mark_dirty(file.mapping, pfn)
        self.mem.flags[pfn] |= PG_DIRTY
        return 0

    @cython.cfunc
    def zap_huge(self, vma: VMA, vpn: cython.longlong) -> cython.longlong:
        """Empty a whole 2 MiB entry (zap_huge_pmd())."""
        at: cython.longlong = self.tables.lookup_pmd(vma.mm.pgd, vpn)
        entry: cython.longlong = self.tables.pte[at]
        pfn: cython.int = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
        self.rmap.remove_huge(pfn)
        self.table_alloc.give_back(self.tables.clear_huge(vma.mm, at))
        vma.mm.add_rss(MM_ANONPAGES, -HPAGE_PAGES)
        if vma.mm.split_rss:
            vma.mm.sync_rss()
        if vma.vm_flags & VM_LOCKED:
            self.lru.munlock_folio(pfn)
        self.gather(pfn)
        return HPAGE_PAGES

    @cython.cfunc
    def free_swap_and_cache(self, entry: cython.longlong) -> cython.int:
        """mm/swapfile.c free_swap_and_cache(), v6.1.

        The last user also drops an unused cached page.
        """
        if self.swap.swap_free(entry) == 0:
            return 0
        pfn: cython.int = self.swap.lookup(entry)
        # __try_to_reclaim_swap() with TTRS_UNMAPPED | TTRS_FULL
        if pfn >= 0 and self.mem.mapcount[pfn] == 0:
            self.mem.refcount[pfn] += 1
            self.swap.folio_free_swap(pfn)
            self.lru.folio_put(pfn)
        return 0

    @cython.cfunc
    def gather(self, pfn: cython.int) -> cython.int:
        """The reference of an entry waits until the batch is let go."""
        if self.mem.flags[pfn] & PG_HEAD and self.mem.refcount[pfn] > 1:
            # one of many small mappings of a huge page: only the last waits
            self.mem.refcount[pfn] -= 1
            return 0
        self.gathered[self.nr_gathered] = pfn
        self.nr_gathered += 1
        if self.nr_gathered == GATHER_PAGES:
            self.finish()
        return 0

    @cython.ccall
    def finish(self) -> cython.int:
        """Let go of all gathered frames (tlb_finish_mmu()); how many were freed."""
        freed: cython.int = 0
        first: cython.int = 0
        nr: cython.int
        i: cython.int
        pfn: cython.int
        while first < self.nr_gathered:
            nr = BUNDLE_PAGES if first == 0 else BATCH_PAGES
            if nr > self.nr_gathered - first:
                nr = self.nr_gathered - first
            for i in range(nr):
                pfn = self.gathered[first + i]
                self.batch[i] = pfn
                if self.mem.flags[pfn] & PG_SWAPCACHE and self.mem.mapcount[pfn] == 0:
                    self.swap.folio_free_swap(pfn)  # free_pages_and_swap_cache()
            freed += self.lru.release_pages(self.batch, nr)
            first += nr
        self.nr_gathered = 0
        return freed
