"""Owns buffer heads: the blocks of a page that has PG_PRIVATE, and when they can be freed.

Imports page. Has never heard of the journal or of devices: they set the bits here.

A page of a file with buffers carries PG_PRIVATE and one more reference (include/linux/pagemap.h
attach_page_private(), v6.12). A metadata page (PG_META) keeps the state of its blocks in
`mem.private`, one bit a block: READ (contents valid), DIRTY (to be written in place), RUNNING (in
the running transaction), CHECKPOINT (committed to the journal, not yet known to be in place), HELD
(in the CPU's list of recently used buffers).
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, grown, zeros
from memtwin.page.flags import PG_DIRTY, PG_META, PG_PRIVATE, PG_WRITEBACK
from memtwin.page.mem_map import MemMap
from memtwin.page_cache.constants import BLOCK_BITS, DIRTY

COLUMNS = (
    Column(
        "head_slab",
        "i4",
        "page_cache/buffer_head",
        "slab of each buffer head; row pfn * blocks_per_page + block",
    ),
    Column(
        "spare_slab", "i4", "page_cache/buffer_head", "slabs of the freed heads not yet given back"
    ),
)


@cython.final
@cython.cclass
class BufferHeads:
    """Attaches and frees the buffer heads of pages of `blocks_per_page` blocks."""

    def __init__(self, mem: MemMap, blocks_per_page: int) -> None:
        self.mem = mem
        self.blocks_per_page = blocks_per_page
        self.nr = 0  # buffer heads attached
        self.spare = 0  # slab objects of freed ones; file_io/objects gives them back
        self.head_slab = zeros(mem.nr_frames * blocks_per_page, "i4")
        self.spare_slab = zeros(1024, "i4")

    def set_blocks_per_page(self, blocks_per_page: int) -> None:
        """A file system of that geometry is mounted; no page has buffer heads yet."""
        self.blocks_per_page = blocks_per_page
        self.head_slab = zeros(self.mem.nr_frames * blocks_per_page, "i4")

    @cython.ccall
    def attach(self, pfn: cython.int) -> cython.int:
        """Give the page its buffer heads; how many, 0 if it has them.

        The caller took the objects before and says in `head_slab` where they lie.
        """
        if self.mem.flags[pfn] & PG_PRIVATE:
            return 0
        self.mem.flags[pfn] |= PG_PRIVATE
        self.mem.refcount[pfn] += 1
        if self.mem.flags[pfn] & PG_META:
            self.mem.private[pfn] = 0
        self.nr += self.blocks_per_page
        return self.blocks_per_page

    @cython.ccall
    def busy(self, pfn: cython.int) -> cython.int:
        """1 when a block of the page is dirty, journalled or held: fs/buffer.c buffer_busy(),
        v6.12."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & (PG_DIRTY | PG_WRITEBACK):
            return 1
        if flags & PG_META:
            return 1 if self.mem.private[pfn] >> DIRTY else 0
        return 0

    @cython.ccall
    def try_to_free(self, pfn: cython.int) -> cython.int:
        """1 when the page has no buffer heads (any more): filemap_release_folio(), v6.12."""
        if not self.mem.flags[pfn] & PG_PRIVATE:
            return 1
        if self.busy(pfn):
            return 0
        self.drop(pfn)
        return 1

    @cython.ccall
    def drop(self, pfn: cython.int) -> cython.int:
        """Free the page's buffer heads whatever they hold (truncate); how many."""
        if not self.mem.flags[pfn] & PG_PRIVATE:
            return 0
        self.mem.flags[pfn] &= ~PG_PRIVATE
        self.mem.refcount[pfn] -= 1
        if self.mem.flags[pfn] & PG_META:
            self.mem.private[pfn] = 0
        self.nr -= self.blocks_per_page
        if self.spare + self.blocks_per_page > len(self.spare_slab):
            self.spare_slab = grown(self.spare_slab, 2 * len(self.spare_slab))
        row: cython.longlong = pfn
        row = row * self.blocks_per_page
        i: cython.int
        for i in range(self.blocks_per_page):
            self.spare_slab[self.spare] = self.head_slab[row + i]
            self.spare += 1
        return self.blocks_per_page

    @cython.ccall
    def set_bit(self, pfn: cython.int, state: cython.int, block: cython.int) -> cython.int:
        """Set `state` of the page's `block`-th block; 1 when it was clear."""
        one: cython.longlong = 1
        bit: cython.longlong = one << (state + block)
        if self.mem.private[pfn] & bit:
            return 0
        self.mem.private[pfn] |= bit
        return 1

    @cython.ccall
    def clear_bit(self, pfn: cython.int, state: cython.int, block: cython.int) -> cython.int:
        """Clear it; 1 when it was set."""
        one: cython.longlong = 1
        bit: cython.longlong = one << (state + block)
        if not self.mem.private[pfn] & bit:
            return 0
        self.mem.private[pfn] &= ~bit
        return 1

    @cython.ccall
    def bits(self, pfn: cython.int, state: cython.int) -> cython.int:
        """The page's blocks that are in `state`, as a mask of at most four bits."""
        return cython.cast(cython.int, (self.mem.private[pfn] >> state) & BLOCK_BITS)

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [("nr", self.nr), ("spare", self.spare)]
