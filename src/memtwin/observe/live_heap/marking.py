"""Owns what the roots of a live program are: its data, stacks, registers and thread-local data.

Imports the image, the blocks and heap/reachability. The allocator's own structures are no roots:
they point to every block's neighbourhood.
"""

from __future__ import annotations

import numpy as np

from memtwin.heap.reachability import Reachability
from memtwin.observe.live_heap.glibc import ARENA_BYTES
from memtwin.observe.live_heap.heap_blocks import HeapBlocks
from memtwin.observe.live_heap.memory_image import Extent, MemoryImage
from memtwin.observe.live_heap.target import Thread

RED_ZONE_BYTES = 128  # System V ABI, x86-64: in use below the stack pointer


def mark(
    image: MemoryImage, blocks: HeapBlocks, threads: list[Thread], start_mask: int,
    inner_starts: np.ndarray | None = None,
) -> Reachability:  # fmt: skip
    """Sort all blocks; `start_mask` as in Reachability, `inner_starts` as its also_starts."""
    reach = Reachability(
        blocks.starts.data,
        blocks.ends.data,
        image.words.data,
        image.rows_of(blocks.starts).data,
        image.resident.data,
        start_mask,
    )
    if inner_starts is not None and len(inner_starts):
        reach.also_starts(inner_starts.data)
    spans = _merged(
        [*blocks.spans, *((a.vaddr, a.vaddr + ARENA_BYTES) for a in blocks.arenas.found)]
    )
    stacks = _stack_bounds(image, reach, threads)
    for extent in image.extents:
        lowest = stacks.get(extent.region.start_vaddr)
        for start, end in outside(extent, spans):
            if lowest is not None:
                start = max(start, lowest)
            if start >= end:
                continue
            row = extent.region.row + ((start - extent.region.start_vaddr) >> 3)
            end_row = row + ((end - start) >> 3)
            if lowest is None:
                reach.roots(row, end_row, start)
            else:
                reach.stack_roots(row, end_row, start)
    for thread in threads:
        reach.register_roots(thread.words.copy().data)
        _stack_in_block(image, blocks, reach, thread)
    reach.sort()
    return reach


def _stack_bounds(image: MemoryImage, reach: Reachability, threads: list[Thread]) -> dict[int, int]:
    """For each region with stacks in it: the lowest address that is in use."""
    bounds: dict[int, int] = {}
    for thread in threads:
        region = image.region_at(thread.stack_pointer)
        if region is not None and reach.block_at(thread.stack_pointer) < 0:
            lowest = (thread.stack_pointer - RED_ZONE_BYTES) & ~7
            start = region.start_vaddr
            bounds[start] = min(bounds.get(start, lowest), lowest)
    return bounds


def _stack_in_block(
    image: MemoryImage, blocks: HeapBlocks, reach: Reachability, thread: Thread
) -> None:
    """A stack that was allocated (a coroutine's, a signal's) holds roots like any other."""
    block = reach.block_at(thread.stack_pointer)
    row = image.row_of(thread.stack_pointer)
    if block >= 0 and row is not None:
        vaddr = thread.stack_pointer & ~7
        reach.stack_roots(row, row + ((int(blocks.ends[block]) - vaddr) >> 3), vaddr)


def _merged(spans: list[tuple[int, int]]) -> np.ndarray:
    """The spans sorted and without overlaps, one row each; int64."""
    merged: list[list[int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return np.array(merged, np.int64).reshape(-1, 2)


def outside(extent: Extent, spans: np.ndarray) -> list[tuple[int, int]]:
    """The parts of an extent that lie in none of the merged spans."""
    at, parts = extent.start_vaddr, []
    first = max(int(np.searchsorted(spans[:, 0], extent.start_vaddr, side="right")) - 1, 0)
    end_row = int(np.searchsorted(spans[:, 0], extent.end_vaddr))
    for start, end in spans[first:end_row].tolist():
        if end <= at:
            continue
        if start > at:
            parts.append((at, start))
        at = end
    if at < extent.end_vaddr:
        parts.append((at, extent.end_vaddr))
    return parts
