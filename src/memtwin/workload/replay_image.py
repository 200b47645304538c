"""Owns how a trace's events other than touches are done to a machine: maps, files, processes.

Imports machine, record/schema, process. Knows nothing of touches, limits or results. An event that
the twin cannot do as recorded is counted under its name in `skipped`, so that the report can say
so.
"""

from __future__ import annotations

from collections import Counter

from memtwin.fault.verdicts import READ, VM_FAULT_OOM, WRITE
from memtwin.file_io.files import FOR_WRITING, MUST_EXIST
from memtwin.hardware.pte import TASK_SIZE_VPN
from memtwin.machine.machine import Machine
from memtwin.machine.process import Process
from memtwin.page.gfp import NEED_OOM
from memtwin.process.mmap import (
    MAP_FIXED,
    MAP_GROWSDOWN,
    MAP_NORESERVE,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_MAYMOVE,
)
from memtwin.process.syscalls import MAP_POPULATE
from memtwin.record.schema import (
    TOUCHES,
    ExitKind,
    TracedFile,
    TraceMetadata,
    TraceOp,
    map_flags,
    map_offset_pages,
)
from memtwin.units import PAGE_SIZE

# include/uapi/asm-generic/mman-common.h and arch/x86/include/uapi/asm/mman.h, v6.12: the recorded
# bits
_MAP_TYPE_SHARED, _MAP_ANONYMOUS, _MAP_GROWSDOWN = 0x01, 0x20, 0x0100
_MAP_NORESERVE, _MAP_POPULATE = 0x4000, 0x8000
_CLONE_VM = 0x100
_O_TRUNC = 0x200  # include/uapi/asm-generic/fcntl.h, v6.12
# include/uapi/asm-generic/mman-common.h, v6.12
ADVICE_NAMES = {
    0: "normal", 1: "random", 2: "sequential", 3: "willneed", 4: "dontneed", 8: "free",
    10: "dontfork", 11: "dofork", 14: "hugepage", 15: "nohugepage",
    18: "wipeonfork", 19: "keeponfork", 20: "cold",
    21: "pageout",
}  # fmt: skip
_CHUNK_BYTES = 64 << 10


