"""Owns what free blocks say of fragmentation, zone by zone.

Imports observe/fragments and units. Knows nothing of columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from memtwin.observe.fragments import ZoneBlocks, ZoneIndex, extfrag_index, unusable_index
from memtwin.units import PAGE_SIZE


class ZoneFragmentation(msgspec.Struct, kw_only=True):
    """Free blocks of one zone by order, and what they are worth.

    `unusable_thousandths`: of the free memory, what is in blocks too small for an order.
    `extfrag_thousandths`: near 1000 a failure is fragmentation's, near 0 it is lack of memory's;
    -1000: an allocation of the order would succeed.
    """

    node: int
    zone: str
    blocks: tuple[int, ...]
    free_bytes: int
    largest_order: int | None  # of a free block; None: nothing is free
    unusable_thousandths: tuple[int, ...]
    extfrag_thousandths: tuple[int, ...]


def zones_of(rows: Sequence[ZoneBlocks]) -> list[ZoneFragmentation]:
    """The zones of /proc/buddyinfo's `rows`."""
    return [
        ZoneFragmentation(
            node=row.node,
            zone=row.zone,
            blocks=row.blocks,
            free_bytes=sum(n << order for order, n in enumerate(row.blocks)) * PAGE_SIZE,
            largest_order=max((o for o, n in enumerate(row.blocks) if n), default=None),
            unusable_thousandths=unusable_index(row.blocks),
            extfrag_thousandths=extfrag_index(row.blocks),
        )
        for row in rows
    ]


def differing(ours: Sequence[ZoneFragmentation], field: str, theirs: Sequence[ZoneIndex]) -> int:
    """How many zones the kernel's own index differs in; blocks may have moved between the texts."""
    kernels = {(one.node, one.zone): one.thousandths for one in theirs}
    pairs = [(getattr(zone, field), kernels.get((zone.node, zone.zone))) for zone in ours]
    return sum(1 for mine, kernel in pairs if kernel is not None and mine != kernel)
