"""Owns the look into a recorded program's heap at its end, while it stands there.

Imports host_compiler and observe/live_heap. Knows nothing of recordings. The program is started
by `exit_stop/`, which stops it when the process ends, whichever way that is; what it forks runs
alone.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np

from memtwin.errors import UserError
from memtwin.host_compiler import built
from memtwin.observe.live_heap.heap_scan import Look, read_look, walk
from memtwin.observe.live_heap.target import Frozen, Method, Thread

_SOURCES = Path(__file__).parent / "exit_stop"
_FLAGS = ("-O2", "-Wall", "-static")


# struct user_regs_struct (sys/user.h): 27 words, of which 6 to 14 are r11 to rdi, 15 is orig_rax
_CALLER_SAVED, _ORIG_RAX, _GENERAL = slice(6, 15), 15, 27
_SYS_EXIT_GROUP = 231  # arch/x86/entry/syscalls/syscall_64.tbl, v6.1


def _live(registers: np.ndarray) -> np.ndarray:
    """The registers of a thread at its end that can still keep something.

    The caller of exit_group() expects nothing any more in those that a call may change (System V
    ABI, x86-64): what stands there is left over from the allocator, and hid a lost block in 4 of 40
    random programs.
    """
    if registers[_ORIG_RAX] != _SYS_EXIT_GROUP:
        return registers
    kept = registers[:_GENERAL].copy()
    kept[_CALLER_SAVED] = 0
    return kept


class ExitScan:
    """One program's end. `words` start it; `finish` gives what was seen, when it is over.

    Files below `own` that the program maps are the recorder's, and keep no block.
    """

    def __init__(self, command: list[str], own: Path) -> None:
        self._own = own.absolute()
        program = built("what stops a program at its end", "exit_stop", _SOURCES, _FLAGS)
        self._told, tell = os.pipe()
        ask, self._answer = os.pipe()
        self._theirs = [tell, ask]
        for fd in self._theirs:
            os.set_inheritable(fd, True)
        self.words = [str(program), str(tell), str(ask), *command]
        self.look: Look | None = None
        self.why_not = "it never came to its end: it was killed"
        self.stopped_pid = 0
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        """Runs beside the program: reads what the stopped process tells, looks, lets it go on."""
        threads: list[Thread] = []
        with open(self._told, encoding="ascii") as lines:
            for line in lines:
                word, *rest = line.split()
                if word == "thread":
                    raw = bytes.fromhex("".join(rest[1:]))
                    registers = np.frombuffer(raw[: len(raw) & ~7], np.int64)
                    threads.append(Thread(int(rest[0]), _live(registers)))
                elif word == "ready":
                    self._read(int(rest[0]), threads)
                    os.write(self._answer, b"\n")
                else:
                    self.why_not = f"it can't be traced ({' '.join(rest)})"

    def _read(self, pid: int, threads: list[Thread]) -> None:
        self.stopped_pid = pid
        try:
            self.look = read_look(Frozen(pid, pid, threads, Method.COPY, 0, []), self._own)
        except UserError as error:
            self.why_not = str(error)

    def finish(self) -> Look:
        """What was seen, walked. Raises UserError where nothing could be."""
        for fd in self._theirs:
            os.close(fd)
        self._theirs = []
        self._thread.join()
        os.close(self._answer)
        if self.look is None:
            raise UserError(f"leaks: {self.why_not}")
        walk(self.look)
        if self.look.blocks is None:
            raise UserError(f"leaks: {self.look.allocators.unreadable}")
        return self.look
