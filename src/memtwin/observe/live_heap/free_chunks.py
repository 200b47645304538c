"""Owns which chunks are free though they look used: those on fastbins and in threads' caches.

Imports arenas, the image, glibc's layout and the reader of chunks. A chunk on such a list keeps its
flag of use; so it is taken from the lists, and each member must be a chunk that the walk has met.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from memtwin.columns import zeros
from memtwin.observe.live_heap.arenas import Arenas, Trouble
from memtwin.observe.live_heap.chunk_reader import ChunkReader, Stop
from memtwin.observe.live_heap.glibc import (
    CHUNK_HEADER_BYTES,
    FASTBINS,
    NR_FASTBINS,
    TCACHE_BINS,
    GlibcLayout,
)
from memtwin.observe.live_heap.memory_image import MemoryImage
from memtwin.observe.live_heap.target import Thread

_FLAGS = 7
_MIN_REST_BYTES = 16  # malloc.c _int_malloc(): a rest under MINSIZE stays with the chunk
_TLS_BYTES = 1 << 20  # how far below a control block the C library's own variables can lie
_LINK_TROUBLE = {
    Stop.BAD_POINTER: "leads out of the heap",
    Stop.TOO_LONG: "has more members than there are chunks: it runs in a ring",
}


@dataclass
class FreeLists:
    """Chunks by the address of their header."""

    fastbin: list[np.ndarray] = field(default_factory=list)
    tcache: list[np.ndarray] = field(default_factory=list)
    caches: list[int] = field(default_factory=list)  # the threads' caches themselves
    nr_odd_caches: int = 0  # threads that point to something else where their cache should be
    troubles: list[Trouble] = field(default_factory=list)

    def chunks(self) -> np.ndarray:
        """All chunks on lists; int64."""
        return np.concatenate([np.zeros(0, np.int64), *self.fastbin, *self.tcache])


@dataclass(frozen=True)
class Walked:
    """The chunks met by the walk, sorted by address; `sizes` are size words with flags."""

    vaddrs: np.ndarray
    sizes: np.ndarray
    inuse: np.ndarray

    def rows(self, vaddrs: np.ndarray) -> np.ndarray:
        """The rows of chunks with these addresses, -1 where there is none."""
        if not len(self.vaddrs):
            return np.full(len(vaddrs), -1)
        rows = np.minimum(np.searchsorted(self.vaddrs, vaddrs), len(self.vaddrs) - 1)
        return np.where(self.vaddrs[rows] == vaddrs, rows, -1)


def read_free_lists(
    image: MemoryImage,
    reader: ChunkReader,
    layout: GlibcLayout,
    arenas: Arenas,
    walked: Walked,
    threads: list[Thread],
) -> FreeLists:
    """All fastbins of all arenas and all caches of all threads."""
    lists = FreeLists()
    column = zeros(len(walked.vaddrs) + 1, "i8")
    members = np.asarray(column)
    for arena in arenas.found:
        for number in range(NR_FASTBINS):
            head = image.word(arena.vaddr + FASTBINS + 8 * number) or 0
            count = reader.follow(
                head, CHUNK_HEADER_BYTES, int(layout.safe_linking), len(walked.vaddrs), column
            )
            what = f"fastbin {number} of the arena at {arena.vaddr:#x}"
            taken = members[:count].copy()
            _check(reader, walked, what, taken, 32 + 16 * number, lists.troubles)
            lists.fastbin.append(taken)
    _read_caches(image, reader, layout, walked, threads, lists)
    return lists


def _check(
    reader: ChunkReader,
    walked: Walked,
    what: str,
    members: np.ndarray,
    size_bytes: int,
    troubles: list[Trouble],
) -> None:
    """Each member is a chunk of the size of its list, and the list ends."""
    stop = Stop(reader.stop)
    if stop in _LINK_TROUBLE:
        troubles.append(Trouble(reader.stop_vaddr, f"{what} {_LINK_TROUBLE[stop]}"))
        return
    rows = walked.rows(members)
    wrong = np.flatnonzero((rows < 0) | ((walked.sizes[rows] & ~_FLAGS) != size_bytes))
    if len(wrong):
        vaddr = int(members[wrong[0]])
        troubles.append(Trouble(vaddr, f"{what} holds what is no chunk of {size_bytes} bytes"))


def _read_caches(
    image: MemoryImage,
    reader: ChunkReader,
    layout: GlibcLayout,
    walked: Walked,
    threads: list[Thread],
    lists: FreeLists,
) -> None:
    # a free chunk that is cut for a cache leaves no rest of 16 bytes: it is given whole
    lengths, exact = walked.sizes & ~_FLAGS, layout.tcache_chunk_bytes
    fitting = (lengths == exact) | (lengths == exact + _MIN_REST_BYTES)
    candidates = walked.vaddrs[fitting & (walked.inuse != 0)] + CHUNK_HEADER_BYTES
    caches, lists.nr_odd_caches = _caches_of_threads(image, candidates, threads)
    for cache in caches:
        lists.caches.append(cache - CHUNK_HEADER_BYTES)
        counts = np.frombuffer(image.bytes_at(cache, 2 * TCACHE_BINS), np.uint16)
        heads = image.words_at(cache + 2 * TCACHE_BINS, TCACHE_BINS)
        for number in np.flatnonzero(heads).tolist():
            count = int(counts[number])
            column = zeros(count + 1, "i8")
            got = reader.follow(int(heads[number]), 0, int(layout.safe_linking), count + 1, column)
            chunks = np.asarray(column)[:got] - CHUNK_HEADER_BYTES
            what = f"list {number} of the thread's cache at {cache:#x}"
            _check(reader, walked, what, chunks, 32 + 16 * number, lists.troubles)
            if Stop(reader.stop) is Stop.LIST_END and got != count:
                lists.troubles.append(Trouble(cache, f"{what} has {got} members, counted {count}"))
            lists.tcache.append(chunks)


def _caches_of_threads(
    image: MemoryImage, candidates: np.ndarray, threads: list[Thread]
) -> tuple[list[int], int]:
    """The caches that threads point to from one and the same place of their own variables.

    That place is the same offset from the control block in every thread of a program. Among the
    offsets at which threads hold a candidate, it is the one where most do and where each that
    holds anything holds one. The second is how many threads hold something else there.
    """
    held: list[dict[int, int]] = []
    for thread in threads:
        region = image.region_at(thread.fs_base)
        if region is None or not len(candidates):
            continue
        start = max(region.start_vaddr, (thread.fs_base & ~7) - _TLS_BYTES)
        words = image.words_at(start, (thread.fs_base - start) >> 3)
        hits = np.flatnonzero(np.isin(words, candidates))
        held.append({thread.fs_base - start - 8 * i: int(words[i]) for i in hits.tolist()})
    scores: dict[int, int] = {}
    for places in held:
        for offset, cache in places.items():
            scores[offset] = scores.get(offset, 0) + (2 if _may_be_cache(image, cache) else -2)
    good = {offset: score for offset, score in scores.items() if score > 0}
    if not good:
        return [], 0
    # ties: nearest to the control block, stacks lie further away
    best = min(good, key=lambda offset: (-good[offset], offset))
    pointed = [image.word((thread.fs_base & ~7) - best) or 0 for thread in threads]
    caches = {places[best] for places in held if best in places}
    return sorted(caches), sum(word != 0 and word not in caches for word in pointed)


def _may_be_cache(image: MemoryImage, cache: int) -> bool:
    counts = np.frombuffer(image.bytes_at(cache, 2 * TCACHE_BINS), np.uint16)
    heads = image.words_at(cache + 2 * TCACHE_BINS, TCACHE_BINS)
    if len(heads) < TCACHE_BINS or len(counts) < TCACHE_BINS:
        return False
    # a head may stand without count for a moment, in the middle of a call
    return bool(np.all((heads & 15) == 0) and np.sum((counts > 0) != (heads != 0)) <= 1)
