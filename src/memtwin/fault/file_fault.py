"""Owns faults on empty entries of areas of a file, shmem or the kernel image; shared writes.

Imports file_io (filemap, dirty), rmap, lru, slowpath. Has never heard of anonymous memory beyond
the private copy that a first write makes. mm/memory.c do_fault(), v6.1 and v6.12.
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
    VM_RAND_READ,
    VM_SEQ_READ,
    VM_SHARED,
    VM_WRITE,
    VMA_FILE,
    VMA_PFNMAP,
    VMA_SHMEM,
    VMA_SPECIAL,
)
from memtwin.address_space.vma import VMA
from memtwin.fault.anonymous import AnonFault
from memtwin.fault.verdicts import (
    VM_FAULT_ERROR,
    VM_FAULT_MAJOR,
    VM_FAULT_OOM,
    VM_FAULT_RETRY,
    WRITE,
)
from memtwin.file_io.buffered_write import BufferedWrite
from memtwin.file_io.filemap import Filemap
from memtwin.file_io.open_file import OpenFile
from memtwin.file_io.shmem import Shmem
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.hardware.pte import (
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_PFN_SHIFT,
    PTE_RW,
    PTE_SPECIAL,
    PTRS_PER_TABLE,
)
from memtwin.page.flags import PG_DIRTY, PG_SWAPBACKED
from memtwin.page.mem_map import MemMap
from memtwin.reclaim.lru import Lru

ADVICE_NORMAL, ADVICE_RANDOM, ADVICE_SEQUENTIAL = 0, 1, 2
FAULT_AROUND_PAGES = 16  # mm/memory.c fault_around_bytes 65536, v6.1


@cython.final
@cython.cclass
class FileFault:
    """Fills empty entries from the page cache, reading what is not there."""

    def __init__(
        self, anon: AnonFault, filemap: Filemap, writes: BufferedWrite, shmem: Shmem
    ) -> None:
        self.mem: MemMap = anon.mem
        self.tables: PageTables = anon.tables
        self.rmap: Rmap = anon.rmap
        self.lru: Lru = anon.lru
        self.clock: Clock = anon.clock
        self.cost: CostTable = anon.cost
        self.anon = anon
        self.filemap = filemap
        self.shmem = shmem
        self.writes = writes
        self.pfn = -1  # the page that the last get_page brought

    @cython.cfunc
    def do_fault(
        self,
        vma: VMA,
        vpn: cython.longlong,
        at: cython.longlong,
        kind: cython.int,
        tried: cython.int,
    ) -> cython.int:
        """Fill the empty entry at `at`; VM_FAULT_* bits."""
        if vma.kind == VMA_PFNMAP:
            # arch/x86/entry/vdso/vma.c vvar_fault(), v6.1: a frame without a page behind it
            frame: cython.longlong = vma.special_pfn
            self.tables.pte[at] = (frame << PTE_PFN_SHIFT) | vma.prot | PTE_SPECIAL
            return 0
        if kind != WRITE:
            if vma.kind != VMA_SPECIAL and self.fault_around(vma, vpn, at):
                return 0
            return self.read_fault(vma, vpn, at, tried)
        if vma.vm_flags & VM_SHARED:
            return self.shared_fault(vma, vpn, at, tried)
        return self.cow_fault(vma, vpn, at, tried)

    @cython.cfunc
    def fault_around(self, vma: VMA, vpn: cython.longlong, at: cython.longlong) -> cython.int:
        """Map the cached pages of the window around `vpn`; 1 when `vpn` itself was among them.

        mm/memory.c do_fault_around(), v6.1: 16 pages, within the area and the page table.
        """
        first: cython.longlong = vpn & ~(FAULT_AROUND_PAGES - 1)
        if first < vma.start_vpn:
            first = vma.start_vpn
        beyond: cython.longlong = first + FAULT_AROUND_PAGES
        table_end: cython.longlong = (first & ~(PTRS_PER_TABLE - 1)) + PTRS_PER_TABLE
        if beyond > table_end:
            beyond = table_end
        if beyond > vma.end_vpn:
            beyond = vma.end_vpn
        file: OpenFile = vma.file  # type: ignore[assignment]
        shift: cython.longlong = vma.pgoff - vma.start_vpn
        found: cython.int = self.filemap.map_pages(file, first + shift, beyond + shift)
        i: cython.int
        here: cython.longlong
        mapped: cython.int = 0
        for i in range(found):
            here = at + (self.filemap.found_index[i] - shift - vpn)
            if self.tables.pte[here] == 0:
                self.clock.spend(self.cost.fault_around_page_ns)
                self.map_file(vma, here, self.filemap.found_pfn[i], 0)
                mapped |= 1 if here == at else 0
        return mapped

    @cython.cfunc
    def map_file(
        self, vma: VMA, at: cython.longlong, pfn: cython.int, bits: cython.longlong
    ) -> cython.int:
        """Enter a page that is not anonymous, with one more reference (do_set_pte())."""
        mm: Mm = vma.mm
        frame: cython.longlong = pfn
        self.mem.refcount[pfn] += 1
        self.rmap.add_file(pfn)
        mm.inc_rss(MM_SHMEMPAGES if self.mem.flags[pfn] & PG_SWAPBACKED else MM_FILEPAGES)
        self.tables.pte[at] = (frame << PTE_PFN_SHIFT) | vma.prot | bits
        if vma.vm_flags & VM_LOCKED:
            self.lru.mlock_folio(pfn)
        return 0

    @cython.ccall
    def place(
        self, pfn: cython.int, vma: VMA, vpn: cython.longlong, bits: cython.longlong
    ) -> cython.int:
        """Map a page that was there before the twin began; its table must exist."""
        return self.map_file(vma, self.tables.lookup(vma.mm.pgd, vpn), pfn, bits)

    @cython.cfunc
    def get_page(self, vma: VMA, vpn: cython.longlong, tried: cython.int) -> cython.int:
        """Bring the page in (vm_ops->fault): VM_FAULT_* bits, `self.pfn` when no error or retry."""
        verdict: cython.int
        index: cython.longlong = vpn - vma.start_vpn + vma.pgoff
        if vma.kind == VMA_SPECIAL:
            self.pfn = cython.cast(cython.int, vma.special_pfn + vpn - vma.start_vpn)
            return 0
        if vma.kind == VMA_SHMEM:
            verdict = self.shmem.fault(vma.mapping_id, index, vma.mm.memcg)
            self.pfn = self.shmem.fault_pfn
            return verdict
        advice: cython.int = ADVICE_NORMAL
        if vma.vm_flags & VM_RAND_READ:
            advice = ADVICE_RANDOM
        elif vma.vm_flags & VM_SEQ_READ:
            advice = ADVICE_SEQUENTIAL
        file: OpenFile = vma.file  # type: ignore[assignment]
        # mm/memory.c lru_gen_enter_fault(), v6.12: what it reads is young, unless read once or at
        # random
        if advice == ADVICE_NORMAL and self.anon.tunables.lru_gen_enabled:
            self.lru.lruvecs.in_lru_fault = 1
        verdict = self.filemap.fault(file, index, advice, tried, vma.mm.memcg)
        self.lru.lruvecs.in_lru_fault = 0
        self.pfn = self.filemap.fault_pfn
        if verdict & VM_FAULT_MAJOR:
            self.clock.spend(self.cost.major_fault_ns)
        return verdict

    @cython.cfunc
    def read_fault(
        self, vma: VMA, vpn: cython.longlong, at: cython.longlong, tried: cython.int
    ) -> cython.int:
        """do_read_fault() after fault-around found nothing."""
        verdict: cython.int = self.get_page(vma, vpn, tried)
        if not verdict & (VM_FAULT_ERROR | VM_FAULT_RETRY) and self.tables.pte[at] == 0:
            self.map_file(vma, at, self.pfn, 0)
        return verdict

    @cython.cfunc
    def cow_fault(
        self, vma: VMA, vpn: cython.longlong, at: cython.longlong, tried: cython.int
    ) -> cython.int:
        """do_cow_fault(): the first touch of a private page is a write, so it is copied at once."""
        if vma.anon_vma == 0:
            self.anon.prepare(vma)
        copy: cython.int = self.anon.slowpath.alloc_anon(vma.mm.memcg)
        if copy < 0:
            return VM_FAULT_OOM
        verdict: cython.int = self.get_page(vma, vpn, tried)
        if verdict & (VM_FAULT_ERROR | VM_FAULT_RETRY) or self.tables.pte[at] != 0:
            self.lru.folio_put(copy)
            return verdict
        self.clock.spend(self.cost.copy_page_ns)
        self.anon.map_new(copy, vma, vpn, at)
        vma.mm.inc_rss(MM_ANONPAGES)
        return verdict

    @cython.cfunc
    def shared_fault(
        self, vma: VMA, vpn: cython.longlong, at: cython.longlong, tried: cython.int
    ) -> cython.int:
        """do_shared_fault(): the page is mapped writable and dirtied."""
        verdict: cython.int = self.get_page(vma, vpn, tried)
        if verdict & (VM_FAULT_ERROR | VM_FAULT_RETRY) or self.tables.pte[at] != 0:
            return verdict
        pfn: cython.int = self.pfn
        self.mem.refcount[pfn] += 1
        verdict |= self.page_mkwrite(vma, pfn)
        if not verdict & VM_FAULT_ERROR and self.tables.pte[at] == 0:
            bits: cython.longlong = PTE_DIRTY | PTE_ACCESSED
            if vma.vm_flags & VM_WRITE:
                bits |= PTE_RW
            self.map_file(vma, at, pfn, bits)
        self.lru.folio_put(pfn)
        return verdict

    @cython.cfunc
    def page_mkwrite(self, vma: VMA, pfn: cython.int) -> cython.int:
        """The file system hears that a shared page is about to be written; it becomes dirty.

        ext4_page_mkwrite() waits for writeback only on devices that need stable pages; shmem has no
        such hook, its page is just marked (mm/memory.c fault_dirty_shared_page(), v6.1).
        """
        if vma.kind == VMA_FILE:
            file: OpenFile = vma.file  # type: ignore[assignment]
            self.writes.page_mkwrite(file, self.mem.index[pfn], pfn)
            return 0
        self.mem.flags[pfn] |= PG_DIRTY
        return 0
