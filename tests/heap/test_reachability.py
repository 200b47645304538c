"""Which blocks are lost, and how: against a naive model with sets, on random heaps."""

from __future__ import annotations

import random

import numpy as np
import pytest

from memtwin.heap.block_states import IN_REGISTER, INDIRECT, POSSIBLE, REACHABLE, UNREACHED
from memtwin.heap.reachability import Reachability

BASE = 0x5555_0000_0000


class Heap:
    """A made-up heap: blocks with words in one array, roots in front of them."""

    def __init__(self, sizes: list[int], gaps: list[int], roots: int, far: int) -> None:
        self.starts, self.ends, self.rows = [], [], []
        at, row = BASE, roots
        for i, (size, gap) in enumerate(zip(sizes, gaps, strict=True)):
            if i == far:
                at += 1 << 40  # as mapped chunks lie far from the break
            self.starts.append(at)
            self.ends.append(at + size)
            self.rows.append(row)
            at += size + gap
            row += size // 8
        self.words = np.zeros(row + 512, np.int64)
        self.roots = roots

    def reach(self, start_mask: int = 1, registers: list[int] | None = None) -> Reachability:
        starts, ends, rows = (np.array(x, np.int64) for x in (self.starts, self.ends, self.rows))
        resident = np.ones(len(self.words) // 512 + 1, np.uint8)
        reach = Reachability(
            starts.data, ends.data, self.words.data, rows.data, resident.data, start_mask
        )
        reach.roots(0, self.roots, 0x1000)
        if registers:
            reach.register_roots(np.array(registers, np.int64).data)
        reach.sort()
        return reach

    def pointers(self, block: int) -> list[int]:
        row = self.rows[block]
        return self.words[row : row + (self.ends[block] - self.starts[block]) // 8].tolist()

    def block_at(self, word: int) -> int | None:
        for i, (start, end) in enumerate(zip(self.starts, self.ends, strict=True)):
            if start <= word < end:
                return i
        return None

    def naive(self) -> tuple[list[int], dict[int, int]]:
        """States as memcheck gives them, and bytes indirectly lost by leader."""
        n = len(self.starts)
        hard, soft = set[int](), set[int]()
        wanted = self.words[: self.roots].tolist()
        while wanted:
            word = wanted.pop()
            i = self.block_at(word)
            if i is not None and word == self.starts[i] and i not in hard:
                hard.add(i)
                wanted += self.pointers(i)
        wanted = self.words[: self.roots].tolist()
        for i in hard:
            wanted += self.pointers(i)
        while wanted:
            i = self.block_at(wanted.pop())
            if i is not None and i not in hard and i not in soft:
                soft.add(i)
                wanted += self.pointers(i)
        states = [
            REACHABLE if i in hard else POSSIBLE if i in soft else UNREACHED for i in range(n)
        ]
        sums: dict[int, int] = {}
        for leader in range(n):
            if states[leader] != UNREACHED:
                continue
            sums[leader] = 0
            wanted = self.pointers(leader)
            while wanted:
                i = self.block_at(wanted.pop())
                if i is None or i == leader or states[i] != UNREACHED:
                    continue
                states[i] = INDIRECT
                sums[leader] += self.ends[i] - self.starts[i] + sums.pop(i, 0)
                wanted += self.pointers(i)
        return states, sums


def random_heap(seed: int, most_blocks: int = 60, most_pointers: int = 2) -> Heap:
    draw = random.Random(seed)
    n = draw.randint(1, most_blocks)
    sizes = [draw.choice([8, 24, 24, 40, 120, 1000, 5000]) for _ in range(n)]
    heap = Heap(sizes, [draw.choice([8, 8, 16, 4096]) for _ in range(n)], 12, draw.randrange(n))
    places = list(range(heap.roots))
    for block in range(n):
        places += range(heap.rows[block], heap.rows[block] + sizes[block] // 8)
    for _ in range(draw.randint(0, most_pointers * n)):
        to = draw.randrange(n)
        inside = draw.choice([0, 0, 0, 8, sizes[to] - 1, sizes[to]])
        heap.words[draw.choice(places)] = heap.starts[to] + inside
    return heap


@pytest.mark.parametrize("seed", range(300))
def test_random_heaps_are_sorted_as_the_naive_model_sorts_them(seed: int) -> None:
    heap = random_heap(seed)
    reach = heap.reach()
    states, sums = heap.naive()
    n = len(states)
    assert np.asarray(reach.state)[:n].tolist() == states
    got = {i: int(reach.indirect_bytes[i]) for i in range(n) if states[i] == UNREACHED}
    assert got == sums
    for i in range(n):  # a leader's bytes are those of the blocks that name it, over any steps
        if states[i] == UNREACHED:
            assert reach.leader[i] == i
        elif states[i] == INDIRECT:
            leader = i
            while reach.leader[leader] != leader:
                leader = reach.leader[leader]
            assert states[leader] == UNREACHED


@pytest.mark.parametrize("seed", range(400, 410))
@pytest.mark.parametrize("most_pointers", [1, 8])
def test_heaps_with_more_pointers_than_wait_at_a_time_are_sorted_the_same(
    seed: int, most_pointers: int
) -> None:
    heap = random_heap(seed, 400, most_pointers)
    reach = heap.reach()
    states, sums = heap.naive()
    assert np.asarray(reach.state)[: len(states)].tolist() == states
    lost = [i for i, state in enumerate(states) if state == UNREACHED]
    assert {i: int(reach.indirect_bytes[i]) for i in lost} == sums


@pytest.mark.parametrize("seed", range(300, 340))
def test_each_block_that_was_found_names_a_word_that_points_to_it(seed: int) -> None:
    heap = random_heap(seed)
    reach = heap.reach()
    for i in range(len(heap.starts)):
        at = reach.found_at[i]
        if at == 0:
            assert reach.state[i] == UNREACHED
            continue
        holder = heap.block_at(at)
        row = (at - 0x1000) // 8
        if holder is not None:
            row = heap.rows[holder] + (at - heap.starts[holder]) // 8
        assert heap.starts[i] <= heap.words[row] < heap.ends[i]


def test_the_block_at_an_address_is_found_to_the_byte() -> None:
    heap = random_heap(7)
    reach = heap.reach()
    for start, end in zip(heap.starts, heap.ends, strict=True):
        for vaddr in (start - 1, start, start + 7, end - 1, end):
            expected = heap.block_at(vaddr)
            assert reach.block_at(vaddr) == (-1 if expected is None else expected)
    assert reach.block_at(0) == -1
    assert reach.block_at(1 << 46) == -1


def test_a_register_that_holds_the_header_of_a_block_holds_the_block() -> None:
    heap = Heap([40, 40], [8, 8], 1, 0)
    header = heap.starts[1] - 16
    assert np.asarray(heap.reach(registers=[header]).state)[:2].tolist() == [POSSIBLE, REACHABLE]
    reach = heap.reach(registers=[heap.starts[0]])
    assert reach.found_at[0] == IN_REGISTER


def test_a_pointer_behind_a_known_header_counts_as_one_to_the_start() -> None:
    heap = Heap([40], [8], 1, 0)
    heap.words[0] = heap.starts[0] + 16
    assert heap.reach(start_mask=1).state[0] == POSSIBLE
    assert heap.reach(start_mask=1 | 1 << 2).state[0] == REACHABLE


def test_a_heap_without_blocks_has_nothing_to_sort() -> None:
    heap = Heap([], [], 4, -1)
    reach = heap.reach()
    assert reach.nr_blocks == 0
    assert reach.block_at(BASE) == -1


def test_words_of_pages_that_hold_nothing_are_not_read() -> None:
    heap = Heap([8192 * 8], [8], 512, 0)
    heap.words[0] = heap.starts[0]
    resident = np.zeros(len(heap.words) // 512 + 1, np.uint8)
    columns = [np.array(x, np.int64).data for x in (heap.starts, heap.ends)]
    rows = np.array(heap.rows, np.int64).data
    reach = Reachability(columns[0], columns[1], heap.words.data, rows, resident.data, 1)
    reach.roots(0, 1, 0x1000)
    heap.words[heap.rows[0] : heap.rows[0] + 10] = heap.starts[0] + 8
    reach.sort()
    assert reach.state[0] == REACHABLE
