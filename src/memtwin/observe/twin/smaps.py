"""Owns the figures of smaps and smaps_rollup: a walk over page tables, as the kernel does it.

Imports address_space, page, swap's count by a callable, and the records. Knows nothing of tasks.
The walk is a NumPy sum per page table, so that a process of a gigabyte takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from memtwin.address_space.mm import Mm
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.vm_flags import VM_LOCKED, VM_SHARED, VM_WRITE, VMA_SHMEM
from memtwin.address_space.vma import VMA
from memtwin.hardware.pte import (
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
from memtwin.observe.layout import Layout
from memtwin.observe.processes.files import SmapsRollup, rollup_of
from memtwin.page.flags import (
    PG_ANON,
    PG_DIRTY,
    PG_HEAD,
    PG_REFERENCED,
    PG_SWAPBACKED,
    PG_TAIL,
)
from memtwin.page.mem_map import MemMap
from memtwin.units import PAGE_SHIFT, PAGE_SIZE

PSS_SHIFT = 12  # fs/proc/task_mmu.c PSS_SHIFT, v6.12
_HUGE_PAGES = 512
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass
class _Sums:
    """struct mem_size_stats, fs/proc/task_mmu.c: bytes; pss fields are bytes << PSS_SHIFT."""

    rss: int = 0
    shared_clean: int = 0
    shared_dirty: int = 0
    private_clean: int = 0
    private_dirty: int = 0
    referenced: int = 0
    anonymous: int = 0
    lazyfree: int = 0
    anon_huge: int = 0
    swap: int = 0
    pss: int = 0
    pss_dirty: int = 0
    pss_anon: int = 0
    pss_file: int = 0
    pss_shmem: int = 0
    pss_locked: int = 0
    swap_pss: int = 0


@dataclass
class SmapsWalk:
    """What a walk needs; `shmem_swapped` gives the pages of a shmem area that are in swap."""

    tables: PageTables
    mem: MemMap
    swap_count: Callable[[int], int]
    shmem_swapped: Callable[[VMA], int] = lambda vma: 0

    def rollup(self, mm: Mm, areas: list[VMA], layout: Layout) -> SmapsRollup | None:
        """The record of a process with `areas` (in order); None when it has no areas."""
        if not areas:
            return None
        sums = _Sums()
        for vma in areas:
            self._walk(mm, vma, sums)
        figures = _figures(sums)
        start, end = areas[0].start_vpn << PAGE_SHIFT, areas[-1].end_vpn << PAGE_SHIFT
        shown = {name: figures.get(name, 0) >> 10 for name in layout.smaps_rollup}
        record = rollup_of(start, end, shown)
        record.name_column = layout.rollup_name_column
        return record

    def figures(self, mm: Mm, vma: VMA) -> dict[str, int]:
        """name on the line -> bytes of one area: fs/proc/task_mmu.c smap_gather_stats(), v6.12."""
        sums = _Sums()
        self._walk(mm, vma, sums)
        return _figures(sums)

    def _walk(self, mm: Mm, vma: VMA, sums: _Sums) -> None:
        writable_private = (vma.vm_flags & VM_WRITE) and not (vma.vm_flags & VM_SHARED)
        if vma.kind == VMA_SHMEM and not writable_private:
            # fs/proc/task_mmu.c smap_gather_stats(), v6.12
            sums.swap += self.shmem_swapped(vma) * PAGE_SIZE
        pte = np.asarray(self.tables.pte)
        vpn = vma.start_vpn
        while vpn < vma.end_vpn:
            next_vpn = min((vpn // PTRS_PER_TABLE + 1) * PTRS_PER_TABLE, vma.end_vpn)
            at = self.tables.find(mm, vpn)
            if at == HUGE_ENTRY:
                self._huge(self.tables.entry(mm, vpn), sums, vma.vm_flags)
            elif at >= 0:
                self._entries(pte[at : at + next_vpn - vpn], sums, vma.vm_flags)
            vpn = next_vpn

    def _entries(self, entries: Ints, sums: _Sums, vm_flags: int) -> None:
        present = entries[(entries & PTE_PRESENT != 0) & (entries & PTE_SPECIAL == 0)]
        if len(present):
            self._small(present, sums, vm_flags)
        swapped = entries[(entries & PTE_PRESENT == 0) & (entries != 0)]
        for entry in ((swapped >> PTE_SWAP_SHIFT) & PTE_SWAP_MASK).tolist():
            sums.swap += PAGE_SIZE
            sums.swap_pss += (PAGE_SIZE << PSS_SHIFT) // max(self.swap_count(entry), 1)

    def _small(self, entries: Ints, sums: _Sums, vm_flags: int) -> None:
        mem = self.mem
        pfns = (entries >> PTE_PFN_SHIFT) & PTE_PFN_MASK
        own = np.asarray(mem.flags)[pfns]
        compound = own & (PG_HEAD | PG_TAIL) != 0
        heads = np.where(own & PG_TAIL != 0, pfns & ~np.int64(_HUGE_PAGES - 1), pfns)
        flags = np.asarray(mem.flags)[heads]
        counts = np.asarray(mem.mapcount)[pfns].astype(np.int64)
        second = np.minimum(heads + 1, mem.nr_frames - 1)
        counts += np.where(compound, np.asarray(mem.private)[second], 0)
        alone = np.asarray(mem.refcount)[heads] == 1
        counts = np.where(alone, 1, np.maximum(counts, 1))
        self._account(flags, entries, counts, sums, vm_flags)

    def _account(
        self, flags: Ints, entries: Ints, counts: Ints, sums: _Sums, vm_flags: int
    ) -> None:
        """fs/proc/task_mmu.c smaps_account() and smaps_page_accumulate(), v6.12, for many pages."""
        anon = flags & PG_ANON != 0
        swapbacked = flags & PG_SWAPBACKED != 0
        dirty = (entries & PTE_DIRTY != 0) | (flags & PG_DIRTY != 0)
        young = (entries & PTE_ACCESSED != 0) | (flags & PG_REFERENCED != 0)
        pss = (PAGE_SIZE << PSS_SHIFT) // counts
        private = counts < 2
        sums.rss += PAGE_SIZE * len(entries)
        sums.anonymous += PAGE_SIZE * int(anon.sum())
        sums.lazyfree += PAGE_SIZE * int((anon & ~swapbacked & ~dirty).sum())
        sums.referenced += PAGE_SIZE * int(young.sum())
        sums.private_dirty += PAGE_SIZE * int((private & dirty).sum())
        sums.private_clean += PAGE_SIZE * int((private & ~dirty).sum())
        sums.shared_dirty += PAGE_SIZE * int((~private & dirty).sum())
        sums.shared_clean += PAGE_SIZE * int((~private & ~dirty).sum())
        sums.pss += int(pss.sum())
        sums.pss_dirty += int(pss[dirty].sum())
        sums.pss_anon += int(pss[anon].sum())
        sums.pss_shmem += int(pss[~anon & swapbacked].sum())
        sums.pss_file += int(pss[~anon & ~swapbacked].sum())
        if vm_flags & VM_LOCKED:
            sums.pss_locked += int(pss.sum())

    def _huge(self, entry: int, sums: _Sums, vm_flags: int) -> None:
        """One 2 MiB entry: fs/proc/task_mmu.c smaps_pmd_entry(), v6.12."""
        head = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
        if entry & PTE_SPECIAL:
            return  # the huge zero page
        pfns = np.arange(head, head + _HUGE_PAGES, dtype=np.int64)
        flags = np.full(_HUGE_PAGES, self.mem.flags[head], dtype=np.int64)
        entries = np.full(_HUGE_PAGES, entry, dtype=np.int64)
        counts = np.asarray(self.mem.mapcount)[pfns].astype(np.int64) + self.mem.private[head + 1]
        if self.mem.refcount[head] == 1:
            counts[:] = 1
        if self.mem.flags[head] & PG_ANON:
            sums.anon_huge += PAGE_SIZE * _HUGE_PAGES
        self._account(flags, entries, np.maximum(counts, 1), sums, vm_flags)


def _figures(sums: _Sums) -> dict[str, int]:
    return {
        "Rss": sums.rss,
        "Pss": sums.pss >> PSS_SHIFT,
        "Pss_Dirty": sums.pss_dirty >> PSS_SHIFT,
        "Pss_Anon": sums.pss_anon >> PSS_SHIFT,
        "Pss_File": sums.pss_file >> PSS_SHIFT,
        "Pss_Shmem": sums.pss_shmem >> PSS_SHIFT,
        "Shared_Clean": sums.shared_clean,
        "Shared_Dirty": sums.shared_dirty,
        "Private_Clean": sums.private_clean,
        "Private_Dirty": sums.private_dirty,
        "Referenced": sums.referenced,
        "Anonymous": sums.anonymous,
        "LazyFree": sums.lazyfree,
        "AnonHugePages": sums.anon_huge,
        "Swap": sums.swap,
        "SwapPss": sums.swap_pss >> PSS_SHIFT,
        "Locked": sums.pss_locked >> PSS_SHIFT,
    }
