"""Owns the hold on a running program: who may have it, how it is frozen, that it is let go.

Imports errors and host_compiler. Knows nothing of heaps. The work at the target is done by the
copier (`copier/`), a program of its own that no signal but SIGKILL ends in between; when we die
it finds its input closed and lets go. Only x86-64.
"""

from __future__ import annotations

import contextlib
import enum
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from memtwin.errors import UserError
from memtwin.host_compiler import built

_SOURCES = Path(__file__).parent / "copier"
_FLAGS = ("-O2", "-Wall")
# struct user_regs_struct: 27 words; sp and fs_base among them (sys/user.h)
_RSP, _FS_BASE = 19, 21
_PTRACE_SCOPE = Path("/proc/sys/kernel/yama/ptrace_scope")
_CLASS_64, _MACHINE_X86_64 = 2, 62
# what stands against a copy though the target may be stopped: then it is read where it stands
_NO_COPY = {
    "standing": "it is stopped already",
    "seccomp": "its seccomp filter may forbid a new process",
    "shadow_stack": "it runs with a shadow stack",
    "no_code": "no code was found in it that could make the copy",
    "unfit": "no thread had room for it on its stack",
    "clone": "it could not make a new process",
}


class Method(enum.Enum):
    """How the target's memory is read."""

    FORK = "fork"  # from a frozen copy that the target makes of itself
    COPY = "copy"  # from the target, which stands still until all is read


class Thread(NamedTuple):
    """What a thread held in its registers when everything stopped."""

    tid: int
    words: np.ndarray  # int64: 27 general registers, then the vector registers

    @property
    def stack_pointer(self) -> int:
        """The address of the lowest word in use on its stack."""
        return int(self.words[_RSP])

    @property
    def fs_base(self) -> int:
        """The address of its control block; thread-local data lies below it."""
        return int(self.words[_FS_BASE])


class Frozen(NamedTuple):
    """A process that can be read at leisure."""

    target_pid: int
    readable_pid: int
    threads: list[Thread]
    method: Method
    stop_ns: int  # how long the target has stood still; 0 as long as it does
    notes: list[str]


class Released(NamedTuple):
    """How it ended."""

    stop_ns: int
    left_behind: bool  # a dead copy stays in the process table until the target ends


class Hold:
    """A frozen target, and after the `with` block, how it was let go."""

    def __init__(self, frozen: Frozen) -> None:
        self.frozen = frozen
        self.released: Released | None = None


def check_target(pid: int) -> None:
    """Raise UserError when `pid` is no process that can be looked into."""
    if pid == os.getpid():
        raise UserError(f"PID {pid}: that is memtwin itself")
    if not os.path.isdir(f"/proc/{pid}"):
        raise UserError(f"PID {pid}: no such process")
    try:
        with open(f"/proc/{pid}/exe", "rb") as file:
            head = file.read(20)
    except PermissionError:
        raise UserError(no_permission(pid)) from None
    except OSError:
        if os.path.isdir(f"/proc/{pid}"):
            raise UserError(
                f"PID {pid}: a kernel thread or a dead process, it has no heap"
            ) from None
        raise UserError(f"PID {pid}: no such process") from None
    if os.uname().machine != "x86_64":
        raise UserError(f"this machine is {os.uname().machine}; a live heap is read on x86_64 only")
    if head[:4] != b"\x7fELF" or head[4] != _CLASS_64 or head[18] != _MACHINE_X86_64:
        raise UserError(f"PID {pid}: not a 64-bit x86 program; a live heap is read of those only")


def no_permission(pid: int) -> str:
    """What is needed to look into `pid`, one line."""
    tracer = _status(pid).get("TracerPid", "0")
    if tracer != "0":
        who = _status(int(tracer)).get("Name", "?")
        return f"PID {pid}: traced by {who} (PID {tracer}) already, and only one can"
    owner, own = _status(pid).get("Uid", "? ?").split()[1], os.geteuid()
    if own != 0 and owner != str(own):
        return f"PID {pid}: belongs to user {owner}; needed is that user, or CAP_SYS_PTRACE (root)"
    with contextlib.suppress(OSError):
        scope = _PTRACE_SCOPE.read_text().strip()
        if scope != "0" and own != 0:
            need = "needed is CAP_SYS_PTRACE (root), or 0 there"
            return f"PID {pid}: {_PTRACE_SCOPE} is {scope}; {need}"
    return (
        f"PID {pid}: the kernel lets no one trace it; needed is CAP_SYS_PTRACE (root), and that the"
        " program is dumpable"
    )


