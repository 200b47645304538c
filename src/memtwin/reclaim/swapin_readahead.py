"""Owns bringing a page back from swap, and which neighbours are read with it.

Imports address_space, page, swap and the reclaim room. Knows nothing of mapping pages: fault/ does
that. Rules: mm/swap_state.c and the reading half of mm/memory.c do_swap_page(), v6.1 and v6.12.
"""

from __future__ import annotations

import cython

from memtwin.address_space.page_table import PageTables
from memtwin.address_space.vm_flags import VM_RAND_READ, VM_SEQ_READ
from memtwin.address_space.vma import VMA
from memtwin.hardware.clock import STALL_SWAP_IN
from memtwin.hardware.pte import (
    PTE_PRESENT,
    PTE_SWAP_MASK,
    PTE_SWAP_SHIFT,
    TABLE_SHIFT,
)
from memtwin.page.flags import PG_LOCKED, PG_READAHEAD, PG_SWAPBACKED
from memtwin.page.gfp import GFP_HIGHUSER_MOVABLE, GFP_KERNEL
from memtwin.page.mem_map import MemMap
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import SWAP_RA, SWAP_RA_HIT
from memtwin.reclaim.constants import SWAP_RA_HITS_MAX, SWAP_RA_ORDER_CEILING
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.slowpath import Slowpath
from memtwin.reclaim.swap_io import SwapIo
from memtwin.reclaim.workingset import Workingset
from memtwin.swap.constants import SWAP_TYPE_SHIFT
from memtwin.swap.swap import Swap
from memtwin.swap.swap_device import SwapDevice
from memtwin.units import NIL


@cython.final
@cython.cclass
class SwapRa:
    """Swap readahead state of one area (vma->swap_readahead_info): where, how much, how good."""

    def __init__(self) -> None:
        self.vpn = 0
        self.window = 0
        self.hits = 4  # mm/swap_state.c GET_SWAP_RA_VAL(), v6.1: a fresh area counts as four hits


