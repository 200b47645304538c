"""Owns the heap's simulated memory: its words, where its rows lie, and which pages were touched.

Imports columns, the constants and the log of calls. Has never heard of arenas or bins.

A row is 16 bytes. Block 0 holds the bins of all arenas, as pseudo chunks; blocks 1 .. belong to the
break; then come blocks for the heaps of other arenas, each 64 MiB and aligned as in glibc; the last
block holds one slot of four rows for each mapped chunk. Row 0 is NULL. What lies in a word is what
lies in memory: prev_size and size in a chunk's first row, fd and bk in its second, fd_nextsize and
bk_nextsize in its third; pointers are rows.
"""

from __future__ import annotations

from enum import IntEnum

import cython

from memtwin.columns import Column, reserved, zeros
from memtwin.errors import UserError
from memtwin.heap.call_log import CallLog
from memtwin.heap.constants import (
    BLOCK_ROWS,
    BLOCK_SHIFT,
    MMAP_SLOT_ROWS,
    PAGE_SIZE,
    ROW_SHIFT,
    ROWS_A_PAGE_SHIFT,
    SEGV,
)

COLUMNS = (
    Column("word", "i8", "memory", "two words a row: headers and links; 0 where nothing wrote"),
    Column("block_base", "i8", "memory", "address of a block's first row; 0 not mapped"),
    Column("resident", "u1", "memory", "1 for a page that was touched and not given back"),
)
_MOST_BYTES = 256 << 30
_LEAST_BYTES = 1 << 30


class Touching(IntEnum):
    """What counts as touched besides headers."""

    HEADERS = 0  # nothing: what the allocator itself writes
    REQUESTED = 1  # every byte that the program asked for