def _status(pid: int) -> dict[str, str]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            pairs = (line.split(":", 1) for line in file if ":" in line)
            return {key: value.strip() for key, value in pairs}
    except OSError:
        return {}


class _Refused(Exception):
    """The copier's `error KIND DETAIL`."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind, self.detail = kind, detail


@contextlib.contextmanager
def frozen(pid: int, method: Method = Method.FORK, die_at: int | None = None) -> Iterator[Hold]:
    """Freeze `pid` for the `with` block; afterwards it runs, whatever happened.

    A target that can't make a copy of itself is read where it stands, and the notes say why.
    `die_at` is a stage at which the copier is killed, for tests. Raises UserError when the target
    is gone, may not be traced, or does not stop.
    """
    check_target(pid)
    program = built("the copier of live heaps", "copier", _SOURCES, _FLAGS)
    notes: list[str] = []
    copier = _start(program, pid, method, die_at)
    try:
        try:
            seen = _read_threads(copier)
        except _Refused as refused:
            if method is not Method.FORK or refused.kind not in _NO_COPY:
                raise _mistake(pid, refused) from None
            notes.append(f"read where it stood, not from a copy: {_NO_COPY[refused.kind]}")
            method = Method.COPY
            _finish(copier)
            copier = _start(program, pid, method, die_at)
            try:
                seen = _read_threads(copier)
            except _Refused as again:
                raise _mistake(pid, again) from None
        threads, readable, stop_ns = seen
        hold = Hold(Frozen(pid, readable, threads, method, stop_ns, notes))
        yield hold
        hold.released = _let_go(copier)
    finally:
        _finish(copier)


def _start(program: Path, pid: int, method: Method, die_at: int | None) -> subprocess.Popen[str]:
    command = [str(program), str(pid), method.value]
    if die_at is not None:
        command.append(str(die_at))
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _read_threads(copier: subprocess.Popen[str]) -> tuple[list[Thread], int, int]:
    assert copier.stdout is not None
    threads = []
    for line in copier.stdout:
        word, *rest = line.split()
        if word == "thread":
            raw = bytes.fromhex("".join(rest[1:]))
            threads.append(Thread(int(rest[0]), np.frombuffer(raw[: len(raw) & ~7], np.int64)))
        elif word == "ready":
            return threads, int(rest[0]), int(rest[1])
        else:
            raise _Refused(rest[0], " ".join(rest[1:]))
    raise _Refused("killed", "")


def _let_go(copier: subprocess.Popen[str]) -> Released | None:
    assert copier.stdin is not None
    assert copier.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        copier.stdin.write("done\n")
        copier.stdin.flush()
    words = copier.stdout.readline().split()
    if words[:1] != ["released"]:
        return None
    return Released(int(words[1]), words[2] != "1")


def _finish(copier: subprocess.Popen[str]) -> None:
    """Close its input, which makes it let go, and wait until it has."""
    assert copier.stdin is not None
    assert copier.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        copier.stdin.close()
    copier.stdout.close()
    copier.wait()


def _mistake(pid: int, refused: _Refused) -> UserError:
    kind, detail = refused.kind, refused.detail
    if kind == "permission":
        return UserError(no_permission(pid))
    if kind == "gone":
        return UserError(f"PID {pid}: ended meanwhile")
    if kind == "stuck":
        tid, state = detail.split()
        return UserError(
            f"PID {pid}: thread {tid} did not stop within 3 s (state {state}); it waits for a"
            " device, a vfork child or a frozen group, and runs on untouched"
        )
    if kind == "threads":
        return UserError(f"PID {pid}: found more than {detail} threads, which is the most allowed")
    if kind == "killed":
        return UserError(f"PID {pid}: the copier was killed; the target runs on")
    return UserError(f"PID {pid}: can't be frozen ({kind} {detail})")
