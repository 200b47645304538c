"""Owns what a machine's memory looks like when the twin begins: memory map to zones, and zones to
free lists.

Imports the rest of page/. Has never heard of /proc: numbers come in as records. Plain Python, run
once.

Frames that are neither free nor on a per-CPU list were taken by booting. Their rows stay untouched
(flags 0, refcount 0), so they cost nothing; `BootPages` lists them and hands them out as the pages
that slabs, page tables and processes had at the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from memtwin.columns import array
from memtwin.errors import UserError
from memtwin.page.flags import (
    MAX_ORDER,
    MIGRATE_MOVABLE,
    PAGEBLOCK_SHIFT,
)
from memtwin.page.gfp import FPI_TO_TAIL
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.zone import MIXED_ZONES, NO_ZONE, ZONES_32, ZONES_64, Zone, Zones

MAX_DMA_PFN = 16 << 8  # arch/x86/include/asm/dma.h MAX_DMA_PFN, v6.12: 16 MiB
MAX_DMA32_PFN = 4 << 18  # the same, MAX_DMA32_PFN: 4 GiB
MAX_LOWMEM_PFN_32 = 0x36FFE  # arch/x86/mm/init_32.c MAXMEM_PFN with PAE and 128 MiB vmalloc, v6.1


@dataclass(frozen=True)
class MemoryRange:
    """Usable frames start_pfn .. end_pfn - 1 on a node."""

    start_pfn: int
    end_pfn: int
    node: int = 0


class BootPages:
    """Frames of each zone that booting took: ranges, handed out from the highest down."""

    def __init__(self, nr_zones: int) -> None:
        self.ranges: list[list[tuple[int, int]]] = [[] for _ in range(nr_zones)]

    def count(self, zone_id: int) -> int:
        """Frames left in a zone."""
        return sum(end - start for start, end in self.ranges[zone_id])

    def take(self, mem_map: MemMap, zone_id: int, order: int = 0) -> int:
        """A boot-time block as an allocated one: refcount 1, flags 0; -1 when none is left.

        Order-0 frames come from the highest range; a larger block from the highest that holds one
        aligned.
        """
        ranges = self.ranges[zone_id]
        size_pages = 1 << order
        for i in range(len(ranges) - 1, -1, -1):
            start, end = ranges[i]
            pfn = (end - size_pages) & ~(size_pages - 1)
            if pfn < start:
                continue
            ranges[i : i + 1] = [r for r in ((start, pfn), (pfn + size_pages, end)) if r[0] < r[1]]
            mem_map.refcount[pfn] = 1
            mem_map.order[pfn] = order
            return pfn
        return -1

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [
            (f"boot_pages{zone_id}", [pfn for pair in ranges for pfn in pair])
            for zone_id, ranges in enumerate(self.ranges)
        ]


def ranges_from_iomem(text: str) -> list[MemoryRange]:
    """Usable ranges of /proc/iomem's `System RAM` lines, all on node 0.

    >>> ranges_from_iomem("00001000-0009fbff : System RAM")
    [MemoryRange(start_pfn=1, end_pfn=159, node=0)]
    """
    found = []
    for line in text.splitlines():
        span, _, name = line.partition(" : ")
        if name.strip() == "System RAM" and not line.startswith(" "):
            first, last = (int(part, 16) for part in span.split("-"))
            if last > first:
                # only whole pages count: mm/mm_init.c, for_each_mem_pfn_range(), v6.12
                found.append(MemoryRange((first + 4095) >> 12, (last + 1) >> 12))
    return found


def build_zones(
    memory_ranges: Sequence[MemoryRange], kernel: int, nr_cpus: int, nodes: int, bits: int = 64
) -> Zones:
    """Zones of a memory map with spanned, present and an estimate of managed pages.

    `nodes` is the number of nodes; `bits` 32 makes Normal and HighMem. Raises UserError when the
    map has no frames or ranges overlap.
    """
    ranges = sorted(memory_ranges, key=lambda r: r.start_pfn)
    if not ranges or any(a.end_pfn > b.start_pfn for a, b in pairwise(ranges)):
        raise UserError(
            "memory map: found no ranges or ranges that overlap, allowed are disjoint ones"
        )
    if ranges[-1].end_pfn >= 1 << 31:
        raise UserError("memory map: found frames beyond 8 TiB, allowed is less")
    zones = Zones(ranges[-1].end_pfn, nodes, ZONES_64 if bits == 64 else ZONES_32)
    if bits == 64:
        limits = [(0, MAX_DMA_PFN), (MAX_DMA_PFN, MAX_DMA32_PFN), (MAX_DMA32_PFN, 1 << 31)]
    else:
        limits = [(0, MAX_DMA_PFN), (MAX_DMA_PFN, MAX_LOWMEM_PFN_32), (MAX_LOWMEM_PFN_32, 1 << 31)]
    array(zones.zone_of_block)[:] = NO_ZONE
    for node in range(nodes):
        own = [r for r in ranges if r.node == node]
        for idx, (low, high) in enumerate(limits):
            if own:
                _lay_out(zones, zones.zones[node * zones.nr_types + idx], own, low, high)
    zones.set_zonelists(node_distances(nodes))
    return zones


def node_distances(nodes: int) -> list[list[int]]:
    """Distances of a machine whose nodes are all equally far apart."""
    # include/linux/topology.h LOCAL_DISTANCE and REMOTE_DISTANCE, v6.12
    return [[10 if a == b else 20 for b in range(nodes)] for a in range(nodes)]


def _lay_out(zones: Zones, zone: Zone, own: list[MemoryRange], low: int, high: int) -> None:
    # mm/mm_init.c zone_spanned_pages_in_node(), zone_absent_pages_in_node(), v6.12
    start = min(max(own[0].start_pfn, low), high)
    end = min(max(own[-1].end_pfn, low), high)
    present = sum(max(min(r.end_pfn, end) - max(r.start_pfn, start), 0) for r in own)
    if not present:
        return
    zone.start_pfn, zone.end_pfn = start, end
    zone.spanned_pages, zone.present_pages = end - start, present
    # MODEL: without a real start, the struct pages (64 bytes a frame) are what booting reserves
    zone.managed_pages = present - present // 64
    for first_pfn, last_pfn in presence(zone, own):
        blocks = slice(first_pfn >> PAGEBLOCK_SHIFT, ((last_pfn - 1) >> PAGEBLOCK_SHIFT) + 1)
        owners = array(zones.zone_of_block)[blocks]
        shared = (owners != NO_ZONE) & (owners != zone.zone_id)
        owners[:] = zone.zone_id
        owners[shared] = MIXED_ZONES
        # mm/mm_init.c memmap_init_range(), v6.12
        array(zones.block_type)[blocks] = MIGRATE_MOVABLE


def presence(zone: Zone, ranges: Sequence[MemoryRange]) -> list[tuple[int, int]]:
    """The usable (start_pfn, end_pfn) parts of a zone, in order."""
    parts = [
        (max(r.start_pfn, zone.start_pfn), min(r.end_pfn, zone.end_pfn))
        for r in ranges
        if r.node == zone.node
    ]
    return sorted(part for part in parts if part[0] < part[1])


def aligned_blocks(start_pfn: int, end_pfn: int) -> list[tuple[int, int]]:
    """(pfn, order) of the largest aligned blocks that make up a range, in order.

    >>> aligned_blocks(1, 8)
    [(1, 0), (2, 1), (4, 2)]
    """
    # mm/memblock.c __free_pages_memory(), v6.12
    found = []
    while start_pfn < end_pfn:
        order = MAX_ORDER
        if start_pfn:
            order = min(MAX_ORDER, (start_pfn & -start_pfn).bit_length() - 1)
        while start_pfn + (1 << order) > end_pfn:
            order -= 1
        found.append((start_pfn, order))
        start_pfn += 1 << order
    return found


def free_all(
    page_alloc: PageAlloc,
    boot: BootPages,
    zone: Zone,
    parts: list[tuple[int, int]],
    free_pages: int,
) -> None:
    """Free all of a zone but its first frames, so that `free_pages` are free; no real start known.

    The longest run of MAX_ORDER blocks stays unthreaded (deferred), so a large zone costs nothing.
    """
    taken = sum(end - start for start, end in parts) - free_pages
    if taken < 0:
        raise UserError(
            f"zone {zone.name}: found {free_pages} free pages, which is more than it has"
        )
    left: list[tuple[int, int]] = []
    for start, end in parts:
        skip = min(taken, end - start)
        taken -= skip
        if skip:
            boot.ranges[zone.zone_id].append((start, start + skip))
        if start + skip < end:
            left.append((start + skip, end))
    size_pages = 1 << MAX_ORDER
    longest = (0, 0)
    for start, end in left:
        first, last = -(-start // size_pages) * size_pages, end // size_pages * size_pages
        if last - first > longest[1] - longest[0]:
            longest = (first, last)
    for start, end in left:
        pieces = [(start, end)]
        if start <= longest[0] < longest[1] <= end:
            pieces = [(start, longest[0]), (longest[1], end)]
        for first, last in pieces:
            for pfn, order in aligned_blocks(first, last):
                page_alloc.buddy.return_block(zone, pfn, order, MIGRATE_MOVABLE, FPI_TO_TAIL)
    page_alloc.buddy.defer(zone, longest[0], longest[1])


def boot_page_alloc(
    memory_ranges: Sequence[MemoryRange],
    kernel: int,
    nr_cpus: int = 1,
    nodes: int = 1,
    bits: int = 64,
    tunables: Tunables | None = None,
) -> tuple[PageAlloc, BootPages]:
    """A machine's allocator with all managed pages free and watermarks worked out.

    >>> page_alloc, boot = boot_page_alloc([MemoryRange(1, 159), MemoryRange(256, 65536)], 601)
    >>> [zone.name for zone in page_alloc.zones.populated()]
    ['DMA', 'DMA32']
    """
    zones = build_zones(memory_ranges, kernel, nr_cpus, nodes, bits)
    tunables = tunables or Tunables(kernel, nr_cpus)
    vmstat = VmStat(zones.nr_zones, nodes)
    cpu_nodes = [cpu * nodes // nr_cpus for cpu in range(nr_cpus)]
    page_alloc = PageAlloc(MemMap(zones.nr_frames), zones, vmstat, tunables, cpu_nodes)
    boot = BootPages(zones.nr_zones)
    for zone in zones.populated():
        free_all(page_alloc, boot, zone, presence(zone, memory_ranges), zone.managed_pages)
    if tunables.min_free_kbytes < 0:
        tunables.min_free_kbytes = page_alloc.watermarks.default_min_free_kbytes(
            tunables.thp_enabled
        )
    page_alloc.setup_per_zone_wmarks()
    page_alloc.setup_per_zone_lowmem_reserve()
    page_alloc.set_cpu(0)
    return page_alloc, boot
