"""Owns the counters of the kernel: per zone, per node, per memcg and node, and events.

Imports columns and vmstat_items. Has never heard of what is counted. Every counter has one writer
in the house, which calls `mod_*` (or adds to the column directly in a hot loop).

"""
# DIFFERS: counters have no per-CPU deltas; the kernel folds them late and watermark checks see
# figures up to threshold * CPUs pages old; the moment at which kswapd wakes

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.page.vmstat_items import (
    NODE_ITEMS,
    NR_NODE_ITEMS,
    NR_VM_EVENTS,
    NR_ZONE_ITEMS,
    VM_EVENTS,
    ZONE_ITEMS,
)

COLUMNS = (
    Column(
        "zone_stat", "i8", "whoever changes a zone", "pages; row zone_id * NR_ZONE_ITEMS + item"
    ),
    Column("node_stat", "i8", "whoever changes a node", "pages; row node * NR_NODE_ITEMS + item"),
    Column(
        "event",
        "i8",
        "whoever does the thing counted",
        "times since boot; row is the event's number",
    ),
)


@cython.final
@cython.cclass
class VmStat:
    """The machine-wide counters."""

    def __init__(self, nr_zones: int, nr_nodes: int) -> None:
        self.nr_zones = nr_zones
        self.nr_nodes = nr_nodes
        self.zone_stat = zeros(nr_zones * NR_ZONE_ITEMS, "i8")
        self.node_stat = zeros(nr_nodes * NR_NODE_ITEMS, "i8")
        self.event = zeros(NR_VM_EVENTS, "i8")
        self._zone_items = NR_ZONE_ITEMS
        self._node_items = NR_NODE_ITEMS

    @cython.cfunc
    @cython.exceptval(check=False)
    def mod_zone(
        self, zone_id: cython.int, item: cython.int, delta: cython.longlong
    ) -> cython.void:
        """Add `delta` pages to a zone counter."""
        self.zone_stat[zone_id * self._zone_items + item] += delta

    @cython.cfunc
    @cython.exceptval(check=False)
    def mod_node(self, node: cython.int, item: cython.int, delta: cython.longlong) -> cython.void:
        """Add `delta` to a node counter."""
        self.node_stat[node * self._node_items + item] += delta

    @cython.ccall
    @cython.exceptval(check=False)
    def count(self, event: cython.int, delta: cython.longlong) -> cython.void:
        """Count an event `delta` times."""
        self.event[event] += delta

    @cython.ccall
    def zone_page_state(self, zone_id: cython.int, item: cython.int) -> cython.longlong:
        """A zone counter in pages."""
        return self.zone_stat[zone_id * self._zone_items + item]

    @cython.ccall
    def node_page_state(self, node: cython.int, item: cython.int) -> cython.longlong:
        """A node counter in its unit (pages, but KiB for nr_kernel_stack)."""
        return self.node_stat[node * self._node_items + item]

    @cython.ccall
    def global_zone_page_state(self, item: cython.int) -> cython.longlong:
        """A zone counter summed over zones."""
        total: cython.longlong = 0
        zone_id: cython.int
        for zone_id in range(self.nr_zones):
            total += self.zone_stat[zone_id * self._zone_items + item]
        return total

    @cython.ccall
    def global_node_page_state(self, item: cython.int) -> cython.longlong:
        """A node counter summed over nodes."""
        total: cython.longlong = 0
        node: cython.int
        for node in range(self.nr_nodes):
            total += self.node_stat[node * self._node_items + item]
        return total

    def by_name(self) -> dict[str, int]:
        """Every counter under its /proc/vmstat name, summed over zones and nodes."""
        found = {name: int(self.global_zone_page_state(i)) for i, name in enumerate(ZONE_ITEMS)}
        found.update(
            {name: int(self.global_node_page_state(i)) for i, name in enumerate(NODE_ITEMS)}
        )
        found.update({name: int(self.event[i]) for i, name in enumerate(VM_EVENTS)})
        return found

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of all state, for digests."""
        return [("zone_stat", self.zone_stat), ("node_stat", self.node_stat), ("event", self.event)]
