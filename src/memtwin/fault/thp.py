"""Owns faults on anonymous huge pages: may one be used, its first fault, writes to shared ones.

Imports anonymous, tables, rmap, slowpath. Has never heard of fork or reclaim. mm/huge_memory.c,
v6.1: a huge page is 512 frames mapped by one PMD entry; a page table is kept beside the entry for
the day it must be split.
"""

# DIFFERS: khugepaged collapses nothing; it works in the background by its own clock;
# thp_collapse_alloc and AnonHugePages of long runs with huge pages always on

# DIFFERS: the huge zero page is never freed; nothing shrinks it here; thp_zero_page_alloc

from __future__ import annotations

import cython

from memtwin.address_space.mm import Mm
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vm_flags import (
    MM_ANONPAGES,
    VM_HUGEPAGE,
    VM_NOHUGEPAGE,
    VM_WRITE,
    VMA_ANON,
)
from memtwin.address_space.vma import VMA
from memtwin.fault.anonymous import AnonFault
from memtwin.fault.table_alloc import TableAlloc
from memtwin.fault.verdicts import VM_FAULT_FALLBACK, VM_FAULT_OOM, WRITE
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
    PTE_PSE,
    PTE_RW,
    PTE_SPECIAL,
    PTE_USER,
)
from memtwin.memcg.constants import CHARGE_OK
from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import PG_ANON_EXCLUSIVE, PG_SWAPCACHE, PG_UPTODATE
from memtwin.page.gfp import GFP_DIRECT_RECLAIM, GFP_TRANSHUGE_LIGHT
from memtwin.page.mem_map import MemMap
from memtwin.page.tunables import THP_ALWAYS, THP_MADVISE, THP_NEVER, Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    THP_FAULT_ALLOC,
    THP_FAULT_FALLBACK,
    THP_FAULT_FALLBACK_CHARGE,
    THP_ZERO_PAGE_ALLOC,
)
from memtwin.reclaim.slowpath import Slowpath

HPAGE_ORDER = 9


