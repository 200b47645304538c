"""Owns madvise. Imports mmap, fault/page_walk, zap. Has never heard of reclaim's policy.

mm/madvise.c, v6.1 and v6.12.
"""

from __future__ import annotations

import errno

from memtwin.address_space.vm_flags import (
    VM_DONTCOPY,
    VM_HUGEPAGE,
    VM_LOCKED,
    VM_NOHUGEPAGE,
    VM_PFNMAP,
    VM_RAND_READ,
    VM_SEQ_READ,
    VM_WIPEONFORK,
    VMA_ANON,
    VMA_FILE,
)
from memtwin.address_space.vma import VMA
from memtwin.errors import UserError
from memtwin.fault.verdicts import WALK_COLD, WALK_FREE, WALK_PAGEOUT, WALK_SWAPPED
from memtwin.process.mmap import Mapper
from memtwin.process.task import Task
from memtwin.units import bytes_to_pages, vaddr_to_vpn

# advice that only changes flags: name -> (flags set, flags cleared)
FLAG_ADVICE = {
    "normal": (0, VM_RAND_READ | VM_SEQ_READ),
    "random": (VM_RAND_READ, VM_SEQ_READ),
    "sequential": (VM_SEQ_READ, VM_RAND_READ),
    "dontfork": (VM_DONTCOPY, 0),
    "dofork": (0, VM_DONTCOPY),
    "hugepage": (VM_HUGEPAGE, VM_NOHUGEPAGE),
    "nohugepage": (VM_NOHUGEPAGE, VM_HUGEPAGE),
    "wipeonfork": (VM_WIPEONFORK, 0),
    "keeponfork": (0, VM_WIPEONFORK),
}
PAGE_ADVICE = ("dontneed", "free", "willneed", "cold", "pageout")


class Madvise:
    """madvise() for one machine."""

    def __init__(self, mapper: Mapper) -> None:
        self.mapper = mapper
        self.space = mapper.space

    def madvise(self, task: Task, at_bytes: int, size_bytes: int, advice: str) -> int:
        """0 or a negative errno; `advice` is the word in lower case without MADV_."""
        if advice not in FLAG_ADVICE and advice not in PAGE_ADVICE:
            known = ", ".join([*PAGE_ADVICE, *FLAG_ADVICE])
            raise UserError(f"madvise: found {advice!r}, the twin knows {known}")
        mm, start_vpn = task.space(), vaddr_to_vpn(at_bytes)
        end_vpn = start_vpn + bytes_to_pages(size_bytes)
        whole = self.mapper.covers(mm, start_vpn, end_vpn)
        verdict = 0 if whole else -errno.ENOMEM  # the parts that exist are advised all the same
        if advice in FLAG_ADVICE:
            add, drop = FLAG_ADVICE[advice]
            for vma in self.space.areas.isolate(mm, start_vpn, end_vpn):
                vma.vm_flags = (vma.vm_flags | add) & ~drop
            self.space.areas.merge_around(mm, start_vpn, end_vpn)
            return verdict
        for vma in self.space.areas.tree(mm).overlapping(start_vpn, end_vpn):
            first, beyond = max(vma.start_vpn, start_vpn), min(vma.end_vpn, end_vpn)
            answer = self._pages(task, vma, first, beyond, advice)
            if answer < 0:
                return answer
        return verdict

    def _pages(self, task: Task, vma: VMA, first: int, beyond: int, advice: str) -> int:
        lru = self.space.access.anon.lru
        if advice == "willneed":
            return self._willneed(task, vma, first, beyond)
        if vma.vm_flags & (VM_LOCKED | VM_PFNMAP):
            return -errno.EINVAL
        lru.lru_add_drain()
        if advice == "dontneed":
            self.space.zap.unmap_range(vma, first, beyond)
            self.space.zap.finish()
            return 0
        if advice == "free":
            if vma.kind != VMA_ANON:
                return -errno.EINVAL
            vma.mm.update_hiwater_rss()
            self.space.page_walk.walk(vma, first, beyond, WALK_FREE)
            return 0
        if advice == "cold":
            self.space.page_walk.walk(vma, first, beyond, WALK_COLD)
            return 0
        self.space.page_walk.walk(vma, first, beyond, WALK_PAGEOUT)
        frames = [int(pfn) for pfn in self.space.page_walk.found[: self.space.page_walk.nr_found]]
        self.space.reclaim_pages(frames)
        return 0

    def _willneed(self, task: Task, vma: VMA, first: int, beyond: int) -> int:
        """madvise_willneed(): start reading what is not there."""
        if vma.kind == VMA_FILE:
            shift = vma.pgoff - vma.start_vpn
            self.space.read_ahead(vma.file, first + shift, beyond - first)
            return 0
        walk = self.space.page_walk
        walk.walk(vma, first, beyond, WALK_SWAPPED)
        for vpn in [int(vpn) for vpn in walk.found[: walk.nr_found]]:
            self.space.swap_in_ahead(vma, vpn)
        return 0
