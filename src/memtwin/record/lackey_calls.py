"""Owns the system call lines of valgrind: what they say of mappings, files and processes.

Imports schema only. Valgrind prints names and numbers, not the kernel's own file positions, so a
table of descriptors is kept here. Knows nothing of memory lines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from memtwin.record.schema import NO_FILE, TraceOp

Emit = Callable[[TraceOp, tuple[int, ...]], None]
NameFile = Callable[[str], int]  # path -> number of the file

_CALL = re.compile(r"SYSCALL\[(\d+),(\d+)\]\(\d+\) (?:sys_)?(\w+) ?\( ?(.*)$")
_RESULT = re.compile(r"--> (?:\[pre-success\] )?(Success|Failure)\(0x([0-9a-f]+)")
_CHILD = re.compile(r"fork\)?: process \d+ created child \d+")
_LATER = re.compile(r"SYSCALL\[(\d+),(\d+)\]\(\d+\) \.\.\. ")
_AT_FDCWD = 0xFFFFFF9C
_APPEND, _TRUNCATE = os.O_APPEND, os.O_TRUNC
_MAP_ANONYMOUS = 0x20
_CHANGES = frozenset({"mmap", "munmap", "mremap", "mprotect", "madvise", "brk"})


@dataclass
class _Opened:
    file: int
    at: int
    end: int
    flags: int


@dataclass
class _Pending:
    name: str
    words: list[str]


class LackeyCalls:
    """Turns lines into events; `children` counts those that valgrind did not follow."""

    def __init__(self, cwd: str, emit: Emit, name_file: NameFile) -> None:
        self._cwd = cwd
        self._emit = emit
        self._name_file = name_file
        self._pending: dict[tuple[str, str], _Pending] = {}
        self._open: dict[int, _Opened] = {}
        self._break = 0
        self.children = 0

    def line(self, text: str) -> bool:
        """Take one line; True when the address space may have changed."""
        if _CHILD.search(text):
            self.children += 1
            return True
        later = _LATER.match(text)
        if later is not None:
            call = self._pending.pop((later[1], later[2]), None)
        else:
            match = _CALL.match(text)
            if match is None:
                return False
            call = _Pending(match[3], [w.strip() for w in match[4].split(" )")[0].split(",")])
            if call.name == "exit_group":
                self._emit(TraceOp.EXIT, (self._number(call, 0) & 255, 1))
                return False
            if "[async]" in text:
                self._pending[match[1], match[2]] = call
                return False
        result = _RESULT.search(text)
        if call is None or result is None or result[1] == "Failure":
            return False
        self._done(call, int(result[2], 16))
        return call.name in _CHANGES

    def _number(self, call: _Pending, i: int) -> int:
        word = call.words[i].split("(")[0].strip() if i < len(call.words) else "0"
        try:
            return int(word, 16 if word.startswith("0x") else 10)
        except ValueError:
            return 0

    def _path(self, call: _Pending, i: int) -> str:
        word = call.words[i] if i < len(call.words) else ""
        inside = word.partition("(")[2].rpartition(")")[0]
        return os.path.normpath(os.path.join(self._cwd, inside))

    def _done(self, call: _Pending, result: int) -> None:
        a = [self._number(call, i) for i in range(6)]
        match call.name:
            case "mmap":
                held = None if a[3] & _MAP_ANONYMOUS else self._open.get(a[4])
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
                self._emit(TraceOp[call.name.upper()], (a[0], a[1]))
            case "msync":
                self._emit(TraceOp.MSYNC, (a[0], a[1], a[2]))
            case "brk" if result != self._break:
                self._emit(TraceOp.BRK, (self._break or result, result))
                self._break = result
            case "chdir":
                self._cwd = self._path(call, 0)
            case _:
                self._file_call(call, a, result)

    def _file_call(self, call: _Pending, a: list[int], result: int) -> None:
        match call.name:
            case "open":
                self._opened(self._path(call, 0), a[1], result)
            case "openat" if a[0] == _AT_FDCWD or "(/" in call.words[1]:
                self._opened(self._path(call, 1), a[2], result)
            case "close":
                held = self._open.pop(a[0], None)
                if held:
                    self._emit(TraceOp.CLOSE, (held.file, a[0]))
            case "dup" | "dup2" | "dup3" if a[0] in self._open:
                self._open[result] = self._open[a[0]]  # one position for both
                self._emit(TraceOp.DUP, (self._open[a[0]].file, a[0], result))
            case "lseek" if a[0] in self._open:
                self._open[a[0]].at = result
            case "read" | "write":
                self._transfer(call.name, a[0], result, a[1])
            case "pread64" | "pwrite64":
                file = self._open[a[0]].file if a[0] in self._open else NO_FILE
                op = TraceOp.READ if call.name == "pread64" else TraceOp.WRITE
                self._emit(op, (file, a[3], result, a[1]))
            case "readv" | "writev":  # the segments' addresses are not printed
                self._transfer(call.name[:-1], a[0], result, 0)
            case "ftruncate" if a[0] in self._open:
                self._emit(TraceOp.TRUNCATE, (self._open[a[0]].file, a[1]))
            case "fsync" | "fdatasync" if a[0] in self._open:
                data_only = int(call.name == "fdatasync")
                self._emit(TraceOp.FSYNC, (self._open[a[0]].file, data_only))
            case "fadvise64" if a[0] in self._open:
                self._emit(TraceOp.FADVISE, (self._open[a[0]].file, a[1], a[2], a[3]))
            case "unlink":
                self._emit(TraceOp.UNLINK, (self._name_file(self._path(call, 0)), 0))
            case "unlinkat" if a[0] == _AT_FDCWD:
                self._emit(TraceOp.UNLINK, (self._name_file(self._path(call, 1)), 0))

    def _opened(self, path: str, flags: int, fd: int) -> None:
        file = self._name_file(path)
        try:
            end = 0 if flags & _TRUNCATE else os.stat(path).st_size
        except OSError:
            end = 0
        self._open[fd] = _Opened(file, 0, end, flags)
        self._emit(TraceOp.OPEN, (file, fd, flags))

    def _transfer(self, name: str, fd: int, moved: int, buffer: int) -> None:
        op = TraceOp.READ if name == "read" else TraceOp.WRITE
        held = self._open.get(fd)
        if held is None:
            self._emit(op, (NO_FILE, -1, moved, buffer))
            return
        if op is TraceOp.WRITE and held.flags & _APPEND:
            held.at = held.end
        self._emit(op, (held.file, held.at, moved, buffer))
        held.at += moved
        held.end = max(held.end, held.at)
