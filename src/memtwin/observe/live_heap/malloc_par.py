"""Owns finding mp_, glibc's figures for the whole allocator, in an image.

Imports the image and glibc's layout. mp_ is a static variable near the first arena that no symbol
names; it is known by an address of the break beside the number of cached sizes, the largest of
them and how many are kept of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memtwin.observe.live_heap.glibc import CHUNK_HEADER_BYTES, TCACHE_BINS, GlibcLayout
from memtwin.observe.live_heap.memory_image import MemoryImage

_MOST_TCACHE_COUNT = 65535
_FIRST_WORDS = 10  # before sbrk_base, since glibc 2.35; 8 before


@dataclass(frozen=True)
class MallocPar:
    """malloc/malloc.c struct malloc_par, of which these are read."""

    sbrk_base_vaddr: int  # the first address that the break gave to malloc
    nr_mmaps: int  # mapped chunks, as glibc counts them


def find_malloc_par(
    image: MemoryImage, layout: GlibcLayout, main_vaddr: int, start_brk: int | None
) -> MallocPar | None:
    """mp_ beside the arena at `main_vaddr`; None where nothing or more than one thing fits."""
    region = image.region_at(main_vaddr)
    bases = [r for r in image.regions if r.mapping.path == "[heap]"]
    if region is None or not bases:
        return None
    lowest = max(bases[0].start_vaddr, start_brk or 0)
    words = image.words[region.row : region.row + ((region.end_vaddr - region.start_vaddr) >> 3)]
    base, bins, largest, kept = words[:-3], words[1:-2], words[2:-1], words[3:]
    # malloc/malloc.c do_set_tcache_max(), glibc 2.36: the bins are those that the largest needs
    most = 16 * bins + CHUNK_HEADER_BYTES - 8
    fits = (
        (base >= lowest)
        & (base < bases[-1].end_vaddr)
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
    if layout.has_huge_page_flags:
        nr_mmaps = int(words[at - 5]) >> 32
    else:
        nr_mmaps = int(words[at - 4]) & 0xFFFFFFFF
    return MallocPar(int(words[at]), nr_mmaps)
