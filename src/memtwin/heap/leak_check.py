"""Owns a leak check of a program in the twin: its blocks by kind, grouped as memcheck groups them.

Imports pointers, reachability and columns. Knows nothing of reports. Sizes are those asked for,
and every rule is memcheck's, so that its figures can be held against valgrind's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memtwin.columns import zeros
from memtwin.heap.block_states import INDIRECT, UNREACHED
from memtwin.heap.pointers import WORD_BYTES, Block, Pointers
from memtwin.heap.reachability import Reachability

DATA_START = 0x5555_5555_8000  # where the variables stand: in front of the break
_PAGE_WORDS = 512


@dataclass(frozen=True)
class Found:
    """A block with its state; of a leader also what only it leads to."""

    block: Block
    state: int  # of heap/block_states
    indirect_blocks: int
    indirect_bytes: int


@dataclass
class Losses:
    """Blocks of one state that one place allocated (--leak-resolution=high)."""

    state: int
    place: tuple[str, int]
    blocks: int = 0
    size_bytes: int = 0
    indirect_blocks: int = 0
    indirect_bytes: int = 0


def check(pointers: Pointers) -> list[Found]:
    """Every block in use, by address, with its state."""
    blocks = pointers.sorted_blocks()
    reach = _graph(blocks, list(pointers.variables.values()))
    reach.sort()
    ledger = _led(blocks, reach)
    return [
        Found(block, int(reach.state[i]), *ledger.get(i, (0, 0))) for i, block in enumerate(blocks)
    ]


def _graph(blocks: Sequence[Block], roots: Sequence[int]) -> Reachability:
    count = len(blocks)
    starts, ends, rows = (zeros(max(count, 1), "i8")[:count] for _ in range(3))
    row = len(roots)
    for i, block in enumerate(blocks):
        starts[i], rows[i] = block.start, row
        # memcheck/mc_leakcheck.c find_chunk_for(), valgrind 3.19: a block of 0 bytes can be
        # pointed to
        ends[i] = block.start + max(block.size_bytes, 1)
        row += -(-max(block.size_bytes, 1) // WORD_BYTES)
    words = zeros(row + _PAGE_WORDS, "i8")
    resident = zeros(row // _PAGE_WORDS + 1, "u1")
    for at, value in enumerate(roots):
        words[at] = value
    for i, block in enumerate(blocks):
        for offset, value in block.words.items():
            at = rows[i] + offset // WORD_BYTES
            words[at] = value
            resident[at // _PAGE_WORDS] = 1
    reach = Reachability(starts, ends, words, rows, resident, 1)
    reach.roots(0, len(roots), DATA_START)
    return reach


def _led(blocks: Sequence[Block], reach: Reachability) -> dict[int, tuple[int, int]]:
    """leader -> blocks and bytes that only it leads to, found over any number of steps."""
    found: dict[int, tuple[int, int]] = {}
    for i, block in enumerate(blocks):
        if reach.state[i] != INDIRECT:
            continue
        leader = i
        while int(reach.leader[leader]) != leader:
            leader = int(reach.leader[leader])
        led, led_bytes = found.get(leader, (0, 0))
        found[leader] = led + 1, led_bytes + block.size_bytes
    return found


def grouped(found: Sequence[Found]) -> list[Losses]:
    """Loss records, as memcheck/mc_leakcheck.c print_results() makes them, valgrind 3.19."""
    records: dict[tuple[int, tuple[str, int]], Losses] = {}
    for one in found:
        key = one.state, one.block.place
        record = records.setdefault(key, Losses(*key))
        record.blocks += 1
        record.size_bytes += one.block.size_bytes
        if one.state == UNREACHED:
            record.indirect_blocks += one.indirect_blocks
            record.indirect_bytes += one.indirect_bytes
    return list(records.values())
