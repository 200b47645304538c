"""Owns the system calls that change which areas there are: mmap, munmap, brk, mprotect, mlock.

Imports address_space, fault, overcommit. Has never heard of files beyond the object that backs an
area. Answers are addresses in bytes, 0, or a negative errno; NEED_OOM is fault's affair and comes
back as -ENOMEM only when nothing could be killed. mm/mmap.c, v6.1; where 6.12 differs the line
says so.
"""

from __future__ import annotations

import errno

from memtwin.address_space.layout import MMAP_MIN_VPN, TASK_UNMAPPED_BASE_VPN
from memtwin.address_space.mm import Mm
from memtwin.address_space.vm_flags import (
    VM_ACCESS,
    VM_ACCOUNT,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_IO,
    VM_LOCKED,
    VM_MAYSHARE,
    VM_NORESERVE,
    VM_PFNMAP,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
    VMA_ANON,
    VMA_FILE,
    VMA_SHMEM,
)
from memtwin.address_space.vma import VMA
from memtwin.fault.verdicts import WALK_MLOCK, WALK_MUNLOCK, WALK_PROTECT
from memtwin.file_io.open_file import OpenFile
from memtwin.hardware.pte import HPAGE_PAGES, TASK_SIZE_VPN
from memtwin.page.tunables import Tunables
from memtwin.process.overcommit import OVERCOMMIT_NEVER, Overcommit
from memtwin.process.space import Space
from memtwin.process.task import Task
from memtwin.process.task_objects import TaskObjects
from memtwin.units import bytes_to_pages, vaddr_to_vpn, vpn_to_vaddr

PROT_READ, PROT_WRITE, PROT_EXEC = VM_READ, VM_WRITE, VM_EXEC  # the same low bits, as in the kernel
MAP_PRIVATE, MAP_SHARED = 1, 2
MAP_FIXED, MAP_NORESERVE, MAP_GROWSDOWN, MAP_LOCKED = 4, 8, 16, 32
MREMAP_MAYMOVE = 1


def is_stack(vma: VMA) -> bool:
    """include/linux/mm.h is_stack_mapping(), v6.1."""
    return bool(vma.vm_flags & VM_GROWSDOWN)


