"""Owns which blocks of a heap a program can still reach, and how the others are lost.

Imports columns and block_states. A block is a range of addresses with words in it; where blocks
and words come from (a live program, the twin's heap) it never knows. The kinds and their rules
are those of valgrind's memcheck (its manual, "Memory leak detection"), so that counts can be
compared.

    unreached -> reachable   a chain of start pointers from the roots
    unreached -> possible    every chain from the roots has a pointer into the inside of a block
    unreached -> indirect    lost, and a lost block points to it
    unreached (stays)        definitely lost: the leader of a clique, nobody points to it
"""

from __future__ import annotations

import cython

from memtwin.columns import dense, zeros
from memtwin.heap.block_states import (
    IN_REGISTER,
    INDIRECT,
    POSSIBLE,
    REACHABLE,
    UNREACHED,
)

if not cython.compiled:
    from memtwin.columns import I8, U1, fetch

_CELL_SHIFT = 8
_GRANULE_SHIFT = 21  # granules of 2 MiB hold 2**13 cells of 256 bytes
_CELLS = 1 << (_GRANULE_SHIFT - _CELL_SHIFT)
_PAGE_WORDS_SHIFT = 9
_CHUNK_HEADER_BYTES = 16
_START, _END, _ROW, _FOUND_AT, _RECORD = 0, 1, 2, 3, 4
# MODEL: how many steps lie between asking for memory and needing it (measured: the least time)
_LAG = 16
_WAITING = 16
_LINE_WORDS = 8
_MOST_FETCHED_WORDS = 64  # of a block; the processor itself sees that more of the same follows


