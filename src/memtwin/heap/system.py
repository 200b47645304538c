"""Owns what a heap asks of the kernel, as glibc's wrappers ask it: sbrk, mmap and its relatives.

Imports the address map and the log. Knows nothing of chunks. Every call is logged with its answer.
"""

from __future__ import annotations

import cython

from memtwin.heap.address_map import AddressMap
from memtwin.heap.call_log import CallLog
from memtwin.heap.constants import (
    BRK,
    MADV_HUGEPAGE,
    MADVISE,
    MAP_HUGETLB,
    MMAP,
    MPROTECT,
    MREMAP,
    MUNMAP,
    PAGE_SIZE,
    PROT_READ_WRITE,
)


@cython.final
@cython.cclass
class HeapSystem:
    """The kernel as one heap sees it."""

    def __init__(self, address_map: AddressMap, log: CallLog) -> None:
        self.map = address_map
        self.log = log
        self.curbrk = 0  # misc/brk.c __curbrk, glibc 2.36; 0: never asked
        self.break_is_off = 0  # malloc/morecore.c __always_fail_morecore, glibc 2.36
        self.thp_bytes = 0  # mp_.thp_pagesize

    @cython.ccall
    @cython.exceptval(-1)
    def sbrk(self, increment: cython.longlong) -> cython.longlong:
        """The break before; -1 when refused (misc/sbrk.c __sbrk(), glibc 2.36)."""
        before: cython.longlong
        now: cython.longlong
        if self.curbrk == 0:
            self.curbrk = self.map.brk(0)
            self.log.add(BRK, 0, 0, 0, self.curbrk)
        before = self.curbrk
        if increment == 0:
            return before
        now = self.map.brk(before + increment)
        self.log.add(BRK, before + increment, 0, 0, now)
        self.curbrk = now
        return before if now == before + increment else -1

    @cython.ccall
    @cython.exceptval(-1)
    def morecore(self, increment: cython.longlong) -> cython.longlong:
        """malloc/morecore.c __glibc_morecore(), glibc 2.36: sbrk, unless it is off."""
        return -1 if self.break_is_off else self.sbrk(increment)

    @cython.ccall
    @cython.exceptval(-1)
    def mmap(
        self, hint: cython.longlong, length: cython.longlong, protection: cython.int
    ) -> cython.longlong:
        """Address of a private anonymous mapping, or -errno; maybe with MAP_HUGETLB."""
        committed = 1 if protection == PROT_READ_WRITE else 0
        address: cython.longlong
        if protection & MAP_HUGETLB:
            address = self.map.mmap_huge(length, hint)
        else:
            address = self.map.mmap(length, hint, committed)
        self.log.add(MMAP, hint, length, protection, address)
        return address

    @cython.ccall
    def munmap(self, address: cython.longlong, length: cython.longlong) -> cython.void:
        """Give back a mapping."""
        self.log.add(MUNMAP, address, length, 0, self.map.munmap(address, length))

    @cython.ccall
    @cython.exceptval(-1)
    def mremap(
        self, address: cython.longlong, old_length: cython.longlong, new_length: cython.longlong
    ) -> cython.longlong:
        """The new address of a mapping that may move, or -errno."""
        moved: cython.longlong = self.map.mremap(address, old_length, new_length)
        self.log.add(MREMAP, address, old_length, new_length, moved)
        return moved

    @cython.ccall
    @cython.exceptval(-1)
    def mprotect(
        self, address: cython.longlong, length: cython.longlong, protection: cython.int
    ) -> cython.int:
        """0, or -errno when that much can't be committed."""
        answer: cython.int = self.map.commit(length)
        self.log.add(MPROTECT, address, length, protection, answer)
        return answer

    @cython.ccall
    def madvise(
        self, address: cython.longlong, length: cython.longlong, advice: cython.int
    ) -> cython.void:
        """Tell the kernel what to do with pages; it agrees, but of parts of huge pages."""
        answer: cython.int = self.map.madvise(address, length)
        self.log.add(MADVISE, address, length, advice, answer)

    @cython.ccall
    def advise_huge(self, address: cython.longlong, length: cython.longlong) -> cython.void:
        """malloc/malloc.c madvise_thp(), glibc 2.36."""
        within: cython.longlong = address & (PAGE_SIZE - 1)
        if self.thp_bytes and length >= self.thp_bytes:
            self.madvise(address - within, length + within, MADV_HUGEPAGE)
