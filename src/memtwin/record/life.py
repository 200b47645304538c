"""Owns the recorder at native speed: system calls and page faults from the kernel's own tracing.

Imports calls, follow, host, part_writer, program, schema, tracefs. Opt-in and for root. It sees
the life of the address space, not touches: a page appears when it faults, not when it is used
again.
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memtwin.record import schema
from memtwin.record.calls import Calls
from memtwin.record.follow import Follower
from memtwin.record.host import new_metadata
from memtwin.record.part_writer import PartWriter, Stream
from memtwin.record.program import Program
from memtwin.record.schema import FileKind, TraceOp
from memtwin.record.supervise import RunResult, hold_signals, release_signals
from memtwin.record.tracefs import Records, TraceInstance, words_at

_CALLS = (
    *("mmap", "munmap", "mremap", "brk", "mprotect", "madvise", "mlock", "munlock", "msync"),
    *("open", "openat", "close", "dup", "dup2", "dup3", "lseek"),
    *("read", "write", "pread64", "pwrite64", "readv", "writev"),
    *("ftruncate", "fsync", "fdatasync", "fadvise64", "exit_group"),
)
_FAULTS = ("page_fault_user", "page_fault_kernel")
_SCHED = ("sched_process_fork", "sched_process_exec", "sched_process_exit")
_PAGES = "mm_filemap_get_pages"
_MISSES = (
    "touches after the first: a page is in the trace when it faults",
    "names of files that were read but not mapped: they stand as device and inode",
    "file positions after calls that are not recorded",
    "instructions: the clock is time",
)
_OP_FILE = 200
_CLONE_VM = 0x100


def _events() -> list[str]:
    syscalls = [f"syscalls/sys_{way}_{name}" for name in _CALLS for way in ("enter", "exit")]
    return [
        *(f"exceptions/{name}" for name in _FAULTS),
        *(f"sched/{name}" for name in _SCHED),
        f"filemap/{_PAGES}",
        *syscalls,
    ]


def record_life(
    program: Program,
    command: list[str],
    part: Path,
    progress: Callable[[int, int], None] | None,
) -> RunResult:
    """Run `program` under the kernel's tracing; events go to the block file `part`."""
    recorder = schema.Recorder(
        method="life",
        tool=f"tracefs of Linux {platform.release()}",
        window_refs=0,
        clock="nanoseconds since the start of the recording, not instructions",
        misses=_MISSES,
    )
    metadata = new_metadata(command, recorder)
    instance = TraceInstance(part.parent)
    snapshots: list[tuple[int, str, str]] = []
    follower: Follower | None = None
    old_mask = hold_signals()
    try:
        instance.open(_events())
        follower = Follower(
            [str(program.binary), *program.argv[1:]],
            lambda tid, when, text: snapshots.append((tid, when, text)),
            old_mask,
        )
        instance.start(follower.pid)

        def tick(elapsed_ns: int) -> bool:
            if progress is not None:
                progress(elapsed_ns, instance.size_bytes)
            return instance.failed is None

        result = follower.run(tick)
        records = instance.stop()
        if instance.failed is not None:
            raise instance.failed
    except BaseException:
        if follower is not None:
            follower.kill()
        raise
    finally:
        instance.close()
        release_signals(old_mask)
    result.lost_events = instance.lost
    _write(part, metadata, _Life(instance, records, snapshots, follower.pid))
    return result


def _write(part: Path, metadata: schema.TraceMetadata, life: _Life) -> None:
    writer = PartWriter(part, metadata)
    try:
        life.write(writer)
    finally:
        writer.close()


def _stack_limit_bytes() -> int:
    limit = resource.getrlimit(resource.RLIMIT_STACK)[0]
    return limit & ~4095 if 0 < limit <= 1 << 30 else 8 << 20


@dataclass
class _File:
    path: str
    device: int = 0
    inode: int = 0
    size_bytes: int = 0
    known: bool = False


@dataclass
class _Process:
    pid: int
    stream: Stream
    calls: Calls
    last_ns: int  # of its first thread
    threads: dict[int, Stream] = field(default_factory=dict)
    ended: bool = False


