"""Owns the blocks of a live heap: what the program was given and has not given back.

Imports the other files of the room. Joins the walk over segments, the lists of free chunks and
the mapped chunks into one sorted table. Knows nothing of leaks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from memtwin.columns import zeros
from memtwin.observe.live_heap.arenas import Arenas, Segment, Trouble, walk_arenas
from memtwin.observe.live_heap.chunk_reader import ChunkReader, Stop
from memtwin.observe.live_heap.free_chunks import FreeLists, Walked, read_free_lists
from memtwin.observe.live_heap.glibc import CHUNK_HEADER_BYTES, HEAP_MAX_BYTES, GlibcLayout
from memtwin.observe.live_heap.malloc_par import MallocPar, find_malloc_par
from memtwin.observe.live_heap.mapped_chunks import find_mapped_chunks
from memtwin.observe.live_heap.mapped_tops import find_mapped_tops
from memtwin.observe.live_heap.memory_image import MemoryImage
from memtwin.observe.live_heap.target import Thread

_FLAGS = 7
_SMALLEST_CHUNK_BYTES = 32
_WORD_BYTES = 8
_WALK_TROUBLE = {
    Stop.BAD_SIZE: "a size that no chunk can have here",
    Stop.BAD_FOOTER: "the chunk before is free and its size stands differently at its end",
    Stop.PAST_TOP: "a chunk reaches over the top",
    Stop.BAD_POINTER: "no memory is mapped here",
}


@dataclass
class HeapBlocks:
    """Blocks in use, sorted: user addresses `starts` and `ends` (of what is usable); int64."""

    starts: np.ndarray
    ends: np.ndarray
    mapped: np.ndarray  # bool: a mapping of its own
    arenas: Arenas
    spans: list[tuple[int, int]]  # memory of the allocator, which is no root
    troubles: list[Trouble]
    nr_chunks: int
    nr_cached: int  # free, in threads' caches
    nr_fastbin: int
    free_bytes: int  # free chunks, in lists and not, without the tops
    top_bytes: int
    system_bytes: int  # from the kernel for arenas
    notes: list[str]

    @property
    def locked(self) -> bool:
        """A thread was inside the allocator, with an arena's lock."""
        return any(arena.locked for arena in self.arenas.found)


def read_blocks(
    image: MemoryImage,
    layout: GlibcLayout,
    main_vaddr: int,
    start_brk: int | None,
    threads: list[Thread],
) -> HeapBlocks:
    """Walk everything the allocator has."""
    par = find_malloc_par(image, layout, main_vaddr, start_brk)
    first = par.sbrk_base_vaddr if par else start_brk
    heap_max = par.heap_max_bytes if par else HEAP_MAX_BYTES
    arenas = walk_arenas(image, layout, main_vaddr, first, heap_max)
    troubles = list(arenas.troubles)
    reader = ChunkReader(image.starts.data, image.ends.data, image.rows.data, image.words.data)
    segments = [segment for arena in arenas.found for segment in arena.segments]
    if arenas.found:
        spans = [(s.span_start_vaddr, s.end_vaddr) for s in segments]
        segments += find_mapped_tops(image, reader, arenas.found[0], spans)
    tops = {arena.vaddr: arena.top_vaddr for arena in arenas.found}
    parts = [_walk(image, reader, s, tops[s.arena_vaddr], troubles) for s in segments]
    walked = _joined(parts)
    lists = read_free_lists(image, reader, layout, arenas, walked, threads)
    troubles += lists.troubles
    inuse = walked.inuse != 0
    free_rows = walked.rows(lists.chunks())
    inuse[free_rows[free_rows >= 0]] = False
    lengths = walked.sizes & ~_FLAGS
    is_top = np.isin(walked.vaddrs, np.array(list(tops.values()), np.int64))
    free_bytes = int(lengths[~inuse & ~is_top].sum())
    own_rows = walked.rows(np.array(lists.caches, np.int64))
    inuse[own_rows[own_rows >= 0]] = False  # the allocator's own, no block of the program's
    mapped = find_mapped_chunks(image, segments, [thread.stack_pointer for thread in threads])
    starts = np.concatenate((walked.vaddrs[inuse], mapped.vaddrs)) + CHUNK_HEADER_BYTES
    ends = np.concatenate((walked.vaddrs[inuse] + lengths[inuse] + _WORD_BYTES, mapped.ends))
    is_mapped = np.arange(len(starts)) >= int(inuse.sum())
    order = np.argsort(starts, kind="stable")
    notes = _mapped_note(par, len(mapped.vaddrs))
    return HeapBlocks(
        starts[order],
        ends[order],
        is_mapped[order],
        arenas,
        [(s.span_start_vaddr, s.end_vaddr) for s in segments]
        + list(zip(mapped.map_starts.tolist(), mapped.ends.tolist(), strict=True)),
        troubles,
        len(walked.vaddrs) + len(mapped.vaddrs),
        sum(len(chunks) for chunks in lists.tcache),
        sum(len(chunks) for chunks in lists.fastbin),
        free_bytes,
        int(lengths[is_top].sum()),
        sum(arena.system_bytes for arena in arenas.found),
        notes + _cache_note(lists, walked, layout),
    )


