"""Owns the walk over every chunk of a simulated heap: where it is, how large, in which state.

Imports the heap. Knows nothing of what the figures mean for anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from memtwin.errors import require
from memtwin.heap.constants import (
    BLOCK_SHIFT,
    MINSIZE,
    NBINS,
    NFASTBINS,
    SIZEOF_MALLOC_STATE,
    TCACHE_MAX_BINS,
)
from memtwin.heap.heap import Heap
from memtwin.heap.upkeep import arena_ring, bin_chunks, fast_chunks, trimmable

USED, TCACHE, FAST, UNSORTED, SMALL, LARGE, TOP, OWN, FENCE, MMAPPED = (
    "used", "tcache", "fastbin", "unsorted", "smallbin", "largebin", "top", "own", "fence",
    "mmapped",
)  # fmt: skip
FREE_STATES = (TCACHE, FAST, UNSORTED, SMALL, LARGE, TOP)
_LAST_SMALL_BIN = 63


@dataclass(frozen=True)
class Chunk:
    """One chunk: its row, address and bytes with header, its state, its arena (-1 mapped)."""

    row: int
    address: int
    size_bytes: int
    state: str
    arena: int


def states(heap: Heap) -> dict[int, str]:
    """State of every chunk that is not in use, by row."""
    found: dict[int, str] = {}
    words, tcache = heap.memory.word, heap.tcache
    for thread in range(len(tcache.own_chunk)):
        if tcache.own_chunk[thread]:
            found[int(tcache.own_chunk[thread])] = OWN
        for i in range(TCACHE_MAX_BINS):
            row = int(tcache.entries[thread * TCACHE_MAX_BINS + i])
            while row:
                found[row] = TCACHE
                row = int(words[2 * row + 2])
    for arena in arena_ring(heap):
        for i in range(NFASTBINS):
            found |= dict.fromkeys(fast_chunks(heap, arena, i), FAST)
        for i in range(1, NBINS):
            state = UNSORTED if i == 1 else SMALL if i <= _LAST_SMALL_BIN else LARGE
            found |= dict.fromkeys(bin_chunks(heap, arena, i), state)
        found[int(heap.arenas.top[arena])] = TOP
    return found


def chunks(heap: Heap) -> Iterator[Chunk]:
    """Every chunk of the break and of all heaps, upwards, then mapped chunks."""
    known = states(heap)
    if heap.par.sbrk_base:
        yield from _walk(heap, known, 0, int(heap.par.sbrk_base), int(heap.arenas.top[0]))
    for block in sorted(heap.memory.block_by_address.values()):
        yield from _walk_heap(heap, known, block)
    for address, row in sorted(heap.memory.slot_by_address.items()):
        yield Chunk(row, address, int(heap.arenas.chunk_size(row)), MMAPPED, -1)


def _walk_heap(heap: Heap, known: dict[int, str], block: int) -> Iterator[Chunk]:
    first = block << BLOCK_SHIFT
    arena = int(heap.heaps.arena_of[block])
    start = first + (heap.par.heap_info_bytes >> 4)
    if int(heap.heaps.prev[block]) == 0:
        start = first + ((heap.par.heap_info_bytes + SIZEOF_MALLOC_STATE + 15) >> 4)
    end = first + (int(heap.heaps.size[block]) >> 4)
    top = int(heap.arenas.top[arena])
    yield from _walk(heap, known, arena, start, top if first <= top < end else end)


def _walk(heap: Heap, known: dict[int, str], arena: int, row: int, last: int) -> Iterator[Chunk]:
    while row <= last:
        size = int(heap.arenas.chunk_size(row))
        state = known.get(row, USED if size >= MINSIZE else FENCE)
        yield Chunk(row, int(heap.memory.address_of(row)), size, state, arena)
        if row == last or size == 0:
            return
        row += size >> 4


@dataclass(frozen=True)
class Census:
    """Bytes by state, and what keeps memory from going back to the system."""

    bytes_by_state: dict[str, int]
    chunks_by_state: dict[str, int]
    top_bytes: int
    trimmable_bytes: int  # that malloc_trim would give back, top not counted
    trimmable_resident_bytes: int  # of those, what is resident now
    last_used: Chunk | None  # the highest chunk in use of the break: it pins all below it
    free_below_last_bytes: int  # free bytes of the break below it
    largest_free_bytes: int  # the largest free chunk, top not counted

    @property
    def free_bytes(self) -> int:
        """All that is free in some list, top not counted."""
        return sum(self.bytes_by_state.get(s, 0) for s in FREE_STATES if s != TOP)

    @property
    def fragmentation(self) -> float:
        """1 - largest free chunk / all free bytes; 0 when nothing is free."""
        return 1 - self.largest_free_bytes / self.free_bytes if self.free_bytes else 0.0


def take_census(heap: Heap) -> Census:
    """Walk everything once."""
    sizes: dict[str, int] = {}
    counts: dict[str, int] = {}
    largest, below, below_last = 0, 0, 0
    last_used: Chunk | None = None
    for chunk in chunks(heap):
        sizes[chunk.state] = sizes.get(chunk.state, 0) + chunk.size_bytes
        counts[chunk.state] = counts.get(chunk.state, 0) + 1
        if chunk.state in FREE_STATES and chunk.state != TOP:
            largest = max(largest, chunk.size_bytes)
            below += chunk.size_bytes if chunk.arena == 0 else 0
        elif chunk.state == USED and chunk.arena == 0:
            last_used, below_last = chunk, below
    pages = [
        (row, length) for arena in arena_ring(heap) for _, length, row in trimmable(heap, arena)
    ]
    resident = sum(
        sum(heap.memory.resident[page] for page in range(row >> 8, (row >> 8) + (length >> 12)))
        for row, length in pages
    )
    return Census(
        sizes, counts, sizes.get(TOP, 0), sum(length for _, length in pages), int(resident) << 12,
        last_used, below_last, largest,
    )  # fmt: skip


def verify(heap: Heap) -> None:
    """The break's chunks add up to what it has; raises InternalError naming both sides."""
    if heap.par.sbrk_base == 0 or heap.memory.fault:
        return
    total: dict[int, int] = {}
    for chunk in chunks(heap):
        total[chunk.arena] = total.get(chunk.arena, 0) + chunk.size_bytes
    if len(heap.memory.region_by_block) == 0 and not heap.arenas.noncontiguous[0]:
        wanted = int(heap.arenas.system_mem[0])
        require(
            total[0] == wanted, "heap.verify", f"chunks hold {total[0]} bytes, system_mem {wanted}"
        )
