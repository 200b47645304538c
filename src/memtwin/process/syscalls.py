"""Owns the border: what a program may ask of its kernel, errno as the answer, and its OOM.

Imports the rest of process/ and fault/access. What workload/ calls is here. Addresses and sizes
are bytes, negative answers are errno. A fault that finds no memory calls the OOM killer and is
made again while its task lives.
"""

from __future__ import annotations

import errno

from memtwin.address_space.vm_flags import VM_IO, VM_LOCKED, VM_PFNMAP, VM_SHARED, VM_WRITE
from memtwin.address_space.vma import VMA
from memtwin.errors import UserError
from memtwin.fault.verdicts import (
    READ,
    VM_FAULT_OOM,
    VM_FAULT_SIGBUS,
    VM_FAULT_SIGSEGV,
    WRITE,
)
from memtwin.page.gfp import NEED_OOM
from memtwin.process.fork_exit import ForkExit
from memtwin.process.madvise import Madvise
from memtwin.process.mmap import (
    MAP_LOCKED,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_MAYMOVE,
    PROT_READ,
    PROT_WRITE,
    Mapper,
)
from memtwin.process.mremap import ANYWHERE, Mremap
from memtwin.process.oom import OomKiller
from memtwin.process.space import Space
from memtwin.process.task import SIGBUS, SIGKILL, SIGSEGV, Task
from memtwin.reclaim.slowpath import Slowpath
from memtwin.units import bytes_to_pages, vaddr_to_vpn

MAP_POPULATE = 64
_RW = PROT_READ | PROT_WRITE