@cython.final
@cython.cclass
class SwapIn:
    """Looks pages up in the swap cache and reads them when they are not there."""

    def __init__(
        self, swap: Swap, swap_io: SwapIo, folio_io: FolioIo, lru: Lru, workingset: Workingset,
        slowpath: Slowpath, tables: PageTables,
    ) -> None:  # fmt: skip
        self.swap = swap
        self.swap_io = swap_io
        self.folio_io = folio_io
        self.lru = lru
        self.workingset = workingset
        self.slowpath = slowpath
        self.tables = tables
        self.mem: MemMap = lru.mem
        self.vmstat: VmStat = lru.vmstat
        self.tunables: Tunables = lru.tunables
        self.hits = 4  # swapin_readahead_hits, of cluster readahead: ATOMIC_INIT(4)
        self.prev_offset = 0
        self.last_window = 0
        self.made = 0  # 1 when read_into_cache read a page, 0 when it found one

    @cython.cfunc
    @cython.exceptval(check=False)
    def by_area(self) -> cython.int:
        """1 when neighbours by address are read (swap_use_vma_readahead): no spinning disk swaps.
        """
        return 1 if self.swap.nr_rotational == 0 else 0

    @cython.cfunc
    def state_of(self, vma: VMA) -> SwapRa:
        """An area's readahead state, made at its first use."""
        state: SwapRa = vma.swap_ra  # type: ignore[assignment]
        if state is None:
            state = SwapRa()
            vma.swap_ra = state
        return state

    @cython.ccall
    def lookup(self, entry: cython.longlong, vma: VMA | None, vpn: cython.longlong) -> cython.int:
        """The frame in the swap cache, or -1; a page read ahead counts as a hit of readahead."""
        # mm/swap_state.c swap_cache_get_folio(), v6.1
        pfn: cython.int = self.swap.lookup(entry)
        if pfn < 0:
            return NIL
        was_ahead: cython.int = 1 if self.mem.flags[pfn] & PG_READAHEAD else 0
        self.mem.flags[pfn] &= ~PG_READAHEAD
        if vma is not None and self.by_area():
            state: SwapRa = self.state_of(vma)
            state.vpn = vpn
            if was_ahead and state.hits < SWAP_RA_HITS_MAX:
                state.hits += 1
        elif was_ahead:
            self.hits += 1
        if was_ahead:
            self.vmstat.count(SWAP_RA_HIT, 1)
        return pfn

    @cython.ccall
    def swapin(self, entry: cython.longlong, vma: VMA, vpn: cython.longlong) -> cython.int:
        """Read a page that is not cached: its frame with a reference for the caller, or a verdict
        < 0.

        From a disk it is in the swap cache and locked until the read ends. From zram, with one
        user, it is here and skipped the swap cache.
        """
        memcg: cython.int = vma.mm.memcg
        pfn: cython.int
        # mm/memory.c lru_gen_enter_fault(), v6.12: what a fault brings in is young, unless the area
        # is read at random or once only
        if self.tunables.lru_gen_enabled and not vma.vm_flags & (VM_SEQ_READ | VM_RAND_READ):
            self.lru.lruvecs.in_lru_fault = 1
        if self.swap.is_synchronous(entry) and self.swap.swap_count(entry) == 1:
            pfn = self.read_directly(entry, memcg)
        elif self.by_area():
            pfn = self.read_area(entry, vma, vpn)
        else:
            pfn = self.read_cluster(entry, memcg)
        self.lru.lruvecs.in_lru_fault = 0
        return pfn

    @cython.ccall
    def swapin_shmem(self, entry: cython.longlong, memcg: cython.int) -> cython.int:
        """Read a shared memory page into the swap cache; like `swapin`, by neighbouring slots."""
        return self.read_cluster(entry, memcg)

    @cython.cfunc
    def new_page(self, entry: cython.longlong, memcg: cython.int) -> cython.int:
        """A locked frame, charged to the slot's group or else to `memcg`; or a verdict."""
        pfn: cython.int = self.slowpath.alloc_page(GFP_HIGHUSER_MOVABLE, 0)
        if pfn < 0:
            return pfn
        owner: cython.int = self.swap.slot_owner(entry)
        if owner > 0:
            memcg = owner
        self.mem.flags[pfn] |= PG_LOCKED | PG_SWAPBACKED
        verdict: cython.int = self.slowpath.charge_page(pfn, memcg, GFP_KERNEL)
        if verdict != 0:
            self.mem.flags[pfn] &= ~PG_LOCKED
            self.lru.folio_put(pfn)
            return verdict
        return pfn

    @cython.cfunc
    def read_directly(self, entry: cython.longlong, memcg: cython.int) -> cython.int:
        """do_swap_page for SWP_SYNCHRONOUS_IO with one user: no swap cache, done on return."""
        pfn: cython.int = self.new_page(entry, memcg)
        if pfn < 0:
            return pfn
        self.swap.swapin_uncharge(entry)
        shadow: cython.longlong = self.swap.shadow_of(entry)
        if shadow > 0:
            self.workingset.workingset_refault(pfn, shadow)
        self.lru.folio_add_lru(pfn)
        self.swap_io.swap_readpage(pfn, entry)
        return pfn

    @cython.cfunc
    def read_into_cache(self, entry: cython.longlong, memcg: cython.int) -> cython.int:
        """The frame that caches a slot, read now if there was none (`made`); a verdict or NIL
        without.

        The caller gets a reference. __read_swap_cache_async(), v6.1.
        """
        self.made = 0
        pfn: cython.int = self.swap.lookup(entry)
        if pfn >= 0:
            self.mem.refcount[pfn] += 1
            return pfn
        if self.swap.swap_count(entry) == 0:
            return NIL
        pfn = self.new_page(entry, memcg)
        if pfn < 0:
            return pfn
        shadow: cython.longlong = self.swap.add_to_swap_cache(pfn, entry)
        self.swap.swapin_uncharge(entry)
        if shadow > 0:
            self.workingset.workingset_refault(pfn, shadow)
        self.lru.folio_add_lru(pfn)
        self.made = 1
        self.swap_io.swap_readpage(pfn, entry)
        return pfn

    @cython.cfunc
    def read_neighbour(
        self, entry: cython.longlong, memcg: cython.int, wanted: cython.longlong
    ) -> cython.void:
        """Read one page of a window; mark it unless it is the one that is wanted."""
        pfn: cython.int = self.read_into_cache(entry, memcg)
        if pfn < 0:
            return
        if self.made and entry != wanted:
            self.mem.flags[pfn] |= PG_READAHEAD
            self.vmstat.count(SWAP_RA, 1)
        self.lru.folio_put(pfn)

    @cython.cfunc
    @cython.exceptval(check=False)
    def window_size(
        self, prev: cython.longlong, at: cython.longlong, hits: cython.int, most: cython.int,
        last: cython.int,
    ) -> cython.int:  # fmt: skip
        """Pages to read, by how well the last window did (__swapin_nr_pages, v6.1)."""
        pages: cython.int = hits + 2
        if pages == 2:
            if at != prev + 1 and at != prev - 1:
                pages = 1
        else:
            rounded: cython.int = 4
            while rounded < pages:
                rounded <<= 1
            pages = rounded
        if pages > most:
            pages = most
        return pages if pages > last // 2 else last // 2

    @cython.cfunc
    def read_cluster(self, entry: cython.longlong, memcg: cython.int) -> cython.int:
        """Neighbouring slots, an aligned window of them (swap_cluster_readahead, v6.1)."""
        offset: cython.longlong = self.swap.offset_of(entry)
        most: cython.int = 1 << cython.cast(cython.int, self.tunables.page_cluster)
        pages: cython.int = 1
        if most > 1:
            hits: cython.int = self.hits
            self.hits = 0
            pages = self.window_size(self.prev_offset, offset, hits, most, self.last_window)
            if hits == 0:
                self.prev_offset = offset
            self.last_window = pages
        if pages > 1:
            device: SwapDevice = self.swap.devices[self.swap.type_of(entry)]
            mask: cython.longlong = pages - 1
            start: cython.longlong = offset & ~mask
            end: cython.longlong = offset | mask
            if start == 0:
                start = 1
            if end >= device.max:
                end = device.max - 1
            kind: cython.longlong = device.type
            at: cython.longlong
            for at in range(start, end + 1):
                self.read_neighbour((kind << SWAP_TYPE_SHIFT) | at, memcg, entry)
            self.folio_io.unplug()
            self.lru.lru_add_drain()
            return self.read_into_cache(entry, memcg)
        return self.read_alone(entry, memcg)

    @cython.cfunc
    def read_alone(self, entry: cython.longlong, memcg: cython.int) -> cython.int:
        """Read a window of one page; v6.1 waits for it, so that the fault need not start again."""
        # mm/swap_state.c read_swap_cache_async() with do_poll, mm/page_io.c swap_readpage(), v6.1
        pfn: cython.int = self.read_into_cache(entry, memcg)
        if pfn >= 0 and self.made and self.tunables.kernel < 612:
            self.folio_io.wait_on_folio(pfn, STALL_SWAP_IN)
        return pfn

    @cython.cfunc
    def read_area(self, entry: cython.longlong, vma: VMA, vpn: cython.longlong) -> cython.int:
        """Neighbouring addresses of the area whose entries are swapped (swap_vma_readahead, v6.1).
        """
        memcg: cython.int = vma.mm.memcg
        shift: cython.int = cython.cast(cython.int, self.tunables.page_cluster)
        if shift > SWAP_RA_ORDER_CEILING:
            shift = SWAP_RA_ORDER_CEILING
        if shift == 0:
            return self.read_alone(entry, memcg)
        state: SwapRa = self.state_of(vma)
        prev: cython.longlong = state.vpn
        pages: cython.int = self.window_size(prev, vpn, state.hits, 1 << shift, state.window)
        state.vpn = vpn
        state.window = pages
        state.hits = 0
        if pages > 1:
            first: cython.longlong = vpn - (pages - 1) // 2
            if vpn == prev + 1:
                first = vpn
            elif prev == vpn + 1:
                first = vpn - pages + 1
            self.read_window(first, first + pages, entry, vma, vpn)
            self.folio_io.unplug()
            self.lru.lru_add_drain()
            return self.read_into_cache(entry, memcg)
        return self.read_alone(entry, memcg)

    @cython.cfunc
    def read_window(
        self, first: cython.longlong, end: cython.longlong, entry: cython.longlong, vma: VMA,
        vpn: cython.longlong,
    ) -> cython.void:  # fmt: skip
        """Read what is swapped among the entries first .. end - 1, inside the area and one table.
        """
        table: cython.longlong = (vpn >> TABLE_SHIFT) << TABLE_SHIFT
        if first < table:
            first = table
        if first < vma.start_vpn:
            first = vma.start_vpn
        if end > table + (1 << TABLE_SHIFT):
            end = table + (1 << TABLE_SHIFT)
        if end > vma.end_vpn:
            end = vma.end_vpn
        at: cython.longlong = self.tables.lookup(vma.mm.pgd, vpn)
        step: cython.longlong
        for step in range(first, end):
            value: cython.longlong = self.tables.pte[at - vpn + step]
            if value == 0 or value & PTE_PRESENT:
                continue
            self.read_neighbour((value >> PTE_SWAP_SHIFT) & PTE_SWAP_MASK, vma.mm.memcg, entry)
