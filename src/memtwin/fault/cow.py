"""Owns writes to entries that are present and read-only: reuse of a page, or a copy of it.

Imports rmap, lru, slowpath, swap. Has never heard of empty entries or of who forked.
mm/memory.c do_wp_page() and wp_page_copy(), v6.1 and v6.12: the two agree for small pages.
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
    VM_LOCKED,
    VM_SHARED,
)
from memtwin.address_space.vma import VMA
from memtwin.fault.anonymous import AnonFault
from memtwin.fault.file_fault import FileFault
from memtwin.fault.verdicts import VM_FAULT_OOM
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.hardware.pte import (
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_PFN_MASK,
    PTE_PFN_SHIFT,
    PTE_RW,
    PTE_SPECIAL,
)
from memtwin.page.flags import (
    PG_ANON,
    PG_ANON_EXCLUSIVE,
    PG_HEAD,
    PG_LOCKED,
    PG_LRU,
    PG_SWAPBACKED,
    PG_SWAPCACHE,
    PG_TAIL,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import PGREUSE
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.slowpath import Slowpath
from memtwin.swap.swap import Swap


@cython.final
@cython.cclass
class Cow:
    """Write faults on read-only entries of writable areas."""

    def __init__(self, anon: AnonFault, file: FileFault, swap: Swap, vmstat: VmStat) -> None:
        self.mem: MemMap = anon.mem
        self.tables: PageTables = anon.tables
        self.rmap: Rmap = anon.rmap
        self.lru: Lru = anon.lru
        self.slowpath: Slowpath = anon.slowpath
        self.clock: Clock = anon.clock
        self.cost: CostTable = anon.cost
        self.anon = anon
        self.file = file
        self.swap = swap
        self.vmstat = vmstat

    @cython.cfunc
    def do_wp_page(self, vma: VMA, vpn: cython.longlong, at: cython.longlong) -> cython.int:
        """Make the present entry at `at` writable; 0 or VM_FAULT_*."""
        entry: cython.longlong = self.tables.pte[at]
        if entry & PTE_SPECIAL:
            return self.copy_page(vma, vpn, at, -1)
        pfn: cython.int = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
        if vma.vm_flags & VM_SHARED:
            verdict: cython.int = self.file.page_mkwrite(vma, pfn)
            if verdict == 0 and self.tables.pte[at] == entry:
                self.reuse(at)
            return verdict
        if self.mem.flags[pfn] & PG_ANON and self.may_reuse(vma, vpn, pfn):
            return self.reuse(at)
        return self.copy_page(vma, vpn, at, pfn)

    @cython.cfunc
    def reuse(self, at: cython.longlong) -> cython.int:
        """wp_page_reuse()."""
        self.tables.pte[at] |= PTE_RW | PTE_DIRTY | PTE_ACCESSED
        self.vmstat.count(PGREUSE, 1)
        return 0

    @cython.cfunc
    def may_reuse(self, vma: VMA, vpn: cython.longlong, pfn: cython.int) -> cython.int:
        """1 when nobody else can see the page: it is exclusive, or becomes so now."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_ANON_EXCLUSIVE:
            return 1
        if flags & (PG_HEAD | PG_TAIL) or self.mem.refcount[pfn] > 3:
            return 0
        if not flags & PG_LRU:
            self.lru.lru_add_drain()  # the batch's reference may be the only other one
        cached: cython.int = 1 if self.mem.flags[pfn] & PG_SWAPCACHE else 0
        if self.mem.refcount[pfn] > 1 + cached or self.mem.flags[pfn] & PG_LOCKED:
            return 0
        if cached:
            self.swap.folio_free_swap(pfn)
        if self.mem.refcount[pfn] != 1:
            return 0
        # page_move_anon_rmap()
        self.mem.mapping[pfn] = vma.anon_vma
        self.mem.index[pfn] = vpn - vma.start_vpn + vma.pgoff
        self.mem.flags[pfn] |= PG_ANON_EXCLUSIVE
        return 1

    @cython.cfunc
    def copy_page(
        self, vma: VMA, vpn: cython.longlong, at: cython.longlong, old: cython.int
    ) -> cython.int:
        """Map a private copy of frame `old` (-1: the zero page); 0 or VM_FAULT_OOM."""
        mm: Mm = vma.mm
        entry: cython.longlong = self.tables.pte[at]
        head: cython.int = -1
        if vma.anon_vma == 0:
            self.anon.prepare(vma)
        if old >= 0:
            head = self.rmap.head_of(old)
            self.mem.refcount[head] += 1  # reclaim may unmap the old page meanwhile
        pfn: cython.int = self.slowpath.alloc_anon(mm.memcg)
        if pfn < 0:
            if head >= 0:
                self.lru.folio_put(head)
            return VM_FAULT_OOM
        if self.tables.pte[at] != entry:
            self.slowpath.page_alloc.put_page(self.uncharged(pfn))
            self.lru.folio_put(head)
            return 0
        if old >= 0:
            self.clock.spend(self.cost.copy_page_ns)
            if not self.mem.flags[old] & PG_ANON:
                mm.dec_rss(MM_SHMEMPAGES if self.mem.flags[old] & PG_SWAPBACKED else MM_FILEPAGES)
                mm.inc_rss(MM_ANONPAGES)
        else:
            self.clock.spend(self.cost.clear_page_ns)
            mm.inc_rss(MM_ANONPAGES)
        self.tables.pte[at] = 0
        self.anon.map_new(pfn, vma, vpn, at)
        if old >= 0:
            self.drop_old(vma, old, head)
        return 0

    @cython.cfunc
    def uncharged(self, pfn: cython.int) -> cython.int:
        """The same frame with its charge given back."""
        self.lru.charge.uncharge_page(pfn)
        return pfn

    @cython.cfunc
    def drop_old(self, vma: VMA, old: cython.int, head: cython.int) -> cython.int:
        """The old page loses this entry and our reference."""
        self.rmap.remove(old)
        if vma.vm_flags & VM_LOCKED:
            self.lru.munlock_folio(head)
        self.mem.refcount[head] -= 1
        if self.mem.flags[head] & PG_SWAPCACHE and self.mem.mapcount[head] == 0:
            self.swap.folio_free_swap(head)
        return self.lru.folio_put(head)
