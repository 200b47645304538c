"""Owns faults on empty entries of private anonymous areas: the shared zero page, fresh frames.

Imports rmap, tables, slowpath, lru, clock. Has never heard of files, swap or huge pages.
"""

from __future__ import annotations

import cython

from memtwin.address_space.anon_vma import AnonVmas
from memtwin.address_space.mm import Mm
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vm_flags import MM_ANONPAGES, VM_LOCKED, VM_WRITE
from memtwin.address_space.vma import VMA
from memtwin.address_space.vma_tree import VmaTree
from memtwin.fault.verdicts import VM_FAULT_OOM
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.hardware.pte import PTE_DIRTY, PTE_PFN_SHIFT, PTE_RW, PTE_SPECIAL
from memtwin.page.flags import PG_ACTIVE, PG_UPTODATE
from memtwin.page.mem_map import MemMap
from memtwin.page.tunables import Tunables
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.slowpath import Slowpath


@cython.final
@cython.cclass
class AnonFault:
    """Fills empty entries of anonymous areas."""

    def __init__(
        self,
        mem: MemMap,
        tables: PageTables,
        rmap: Rmap,
        slowpath: Slowpath,
        lru: Lru,
        clock: Clock,
        cost: CostTable,
        tunables: Tunables,
    ) -> None:
        self.mem = mem
        self.tables = tables
        self.rmap = rmap
        self.anon_vmas: AnonVmas = rmap.anon_vmas
        self.slowpath = slowpath
        self.lru = lru
        self.clock = clock
        self.cost = cost
        self.tunables = tunables
        # MODEL: its number is never looked up, PTE_SPECIAL keeps it out of every count
        self.zero_pfn = 0

    @cython.cfunc
    def read_zero(self, vma: VMA, at: cython.longlong) -> cython.int:
        """Map the zero page read-only; it counts nowhere.

        mm/memory.c do_anonymous_page(), v6.1.
        """
        zero: cython.longlong = self.zero_pfn
        self.tables.pte[at] = (zero << PTE_PFN_SHIFT) | vma.prot | PTE_SPECIAL
        return 0

    @cython.cfunc
    def write_new(self, vma: VMA, vpn: cython.longlong, at: cython.longlong) -> cython.int:
        """Map a fresh, charged, zeroed frame; 0 or VM_FAULT_OOM."""
        if vma.anon_vma == 0:
            self.prepare(vma)
        pfn: cython.int = self.slowpath.alloc_anon(vma.mm.memcg)
        if pfn < 0:
            return VM_FAULT_OOM
        self.clock.spend(self.cost.clear_page_ns)
        self.map_new(pfn, vma, vpn, at)
        vma.mm.inc_rss(MM_ANONPAGES)
        return 0

    @cython.cfunc
    def map_new(
        self, pfn: cython.int, vma: VMA, vpn: cython.longlong, at: cython.longlong
    ) -> cython.int:
        """Enter a frame that is this area's alone: reverse map, LRU, page table."""
        self.rmap.add_new_anon(pfn, vma.anon_vma, vpn - vma.start_vpn + vma.pgoff)
        self.mem.flags[pfn] |= PG_UPTODATE
        self.add_to_lru(pfn, vma)
        bits: cython.longlong = vma.prot
        if vma.vm_flags & VM_WRITE:
            bits |= PTE_RW | PTE_DIRTY
        frame: cython.longlong = pfn
        self.tables.pte[at] = (frame << PTE_PFN_SHIFT) | bits
        return 0

    @cython.ccall
    def place(self, pfn: cython.int, vma: VMA, vpn: cython.longlong) -> cython.int:
        """Map a frame that was there before the twin began (a process image).

        Its table must exist.
        """
        at: cython.longlong = self.tables.lookup(vma.mm.pgd, vpn)
        if vma.anon_vma == 0:
            self.prepare(vma)
        self.map_new(pfn, vma, vpn, at)
        self.tables.pte[at] |= PTE_DIRTY
        vma.mm.add_rss(MM_ANONPAGES, 1)
        return 0

    @cython.cfunc
    def add_to_lru(self, pfn: cython.int, vma: VMA) -> cython.int:
        """folio_add_lru_vma(): the page waits for its list, or becomes unevictable."""
        if vma.vm_flags & VM_LOCKED:
            return self.lru.folio_add_lru_locked_vma(pfn)
        if self.tunables.lru_gen_enabled:
            # mm/swap.c folio_add_lru(), v6.12: a page a fault brings in goes to the youngest
            # generation
            self.mem.flags[pfn] |= PG_ACTIVE
        return self.lru.folio_add_lru(pfn)

    @cython.cfunc
    def prepare(self, vma: VMA) -> cython.int:
        """Give the area an anon_vma (anon_vma_prepare)."""
        mm: Mm = vma.mm
        tree: VmaTree = mm.tree  # type: ignore[assignment]
        here: cython.int = tree.index_above(vma.start_vpn) - 1
        return self.anon_vmas.prepare(vma, tree.at(here - 1), tree.at(here + 1))