@cython.final
@cython.cclass
class Reachability:
    """Marks blocks from roots, then sorts the rest into cliques.

    Nothing is looked at when it is met: it is asked for, and waits in a ring while others are
    asked for. A word waits for its cell, then for the block it names; a block, once marked, for
    its own words. So the order in which blocks are found is none that matters, and what finds a
    block is one of those that hold it.
    """

    def __init__(
        self, starts: I8, ends: I8, words: I8, word_rows: I8, resident: U1, start_mask: int
    ) -> None:
        """Blocks are `[starts[i], ends[i])`, sorted, apart from each other; `words[word_rows[i]]`
        is the first word of block i, and starts are multiples of 8. `resident[r >> 9]` is 0
        where words of a page are known to be zeros. Bit k of `start_mask` says that a pointer to
        8k bytes inside a block counts as a pointer to its start (bit 0 always does).
        """
        n = len(starts)
        self.nr_blocks = n
        self.words, self.resident = words, resident
        self.start_mask = start_mask | 1
        self.inner_starts = zeros(0, "i8")
        self.nr_inner_starts = 0
        self.records = dense(n * _RECORD, "i8")
        self.state = zeros(n, "u1")
        self.found_at = zeros(n, "i8")
        self.leader = zeros(n, "i4")
        self.indirect_blocks = zeros(n, "i4")
        self.indirect_bytes = zeros(n, "i8")
        self.stack = zeros(3 * n, "i8")
        self.depth = 0
        self.waiting = zeros(3 * _WAITING, "i8")
        self.nr_called = self.nr_scanned = 0
        self.met = zeros(2 * _LAG, "i8")
        self.nr_met = self.nr_looked_up = 0
        self.named = zeros(3 * _LAG, "i8")
        self.nr_named = self.nr_reached = 0
        self.scanned_bytes = 0
        self.low = starts[0] if n else 0
        self.high = ends[n - 1] if n else 0
        self.first_granule = self.low >> _GRANULE_SHIFT
        self.granules = zeros((self.high >> _GRANULE_SHIFT) - self.first_granule + 1, "i4")
        self._fill_records(starts, ends, word_rows)
        self.nr_cells = self._number_granules() * _CELLS
        self.cells = dense(self.nr_cells, "i8")
        self._fill_cells()

    @cython.cfunc
    @cython.exceptval(check=False)
    def _fill_records(self, starts: I8, ends: I8, word_rows: I8) -> cython.void:
        """What is needed of a block lies together: one line of the cache instead of four."""
        i: cython.longlong
        for i in range(self.nr_blocks):
            self.records[i * _RECORD + _START] = starts[i]
            self.records[i * _RECORD + _END] = ends[i]
            self.records[i * _RECORD + _ROW] = word_rows[i]

    @cython.cfunc
    @cython.exceptval(check=False)
    def _number_granules(self) -> cython.longlong:
        i: cython.longlong
        granule: cython.longlong
        last: cython.longlong
        count: cython.longlong = 0
        for i in range(self.nr_blocks):
            granule = (self.records[i * _RECORD + _START] >> _GRANULE_SHIFT) - self.first_granule
            last = ((self.records[i * _RECORD + _END] - 1) >> _GRANULE_SHIFT) - self.first_granule
            while granule <= last:
                if self.granules[granule] == 0:
                    count += 1
                    self.granules[granule] = cython.cast(cython.int, count)
                granule += 1
        return count

    @cython.cfunc
    @cython.exceptval(check=False)
    def _fill_cells(self) -> cython.void:
        """A cell has, in its lower half, a bit for each word where a block starts; in the upper
        half, how many blocks start before the cell. Granules are numbered by address.
        """
        i: cython.longlong
        start: cython.longlong
        bit: cython.longlong = 1
        before: cython.longlong = 0
        bits: cython.longlong
        for i in range(self.nr_blocks):
            start = self.records[i * _RECORD + _START]
            self.cells[self._cell_row(start)] |= bit << ((start >> 3) & 31)
        for i in range(self.nr_cells):
            bits = self.cells[i]
            self.cells[i] = (before << 32) | bits
            before += self._count_bits(bits)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _count_bits(self, bits: cython.longlong) -> cython.longlong:
        """How many of the lower 32 bits are set; the upper ones are 0."""
        bits = bits - ((bits >> 1) & 0x55555555)
        bits = (bits & 0x33333333) + ((bits >> 2) & 0x33333333)
        bits = (bits + (bits >> 4)) & 0x0F0F0F0F
        return ((bits * 0x01010101) >> 24) & 0xFF

    @cython.cfunc
    @cython.exceptval(check=False)
    def _cell_row(self, vaddr: cython.longlong) -> cython.longlong:
        """The cell of an address from `low` to below `high`; -1 where no block is near."""
        number: cython.longlong = self.granules[(vaddr >> _GRANULE_SHIFT) - self.first_granule]
        if number == 0:
            return -1
        return (number - 1) * _CELLS + ((vaddr >> _CELL_SHIFT) & (_CELLS - 1))

    @cython.cfunc
    @cython.exceptval(check=False)
    def _last_start(self, row: cython.longlong, vaddr: cython.longlong) -> cython.longlong:
        """The last block that starts at or before `vaddr`, whose cell is `row`; -1 none."""
        cell: cython.longlong = self.cells[row]
        mask: cython.longlong = 2
        mask = (mask << ((vaddr >> 3) & 31)) - 1
        return (cell >> 32) + self._count_bits(cell & mask) - 1

    @cython.ccall
    @cython.exceptval(check=False)
    def block_at(self, vaddr: cython.longlong) -> cython.int:
        """The block that `vaddr` points to or into; -1 when there is none."""
        row: cython.longlong
        i: cython.longlong
        if vaddr < self.low or vaddr >= self.high:
            return -1
        row = self._cell_row(vaddr)
        if row < 0:
            return -1
        i = self._last_start(row, vaddr)
        if i < 0 or vaddr >= self.records[i * _RECORD + _END]:
            return -1
        return cython.cast(cython.int, i)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _is_start(self, i: cython.longlong, vaddr: cython.longlong) -> cython.int:
        inside: cython.longlong = vaddr - self.records[i * _RECORD + _START]
        if inside == 0:
            return 1
        if inside < 512 and (inside & 7) == 0 and (self.start_mask >> (inside >> 3)) & 1:
            return 1
        return self._is_inner_start(vaddr)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _is_inner_start(self, vaddr: cython.longlong) -> cython.int:
        low: cython.longlong = 0
        high: cython.longlong = self.nr_inner_starts
        middle: cython.longlong
        while low < high:
            middle = (low + high) >> 1
            if self.inner_starts[middle] < vaddr:
                low = middle + 1
            else:
                high = middle
        return low < self.nr_inner_starts and self.inner_starts[low] == vaddr

    @cython.cfunc
    @cython.exceptval(check=False)
    def _push(self, i: cython.longlong) -> cython.void:
        """The words of block i are to be scanned: its rows, and the address of row 0."""
        at: cython.longlong = self.depth * 3
        start: cython.longlong = self.records[i * _RECORD + _START]
        row: cython.longlong = self.records[i * _RECORD + _ROW]
        self.stack[at] = row
        self.stack[at + 1] = row + ((self.records[i * _RECORD + _END] - start) >> 3)
        self.stack[at + 2] = start - (row << 3)
        self.depth += 1

    @cython.ccall
    def also_starts(self, vaddrs: I8) -> cython.void:
        """A pointer to one of the sorted `vaddrs`, inside of blocks, counts as one to the start."""
        self.inner_starts = vaddrs
        self.nr_inner_starts = len(vaddrs)

    # roots

    @cython.ccall
    @cython.exceptval(check=False)
    def roots(
        self, first_row: cython.longlong, end_row: cython.longlong, vaddr: cython.longlong
    ) -> cython.void:
        """Words `[first_row, end_row)` are roots; the first one stands at address `vaddr`."""
        row: cython.longlong = first_row
        word: cython.longlong
        while row < end_row:
            word = self.words[row]
            if word >= self.low and word < self.high:
                self._meet(word, vaddr + ((row - first_row) << 3), REACHABLE, -1)
            row += 1
        self.scanned_bytes += (end_row - first_row) << 3

    @cython.ccall
    @cython.exceptval(check=False)
    def stack_roots(
        self, first_row: cython.longlong, end_row: cython.longlong, vaddr: cython.longlong
    ) -> cython.void:
        """As `roots`, for a stack: the allocator itself may stand there, halfway through a call,
        and it holds a block by the header in front of it.
        """
        row: cython.longlong = first_row
        word: cython.longlong
        while row < end_row:
            word = self.words[row]
            if word + _CHUNK_HEADER_BYTES >= self.low and word < self.high:
                self._meet_held(word, vaddr + ((row - first_row) << 3))
            row += 1
        self.scanned_bytes += (end_row - first_row) << 3

    @cython.ccall
    def register_roots(self, registers: I8) -> cython.void:
        """Each of `registers` is a root, read as the words of a stack are."""
        row: cython.longlong
        for row in range(len(registers)):
            self._meet_held(registers[row], IN_REGISTER)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _meet_held(self, word: cython.longlong, at: cython.longlong) -> cython.void:
        i: cython.longlong = self.block_at(word + _CHUNK_HEADER_BYTES)
        if i >= 0 and self.records[i * _RECORD + _START] == word + _CHUNK_HEADER_BYTES:
            self._meet(word + _CHUNK_HEADER_BYTES, at, REACHABLE, -1)
        if word >= self.low and word < self.high:
            self._meet(word, at, REACHABLE, -1)

    @cython.ccall
    @cython.exceptval(check=False)
    def sort(self) -> cython.void:
        """Give every block its state and where it was found; call it once, after all roots."""
        i: cython.longlong
        self._follow(REACHABLE, -1)
        for i in range(self.nr_blocks):
            if self.state[i] == POSSIBLE:
                self._push(i)
        self._follow(POSSIBLE, -1)
        for i in range(self.nr_blocks):
            self.leader[i] = -1
        for i in range(self.nr_blocks):
            if self.state[i] == UNREACHED:
                self.leader[i] = cython.cast(cython.int, i)
                self._push(i)
                self._follow(INDIRECT, i)
        for i in range(self.nr_blocks):
            self.found_at[i] = self.records[i * _RECORD + _FOUND_AT]

    # from word to block to words

    @cython.cfunc
    @cython.exceptval(check=False)
    def _follow(self, kind: cython.int, clique: cython.longlong) -> cython.void:
        """Scan the blocks on the stack and all that is found through them; empties the rings."""
        while True:
            while self.depth > 0 and self.nr_called - self.nr_scanned < _WAITING:
                self._call()
            if self.nr_scanned < self.nr_called:
                self._scan(kind, clique)
            elif self.nr_looked_up < self.nr_met:
                self._look_up(kind, clique)
            elif self.nr_reached < self.nr_named:
                self._reach(kind, clique)
            else:
                return

    @cython.cfunc
    @cython.exceptval(check=False)
    def _call(self) -> cython.void:
        """Ask for the words of the block on top of the stack."""
        at: cython.longlong = (self.nr_called & (_WAITING - 1)) * 3
        row: cython.longlong
        end: cython.longlong
        self.depth -= 1
        row = self.stack[self.depth * 3]
        end = self.stack[self.depth * 3 + 1]
        self.waiting[at] = row
        self.waiting[at + 1] = end
        self.waiting[at + 2] = self.stack[self.depth * 3 + 2]
        self.nr_called += 1
        if end > row + _MOST_FETCHED_WORDS:
            end = row + _MOST_FETCHED_WORDS
        while row < end:
            fetch(self.words, row)
            row += _LINE_WORDS

    @cython.cfunc
    @cython.exceptval(check=False)
    def _scan(self, kind: cython.int, clique: cython.longlong) -> cython.void:
        """Meet the words of the block that has waited longest."""
        at: cython.longlong = (self.nr_scanned & (_WAITING - 1)) * 3
        row: cython.longlong = self.waiting[at]
        end: cython.longlong = self.waiting[at + 1]
        vaddr: cython.longlong = self.waiting[at + 2]
        page_end: cython.longlong
        word: cython.longlong
        low: cython.longlong = self.low
        high: cython.longlong = self.high
        self.nr_scanned += 1
        self.scanned_bytes += (end - row) << 3
        while row < end:
            page_end = ((row >> _PAGE_WORDS_SHIFT) + 1) << _PAGE_WORDS_SHIFT
            if page_end > end:
                page_end = end
            if self.resident[row >> _PAGE_WORDS_SHIFT] == 0:
                row = page_end
                continue
            while row < page_end:
                word = self.words[row]
                if word >= low and word < high:
                    self._meet(word, vaddr + (row << 3), kind, clique)
                row += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _meet(
        self, word: cython.longlong, at: cython.longlong, kind: cython.int, clique: cython.longlong
    ) -> cython.void:
        """A word that may point to a block, found at the address `at`: ask for its cell."""
        row: cython.longlong = self._cell_row(word)
        slot: cython.longlong = (self.nr_met & (_LAG - 1)) * 2
        if row < 0:
            return
        if self.nr_met - self.nr_looked_up == _LAG:
            self._look_up(kind, clique)
        fetch(self.cells, row)
        self.met[slot] = word
        self.met[slot + 1] = at
        self.nr_met += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _look_up(self, kind: cython.int, clique: cython.longlong) -> cython.void:
        """Name the block of the word that has waited longest, and ask for its record."""
        slot: cython.longlong = (self.nr_looked_up & (_LAG - 1)) * 2
        word: cython.longlong = self.met[slot]
        at: cython.longlong = self.met[slot + 1]
        i: cython.longlong = self._last_start(self._cell_row(word), word)
        self.nr_looked_up += 1
        if i < 0 or self._is_settled(i, kind):
            return
        if self.nr_named - self.nr_reached == _LAG:
            self._reach(kind, clique)
        fetch(self.records, i * _RECORD)
        slot = (self.nr_named & (_LAG - 1)) * 3
        self.named[slot] = i
        self.named[slot + 1] = word
        self.named[slot + 2] = at
        self.nr_named += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _is_settled(self, i: cython.longlong, kind: cython.int) -> cython.int:
        """No pointer of this kind changes the state of block i any more."""
        if kind == REACHABLE:
            return self.state[i] == REACHABLE
        return self.state[i] != UNREACHED

    @cython.cfunc
    @cython.exceptval(check=False)
    def _reach(self, kind: cython.int, clique: cython.longlong) -> cython.void:
        """Give the block that has waited longest its state, if the word lies inside of it."""
        slot: cython.longlong = (self.nr_reached & (_LAG - 1)) * 3
        i: cython.longlong = self.named[slot]
        word: cython.longlong = self.named[slot + 1]
        at: cython.longlong = self.named[slot + 2]
        self.nr_reached += 1
        if word >= self.records[i * _RECORD + _END] or self._is_settled(i, kind):
            return
        if kind == INDIRECT:
            self._join(i, at, clique)
        elif kind == REACHABLE and self._is_start(i, word):
            self.state[i] = REACHABLE
            self.records[i * _RECORD + _FOUND_AT] = at
            self._push(i)
        elif self.state[i] == UNREACHED:
            self.state[i] = POSSIBLE  # from roots, its words follow when all reachable is known
            self.records[i * _RECORD + _FOUND_AT] = at
            if kind == POSSIBLE:
                self._push(i)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _join(
        self, i: cython.longlong, at: cython.longlong, clique: cython.longlong
    ) -> cython.void:
        """Block i, found from a lost one, joins its clique; so do those that i has led until now.

        A cycle comes back to its leader, which stays one.
        """
        size_bytes: cython.longlong
        if i == clique:
            return
        size_bytes = self.records[i * _RECORD + _END] - self.records[i * _RECORD + _START]
        self.state[i] = INDIRECT
        self.records[i * _RECORD + _FOUND_AT] = at
        self.indirect_blocks[clique] += 1 + self.indirect_blocks[i]
        self.indirect_bytes[clique] += size_bytes + self.indirect_bytes[i]
        if self.leader[i] == i:  # what it led is scanned already
            self.indirect_blocks[i] = 0
            self.indirect_bytes[i] = 0
        else:
            self._push(i)
        self.leader[i] = cython.cast(cython.int, clique)
