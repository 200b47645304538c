"""Owns who is who in a recording: processes, threads and files under one numbering.

Imports NumPy, schema. Reads the events of each slot once, in order of the slots' start, then
translates them. Knows nothing of files on disk.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memtwin.record.schema import (
    NO_FILE,
    ExitKind,
    FileKind,
    TracedFile,
    TracedThread,
    TraceMetadata,
    TraceOp,
)

# only in the block file: plugin/recorder.h
OP_FILE, OP_STRING, OP_FORKED, OP_WAITED, OP_LEFT, OP_LEFT_UNDONE = range(200, 206)
_FIRST_INTERNAL = OP_FILE
_FILE_IN_A = np.array(
    [op for op in TraceOp if TraceOp.OPEN <= op <= TraceOp.UNLINK] + [TraceOp.EXEC], np.uint8
)

ProcessKey = tuple[int, int]  # pid, birth in ns: numbers are used again, births aren't
ThreadKey = tuple[int, int, int]


@dataclass
class _Process:
    key: ProcessKey
    parent: ProcessKey
    first_tid: int
    execs: int = 0
    comm: str = ""
    exit_status: int | None = None  # by exit_group()
    left_for: str | None = None
    last_slot: int = 0
    last_ns: int = 0
    thread_keys: list[ThreadKey] = field(default_factory=list)


@dataclass
class _Thread:
    tid: int
    key: ThreadKey
    first_ns: int
    last_ns: int = 0
    insns: int = 0
    refs: int = 0
    exit_status: int | None = None  # by exit()


def text_of(records: NDArray[Any]) -> str:
    """The text that OP_STRING records carry."""
    raw: bytes = records["v"].tobytes()
    return raw.rstrip(b"\0").decode("utf-8", "surrogateescape").encode("utf-8", "replace").decode()


class Cast:
    """Processes, threads and files of one recording."""

    def __init__(self, headers: NDArray[Any]) -> None:
        self._start_ns = int(headers["t0_ns"].min()) if len(headers) else 0
        self._processes: dict[ProcessKey, _Process] = {}
        self._threads: dict[ThreadKey, _Thread] = {}
        self._files: list[TracedFile] = []
        self._file_numbers: dict[tuple[int, ...], int] = {}
        # (process, image) -> number in the recording of each number in the process
        self._local_files: dict[tuple[int, int, int], dict[int, int]] = {}
        self._waited: dict[tuple[ProcessKey, int], int] = {}
        self._ended: dict[int, int] = {}  # os pid -> wait status, told from outside
        self._n_records = self._n_touches = 0

    def meet(
        self, slot: int, header: NDArray[Any], events: NDArray[Any], n_touches: int, last_ns: int
    ) -> None:
        """Take notice of a slot; `last_ns` is its last event's time since its start."""
        process, thread = self._process_of(header), self._thread_of(header)
        end_ns = int(header["t0_ns"]) + last_ns
        thread.last_ns = max(thread.last_ns, end_ns)
        thread.insns = max(thread.insns, int(header["insns"]))
        thread.refs = max(thread.refs, int(header["refs"]))
        if end_ns >= process.last_ns:
            process.last_ns, process.last_slot = end_ns, slot
        self._n_touches += n_touches
        self._n_records += n_touches + int((events["op"] < _FIRST_INTERNAL).sum())
        for i in np.flatnonzero(events["op"] != OP_STRING).tolist():
            strings = events[i + 1 : i + 1 + int(events["strings"][i])]
            self._notice(header, process, thread, events[i], text_of(strings))

    def _notice(
        self,
        header: NDArray[Any],
        process: _Process,
        thread: _Thread,
        event: NDArray[Any],
        text: str,
    ) -> None:
        v = event["v"].tolist()
        match int(event["op"]):
            case TraceOp.EXEC:
                process.comm, process.left_for = os.path.basename(text)[:15], None
                process.execs += 1
            case TraceOp.EXIT if v[1] == ExitKind.PROCESS:
                process.exit_status = v[0]
            case TraceOp.EXIT:
                thread.exit_status = v[0]
            case x if x == OP_FILE:
                self._add_file(self._scope(header), int(event["kind"]), v, text)
            case x if x == OP_WAITED:
                self._waited[process.key, v[0]] = v[1]
            case x if x == OP_LEFT:
                process.left_for = text or "a program"
            case x if x == OP_LEFT_UNDONE:
                process.left_for = None

    def _scope(self, header: NDArray[Any]) -> tuple[int, int, int]:
        return (int(header["pid"]), int(header["birth_ns"]), int(header["image"]))

    def _add_file(self, scope: tuple[int, int, int], kind: int, v: list[int], path: str) -> None:
        local, size_bytes, device, inode, birth_ns = v
        key = (device, inode, birth_ns, kind)
        number = self._file_numbers.get(key)
        if number is None:
            number = self._file_numbers[key] = len(self._files)
            name = FileKind(kind).name.lower()
            where = f"{os.major(device)}:{os.minor(device)}"
            self._files.append(TracedFile(path, size_bytes, name, where, inode))
        self._local_files.setdefault(scope, {})[local] = number

    def _process_of(self, header: NDArray[Any]) -> _Process:
        key = (int(header["pid"]), int(header["birth_ns"]))
        process = self._processes.get(key)
        if process is None:
            parent = (int(header["ppid"]), int(header["parent_birth_ns"]))
            process = _Process(key, parent, len(self._threads) + 1)
            if parent in self._processes:
                process.comm = self._processes[parent].comm
            self._processes[key] = process
        return process

    def _thread_of(self, header: NDArray[Any]) -> _Thread:
        process = self._process_of(header)
        key = (*process.key, int(header["tid"]))
        return self._thread(process, key, int(header["t0_ns"]))

    def _thread(self, process: _Process, key: ThreadKey, first_ns: int) -> _Thread:
        thread = self._threads.get(key)
        if thread is None:
            thread = _Thread(len(self._threads) + 1, key, first_ns, first_ns)
            self._threads[key] = thread
            process.thread_keys.append(key)
        return thread

    def tell_ends(self, ended: dict[int, int]) -> None:
        """Wait statuses, by system pid, that the recorder saw itself."""
        self._ended.update(ended)

    def tid_of(self, header: NDArray[Any]) -> int:
        """Number of the thread that filled the slot."""
        return self._thread_of(header).tid

    def public(self, header: NDArray[Any], events: NDArray[Any]) -> NDArray[Any]:
        """The events that belong in a trace, with files and threads by their numbers."""
        chosen: NDArray[Any] = events[events["op"] < _FIRST_INTERNAL].copy()
        if not len(chosen):
            return chosen
        files = self._local_files.get(self._scope(header), {})
        table = np.full(max(files, default=0) + 1, NO_FILE, np.int64)
        for local, number in files.items():
            table[local] = number

        def numbered(local: NDArray[np.int64]) -> NDArray[np.int64]:
            known = (local >= 0) & (local < len(table))
            return np.where(known, table[np.where(known, local, 0)], NO_FILE)

        in_a = np.isin(chosen["op"], _FILE_IN_A)
        chosen["v"][in_a, 0] = numbered(chosen["v"][in_a, 0])
        in_e = chosen["op"] == TraceOp.MAP
        chosen["v"][in_e, 4] = numbered(chosen["v"][in_e, 4])
        for i in np.flatnonzero(chosen["op"] == TraceOp.CLONE).tolist():
            chosen["v"][i, 0] = self._cloned(header, int(chosen["v"][i, 0]))
        return chosen

    def _cloned(self, header: NDArray[Any], os_tid: int) -> int:
        parent = self._process_of(header)
        thread = self._threads.get((*parent.key, os_tid))
        if thread is not None:
            return thread.tid
        for process in self._processes.values():
            if process.parent == parent.key and process.key[0] == os_tid:
                return process.first_tid
        return 0  # it was never seen to run

    def closing(self, slot: int) -> tuple[int, int, int] | None:
        """(tid, status, ExitKind) of a process whose end nobody recorded and that ends here."""
        for process in self._processes.values():
            if process.last_slot == slot and process.exit_status is None:
                status, kind, _ = self._end_of(process)
                return process.first_tid, status, int(kind)
        return None

    def _end_of(self, process: _Process) -> tuple[int, ExitKind, str]:
        if process.exit_status is not None:
            return process.exit_status, ExitKind.PROCESS, f"exit {process.exit_status}"
        waited = self._ended.get(process.key[0])
        if waited is None:
            waited = self._waited.get((process.parent, process.key[0]))
        if waited is not None and os.WIFSIGNALED(waited) and process.left_for is None:
            signal = os.WTERMSIG(waited)
            return signal, ExitKind.SIGNAL, f"signal {signal}"
        if process.left_for is not None:
            return -1, ExitKind.UNKNOWN, f"left by exec of {process.left_for}"
        statuses = [self._threads[key].exit_status for key in process.thread_keys]
        if statuses and statuses[0] is not None and None not in statuses:
            return statuses[0], ExitKind.PROCESS, f"exit {statuses[0]}"
        return -1, ExitKind.UNKNOWN, "last seen"

    def describe(self, metadata: TraceMetadata) -> None:
        """Fill in the lists and counts of the metadata."""
        counts = metadata.counts
        metadata.files = list(self._files)
        metadata.threads = []
        counts.children_missing = counts.still_running = 0
        for process in self._processes.values():
            _, kind, ended = self._end_of(process)
            counts.children_missing += process.left_for is not None
            counts.still_running += kind == ExitKind.UNKNOWN and process.left_for is None
            for key in process.thread_keys:
                metadata.threads.append(self._describe(process, self._threads[key], ended))
        metadata.threads.sort(key=lambda thread: thread.tid)
        counts.processes, counts.threads = len(self._processes), len(self._threads)
        counts.insns = sum(thread.insns for thread in self._threads.values())
        counts.refs = sum(thread.refs for thread in self._threads.values())
        counts.touches = self._n_touches
        unrecorded = sum(p.exit_status is None for p in self._processes.values())
        counts.events = self._n_records + unrecorded

    def _describe(self, process: _Process, thread: _Thread, ended: str) -> TracedThread:
        parent = self._processes.get(process.parent)
        if thread.tid != process.first_tid and thread.exit_status is not None:
            ended = "thread exit"
        return TracedThread(
            tid=thread.tid,
            process=process.first_tid,
            parent=parent.first_tid if parent else 0,
            os_pid=process.key[0],
            os_tid=thread.key[2],
            comm=process.comm,
            first_ns=thread.first_ns - self._start_ns,
            last_ns=thread.last_ns - self._start_ns,
            insns=thread.insns,
            refs=thread.refs,
            images=process.execs + (parent is not None),
            ended=ended,
        )
