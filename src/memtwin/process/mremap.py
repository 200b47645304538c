"""Owns mremap: shrinking, growing in place, moving an area with its entries.

Imports mmap, address_space. Has never heard of faults. mm/mremap.c, v6.1.
"""

from __future__ import annotations

import errno

from memtwin.address_space.mm import Mm
from memtwin.address_space.vm_flags import VM_ACCOUNT, VM_LOCKED, VMA_ANON
from memtwin.address_space.vma import VMA
from memtwin.page.gfp import NEED_OOM
from memtwin.process.mmap import MREMAP_MAYMOVE, Mapper
from memtwin.process.task import Task
from memtwin.units import bytes_to_pages, vaddr_to_vpn, vpn_to_vaddr

ANYWHERE = -1  # no address of the caller's own


class Mremap:
    """mremap() for one machine."""

    def __init__(self, mapper: Mapper) -> None:
        self.mapper = mapper
        self.space = mapper.space

    def mremap(
        self,
        task: Task,
        at_bytes: int,
        old_bytes: int,
        new_bytes: int,
        flags: int = MREMAP_MAYMOVE,
        to_bytes: int = ANYWHERE,
    ) -> int:
        """The area's address afterwards, NEED_OOM, or a negative errno.

        `to_bytes` is MREMAP_FIXED's.
        """
        mm, start_vpn = task.space(), vaddr_to_vpn(at_bytes)
        old_pages, new_pages = bytes_to_pages(old_bytes), bytes_to_pages(new_bytes)
        misplaced = at_bytes % 4096 or (to_bytes != ANYWHERE and to_bytes % 4096)
        if misplaced or new_pages == 0 or old_pages == 0:
            return -errno.EINVAL
        if to_bytes not in (ANYWHERE, at_bytes):
            return self._move_to(task, start_vpn, old_pages, new_pages, vaddr_to_vpn(to_bytes))
        if new_pages <= old_pages:
            self.mapper.munmap_pages(mm, start_vpn + new_pages, start_vpn + old_pages)
            return at_bytes
        vma = self.space.areas.tree(mm).find(start_vpn)
        if vma is None or vma.end_vpn < start_vpn + old_pages:
            return -errno.EFAULT
        grow = new_pages - old_pages
        if vma.vm_flags & VM_ACCOUNT:
            if not self.mapper.overcommit.enough(mm, grow, task.cap_sys_admin):
                return -errno.ENOMEM
        if vma.end_vpn == start_vpn + old_pages and self._room_above(mm, vma, grow):
            self.space.areas.tree(mm).set_range(vma, vma.start_vpn, vma.end_vpn + grow)
            self._count(mm, vma, grow)
            self.space.areas.merge_around(mm, vma.start_vpn, vma.end_vpn)
            return at_bytes
        if not flags & MREMAP_MAYMOVE:
            if vma.vm_flags & VM_ACCOUNT:
                self.mapper.overcommit.give_back(grow)
            return -errno.ENOMEM
        new_vpn = self.mapper.unmapped_area(mm, new_pages, vma.kind)
        if new_vpn < 0:
            return -errno.ENOMEM
        return self._move(vma, start_vpn, old_pages, new_pages, new_vpn)

    def _move_to(
        self, task: Task, start_vpn: int, old_pages: int, new_pages: int, new_vpn: int
    ) -> int:
        """mremap_to(): what lies at the new place goes, the old area shrinks first if it must."""
        mm = task.space()
        self.mapper.munmap_pages(mm, new_vpn, new_vpn + new_pages)
        if new_pages < old_pages:
            self.mapper.munmap_pages(mm, start_vpn + new_pages, start_vpn + old_pages)
            old_pages = new_pages
        vma = self.space.areas.tree(mm).find(start_vpn)
        if vma is None or vma.end_vpn < start_vpn + old_pages:
            return -errno.EFAULT
        if vma.vm_flags & VM_ACCOUNT and not self.mapper.overcommit.enough(
            mm, new_pages - old_pages, task.cap_sys_admin
        ):
            return -errno.ENOMEM
        return self._move(vma, start_vpn, old_pages, new_pages, new_vpn)

    def _room_above(self, mm: Mm, vma: VMA, pages: int) -> bool:
        return not self.space.areas.tree(mm).overlapping(vma.end_vpn, vma.end_vpn + pages)

    def _count(self, mm: Mm, vma: VMA, pages: int) -> None:
        self.mapper.account(mm, vma, pages)
        if vma.vm_flags & VM_LOCKED:
            mm.locked_vm += pages

    def _move(self, vma: VMA, start_vpn: int, old_pages: int, new_pages: int, new_vpn: int) -> int:
        """move_vma(): a copy of the area elsewhere takes the entries, the old one goes empty."""
        mm, areas = vma.mm, self.space.areas
        # DIFFERS: every table of the new place is installed, the kernel's only where entries lie;
        # so that the move cannot fail half-way; VmPTE of moved sparse areas
        for vpn in range(new_vpn, new_vpn + old_pages, 512):
            if self.space.table_alloc.ensure(mm, vpn, 0) < 0:
                return NEED_OOM
        if self.space.table_alloc.ensure(mm, new_vpn + old_pages - 1, 0) < 0:
            return NEED_OOM
        moved = vma.copy_to(mm)
        moved.start_vpn, moved.end_vpn = new_vpn, new_vpn + new_pages
        moved.pgoff = vma.pgoff + (start_vpn - vma.start_vpn)
        if vma.kind == VMA_ANON and not vma.anon_vma:
            moved.pgoff = new_vpn  # nothing is mapped yet: copy_vma() gives it its new place
        if vma.chain:
            areas.anon_vmas.split(moved, vma)
        areas.insert(moved)
        self._move_entries(mm, start_vpn, new_vpn, old_pages)
        self._count(mm, moved, new_pages)
        if vma.vm_flags & VM_ACCOUNT:
            self.mapper.overcommit.committed_pages += old_pages  # munmap gives them back
        self.mapper.munmap_pages(mm, start_vpn, start_vpn + old_pages)
        areas.merge_around(mm, new_vpn, new_vpn + new_pages)
        return vpn_to_vaddr(new_vpn)

    def _move_entries(self, mm: Mm, start_vpn: int, new_vpn: int, pages: int) -> None:
        """move_page_tables(): frames keep their rows; huge entries are split first."""
        tables, thp = self.space.tables, self.space.access.thp
        for i in range(pages):
            at = int(tables.find(mm, start_vpn + i))
            if at == -2:
                thp.split(mm, start_vpn + i)
                at = int(tables.find(mm, start_vpn + i))
            if at >= 0 and tables.pte[at]:
                tables.pte[int(tables.find(mm, new_vpn + i))] = tables.pte[at]
                tables.pte[at] = 0
