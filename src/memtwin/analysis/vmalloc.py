"""Owns what /proc/vmallocinfo adds up to: by caller, by kind, and the largest areas.

Imports observe/vmallocinfo and units. Knows nothing of columns. Sizes are bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from memtwin.observe.vmallocinfo import VmallocArea
from memtwin.units import PAGE_SIZE


class VmallocBy(enum.Enum):
    """What areas are added up by."""

    CALLER = "caller"
    KIND = "kind"
    AREA = "area"


class VmallocGroup(msgspec.Struct, kw_only=True):
    """Areas of one caller and kind, of one kind, or one area alone.

    `size_bytes` counts addresses (guard pages too), `memory_bytes` the pages behind them; an
    ioremap has none of its own.
    """

    name: str
    kind: str
    areas: int
    size_bytes: int
    memory_bytes: int
    largest_bytes: int


def grouped(areas: Sequence[VmallocArea], by: VmallocBy) -> list[VmallocGroup]:
    """`areas` added up, most memory first, then most addresses."""
    groups: dict[tuple[object, ...], VmallocGroup] = {}
    for number, area in enumerate(areas):
        key: tuple[object, ...] = (area.function, area.kind)
        name = area.function
        if by is VmallocBy.KIND:
            key, name = (area.kind,), area.kind
        elif by is VmallocBy.AREA:
            key = (number,)
        group = groups.setdefault(
            key,
            VmallocGroup(
                name=name, kind=area.kind, areas=0, size_bytes=0, memory_bytes=0, largest_bytes=0
            ),
        )
        group.areas += 1
        group.size_bytes += area.size_bytes
        group.memory_bytes += (area.pages or 0) * PAGE_SIZE
        group.largest_bytes = max(group.largest_bytes, area.size_bytes)
    return sorted(groups.values(), key=lambda one: (-one.memory_bytes, -one.size_bytes, one.name))