class Syscalls:
    """The system calls of one machine."""

    def __init__(
        self, space: Space, mapper: Mapper, fork_exit: ForkExit, oom: OomKiller, slowpath: Slowpath
    ) -> None:
        self.space = space
        self.mapper = mapper
        self.fork_exit = fork_exit
        self.oom = oom
        self.slowpath = slowpath
        self.madvise_calls = Madvise(mapper)
        self.mremap_calls = Mremap(mapper)
        self.access = space.access

    # memory

    def mmap(
        self,
        task: Task,
        size_bytes: int,
        prot: int = _RW,
        flags: int = MAP_PRIVATE,
        at_bytes: int = 0,
    ) -> int:
        """Anonymous private memory: its address or -errno; with MAP_POPULATE it is faulted in."""
        address = self.mapper.anonymous(task, size_bytes, prot, flags & ~MAP_POPULATE, at_bytes)
        return self._populated(task, address, size_bytes, flags)

    def mmap_shared(
        self,
        task: Task,
        size_bytes: int,
        prot: int = _RW,
        flags: int = MAP_SHARED,
        at_bytes: int = 0,
    ) -> int:
        """Anonymous shared memory: its address or -errno."""
        address = self.mapper.shared(task, size_bytes, prot, flags & ~MAP_POPULATE, at_bytes)
        return self._populated(task, address, size_bytes, flags)

    def mmap_file(
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
        """A file's pages (MAP_SHARED or MAP_PRIVATE): their address or -errno."""
        address = self.mapper.file(
            task, size_bytes, prot, flags & ~MAP_POPULATE, file, mapping_id, offset_bytes, at_bytes
        )
        return self._populated(task, address, size_bytes, flags)

    def _populated(self, task: Task, address: int, size_bytes: int, flags: int) -> int:
        self.access.spend(self.fork_exit.cost.syscall_ns)
        if address >= 0 and flags & (MAP_POPULATE | MAP_LOCKED):
            self.populate(task, address, size_bytes)
        return address

    def populate(self, task: Task, at_bytes: int, size_bytes: int) -> int:
        """mm_populate(): fault every page in, by writing where memory is private and writable."""
        at = vaddr_to_vpn(at_bytes)
        end_vpn = at + bytes_to_pages(size_bytes)
        for vma in self.space.areas.tree(task.space()).overlapping(at, end_vpn):
            if vma.vm_flags & (VM_IO | VM_PFNMAP):
                continue
            kind = WRITE if vma.vm_flags & (VM_WRITE | VM_SHARED) == VM_WRITE else READ
            first, beyond = max(at, vma.start_vpn), min(end_vpn, vma.end_vpn)
            done = self._run_seq(task, vma, first, beyond, kind)
            self.access.anon.lru.lru_add_drain()  # mm/gup.c populate_vma_page_range(), v6.1
            if done < beyond or not task.alive:
                return -errno.ENOMEM
        return 0

    def _run_seq(self, task: Task, vma: VMA, first: int, beyond: int, kind: int) -> int:
        at = first
        while at < beyond and task.alive:
            reached = int(
                self.access.touch_seq(
                    task.space(), first, 0, 1, beyond - first, at - first, beyond - first, kind
                )
            )
            at = first + reached
            if self.access.verdict and not self.answer(task, int(self.access.verdict)):
                break
        return at

    def munmap(self, task: Task, at_bytes: int, size_bytes: int) -> int:
        """0 or -errno."""
        self.access.spend(self.fork_exit.cost.syscall_ns)
        return self.mapper.munmap(task, at_bytes, size_bytes)

    def brk(self, task: Task, brk_bytes: int) -> int:
        """The break afterwards."""
        self.access.spend(self.fork_exit.cost.syscall_ns)
        return self.mapper.brk(task, brk_bytes)

    def mprotect(self, task: Task, at_bytes: int, size_bytes: int, prot: int) -> int:
        """0 or -errno."""
        self.access.spend(self.fork_exit.cost.syscall_ns)
        return self.mapper.mprotect(task, at_bytes, size_bytes, prot)

    def mremap(
        self,
        task: Task,
        at_bytes: int,
        old_bytes: int,
        new_bytes: int,
        flags: int = MREMAP_MAYMOVE,
        to_bytes: int = ANYWHERE,
    ) -> int:
        """The address afterwards or -errno; `to_bytes` is where MREMAP_FIXED wants it."""
        self.access.spend(self.fork_exit.cost.syscall_ns)
        wanted = (at_bytes, old_bytes, new_bytes, flags, to_bytes)
        answer = self.mremap_calls.mremap(task, *wanted)
        while answer == NEED_OOM and self.answer(task, VM_FAULT_OOM):
            answer = self.mremap_calls.mremap(task, *wanted)
        return -errno.ENOMEM if answer == NEED_OOM else answer

    def madvise(self, task: Task, at_bytes: int, size_bytes: int, advice: str) -> int:
        """0 or -errno; `advice` in lower case without MADV_."""
        self.access.spend(self.fork_exit.cost.syscall_ns)
        return self.madvise_calls.madvise(task, at_bytes, size_bytes, advice)

    def mlock(self, task: Task, at_bytes: int, size_bytes: int) -> int:
        """0 or -errno: lock the range and fault it in."""
        answer = self.mapper.set_lock(task, at_bytes, size_bytes, VM_LOCKED)
        return answer or self.populate(task, at_bytes, size_bytes)

    def munlock(self, task: Task, at_bytes: int, size_bytes: int) -> int:
        """0 or -errno."""
        return self.mapper.set_lock(task, at_bytes, size_bytes, 0)

    def mincore(self, task: Task, at_bytes: int, size_bytes: int) -> int:
        """Resident pages of the range, or -errno."""
        first = vaddr_to_vpn(at_bytes)
        beyond = first + bytes_to_pages(size_bytes)
        if not self.mapper.covers(task.space(), first, beyond):
            return -errno.ENOMEM
        return sum(
            int(
                self.space.page_walk.resident(
                    vma, max(first, vma.start_vpn), min(beyond, vma.end_vpn)
                )
            )
            for vma in self.space.areas.tree(task.space()).overlapping(first, beyond)
        )

    # tasks

    def spawn(self, comm: str, memcg_id: int = 0, ppid: int = 0) -> Task:
        """A task with an empty address space; UserError when the machine has no memory for it."""
        task = self.fork_exit.spawn(comm, memcg_id, ppid)
        if task is None:
            raise UserError(f"spawn {comm}: the machine has no memory left for another task")
        return task

    def fork(self, parent: Task) -> Task | int:
        """The child, or -errno."""
        child = self.fork_exit.fork(parent)
        while isinstance(child, int) and child == NEED_OOM:
            if not self.answer(parent, VM_FAULT_OOM):
                return -errno.ENOMEM
            child = self.fork_exit.fork(parent)
        return child

    def exit(self, task: Task, code: int = 0) -> None:
        """The task ends by itself."""
        self.fork_exit.exit(task, code, 0)

    def kill(self, task: Task, signal: int = SIGKILL) -> None:
        """The task ends by a signal that it does not handle."""
        self.fork_exit.exit(task, 0, signal)

    # touching

    def touch(self, task: Task, address: int, kind: int) -> int:
        """Touch one byte: 0 or VM_FAULT_MAJOR.

        After an error the task is dead and the error is returned.
        """
        while True:
            verdict = int(self.access.touch(task.space(), vaddr_to_vpn(address), kind))
            if not self.access.verdict or not self.answer(task, verdict):
                return verdict

    def answer(self, task: Task, verdict: int) -> bool:
        """What follows a failed touch: whether it may be made again. Otherwise the task is dead."""
        if verdict & VM_FAULT_OOM:
            if self.oom.out_of_memory(task, int(self.slowpath.oom_memcg_id)):
                return True
            if task.alive and self.oom.panicked:
                raise UserError(f"the simulated kernel panicked: {self.oom.panicked}")
            if task.alive and self.slowpath.oom_memcg_id >= 0:
                # mm/memcontrol.c mem_cgroup_oom(), v6.1: nobody to kill, the fault would be made
                # for ever
                raise UserError(
                    f"memcg {self.slowpath.oom_memcg_id} is over its limit and has no task to kill"
                )
            return False
        if verdict & VM_FAULT_SIGSEGV:
            self.kill(task, SIGSEGV)
        elif verdict & VM_FAULT_SIGBUS:
            self.kill(task, SIGBUS)
        else:
            return True
        return False
