"""Owns what one program keeps of its blocks: their sizes and places, and the pointers it stored.

Imports nothing of the room: it is told where blocks lie. A heap of the twin has headers alone; the
words that a program writes are kept here, for only pointers matter to a search for leaks. A word
that nobody wrote is undefined and no pointer (memcheck/mc_leakcheck.c lc_scan_memory(), valgrind
3.19, reads defined words alone), so a new block begins without any.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass, field

WORD_BYTES = 8


@dataclass
class Block:
    """A block in use: its address, the bytes asked for, and who asked."""

    start: int
    size_bytes: int
    place: tuple[str, int]  # function of the allocator, and line of the program
    words: dict[int, int] = field(default_factory=dict)  # offset -> pointer that stands there


class Pointers:
    """Blocks in use, their pointers, and the program's variables, which are the roots."""

    def __init__(self) -> None:
        self.blocks: dict[int, Block] = {}
        self._starts: list[int] = []
        self.variables: dict[str, int] = {}  # name -> value; the order is that of their addresses
        self.allocs = 0
        self.frees = 0
        self.allocated_bytes = 0

    def add(self, start: int, size_bytes: int, place: tuple[str, int]) -> Block:
        """A block was allocated."""
        block = Block(start, size_bytes, place)
        self.blocks[start] = block
        insort(self._starts, start)
        self.allocs += 1
        self.allocated_bytes += size_bytes
        return block

    def drop(self, start: int) -> Block:
        """A block was freed; what it held is gone with it."""
        del self._starts[bisect_right(self._starts, start) - 1]
        self.frees += 1
        return self.blocks.pop(start)

    def move(self, start: int, new_start: int, size_bytes: int, place: tuple[str, int]) -> None:
        """A block was reallocated: the words that both sizes hold go with it."""
        old = self.drop(start)
        block = self.add(new_start, size_bytes, place)
        last = min(old.size_bytes, size_bytes) - WORD_BYTES
        block.words = {at: word for at, word in old.words.items() if at <= last}

    def block_of(self, address: int) -> Block | None:
        """The block in use that holds the whole word at `address`."""
        at = bisect_right(self._starts, address) - 1
        block = self.blocks[self._starts[at]] if at >= 0 else None
        if block is None or address + WORD_BYTES > block.start + block.size_bytes:
            return None
        return block

    def sorted_blocks(self) -> list[Block]:
        """All blocks in use, by address."""
        return [self.blocks[start] for start in self._starts]

    def copy(self) -> Pointers:
        """What a forked child has."""
        child = Pointers()
        child.blocks = {
            start: Block(start, one.size_bytes, one.place, dict(one.words))
            for start, one in self.blocks.items()
        }
        child._starts = list(self._starts)
        child.variables = dict(self.variables)
        child.allocs, child.frees = self.allocs, self.frees
        child.allocated_bytes = self.allocated_bytes
        return child
