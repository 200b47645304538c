"""Owns a running recorded program: starts it, waits, passes signals on, kills what must end.

Imports the standard library only. Knows nothing of traces. While it waits, Ctrl-C is the
program's: the terminal gave it to the program too, and the program decides what it means.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# held back while a program runs, and waited for
WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD)
SI_KERNEL = 0x80  # include/uapi/asm-generic/siginfo.h SI_KERNEL, v6.12: the terminal's Ctrl-C
_IMPATIENT = 3  # this many Ctrl-C kill a program that doesn't end by itself


@dataclass
class RunResult:
    """How a run ended: the wait status, its own and its waited-for children's use of the CPU."""

    pid: int
    wait_status: int
    wall_ns: int
    cpu_ns: int
    usage: resource.struct_rusage
    signals: list[int] = field(default_factory=list)  # those the recorder got meanwhile
    children_missing: int = 0  # that the recorder did not follow and knows of
    lost_events: int = 0  # that the kernel dropped for want of room
    ended: dict[int, int] = field(default_factory=dict)  # wait statuses of the followed, by pid

    @property
    def exit_status(self) -> int:
        """As a shell gives it: 128 + n for signal n."""
        if os.WIFSIGNALED(self.wait_status):
            return 128 + os.WTERMSIG(self.wait_status)
        return os.WEXITSTATUS(self.wait_status)


def run_supervised(
    command: list[str],
    *,
    tick: Callable[[int], bool] | None = None,
    tick_s: float = 0.1,
) -> RunResult:
    """Run `command` to its end; `tick(elapsed_ns)` is called meanwhile and stops it by False."""
    old_mask = hold_signals()
    begun_ns = time.monotonic_ns()
    try:
        sys.stdout.flush()
        # Python ignores these two for itself; a program expects them as it would find them
        usual = (signal.SIGPIPE, signal.SIGXFSZ)
        pid = os.posix_spawnp(
            command[0], command, os.environ, setsigmask=old_mask, setsigdef=usual
        )
        try:
            return _wait(pid, begun_ns, tick, tick_s)
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
    finally:
        release_signals(old_mask)


def hold_signals() -> set[signal.Signals]:
    """Hold back the signals that are the program's while it runs; gives the mask before."""
    return {signal.Signals(n) for n in signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)}


def release_signals(old_mask: set[signal.Signals]) -> None:
    """Undo `hold_signals`.

    A Ctrl-C that the program answered by ending must not strike the recorder afterwards.
    """
    while signal.sigtimedwait(WATCHED, 0) is not None:
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)


def _wait(
    pid: int, begun_ns: int, tick: Callable[[int], bool] | None, tick_s: float
) -> RunResult:
    got: list[int] = []
    stopped = False
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        elapsed_ns = time.monotonic_ns() - begun_ns
        if done:
            cpu_ns = int((usage.ru_utime + usage.ru_stime) * 1e9)
            return RunResult(pid, status, elapsed_ns, cpu_ns, usage, got)
        if tick is not None and not stopped and not tick(elapsed_ns):
            stopped = True
            os.kill(pid, signal.SIGKILL)
        info = signal.sigtimedwait(WATCHED, tick_s)
        if info is None or info.si_signo == signal.SIGCHLD:
            continue
        got.append(info.si_signo)
        if got.count(signal.SIGINT) >= _IMPATIENT:
            os.kill(pid, signal.SIGKILL)
        elif info.si_code != SI_KERNEL:
            os.kill(pid, info.si_signo)  # sent to the recorder alone: pass it on
