"""Owns how many nodes the swap cache's trees would have, and the slab objects they are.

Imports columns, swap/constants and swap/slab_objects. Has never heard of what a slot holds: it is
told when a slot becomes used or empty. One tree covers 64 MiB of a device
(SWAP_ADDRESS_SPACE_PAGES, v6.1), in nodes of 64 slots: a leaf for 64 swap slots, one node above it
for 64 leaves, one at the top.

# DIFFERS: the first tree always has its top node, where a shallow one needs none; its height
# changes once, early; bends radix_tree_node by one object.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.swap.constants import TREE_NODE
from memtwin.swap.slab_objects import SwapObjects
from memtwin.units import NIL

COLUMNS = (
    Column("leaf_used", "i1", "swap_nodes", "used slots of each 64 swap slots; 0 no node"),
    Column("leaf_slab", "i4", "swap_nodes", "slab that the leaf lies in; -1 none"),
    Column("middle_used", "i1", "swap_nodes", "leaves of each 4096 swap slots"),
    Column("middle_slab", "i4", "swap_nodes", "slab that the node above them lies in"),
    Column("top_used", "i1", "swap_nodes", "nodes below each tree's top"),
    Column("top_slab", "i4", "swap_nodes", "slab that the top lies in"),
)
_SHIFTS = {"leaf": 6, "middle": 12, "top": 14}


@cython.final
@cython.cclass
class SwapNodes:
    """The trees of one device."""

    def __init__(self, size_pages: int, objects: SwapObjects | None) -> None:
        self.objects = objects
        self.nr_nodes = 0
        for column in COLUMNS:
            rows = (size_pages >> _SHIFTS[column.name.split("_")[0]]) + 1
            setattr(self, column.name, zeros(rows, column.dtype))

    @cython.cfunc
    def _make(self) -> cython.int:
        self.nr_nodes += 1
        return self.objects.take(TREE_NODE) if self.objects is not None else NIL

    @cython.cfunc
    def _drop(self, slab: cython.int) -> cython.void:
        self.nr_nodes -= 1
        if self.objects is not None:
            self.objects.give(TREE_NODE, slab)

    @cython.ccall
    def fill(self, offset: cython.longlong) -> cython.int:
        """An empty slot of the trees holds something now; 0."""
        leaf: cython.longlong = offset >> 6
        self.leaf_used[leaf] += 1
        if self.leaf_used[leaf] > 1:
            return 0
        middle: cython.longlong = offset >> 12
        if self.middle_used[middle] == 0:
            if self.top_used[offset >> 14] == 0:
                self.top_slab[offset >> 14] = self._make()
            self.top_used[offset >> 14] += 1
            self.middle_slab[middle] = self._make()
        self.middle_used[middle] += 1
        self.leaf_slab[leaf] = self._make()
        return 0

    @cython.ccall
    def empty(self, offset: cython.longlong) -> cython.int:
        """A used slot of the trees holds nothing now; 0."""
        leaf: cython.longlong = offset >> 6
        self.leaf_used[leaf] -= 1
        if self.leaf_used[leaf] > 0:
            return 0
        self._drop(self.leaf_slab[leaf])
        middle: cython.longlong = offset >> 12
        self.middle_used[middle] -= 1
        if self.middle_used[middle] > 0:
            return 0
        self._drop(self.middle_slab[middle])
        self.top_used[offset >> 14] -= 1
        if self.top_used[offset >> 14] == 0:
            self._drop(self.top_slab[offset >> 14])
        return 0

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        found: list[tuple[str, object]] = [("nr_nodes", self.nr_nodes)]
        return found + [(column.name, getattr(self, column.name)) for column in COLUMNS]
