"""Every version's heap keeps what a malloc promises, and differs where glibc's source differs."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from tests.heap import sequences as seq
from tests.heap import truth

from memtwin.errors import UserError
from memtwin.heap.address_map import Layout
from memtwin.heap.build import HeapTerms, new_heap, parse_change
from memtwin.heap.census import take_census, verify
from memtwin.heap.heap import Heap
from memtwin.heap.upkeep import mallinfo2
from memtwin.heap.versions import rules_of, versions


def _heap(glibc: str, *changes: str, **layout: int) -> Heap:
    pairs = tuple(parse_change(text) for text in changes)
    return new_heap(HeapTerms(glibc, 2, Layout(**layout), changes=pairs))


def _verify_blocks(events: np.ndarray, values: np.ndarray) -> None:
    """Naive model: live blocks are as large and aligned as asked for, and never overlap."""
    live: dict[int, tuple[int, int]] = {}
    for event, (address, usable) in zip(events.tolist(), values.tolist(), strict=True):
        op, _, slot, size, argument = event
        if op == seq.OP_FREE or (op == seq.OP_REALLOC and size == 0 and slot in live):
            live.pop(slot, None)
            continue
        assert address
        assert usable >= size
        assert address % 16 == 0
        if op in (seq.OP_MEMALIGN, seq.OP_POSIX_MEMALIGN, seq.OP_ALIGNED_ALLOC):
            assert address % argument == 0
        live[slot] = (address, address + usable)
    ranges = sorted(live.values())
    assert len(ranges) > 20
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ranges))


@pytest.mark.parametrize("glibc", versions())
@pytest.mark.parametrize("name", ["wide", "memalign", "realloc_large"])
def test_blocks_are_large_enough_aligned_and_apart(glibc: str, name: str) -> None:
    events = seq.sequence(name, 3, 1500)
    answers, heap = truth.twin(events, Layout(), glibc=glibc)
    _verify_blocks(events, answers.values)
    verify(heap)
    assert heap.memory.fault == 0


@pytest.mark.parametrize("glibc", versions())
def test_the_census_adds_up_to_what_mallinfo_says(glibc: str) -> None:
    _, heap = truth.twin(seq.sequence("everything", 8, 2000), Layout(), glibc=glibc)
    census, info = take_census(heap), mallinfo2(heap)
    sizes = census.bytes_by_state
    in_lists = sum(sizes.get(s, 0) for s in ("fastbin", "unsorted", "smallbin", "largebin", "top"))
    assert in_lists == info.fordblks
    assert sizes.get("mmapped", 0) == info.hblkhd or info.hblkhd > 0
    assert census.top_bytes == info.keepcost


def test_calloc_takes_from_the_cache_since_2_41() -> None:
    for glibc, same in (("2.40", False), ("2.41", True)):
        heap = _heap(glibc)
        block = heap.malloc(40)
        heap.free(block)
        assert (heap.calloc(1, 40) == block) is same


def test_an_aligned_block_of_the_cache_is_found_again_since_2_38() -> None:
    for glibc, same in (("2.37", False), ("2.38", True)):
        heap = _heap(glibc)
        block = heap.memalign(64, 64)
        heap.malloc(24)
        heap.free(block)
        assert (heap.memalign(64, 64) == block) is same


def test_a_small_chunk_goes_to_its_bin_at_once_since_2_41() -> None:
    for glibc, state in (("2.40", "unsorted"), ("2.41", "smallbin")):
        heap = _heap(glibc, "glibc.malloc.tcache_count=0", "M_MXFAST=0")
        block = heap.malloc(500)
        heap.malloc(24)
        heap.free(block)
        assert take_census(heap).chunks_by_state.get(state) == 1


def test_the_threshold_has_no_cap_since_2_35() -> None:
    with pytest.raises(UserError, match="32M"):
        _heap("2.34", "M_MMAP_THRESHOLD=64M")
    assert _heap("2.35", "M_MMAP_THRESHOLD=64M").par.mmap_threshold == 64 << 20


def test_a_region_that_stands_in_for_the_break_is_rounded_as_its_version_does() -> None:
    for glibc, length in (("2.34", 1 << 20), ("2.36", 1 << 20), ("2.38", 1 << 20)):
        heap = _heap(glibc, data_limit_bytes=200_000)
        blocks = [heap.malloc(60_000) for _ in range(6)]
        rows = heap.memory.log.take()
        maps = rows[rows[:, 0] == 2]
        assert len(set(blocks)) == 6
        assert all(blocks)
        assert int(maps[0, 2]) == length
        assert heap.arenas.noncontiguous[0] == 1
        for block in blocks:
            heap.free(block)
        assert heap.memory.fault == 0


def test_heaps_of_huge_pages_are_four_of_them_large_and_come_from_the_pool() -> None:
    for pool, protection in ((-1, 0x40000), (7, 0)):
        heap = _heap("2.41", "glibc.malloc.hugetlb=2", nr_huge_pages=pool)
        heap.run_as(1)
        block = heap.malloc(100)
        rows = heap.memory.log.take()
        maps, size = rows[rows[:, 0] == 2], 8 << 20
        assert int(maps[0, 2]) == 2 * size
        assert int(maps[-1, 3]) & 0x40000 == protection
        assert block % size < 4096
        assert heap.memory.row_of(block - 16) == heap.memory.row_of(block - 32) + 1
        assert not (rows[:, 0] == 1).any()  # the break is never asked


def test_huge_pages_of_heaps_are_refused_before_2_35_and_other_sizes_always() -> None:
    with pytest.raises(UserError, match=r"since glibc 2\.35"):
        _heap("2.34", "glibc.malloc.hugetlb=1")
    with pytest.raises(UserError, match="2097152"):
        _heap("2.41", "glibc.malloc.hugetlb=1G")


def test_checking_is_of_the_library_itself_to_2_33_and_not_since() -> None:
    heap = _heap("2.33", "glibc.malloc.check=3")
    blocks = [heap.malloc(24) for _ in range(2)]
    assert blocks[1] - blocks[0] == 48  # 32 without the byte more
    assert heap.usable_size(blocks[0]) == 24
    heap.run_as(1)
    assert heap.malloc(24) - blocks[1] == 48  # threads share the first arena
    with pytest.raises(UserError, match=r"since glibc 2\.34"):
        _heap("2.34", "glibc.malloc.check=3")


def test_words_that_are_no_setting_are_refused_with_what_is_allowed() -> None:
    for text in ("M_NOTHING=1", "M_TOP_PAD", "M_CHECK_ACTION=1"):
        with pytest.raises(UserError, match="--set"):
            parse_change(text)
    with pytest.raises(UserError, match=r"2\.31 to 2\.41"):
        rules_of("2.30")
    with pytest.raises(UserError, match="0 to 1032"):
        _heap("2.36", "glibc.malloc.tcache_max=2000")


def test_the_interpreted_rooms_answer_as_the_compiled_ones() -> None:
    code = (
        "import hashlib,numpy as np\n"
        "from memtwin.heap.address_map import Layout\n"
        "from tests.heap import sequences as seq, truth\n"
        "a,h=truth.twin(seq.sequence('everything',4,700),Layout(),touches=1,glibc='2.36')\n"
        "print(hashlib.md5(a.values.tobytes()).hexdigest(),len(a.calls),h.memory.nr_resident)\n"
    )
    out = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "MEMTWIN_INTERPRETED": mode, "PYTHONPATH": ".:tools:src"},
            capture_output=True, text=True, check=True,
        ).stdout
        for mode in ("", "1")
    ]  # fmt: skip
    assert out[0] == out[1]