class Image:
    """The recorded program's processes and files on one machine."""

    def __init__(self, machine: Machine, metadata: TraceMetadata, group: str) -> None:
        self.machine = machine
        self.files = machine.kernel.files
        self.traced = metadata.files
        self.comm = {thread.tid: thread.comm for thread in metadata.threads}
        self.command = tuple(metadata.command)
        self.group = group
        self.of_thread: dict[int, Process] = {}
        self.all: list[Process] = []
        self.skipped: Counter[str] = Counter()
        self._opened: dict[int, int] = {}  # traced file -> file id
        self._verbs = {
            int(op): getattr(self, f"_{op.name.lower()}") for op in TraceOp if op not in TOUCHES
        }
        self.first_tid = 1  # of the program's first process
        for thread in metadata.threads:
            if thread.parent == 0 and not self.all:
                self.first_tid = thread.tid
                self._begin(thread.tid)

    def _begin(self, tid: int) -> Process:
        process = self.machine.spawn(self.comm.get(tid, "program"), self.group)
        self.of_thread[tid] = process
        self.all.append(process)
        return process

    def process_of(self, tid: int) -> Process:
        """The process that thread `tid` belongs to."""
        found = self.of_thread.get(tid)
        return found if found is not None else self._begin(tid)

    def alive(self) -> bool:
        """Whether any recorded process still runs in the twin."""
        # asked after every run of touches, of which a recording has many: no generator for the
        # usual case
        if self.all and self.all[0].task.alive:
            return True
        return any(process.alive for process in self.all)

    def do(self, op: int, tid: int, a: int, b: int, c: int, d: int, e: int) -> None:
        """One event of the trace; does nothing for a process that has died in the twin."""
        process = self.process_of(tid)
        if not process.alive:
            return
        self.machine.enter(process)
        self._verbs[op](process, a, b, c, d, e)

    # address space

    def _map(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        recorded = map_flags(d)
        flags = MAP_FIXED
        flags |= MAP_SHARED if recorded & _MAP_TYPE_SHARED else MAP_PRIVATE
        flags |= MAP_GROWSDOWN if recorded & _MAP_GROWSDOWN else 0
        flags |= MAP_NORESERVE if recorded & _MAP_NORESERVE else 0
        flags |= MAP_POPULATE if recorded & _MAP_POPULATE else 0
        file_id = self._file(e) if e >= 0 and not recorded & _MAP_ANONYMOUS else -1
        if file_id >= 0:
            file = self.files.file(file_id)
            address = process.map_open_file(file, b, c, flags, map_offset_pages(d) * PAGE_SIZE, a)
        elif flags & MAP_SHARED:
            address = process.syscalls.mmap_shared(process.task, b, c, flags, a)
        else:
            address = process.syscalls.mmap(process.task, b, c, flags, a)
        if address < 0:
            self.skipped["MAP"] += 1

    def _unmap(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        process.syscalls.munmap(process.task, a, b)

    def _protect(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        process.syscalls.mprotect(process.task, a, b, c)

    def _remap(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        answer = process.syscalls.mremap(process.task, a, b, c, MREMAP_MAYMOVE, d)
        if answer != d:
            self.skipped["REMAP"] += 1

    def _brk(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        if a == b:
            mm = process.task.space()
            mm.start_brk = mm.brk = b
        else:
            process.syscalls.brk(process.task, b)

    def _madvise(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        if c in ADVICE_NAMES:
            process.syscalls.madvise(process.task, a, b, ADVICE_NAMES[c])
        else:
            self.skipped[f"MADVISE {c}"] += 1

    def _mlock(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        if b < 0:
            self.skipped["MLOCKALL"] += 1
        else:
            process.syscalls.mlock(process.task, a, b)

    def _munlock(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        if b >= 0:
            process.syscalls.munlock(process.task, a, b)

    def _msync(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        self.skipped["MSYNC"] += 1

    def _fault(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        # include/asm/trap_pf.h X86_PF_WRITE, v6.12
        process.syscalls.touch(process.task, a * PAGE_SIZE, WRITE if b & 2 else READ)

    # files

    def known(self, number: int) -> TracedFile | None:
        """The traced file `number` if it is one that the page cache holds."""
        if not 0 <= number < len(self.traced):
            return None
        file = self.traced[number]
        return file if file.kind in ("regular", "memfd", "block_device") else None

    def _file(self, number: int) -> int:
        """The machine's file id of traced file `number`, opened once; -1 for what has no pages."""
        if number in self._opened:
            return self._opened[number]
        file = self.known(number)
        if file is None:
            return -1
        path = f"/{number:06d}"
        self.files.declare(path, file.size_bytes)
        self._opened[number] = self.files.open(path, MUST_EXIST, FOR_WRITING)
        inode = self.files.file(self._opened[number]).inode
        self.machine.kernel.file_rooms.shown_paths[inode.ino] = file.path
        return self._opened[number]

    def warm(self, number: int) -> None:
        """Bring a traced file into the page cache on nobody's account, as earlier programs would
        have.
        """
        file_id = self._file(number)
        if file_id < 0:
            return
        self.machine.kernel.file_rooms.cache_pages.memcg_id = 0
        size = int(self.files.file(file_id).mapping.size_bytes)
        done = 0
        while done < size:
            got = self.files.read_range(file_id, done, size - done, _CHUNK_BYTES)
            if got <= 0:
                return
            done += got

    def _copy(self, process: Process, buffer: int, length: int, kind: int) -> None:
        """The kernel copies from (READ) or to (WRITE) the program's buffer."""
        if buffer and length > 0:
            for vpn in range(buffer // PAGE_SIZE, (buffer + length - 1) // PAGE_SIZE + 1):
                if process.alive:
                    process.syscalls.touch(process.task, vpn * PAGE_SIZE, kind)

    def _read(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        file_id, done = self._file(a), 0
        if file_id >= 0 and b >= 0:
            file, filemap = self.files.file(file_id), self.files.filemap
            filemap.begin_read(file)
            while done < c and process.alive:
                got = int(filemap.read_batch(file, b + done, c - done))
                if got == NEED_OOM:
                    process.syscalls.answer(process.task, VM_FAULT_OOM)
                elif got <= 0:
                    break
                else:
                    # each batch of pages is copied before the next is looked for
                    self._copy(process, d + done if d else 0, got, WRITE)
                    done += got
            filemap.end_read(file)
            process.task.times.count_read(done)
        self._copy(process, d + done if d else 0, c - done, WRITE)

    def _write(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        # DIFFERS: a write()'s whole buffer is read before its first page is written; the kernel
        # goes page by page; bends large writes from memory that is swapped out
        self._copy(process, d, c, READ)
        file_id, done = self._file(a), 0
        while file_id >= 0 and b >= 0 and done < c and process.alive:
            got = self.files.write(file_id, b + done, c - done)
            if got == NEED_OOM:
                process.syscalls.answer(process.task, VM_FAULT_OOM)
            elif got <= 0:
                break
            else:
                done += got
        if file_id >= 0:
            process.task.times.count_write(done)

    def _open(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        """Files are opened when first used: one file object each, whose readahead state is shared.

        # DIFFERS: two descriptors of one file share their readahead state; a file is opened once;
        # readahead of programs that read one file from two places at once.
        """
        if c & _O_TRUNC and self._file(a) >= 0:
            self.files.truncate(self._file(a), 0)

    def _close(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        """The file stays open in the twin until the replay ends; see `_open`."""

    def _dup(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        """A second descriptor of a file has no pages of its own."""

    def _fsync(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        if a < 0:
            self.files.sync()
        elif self._file(a) >= 0:
            self.files.fsync(self._file(a))

    def _fadvise(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        if self._file(a) >= 0:
            self.files.fadvise(self._file(a), d)

    def _truncate(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        if self._file(a) >= 0:
            self.files.truncate(self._file(a), b)

    def _fallocate(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        self.skipped["FALLOCATE"] += 1

    def _unlink(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        if b <= 0 and a in self._opened:
            file_id = self._opened.pop(a)
            self.files.truncate(file_id, 0)
            self.files.close(file_id)

    # processes

    def _clone(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        if a <= 0:
            return
        if b & _CLONE_VM:
            self.of_thread[a] = process
            return
        child = process.fork(self.comm.get(a, process.name))
        if isinstance(child, int):
            self.skipped["CLONE"] += 1
            return
        self.of_thread[a] = child
        self.all.append(child)

    def _exec(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        process.syscalls.munmap(process.task, 0, TASK_SIZE_VPN * PAGE_SIZE)
        task = process.task
        first = not task.cmdline and process is self.all[0]
        if 0 <= a < len(self.traced):
            task.exe = self.traced[a].path
        # a recording has the words of its first program only: of a later one, its path
        task.cmdline = self.command if first else tuple(filter(None, [task.exe]))

    def _exit(self, process: Process, a: int, b: int, c: int, d: int, e: int) -> None:
        if b != ExitKind.THREAD:
            process.syscalls.exit(process.task, a if b == ExitKind.PROCESS else 0)
