"""Owns the slots of one swap device: use counts, free clusters, what is cached for each slot.

Imports columns and swap/constants. Has never heard of pages' owners, I/O or policies between
devices.

A slot's life: free -> in a CPU's slot cache -> used (count + cached) -> freed -> free.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.errors import InternalError
from memtwin.swap.constants import (
    LATENCY_LIMIT,
    NO_CLUSTER,
    SWAP_CLUSTER_COLS,
    SWAP_HAS_CACHE,
    SWAP_MAP_BAD,
    SWAPFILE_CLUSTER,
)
from memtwin.swap.slab_objects import SwapObjects
from memtwin.swap.swap_nodes import SwapNodes

if not cython.compiled:
    from memtwin.columns import I8

COLUMNS = (
    Column("swap_map", "i4", "swap", "users of the slot in page tables; SWAP_HAS_CACHE; 0 free"),
    Column("cache", "i8", "swap", "pfn + 1 cached for the slot, negative a shadow, 0 nothing"),
    Column("slot_memcg", "i4", "swap", "group the slot is charged to; 0 none"),
    Column("slot_content", "u1", "swap", "CONTENT_* of what was written there"),
    Column("cluster_used", "i4", "swap_device", "slots in use of each cluster of 512"),
    Column(
        "cluster_next_free", "i4", "swap_device", "next free cluster; meaningless when not free"
    ),
    Column("cpu_cluster", "i4", "swap_device", "cluster a CPU takes slots from; -1 none"),
    Column("cpu_next", "i8", "swap_device", "next slot of that cluster to look at"),
    Column("cpu_scan_base", "i8", "swap_device", "where a CPU's scan begins without free cluster"),
)


@cython.final
@cython.cclass
class SwapDevice:
    """One swap area of `size_pages` slots, slot 0 (the header) included."""

    def __init__(
        self, name: str, swap_type: int, size_pages: int, prio: int, backing: int,
        rotational: int, io_device: int, nr_cpus: int, objects: SwapObjects | None = None,
    ) -> None:  # fmt: skip
        self.name = name
        self.type = swap_type
        self.max = size_pages
        self.pages = size_pages - 1
        self.prio = prio
        self.backing = backing  # DISK or ZRAM
        self.rotational = rotational
        self.io_device = io_device  # FolioIo's number; meaningless for ZRAM
        self.inuse_pages = 0
        self.lowest_bit = 1
        self.highest_bit = size_pages - 1
        self.cluster_next = 1  # rotational: where the scan goes on
        self.cluster_nr = 0
        self.nr_clusters = (size_pages + SWAPFILE_CLUSTER - 1) // SWAPFILE_CLUSTER
        self.nr_cached = 0  # == number of cache > 0
        self.nodes = SwapNodes(size_pages, objects)
        for column in COLUMNS:
            rows = size_pages
            if column.name.startswith("cluster"):
                rows = self.nr_clusters
            elif column.name.startswith("cpu"):
                rows = nr_cpus
            setattr(self, column.name, zeros(rows, column.dtype))
        self.swap_map[0] = SWAP_MAP_BAD
        for cpu in range(nr_cpus):
            self.cpu_cluster[cpu] = NO_CLUSTER
            self.cpu_scan_base[cpu] = 1
        self.free_head = NO_CLUSTER
        self.free_tail = NO_CLUSTER
        if not rotational:
            self._list_free_clusters()

    def _list_free_clusters(self) -> None:
        # mm/swapfile.c setup_swap_map_and_extents(), v6.1. MODEL: the kernel starts at a random
        # column; ours is the first.
        self.cluster_used[0] = 1
        past_end = self.nr_clusters * SWAPFILE_CLUSTER - self.max
        self.cluster_used[self.nr_clusters - 1] += past_end
        rows = (self.nr_clusters + SWAP_CLUSTER_COLS - 1) // SWAP_CLUSTER_COLS
        for col in range(SWAP_CLUSTER_COLS):
            for row in range(rows):
                cluster = row * SWAP_CLUSTER_COLS + col
                if cluster < self.nr_clusters and self.cluster_used[cluster] == 0:
                    self._add_free_cluster(cluster)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _add_free_cluster(self, cluster: cython.int) -> cython.void:
        self.cluster_next_free[cluster] = NO_CLUSTER
        if self.free_head == NO_CLUSTER:
            self.free_head = cluster
        else:
            self.cluster_next_free[self.free_tail] = cluster
        self.free_tail = cluster

    @cython.cfunc
    @cython.exceptval(check=False)
    def _use(self, offset: cython.longlong, cpu: cython.int) -> cython.void:
        """Take the free slot `offset` (swap_range_alloc and inc_cluster_info_page)."""
        self.swap_map[offset] = SWAP_HAS_CACHE
        if not self.rotational:
            cluster: cython.int = cython.cast(cython.int, offset // SWAPFILE_CLUSTER)
            if self.cluster_used[cluster] == 0:
                # only the first free cluster is ever entered (scan_swap_map_ssd_cluster_conflict)
                self.free_head = self.cluster_next_free[cluster]
                if self.free_head == NO_CLUSTER:
                    self.free_tail = NO_CLUSTER
            self.cluster_used[cluster] += 1
        if offset == self.lowest_bit:
            self.lowest_bit += 1
        if offset == self.highest_bit:
            self.highest_bit -= 1
        self.inuse_pages += 1
        if self.inuse_pages == self.pages:
            self.lowest_bit = self.max
            self.highest_bit = 0

    @cython.ccall
    def put_back(self, offset: cython.longlong) -> cython.void:
        """The slot is free again (swap_entry_free, swap_range_free)."""
        self.swap_map[offset] = 0
        if self.cache[offset] < 0:
            self.cache[offset] = 0
            self.nodes.empty(offset)
        if not self.rotational:
            cluster: cython.int = cython.cast(cython.int, offset // SWAPFILE_CLUSTER)
            self.cluster_used[cluster] -= 1
            if self.cluster_used[cluster] == 0:
                self._add_free_cluster(cluster)
        if offset < self.lowest_bit:
            self.lowest_bit = offset
        if offset > self.highest_bit:
            self.highest_bit = offset
        self.inuse_pages -= 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _from_cluster(self, cpu: cython.int) -> cython.longlong:
        """Next free slot of the CPU's cluster or of a new one; 0 when no cluster is free."""
        # mm/swapfile.c scan_swap_map_try_ssd_cluster(), v6.1
        while True:
            if self.cpu_cluster[cpu] == NO_CLUSTER:
                if self.free_head == NO_CLUSTER:
                    return 0
                self.cpu_cluster[cpu] = self.free_head
                first: cython.longlong = self.free_head
                self.cpu_next[cpu] = first * SWAPFILE_CLUSTER
            at: cython.longlong = self.cpu_next[cpu]
            end: cython.longlong = self.cpu_cluster[cpu]
            end = (end + 1) * SWAPFILE_CLUSTER
            if end > self.max:
                end = self.max
            while at < end and self.swap_map[at] != 0:
                at += 1
            if at >= end:
                self.cpu_cluster[cpu] = NO_CLUSTER
                continue
            if (
                self.free_head != NO_CLUSTER
                and at // SWAPFILE_CLUSTER != self.free_head
                and self.cluster_used[at // SWAPFILE_CLUSTER] == 0
            ):
                self.cpu_cluster[cpu] = NO_CLUSTER
                continue
            self.cpu_next[cpu] = at + 1
            return at

    @cython.cfunc
    @cython.exceptval(check=False)
    def _scan(self, base: cython.longlong) -> cython.longlong:
        """First free slot behind `base`, then from the lowest free one; 0 when the area is full."""
        offset: cython.longlong = base
        if self.highest_bit == 0:
            return 0
        if offset > self.highest_bit or offset < self.lowest_bit:
            offset = self.lowest_bit
        start: cython.longlong = offset
        while offset <= self.highest_bit:
            if self.swap_map[offset] == 0:
                return offset
            offset += 1
        offset = self.lowest_bit
        while offset < start:
            if self.swap_map[offset] == 0:
                return offset
            offset += 1
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def _from_rotational(self) -> cython.longlong:
        """Next slot of a spinning disk: runs of 512 free slots, searched from the area's start."""
        # mm/swapfile.c scan_swap_map_slots() without cluster_info, v6.1
        offset: cython.longlong = self.cluster_next
        if self.cluster_nr == 0:
            self.cluster_nr = SWAPFILE_CLUSTER - 1
            if self.pages - self.inuse_pages >= SWAPFILE_CLUSTER:
                at: cython.longlong = self.lowest_bit
                last: cython.longlong = at + SWAPFILE_CLUSTER - 1
                while last <= self.highest_bit:
                    if self.swap_map[at] != 0:
                        last = at + SWAPFILE_CLUSTER
                    elif at == last:
                        offset = at - (SWAPFILE_CLUSTER - 1)
                        break
                    at += 1
        else:
            self.cluster_nr -= 1
        return self._scan(offset)

    @cython.ccall
    @cython.exceptval(check=False)
    def take_slots(
        self, slots: I8, base: cython.int, goal: cython.int, cpu: cython.int
    ) -> cython.int:
        """Take up to `goal` free slots into slots[base ..]; how many."""
        # mm/swapfile.c scan_swap_map_slots(), v6.1
        found: cython.int = 0
        ration: cython.int = LATENCY_LIMIT
        offset: cython.longlong = 0
        while found < goal and self.highest_bit > 0:
            if self.rotational:
                if found > 0 and (
                    self.cluster_nr == 0 or offset + 1 >= self.max or self.swap_map[offset + 1] != 0
                ):
                    break
                offset = self._from_rotational()
            else:
                offset = self._from_cluster(cpu)
                if offset == 0:
                    # no free cluster: look on, a little way only once something was found
                    offset = self._scan(self.cpu_scan_base[cpu])
                    if found > 0 and offset - self.cpu_scan_base[cpu] > ration:
                        break
                    ration -= 1
            if offset == 0:
                break
            self._use(offset, cpu)
            self.cpu_scan_base[cpu] = offset + 1
            self.cluster_next = offset + 1
            slots[base + found] = offset
            found += 1
        return found

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = "inuse_pages lowest_bit highest_bit cluster_next cluster_nr nr_cached free_head"
        found: list[tuple[str, object]] = [(name, getattr(self, name)) for name in names.split()]
        found += [("nodes." + name, value) for name, value in self.nodes.columns()]
        return found + [(column.name, getattr(self, column.name)) for column in COLUMNS]

    def verify(self) -> None:
        """inuse_pages and the clusters' counts are what the map says; cached slots are marked."""
        used = cached = 0
        per_cluster = [0] * self.nr_clusters
        offset: cython.longlong
        for offset in range(1, self.max):
            if self.swap_map[offset]:
                used += 1
                per_cluster[offset // SWAPFILE_CLUSTER] += 1
            if self.cache[offset] > 0:
                cached += 1
                if not self.swap_map[offset] & SWAP_HAS_CACHE:
                    raise InternalError(
                        f"swap_device.verify: slot {offset} caches frame {self.cache[offset] - 1}, "
                        f"its map is {self.swap_map[offset]:#x}"
                    )
        for what, found, kept in (
            ("inuse_pages", used, self.inuse_pages),
            ("nr_cached", cached, self.nr_cached),
        ):
            if found != kept:
                raise InternalError(f"swap_device.verify: {what} is {kept}, slots say {found}")
        if self.rotational:
            return
        per_cluster[0] += 1
        per_cluster[self.nr_clusters - 1] += self.nr_clusters * SWAPFILE_CLUSTER - self.max
        for cluster, count in enumerate(per_cluster):
            if count != self.cluster_used[cluster]:
                raise InternalError(
                    f"swap_device.verify: cluster {cluster} counts {self.cluster_used[cluster]}, "
                    f"slots say {count}"
                )
