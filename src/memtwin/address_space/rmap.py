"""Owns the way back from a frame to the entries that map it, and the counting of mappings.

Imports anon_vma, vma, mm, page_table, mem_map, zone, memcg.table. Has never heard of swap slots,
LRU lists or faults: they pass frames and swap entries in. mlock of a page whose area is locked is
the caller's duty.

`mapcount` of a row counts page table entries. A huge page mapped by 2 MiB entries counts those in
`private` of its first tail row; a small page of it is mapped as often as both say (mm/rmap.c,
v6.1; page_mapcount()).
"""

from __future__ import annotations

import cython

from memtwin.address_space.anon_vma import AnonVma, AnonVmas
from memtwin.address_space.mapped_files import MappedFiles
from memtwin.address_space.mm import Mm
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.vm_flags import (
    MM_ANONPAGES,
    MM_FILEPAGES,
    MM_SHMEMPAGES,
    MM_SWAPENTS,
    UNMAP_DONE,
    UNMAP_MLOCKED,
    UNMAP_REDIRTIED,
    VM_LOCKED,
    VM_SEQ_READ,
    VM_SHARED,
)
from memtwin.address_space.vma import VMA
from memtwin.columns import grown, zeros
from memtwin.errors import require
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
    PTE_SWAP_EXCLUSIVE,
    PTE_SWAP_SHIFT,
)
from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import (
    PG_ANON,
    PG_ANON_EXCLUSIVE,
    PG_DEFERRED_SPLIT,
    PG_DIRTY,
    PG_HEAD,
    PG_SWAPBACKED,
    PG_TAIL,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat_items import (
    NR_ANON_PAGES,
    NR_ANON_TRANSPARENT_HUGEPAGES,
    NR_MAPPED,
    THP_DEFERRED_SPLIT_PAGE,
    THP_SPLIT_PMD,
)
from memtwin.page.zone import Zones

_FIRST_FOUND = 64


@cython.final
@cython.cclass
class Rmap:
    """Reverse mapping of all frames."""

    def __init__(
        self,
        mem: MemMap,
        zones: Zones,
        memcg: MemcgTable,
        tables: PageTables,
        anon_vmas: AnonVmas,
        files: MappedFiles,
    ) -> None:
        self.mem = mem
        self.zones = zones
        self.memcg = memcg
        self.tables = tables
        self.anon_vmas = anon_vmas
        self.files = files
        self.vm_flags = 0  # of the last folio_referenced: flags of the areas with a reference
        self.nr_unmapped = 0  # of the last try_to_unmap: entries that became swap entries or went
        self.found_capacity = _FIRST_FOUND
        self.nr_found = 0
        self.found_at = zeros(_FIRST_FOUND, "i8")  # rows of `pte` that map the folio
        self.found_vpn = zeros(_FIRST_FOUND, "i8")
        self.found_vma: list[VMA] = []

    @cython.cfunc
    @cython.exceptval(check=False)
    def node_of(self, pfn: cython.int) -> cython.int:
        """Node of a frame."""
        if self.zones.nr_nodes == 1:
            return 0
        return self.zones.zone_of(pfn) // self.zones.nr_types

    @cython.cfunc
    @cython.exceptval(check=False)
    def add_new_anon(
        self, pfn: cython.int, anon_vma: cython.int, index: cython.longlong
    ) -> cython.void:
        """A fresh frame is mapped for the first time (page_add_new_anon_rmap)."""
        self.mem.flags[pfn] |= PG_SWAPBACKED | PG_ANON | PG_ANON_EXCLUSIVE
        self.mem.mapping[pfn] = anon_vma
        self.mem.index[pfn] = index
        self.mem.mapcount[pfn] = 1
        self.memcg.mod_lruvec_page_state(pfn, self.node_of(pfn), NR_ANON_PAGES, 1)

    @cython.cfunc
    @cython.exceptval(check=False)
    def add_anon(
        self,
        pfn: cython.int,
        anon_vma: cython.int,
        index: cython.longlong,
        exclusive: cython.int,
    ) -> cython.void:
        """One more entry maps an anonymous page; the first one names its anon_vma (swap-in)."""
        self.mem.mapcount[pfn] += 1
        if self.total_mapcount_small(pfn) > 1:
            return
        self.memcg.mod_lruvec_page_state(pfn, self.node_of(pfn), NR_ANON_PAGES, 1)
        if not self.mem.flags[pfn] & PG_ANON:
            # mm/rmap.c __page_set_anon_rmap(), v6.1: a page not known to be exclusive goes to the
            # root
            if not exclusive:
                anon_vma = self.root_of(anon_vma)
            self.mem.mapping[pfn] = anon_vma
            self.mem.index[pfn] = index
        self.mem.flags[pfn] |= PG_ANON
        if exclusive:
            self.mem.flags[pfn] |= PG_ANON_EXCLUSIVE

    @cython.ccall
    def root_of(self, anon_vma: cython.int) -> cython.int:
        """The oldest ancestor alive of an anon_vma."""
        at: AnonVma = self.anon_vmas.get(anon_vma)
        while at.parent and self.anon_vmas.all[at.parent] is not None:
            at = self.anon_vmas.get(at.parent)
        return at.id

    @cython.cfunc
    @cython.exceptval(check=False)
    def dup_anon(self, pfn: cython.int) -> cython.void:
        """fork maps an anonymous page once more: it is nobody's own from now on."""
        self.mem.mapcount[pfn] += 1
        self.mem.flags[pfn] &= ~PG_ANON_EXCLUSIVE

    @cython.cfunc
    @cython.exceptval(check=False)
    def add_file(self, pfn: cython.int) -> cython.void:
        """One more entry maps a page of a file, of shmem or of the kernel image."""
        self.mem.mapcount[pfn] += 1
        if self.mem.mapcount[pfn] == 1:
            self.memcg.mod_lruvec_page_state(pfn, self.node_of(pfn), NR_MAPPED, 1)

    @cython.cfunc
    @cython.exceptval(check=False)
    def remove(self, pfn: cython.int) -> cython.void:
        """One entry less maps the page. The caller drops the reference that the entry held."""
        self.mem.mapcount[pfn] -= 1
        if self.total_mapcount_small(pfn) == 0:
            if self.mem.flags[pfn] & PG_ANON:
                self.memcg.mod_lruvec_page_state(pfn, self.node_of(pfn), NR_ANON_PAGES, -1)
                if self.mem.flags[pfn] & (PG_HEAD | PG_TAIL):
                    self.defer_split(self.head_of(pfn))
            else:
                self.memcg.mod_lruvec_page_state(pfn, self.node_of(pfn), NR_MAPPED, -1)

    @cython.cfunc
    @cython.exceptval(check=False)
    def defer_split(self, head: cython.int) -> cython.void:
        """Part of a huge page is unused: it waits to be split (deferred_split_huge_page())."""
        # DIFFERS: no shrinker splits what waits; reclaim has none for it yet; thp_split_page and
        # free memory of programs that unmap parts of huge pages, once memory is short
        if not self.mem.flags[head] & PG_DEFERRED_SPLIT:
            self.mem.flags[head] |= PG_DEFERRED_SPLIT
            self.memcg.vmstat.count(THP_DEFERRED_SPLIT_PAGE, 1)

    @cython.cfunc
    @cython.exceptval(check=False)
    def head_of(self, pfn: cython.int) -> cython.int:
        """The frame whose row speaks for `pfn`: itself, or the head of its huge page."""
        if self.mem.flags[pfn] & PG_TAIL:
            return pfn & ~(HPAGE_PAGES - 1)
        return pfn

    @cython.cfunc
    @cython.exceptval(check=False)
    def total_mapcount_small(self, pfn: cython.int) -> cython.int:
        """page_mapcount(): entries of both sizes that map this small page."""
        count: cython.int = self.mem.mapcount[pfn]
        if self.mem.flags[pfn] & (PG_HEAD | PG_TAIL):
            count += self.mem.private[self.head_of(pfn) + 1]
        return count

    @cython.ccall
    def page_mapcount(self, pfn: cython.int) -> cython.int:
        """How many entries map this small page."""
        return self.total_mapcount_small(pfn)

    # huge pages: mapped by a 2 MiB entry

    @cython.cfunc
    def add_new_huge(
        self, pfn: cython.int, anon_vma: cython.int, index: cython.longlong
    ) -> cython.int:
        """A fresh huge page is mapped by its first 2 MiB entry."""
        i: cython.int
        for i in range(HPAGE_PAGES):
            self.mem.flags[pfn + i] |= PG_ANON_EXCLUSIVE if i == 0 else PG_TAIL
            self.mem.mapping[pfn + i] = anon_vma
            self.mem.index[pfn + i] = index + i
            self.mem.mapcount[pfn + i] = 0
        self.mem.flags[pfn] |= PG_HEAD | PG_SWAPBACKED | PG_ANON
        for i in range(1, HPAGE_PAGES):
            self.mem.flags[pfn + i] |= PG_ANON
        self.mem.private[pfn + 1] = 1
        node: cython.int = self.node_of(pfn)
        self.memcg.mod_lruvec_page_state(pfn, node, NR_ANON_TRANSPARENT_HUGEPAGES, HPAGE_PAGES)
        self.memcg.mod_lruvec_page_state(pfn, node, NR_ANON_PAGES, HPAGE_PAGES)
        return 0

    @cython.cfunc
    def dup_huge(self, head: cython.int) -> cython.int:
        """fork maps a huge page by one more 2 MiB entry."""
        self.mem.private[head + 1] += 1
        self.mem.flags[head] &= ~PG_ANON_EXCLUSIVE
        return 0

    @cython.cfunc
    def remove_huge(self, head: cython.int) -> cython.int:
        """One 2 MiB entry less; how many small pages no entry maps any more.

        mm/rmap.c page_remove_anon_compound_rmap(), v6.1.
        """
        self.mem.private[head + 1] -= 1
        if self.mem.private[head + 1] > 0:
            return 0
        node: cython.int = self.node_of(head)
        self.memcg.mod_lruvec_page_state(head, node, NR_ANON_TRANSPARENT_HUGEPAGES, -HPAGE_PAGES)
        gone: cython.int = 0
        i: cython.int
        for i in range(HPAGE_PAGES):
            if self.mem.mapcount[head + i] == 0:
                gone += 1
        self.memcg.mod_lruvec_page_state(head, node, NR_ANON_PAGES, -gone)
        if 0 < gone < HPAGE_PAGES:
            self.defer_split(head)
        return gone

    @cython.ccall
    def split_pmd(self, mm: Mm, vpn: cython.longlong) -> cython.int:
        """Replace the 2 MiB entry over `vpn` by 512 small ones; the head's frame.

        mm/huge_memory.c __split_huge_pmd_locked(), v6.1.
        """
        pmd: cython.longlong = self.tables.lookup_pmd(mm.pgd, vpn)
        entry: cython.longlong = self.tables.pte[pmd]
        head: cython.int = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
        bits: cython.longlong = entry & ~(PTE_PFN_MASK << PTE_PFN_SHIFT) & ~PTE_PSE
        base: cython.longlong = self.tables.split_huge(pmd)
        base = base * HPAGE_PAGES
        exclusive: cython.longlong = self.mem.flags[head] & PG_ANON_EXCLUSIVE
        i: cython.int
        frame: cython.longlong
        if entry & PTE_DIRTY:
            self.mem.flags[head] |= PG_DIRTY
        for i in range(HPAGE_PAGES):
            frame = head + i
            self.tables.pte[base + i] = (frame << PTE_PFN_SHIFT) | bits
            self.mem.mapcount[head + i] += 1
            self.mem.flags[head + i] |= exclusive
        self.mem.refcount[head] += HPAGE_PAGES - 1
        self.remove_huge(head)
        self.memcg.vmstat.count(THP_SPLIT_PMD, 1)
        return head

    # walks

    @cython.ccall
    def collect(self, pfn: cython.int) -> cython.int:
        """Find every entry that maps the folio headed by `pfn`.

        Fills found_at, found_vpn, found_vma.
        """
        self.nr_found = 0
        areas: list[VMA]
        if self.mem.flags[pfn] & PG_ANON:
            if self.mem.mapping[pfn] == 0:
                return 0
            anon_vma: AnonVma = self.anon_vmas.get(self.mem.mapping[pfn])
            if anon_vma is None:
                return 0
            areas = anon_vma.vmas
        else:
            areas = self.files.of(self.mem.mapping[pfn])
        i: cython.Py_ssize_t
        for i in range(len(areas)):
            vma: VMA = areas[i]
            if self.mem.flags[pfn] & PG_HEAD:
                self._collect_huge(pfn, vma)
            else:
                self._collect_small(pfn, vma)
        return self.nr_found

    @cython.cfunc
    def _collect_small(self, pfn: cython.int, vma: VMA) -> cython.int:
        vpn: cython.longlong = vma.start_vpn + self.mem.index[pfn] - vma.pgoff
        if vpn < vma.start_vpn or vpn >= vma.end_vpn:
            return 0
        at: cython.longlong = self.tables.lookup(vma.mm.pgd, vpn)
        if at < 0:
            return 0
        entry: cython.longlong = self.tables.pte[at]
        if not entry & PTE_PRESENT or entry & PTE_SPECIAL:
            return 0
        if ((entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK) != pfn:
            return 0
        return self._note(at, vpn, vma)

    @cython.cfunc
    def _collect_huge(self, head: cython.int, vma: VMA) -> cython.int:
        vpn: cython.longlong = vma.start_vpn + self.mem.index[head] - vma.pgoff
        inside: cython.int = vma.start_vpn <= vpn and vpn < vma.end_vpn
        if inside and self.tables.lookup(vma.mm.pgd, vpn) == HUGE_ENTRY:
            at: cython.longlong = self.tables.lookup_pmd(vma.mm.pgd, vpn)
            if ((self.tables.pte[at] >> PTE_PFN_SHIFT) & PTE_PFN_MASK) == head:
                return self._note(at, vpn, vma)
            return 0
        i: cython.int
        for i in range(HPAGE_PAGES):
            self._collect_small(head + i, vma)
        return 0

    @cython.cfunc
    def _note(self, at: cython.longlong, vpn: cython.longlong, vma: VMA) -> cython.int:
        if self.nr_found == self.found_capacity:
            self.found_capacity *= 2
            self.found_at = grown(self.found_at, self.found_capacity)
            self.found_vpn = grown(self.found_vpn, self.found_capacity)
        self.found_at[self.nr_found] = at
        self.found_vpn[self.nr_found] = vpn
        if self.nr_found < len(self.found_vma):
            self.found_vma[self.nr_found] = vma
        else:
            self.found_vma.append(vma)
        self.nr_found += 1
        return 1

    @cython.ccall
    def folio_referenced(self, pfn: cython.int, memcg: cython.int) -> cython.int:
        """Count areas that used the folio since last asked, and clear their accessed bits.

        `memcg` limits the question to mms of that group's subtree; 0 or -1 asks all.
        `self.vm_flags` tells the flags of the areas; VM_LOCKED in it means: stop, and mlock the
        page. mm/rmap.c folio_referenced(), v6.1.
        """
        self.vm_flags = 0
        if self.mem.mapcount[pfn] == 0 and not self.mem.flags[pfn] & PG_HEAD:
            return 0
        total: cython.int = 0
        i: cython.int
        at: cython.longlong
        last: VMA | None = None
        for i in range(self.collect(pfn)):
            vma: VMA = self.found_vma[i]
            if memcg > 0 and not self.memcg.is_descendant(vma.mm.memcg, memcg):
                continue
            if vma.vm_flags & VM_LOCKED:
                self.vm_flags |= VM_LOCKED
                return total
            at = self.found_at[i]
            if self.tables.pte[at] & PTE_ACCESSED:
                self.tables.pte[at] &= ~PTE_ACCESSED
                if not vma.vm_flags & VM_SEQ_READ and vma is not last:
                    total += 1
                    self.vm_flags |= vma.vm_flags
                    last = vma
        return total

    @cython.ccall
    def try_to_unmap(self, pfn: cython.int, swap_entry: cython.longlong) -> cython.int:
        """Take every entry that maps the small page `pfn` away; UNMAP_*.

        An anonymous swap-backed page leaves `swap_entry` in its entries: the caller must hold one
        count of that slot for each of `self.nr_unmapped` (swap_duplicate). A lazily freed page
        leaves nothing, a file's neither. Dirty bits move to PG_DIRTY. mm/rmap.c
        try_to_unmap_one(), v6.1.
        """
        self.nr_unmapped = 0
        i: cython.int
        at: cython.longlong
        entry: cython.longlong
        found: cython.int = self.collect(pfn)
        for i in range(found):
            vma: VMA = self.found_vma[i]
            if vma.vm_flags & VM_LOCKED:
                return UNMAP_MLOCKED
            at = self.found_at[i]
            entry = self.tables.pte[at]
            if entry & PTE_PSE:
                require(False, "rmap.try_to_unmap", f"frame {pfn} is mapped huge")
            if entry & PTE_DIRTY:
                self.mem.flags[pfn] |= PG_DIRTY
            vma.mm.update_hiwater_rss()
            if self._unmap_entry(pfn, at, entry, vma.mm, swap_entry) != UNMAP_DONE:
                return UNMAP_REDIRTIED
            self.remove(pfn)
            self.mem.refcount[pfn] -= 1
            self.nr_unmapped += 1
        return UNMAP_DONE

    @cython.cfunc
    def _unmap_entry(
        self,
        pfn: cython.int,
        at: cython.longlong,
        entry: cython.longlong,
        mm: Mm,
        swap_entry: cython.longlong,
    ) -> cython.int:
        flags: cython.longlong = self.mem.flags[pfn]
        if not flags & PG_ANON:
            self.tables.pte[at] = 0
            mm.add_rss(MM_SHMEMPAGES if flags & PG_SWAPBACKED else MM_FILEPAGES, -1)
            return UNMAP_DONE
        if not flags & PG_SWAPBACKED:
            alone: cython.int = self.mem.refcount[pfn] == 1 + self.mem.mapcount[pfn]
            if not alone or flags & PG_DIRTY:
                self.mem.flags[pfn] |= PG_SWAPBACKED
                return UNMAP_REDIRTIED
            self.tables.pte[at] = 0
            mm.add_rss(MM_ANONPAGES, -1)
            return UNMAP_DONE
        mark: cython.longlong = 0
        if flags & PG_ANON_EXCLUSIVE:
            mark = PTE_SWAP_EXCLUSIVE
            self.mem.flags[pfn] &= ~PG_ANON_EXCLUSIVE
        self.tables.pte[at] = (swap_entry << PTE_SWAP_SHIFT) | mark
        mm.add_rss(MM_ANONPAGES, -1)
        mm.add_rss(MM_SWAPENTS, 1)
        return UNMAP_DONE

    @cython.ccall
    def page_mkclean(self, pfn: cython.int) -> cython.int:
        """Write-protect and clean every shared entry before writeback; how many changed.

        mm/rmap.c folio_mkclean(), v6.1: the next write faults and dirties the page again.
        """
        cleaned: cython.int = 0
        i: cython.int
        at: cython.longlong
        if self.mem.mapcount[pfn] == 0:
            return 0
        for i in range(self.collect(pfn)):
            vma: VMA = self.found_vma[i]
            at = self.found_at[i]
            if vma.vm_flags & VM_SHARED and self.tables.pte[at] & (PTE_DIRTY | PTE_RW):
                self.tables.pte[at] &= ~(PTE_DIRTY | PTE_RW)
                cleaned += 1
        return cleaned

    def verify(self, mms: list[Mm]) -> None:
        """Recount every mapping from the page tables, and find each again through rmap."""
        counted = self.tables.small_mappings(mms)
        for pfn, times in sorted(counted.items()):
            require(
                self.mem.mapcount[pfn] == times,
                "rmap.verify",
                f"frame {pfn}: mapcount {self.mem.mapcount[pfn]}, {times} entries map it",
            )
            plain = not self.mem.flags[pfn] & (PG_HEAD | PG_TAIL)
            if plain and self.mem.mapping[pfn]:
                found = self.collect(pfn)
                require(
                    found == times,
                    "rmap.verify",
                    f"frame {pfn}: {times} entries, rmap finds {found}",
                )