def _walk(
    image: MemoryImage,
    reader: ChunkReader,
    segment: Segment,
    top_vaddr: int,
    troubles: list[Trouble],
) -> Walked:
    """The chunks of a segment; behind closing chunks, what follows is looked for."""
    parts, start = [], segment.start_vaddr
    most = (segment.end_vaddr - start) // _SMALLEST_CHUNK_BYTES + 2
    holds_top = segment.start_vaddr <= top_vaddr < segment.end_vaddr
    columns = zeros(most, "i8"), zeros(most, "i8"), zeros(most, "u1")
    vaddrs, sizes, inuse = (np.asarray(column) for column in columns)
    while True:
        count = reader.walk(start, segment.end_vaddr, top_vaddr, *columns)
        stop, stop_vaddr = Stop(reader.stop), int(reader.stop_vaddr)
        parts.append(Walked(vaddrs[:count].copy(), sizes[:count].copy(), inuse[:count].copy()))
        if stop in _WALK_TROUBLE:
            troubles.append(Trouble(stop_vaddr, _WALK_TROUBLE[stop]))
        if stop is Stop.AT_END and holds_top:
            troubles.append(Trouble(top_vaddr, "the chunks end without the top among them"))
        if stop is not Stop.AT_FENCE or stop_vaddr >= top_vaddr or not holds_top:
            break
        found = _resume(image, reader, stop_vaddr, segment.end_vaddr, top_vaddr)
        if found is None:
            troubles.append(Trouble(stop_vaddr, "no chunks follow up to the top"))
            break
        start = found
    return _joined(parts)


def _resume(
    image: MemoryImage, reader: ChunkReader, fence_vaddr: int, end_vaddr: int, top_vaddr: int
) -> int | None:
    """Where chunks begin again behind memory that somebody else took from the break (sbrk).

    It is the first place from which a walk meets the top.
    """
    row = image.row_of(fence_vaddr + 32)
    if row is None:
        return None
    sizes = image.words[row + 1 : row + ((top_vaddr - fence_vaddr - 32) >> 3) + 2 : 2]
    lengths = sizes & ~_FLAGS
    plausible = (lengths >= _SMALLEST_CHUNK_BYTES) & ((lengths & 15) == 0) & ((sizes & 1) == 1)
    most = (end_vaddr - fence_vaddr) // _SMALLEST_CHUNK_BYTES + 2
    columns = zeros(most, "i8"), zeros(most, "i8"), zeros(most, "u1")
    for number in np.flatnonzero(plausible).tolist():
        vaddr = fence_vaddr + 32 + 16 * number
        reader.walk(vaddr, end_vaddr, top_vaddr, *columns)
        if Stop(reader.stop) is Stop.AT_TOP:
            return int(vaddr)
    return None


def _joined(parts: list[Walked]) -> Walked:
    none = np.zeros(0, np.int64)
    vaddrs = np.concatenate([none, *(part.vaddrs for part in parts)])
    sizes = np.concatenate([none, *(part.sizes for part in parts)])
    inuse = np.concatenate([np.zeros(0, np.uint8), *(part.inuse for part in parts)])
    order = np.argsort(vaddrs, kind="stable")
    return Walked(vaddrs[order], sizes[order], inuse[order])


def _mapped_note(par: MallocPar | None, found: int) -> list[str]:
    if par is None or par.nr_mmaps == found:
        return []
    return [f"found {found} mapped chunks where glibc counts {par.nr_mmaps}"]


def _cache_note(lists: FreeLists, walked: Walked, layout: GlibcLayout) -> list[str]:
    if lists.nr_odd_caches:
        return [f"{lists.nr_odd_caches} threads' caches not understood: their blocks count as used"]
    if lists.caches or not len(walked.vaddrs):
        return []
    return [
        "no thread's cache was found: if caching is on, cached blocks count as used"
        f" (glibc {layout.version[0]}.{layout.version[1]})"
    ]
