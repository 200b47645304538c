"""Owns whose turn it is: the machine that runs on, or who reads it.

Imports nothing of the twin. A reader sees the machine only where the runner lets it in, between
two steps; the runner gives way as soon as a reader waits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """One runner, many readers."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._readers_waiting = 0
        self._taken = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the machine still while the block runs."""
        with self._turn:
            self._readers_waiting += 1
            while self._taken:
                self._turn.wait()
            self._readers_waiting -= 1
            self._taken = True
        try:
            yield
        finally:
            self._give_up()

    @contextmanager
    def running(self) -> Iterator[None]:
        """The machine moves while the block runs; `pause` lets readers in."""
        self._take_as_runner()
        try:
            yield
        finally:
            self._give_up()

    def pause(self, wait_s: float) -> None:
        """Let readers in for at least `wait_s`, and until none waits. The runner's to call."""
        self._give_up()
        if wait_s > 0:
            threading.Event().wait(wait_s)
        self._take_as_runner()

    def _take_as_runner(self) -> None:
        with self._turn:
            while self._taken or self._readers_waiting:
                self._turn.wait()
            self._taken = True

    def _give_up(self) -> None:
        with self._turn:
            self._taken = False
            self._turn.notify_all()
