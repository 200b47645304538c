"""Owns how tasks begin and end: fork with its copy of the address space, exec's fresh one, exit.

Imports address_space, fault, overcommit, kernel_stack, task. Has never heard of why a task ends.
kernel/fork.c dup_mmap() and mm/mmap.c exit_mmap(), v6.1.
"""

from __future__ import annotations

import errno

from memtwin.address_space.mm import Mm
from memtwin.address_space.vm_flags import (
    VM_ACCOUNT,
    VM_DONTCOPY,
    VM_LOCKED,
    VM_LOCKONFAULT,
    VM_WIPEONFORK,
)
from memtwin.address_space.vma_tree import VmaTree
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.hardware.pte import TASK_SIZE_VPN
from memtwin.memcg.constants import ROOT_MEMCG
from memtwin.page.gfp import NEED_OOM
from memtwin.process.kernel_stack import KernelStacks
from memtwin.process.mmap import Mapper
from memtwin.process.space import Space
from memtwin.process.task import Task, Tasks
from memtwin.process.task_objects import TaskObjects

_COPIED = (
    "mmap_base_vpn", "total_vm", "exec_vm", "data_vm", "stack_vm", "start_code", "end_code",
    "start_data", "end_data", "start_brk", "brk", "start_stack",
)  # fmt: skip


class ForkExit:
    """Makes and ends tasks."""

    def __init__(
        self,
        space: Space,
        mapper: Mapper,
        tasks: Tasks,
        stacks: KernelStacks,
        clock: Clock,
        cost: CostTable,
    ) -> None:
        self.space = space
        self.mapper = mapper
        self.tasks = tasks
        self.stacks = stacks
        self.clock = clock
        self.cost = cost
        self.objects: TaskObjects | None = None  # None: a machine without slab caches

    def new_mm(self, memcg_id: int) -> Mm | None:
        """An empty address space of a group with its top table, or None when there is no memory."""
        mm = self.space.mms.create()
        mm.memcg = memcg_id
        mm.tree = VmaTree()
        if self.space.table_alloc.give_pgd(mm) < 0:
            self.space.mms.drop(mm)
            return None
        return mm

    def spawn(self, comm: str, memcg_id: int, ppid: int) -> Task | None:
        """A task with an empty address space (a fork and an exec), or None: no memory."""
        mm = self.new_mm(memcg_id)
        if mm is None:
            return None
        # whoever forked it moves it to its group before it execs: these stay with the forker
        return self._with_stack(comm, mm, ppid, 0, ROOT_MEMCG)

    def _with_stack(self, comm: str, mm: Mm, ppid: int, cpu: int, memcg: int) -> Task | None:
        """A task of `mm`; its stack and its objects are charged to the group `memcg`."""
        taken = [] if self.objects is None else self.objects.take(memcg)
        frames = None if taken is None else self.stacks.take(memcg, cpu)
        if taken is None or frames is None:
            if self.objects is not None and taken is not None:
                self.objects.give_back(taken, memcg)
            self.exit_mmap(mm)
            return None
        task = self.tasks.add(comm, mm, ppid)
        task.kstack = frames
        if self.objects is not None:
            self.objects.begin(task.pid, taken, memcg)
        task.cpu = cpu
        task.start_ns = int(self.clock.now_ns)
        return task

    def fork(self, parent: Task) -> Task | int:
        """A child of `parent` with a copy of its address space.

        NEED_OOM or a negative errno without it.
        """
        self.space.access.spend(self.cost.fork_ns)
        mm = self.new_mm(parent.space().memcg)
        if mm is None:
            return NEED_OOM
        verdict = self._dup_mmap(parent, mm)
        if verdict:
            self.exit_mmap(mm)
            return verdict
        child = self._with_stack(parent.comm, mm, parent.pid, parent.cpu, parent.memcg_id)
        if child is None:
            return NEED_OOM
        child.memcg_id = parent.memcg_id
        child.uid, child.cap_sys_admin = parent.uid, parent.cap_sys_admin
        child.oom_score_adj = parent.oom_score_adj
        child.cmdline, child.exe = parent.cmdline, parent.exe
        child.files = dict(parent.files)
        child.stack_limit_bytes = parent.stack_limit_bytes
        child.memlock_limit_bytes = parent.memlock_limit_bytes
        return child

    def _dup_mmap(self, parent: Task, mm: Mm) -> int:
        """Copy areas and entries; 0, NEED_OOM, or -ENOMEM when the promise is refused."""
        space, old = self.space, parent.space()
        for name in _COPIED:
            setattr(mm, name, getattr(old, name))
        for vma in list(space.areas.tree(old).vmas):
            pages = vma.end_vpn - vma.start_vpn
            if vma.vm_flags & VM_DONTCOPY:
                self.mapper.account(mm, vma, -pages)
                continue
            if vma.vm_flags & VM_ACCOUNT:
                if not self.mapper.overcommit.enough(old, pages, parent.cap_sys_admin):
                    return -errno.ENOMEM
            twin = vma.copy_to(mm)
            twin.vm_flags &= ~(VM_LOCKED | VM_LOCKONFAULT)
            if not vma.vm_flags & VM_WIPEONFORK:
                space.anon_vmas.fork(twin, vma)
            space.areas.insert(twin)
            if not vma.vm_flags & VM_WIPEONFORK and space.copy_range.copy_vma(mm, vma) < 0:
                return NEED_OOM
        mm.hiwater_rss = mm.get_rss()
        mm.hiwater_vm = mm.total_vm
        return 0

    def exit_mmap(self, mm: Mm) -> None:
        """Unmap everything, free the tables, forget the mm."""
        space = self.space
        areas = list(space.areas.tree(mm).vmas)
        space.access.anon.lru.lru_add_drain()
        for vma in areas:
            space.zap.unmap_range(vma, vma.start_vpn, vma.end_vpn)
        freed = space.tables.free_pgtables(mm, 0, TASK_SIZE_VPN, 0, 1 << 40)
        space.zap.finish()
        for pfn in freed:
            space.table_alloc.give_back(pfn)
        for vma in areas:
            self.mapper.forget_area(vma)
        mm.sync_rss()
        if mm.pgd >= 0:
            space.table_alloc.give_back(space.tables.free_pgd(mm))
        space.mms.drop(mm)
        if self.objects is not None:
            self.objects.settle()

    def exit(self, task: Task, code: int, signal: int) -> None:
        """The task ends with an exit code or by a signal; its memory is free when this returns."""
        mm = task.space()
        task.min_flt, task.maj_flt = int(mm.min_flt), int(mm.maj_flt)
        task.mm = None
        mm.users -= 1
        if mm.users == 0:
            self.exit_mmap(mm)
        self.stacks.drop(task.kstack, task.cpu)
        task.kstack = []
        if self.objects is not None:
            self.objects.end(task.pid)
        task.alive = 0
        task.exit_code, task.exit_signal = code, signal
