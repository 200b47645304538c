"""Owns finding mp_, glibc's figures for the whole allocator, in an image.

Imports the image and glibc's layout. mp_ is a static variable near the first arena that no symbol
names; it is known by where its memory began beside the number of cached sizes, the largest of
them and how many are kept of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memtwin.observe.live_heap.glibc import (
    CHUNK_HEADER_BYTES,
    HEAP_MAX_BYTES,
    TCACHE_BINS,
    GlibcLayout,
)
from memtwin.observe.live_heap.memory_image import MemoryImage
from memtwin.units import PAGE_SIZE

_MOST_TCACHE_COUNT = 65535
_FIRST_WORDS = 10  # before sbrk_base, since glibc 2.35; 8 before
_HUGE_PAGES = (0, 1 << 21, 1 << 30)


@dataclass(frozen=True)
class MallocPar:
    """malloc/malloc.c struct malloc_par, of which these are read."""

    sbrk_base_vaddr: int  # the first address that the break gave to malloc
    nr_mmaps: int  # mapped chunks, as glibc counts them
    hp_bytes: int  # of the huge pages that heaps are made of; 0: of none

    @property
    def heap_max_bytes(self) -> int:
        """malloc/arena.c heap_max_size(), glibc 2.35: to this heaps are aligned."""
        return 4 * self.hp_bytes if self.hp_bytes else HEAP_MAX_BYTES


def find_malloc_par(
    image: MemoryImage, layout: GlibcLayout, main_vaddr: int, start_brk: int | None
) -> MallocPar | None:
    """mp_ beside the arena at `main_vaddr`; None where nothing or more than one thing fits."""
    region = image.region_at(main_vaddr)
    if region is None:
        return None
    words = image.words[region.row : region.row + ((region.end_vaddr - region.start_vaddr) >> 3)]
    base, bins, largest, kept = words[:-3], words[1:-2], words[2:-1], words[3:]
    # malloc/malloc.c do_set_tcache_max(), glibc 2.36: the bins are those that the largest needs
    most = 16 * bins + CHUNK_HEADER_BYTES - 8
    fits = (
        _may_begin(image, base, start_brk or 0)
        & (bins > 0)
        & (bins <= TCACHE_BINS)
        & (largest <= most)
        & ((largest > most - 16) | (bins == 1))
        & (largest >= 0)
        & (kept >= 0)
        & (kept <= _MOST_TCACHE_COUNT)
    )
    hits = np.flatnonzero(fits)
    if len(hits) != 1 or hits[0] < _FIRST_WORDS:
        return None
    at = int(hits[0])
    # struct malloc_par: (hp_flags from 2.35 on,) n_mmaps, n_mmaps_max, max_n_mmaps,
    # no_dyn_threshold are ints; then mmapped_mem, max_mmapped_mem, sbrk_base
    if not layout.has_huge_page_flags:
        return MallocPar(int(words[at]), int(words[at - 4]) & 0xFFFFFFFF, 0)
    hp_bytes = int(words[at - 6])
    if hp_bytes not in _HUGE_PAGES:
        return None
    return MallocPar(int(words[at]), int(words[at - 5]) >> 32, hp_bytes)


def _may_begin(image: MemoryImage, base: np.ndarray, start_brk: int) -> np.ndarray:
    """Which words can be sbrk_base: in the break, or the start of what was mapped in its stead."""
    found: np.ndarray = ((base & (PAGE_SIZE - 1)) == 0) & (image.rows_of(base) >= 0)
    for region in image.regions:
        if region.mapping.path == "[heap]":
            lowest = max(region.start_vaddr, start_brk)
            found |= (base >= lowest) & (base < region.end_vaddr)
    return found
