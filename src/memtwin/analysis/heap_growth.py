"""Owns what came between two scans of one heap: which blocks leaked since, and what else grew.

Imports live_heap/records. Reads nothing. Blocks are compared by kind, size and content, because a
freed block's address is soon another's.
"""

from __future__ import annotations

import msgspec

from memtwin.errors import UserError
from memtwin.observe.live_heap.records import Group, HeapScan

_LOST = ("definite", "indirect")


class Growth(msgspec.Struct, frozen=True):
    """Blocks of one kind, size and content that are more (or fewer) than before."""

    kind: str
    size_bytes: int
    blocks: int  # now
    bytes: int
    blocks_since: int
    bytes_since: int
    bytes_per_s: float
    content: str | None = None
    text: str | None = None
    held_by: list[str] = []

    @property
    def is_lost(self) -> bool:
        """No pointer to it was found, or only from lost blocks."""
        return self.kind in _LOST


class HeapGrowth(msgspec.Struct, frozen=True):
    """Two scans of one process, compared; `*_since` are differences, later minus earlier."""

    pid: int
    seconds: float
    lost_bytes_since: int
    lost_blocks_since: int
    in_use_bytes_since: int
    free_bytes_since: int  # free chunks between used ones, and the tops
    groups: list[Growth]  # those that changed, the fastest growing first


def heap_growth(before: HeapScan, after: HeapScan) -> HeapGrowth:
    """What came between `before` and `after`.

    Raises UserError when they are not of one process, or in the wrong order.
    """
    if (before.pid, before.start_ticks) != (after.pid, after.start_ticks):
        raise UserError(
            f"scans: found one of PID {before.pid} and one of PID {after.pid} (or of a later"
            " process with that PID), allowed are two of one process"
        )
    seconds = after.taken_s - before.taken_s
    if seconds <= 0:
        raise UserError("scans: found the later one first, allowed is the earlier one first")
    old = {_key(group): group for group in before.groups}
    new = {_key(group): group for group in after.groups}
    groups = []
    for key in old.keys() | new.keys():
        was, now = old.get(key), new.get(key)
        blocks_since = (now.blocks if now else 0) - (was.blocks if was else 0)
        seen = now or was
        if blocks_since == 0 or seen is None:
            continue
        bytes_since = blocks_since * seen.size_bytes
        groups.append(
            Growth(
                seen.kind,
                seen.size_bytes,
                now.blocks if now else 0,
                now.bytes if now else 0,
                blocks_since,
                bytes_since,
                bytes_since / seconds,
                seen.content,
                seen.text,
                seen.held_by,
            )
        )
    groups.sort(key=lambda one: (not one.is_lost, -one.bytes_since, one.size_bytes, one.kind))
    return HeapGrowth(
        after.pid,
        seconds,
        after.lost_bytes - before.lost_bytes,
        sum(after.kinds[kind].blocks - before.kinds[kind].blocks for kind in _LOST),
        after.heap.in_use_bytes - before.heap.in_use_bytes,
        (after.heap.free_bytes + after.heap.top_bytes)
        - (before.heap.free_bytes + before.heap.top_bytes),
        groups,
    )


def _key(group: Group) -> tuple[str, int, str | None]:
    return group.kind, group.size_bytes, group.content
