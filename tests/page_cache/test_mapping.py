"""The slots of a mapping against a dict, its tree nodes against a tree built from scratch."""

from __future__ import annotations

import numpy as np
import pytest

from memtwin.errors import InternalError
from memtwin.hardware.prng import stream
from memtwin.page_cache.constants import FILE, SHMEM
from memtwin.page_cache.mapping import Mapping


def tree_nodes(indices: set[int]) -> int:
    """Nodes of the kernel's tree over `indices`: none for index 0 alone."""
    if not indices or indices == {0}:
        return 0
    top = max(indices)
    nodes = 0
    while top > 0:
        top >>= 6
        indices = {index >> 6 for index in indices}
        nodes += len(indices)
    return nodes


@pytest.mark.parametrize("reach", [3, 70, 5000, 300_000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_slots_and_nodes_equal_a_dict_after_every_event(reach: int, seed: int) -> None:
    mapping = Mapping(1, 11, FILE, reach << 12)
    naive: dict[int, int] = {}
    prng = stream(seed, f"mapping/{reach}")
    for step in range(600):
        index = prng.below(reach) if prng.below(3) else prng.below(min(reach, 80))
        action = prng.below(5)
        if action < 2 and naive.get(index, 0) <= 0:
            expected = tree_nodes(set(naive) | {index}) - mapping.nr_nodes
            if index not in naive and mapping.nr_nodes == tree_nodes(set(naive)):
                assert mapping.missing_nodes(index) == expected
            mapping.store(index, step + 1)
            naive[index] = step + 1
        elif action == 2 and naive.get(index, 0) > 0:
            mapping.store(index, -(step + 1))
            naive[index] = -(step + 1)
        elif naive:
            victim = sorted(naive)[prng.below(len(naive))]
            mapping.erase(victim)
            del naive[victim]
        assert mapping.slot(index) == naive.get(index, 0)
        assert mapping.nr_pages == sum(entry > 0 for entry in naive.values())
        assert mapping.nr_values == sum(entry < 0 for entry in naive.values())
        if not naive:
            assert mapping.nr_nodes == 0
    mapping.verify()


def test_a_single_page_at_index_0_needs_no_node_and_a_second_page_brings_one() -> None:
    mapping = Mapping(1, 11, FILE, 1 << 20)
    assert mapping.store(0, 5) == 0
    assert mapping.missing_nodes(1) == 1
    assert mapping.store(1, 6) == 1
    assert mapping.erase(1) == 1
    assert mapping.nr_nodes == 0


def test_a_file_of_8224_pages_has_the_140_nodes_that_a_kernel_allocated_for_it() -> None:
    # 129 leaves of 64 slots, 3 nodes above them, 1 root: 133 objects, in slabs of 14 of which 10
    # make 140
    mapping = Mapping(1, 11, FILE, 64 << 20)
    for index in range(8224):
        mapping.store(index, index + 1)
    assert mapping.nr_nodes == 129 + 3 + 1
    assert -(-mapping.nr_nodes // 14) * 14 == 140


def test_a_leaf_of_only_shadows_is_seen_and_a_shmem_leaf_of_swap_entries_is_not_one() -> None:
    mapping = Mapping(1, 11, FILE, 1 << 20)
    mapping.store(70, 9)
    mapping.store(71, -4)
    assert mapping.only_values(70) == 0
    mapping.store(70, -5)
    assert mapping.only_values(70) == 1
    shmem = Mapping(2, 12, SHMEM, 1 << 20)
    shmem.store(70, -5)
    assert shmem.only_values(70) == 0


def test_misses_are_found_forwards_and_backwards_within_the_scan() -> None:
    mapping = Mapping(1, 11, FILE, 1 << 20)
    for index in range(10, 20):
        mapping.store(index, index + 1)
    assert mapping.next_miss(10, 32) == 20
    assert mapping.next_miss(10, 4) == 14
    assert mapping.prev_miss(19, 32) == 9
    assert mapping.prev_miss(19, 4) == 15
    for index in range(10):
        mapping.store(index, index + 1)
    assert mapping.prev_miss(5, 32) == -1


def test_verify_names_both_sides_when_a_slot_was_written_behind_its_back() -> None:
    mapping = Mapping(1, 11, FILE, 1 << 20)
    mapping.store(3, 9)
    np.asarray(mapping.slots)[7] = 12
    with pytest.raises(InternalError, match="nr_pages 1, slots hold 2"):
        mapping.verify()
