"""Owns what a zone is, where frames belong, page block types, and the order zones are tried in.

Imports columns, errors, gfp, flags and vmstat_items. Has never heard of free lists or of who
allocates.

A zone's number is node * nr_types + zone_idx, empty zones included, so that a number needs no
search. `zone_idx` is the architecture's own: DMA, DMA32, Normal, Movable, Device on 64 bits; DMA,
Normal, HighMem, Movable on 32 (include/linux/mmzone.h enum zone_type, v6.12).
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.errors import InternalError
from memtwin.page.flags import MIGRATE_TYPES, PAGEBLOCK_SHIFT
from memtwin.page.gfp import GFP_DMA, GFP_DMA32, GFP_HIGHMEM, GFP_MOVABLE_BIT
from memtwin.page.vmstat_items import (
    NR_ZONE_ITEMS,
    PGALLOC_DEVICE,
    PGALLOC_DMA,
    PGALLOC_DMA32,
    PGALLOC_MOVABLE,
    PGALLOC_NORMAL,
)

COLUMNS = (
    Column(
        "zone_of_block",
        "i1",
        "boot_layout",
        "zone number of each page block; -1 none, -2 more than one",
    ),
    Column("block_type", "i1", "buddy, mobility", "migrate type of each page block (MIGRATE_*)"),
    Column(
        "zonelist", "i4", "boot_layout", "zones to try, per (node, highest zone_idx), ended by -1"
    ),
    Column(
        "lowmem_reserve", "i8", "watermark", "pages a zone keeps from requests for higher zones"
    ),
)
ZONES_64 = ("DMA", "DMA32", "Normal", "Movable", "Device")
ZONES_32 = ("DMA", "Normal", "HighMem", "Movable")
MAX_NR_ZONES = 5
NO_ZONE, MIXED_ZONES = -1, -2

# MODEL: a 32-bit kernel counts pgalloc_high; the twin's counters have no such row, and
# pgalloc_dma32 is free there because such a kernel has no DMA32.
PGALLOC_OF = {
    "DMA": PGALLOC_DMA,
    "DMA32": PGALLOC_DMA32,
    "Normal": PGALLOC_NORMAL,
    "HighMem": PGALLOC_DMA32,
    "Movable": PGALLOC_MOVABLE,
    "Device": PGALLOC_DEVICE,
}


@cython.final
@cython.cclass
class Zone:
    """One zone: its frames, its watermarks, and the state the allocator keeps for it."""

    def __init__(self, zone_id: int, node: int, zone_idx: int, name: str) -> None:
        self.zone_id = zone_id
        self.node = node
        self.zone_idx = zone_idx
        self.name = name
        self.pgalloc_event = PGALLOC_OF[name]
        self.stat_base = zone_id * NR_ZONE_ITEMS  # first row of this zone in VmStat.zone_stat
        self.start_pfn = 0
        self.end_pfn = 0
        self.spanned_pages = 0
        self.present_pages = 0
        self.managed_pages = 0
        self.cma_pages = 0
        self.wmark_min = 0
        self.wmark_low = 0
        self.wmark_high = 0
        self.wmark_promo = 0
        self.watermark_boost = 0
        self.boosted = 0  # ZONE_BOOSTED_WATERMARK: wake kswapd at the next allocation
        self.below_high = 0  # ZONE_BELOW_HIGH (6.12)
        self.reclaim_active = 0  # ZONE_RECLAIM_ACTIVE: kswapd is at work; reclaim/kswapd writes it
        self.nr_reserved_highatomic = 0
        self.nr_free_highatomic = 0
        self.lowmem_reserve = zeros(MAX_NR_ZONES, "i8")
        self.pageset_high_min = 0  # 6.1: pcp->high
        self.pageset_high_max = 0
        self.pageset_batch = 1
        # Free blocks of MAX_ORDER not threaded yet: the tail of the list of movable blocks.
        self.deferred_start_pfn = 0
        self.deferred_end_pfn = 0

    def is_highmem(self) -> bool:
        """Whether the kernel has no permanent mapping of this zone."""
        return self.name == "HighMem"

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = [
            "start_pfn",
            "end_pfn",
            "spanned_pages",
            "present_pages",
            "managed_pages",
            "cma_pages",
            "wmark_min",
            "wmark_low",
            "wmark_high",
            "wmark_promo",
            "watermark_boost",
            "boosted",
            "below_high",
            "reclaim_active",
            "nr_reserved_highatomic",
            "nr_free_highatomic",
            "pageset_high_min",
            "pageset_high_max",
            "pageset_batch",
            "deferred_start_pfn",
            "deferred_end_pfn",
        ]
        found: list[tuple[str, object]] = [(name, getattr(self, name)) for name in names]
        return [*found, ("lowmem_reserve", self.lowmem_reserve)]


@cython.final
@cython.cclass
class Zones:
    """All zones of a machine, and the map from frames to them."""

    def __init__(self, nr_frames: int, nr_nodes: int, names: tuple[str, ...]) -> None:
        self.nr_frames = nr_frames
        self.nr_nodes = nr_nodes
        self.nr_types = len(names)
        self.nr_zones = nr_nodes * len(names)
        self.names = names
        self.zones = [
            Zone(node * len(names) + idx, node, idx, name)
            for node in range(nr_nodes)
            for idx, name in enumerate(names)
        ]
        nr_blocks = (nr_frames >> PAGEBLOCK_SHIFT) + 1
        self.zone_of_block = zeros(nr_blocks, "i1")
        self.block_type = zeros(nr_blocks, "i1")
        self._stride = self.nr_zones + 1
        self.zonelist = zeros(nr_nodes * self.nr_types * self._stride, "i4")
        self.totalreserve_pages = 0
        self.node_totalreserve_pages = zeros(nr_nodes, "i8")
        self.idx_dma = names.index("DMA")
        self.idx_normal = names.index("Normal")
        self.idx_dma32 = names.index("DMA32") if "DMA32" in names else self.idx_normal
        self.idx_high = names.index("HighMem") if "HighMem" in names else self.idx_normal
        self.idx_movable = names.index("Movable")

    @cython.ccall
    @cython.exceptval(check=False)
    def zone_of(self, pfn: cython.int) -> cython.int:
        """Zone number of frame `pfn`; -1 for a hole."""
        zone_id: cython.int = self.zone_of_block[pfn >> PAGEBLOCK_SHIFT]
        if zone_id < -1:  # MIXED_ZONES
            return self._zone_of_mixed(pfn)
        return zone_id

    @cython.cfunc
    @cython.exceptval(check=False)
    def _zone_of_mixed(self, pfn: cython.int) -> cython.int:
        zone_id: cython.int
        zone: Zone
        for zone_id in range(self.nr_zones):
            zone = self.zones[zone_id]
            if zone.start_pfn <= pfn < zone.end_pfn:
                return zone_id
        return NO_ZONE

    @cython.ccall
    def zone(self, zone_id: cython.int) -> Zone:
        """The zone numbered `zone_id`."""
        found: Zone = self.zones[zone_id]
        return found

    @cython.ccall
    @cython.exceptval(check=False)
    def gfp_zone(self, gfp: cython.int) -> cython.int:
        """Highest zone_idx that a request may be served from."""
        # include/linux/gfp.h gfp_zone(), v6.12
        if gfp & GFP_DMA:
            return self.idx_dma
        if gfp & GFP_DMA32:
            return self.idx_dma32
        if gfp & GFP_HIGHMEM:
            return self.idx_movable if gfp & GFP_MOVABLE_BIT else self.idx_high
        return self.idx_normal

    @cython.cfunc
    @cython.exceptval(check=False)
    def zonelist_row(self, node: cython.int, highest_zoneidx: cython.int) -> cython.int:
        """Index in `zonelist` of the first zone that `node` tries for a request."""
        return (node * self.nr_types + highest_zoneidx) * self._stride

    def zones_tried(self, node: int, highest_zoneidx: int) -> list[int]:
        """Zone numbers in the order `node` tries them."""
        at = (node * self.nr_types + highest_zoneidx) * (self.nr_zones + 1)
        found: list[int] = []
        while self.zonelist[at] >= 0:
            found.append(self.zonelist[at])
            at += 1
        return found

    def set_zonelists(self, distances: list[list[int]]) -> None:
        """Fill `zonelist`: nearest node first, within a node the highest zone first."""
        # mm/page_alloc.c build_zonelists(), v6.12; of equally near nodes the one after this one in
        # number comes first
        # DIFFERS: no node_load; equally near nodes are not taken in turn by different nodes; which
        # remote node fills first on machines of 3 nodes and more
        for node in range(self.nr_nodes):
            count = self.nr_nodes
            order = sorted(range(count), key=lambda to: (distances[node][to], (to - node) % count))
            for highest in range(self.nr_types):
                at = (node * self.nr_types + highest) * (self.nr_zones + 1)
                for other in order:
                    for idx in range(highest, -1, -1):
                        if self.zones[other * self.nr_types + idx].managed_pages:
                            self.zonelist[at] = other * self.nr_types + idx
                            at += 1
                self.zonelist[at] = -1

    def populated(self) -> list[Zone]:
        """Zones that have frames, in order of their numbers."""
        return [zone for zone in self.zones if zone.present_pages]

    def verify(self) -> None:
        """Raise InternalError when a page block's type or zone is none that exists."""
        for zone in self.populated():
            for block in range(
                zone.start_pfn >> PAGEBLOCK_SHIFT, (zone.end_pfn - 1) >> PAGEBLOCK_SHIFT
            ):
                kind, owner = self.block_type[block], self.zone_of_block[block]
                if not 0 <= kind < MIGRATE_TYPES or owner not in (
                    zone.zone_id,
                    MIXED_ZONES,
                    NO_ZONE,
                ):
                    raise InternalError(
                        f"Zones.verify: page block {block} has type {kind} and zone {owner},"
                        f" but lies in zone {zone.zone_id} ({zone.name})"
                    )

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of all state, for digests."""
        found: list[tuple[str, object]] = [
            ("zone_of_block", self.zone_of_block),
            ("block_type", self.block_type),
            ("zonelist", self.zonelist),
            ("totalreserve_pages", self.totalreserve_pages),
            ("node_totalreserve_pages", self.node_totalreserve_pages),
        ]
        for zone in self.zones:
            found += [(f"zone{zone.zone_id}.{name}", value) for name, value in zone.columns()]
        return found