class Mapper:
    """Areas of a task's address space, as system calls change them."""

    def __init__(self, space: Space, overcommit: Overcommit, tunables: Tunables) -> None:
        self.space = space
        self.overcommit = overcommit
        self.tunables = tunables
        self.shmem = space.access.file.shmem
        self.shmem_pages: dict[int, int] = {}  # mapping of each anonymous shared object -> its size
        self.objects: TaskObjects | None = None  # None: a machine without slab caches

    def account(self, mm: Mm, vma: VMA, pages: int) -> None:
        """vm_stat_account(): `pages` of the area's kind more (or fewer) belong to `mm`."""
        mm.total_vm += pages
        if vma.vm_flags & (VM_EXEC | VM_WRITE | VM_GROWSDOWN) == VM_EXEC:
            mm.exec_vm += pages
        elif is_stack(vma):
            mm.stack_vm += pages
        elif vma.is_private_writable():
            mm.data_vm += pages
        mm.hiwater_vm = max(mm.hiwater_vm, mm.total_vm)

    def unmapped_area(self, mm: Mm, pages: int, kind: int, pgoff: int = 0) -> int:
        """First vpn of a free range for a new area of `pages`, or -1.

        arch_get_unmapped_area_topdown(), v6.1.
        """
        tree = self.space.areas.tree(mm)
        if self._on_huge_borders(pages, kind, pgoff):
            wide = int(tree.free_gap_below(pages + HPAGE_PAGES, mm.mmap_base_vpn))
            if wide >= 0:
                # mm/huge_memory.c __thp_get_unmapped_area(), v6.1; since v6.12 the upper border
                # when the range lies on one already
                shift = (pgoff - wide) % HPAGE_PAGES
                return wide + (shift or HPAGE_PAGES * (self.tunables.kernel >= 607))
        start = int(tree.free_gap_below(pages, mm.mmap_base_vpn))
        if start < 0:
            start = int(tree.free_gap_above(pages, TASK_UNMAPPED_BASE_VPN, TASK_SIZE_VPN))
        return start

    def _on_huge_borders(self, pages: int, kind: int, pgoff: int) -> bool:
        """Whether a new area's huge pages are to match the file's, or begin on borders."""
        if kind == VMA_FILE:
            # fs/ext4/file.c ext4_file_operations, v6.1: thp_get_unmapped_area()
            return pgoff + pages - -(-pgoff // HPAGE_PAGES) * HPAGE_PAGES >= HPAGE_PAGES
        # mm/mmap.c __get_unmapped_area(), v6.12
        return kind == VMA_ANON and self.tunables.kernel >= 607 and pages % HPAGE_PAGES == 0

    def map_area(self, task: Task, vma: VMA, flags: int) -> int:
        """Give the ready-made area `vma` to its mm: its first address, or a negative errno."""
        mm = vma.mm
        pages = vma.end_vpn - vma.start_vpn
        tree = self.space.areas.tree(mm)
        if flags & MAP_FIXED:
            self.munmap_pages(mm, vma.start_vpn, vma.end_vpn)
        if tree.nr >= self.tunables.max_map_count:
            return -errno.ENOMEM
        private_writable = vma.is_private_writable()
        if flags & MAP_NORESERVE and self.tunables.overcommit_memory != OVERCOMMIT_NEVER:
            vma.vm_flags |= VM_NORESERVE
            private_writable = False
        if private_writable:  # accountable_mapping()
            if not self.overcommit.enough(mm, pages, task.cap_sys_admin):
                return -errno.ENOMEM
            vma.vm_flags |= VM_ACCOUNT
        vma.set_prot()
        start_vpn, kept = vma.start_vpn, self.space.areas.expand_new(vma)
        self.account(mm, vma, pages)
        if kept.vm_flags & VM_LOCKED:
            mm.locked_vm += pages
        self.settle_objects()
        return vpn_to_vaddr(start_vpn)

    def settle_objects(self) -> None:
        """Take or give back slab objects for areas that came and went."""
        if self.objects is not None:
            self.objects.settle_areas()

    def anonymous(
        self, task: Task, size_bytes: int, prot: int, flags: int, at_bytes: int = 0
    ) -> int:
        """mmap(MAP_PRIVATE | MAP_ANONYMOUS): the address or a negative errno."""
        return self._new(task, VMA_ANON, size_bytes, prot, flags | MAP_PRIVATE, at_bytes)

    def _new(
        self,
        task: Task,
        kind: int,
        size_bytes: int,
        prot: int,
        flags: int,
        at_bytes: int,
        file: object = None,
        mapping_id: int = 0,
        pgoff: int = 0,
    ) -> int:
        mm, pages = task.space(), bytes_to_pages(size_bytes)
        if pages == 0:
            return -errno.EINVAL
        if pages > TASK_SIZE_VPN:
            return -errno.ENOMEM
        vpn = vaddr_to_vpn(at_bytes)
        hint_free = vpn >= MMAP_MIN_VPN and not self.space.areas.tree(mm).overlapping(
            vpn, vpn + pages
        )
        if not flags & MAP_FIXED and not hint_free:
            vpn = self.unmapped_area(mm, pages, kind, pgoff)
            if vpn < 0:
                return -errno.ENOMEM
        vm_flags = (prot & VM_ACCESS) | mm.def_flags
        if flags & MAP_SHARED:
            vm_flags |= VM_SHARED | VM_MAYSHARE
        if flags & MAP_GROWSDOWN:
            vm_flags |= VM_GROWSDOWN
        if flags & MAP_LOCKED:
            vm_flags |= VM_LOCKED
        vma = VMA(mm, vpn, vpn + pages, vm_flags, kind)
        vma.mapping_id = mapping_id
        vma.file = file
        if kind != VMA_ANON:
            vma.pgoff = pgoff
        return self.map_area(task, vma, flags)

    def file(
        self,
        task: Task,
        size_bytes: int,
        prot: int,
        flags: int,
        file: object,
        mapping_id: int,
        offset_bytes: int = 0,
        at_bytes: int = 0,
    ) -> int:
        """mmap() of an open file from `offset_bytes`, MAP_SHARED or MAP_PRIVATE."""
        pgoff = vaddr_to_vpn(offset_bytes)
        return self._new(task, VMA_FILE, size_bytes, prot, flags, at_bytes, file, mapping_id, pgoff)

    def shared(
        self, task: Task, size_bytes: int, prot: int, flags: int = MAP_SHARED, at_bytes: int = 0
    ) -> int:
        """mmap(MAP_SHARED | MAP_ANONYMOUS): a shmem object of its own; the address or -errno.

        mm/shmem.c shmem_zero_setup() and shmem_acct_size(), v6.1: the object promises its whole
        size.
        """
        pages = bytes_to_pages(size_bytes)
        if not self.overcommit.enough(task.space(), pages, task.cap_sys_admin):
            return -errno.ENOMEM
        mapping_id = int(self.shmem.create(pages * 4096))
        file = OpenFile(0, self.shmem.page_cache.mapping(mapping_id), 0, None)
        self.shmem_pages[mapping_id] = pages
        address = self._new(
            task, VMA_SHMEM, size_bytes, prot, flags | MAP_SHARED, at_bytes, file, mapping_id
        )
        if address < 0:
            self._drop_shmem(mapping_id)
        return address

    def _drop_shmem(self, mapping_id: int) -> None:
        """The last area of an anonymous shared object is gone, and it with it."""
        self.overcommit.give_back(self.shmem_pages.pop(mapping_id))
        self.shmem.free_object(mapping_id)

    def forget_area(self, vma: VMA) -> None:
        """Take an area whose pages are gone out of its mm; give back what it promised."""
        if vma.vm_flags & VM_ACCOUNT:
            self.overcommit.give_back(vma.end_vpn - vma.start_vpn)
        self.space.areas.remove(vma)
        if vma.mapping_id in self.shmem_pages and not self.space.files.is_mapped(vma.mapping_id):
            self._drop_shmem(vma.mapping_id)

    def munmap(self, task: Task, at_bytes: int, size_bytes: int) -> int:
        """munmap(): 0 or a negative errno."""
        pages = bytes_to_pages(size_bytes)
        if at_bytes % 4096 or pages == 0:
            return -errno.EINVAL
        self.munmap_pages(task.space(), vaddr_to_vpn(at_bytes), vaddr_to_vpn(at_bytes) + pages)
        return 0

    def munmap_pages(self, mm: Mm, start_vpn: int, end_vpn: int) -> int:
        """Unmap every area in the range (do_mas_align_munmap(), v6.1); pages that were mapped."""
        space = self.space
        gone = 0
        areas = space.areas.isolate(mm, start_vpn, end_vpn)
        if not areas:
            return 0
        self.settle_objects()  # a part cut off is an area of its own, if only to be freed
        tree = space.areas.tree(mm)
        first = int(tree.index_above(areas[0].start_vpn)) - 1
        below, above = tree.at(first - 1), tree.at(first + len(areas))
        space.access.anon.lru.lru_add_drain()  # unmap_region()
        for vma in areas:
            gone += int(space.zap.unmap_range(vma, vma.start_vpn, vma.end_vpn))
        floor_vpn = below.end_vpn if below is not None else 0
        ceiling_vpn = above.start_vpn if above is not None else 1 << 40
        freed = space.tables.free_pgtables(
            mm, areas[0].start_vpn, areas[-1].end_vpn, floor_vpn, ceiling_vpn
        )
        space.zap.finish()
        for pfn in freed:
            space.table_alloc.give_back(pfn)
        for vma in areas:
            self._forget(mm, vma)
        self.settle_objects()
        return gone

    def _forget(self, mm: Mm, vma: VMA) -> None:
        pages = vma.end_vpn - vma.start_vpn
        if vma.vm_flags & VM_LOCKED:
            mm.locked_vm -= pages
        self.account(mm, vma, -pages)
        self.forget_area(vma)

    def brk(self, task: Task, brk_bytes: int) -> int:
        """brk(): the break afterwards, in bytes (mm/mmap.c brk and do_brk_flags(), v6.1)."""
        mm = task.space()
        if brk_bytes < mm.start_brk:
            return int(mm.brk)
        old_vpn, new_vpn = bytes_to_pages(mm.brk), bytes_to_pages(brk_bytes)
        if new_vpn <= old_vpn:
            if new_vpn < old_vpn:
                self.munmap_pages(mm, new_vpn, old_vpn)
        else:
            if self.space.areas.tree(mm).overlapping(old_vpn, new_vpn + 256):
                return int(mm.brk)
            vma = VMA(mm, old_vpn, new_vpn, VM_READ | VM_WRITE | mm.def_flags, VMA_ANON)
            if self.map_area(task, vma, MAP_PRIVATE) < 0:
                return int(mm.brk)
        mm.brk = brk_bytes
        return brk_bytes

    def covers(self, mm: Mm, start_vpn: int, end_vpn: int) -> bool:
        """Whether areas cover the range without a hole."""
        at = start_vpn
        for vma in self.space.areas.tree(mm).overlapping(start_vpn, end_vpn):
            if vma.start_vpn > at:
                return False
            at = vma.end_vpn
        return at >= end_vpn

    def mprotect(self, task: Task, at_bytes: int, size_bytes: int, prot: int) -> int:
        """mprotect(): 0 or a negative errno (mm/mprotect.c mprotect_fixup(), v6.1)."""
        mm, start_vpn = task.space(), vaddr_to_vpn(at_bytes)
        end_vpn = start_vpn + bytes_to_pages(size_bytes)
        if not self.covers(mm, start_vpn, end_vpn):
            return -errno.ENOMEM
        areas = self.space.areas.isolate(mm, start_vpn, end_vpn)
        self.settle_objects()
        for vma in areas:
            pages = vma.end_vpn - vma.start_vpn
            new_flags = (vma.vm_flags & ~VM_ACCESS) | (prot & VM_ACCESS)
            promised = vma.vm_flags & (VM_ACCOUNT | VM_WRITE | VM_SHARED | VM_NORESERVE)
            if prot & VM_WRITE and not promised:
                if not self.overcommit.enough(mm, pages, task.cap_sys_admin):
                    return -errno.ENOMEM
                new_flags |= VM_ACCOUNT
            self.account(mm, vma, -pages)
            vma.vm_flags = new_flags
            vma.set_prot()
            self.account(mm, vma, pages)
            self.space.page_walk.walk(vma, vma.start_vpn, vma.end_vpn, WALK_PROTECT)
        self.space.areas.merge_around(mm, start_vpn, end_vpn)
        self.settle_objects()
        return 0

    def set_lock(self, task: Task, at_bytes: int, size_bytes: int, lock: int) -> int:
        """mlock() when `lock` is VM_LOCKED, munlock() when it is 0; the caller then populates.

        mm/mlock.c apply_vma_lock_flags() and mlock_fixup(), v6.1.
        """
        mm, start_vpn = task.space(), vaddr_to_vpn(at_bytes)
        end_vpn = start_vpn + bytes_to_pages(size_bytes)
        lru = self.space.access.anon.lru
        if lock and task.memlock_limit_bytes >= 0:
            locked_bytes = vpn_to_vaddr(mm.locked_vm + end_vpn - start_vpn)
            if locked_bytes > task.memlock_limit_bytes:
                return -errno.ENOMEM
        if not self.covers(mm, start_vpn, end_vpn):
            return -errno.ENOMEM
        areas = self.space.areas.isolate(mm, start_vpn, end_vpn)
        self.settle_objects()
        for vma in areas:
            if vma.vm_flags & VM_LOCKED == lock or vma.vm_flags & (VM_IO | VM_PFNMAP):
                continue
            pages = vma.end_vpn - vma.start_vpn
            mm.locked_vm += pages if lock else -pages
            vma.vm_flags = (vma.vm_flags & ~VM_LOCKED) | lock
            lru.lru_add_drain()
            what = WALK_MLOCK if lock else WALK_MUNLOCK
            self.space.page_walk.walk(vma, vma.start_vpn, vma.end_vpn, what)
            lru.lru_add_drain()
        self.space.areas.merge_around(mm, start_vpn, end_vpn)
        self.settle_objects()
        return 0
