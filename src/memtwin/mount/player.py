"""Owns letting a machine's time run on while it is looked at, so many virtual seconds a real one.

Imports machine and mount/gate. Knows nothing of what runs on the machine. A timer of the machine
stops it every few milliseconds of its time, between two steps of what runs: there readers are let
in, and there it waits for real time. A twin that computes slower than asked just lags behind.

# MODEL: each stop may also switch between processes that run side by side; a played run of several
# can therefore differ from an unplayed one in their order, never in what they do
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from memtwin.errors import UserError
from memtwin.machine.machine import Machine
from memtwin.mount.gate import Gate

STOP_S = 0.01  # real seconds between stops, about


class _Stopped(BaseException):
    """The player was told to stop; unwinds what ran."""


class Player:
    """Runs `program` on `machine` at `speed`, then lets its time pass."""

    def __init__(
        self, machine: Machine, program: Callable[[], None], speed: float, gate: Gate
    ) -> None:
        self.machine = machine
        self.program = program
        self.speed = speed
        self.gate = gate
        self.fault: UserError | OSError | None = None  # what ended the program early
        self._step_ns = max(int(STOP_S * speed * 1e9), 1)
        self._due_ns = -1
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="player", daemon=True)
        machine.timers.add("player", lambda: self._due_ns, self._stop_here)

    def start(self, tell: Callable[[str], None]) -> None:
        """Begin; returns at once. `tell` hears the mistake that ends the program early."""
        self._tell = tell
        self._thread.start()

    def stop(self) -> None:
        """End it at its next stop, and wait for that."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        clock = self.machine.clock
        try:
            with self.gate.turn():
                self._begin_s, self._begin_ns = time.monotonic(), int(clock.now_ns)
                self._due_ns = self._begin_ns
                try:
                    self.program()
                except (UserError, OSError) as fault:  # a recording is read as it is played
                    self.fault = fault
                    self._tell(str(fault))
                while True:
                    self.machine.sleep(self._step_ns)
        except _Stopped:
            self._due_ns = -1

    def _stop_here(self) -> None:
        if self._stopping.is_set():
            raise _Stopped
        passed_s = (self._due_ns - self._begin_ns) / 1e9 / self.speed
        ahead_s = passed_s - (time.monotonic() - self._begin_s)
        self._due_ns += self._step_ns
        self.gate.pause(ahead_s)
