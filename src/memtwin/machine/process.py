"""Owns the face of one simulated process: what it can be made to do, as jobs and as plain calls.

Imports process, file_io, units. Knows nothing of scripts or traces. Each verb exists as a job (a
generator that yields where another process could run) named `*_job`, which schedulers take; the
plain verb runs the job to its end. Addresses and sizes are bytes; negative answers are errno, as
the kernel's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from memtwin.errors import UserError
from memtwin.fault.verdicts import READ, VM_FAULT_OOM, WRITE
from memtwin.file_io.files import CREATE, FOR_READING, FOR_WRITING, MUST_EXIST
from memtwin.file_io.open_file import OpenFile
from memtwin.hardware.pte import PTE_PFN_MASK, PTE_PFN_SHIFT
from memtwin.machine.scheduler import Job
from memtwin.page.gfp import NEED_OOM
from memtwin.process.mmap import MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE
from memtwin.process.syscalls import MAP_POPULATE
from memtwin.process.task import Task
from memtwin.units import PAGE_SIZE, parse_size, vaddr_to_vpn

if TYPE_CHECKING:
    from memtwin.machine.machine import Machine

Pages = npt.NDArray[np.int64]
DEFAULT_BLOCK_BYTES = 64 << 10
KINDS = {"r": READ, "w": WRITE, "read": READ, "write": WRITE}


class Process:
    """One process of a machine. `alive` turns False when it exits or is killed."""

    def __init__(self, machine: Machine, task: Task, name: str) -> None:
        self.machine = machine
        self.kernel = machine.kernel
        self.syscalls = machine.syscalls
        self.task = task
        self.name = name

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.task.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return bool(self.task.alive)

    # memory

    def mmap(self, size: int | str, kind: str = "anon", populate: str = "") -> int:
        """Map `size` (bytes or text as "32M") of anonymous memory: its address, or -errno.

        `kind` is "anon" (private) or "shm" (shared); `populate` is "populate" or "".
        """
        self.machine.enter(self)
        size_bytes = parse_size(size, "mmap") if isinstance(size, str) else size
        flags = MAP_POPULATE if populate else 0
        if kind == "shm":
            prot = PROT_READ | PROT_WRITE
            return self.syscalls.mmap_shared(self.task, size_bytes, prot, MAP_SHARED | flags)
        return self.syscalls.mmap(
            self.task, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | flags
        )

    def mmap_file(self, path: str, sharing: str = "shared", access: str = "rw") -> tuple[int, int]:
        """Map the whole pages of the file at `path`: (address or -errno, length in bytes)."""
        self.machine.enter(self)
        files = self.kernel.files
        how = FOR_READING if access == "ro" else FOR_WRITING
        file_id = files.open(path, MUST_EXIST, how)
        if file_id < 0:
            return file_id, 0
        file = files.file(file_id)
        length = int(file.mapping.size_bytes) // PAGE_SIZE * PAGE_SIZE
        prot = PROT_READ if access == "ro" else PROT_READ | PROT_WRITE
        flags = MAP_SHARED if sharing == "shared" else MAP_PRIVATE
        address = self.map_open_file(file, length, prot, flags)
        files.close(file_id)
        return address, length

    def map_open_file(
        self, file: OpenFile, length: int, prot: int, flags: int, offset: int = 0, at: int = 0
    ) -> int:
        """Map part of an open file; the area is one more user of it: address or -errno."""
        return self.syscalls.mmap_file(
            self.task, length, prot, flags, file, int(file.mapping.id), offset, at
        )

    def munmap(self, address: int, size_bytes: int) -> int:
        """0 or -errno."""
        self.machine.enter(self)
        return self.syscalls.munmap(self.task, address, size_bytes)

    def madvise(self, address: int, size_bytes: int, advice: str) -> int:
        """0 or -errno; `advice` in lower case without MADV_."""
        self.machine.enter(self)
        return self.syscalls.madvise(self.task, address, size_bytes, advice)

    def mlock(self, address: int, size_bytes: int) -> int:
        """0 or -errno."""
        self.machine.enter(self)
        return self.syscalls.mlock(self.task, address, size_bytes)

    def munlock(self, address: int, size_bytes: int) -> int:
        """0 or -errno."""
        self.machine.enter(self)
        return self.syscalls.munlock(self.task, address, size_bytes)

    def touch(self, address: int, pages: int | Iterable[int] = 1, how: str = "w") -> None:
        """Touch pages of the area at `address`: the first `pages`, or those page numbers in order.

        `how` is "r" or "w". A process that the touch kills is not `alive` afterwards.
        """
        wanted = (
            np.arange(pages, dtype=np.int64)
            if isinstance(pages, int)
            else np.fromiter(pages, dtype=np.int64)
        )
        self.machine.run(self, self.touch_job(address, wanted, KINDS[how]))

    def touch_job(self, address: int, pages: Pages, kind: int) -> Job:
        """Touch vpn(address) + pages[i] in order."""
        vpns = np.ascontiguousarray(pages + vaddr_to_vpn(address), dtype=np.int64)
        access, task, at = self.kernel.access, self.task, 0
        self.machine.enter(self)
        while at < len(vpns) and task.alive:
            at = int(access.touch_list(task.space(), vpns.data, at, len(vpns), kind))
            if access.verdict and not self.syscalls.answer(task, int(access.verdict)):
                return
            if at < len(vpns) and self.kernel.clock.must_yield:
                yield
                self.machine.enter(self)

    def fill_job(self, address: int, first: int, count: int, content: int) -> Job:
        """Write whole pages first .. first + count - 1 of an area with data of class `content`."""
        kernel, vpn = self.kernel, vaddr_to_vpn(address)
        tables, content_of = kernel.tables, kernel.content
        chunk = 32
        for start in range(first, first + count, chunk):
            pages = np.arange(start, min(start + chunk, first + count), dtype=np.int64)
            for page in pages:
                yield from self.touch_job(address, np.array([page], dtype=np.int64), WRITE)
                if not self.task.alive:
                    return
                entry = int(tables.entry(self.task.space(), vpn + int(page)))
                content_of.set_content(pfn_of_entry(entry), content)

    # files

    def open(self, path: str, create: str = "", access: str = "rw") -> int:
        """A file id, or -errno. `create` is "create" or ""."""
        self.machine.enter(self)
        how = FOR_READING if access == "ro" else FOR_WRITING
        return self.kernel.files.open(path, CREATE if create else MUST_EXIST, how)

    def read_file(
        self,
        path: str,
        offset: int = 0,
        length: int | None = None,
        block: int = DEFAULT_BLOCK_BYTES,
    ) -> None:
        """read() a file that the machine declares from end to end, `block` bytes a call."""
        file_id = self.open(path, access="ro")
        if file_id < 0:
            raise UserError(f"read_file: found no {path!r} on this machine")
        size = int(self.kernel.files.file(file_id).mapping.size_bytes)
        wanted = size - offset if length is None else length
        self.machine.run(self, self.read_job(file_id, offset, wanted, block))
        self.kernel.files.close(file_id)

    def read_job(self, file_id: int, offset: int, length: int, block_bytes: int) -> Job:
        """read() `length` bytes from `offset`, `block_bytes` a call."""
        files, done = self.kernel.files, 0
        self.machine.enter(self)
        while done < length and self.task.alive:
            got = files.read_range(file_id, offset + done, length - done, block_bytes)
            if got == NEED_OOM:
                if not self.syscalls.answer(self.task, VM_FAULT_OOM):
                    return
                continue
            self.task.times.count_read(max(got, 0), max(-(-got // block_bytes), 1))
            if got <= 0:
                return
            done += got
            if self.kernel.clock.must_yield:
                yield
                self.machine.enter(self)

    def read_blocks_job(self, file_id: int, blocks: Pages, block_bytes: int) -> Job:
        """One read() of `block_bytes` at each of `blocks`, in order."""
        for block in blocks.tolist():
            yield from self.read_job(file_id, block * block_bytes, block_bytes, block_bytes)

    def write_job(self, file_id: int, offset: int, length: int, block_bytes: int) -> Job:
        """write() `length` bytes from `offset`, `block_bytes` a call."""
        files, done = self.kernel.files, 0
        self.machine.enter(self)
        while done < length and self.task.alive:
            got = files.write(file_id, offset + done, min(block_bytes, length - done))
            if got == NEED_OOM:
                if not self.syscalls.answer(self.task, VM_FAULT_OOM):
                    return
                continue
            self.task.times.count_write(max(got, 0))
            if got <= 0:
                return
            done += got
            if self.kernel.clock.must_yield:
                yield
                self.machine.enter(self)

    # life

    def fork(self, name: str) -> Process | int:
        """A child called `name`, or -errno."""
        return self.machine.fork(self, name)

    def kill(self) -> None:
        """End it by SIGKILL, as an administrator would."""
        if self.task.alive:
            self.machine.enter(self)
            self.syscalls.kill(self.task)


def pfn_of_entry(entry: int) -> int:
    """The frame of a present page table entry."""
    return (entry & PTE_PFN_MASK) >> PTE_PFN_SHIFT
