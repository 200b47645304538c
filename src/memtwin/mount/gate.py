"""Owns whose turn it is: the machine that runs on, or who reads it.

Imports nothing of the twin. Turns are taken in the order of asking, so that neither many readers
keep the machine from running, nor it them from reading: it gives way whenever it pauses.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Gate:
    """One runner, many readers; one of them at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next_ticket = 0
        self._served = 0  # the ticket whose turn it is

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the machine to oneself while the block runs: to read it, or to run it."""
        self._take()
        try:
            yield
        finally:
            self._give_up()

    def pause(self, wait_s: float) -> None:
        """In the midst of one's turn, let others have theirs; for at least `wait_s` of them."""
        self._give_up()
        if wait_s > 0:
            time.sleep(wait_s)
        self._take()

    def _take(self) -> None:
        with self._changed:
            ticket = self._next_ticket
            self._next_ticket += 1
            while self._served != ticket:
                self._changed.wait()

    def _give_up(self) -> None:
        with self._changed:
            self._served += 1
            self._changed.notify_all()
