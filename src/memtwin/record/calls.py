"""Owns what finished system calls mean: for mappings, files and the table of descriptors.

Imports schema only. For recorders that see calls from outside: the kernel's own file positions
are not there to ask, so they are kept here. Knows nothing of how calls were seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from memtwin.record.schema import NO_FILE, TraceOp

Emit = Callable[[TraceOp, tuple[int, ...]], None]
NameFile = Callable[[str], int]  # path -> number of the file

CHANGES = frozenset({"mmap", "munmap", "mremap", "mprotect", "madvise", "brk"})
_APPEND, _TRUNCATE = os.O_APPEND, os.O_TRUNC
_MAP_ANONYMOUS = 0x20


@dataclass
class Opened:
    """An open file description: which file, where the next read or write begins."""

    file: int
    at: int
    end: int
    flags: int


class Calls:
    """Turns one process's calls into events; `opened` is its table of descriptors."""

    def __init__(self, emit: Emit, name_file: NameFile) -> None:
        self._emit = emit
        self._name_file = name_file
        self.opened: dict[int, Opened] = {}
        self._break = 0

    def forked(self, emit: Emit, name_file: NameFile) -> Calls:
        """The child's: the same open descriptions, positions shared."""
        child = Calls(emit, name_file)
        child.opened, child._break = dict(self.opened), self._break
        return child

    def executed(self) -> None:
        """A new image: the break is not known yet."""
        self._break = 0

    def done(self, name: str, a: list[int], result: int, path: str = "") -> None:
        """A call that succeeded: six arguments, what it returned, the path it named."""
        match name:
            case "mmap":
                held = None if a[3] & _MAP_ANONYMOUS else self.opened.get(a[4])
                file = held.file if held else NO_FILE
                flags = a[3] | (a[5] >> 12 << 32 if held else 0)
                self._emit(TraceOp.MAP, (result, a[1], a[2], flags, file))
            case "munmap":
                self._emit(TraceOp.UNMAP, (a[0], a[1]))
            case "mprotect":
                self._emit(TraceOp.PROTECT, (a[0], a[1], a[2]))
            case "mremap":
                self._emit(TraceOp.REMAP, (a[0], a[1], a[2], result, a[3]))
            case "madvise":
                self._emit(TraceOp.MADVISE, (a[0], a[1], a[2]))
            case "mlock" | "munlock":
                self._emit(TraceOp[name.upper()], (a[0], a[1]))
            case "msync":
                self._emit(TraceOp.MSYNC, (a[0], a[1], a[2]))
            case "brk" if result != self._break:
                self._emit(TraceOp.BRK, (self._break or result, result))
                self._break = result
            case _:
                self._file_call(name, a, result, path)

    def _file_call(self, name: str, a: list[int], result: int, path: str) -> None:
        match name:
            case "open":
                self._opened(path, a[1], result)
            case "openat":
                self._opened(path, a[2], result)
            case "close":
                held = self.opened.pop(a[0], None)
                if held:
                    self._emit(TraceOp.CLOSE, (held.file, a[0]))
            case "dup" | "dup2" | "dup3" if a[0] in self.opened:
                self.opened[result] = self.opened[a[0]]  # one position for both
                self._emit(TraceOp.DUP, (self.opened[a[0]].file, a[0], result))
            case "lseek" if a[0] in self.opened:
                self.opened[a[0]].at = result
            case "read" | "write":
                self._transfer(name, a[0], result, a[1])
            case "pread64" | "pwrite64":
                file = self.opened[a[0]].file if a[0] in self.opened else NO_FILE
                op = TraceOp.READ if name == "pread64" else TraceOp.WRITE
                self._emit(op, (file, a[3], result, a[1]))
            case "readv" | "writev":  # the segments' addresses are not printed
                self._transfer(name[:-1], a[0], result, 0)
            case "ftruncate" if a[0] in self.opened:
                self._emit(TraceOp.TRUNCATE, (self.opened[a[0]].file, a[1]))
            case "fsync" | "fdatasync" if a[0] in self.opened:
                data_only = int(name == "fdatasync")
                self._emit(TraceOp.FSYNC, (self.opened[a[0]].file, data_only))
            case "fadvise64" if a[0] in self.opened:
                self._emit(TraceOp.FADVISE, (self.opened[a[0]].file, a[1], a[2], a[3]))
            case "unlink" | "unlinkat" if path:
                self._emit(TraceOp.UNLINK, (self._name_file(path), 0))

    def _opened(self, path: str, flags: int, fd: int) -> None:
        file = self._name_file(path)
        try:
            end = 0 if flags & _TRUNCATE else os.stat(path).st_size
        except OSError:
            end = 0
        self.opened[fd] = Opened(file, 0, end, flags)
        self._emit(TraceOp.OPEN, (file, fd, flags))

    def _transfer(self, name: str, fd: int, moved: int, buffer: int) -> None:
        op = TraceOp.READ if name == "read" else TraceOp.WRITE
        held = self.opened.get(fd)
        if held is None:
            self._emit(op, (NO_FILE, -1, moved, buffer))
            return
        if op is TraceOp.WRITE and held.flags & _APPEND:
            held.at = held.end
        self._emit(op, (held.file, held.at, moved, buffer))
        held.at += moved
        held.end = max(held.end, held.at)
