"""Owns the system call lines of valgrind: reads names, numbers and paths off them.

Imports calls, schema. Knows nothing of memory lines.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from memtwin.record.calls import CHANGES, Calls, Emit, NameFile
from memtwin.record.schema import TraceOp

_CALL = re.compile(r"SYSCALL\[(\d+),(\d+)\]\(\d+\) (?:sys_)?(\w+) ?\( ?(.*)$")
_RESULT = re.compile(r"--> (?:\[pre-success\] )?(Success|Failure)\(0x([0-9a-f]+)")
_CHILD = re.compile(r"fork\)?: process \d+ created child \d+")
_LATER = re.compile(r"SYSCALL\[(\d+),(\d+)\]\(\d+\) \.\.\. ")
_AT_FDCWD = 0xFFFFFF9C
_PATH_WORD = {"open": 0, "unlink": 0, "chdir": 0, "openat": 1, "unlinkat": 1}


@dataclass
class _Pending:
    name: str
    words: list[str]


class LackeyCalls:
    """Turns lines into events; `children` counts those that valgrind did not follow."""

    def __init__(self, cwd: str, emit: Emit, name_file: NameFile) -> None:
        self._cwd = cwd
        self._emit = emit
        self._calls = Calls(emit, name_file)
        self._pending: dict[tuple[str, str], _Pending] = {}
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
        path = self._path(call)
        if call.name == "chdir":
            self._cwd = path
        elif path or call.name not in _PATH_WORD:
            numbers = [self._number(call, i) for i in range(6)]
            self._calls.done(call.name, numbers, int(result[2], 16), path)
        return call.name in CHANGES

    def _number(self, call: _Pending, i: int) -> int:
        word = call.words[i].split("(")[0].strip() if i < len(call.words) else "0"
        try:
            return int(word, 16 if word.startswith("0x") else 10)
        except ValueError:
            return 0

    def _path(self, call: _Pending) -> str:
        """The path a call names, absolute; "" when it is relative to a descriptor."""
        i = _PATH_WORD.get(call.name)
        if i is None or i >= len(call.words):
            return ""
        inside = call.words[i].partition("(")[2].rpartition(")")[0]
        if i == 1 and self._number(call, 0) != _AT_FDCWD and not inside.startswith("/"):
            return ""
        return os.path.normpath(os.path.join(self._cwd, inside))
