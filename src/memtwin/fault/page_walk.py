"""Owns what madvise, mlock, mprotect and mincore do to entries that are there already.

Imports tables, rmap, lru, zap, page_cache. Has never heard of system calls. Each walk covers a
range inside one area; huge entries are split first.
"""

# DIFFERS: 2 MiB entries are split also where the kernel would treat them whole (MADV_FREE,
# mprotect, mlock); one walk serves all; thp_split_pmd and AnonHugePages of programs that do that

from __future__ import annotations

import cython

from memtwin.address_space.mm import Mm
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vm_flags import MM_SWAPENTS, VM_SHARED, VM_WRITE
from memtwin.address_space.vma import VMA
from memtwin.columns import grown, zeros
from memtwin.fault.thp import Thp
from memtwin.fault.verdicts import (
    WALK_COLD,
    WALK_FREE,
    WALK_MLOCK,
    WALK_MUNLOCK,
    WALK_PROTECT,
    WALK_SWAPPED,
)
from memtwin.fault.zap import Zap
from memtwin.hardware.pte import (
    HUGE_ENTRY,
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_NX,
    PTE_PFN_MASK,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    PTE_RW,
    PTE_SPECIAL,
    PTE_SWAP_MASK,
    PTE_SWAP_SHIFT,
    PTE_USER,
    PTRS_PER_TABLE,
)
from memtwin.page.flags import (
    PG_ANON,
    PG_ANON_EXCLUSIVE,
    PG_DIRTY,
    PG_HEAD,
    PG_LRU,
    PG_REFERENCED,
    PG_SWAPCACHE,
    PG_TAIL,
)
from memtwin.page.mem_map import MemMap
from memtwin.reclaim.lru import Lru
from memtwin.swap.swap import Swap


