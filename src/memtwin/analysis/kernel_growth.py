"""Owns which of the kernel's own memory grew between two looks: slab caches, vmalloc, page tables.

Imports the records of slabinfo and meminfo. Reads nothing. One pair of looks shows growth, not a
leak: a cache that is reclaimable shrinks when memory is short.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from memtwin.observe.meminfo import MemInfo
from memtwin.observe.slabinfo import SlabRow
from memtwin.units import PAGE_SIZE

# name in /proc/meminfo -> what it is
_FIGURES = (
    ("vmalloc_used_kib", "vmalloc"),
    ("page_tables_kib", "page tables"),
    ("sec_page_tables_kib", "secondary page tables"),
    ("kernel_stack_kib", "kernel stacks"),
    ("percpu_kib", "per-CPU memory"),
    ("sunreclaim_kib", "slab that can't be reclaimed"),
    ("sreclaimable_kib", "slab that can be reclaimed"),
)


class KernelLook(msgspec.Struct):
    """One look; `slabs` is None where /proc/slabinfo can't be read."""

    taken_s: float
    meminfo: MemInfo
    slabs: list[SlabRow] | None


class KernelGrowth(msgspec.Struct):
    """One cache or figure; `objects` are active ones, None where it has none."""

    name: str
    kind: str
    bytes: int
    bytes_since: int
    bytes_per_s: float
    objects: int | None = None
    objects_since: int | None = None


def kernel_growth(before: KernelLook, after: KernelLook) -> list[KernelGrowth]:
    """Every figure of both looks and every cache of the later, the fastest growing first.

    A cache that was not there before has grown from nothing.
    """
    seconds = max(after.taken_s - before.taken_s, 1e-9)
    rows = [*_figures(before, after, seconds), *_slabs(before.slabs, after.slabs, seconds)]
    return sorted(rows, key=lambda row: (-row.bytes_since, row.name))


def _figures(before: KernelLook, after: KernelLook, seconds: float) -> list[KernelGrowth]:
    rows = []
    for field, title in _FIGURES:
        was, now = getattr(before.meminfo, field), getattr(after.meminfo, field)
        if was is None or now is None:
            continue
        since = (now - was) << 10
        rows.append(KernelGrowth(title, "meminfo", now << 10, since, since / seconds))
    return rows


def _slabs(
    before: Sequence[SlabRow] | None, after: Sequence[SlabRow] | None, seconds: float
) -> list[KernelGrowth]:
    if before is None or after is None:
        return []
    old = {row.name: row for row in before}
    rows = []
    for row in after:
        was = old.get(row.name)
        size, objects = _bytes(row), row.active_objs
        since = size - (_bytes(was) if was is not None else 0)
        rows.append(
            KernelGrowth(
                row.name,
                "slab",
                size,
                since,
                since / seconds,
                objects,
                objects - (was.active_objs if was is not None else 0),
            )
        )
    return rows


def _bytes(row: SlabRow) -> int:
    return row.num_slabs * row.pages_per_slab * PAGE_SIZE
