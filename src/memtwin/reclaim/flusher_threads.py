"""Owns the place where reclaim wakes the threads that write dirty files: one virtual verb.

Imports nothing of the house. Has never heard of files: a room above derives from `FlusherThreads`
and is handed to the scanner, as shrinkers are.
"""

from __future__ import annotations

import cython


@cython.cclass
class FlusherThreads:
    """The flusher threads of the machine; this one stands for a machine without file systems."""

    def __init__(self) -> None:
        self.nr_wakeups = 0  # times that reclaim met nothing but dirty pages nobody writes

    @cython.ccall
    def wakeup_flusher_threads(self) -> cython.int:
        """Start writing all dirty pages of files; 0."""
        self.nr_wakeups += 1
        return 0
