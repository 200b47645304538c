"""Owns finding what was mapped for the first arena where the break could not go on.

Imports arenas, the image and the reader of chunks. Such a region is known to nobody: it begins at a
page's start with a chunk, and ends with the top, or with two small chunks that close it when the
next region took its place. Adjacent ones are one mapping to the kernel.
"""

from __future__ import annotations

import numpy as np

from memtwin.columns import zeros
from memtwin.observe.live_heap.arenas import Arena, Segment
from memtwin.observe.live_heap.chunk_reader import ChunkReader, Stop
from memtwin.observe.live_heap.memory_image import MemoryImage, Region
from memtwin.units import PAGE_SIZE

_FLAGS = 7
_PREV_INUSE = 1
_SMALLEST_CHUNK_BYTES = 32
_CLOSING = 16  # malloc/malloc.c sysmalloc(), glibc 2.36: the size of a double fencepost
_MOST_CLOSING_BYTES = 48  # where the top that was left had 48 bytes, its rest is as small
_PAGE_WORDS = PAGE_SIZE >> 3


def find_mapped_tops(
    image: MemoryImage, reader: ChunkReader, main: Arena, taken: list[tuple[int, int]]
) -> list[Segment]:
    """The regions of the first arena outside the break; `taken` are the spans of all segments."""
    segments: list[Segment] = []
    if main.contiguous:
        return segments
    taken = sorted(taken)
    for region in image.regions:
        if region.mapping.holds_heaps and region.mapping.permissions[1] == "w":
            segments += _in_region(image, reader, main, region, taken)
    return segments


def _in_region(
    image: MemoryImage, reader: ChunkReader, main: Arena, region: Region,
    taken: list[tuple[int, int]],
) -> list[Segment]:  # fmt: skip
    end_row = region.row + ((region.end_vaddr - region.start_vaddr) >> 3)
    sizes = image.words[region.row + 1 : end_row : _PAGE_WORDS]
    lengths = sizes & ~_FLAGS
    vaddrs = region.start_vaddr + PAGE_SIZE * np.arange(len(sizes), dtype=np.int64)
    plausible = (
        ((sizes & _FLAGS) == _PREV_INUSE)
        & ((lengths & 15) == 0)
        & (lengths >= _SMALLEST_CHUNK_BYTES)
        & (lengths <= region.end_vaddr - vaddrs)
    )
    for start, end in taken:
        plausible &= (vaddrs < start) | (vaddrs >= end)
    found: list[Segment] = []
    at = region.start_vaddr
    for vaddr in vaddrs[plausible].tolist():
        if vaddr < at:
            continue
        end = _end_of(image, reader, vaddr, region.end_vaddr, main.top_vaddr)
        if end:
            found.append(Segment(main.vaddr, vaddr, end, vaddr))
            at = end
    return found


def _end_of(
    image: MemoryImage, reader: ChunkReader, start: int, end: int, top_vaddr: int
) -> int:  # fmt: skip
    """Where the region that begins at `start` ends, a page's end; 0 when none begins there."""
    most = (end - start) // _SMALLEST_CHUNK_BYTES + 2
    columns = zeros(most, "i8"), zeros(most, "i8"), zeros(most, "u1")
    reader.walk(start, end, top_vaddr, *columns)
    stop, at = Stop(reader.stop), int(reader.stop_vaddr)
    if stop is Stop.AT_TOP:
        found = at + ((image.word(at + 8) or 0) & ~_FLAGS)
    elif stop is Stop.AT_FENCE:
        found = (at + _MOST_CLOSING_BYTES) & -PAGE_SIZE
        words = [image.word(vaddr) for vaddr in range(at + 8, found, 16)]
        if not _closes(words):
            return 0
    else:
        return 0
    return found if found % PAGE_SIZE == 0 else 0


def _closes(words: list[int | None]) -> bool:
    """Whether these are the size words of a double fencepost, behind a free chunk or a used one."""
    first_ones = (_CLOSING, _CLOSING | _PREV_INUSE)
    after = [_CLOSING | _PREV_INUSE] * (len(words) - 1)
    return len(words) in (2, 3) and words[0] in first_ones and words[1:] == after
