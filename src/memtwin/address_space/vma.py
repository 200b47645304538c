"""Owns one virtual memory area: its range, what backs it, how its pages are mapped.

Imports mm, vm_flags and hardware.pte. Has never heard of the tree it is in, or of pages.
Addresses are vpns; `pgoff` is the page of the file that `start_vpn` shows, and for an anonymous
area the vpn it was born at.
"""

from __future__ import annotations

import cython

from memtwin.address_space.mm import Mm
from memtwin.address_space.vm_flags import (
    VM_ACCESS,
    VM_EXEC,
    VM_SHARED,
    VM_WRITE,
    VMA_ANON,
    VMA_FILE,
)
from memtwin.hardware.pte import PTE_ACCESSED, PTE_NX, PTE_PRESENT, PTE_RW, PTE_USER


@cython.final
@cython.cclass
class VMA:
    """One area of `mm`: [start_vpn, end_vpn)."""

    def __init__(self, mm: Mm, start_vpn: int, end_vpn: int, vm_flags: int, kind: int) -> None:
        self.mm = mm
        self.start_vpn = start_vpn
        self.end_vpn = end_vpn
        self.vm_flags = vm_flags
        self.kind = kind
        self.pgoff = start_vpn
        self.mapping_id = 0  # of the file's or shmem object's mapping; 0 anonymous
        self.anon_vma = 0  # id of the anon_vma of its own anonymous pages; 0 none yet
        self.chain: list[int] = []  # ids of all anon_vmas whose pages it may map, oldest first
        self.file: object = None  # the open file behind it
        self.ra: object = None  # its readahead state (page_cache.readahead.FileRa)
        self.swap_ra: object = None  # swap readahead state (reclaim.swapin_readahead.SwapRa)
        self.special_pfn = -1  # first frame of a VMA_SPECIAL area
        self.name = ""
        self.set_prot()

    @cython.ccall
    def set_prot(self) -> cython.void:
        """Work out the bits of its entries from its flags.

        mm/mmap.c vma_set_page_prot(), v6.1: a private area's entries are read-only until a write
        fault; a shared file's too, so that the file system hears of the first write
        (vma_wants_writenotify()). On x86 every protection includes the accessed bit.
        """
        bits: cython.longlong = PTE_PRESENT | PTE_USER | PTE_ACCESSED
        shared: cython.longlong = self.vm_flags & VM_SHARED
        if (self.vm_flags & VM_WRITE) and shared and self.kind != VMA_FILE:
            bits |= PTE_RW
        if not self.vm_flags & VM_EXEC:
            bits |= PTE_NX
        if not self.vm_flags & VM_ACCESS:
            bits &= ~PTE_USER  # PROT_NONE: present to the kernel, a fault to the program
        self.prot = bits

    def is_private_writable(self) -> bool:
        """Whether it counts in VmData (include/linux/mm.h is_data_mapping(), v6.1, stack aside)."""
        return self.vm_flags & (VM_WRITE | VM_SHARED) == VM_WRITE

    def copy_to(self, mm: Mm) -> VMA:
        """A new area of `mm` with the same range, flags and backing, and no anon_vma."""
        twin = VMA(mm, self.start_vpn, self.end_vpn, self.vm_flags, self.kind)
        twin.pgoff = self.pgoff
        twin.mapping_id = self.mapping_id
        twin.file = self.file
        twin.ra = self.ra
        twin.special_pfn = self.special_pfn
        twin.name = self.name
        twin.set_prot()
        return twin

    def same_backing(self, other: VMA) -> bool:
        """Whether a merge would keep file, kind, name and flags."""
        return (
            self.kind == other.kind
            and self.vm_flags == other.vm_flags
            and self.mapping_id == other.mapping_id
            and self.file is other.file
            and (self.kind in (VMA_ANON, VMA_FILE) or self.mapping_id != 0)
        )

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = ("start_vpn", "end_vpn", "vm_flags", "kind", "pgoff", "mapping_id", "anon_vma")
        return [*((name, getattr(self, name)) for name in names), ("chain", list(self.chain))]
