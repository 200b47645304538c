"""Owns faults on entries that name a swap slot: bringing the page back and mapping it.

Imports swap, reclaim (swapin), rmap, cow. Has never heard of how slots are chosen or what is read
ahead. mm/memory.c do_swap_page(), v6.1 and v6.12.
"""

from __future__ import annotations

import cython

from memtwin.address_space.mm import Mm
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vm_flags import MM_ANONPAGES, MM_SWAPENTS, VM_LOCKED, VM_WRITE
from memtwin.address_space.vma import VMA
from memtwin.fault.cow import Cow
from memtwin.fault.verdicts import (
    READ,
    VM_FAULT_MAJOR,
    VM_FAULT_OOM,
    VM_FAULT_RETRY,
    VM_FAULT_SIGBUS,
    WRITE,
)
from memtwin.hardware.clock import STALL_SWAP_IN, Clock
from memtwin.hardware.cost import CostTable
from memtwin.hardware.pte import (
    PTE_DIRTY,
    PTE_PFN_SHIFT,
    PTE_RW,
    PTE_SWAP_EXCLUSIVE,
    PTE_SWAP_MASK,
    PTE_SWAP_SHIFT,
)
from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import (
    PG_LOCKED,
    PG_LRU,
    PG_MLOCKED,
    PG_SWAPCACHE,
    PG_UPTODATE,
    PG_WRITEBACK,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import PGMAJFAULT
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.swapin_readahead import SwapIn
from memtwin.swap.swap import Swap


@cython.final
@cython.cclass
class SwapFault:
    """Brings swapped pages back."""

    def __init__(
        self, cow: Cow, swap: Swap, swap_in: SwapIn, folio_io: FolioIo, memcg: MemcgTable
    ) -> None:
        self.mem: MemMap = cow.mem
        self.tables: PageTables = cow.tables
        self.rmap: Rmap = cow.rmap
        self.lru: Lru = cow.lru
        self.clock: Clock = cow.clock
        self.cost: CostTable = cow.cost
        self.vmstat: VmStat = cow.vmstat
        self.cow = cow
        self.swap = swap
        self.swap_in = swap_in
        self.folio_io = folio_io
        self.memcg = memcg

    @cython.cfunc
    def do_swap_page(
        self,
        vma: VMA,
        vpn: cython.longlong,
        at: cython.longlong,
        kind: cython.int,
        tried: cython.int,
    ) -> cython.int:
        """Map the page that the swap entry at `at` names; VM_FAULT_* bits."""
        old: cython.longlong = self.tables.pte[at]
        entry: cython.longlong = (old >> PTE_SWAP_SHIFT) & PTE_SWAP_MASK
        verdict: cython.int = 0
        pfn: cython.int = self.swap_in.lookup(entry, vma, vpn)
        if pfn >= 0:
            self.mem.refcount[pfn] += 1
        else:
            pfn = self.swap_in.swapin(entry, vma, vpn)
            if pfn < 0:
                return VM_FAULT_OOM if self.tables.pte[at] == old else 0
            verdict = VM_FAULT_MAJOR
            self.vmstat.count(PGMAJFAULT, 1)
            self.memcg.count_event(vma.mm.memcg, PGMAJFAULT, 1)
            self.clock.spend(self.cost.major_fault_ns)
        if self.mem.flags[pfn] & PG_LOCKED:
            self.folio_io.wait_on_folio(pfn, STALL_SWAP_IN)
            if tried == 0:
                # folio_lock_or_retry(): the mmap lock was given up for the wait
                self.lru.folio_put(pfn)
                return verdict | VM_FAULT_RETRY
        cached: cython.longlong = self.mem.flags[pfn] & PG_SWAPCACHE
        if cached and kind == WRITE and not self.mem.flags[pfn] & PG_LRU:
            self.lru.lru_add_drain()
        if self.tables.pte[at] != old or (cached and self.mem.private[pfn] != entry):
            self.lru.folio_put(pfn)
            return verdict
        if not self.mem.flags[pfn] & PG_UPTODATE:
            self.lru.folio_put(pfn)
            return VM_FAULT_SIGBUS
        return self.map_page(vma, vpn, at, pfn, entry, kind) | verdict

    @cython.cfunc
    def map_page(
        self,
        vma: VMA,
        vpn: cython.longlong,
        at: cython.longlong,
        pfn: cython.int,
        entry: cython.longlong,
        kind: cython.int,
    ) -> cython.int:
        """The page is here and uptodate: give up the slot, map it, copy it if it is shared."""
        mm: Mm = vma.mm
        exclusive: cython.int = self.is_exclusive(pfn, entry, self.tables.pte[at])
        self.swap.swap_free(entry)
        if self.should_try_to_free_swap(vma, pfn, kind):
            self.swap.folio_free_swap(pfn)
        mm.inc_rss(MM_ANONPAGES)
        mm.dec_rss(MM_SWAPENTS)
        bits: cython.longlong = vma.prot
        alone: cython.int = 1 if exclusive or self.mem.refcount[pfn] == 1 else 0
        if alone and vma.vm_flags & VM_WRITE and (kind == WRITE or self.lru.tunables.kernel >= 612):
            # mm/memory.c do_swap_page(), v6.12: a read gets the page writable too; v6.1 not
            bits |= PTE_RW
        if alone and kind == WRITE:
            bits |= PTE_DIRTY
            kind = READ
        self.rmap.add_anon(pfn, vma.anon_vma, vpn - vma.start_vpn + vma.pgoff, alone)
        frame: cython.longlong = pfn
        self.tables.pte[at] = (frame << PTE_PFN_SHIFT) | bits
        if vma.vm_flags & VM_LOCKED:
            self.lru.mlock_folio(pfn)
        if kind == WRITE:
            return self.cow.do_wp_page(vma, vpn, at)
        return 0

    @cython.cfunc
    def is_exclusive(
        self, pfn: cython.int, entry: cython.longlong, old: cython.longlong
    ) -> cython.int:
        """Whether nobody else can hold the page.

        It skipped the swap cache, or its entry says so.
        """
        if not self.mem.flags[pfn] & PG_SWAPCACHE:
            return 1
        if not old & PTE_SWAP_EXCLUSIVE:
            return 0
        # zram needs pages to stay as they are while it reads them (SWP_STABLE_WRITES)
        if self.mem.flags[pfn] & PG_WRITEBACK and self.swap.is_synchronous(entry):
            return 0
        return 1

    @cython.cfunc
    def should_try_to_free_swap(self, vma: VMA, pfn: cython.int, kind: cython.int) -> cython.int:
        """mm/memory.c should_try_to_free_swap(), v6.1."""
        if not self.mem.flags[pfn] & PG_SWAPCACHE:
            return 0
        if vma.vm_flags & VM_LOCKED or self.mem.flags[pfn] & PG_MLOCKED:
            return 1
        # mm/memcontrol.c mem_cgroup_swap_full(), v6.1
        if self.swap.vm_swap_full() or self.swap.charge.swap_full(self.mem.memcg[pfn]):
            return 1
        return 1 if kind == WRITE and self.mem.refcount[pfn] == 2 else 0
