"""Owns a program followed by ptrace: every descendant's maps at each exec and at each end.

Imports supervise. The program runs at its own speed between those moments. Knows nothing of
tracing events.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from memtwin.errors import UserError
from memtwin.record.supervise import SI_KERNEL, WATCHED, RunResult

# include/uapi/linux/ptrace.h PTRACE_SEIZE, v6.12
_GETEVENTMSG = 0x4201
_CONT, _DETACH, _SEIZE, _INTERRUPT, _LISTEN = 7, 17, 0x4206, 0x4207, 0x4208
_FORK, _VFORK, _CLONE, _EXEC, _EXIT, _STOP = 1, 2, 3, 4, 6, 128
_OPTIONS = 1 << _FORK | 1 << _VFORK | 1 << _CLONE | 1 << _EXEC | 1 << _EXIT
_WALL = 0x40000000
_TICK_S = 0.05

Snapshot = Callable[[int, str, str], None]  # os tid, "exec", "exit" (text: its maps) or "thread"


class Follower:
    """Starts a program stopped, lets it go when told, and follows it to its end.

    The caller holds back the signals of supervise.WATCHED; the program gets `signal_mask`.
    """

    def __init__(
        self, command: list[str], snapshot: Snapshot, signal_mask: set[signal.Signals]
    ) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        pointer = ctypes.c_void_p
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, pointer, pointer]
        self._libc.ptrace.restype = ctypes.c_long
        self._snapshot = snapshot
        self._tracees: set[int] = set()
        self._got: list[int] = []
        self._ended: dict[int, int] = {}
        # A shell that stops itself, to be told apart and set up before the program begins.
        hold = 'kill -STOP $$; exec "$@"'
        self.pid = os.posix_spawnp(
            "/bin/sh",
            ["/bin/sh", "-c", hold, "sh", *command],
            os.environ,
            setsigmask=signal_mask,
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )
        os.waitpid(self.pid, os.WUNTRACED)
        if self._ptrace(_SEIZE, self.pid, _OPTIONS) != 0:
            reason = os.strerror(ctypes.get_errno()).lower()
            self.kill()
            raise UserError(f"--life: the program can't be followed by ptrace ({reason})")
        self._tracees.add(self.pid)

    def _ptrace(self, request: int, tid: int, data: int = 0) -> int:
        return int(self._libc.ptrace(request, tid, None, data))

    def kill(self) -> None:
        """End the program and everything that follows it here."""
        for tid in {self.pid, *self._tracees}:
            try:
                os.kill(tid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        while True:
            try:
                os.waitpid(-1, _WALL)
            except ChildProcessError:
                return

    def run(self, tick: Callable[[int], bool]) -> RunResult:
        """Let the program go and wait for its end; `tick(elapsed_ns)` stops it by False."""
        begun_ns = time.monotonic_ns()
        os.kill(self.pid, signal.SIGCONT)
        while True:
            done = self._drain(begun_ns)
            if done is not None:
                self._let_go()
                return done
            if not tick(time.monotonic_ns() - begun_ns):
                os.kill(self.pid, signal.SIGKILL)
            info = signal.sigtimedwait(WATCHED, _TICK_S)
            if info is not None and info.si_signo != signal.SIGCHLD:
                self._got.append(info.si_signo)
                if info.si_code != SI_KERNEL:
                    os.kill(self.pid, info.si_signo)

    def _drain(self, begun_ns: int) -> RunResult | None:
        while True:
            tid, status, usage = os.wait4(-1, os.WNOHANG | _WALL)
            if tid == 0:
                return None
            if os.WIFSTOPPED(status):
                self._stopped(tid, status)
                continue
            self._tracees.discard(tid)
            self._ended[tid] = status
            if tid == self.pid:
                cpu_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
                wall_ns = time.monotonic_ns() - begun_ns
                return RunResult(
                    tid, status, wall_ns, cpu_ns, usage, self._got, ended=self._ended
                )

    def _stopped(self, tid: int, status: int) -> None:
        self._tracees.add(tid)
        event, number = status >> 16, os.WSTOPSIG(status)
        request, deliver = _CONT, 0
        if event in (_FORK, _VFORK, _CLONE):
            new = ctypes.c_ulong()
            self._libc.ptrace(_GETEVENTMSG, tid, None, ctypes.addressof(new))
            if Path(f"/proc/{tid}/task/{new.value}").exists():
                self._snapshot(new.value, "thread", "")
        elif event in (_EXEC, _EXIT):
            try:
                text = Path(f"/proc/{tid}/maps").read_text()
            except OSError:
                text = ""
            self._snapshot(tid, "exec" if event == _EXEC else "exit", text)
        elif event == _STOP and number != signal.SIGTRAP:
            request = _LISTEN  # stopped as a group, by ^Z for example: leave it so
        elif event == 0:
            deliver = number
        self._ptrace(request, tid, deliver)

    def _let_go(self) -> None:
        """Descendants that outlive the program go on without us."""
        for tid in list(self._tracees):
            if self._ptrace(_INTERRUPT, tid) == 0:
                try:
                    _, status = os.waitpid(tid, _WALL)
                except ChildProcessError:
                    continue
                if os.WIFSTOPPED(status):
                    self._ptrace(_DETACH, tid)
