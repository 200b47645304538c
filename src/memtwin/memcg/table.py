"""Owns the rows of memory cgroups: the tree, counters, limits, events and statistics.

Imports page (mem_map, vmstat, tunables), units, columns, errors. Has never heard of reclaim or
tasks. Row 0 is the root. A removed group keeps its row while pages are charged to it (the kernel's
offline css).
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.errors import InternalError, UserError
from memtwin.memcg.constants import (
    CGROUP_V2,
    MAX_MEMCGS,
    MEMCG_EVENTS,
    NR_MEMCG_EVENTS,
    PAGE_COUNTER_MAX,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import NR_NODE_ITEMS, NR_VM_EVENTS

COLUMNS = (
    Column("parent", "i4", "memcg/table", "row of the parent; -1 for the root"),
    Column("online", "i1", "memcg/table", "1 from mkdir to rmdir"),
    Column("usage", "i8", "memcg/charge", "pages charged here and below, stocks included"),
    Column("watermark", "i8", "memcg/charge", "largest usage so far, pages"),
    Column("failcnt", "i8", "memcg/charge", "charges refused by max (v1 memory.failcnt)"),
    Column("max", "i8", "memcg/table", "memory.max or v1 limit_in_bytes, pages"),
    Column("high", "i8", "memcg/table", "memory.high, pages"),
    Column("min", "i8", "memcg/table", "memory.min, pages"),
    Column("low", "i8", "memcg/table", "memory.low, pages"),
    Column("swap_usage", "i8", "memcg/charge", "swap slots charged here and below (v2)"),
    Column("swap_max", "i8", "memcg/table", "memory.swap.max, pages (v2)"),
    Column("memsw_usage", "i8", "memcg/charge", "memory and swap charged here and below (v1)"),
    Column("memsw_watermark", "i8", "memcg/charge", "largest memsw_usage so far, pages (v1)"),
    Column("memsw_failcnt", "i8", "memcg/charge", "charges refused by memsw_max (v1)"),
    Column("memsw_max", "i8", "memcg/table", "memory.memsw.limit_in_bytes, pages (v1)"),
    Column("kmem", "i8", "memcg/charge", "pages of usage that are kernel memory, here and below"),
    Column("swappiness", "i8", "memcg/table", "memory.swappiness (v1); v2 follows vm.swappiness"),
    Column("memory_event", "i8", "memcg/charge", "memory.events, row * 9 + event, here and below"),
    Column("stat", "i8", "owner of each item", "row * NR_NODE_ITEMS + item; this group alone"),
    Column("vm_event", "i8", "owner of each event", "row * NR_VM_EVENTS + event; this group alone"),
)

_WIDTHS = {"memory_event": NR_MEMCG_EVENTS, "stat": NR_NODE_ITEMS, "vm_event": NR_VM_EVENTS}


@cython.final
@cython.cclass
class MemcgTable:
    """All memory cgroups of a machine."""

    def __init__(
        self, mem: MemMap, vmstat: VmStat, tunables: Tunables, version: int = CGROUP_V2
    ) -> None:
        self.mem = mem
        self.vmstat = vmstat
        self.tunables = tunables
        self.version = version
        self.nr = 0
        self.nr_stat_updates = 0  # since the last folding (reclaim/stat_fold.py)
        self.nr_stat_items = NR_NODE_ITEMS
        self.nr_vm_events = NR_VM_EVENTS
        self.names: list[str] = []
        for column in COLUMNS:
            rows = MAX_MEMCGS
            rows *= _WIDTHS.get(column.name, 1)
            setattr(self, column.name, zeros(rows, column.dtype))
        self.create("", -1)

    def create(self, name: str, parent: int) -> int:
        """mkdir: the row of a new group `name` (a path, "" is the root) below row `parent`."""
        if self.nr >= MAX_MEMCGS:
            raise UserError(f"cgroup {name!r}: found {self.nr} groups, allowed are {MAX_MEMCGS}")
        memcg = self.nr
        self.nr += 1
        self.names.append(name)
        self.parent[memcg] = parent
        self.online[memcg] = 1
        self.max[memcg] = self.high[memcg] = PAGE_COUNTER_MAX
        self.swap_max[memcg] = self.memsw_max[memcg] = PAGE_COUNTER_MAX
        # mm/memcontrol.c mem_cgroup_css_alloc(), v6.1: a v1 child starts with its parent's value
        inherited = self.tunables.swappiness if parent <= 0 else self.swappiness[parent]
        self.swappiness[memcg] = inherited
        return memcg

    def remove(self, memcg: int) -> None:
        """rmdir: the group goes offline; its row stays for pages that are charged to it."""
        self.online[memcg] = 0

    def find(self, name: str) -> int:
        """Row of the online group `name`, or -1."""
        for memcg in range(self.nr):
            if self.online[memcg] and self.names[memcg] == name:
                return memcg
        return -1

    @cython.ccall
    def is_descendant(self, memcg: cython.int, ancestor: cython.int) -> cython.int:
        """1 when `memcg` is `ancestor` or lies below it (mem_cgroup_is_descendant)."""
        at: cython.int = memcg
        while at >= 0:
            if at == ancestor:
                return 1
            at = self.parent[at]
        return 0

    @cython.ccall
    def next_in_tree(self, root: cython.int, at: cython.int) -> cython.int:
        """Group behind `at` in the pre-order walk of `root`'s tree, or -1 (mem_cgroup_iter)."""
        row: cython.int
        for row in range(at + 1, self.nr):
            if self.parent[row] == at:
                return row
        while at != root:
            parent: cython.int = self.parent[at]
            for row in range(at + 1, self.nr):
                if self.parent[row] == parent:
                    return row
            at = parent
        return -1

    @cython.ccall
    def get_swappiness(self, memcg: cython.int) -> cython.longlong:
        """What get_scan_count takes for the group (include/linux/swap.h mem_cgroup_swappiness)."""
        if self.version == 2 or memcg <= 0:
            return self.tunables.swappiness
        own: cython.longlong = self.swappiness[memcg]
        return own

    @cython.cfunc
    @cython.exceptval(check=False)
    def mod_stat(self, memcg: cython.int, item: cython.int, delta: cython.longlong) -> cython.void:
        """Add to a group's own node item without touching the machine's counter."""
        self.stat[memcg * self.nr_stat_items + item] += delta
        self.nr_stat_updates += delta if delta >= 0 else -delta

    @cython.cfunc
    @cython.exceptval(check=False)
    def mod_lruvec_page_state(
        self, pfn: cython.int, node: cython.int, item: cython.int, delta: cython.longlong
    ) -> cython.void:
        """Add to the node's counter and to that of the group the page is charged to."""
        self.vmstat.mod_node(node, item, delta)
        self.stat[self.mem.memcg[pfn] * self.nr_stat_items + item] += delta
        self.nr_stat_updates += delta if delta >= 0 else -delta

    @cython.cfunc
    @cython.exceptval(check=False)
    def count_event(
        self, memcg: cython.int, event: cython.int, delta: cython.longlong
    ) -> cython.void:
        """Count an event in the group alone; the machine's count is the caller's affair."""
        self.vm_event[memcg * self.nr_vm_events + event] += delta
        self.nr_stat_updates += delta if delta >= 0 else -delta

    @cython.cfunc
    @cython.exceptval(check=False)
    def memory_event_add(self, memcg: cython.int, event: cython.int) -> cython.void:
        """memory.events of the group and of all above it (memcg_memory_event, v6.1)."""
        at: cython.int = memcg
        while at > 0:
            self.memory_event[at * NR_MEMCG_EVENTS + event] += 1
            at = self.parent[at]

    def stat_total(self, memcg: int, item: int) -> int:
        """A node item summed over the group and all below it."""
        return sum(
            int(self.stat[row * NR_NODE_ITEMS + item])
            for row in range(self.nr)
            if self.is_descendant(row, memcg)
        )

    def event_total(self, memcg: int, event: int) -> int:
        """An event's count summed over the group and all below it."""
        return sum(
            int(self.vm_event[row * NR_VM_EVENTS + event])
            for row in range(self.nr)
            if self.is_descendant(row, memcg)
        )

    def memory_events(self, memcg: int) -> dict[str, int]:
        """memory.events by name: here and below."""
        base = memcg * NR_MEMCG_EVENTS
        return {name: int(self.memory_event[base + i]) for i, name in enumerate(MEMCG_EVENTS)}

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of all state in use, for digests."""
        return [
            (column.name, getattr(self, column.name)[: self.nr * _WIDTHS.get(column.name, 1)])
            for column in COLUMNS
        ]

    def verify(self) -> None:
        """Usage of a parent covers its children, and no counter is negative."""
        below = [0] * self.nr
        for memcg in range(self.nr):
            for name in ("usage", "swap_usage", "memsw_usage", "kmem"):
                found = getattr(self, name)[memcg]
                if found < 0:
                    raise InternalError(f"memcg.verify: {name} of {self.names[memcg]!r} is {found}")
            if self.parent[memcg] > 0:
                below[self.parent[memcg]] += self.usage[memcg]
        for memcg in range(1, self.nr):
            if below[memcg] > self.usage[memcg]:
                raise InternalError(
                    f"memcg.verify: usage of {self.names[memcg]!r} is {self.usage[memcg]}, "
                    f"children hold {below[memcg]}"
                )