@cython.final
@cython.cclass
class PageWalk:
    """Walks ranges of present and swapped entries."""

    def __init__(self, thp: Thp, zap: Zap) -> None:
        self.mem: MemMap = zap.mem
        self.tables: PageTables = zap.tables
        self.rmap: Rmap = zap.rmap
        self.lru: Lru = zap.lru
        self.swap: Swap = zap.swap
        self.thp = thp
        self.zap = zap
        self.nr_found = 0
        self.capacity = 64
        self.found = zeros(64, "i8")  # WALK_PAGEOUT: frames; WALK_SWAPPED: vpns

    @cython.ccall
    def walk(
        self, vma: VMA, start_vpn: cython.longlong, end_vpn: cython.longlong, what: cython.int
    ) -> cython.longlong:
        """Do `what` (WALK_*) with every entry in use of [start_vpn, end_vpn).

        How many there were.
        """
        mm: Mm = vma.mm
        vpn: cython.longlong = start_vpn
        beyond: cython.longlong
        at: cython.longlong
        i: cython.longlong
        used: cython.longlong = 0
        self.nr_found = 0
        while vpn < end_vpn:
            beyond = (vpn & ~(PTRS_PER_TABLE - 1)) + PTRS_PER_TABLE
            if beyond > end_vpn:
                beyond = end_vpn
            at = self.tables.lookup(mm.pgd, vpn)
            if at == HUGE_ENTRY:
                self.thp.split(mm, vpn)
                at = self.tables.lookup(mm.pgd, vpn)
            if at >= 0:
                for i in range(beyond - vpn):
                    if self.tables.pte[at + i]:
                        used += 1
                        self.visit(vma, vpn + i, at + i, what)
            vpn = beyond
        return used

    @cython.cfunc
    def visit(
        self, vma: VMA, vpn: cython.longlong, at: cython.longlong, what: cython.int
    ) -> cython.int:
        """One entry in use."""
        entry: cython.longlong = self.tables.pte[at]
        if what == WALK_PROTECT:
            return self.protect(vma, at, entry)
        if not entry & PTE_PRESENT:
            if what == WALK_SWAPPED:
                return self.note(vpn)
            if what == WALK_FREE:
                self.tables.pte[at] = 0
                vma.mm.add_rss(MM_SWAPENTS, -1)
                self.zap.free_swap_and_cache((entry >> PTE_SWAP_SHIFT) & PTE_SWAP_MASK)
            return 0
        if entry & PTE_SPECIAL or what == WALK_SWAPPED:
            return 0
        pfn: cython.int = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
        if what == WALK_MLOCK:
            return self.lru.mlock_folio(self.rmap.head_of(pfn))
        if what == WALK_MUNLOCK:
            return self.lru.munlock_folio(self.rmap.head_of(pfn))
        if self.mem.flags[pfn] & (PG_HEAD | PG_TAIL):
            # DIFFERS: a huge page is not split here; HugeSplit needs it off the LRU lists;
            # MADV_FREE, COLD and PAGEOUT on parts of huge pages do nothing
            return 0
        if what == WALK_FREE:
            return self.free_lazily(at, entry, pfn)
        return self.cool(at, entry, pfn, what)

    @cython.cfunc
    def note(self, value: cython.longlong) -> cython.int:
        """Remember a frame or vpn for the caller."""
        if self.nr_found == self.capacity:
            self.capacity *= 2
            self.found = grown(self.found, self.capacity)
        self.found[self.nr_found] = value
        self.nr_found += 1
        return 0

    @cython.cfunc
    def free_lazily(
        self, at: cython.longlong, entry: cython.longlong, pfn: cython.int
    ) -> cython.int:
        """mm/madvise.c madvise_free_pte_range(), v6.1."""
        flags: cython.longlong = self.mem.flags[pfn]
        if not flags & PG_ANON:
            return 0
        if flags & (PG_SWAPCACHE | PG_DIRTY):
            if self.mem.mapcount[pfn] != 1:
                return 0
            if flags & PG_SWAPCACHE and self.swap.folio_free_swap(pfn) == 0:
                return 0
            self.mem.flags[pfn] &= ~PG_DIRTY
        self.tables.pte[at] = entry & ~(PTE_ACCESSED | PTE_DIRTY)
        return self.lru.folio_mark_lazyfree(pfn)

    @cython.cfunc
    def cool(
        self, at: cython.longlong, entry: cython.longlong, pfn: cython.int, what: cython.int
    ) -> cython.int:
        """mm/madvise.c madvise_cold_or_pageout_pte_range(), v6.1."""
        if not self.mem.flags[pfn] & PG_LRU or self.mem.mapcount[pfn] != 1:
            return 0
        self.tables.pte[at] = entry & ~PTE_ACCESSED
        self.mem.flags[pfn] &= ~PG_REFERENCED
        if what == WALK_COLD:
            return self.lru.folio_deactivate(pfn)
        return self.note(pfn)

    @cython.cfunc
    def protect(self, vma: VMA, at: cython.longlong, entry: cython.longlong) -> cython.int:
        """Give a present entry the area's new bits (mm/mprotect.c change_pte_range(), v6.1)."""
        if not entry & PTE_PRESENT:
            return 0
        pfn: cython.int = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
        kept: cython.longlong = entry & ~(PTE_RW | PTE_USER | PTE_NX | PTE_ACCESSED)
        was_young: cython.longlong = entry & PTE_ACCESSED
        bits: cython.longlong = (vma.prot & ~PTE_ACCESSED) | was_young
        # can_change_pte_writable(), v6.1: a dirty page that is this process's alone stays writable
        if (
            vma.vm_flags & (VM_WRITE | VM_SHARED) == VM_WRITE
            and entry & PTE_DIRTY
            and not entry & PTE_SPECIAL
        ):
            if self.mem.flags[pfn] & PG_ANON and self.mem.flags[pfn] & PG_ANON_EXCLUSIVE:
                bits |= PTE_RW
        self.tables.pte[at] = kept | bits
        return 0

    @cython.ccall
    def resident(
        self, vma: VMA, start_vpn: cython.longlong, end_vpn: cython.longlong
    ) -> cython.longlong:
        """Entries of the range that are present, as mincore() counts anonymous memory."""
        vpn: cython.longlong
        entry: cython.longlong
        found: cython.longlong = 0
        for vpn in range(start_vpn, end_vpn):
            entry = self.tables.entry(vma.mm, vpn)
            if entry & PTE_PRESENT:
                found += 1
        return found