@cython.final
@cython.cclass
class HeapMemory:
    """All words of one heap. `fault` is 0 or the number of what ended the process."""

    def __init__(self, main_base: int, log: CallLog, touching: int) -> None:
        self.log = log
        self.touching = touching
        self.fault = 0
        self.nr_resident = 0
        self.resident_peak = 0
        words, resident, size_bytes = None, None, 2 * _MOST_BYTES
        while words is None or resident is None:
            size_bytes //= 2
            if size_bytes < _LEAST_BYTES:
                raise UserError(
                    "heap: found no room for 1G of address space, which a heap needs at least"
                    " (see `ulimit -v`)"
                )
            words = reserved(size_bytes // 8, "i8")
            resident = reserved(size_bytes // PAGE_SIZE, "u1")
        self.word = words
        self.resident = resident
        self.nr_rows = size_bytes >> ROW_SHIFT
        self.end_row = self.nr_rows - MMAP_SLOT_ROWS  # a chunk's links and sizes lie below
        blocks = self.nr_rows >> BLOCK_SHIFT
        self.main_first = BLOCK_ROWS
        self.main_end = (blocks // 2) << BLOCK_SHIFT  # first row of the blocks for other heaps
        self.mmap_first = (blocks - 1) << BLOCK_SHIFT
        self.mmap_next = self.mmap_first + MMAP_SLOT_ROWS
        self.mmap_free = 0
        self.main_base = main_base & -PAGE_SIZE  # so that pages of rows are pages of addresses
        self.block_base = zeros(blocks, "i8")
        for block in range(1, blocks // 2):
            self.block_base[block] = self.main_base + ((block - 1) << (BLOCK_SHIFT + ROW_SHIFT))
        self.heap_shift = BLOCK_SHIFT + ROW_SHIFT  # of the size to which heaps are aligned
        self.block_by_address: dict[int, int] = {}  # address >> heap_shift -> block
        self.region_by_block: dict[int, int] = {}  # block of a region that stood in for the break
        self.slot_by_address: dict[int, int] = {}  # chunk address -> slot
        self.block_next = blocks // 2
        self.block_free: list[int] = []

    @cython.ccall
    @cython.exceptval(check=False)
    def address_of(self, row: cython.longlong) -> cython.longlong:
        """Byte address of `row`."""
        if row >= self.mmap_first:
            return self.word[2 * row + 2]
        return self.block_base[row >> BLOCK_SHIFT] + ((row & (BLOCK_ROWS - 1)) << ROW_SHIFT)

    @cython.ccall
    @cython.exceptval(-1)
    def row_of(self, address: cython.longlong) -> cython.longlong:
        """Row that starts at `address`, or of the mapped chunk there; 0 where the heap is not."""
        offset: cython.longlong = address - self.main_base
        if offset >= 0 and offset < (self.main_end - self.main_first) << ROW_SHIFT:
            return self.main_first + (offset >> ROW_SHIFT)
        return self._row_elsewhere(address)

    def _row_elsewhere(self, address: int) -> int:
        slot = self.slot_by_address.get(address)
        if slot is not None:
            return slot
        block = self.block_by_address.get(address >> self.heap_shift)
        if block is not None:
            return (block << BLOCK_SHIFT) + ((address - int(self.block_base[block])) >> ROW_SHIFT)
        for block, size in self.region_by_block.items():
            base = int(self.block_base[block])
            if base <= address < base + size:
                return (block << BLOCK_SHIFT) + ((address - base) >> ROW_SHIFT)
        return 0

    @cython.ccall
    @cython.exceptval(check=False)
    def is_outside(self, row: cython.longlong) -> cython.int:
        """Whether reading at `row` would be a fault; then the process ends by SIGSEGV."""
        if row < 1 or row >= self.end_row:
            self.fault = SEGV
            return 1
        return 0

    # blocks of heaps and regions

    def take_blocks(self, base: int, count: int) -> int:
        """First row of `count` blocks from now on at address `base`."""
        if count == 1 and self.block_free:
            block = self.block_free.pop()
        else:
            block = self.block_next
            self.block_next += count
            if self.block_next << BLOCK_SHIFT > self.mmap_first:
                raise UserError("heap: this model holds no more heaps or regions")
        for number in range(count):
            step = number << (BLOCK_SHIFT + ROW_SHIFT)
            self.block_base[block + number] = base + step
        return block << BLOCK_SHIFT

    def name_heap(self, row: int) -> None:
        """Find rows of this aligned heap by address from now on."""
        block = row >> BLOCK_SHIFT
        self.block_by_address[int(self.block_base[block]) >> self.heap_shift] = block

    def name_region(self, row: int, size_bytes: int) -> None:
        """Find rows of this region by address from now on."""
        self.region_by_block[row >> BLOCK_SHIFT] = size_bytes

    def give_heap(self, row: int) -> None:
        """The heap at `row` was unmapped."""
        block = row >> BLOCK_SHIFT
        del self.block_by_address[int(self.block_base[block]) >> self.heap_shift]
        self.block_base[block] = 0
        self.block_free.append(block)

    # slots of mapped chunks

    @cython.ccall
    @cython.exceptval(-1)
    def take_slot(self, address: cython.longlong) -> cython.longlong:
        """A slot for a mapped chunk whose header is at `address`."""
        row: cython.longlong = self.mmap_free
        if row:
            self.mmap_free = self.word[2 * row]
        else:
            row = self.mmap_next
            self.mmap_next = row + MMAP_SLOT_ROWS
            if self.mmap_next >= self.nr_rows - MMAP_SLOT_ROWS:
                raise UserError("heap: this model holds no more mapped chunks")
        self.word[2 * row] = 0
        self.word[2 * row + 1] = 0
        self.word[2 * row + 3] = 0
        self.word[2 * row + 4] = 0
        self.move_slot(row, address)
        return row

    @cython.ccall
    def move_slot(self, row: cython.longlong, address: cython.longlong) -> cython.void:
        """The chunk of slot `row` has its header at `address` now."""
        self.slot_by_address.pop(self.word[2 * row + 2], None)
        self.word[2 * row + 2] = address
        self.slot_by_address[address] = row

    @cython.ccall
    def give_slot(self, row: cython.longlong) -> cython.void:
        """The chunk of slot `row` was unmapped."""
        self.slot_by_address.pop(self.word[2 * row + 2], None)
        self._set_mapped_pages(row, 0)
        self._count(-self.word[2 * row + 4])
        self.word[2 * row + 1] = 0
        self.word[2 * row + 2] = 0
        self.word[2 * row] = self.mmap_free
        self.mmap_free = row

    @cython.ccall
    def touch_mapped(self, row: cython.longlong, end_bytes: cython.longlong) -> cython.void:
        """The mapped chunk in slot `row` is touched from its header to `end_bytes` after it."""
        # DIFFERS: the touched pages of a mapped chunk have no holes; one number a chunk is kept;
        # bends the resident size of a chunk whose middle its program never wrote
        within: cython.longlong = self.word[2 * row + 2] & (PAGE_SIZE - 1)
        pages: cython.longlong = (within + end_bytes + PAGE_SIZE - 1) // PAGE_SIZE
        if pages > self.word[2 * row + 3]:
            self._set_mapped_pages(row, pages)

    @cython.ccall
    def cut_mapped(self, row: cython.longlong, size_bytes: cython.longlong) -> cython.void:
        """The mapping in slot `row` holds `size_bytes` from its header on, not more."""
        within: cython.longlong = self.word[2 * row + 2] & (PAGE_SIZE - 1)
        pages: cython.longlong = (within + size_bytes) // PAGE_SIZE
        if pages < self.word[2 * row + 3]:
            self._set_mapped_pages(row, pages)

    @cython.ccall
    def advance_slot(self, row: cython.longlong, address: cython.longlong) -> cython.void:
        """The header of slot `row` moves up to `address` within its mapping; the old one stays."""
        pages: cython.longlong = address // PAGE_SIZE - self.word[2 * row + 2] // PAGE_SIZE
        pages = min(pages, self.word[2 * row + 3])
        self.word[2 * row + 4] += pages
        self.word[2 * row + 3] -= pages
        self.move_slot(row, address)
        self.touch_mapped(row, 1)

    @cython.cfunc
    def _set_mapped_pages(self, row: cython.longlong, pages: cython.longlong) -> cython.void:
        before: cython.longlong = self.word[2 * row + 3]
        if pages > before:
            start: cython.longlong = self.word[2 * row + 2] & -PAGE_SIZE
            self.log.touched(start + before * PAGE_SIZE, (pages - before) * PAGE_SIZE)
        self.word[2 * row + 3] = pages
        self._count(pages - before)

    # pages of the break and of heaps

    @cython.ccall
    def touch(self, row: cython.longlong, size_bytes: cython.longlong) -> cython.void:
        """[row, row + size_bytes) is written."""
        page: cython.longlong = row >> ROWS_A_PAGE_SHIFT
        last: cython.longlong = ((row << ROW_SHIFT) + size_bytes - 1) // PAGE_SIZE
        while page <= last:
            if self.resident[page] == 0:
                self.first_touch(page)
            page += 1

    @cython.ccall
    def first_touch(self, page: cython.longlong) -> cython.void:
        """The page of rows `page` << 8 becomes resident."""
        self.resident[page] = 1
        self._count(1)
        self.log.touched(self.address_of(page << ROWS_A_PAGE_SHIFT) & -PAGE_SIZE, PAGE_SIZE)

    @cython.ccall
    def give_back(self, row: cython.longlong, size_bytes: cython.longlong) -> cython.void:
        """The whole pages of [row, row + size_bytes) are the kernel's again."""
        page: cython.longlong = row >> ROWS_A_PAGE_SHIFT
        end: cython.longlong = page + size_bytes // PAGE_SIZE
        gone: cython.longlong = 0
        while page < end:
            gone += self.resident[page]
            self.resident[page] = 0
            page += 1
        self._count(-gone)

    @cython.cfunc
    def _count(self, pages: cython.longlong) -> cython.void:
        self.nr_resident += pages
        if self.nr_resident > self.resident_peak:
            self.resident_peak = self.nr_resident

    # as a debugger sees it

    def peek(self, address: int) -> int:
        """The word at `address`, a multiple of 8; raises UserError where the heap is not."""
        return int(self.word[self._index(address)])

    def poke(self, address: int, value: int) -> None:
        """Write a word, as a program does that overruns its block. Rows are not addresses."""
        self.word[self._index(address)] = value

    def _index(self, address: int) -> int:
        row = int(self.row_of(address & -16))
        if row == 0 or address % 8:
            raise UserError(f"heap: found no word at {address:#x}")
        return 2 * row + (1 if address & 8 else 0)