@cython.final
@cython.cclass
class Thp:
    """Huge page faults."""

    def __init__(
        self, anon: AnonFault, table_alloc: TableAlloc, memcg: MemcgTable, vmstat: VmStat
    ) -> None:
        self.mem: MemMap = anon.mem
        self.tables: PageTables = anon.tables
        self.rmap: Rmap = anon.rmap
        self.slowpath: Slowpath = anon.slowpath
        self.clock: Clock = anon.clock
        self.cost: CostTable = anon.cost
        self.tunables: Tunables = anon.tunables
        self.anon = anon
        self.table_alloc = table_alloc
        self.memcg = memcg
        self.vmstat = vmstat
        self.zero_head = -1  # the huge zero page, allocated when first needed

    @cython.cfunc
    @cython.exceptval(check=False)
    def hit(self, mm: Mm, vpn: cython.longlong, kind: cython.int) -> cython.int:
        """Do what the processor does on a 2 MiB entry without a fault.

        1 when it allows the touch.
        """
        if self.tables.lookup(mm.pgd, vpn) != HUGE_ENTRY:
            return 0
        at: cython.longlong = self.tables.lookup_pmd(mm.pgd, vpn)
        entry: cython.longlong = self.tables.pte[at]
        if not entry & PTE_PRESENT or not entry & PTE_USER:
            return 0
        if kind == WRITE:
            if not entry & PTE_RW:
                return 0
            entry |= PTE_DIRTY
        self.tables.pte[at] = entry | PTE_ACCESSED
        return 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def may_try(self, vma: VMA, vpn: cython.longlong) -> cython.int:
        """1 when the fault at `vpn` may take a huge page (hugepage_vma_check(), v6.1)."""
        if self.tunables.thp_enabled == THP_NEVER or vma.kind != VMA_ANON:
            return 0
        if vma.vm_flags & VM_NOHUGEPAGE:
            return 0
        if self.tunables.thp_enabled == THP_MADVISE and not vma.vm_flags & VM_HUGEPAGE:
            return 0
        first: cython.longlong = vpn & ~(HPAGE_PAGES - 1)
        if first < vma.start_vpn or first + HPAGE_PAGES > vma.end_vpn:
            return 0
        at: cython.longlong = self.tables.lookup_pmd(vma.mm.pgd, vpn)
        return 1 if at < 0 or self.tables.pte[at] == 0 else 0

    @cython.cfunc
    def anonymous(self, vma: VMA, vpn: cython.longlong, kind: cython.int) -> cython.int:
        """Fill the empty PMD entry (do_huge_pmd_anonymous_page()); 0, FALLBACK or OOM."""
        mm: Mm = vma.mm
        if vma.anon_vma == 0:
            self.anon.prepare(vma)
        if self.table_alloc.ensure(mm, vpn, 1) < 0:
            return VM_FAULT_OOM
        if kind != WRITE:
            return self.map_zero(vma, vpn)
        head: cython.int = self.slowpath.alloc_page(self.gfp(vma), HPAGE_ORDER)
        if head < 0:
            self.vmstat.count(THP_FAULT_FALLBACK, 1)
            return VM_FAULT_FALLBACK
        if self.slowpath.charge_page(head, mm.memcg, self.gfp(vma)) != CHARGE_OK:
            self.slowpath.page_alloc.put_page(head)
            self.vmstat.count(THP_FAULT_FALLBACK, 1)
            self.vmstat.count(THP_FAULT_FALLBACK_CHARGE, 1)
            return VM_FAULT_FALLBACK
        table: cython.int = self.table_alloc.frame(mm.memcg, 0)
        if table < 0:
            self.anon.lru.folio_put(head)
            return VM_FAULT_OOM
        self.clock.spend(self.cost.clear_page_ns * HPAGE_PAGES)
        self.rmap.add_new_huge(
            head, vma.anon_vma, (vpn & ~(HPAGE_PAGES - 1)) - vma.start_vpn + vma.pgoff
        )
        self.mem.flags[head] |= PG_UPTODATE
        self.anon.add_to_lru(head, vma)
        bits: cython.longlong = vma.prot | PTE_PSE | PTE_DIRTY
        if vma.vm_flags & VM_WRITE:
            bits |= PTE_RW
        frame: cython.longlong = head
        self.tables.install_huge(mm, vpn, (frame << PTE_PFN_SHIFT) | bits, table)
        mm.add_rss(MM_ANONPAGES, HPAGE_PAGES)
        self.vmstat.count(THP_FAULT_ALLOC, 1)
        if mm.memcg > 0:
            self.memcg.count_event(mm.memcg, THP_FAULT_ALLOC, 1)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def gfp(self, vma: VMA) -> cython.int:
        """vma_thp_gfp_mask(), v6.1."""
        # DIFFERS: defrag has no defer settings; tunables has three; thp_fault_fallback of machines
        # set to defer
        if self.tunables.thp_defrag == THP_ALWAYS:
            return GFP_TRANSHUGE_LIGHT | GFP_DIRECT_RECLAIM
        if self.tunables.thp_defrag == THP_MADVISE and vma.vm_flags & VM_HUGEPAGE:
            return GFP_TRANSHUGE_LIGHT | GFP_DIRECT_RECLAIM
        return GFP_TRANSHUGE_LIGHT

    @cython.cfunc
    def map_zero(self, vma: VMA, vpn: cython.longlong) -> cython.int:
        """A read maps the huge zero page (set_huge_zero_page())."""
        if self.zero_head < 0:
            self.zero_head = self.slowpath.alloc_page(
                self.gfp(vma) & ~GFP_DIRECT_RECLAIM, HPAGE_ORDER
            )
            if self.zero_head < 0:
                self.vmstat.count(THP_FAULT_FALLBACK, 1)
                return VM_FAULT_FALLBACK
            self.vmstat.count(THP_ZERO_PAGE_ALLOC, 1)
        table: cython.int = self.table_alloc.frame(vma.mm.memcg, 0)
        if table < 0:
            return VM_FAULT_OOM
        frame: cython.longlong = self.zero_head
        entry: cython.longlong = (frame << PTE_PFN_SHIFT) | vma.prot | PTE_PSE | PTE_SPECIAL
        self.tables.install_huge(vma.mm, vpn, entry, table)
        return 0

    @cython.cfunc
    def huge_fault(self, vma: VMA, vpn: cython.longlong, kind: cython.int) -> cython.int:
        """A fault on a present 2 MiB entry: 0 when done, FALLBACK when it has been split.

        do_huge_pmd_wp_page(), v6.1: the sole owner writes on; a shared page is split, its small
        page copied.
        """
        at: cython.longlong = self.tables.lookup_pmd(vma.mm.pgd, vpn)
        entry: cython.longlong = self.tables.pte[at]
        if kind != WRITE or entry & PTE_RW:
            self.tables.pte[at] = entry | PTE_ACCESSED
            return 0
        head: cython.int = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
        if not entry & PTE_SPECIAL and self.alone(head):
            self.tables.pte[at] = entry | PTE_RW | PTE_DIRTY | PTE_ACCESSED
            return 0
        self.split(vma.mm, vpn)
        return VM_FAULT_FALLBACK

    @cython.cfunc
    def alone(self, head: cython.int) -> cython.int:
        """1 when no other process can see the huge page."""
        if self.mem.flags[head] & PG_ANON_EXCLUSIVE:
            return 1
        if self.mem.flags[head] & PG_SWAPCACHE or self.mem.refcount[head] != 1:
            return 0
        self.mem.flags[head] |= PG_ANON_EXCLUSIVE
        return 1

    @cython.ccall
    def split(self, mm: Mm, vpn: cython.longlong) -> cython.int:
        """Split the 2 MiB entry over `vpn` into small ones; the page itself stays one."""
        at: cython.longlong = self.tables.lookup_pmd(mm.pgd, vpn)
        entry: cython.longlong = self.tables.pte[at]
        if not entry & PTE_SPECIAL:
            return self.rmap.split_pmd(mm, vpn)
        base: cython.longlong = self.tables.split_huge(at)
        bits: cython.longlong = entry & ~(PTE_PFN_MASK << PTE_PFN_SHIFT) & ~PTE_PSE
        zero: cython.longlong = self.anon.zero_pfn
        i: cython.int
        for i in range(HPAGE_PAGES):
            self.tables.pte[base * HPAGE_PAGES + i] = (zero << PTE_PFN_SHIFT) | bits
        return 0
