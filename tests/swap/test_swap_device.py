"""Slots of a swap device against a dictionary, and the order in which they are handed out."""

import random

import numpy as np
import pytest

from memtwin.columns import zeros
from memtwin.swap.constants import DISK, SWAP_HAS_CACHE, SWAPFILE_CLUSTER
from memtwin.swap.swap_device import SwapDevice


def device(size_pages: int, rotational: int = 0) -> SwapDevice:
    return SwapDevice("/dev/vdb", 0, size_pages, -2, DISK, rotational, 0, 1)


def take(area: SwapDevice, goal: int) -> list[int]:
    slots = zeros(64, "i8")
    found = area.take_slots(slots, 0, goal, 0)
    return [int(slots[i]) for i in range(found)]


def test_slots_of_a_fresh_device_are_handed_out_in_order_within_a_cluster() -> None:
    area = device(64 * SWAPFILE_CLUSTER)
    slots = take(area, 64) + take(area, 64)
    first = slots[0]
    assert first % SWAPFILE_CLUSTER == 0
    assert slots == list(range(first, first + 128))


def test_the_first_cluster_holds_the_header_and_is_used_last() -> None:
    area = device(4 * SWAPFILE_CLUSTER)
    seen: list[int] = []
    while slots := take(area, 64):
        seen += slots
    assert len(seen) == len(set(seen)) == 4 * SWAPFILE_CLUSTER - 1
    assert 0 not in seen
    assert min(seen[: 3 * SWAPFILE_CLUSTER]) >= SWAPFILE_CLUSTER
    area.verify()


def test_a_spinning_disk_is_filled_from_its_start() -> None:
    area = device(2048, rotational=1)
    assert take(area, 10) == list(range(1, 11))
    area.verify()


def test_a_full_device_hands_out_nothing_until_a_slot_is_freed() -> None:
    area = device(600)
    while take(area, 64):
        pass
    area.put_back(17)
    assert take(area, 64) == [17]
    assert take(area, 64) == []


@pytest.mark.parametrize("rotational", [0, 1])
@pytest.mark.parametrize("seed", range(4))
def test_random_taking_and_freeing_agrees_with_a_set(rotational: int, seed: int) -> None:
    chance = random.Random(seed)
    area = device(5 * SWAPFILE_CLUSTER + 100, rotational)
    used: set[int] = set()
    for _ in range(400):
        if chance.random() < 0.55:
            goal = chance.randint(1, 64)
            slots = take(area, goal)
            assert not used & set(slots)
            assert slots or len(used) == area.pages
            used |= set(slots)
        elif used:
            for slot in chance.sample(sorted(used), chance.randint(1, min(len(used), 60))):
                area.put_back(slot)
                used.discard(slot)
        assert area.inuse_pages == len(used)
    marked = {int(slot) for slot in np.flatnonzero(np.asarray(area.swap_map)) if slot}
    assert marked == used
    assert all(area.swap_map[slot] == SWAP_HAS_CACHE for slot in used)
    area.verify()
