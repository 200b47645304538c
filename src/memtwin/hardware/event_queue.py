"""Owns the queue of coming events, ordered by (time_ns, seq). Imports nothing.

An event is (time_ns, seq, kind, argument): what a kind means is the machine's affair.
"""

from __future__ import annotations

import heapq


class EventQueue:
    """Events of one machine; equal times come out in the order they were put in."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str, int]] = []
        self._seq = 0

    def put(self, time_ns: int, kind: str, argument: int = 0) -> None:
        """Add an event of `kind` at `time_ns`."""
        heapq.heappush(self._heap, (time_ns, self._seq, kind, argument))
        self._seq += 1

    def next_ns(self) -> int:
        """Time of the first event, or -1 when there is none."""
        return self._heap[0][0] if self._heap else -1

    def take(self, now_ns: int) -> tuple[str, int] | None:
        """Remove and return (kind, argument) of the first event due at `now_ns`, or None."""
        if not self._heap or self._heap[0][0] > now_ns:
            return None
        _, _, kind, argument = heapq.heappop(self._heap)
        return kind, argument

    def state(self) -> list[tuple[int, int, str, int]]:
        """All events in order, for digests."""
        return sorted(self._heap)
