"""Owns what `slabtop` says: use and size of each slab cache and of all together.

Imports observe/slabinfo and units. Knows nothing of columns. Sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from memtwin.errors import UserError
from memtwin.observe.slabinfo import SlabRow
from memtwin.units import PAGE_SIZE


class SlabCache(msgspec.Struct, kw_only=True):
    """One cache."""

    name: str
    objs: int
    active_objs: int
    use_percent: int  # active of all, rounded down as slabtop does
    obj_size_bytes: int
    slabs: int
    active_slabs: int
    objs_per_slab: int
    pages_per_slab: int
    cache_size_bytes: int  # pages that the slabs take


class SlabSums(msgspec.Struct, kw_only=True):
    """All caches together, as slabtop's head has them: objects times size, not pages."""

    objs: int
    active_objs: int
    slabs: int
    active_slabs: int
    caches: int
    active_caches: int
    size_bytes: int
    active_size_bytes: int
    pages_size_bytes: int
    min_obj_bytes: int
    avg_obj_bytes: int
    max_obj_bytes: int


def caches_of(rows: Sequence[SlabRow]) -> list[SlabCache]:
    """The caches of /proc/slabinfo's `rows` (library/slabinfo.c parse_slabinfo20(), 4.0.2)."""
    return [
        SlabCache(
            name=row.name,
            objs=row.num_objs,
            active_objs=row.active_objs,
            use_percent=100 * row.active_objs // row.num_objs if row.num_objs else 0,
            obj_size_bytes=row.objsize_bytes,
            slabs=row.num_slabs,
            active_slabs=row.active_slabs,
            objs_per_slab=row.objs_per_slab,
            pages_per_slab=row.pages_per_slab,
            cache_size_bytes=row.num_slabs * row.pages_per_slab * PAGE_SIZE,
        )
        for row in rows
    ]


def sums_of(caches: Sequence[SlabCache]) -> SlabSums:
    """The sums of `caches`."""
    objs = sum(one.objs for one in caches)
    size_bytes = sum(one.objs * one.obj_size_bytes for one in caches)
    sizes = [one.obj_size_bytes for one in caches] or [0]
    return SlabSums(
        objs=objs,
        active_objs=sum(one.active_objs for one in caches),
        slabs=sum(one.slabs for one in caches),
        active_slabs=sum(one.active_slabs for one in caches),
        caches=len(caches),
        active_caches=sum(1 for one in caches if one.objs),
        size_bytes=size_bytes,
        active_size_bytes=sum(one.active_objs * one.obj_size_bytes for one in caches),
        pages_size_bytes=sum(one.cache_size_bytes for one in caches),
        min_obj_bytes=min(sizes),
        avg_obj_bytes=size_bytes // objs if objs else 0,
        max_obj_bytes=max(sizes),
    )


# letter -> what to sort by (src/slabtop.c set_sort_stuff(), 4.0.2); all but the name descend
_KEYS: dict[str, Callable[[SlabCache], float]] = {
    "a": lambda one: one.active_objs,
    "b": lambda one: one.objs_per_slab,
    "c": lambda one: one.cache_size_bytes,
    "l": lambda one: one.slabs,
    "v": lambda one: one.active_slabs,
    "o": lambda one: one.objs,
    "p": lambda one: one.pages_per_slab,
    "s": lambda one: one.obj_size_bytes,
    "u": lambda one: one.use_percent,
}
SORTS = "abclvnopsu"


def sorted_caches(caches: Sequence[SlabCache], letter: str) -> list[SlabCache]:
    """`caches` as slabtop sorts them by `letter`; UserError for a letter it does not have."""
    if letter == "n":
        return sorted(caches, key=lambda one: one.name)
    if letter not in _KEYS:
        raise UserError(f"--sort: found {letter!r}, allowed is one letter of {SORTS}")
    return sorted(caches, key=_KEYS[letter], reverse=True)
