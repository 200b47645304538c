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

from memtwin.columns import zeros
from memtwin.heap.block_states import (
    IN_REGISTER,
    INDIRECT,
    POSSIBLE,
    REACHABLE,
    UNREACHED,
)

if not cython.compiled:
    from memtwin.columns import I8, U1

_BUCKET_SHIFT = 8
_GRANULE_SHIFT = 21  # granules of 2 MiB hold 2**13 buckets of 256 bytes
_BUCKETS = 1 << (_GRANULE_SHIFT - _BUCKET_SHIFT)
_PAGE_WORDS_SHIFT = 9
_CHUNK_HEADER_BYTES = 16


@cython.final
@cython.cclass
class Reachability:
    """Marks blocks from roots, then sorts the rest into cliques."""

    def __init__(
        self, starts: I8, ends: I8, words: I8, word_rows: I8, resident: U1, start_mask: int
    ) -> None:
        """Blocks are `[starts[i], ends[i])`, sorted, apart from each other; `words[word_rows[i]]`
        is the first word of block i. `resident[r >> 9]` is 0 where words of a page are known
        to be zeros. Bit k of `start_mask` says that a pointer to 8k bytes inside a block counts
        as a pointer to its start (bit 0 always does).
        """
        n = len(starts)
        self.nr_blocks = n
        self.starts, self.ends = starts, ends
        self.words, self.word_rows, self.resident = words, word_rows, resident
        self.start_mask = start_mask | 1
        self.state = zeros(n, "u1")
        self.found_at = zeros(n, "i8")
        self.leader = zeros(n, "i4")
        self.indirect_blocks = zeros(n, "i4")
        self.indirect_bytes = zeros(n, "i8")
        self.stack = zeros(n, "i4")
        self.depth = 0
        self.scanned_bytes = 0
        self.low = starts[0] if n else 0
        self.high = ends[n - 1] if n else 0
        self.first_granule = self.low >> _GRANULE_SHIFT
        self.granules = zeros((self.high >> _GRANULE_SHIFT) - self.first_granule + 1, "i4")
        self.buckets = zeros(self._number_granules() * _BUCKETS, "i4")
        self._fill_buckets()

    @cython.cfunc
    @cython.exceptval(check=False)
    def _number_granules(self) -> cython.longlong:
        i: cython.int
        granule: cython.longlong
        last: cython.longlong
        count: cython.longlong = 0
        for i in range(self.nr_blocks):
            granule = (self.starts[i] >> _GRANULE_SHIFT) - self.first_granule
            last = ((self.ends[i] - 1) >> _GRANULE_SHIFT) - self.first_granule
            while granule <= last:
                if self.granules[granule] == 0:
                    count += 1
                    self.granules[granule] = cython.cast(cython.int, count)
                granule += 1
        return count

    @cython.cfunc
    @cython.exceptval(check=False)
    def _fill_buckets(self) -> cython.void:
        """Each bucket of addresses names the first block in it (plus 1)."""
        i: cython.int
        bucket: cython.longlong
        last: cython.longlong
        row: cython.longlong
        for i in range(self.nr_blocks):
            bucket = self.starts[i] >> _BUCKET_SHIFT
            last = (self.ends[i] - 1) >> _BUCKET_SHIFT
            while bucket <= last:
                row = self._bucket_row(bucket)
                if self.buckets[row] == 0:
                    self.buckets[row] = i + 1
                bucket += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _bucket_row(self, bucket: cython.longlong) -> cython.longlong:
        granule: cython.longlong = (bucket >> (_GRANULE_SHIFT - _BUCKET_SHIFT)) - self.first_granule
        number: cython.longlong = self.granules[granule]
        return (number - 1) * _BUCKETS + (bucket & (_BUCKETS - 1))

    @cython.ccall
    @cython.exceptval(check=False)
    def block_at(self, vaddr: cython.longlong) -> cython.int:
        """The block that `vaddr` points to or into; -1 when there is none."""
        number: cython.longlong
        i: cython.int
        if vaddr < self.low or vaddr >= self.high:
            return -1
        number = self.granules[(vaddr >> _GRANULE_SHIFT) - self.first_granule]
        if number == 0:
            return -1
        i = self.buckets[(number - 1) * _BUCKETS + ((vaddr >> _BUCKET_SHIFT) & (_BUCKETS - 1))] - 1
        if i < 0:
            return -1
        while i < self.nr_blocks and self.starts[i] <= vaddr:
            if vaddr < self.ends[i]:
                return i
            i += 1
        return -1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _is_start(self, i: cython.int, vaddr: cython.longlong) -> cython.int:
        inside: cython.longlong = vaddr - self.starts[i]
        if inside == 0:
            return 1
        if inside >= 512 or (inside & 7) != 0:
            return 0
        return cython.cast(cython.int, (self.start_mask >> (inside >> 3)) & 1)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _push(self, i: cython.int) -> cython.void:
        self.stack[self.depth] = i
        self.depth += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _meet_root(self, vaddr: cython.longlong, at: cython.longlong) -> cython.void:
        i: cython.int = self.block_at(vaddr)
        if i < 0 or self.state[i] == REACHABLE:
            return
        if self._is_start(i, vaddr):
            self.state[i] = REACHABLE
            self.found_at[i] = at
            self._push(i)
        elif self.state[i] == UNREACHED:
            self.state[i] = POSSIBLE  # its own pointers follow when all that is reachable is known
            self.found_at[i] = at

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
                self._meet_root(word, vaddr + ((row - first_row) << 3))
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
        i: cython.int = self.block_at(word + _CHUNK_HEADER_BYTES)
        if i >= 0 and self.starts[i] == word + _CHUNK_HEADER_BYTES:
            self._meet_root(word + _CHUNK_HEADER_BYTES, at)
        self._meet_root(word, at)

    @cython.ccall
    @cython.exceptval(check=False)
    def sort(self) -> cython.void:
        """Give every block its state; call it once, after all roots."""
        i: cython.int
        self._follow(REACHABLE, -1)
        for i in range(self.nr_blocks):
            if self.state[i] == POSSIBLE:
                self._push(i)
        self._follow(POSSIBLE, -1)
        for i in range(self.nr_blocks):
            self.leader[i] = -1
        for i in range(self.nr_blocks):
            if self.state[i] == UNREACHED:
                self.leader[i] = i
                self._push(i)
                self._follow(INDIRECT, i)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _follow(self, kind: cython.int, clique: cython.int) -> cython.void:
        """Scan the blocks on the stack and all that is found through them."""
        block: cython.int
        row: cython.longlong
        end: cython.longlong
        page_end: cython.longlong
        word: cython.longlong
        vaddr: cython.longlong
        low: cython.longlong = self.low
        high: cython.longlong = self.high
        while self.depth > 0:
            self.depth -= 1
            block = self.stack[self.depth]
            row = self.word_rows[block]
            vaddr = self.starts[block] - (row << 3)  # a row's address is this and 8 times the row
            end = row + ((self.ends[block] - self.starts[block]) >> 3)
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
        self, word: cython.longlong, at: cython.longlong, kind: cython.int, clique: cython.int
    ) -> cython.void:
        i: cython.int = self.block_at(word)
        if i < 0:
            return
        if kind == INDIRECT:
            self._join(i, at, clique)
        elif self.state[i] == REACHABLE:
            return
        elif kind == REACHABLE and self._is_start(i, word):
            self.state[i] = REACHABLE
            self.found_at[i] = at
            self._push(i)
        elif self.state[i] == UNREACHED:
            self.state[i] = POSSIBLE
            self.found_at[i] = at
            if kind == POSSIBLE:
                self._push(i)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _join(self, i: cython.int, at: cython.longlong, clique: cython.int) -> cython.void:
        """Block i, found from a lost one, joins its clique; so do those that i has led until now.

        A cycle comes back to its leader, which stays one.
        """
        if self.state[i] != UNREACHED or i == clique:
            return
        self.state[i] = INDIRECT
        self.found_at[i] = at
        self.indirect_blocks[clique] += 1 + self.indirect_blocks[i]
        self.indirect_bytes[clique] += self.ends[i] - self.starts[i] + self.indirect_bytes[i]
        if self.leader[i] == i:  # what it led is scanned already
            self.indirect_blocks[i] = 0
            self.indirect_bytes[i] = 0
        else:
            self._push(i)
        self.leader[i] = clique
