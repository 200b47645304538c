"""Owns a zram device: what each slot holds, compressed, and the pool behind it.

Imports swap/zsmalloc and page. Has never heard of swap or reclaim: it is a block device in memory.
Sizes are by content class: measured on real kernels for pages made as the lab's `fill` and `touch`
make them, because the twin keeps no bytes.
"""

from __future__ import annotations

import cython
import numpy as np

from memtwin.columns import Column, array, zeros
from memtwin.errors import InternalError, UserError
from memtwin.swap.constants import (
    CONTENT_DEFAULT,
    CONTENT_HALF,
    CONTENT_QUARTER,
    CONTENT_RANDOM,
    CONTENT_SAME,
    CONTENT_WORD,
    CONTENT_ZERO,
    NR_CONTENTS,
    SAME_FILLED,
)
from memtwin.swap.zsmalloc import Zsmalloc
from memtwin.units import NIL, PAGE_SIZE

COLUMNS = (
    Column("slot_zspage", "i4", "zram", "zspage of the slot's object, plus 1; 0 none"),
    Column("slot_handle", "i4", "zram", "slab that the object's handle lies in; -1 none"),
    Column("slot_size", "i4", "zram", "compressed bytes; SAME_FILLED; 0 the slot is empty"),
)
# algorithm -> compressed bytes of WORD, QUARTER, HALF, RANDOM (4096: stored as it is)
# measured: mm_stat of a 6.1 kernel after MADV_PAGEOUT of 8192 pages of each class; random pages
# were stored whole by all three. WORD varies by a byte with the word.
COMPRESSED_BYTES = {
    "lzo-rle": (41, 1070, 2150, PAGE_SIZE),
    "lz4": (28, 1055, 2082, PAGE_SIZE),
    "zstd": (20, 1046, 2074, PAGE_SIZE),
}


@cython.final
@cython.cclass
class Zram:
    """One zram device of `size_pages` slots."""

    def __init__(self, name: str, size_pages: int, algorithm: str, pool: Zsmalloc) -> None:
        if algorithm not in COMPRESSED_BYTES:
            known = ", ".join(sorted(COMPRESSED_BYTES))
            raise UserError(f"zram {name}: found algorithm {algorithm!r}, allowed are {known}")
        self.name = name
        self.size_pages = size_pages
        self.algorithm = algorithm
        self.pool = pool
        self.pages_stored = 0
        self.compr_data_size = 0
        self.same_pages = 0
        self.huge_pages = 0
        self.huge_pages_since = 0
        self.mem_used_max = 0
        self.mem_limit = 0  # pages; 0 no limit
        self.slot_zspage = zeros(size_pages, "i4")
        self.slot_handle = zeros(size_pages, "i4")
        self.slot_size = zeros(size_pages, "i4")
        self.size_of_content = zeros(NR_CONTENTS, "i4")
        word, quarter, half, random = COMPRESSED_BYTES[algorithm]
        self.size_of_content[CONTENT_DEFAULT] = word
        self.size_of_content[CONTENT_ZERO] = SAME_FILLED
        self.size_of_content[CONTENT_SAME] = SAME_FILLED
        self.size_of_content[CONTENT_WORD] = word
        self.size_of_content[CONTENT_QUARTER] = quarter
        self.size_of_content[CONTENT_HALF] = half
        self.size_of_content[CONTENT_RANDOM] = random

    @cython.ccall
    def write(self, slot: cython.longlong, content: cython.int) -> cython.int:
        """Store a page of class `content`: 0, or -1 when there is no memory for it."""
        # drivers/block/zram/zram_drv.c __zram_bvec_write(), v6.1
        size: cython.int = self.size_of_content[content]
        zspage: cython.int = NIL
        handle: cython.int = NIL
        if size != SAME_FILLED:
            if size >= self.pool.huge_class_size:
                size = PAGE_SIZE
            handle = self.pool.take_handle()
            zspage = self.pool.malloc(size)
            if zspage == NIL:
                self.pool.give_handle(handle)
                return -1
            if self.mem_limit > 0 and self.pool.pages_allocated > self.mem_limit:
                self.pool.free(zspage)
                self.pool.give_handle(handle)
                return -1
            if self.pool.pages_allocated > self.mem_used_max:
                self.mem_used_max = self.pool.pages_allocated
            self.compr_data_size += size
        self.free_slot(slot)
        self.slot_size[slot] = size
        self.slot_zspage[slot] = zspage + 1
        self.slot_handle[slot] = handle
        self.pages_stored += 1
        if size == SAME_FILLED:
            self.same_pages += 1
        elif size == PAGE_SIZE:
            self.huge_pages += 1
            self.huge_pages_since += 1
        return 0

    @cython.ccall
    def free_slot(self, slot: cython.longlong) -> cython.int:
        """Forget what a slot holds; 0. An empty slot is left alone."""
        size: cython.int = self.slot_size[slot]
        if size == 0:
            return 0
        if size == SAME_FILLED:
            self.same_pages -= 1
        else:
            self.pool.free(self.slot_zspage[slot] - 1)
            self.pool.give_handle(self.slot_handle[slot])
            self.compr_data_size -= size
            if size == PAGE_SIZE:
                self.huge_pages -= 1
        self.slot_size[slot] = 0
        self.slot_zspage[slot] = 0
        self.pages_stored -= 1
        return 0

    def mm_stat(self) -> tuple[int, ...]:
        """The nine figures of /sys/block/zramN/mm_stat, bytes but for the page counts."""
        # drivers/block/zram/zram_drv.c mm_stat_show(), v6.1
        return (
            self.pages_stored * PAGE_SIZE,
            self.compr_data_size,
            self.pool.pages_allocated * PAGE_SIZE,
            self.mem_limit * PAGE_SIZE,
            self.mem_used_max * PAGE_SIZE,
            self.same_pages,
            # DIFFERS: the pool is never compacted; nobody asks for it but the shrinker, rarely;
            # bends pages_compacted and, after many frees, zspages
            0,
            self.huge_pages,
            self.huge_pages_since,
        )

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = "pages_stored compr_data_size same_pages huge_pages huge_pages_since mem_used_max"
        found: list[tuple[str, object]] = [(name, getattr(self, name)) for name in names.split()]
        found += [(column.name, getattr(self, column.name)) for column in COLUMNS]
        return found + [("pool." + name, value) for name, value in self.pool.columns()]

    def verify(self) -> None:
        """The statistics are what the slots say."""
        self.pool.verify()
        sizes = array(self.slot_size)
        stored = int(np.count_nonzero(sizes))
        size = int(sizes[sizes > 0].sum())
        for what, kept, found in (
            ("pages_stored", self.pages_stored, stored),
            ("compr_data_size", self.compr_data_size, size),
        ):
            if kept != found:
                raise InternalError(f"zram.verify: {what} is {kept}, slots say {found}")
