"""Owns the process that recorded machines run: a static PID 1, whose forks are the workers.

Imports the rest of process/, address_space, fault, page_cache. Has never heard of scripts. Which
pages such a program touches when it forks, wakes up and does its first operation was read from
smaps of 6.1 and 6.12 machines that run it: text and constants are faulted 16 pages at a time, so
the windows matter, not the instructions.

A booted machine's counters include this process already. So it is made of frames that boot took,
and the machine sets its counters to the recorded ones afterwards: see `make`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from memtwin.address_space.mm import Mm
from memtwin.address_space.vm_flags import (
    VM_ACCOUNT,
    VM_DONTCOPY,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_IO,
    VM_LOCKED,
    VM_PFNMAP,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
    VMA_ANON,
    VMA_FILE,
    VMA_PFNMAP,
    VMA_SHMEM,
    VMA_SPECIAL,
)
from memtwin.address_space.vma import VMA
from memtwin.address_space.vma_tree import VmaTree
from memtwin.fault.verdicts import EXEC, READ, WRITE
from memtwin.file_io.open_file import OpenFile
from memtwin.hardware.pte import PTE_DIRTY
from memtwin.page.flags import PG_DIRTY, PG_LRU, PG_UNEVICTABLE, PG_UPTODATE
from memtwin.page_cache.constants import FILE
from memtwin.page_cache.page_cache import PageCache
from memtwin.process.syscalls import Syscalls
from memtwin.process.task import Task

_RO, _RW, _RX = VM_READ, VM_READ | VM_WRITE, VM_READ | VM_EXEC
TEXT, RODATA, RELRO, DATA, BSS, HEAP = 0x401, 0x47F, 0x4A7, 0x4AB, 0x4AE, 0x4E2
VVAR, VDSO, STACK = 0x7FFFF7FF9, 0x7FFFF7FFD, 0x7FFFFFFDE
STACK_PAGES = 33
TOP, BELOW_TOP = STACK + STACK_PAGES - 1, STACK + STACK_PAGES - 2
IO_BUFFER, LINE_BUFFER = BSS + 16, BSS + 40
SLOT = -1  # the page of the shared area between PID 1 and its workers, wherever it lies
Touches = tuple[tuple[int, int], ...]
IMAGE_PAGES = 0xAE  # pages of the file that areas show
INO = 10157


@dataclass(frozen=True)
class ImageArea:
    """One area of the image, and which of its pages are resident in PID 1."""

    start_vpn: int
    size_pages: int
    vm_flags: int
    kind: int
    pgoff: int
    anon: tuple[int, ...] = ()  # resident anonymous pages
    file: tuple[int, ...] = ()  # resident pages of the file or the kernel image


AREAS = (
    ImageArea(0x400, 1, _RO, VMA_FILE, 0, (), (0x400,)),
    ImageArea(TEXT, 126, _RX, VMA_FILE, 1, (), tuple(range(TEXT, TEXT + 126))),
    ImageArea(RODATA, 40, _RO, VMA_FILE, 0x7F, (), tuple(range(0x480, 0x4A0))),
    # made read-only after relocation: it was writable once, so its promise stands
    ImageArea(RELRO, 4, _RO | VM_ACCOUNT, VMA_FILE, 0xA7, (0x4A9, 0x4AA), (0x4A7, 0x4A8)),
    ImageArea(DATA, 3, _RW | VM_ACCOUNT, VMA_FILE, 0xAB, (DATA, DATA + 1, DATA + 2)),
    ImageArea(BSS, 52, _RW | VM_ACCOUNT, VMA_ANON, BSS, tuple(range(BSS, BSS + 6))),
    ImageArea(HEAP, 34, _RW | VM_ACCOUNT, VMA_ANON, HEAP, (HEAP, HEAP + 1, HEAP + 2)),
    ImageArea(VVAR, 4, _RO | VM_IO | VM_PFNMAP, VMA_PFNMAP, 0),
    ImageArea(VDSO, 2, _RX, VMA_SPECIAL, 0, (), (VDSO,)),
    ImageArea(
        STACK, STACK_PAGES, _RW | VM_ACCOUNT | VM_GROWSDOWN, VMA_ANON, STACK, (BELOW_TOP, TOP)
    ),
)
BUFFER_PAGES = (512, 256)  # two locked buffers that children do not inherit
SEGMENTS_BYTES = {
    "start_code": 0x401000,
    "end_code": 4711921,
    "start_data": 4879736,
    "end_data": 4903792,
    "start_brk": HEAP << 12,
    "brk": (HEAP + 34) << 12,
    "start_stack": 140737488350768,
}

# What runs when. The forking process returns from fork and goes on:
PARENT_OF_WORKER = ((TOP, WRITE), (BELOW_TOP, WRITE), (BSS, WRITE), (BSS + 1, WRITE), (HEAP, WRITE))
# a worker wakes up, clears its I/O buffer and waits for an operation:
WORKER_WAKES = (
    (0x405, EXEC), (0x412, EXEC), (0x425, EXEC), (0x435, EXEC), (SLOT, READ), (DATA, WRITE),
    (DATA + 1, READ), (DATA + 2, READ), (TOP, WRITE), (BELOW_TOP, WRITE), (BSS, WRITE),
    (BSS + 2, WRITE), (BSS + 3, WRITE), (HEAP, WRITE),
    *((vpn, WRITE) for vpn in range(IO_BUFFER, IO_BUFFER + 16)),
)  # fmt: skip
# and does its first one:
WORKER_FIRST_OPERATION = (
    (0x445, EXEC), (0x455, EXEC), (0x485, READ), (0x495, READ), (VDSO, EXEC), (LINE_BUFFER, WRITE),
    (BSS + 4, WRITE), (RELRO, READ), (RELRO + 1, READ), (RELRO + 2, READ),
)  # fmt: skip
# A worker forks a worker and goes on; its next operation writes two pages that the child has
# copied by then:
PARENT_OF_FORK = ((TOP, WRITE), (BELOW_TOP, WRITE), (BSS, WRITE), (DATA, READ))
PARENT_OPERATION = ((BSS + 3, WRITE), (HEAP, WRITE))
FORK_WAKES = (
    (0x405, EXEC), (0x412, EXEC), (0x425, EXEC), (SLOT, READ), (TOP, WRITE), (BELOW_TOP, WRITE),
    (BSS + 3, WRITE), (DATA + 1, READ), (DATA + 2, READ),
)  # fmt: skip
FORK_FIRST_OPERATION = (
    (0x485, READ), (0x495, READ), (VDSO, EXEC), (BSS, WRITE), (HEAP, WRITE), (BSS + 2, READ),
    (BSS + 4, READ), (RELRO, READ), (RELRO + 1, READ), (RELRO + 2, READ),
)  # fmt: skip
FORK_ANSWERS = ((0x435, EXEC), (0x445, EXEC), (0x455, EXEC))
# any operation that draws random numbers writes the generator's state:
DRAWS_RANDOM = ((BSS + 2, WRITE),)


class Operation(Enum):
    """What an operation does beside its own touches."""

    PLAIN = ()
    DRAWS = DRAWS_RANDOM


class InitImage:
    """PID 1 and its workers. `take_frame` hands out frames that boot took.

    refcount 1, no flags.
    """

    def __init__(
        self, syscalls: Syscalls, page_cache: PageCache, take_frame: Callable[[], int]
    ) -> None:
        self.syscalls = syscalls
        self.space = syscalls.space
        self.page_cache = page_cache
        self.take_frame = take_frame
        self.mem = page_cache.mem
        # what each task will touch when it next wakes, does its next operation, and answers
        self.to_wake: dict[int, Touches] = {}
        self.to_operate: dict[int, Touches] = {}
        self.to_answer: dict[int, Touches] = {}
        self.vdso_pfn = take_frame()
        take_frame()  # its second page
        self.vvar_pfn = take_frame()

    def make(self, comm: str = "init") -> Task:
        """PID 1 with its resident pages, unkillable.

        Everything is counted as it is made; set the machine's counters to the recorded ones after
        `lru_add_drain_all`, and put its pages on no list twice: 16 anonymous pages and the 768
        locked ones lie on LRU lists, the file's pages (unevictable, of a memory file system) on
        none.
        """
        mms, tables = self.space.mms, self.space.tables
        mm = mms.create()
        mm.tree = VmaTree()
        tables.install_pgd(mm, self.take_frame())
        for name, value in SEGMENTS_BYTES.items():
            setattr(mm, name, value)
        mapping_id = int(self.page_cache.new_mapping(INO, FILE, IMAGE_PAGES * 4096))
        file = OpenFile(0, self.page_cache.mapping(mapping_id), 0, None)
        for area in AREAS:
            self._area(mm, area, file, mapping_id)
        task = self.syscalls.fork_exit.tasks.add(comm, mm, 0)
        task.unkillable = 1
        task.kstack = [self.take_frame() for _ in range(4)]
        for pages in BUFFER_PAGES:
            self._buffer(task, pages)
        self._slot(task)
        mm.hiwater_rss = mm.get_rss()
        return task

    def _area(self, mm: Mm, area: ImageArea, file: OpenFile, mapping_id: int) -> None:
        end_vpn = area.start_vpn + area.size_pages
        vma = VMA(mm, area.start_vpn, end_vpn, area.vm_flags, area.kind)
        vma.pgoff = area.pgoff
        if area.kind == VMA_FILE:
            vma.file, vma.mapping_id = file, mapping_id
        vma.special_pfn = {VMA_SPECIAL: self.vdso_pfn, VMA_PFNMAP: self.vvar_pfn}.get(area.kind, -1)
        self.space.areas.insert(vma)
        self.syscalls.mapper.account(mm, vma, area.size_pages)
        if area.vm_flags & VM_ACCOUNT:
            self.syscalls.mapper.overcommit.committed_pages += area.size_pages
        for vpn in area.anon:
            self._anon_page(vma, vpn)
        for vpn in area.file:
            self._table(mm, vpn)
            pfn = self.vdso_pfn
            if area.kind == VMA_FILE:
                pfn = self._file_page(file, area.pgoff + vpn - area.start_vpn)
            self.space.access.file.place(pfn, vma, vpn, 0)
        if area.kind == VMA_PFNMAP:
            self._table(mm, area.start_vpn)
            self.space.access.touch(mm, area.start_vpn, READ)

    def _table(self, mm: Mm, vpn: int) -> None:
        tables = self.space.tables
        while tables.missing_tables(mm, vpn):
            tables.install_table(mm, vpn, self.take_frame())

    def _anon_page(self, vma: VMA, vpn: int) -> None:
        self._table(vma.mm, vpn)
        self.space.access.anon.place(self.take_frame(), vma, vpn)

    def _file_page(self, file: OpenFile, index: int) -> int:
        pfn = self.take_frame()
        self.page_cache.add_to_page_cache(file.mapping, index, pfn)
        self.mem.refcount[pfn] -= 1  # boot's: the cache holds its own
        self.mem.flags[pfn] |= PG_UPTODATE | PG_DIRTY | PG_UNEVICTABLE
        self.mem.flags[pfn] &= ~PG_LRU
        return pfn

    def _buffer(self, task: Task, pages: int) -> None:
        mm, mapper = task.space(), self.syscalls.mapper
        vpn = mapper.unmapped_area(mm, pages, VMA_ANON)
        vma = VMA(mm, vpn, vpn + pages, _RW | VM_DONTCOPY | VM_LOCKED, VMA_ANON)
        mapper.map_area(task, vma, 0)
        kept = self.space.areas.tree(mm).find(vpn)
        assert kept is not None
        for at in range(vpn, vpn + pages):
            self._anon_page(kept, at)

    def _slot(self, task: Task) -> None:
        """The shared page through which PID 1 and its workers talk."""
        mm, mapper = task.space(), self.syscalls.mapper
        mapping_id = int(mapper.shmem.create(4096))
        file = OpenFile(0, self.page_cache.mapping(mapping_id), 0, None)
        mapper.shmem_pages[mapping_id] = 1
        mapper.overcommit.committed_pages += 1
        vpn = mapper.unmapped_area(mm, 1, VMA_SHMEM)
        vma = VMA(mm, vpn, vpn + 1, _RW | VM_SHARED, VMA_SHMEM)
        vma.file, vma.mapping_id, vma.pgoff = file, mapping_id, 0
        mapper.map_area(task, vma, 0)
        pfn = self.take_frame()
        self.page_cache.add_to_page_cache(file.mapping, 0, pfn)
        self.mem.refcount[pfn] -= 1
        self.mem.flags[pfn] |= PG_UPTODATE
        self.space.access.anon.lru.folio_add_lru(pfn)
        self._table(mm, vpn)
        self.space.access.file.place(pfn, vma, vpn, PTE_DIRTY)

    # what runs

    def run(self, task: Task, touches: Sequence[tuple[int, int]]) -> None:
        """Let `task` make `touches`, one of the tuples above."""
        for vpn, kind in touches:
            if not task.alive:
                return
            at = self._slot_vpn(task) if vpn == SLOT else vpn
            self.syscalls.touch(task, at << 12, kind)

    def _slot_vpn(self, task: Task) -> int:
        for vma in self.space.areas.tree(task.space()).vmas:
            if vma.kind == VMA_SHMEM and vma.end_vpn - vma.start_vpn == 1:
                return int(vma.start_vpn)
        raise AssertionError("process.init_image: the task has no slot page")

    def start_worker(self, init: Task) -> Task | int:
        """PID 1 forks a worker and goes on: the worker, or -errno."""
        worker = self.syscalls.fork(init)
        if isinstance(worker, Task):
            self.run(init, PARENT_OF_WORKER)
            self.to_wake[worker.pid] = WORKER_WAKES
            self.to_operate[worker.pid] = WORKER_FIRST_OPERATION
        return worker

    def fork_worker(self, parent: Task) -> Task | int:
        """A worker forks another and goes on: the child, or -errno."""
        child = self.syscalls.fork(parent)
        if isinstance(child, Task):
            self.run(parent, PARENT_OF_FORK)
            self.to_operate[parent.pid] = PARENT_OPERATION
            self.to_wake[child.pid] = FORK_WAKES
            self.to_operate[child.pid] = FORK_FIRST_OPERATION
            self.to_answer[child.pid] = FORK_ANSWERS
        return child

    def wake(self, task: Task) -> None:
        """`task` gets the CPU for the first time: when PID 1 waits, or reads a checkpoint's files.

        A recorded vmstat that follows a fork at once does not have these faults yet; the same
        checkpoint's files of the process do.
        """
        self.run(task, self.to_wake.pop(task.pid, ()))

    def before_operation(self, task: Task, operation: Operation = Operation.PLAIN) -> None:
        """What `task` touches between waking for an operation and doing it."""
        self.wake(task)
        self.run(task, self.to_operate.pop(task.pid, ()))
        self.run(task, operation.value)

    def after_operation(self, task: Task) -> None:
        """What `task` touches to report that its operation is done."""
        self.run(task, self.to_answer.pop(task.pid, ()))
