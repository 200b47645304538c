"""Owns finding glibc's arenas in an image, and the segments of memory that each has.

Imports the image and glibc's layout. The first arena is a static variable that no symbol names; it
is known by its bins, which point to themselves while they are empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from memtwin.observe.live_heap.glibc import (
    ARENA_BYTES,
    BINS,
    FLAGS,
    HEAP_ARENA,
    HEAP_PREV,
    HEAP_SIZE,
    MUTEX,
    NEXT,
    NONCONTIGUOUS,
    NR_BINS,
    SYSTEM_MEM,
    TOP,
    GlibcLayout,
    libc_mappings,
)
from memtwin.observe.live_heap.memory_image import MemoryImage, Region
from memtwin.units import PAGE_SIZE

_MOST_ARENAS = 4096
_MOST_BYTES = 1 << 47
_MOST_HEAPS = 65536
_FEWEST_EMPTY_BINS = 4


class Segment(NamedTuple):
    """Memory that chunks fill: `[start_vaddr, end_vaddr)`, in a span that roots leave out."""

    arena_vaddr: int
    start_vaddr: int
    end_vaddr: int
    span_start_vaddr: int


@dataclass
class Arena:
    """One arena: its address, its top chunk, its segments, and whether its lock was held."""

    vaddr: int
    top_vaddr: int
    system_bytes: int
    locked: bool
    contiguous: bool
    segments: list[Segment] = field(default_factory=list)


class Trouble(NamedTuple):
    """Something that does not fit: where, and what in words."""

    vaddr: int
    what: str


@dataclass
class Arenas:
    """All arenas of the program, the first one first, and what did not fit."""

    found: list[Arena] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)


def find_main_arena(image: MemoryImage) -> int | None:
    """The address of the first arena, None where no heap of glibc's was ever begun."""
    names = {mapping.path for mapping in libc_mappings(image.mappings)}
    files = [region for region in image.regions if region.mapping.inode and _writable(region)]
    for region in [r for r in files if r.mapping.path in names] + [
        r for r in files if r.mapping.path not in names
    ]:
        found = _main_arena_in(image, region)
        if found is not None:
            return found
    return None


def _writable(region: Region) -> bool:
    return region.mapping.permissions[1] == "w"


def _main_arena_in(image: MemoryImage, region: Region) -> int | None:
    count = (region.end_vaddr - region.start_vaddr) >> 3
    words = image.words[region.row : region.row + count]
    if count < ARENA_BYTES >> 3:
        return None
    vaddrs = region.start_vaddr + 8 * np.arange(count, dtype=np.int64)
    # an empty bin: both links lead to 16 bytes before the pair
    empty = np.flatnonzero((words[:-1] == vaddrs[:-1] - 16) & (words[1:] == vaddrs[:-1] - 16))
    votes: dict[int, int] = {}
    for row in empty.tolist():
        for bin_number in range(NR_BINS):
            base = region.start_vaddr + 8 * row - BINS - 16 * bin_number
            if base >= region.start_vaddr:
                votes[base] = votes.get(base, 0) + 1
    for base, _ in sorted(votes.items(), key=lambda item: -item[1])[: NR_BINS * 2]:
        if votes[base] >= _FEWEST_EMPTY_BINS and _is_main_arena(image, base):
            return base
    return None


def _is_main_arena(image: MemoryImage, base: int) -> bool:
    words = image.words_at(base, ARENA_BYTES >> 3)
    if len(words) < ARENA_BYTES >> 3 or base % 32:
        return False
    links = words[BINS >> 3 : (BINS >> 3) + 2 * NR_BINS]
    own = base + BINS - 16 + 16 * np.repeat(np.arange(NR_BINS), 2)
    following, system = int(words[NEXT >> 3]), int(words[SYSTEM_MEM >> 3])
    ring_goes_on = following == base or following % PAGE_SIZE in (0x20, 0x30)
    top = int(words[TOP >> 3])
    return bool(
        ring_goes_on
        and np.all((links == own) | (image.rows_of(links) >= 0))
        and 0 <= system < _MOST_BYTES
        and (top == base + TOP or image.row_of(top) is not None)
    )


def walk_arenas(
    image: MemoryImage, layout: GlibcLayout, main_vaddr: int, first_vaddr: int | None,
    heap_max_bytes: int,
) -> Arenas:  # fmt: skip
    """Follow the ring of arenas from the first one, and each arena's chain of heaps.

    `first_vaddr` is where malloc's part of the break begins: others may have taken some before
    (ld.so for GLIBC_TUNABLES, to glibc 2.34). Heaps are aligned to `heap_max_bytes`. Of the first
    arena only the break is here, not what stood in for it (`mapped_tops`).
    """
    arenas, vaddr, seen = Arenas(), main_vaddr, set[int]()
    while vaddr not in seen:
        words = image.words_at(vaddr, ARENA_BYTES >> 3)
        if len(words) < ARENA_BYTES >> 3 or len(seen) == _MOST_ARENAS:
            arenas.troubles.append(Trouble(vaddr, "the ring of arenas leads out of memory"))
            break
        seen.add(vaddr)
        state = int(words[0])
        arena = Arena(
            vaddr,
            int(words[TOP >> 3]),
            int(words[SYSTEM_MEM >> 3]),
            (state >> 8 * MUTEX) & 0xFFFFFFFF != 0,
            (state >> 8 * FLAGS) & NONCONTIGUOUS == 0,
        )
        if arena.top_vaddr != vaddr + TOP:  # still its initial one: nothing was ever taken
            if vaddr == main_vaddr:
                _break_segments(image, arena, first_vaddr)
            else:
                _heap_segments(image, layout, arena, heap_max_bytes, arenas.troubles)
        arenas.found.append(arena)
        vaddr = int(words[NEXT >> 3])
    if vaddr != main_vaddr and not arenas.troubles:
        arenas.troubles.append(Trouble(vaddr, "the ring of arenas does not close"))
    return arenas


def _break_segments(image: MemoryImage, arena: Arena, first_vaddr: int | None) -> None:
    for region in image.regions:
        if region.mapping.path == "[heap]":
            start = region.start_vaddr
            if first_vaddr is not None and start <= first_vaddr < region.end_vaddr:
                start = (first_vaddr + 15) & ~15
            arena.segments.append(Segment(arena.vaddr, start, region.end_vaddr, start))


def _heap_segments(
    image: MemoryImage, layout: GlibcLayout, arena: Arena, heap_max_bytes: int,
    troubles: list[Trouble],
) -> None:  # fmt: skip
    heap = arena.top_vaddr & -heap_max_bytes
    seen: set[int] = set()
    while heap:
        if image.word(heap + HEAP_ARENA) != arena.vaddr or heap in seen:
            troubles.append(Trouble(heap, f"no heap of the arena at {arena.vaddr:#x} begins here"))
            return
        if len(seen) == _MOST_HEAPS:
            troubles.append(Trouble(heap, f"found more than {_MOST_HEAPS} heaps in an arena"))
            return
        seen.add(heap)
        size = image.word(heap + HEAP_SIZE) or 0
        first = heap + layout.heap_info_bytes
        if arena.vaddr & -heap_max_bytes == heap:
            first = (arena.vaddr + ARENA_BYTES + 15) & ~15
        if not first - heap < size <= heap_max_bytes:
            troubles.append(Trouble(heap, f"a heap of {size} bytes"))
            return
        arena.segments.append(Segment(arena.vaddr, first, heap + size, heap))
        heap = image.word(heap + HEAP_PREV) or 0