class _Life:
    """The decoded events on their way into a block file."""

    def __init__(
        self,
        instance: TraceInstance,
        records: list[Records],
        snapshots: list[tuple[int, str, str]],
        root: int,
    ) -> None:
        self._instance = instance
        self._records = records
        self._snapshots = snapshots
        self._root = root
        self._names = {number: name for name, number in instance.ids.items()}
        self._files: list[_File] = []
        self._processes: dict[int, _Process] = {}
        self._process_of: dict[int, _Process] = {}  # by os tid
        self._pending: dict[int, tuple[str, list[int]]] = {}
        self._threads = {tid for tid, when, _ in snapshots if when == "thread"}
        self._execs = [(tid, text) for tid, when, text in snapshots if when == "exec"]
        self._threads = {tid for tid, when, _ in snapshots if when == "thread"}
        self._start_ns = self._now = 0
        self._begun = False

    def write(self, writer: PartWriter) -> None:
        """Write all events and the files they name."""
        merged = self._merge()
        self._start_ns = int(merged[0][0]) if merged else 0
        self._writer = writer
        self._learn_files()
        self._adopt(self._root, None)
        for time_ns, name, tid, fields in merged:
            self._now = int(time_ns)
            self._take(name, tid, fields)
        for number, file in enumerate(self._files):
            arguments = (number, file.size_bytes, file.device, file.inode, 0)
            kind = FileKind.REGULAR if file.known else FileKind.ANON
            for process in self._processes.values():
                stream, last_ns = process.stream, process.last_ns
                since_ns = last_ns - self._start_ns
                stream.event(_OP_FILE, last_ns, since_ns, arguments, file.path, kind)
        for process in self._processes.values():
            for stream in process.threads.values():
                stream.flush()

    def _merge(self) -> list[tuple[int, str, int, list[int]]]:
        """(time, event, thread, fields) of all CPUs in order of time."""
        rows: list[tuple[int, str, int, list[int]]] = []
        for records in self._records:
            for number, name in self._names.items():
                where = np.flatnonzero(records.kind == number)
                columns = [c.tolist() for c in self._columns(name, records, where)]
                times, tids = records.time_ns[where].tolist(), records.tid[where].tolist()
                if columns:
                    fields: Any = zip(*columns, strict=True)
                else:
                    fields = ([] for _ in times)
                rows += [
                    (t, name, tid, list(f)) for t, tid, f in zip(times, tids, fields, strict=True)
                ]
        rows.sort(key=lambda row: row[0])
        return rows

    def _columns(
        self, name: str, records: Records, where: NDArray[np.int64]
    ) -> list[NDArray[Any]]:
        offsets = records.offset[where]
        fields = self._instance.fields[name]
        if name.startswith("sys_enter"):
            wanted = [f for f in fields if not f.startswith(("common_", "__"))]
        elif name.startswith("sys_exit"):
            wanted = ["ret"]
        elif name in _FAULTS:
            wanted = ["address", "error_code", "ip"]
        elif name == "sched_process_fork":
            wanted = ["child_pid"]
        elif name == _PAGES:
            wanted = [f for f in ("s_dev", "i_ino") if f in fields]
        else:
            wanted = []
        sign = "i" if name.startswith(("sys_exit", "sched")) else "u"
        return [
            words_at(records.raw, offsets + fields[f][0], f"<{sign}{fields[f][1]}") for f in wanted
        ]

    def _learn_files(self) -> None:
        """Names of files by (device, inode), from every snapshot of maps."""
        self._paths: dict[tuple[int, int], str] = {}
        for _, _, text in self._snapshots:
            for line in text.splitlines():
                words = line.split(None, 5)
                if len(words) > 5 and words[4] != "0":
                    major, minor = (int(x, 16) for x in words[3].split(":"))
                    self._paths[os.makedev(major, minor), int(words[4])] = words[5]

    def _file(self, device: int, inode: int) -> int:
        """Number of the file with this identity."""
        for number, file in enumerate(self._files):
            if file.known and (file.device, file.inode) == (device, inode):
                return number
        self._files.append(_File("?"))
        self._identify(len(self._files) - 1, device, inode)
        return len(self._files) - 1

    def _identify(self, number: int, device: int, inode: int) -> None:
        file = self._files[number]
        name = f"inode {inode} of device {os.major(device)}:{os.minor(device)}"
        file.path = self._paths.get((device, inode), name)
        file.device, file.inode, file.known = device, inode, True
        try:
            file.size_bytes = os.stat(file.path).st_size
        except OSError:
            file.size_bytes = 0

    def _adopt(self, pid: int, parent: _Process | None) -> _Process:
        now = self._now or self._start_ns
        identity = {"pid": pid, "tid": pid, "birth_ns": now}
        if parent is not None:
            identity["ppid"] = parent.pid
            identity["parent_birth_ns"] = parent.stream.identity["birth_ns"]
        stream = self._writer.stream(**identity)

        def emit(op: TraceOp, arguments: tuple[int, ...]) -> None:
            self._put(self._current, op, arguments)

        def name_file(path: str) -> int:
            self._files.append(_File(path or "a file that was opened and never read"))
            return len(self._files) - 1

        calls = parent.calls.forked(emit, name_file) if parent else Calls(emit, name_file)
        process = _Process(pid, stream, calls, now, {pid: stream})
        self._processes[pid] = self._process_of[pid] = process
        return process

    def _put(self, stream: Stream, op: TraceOp, arguments: tuple[int, ...], text: str = "") -> None:
        stream.event(op, self._now, self._now - self._start_ns, arguments, text)

    def _take(self, name: str, tid: int, fields: list[int]) -> None:
        process = self._process_of.get(tid)
        if process is None or process.ended:
            return
        self._current = process.threads[tid]
        if tid == process.pid:
            process.last_ns = self._now
        if name == "sched_process_exec":
            self._exec(process)
        elif not self._begun:
            return  # still the shell that held the program back
        elif name in _FAULTS:
            self._put(self._current, TraceOp.FAULT, (fields[0] >> 12, fields[1], fields[2]))
        elif name == "sched_process_fork":
            self._fork(process, fields[0])
        elif name == "sched_process_exit" and tid != process.pid:
            self._put(self._current, TraceOp.EXIT, (0, schema.ExitKind.THREAD))
        elif name == _PAGES:
            self._seen_pages(process, tid, fields)
        elif name.startswith("sys_enter_"):
            self._enter(process, tid, name.removeprefix("sys_enter_"), fields)
        elif name.startswith("sys_exit_"):
            call, arguments = self._pending.pop(tid, ("", []))
            if call == name.removeprefix("sys_exit_") and not -4096 < fields[0] < 0:
                process.calls.done(call, arguments, fields[0])

    def _enter(self, process: _Process, tid: int, name: str, fields: list[int]) -> None:
        arguments = [*fields, *([0] * 6)][:6]
        if name == "exit_group":
            process.ended = True
            self._put(self._current, TraceOp.EXIT, (arguments[0] & 255, schema.ExitKind.PROCESS))
        else:
            self._pending[tid] = (name, arguments)

    def _seen_pages(self, process: _Process, tid: int, fields: list[int]) -> None:
        """The kernel looked up pages of a file inside a read: that is the descriptor's file."""
        name, arguments = self._pending.get(tid, ("", [0]))
        held = process.calls.opened.get(arguments[0])
        if name in ("read", "pread64", "readv") and held and not self._files[held.file].known:
            major_minor = fields[0]
            device = os.makedev(major_minor >> 20, major_minor & 0xFFFFF)
            self._identify(held.file, device, fields[1])

    def _fork(self, process: _Process, child: int) -> None:
        thread = child in self._threads
        if thread:
            stream = self._writer.stream(**process.stream.identity | {"tid": child})
            process.threads[child], self._process_of[child] = stream, process
        self._put(self._current, TraceOp.CLONE, (child, _CLONE_VM if thread else 0))
        if not thread:
            self._adopt(child, process)

    def _exec(self, process: _Process) -> None:
        if process.pid == self._root:
            self._begun = True
        text = next((t for tid, t in self._execs if tid == process.pid), "")
        self._execs = [(tid, t) for tid, t in self._execs if (tid, t) != (process.pid, text)]
        lines = [line.split(None, 5) for line in text.splitlines()]
        program = next((w[5] for w in lines if len(w) > 5 and w[5].startswith("/")), "")
        process.calls.executed()
        put = self._put
        put(self._current, TraceOp.EXEC, (schema.NO_FILE, process.pid), program)
        for words in lines:
            start, end = (int(x, 16) for x in words[0].split("-"))
            prot = sum(bit for bit, c in ((1, "r"), (2, "w"), (4, "x")) if c in words[1])
            file, flags = schema.NO_FILE, 0x12 | (0x20 if words[4] == "0" else 0)
            if words[4] != "0":
                major, minor = (int(x, 16) for x in words[3].split(":"))
                file = self._file(os.makedev(major, minor), int(words[4]))
                flags |= int(words[2], 16) >> 12 << 32
            if words[5:] == ["[vsyscall]"]:
                continue
            if words[5:] == ["[stack]"]:
                flags |= 0x100
                start = min(start, end - _stack_limit_bytes())
            put(self._current, TraceOp.MAP, (start, end - start, prot, flags, file))

