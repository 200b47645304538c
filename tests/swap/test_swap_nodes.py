"""The nodes of the swap cache's trees, counted slot by slot."""

from __future__ import annotations

from memtwin.swap.swap_nodes import SwapNodes

SLOTS = 4 * 16384


def test_a_first_slot_makes_leaf_middle_and_top() -> None:
    nodes = SwapNodes(SLOTS, None)
    nodes.fill(1)
    assert nodes.nr_nodes == 3
    nodes.fill(63)
    assert nodes.nr_nodes == 3
    nodes.fill(64)
    assert nodes.nr_nodes == 4
    nodes.fill(4096)
    assert nodes.nr_nodes == 6
    nodes.fill(16384)
    assert nodes.nr_nodes == 9


def test_the_last_slot_of_a_node_takes_it_away() -> None:
    nodes = SwapNodes(SLOTS, None)
    slots = (1, 63, 64, 4096, 16384)
    for slot in slots:
        nodes.fill(slot)
    for slot in slots[:-1]:
        nodes.empty(slot)
    assert nodes.nr_nodes == 3
    nodes.empty(slots[-1])
    assert nodes.nr_nodes == 0


def test_a_full_tree_has_a_node_a_64_slots() -> None:
    nodes = SwapNodes(SLOTS, None)
    for slot in range(16384):
        nodes.fill(slot)
    assert nodes.nr_nodes == 256 + 4 + 1
