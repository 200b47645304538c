"""Owns the chunks that malloc took straight from the kernel, each a mapping of its own.

Imports arenas and the image. Adjacent mappings are one region to the kernel, so
they are found by their headers: at a page's start, with a size that ends at one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memtwin.observe.live_heap.arenas import Segment
from memtwin.observe.live_heap.memory_image import MemoryImage, Region
from memtwin.units import PAGE_SIZE

_IS_MMAPPED = 2
_FLAGS = 7
_PAGE_WORDS = PAGE_SIZE >> 3
_SMALL_SHIFTS = np.array([48, 112, 240, 496, 1008, 2032])  # alignments of 32 and 64, 128 .. 2048


@dataclass(frozen=True)
class MappedChunks:
    """Headers and usable ends of mapped chunks, and the start of the mapping of each; int64."""

    vaddrs: np.ndarray
    ends: np.ndarray
    map_starts: np.ndarray


def find_mapped_chunks(
    image: MemoryImage, segments: list[Segment], stacks: list[int]
) -> MappedChunks:
    """All mapped chunks; `stacks` are stack pointers, whose regions hold none below them."""
    rows: list[tuple[int, int, int]] = []
    taken = sorted((segment.span_start_vaddr, segment.end_vaddr) for segment in segments)
    for region in image.regions:
        if region.mapping.holds_heaps and region.mapping.permissions[1] == "w":
            for start, end in _gaps(region, taken):
                _find_in(image, region, start, end, stacks, rows)
    found = np.array(rows, np.int64).reshape(-1, 3)
    return MappedChunks(found[:, 0], found[:, 1], found[:, 2])


def _gaps(region: Region, taken: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What of a region no segment of an arena has."""
    gaps, at = [], region.start_vaddr
    for start, end in taken:
        if end > at and start < region.end_vaddr:
            if start > at:
                gaps.append((at, start))
            at = max(at, (end + PAGE_SIZE - 1) & -PAGE_SIZE)
    if at < region.end_vaddr:
        gaps.append((at, region.end_vaddr))
    return gaps


def _find_in(
    image: MemoryImage,
    region: Region,
    start: int,
    end: int,
    stacks: list[int],
    rows: list[tuple[int, int, int]],
) -> None:
    first_row = region.row + ((start - region.start_vaddr) >> 3)
    pages = image.words[first_row : region.row + ((end - region.start_vaddr) >> 3)]
    sizes = pages.reshape(-1, _PAGE_WORDS)[:, 1]
    lengths = sizes & ~_FLAGS
    vaddrs = start + PAGE_SIZE * np.arange(len(sizes), dtype=np.int64)
    plausible = (
        ((sizes & _FLAGS) == _IS_MMAPPED)
        & (pages.reshape(-1, _PAGE_WORDS)[:, 0] == 0)
        & (lengths % PAGE_SIZE == 0)
        & (lengths > 0)
        & (lengths <= end - vaddrs)
    )
    at = start
    for page in np.flatnonzero(plausible).tolist():
        vaddr, length = int(vaddrs[page]), int(lengths[page])
        if vaddr < at or any(vaddr <= stack < vaddr + length for stack in stacks):
            continue
        rows.append(_aligned(image, vaddr, length))
        at = vaddr + length


def _aligned(image: MemoryImage, vaddr: int, length: int) -> tuple[int, int, int]:
    """memalign moves the header up: then prev_size tells how far, and the size what is left.

    The header stands before a multiple of the alignment, at least a smallest chunk into the
    mapping (malloc.c _int_memalign()).
    """
    row = image.row_of(vaddr)
    assert row is not None
    words = image.words[row : row + (length >> 3)]
    pages = np.flatnonzero(
        image.resident[row // _PAGE_WORDS : (row + (length >> 3)) // _PAGE_WORDS]
    )
    headers = np.concatenate((_SMALL_SHIFTS >> 3, pages * _PAGE_WORDS + _PAGE_WORDS - 2))
    headers = headers[headers + 1 < len(words)]
    shifted = (
        (words[headers] == 8 * headers)
        & ((words[headers + 1] & _FLAGS) == _IS_MMAPPED)
        & ((words[headers + 1] & ~_FLAGS) + 8 * headers == length)
    )
    hits = np.flatnonzero(shifted)
    header = vaddr + 8 * int(headers[hits[0]]) if len(hits) else vaddr
    return header, vaddr + length, vaddr
