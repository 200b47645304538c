"""Owns one compaction's control block, and what a zone remembers between compactions: where the
scanners were, and which page blocks held nothing.

Imports page. Has never heard of moving pages.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.page.flags import MIGRATE_MOVABLE, PAGEBLOCK_PAGES, PAGEBLOCK_SHIFT, PG_BUDDY, PG_LRU
from memtwin.page.mem_map import MemMap
from memtwin.page.zone import Zone, Zones
from memtwin.reclaim.compact_constants import COMPACT_CLUSTER_MAX, MIGRATE_ASYNC
from memtwin.reclaim.constants import PAGE_ALLOC_COSTLY_ORDER

COLUMNS = (
    Column("skip", "i1", "compaction", "1: nothing to isolate was found in this page block lately"),
    Column("cached_free_pfn", "i4", "compaction", "where a zone's free scanner starts next; 0 top"),
    Column("cached_migrate_pfn", "i4", "compaction", "where its migration scanner starts, async"),
    Column("cached_sync_pfn", "i4", "compaction", "the same for modes that may block"),
    Column("init_migrate_pfn", "i4", "compaction", "lowest start: a scan from here sees it all"),
    Column("init_free_pfn", "i4", "compaction", "highest start of the free scanner"),
    Column("blockskip_flush", "i1", "compaction", "1: forget `skip` when kswapd goes to sleep"),
)


@cython.final
@cython.cclass
class CompactControl:
    """One compaction of a zone (mm/internal.h struct compact_control, v6.1)."""

    def __init__(self, zone: Zone, order: int, mode: int, migratetype: int) -> None:
        self.zone = zone
        self.order = order  # WHOLE_ZONES: until the scanners meet
        self.mode = mode
        self.migratetype = migratetype
        self.direct_compaction = 0
        self.whole_zone = 0
        self.ignore_skip_hint = 0
        self.ignore_block_suitable = 0
        self.rescan = 0
        self.search_order = order
        self.fast_search_fail = 0
        self.migrate_pfn = 0
        self.free_pfn = 0
        self.fast_start_pfn = 0  # -1: used up
        self.nr_migratepages = 0
        self.nr_freepages = 0
        self.total_migrate_scanned = 0
        self.total_free_scanned = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def scan_limit(self) -> cython.int:
        """How many free blocks a quick search looks at (freelist_scan_limit())."""
        shift: cython.int = self.fast_search_fail if self.fast_search_fail < 31 else 31
        return (COMPACT_CLUSTER_MAX >> shift) + 1


@cython.final
@cython.cclass
class CompactHints:
    """The memory of compaction, of all zones."""

    def __init__(self, mem: MemMap, zones: Zones) -> None:
        self.mem = mem
        self.zones = zones
        self.skip = zeros((mem.nr_frames >> PAGEBLOCK_SHIFT) + 1, "i1")
        self.cached_free_pfn = zeros(zones.nr_zones, "i4")
        self.cached_migrate_pfn = zeros(zones.nr_zones, "i4")
        self.cached_sync_pfn = zeros(zones.nr_zones, "i4")
        self.init_migrate_pfn = zeros(zones.nr_zones, "i4")
        self.init_free_pfn = zeros(zones.nr_zones, "i4")
        self.blockskip_flush = zeros(zones.nr_zones, "i1")

    @cython.cfunc
    @cython.exceptval(check=False)
    def update_cached_migrate(self, cc: CompactControl, pfn: cython.int) -> cython.void:
        """The page block of `pfn` need not be scanned again."""
        at: cython.int = cc.zone.zone_id
        pfn = (pfn & ~(PAGEBLOCK_PAGES - 1)) + PAGEBLOCK_PAGES
        if pfn > self.cached_migrate_pfn[at]:
            self.cached_migrate_pfn[at] = pfn
        if cc.mode != MIGRATE_ASYNC and pfn > self.cached_sync_pfn[at]:
            self.cached_sync_pfn[at] = pfn

    @cython.cfunc
    @cython.exceptval(check=False)
    def reset_cached_positions(self, zone: Zone) -> cython.void:
        """The next compaction starts from both ends."""
        self.cached_migrate_pfn[zone.zone_id] = zone.start_pfn
        self.cached_sync_pfn[zone.zone_id] = zone.start_pfn
        self.cached_free_pfn[zone.zone_id] = (zone.end_pfn - 1) & ~(PAGEBLOCK_PAGES - 1)

    @cython.cfunc
    def in_zone(self, start_pfn: cython.int, end_pfn: cython.int, zone: Zone) -> cython.int:
        """1 when both ends of a stretch belong to the zone (pageblock_pfn_to_page())."""
        if end_pfn > self.mem.nr_frames:
            return 0
        if self.zones.zone_of(start_pfn) != zone.zone_id:
            return 0
        return self.zones.zone_of(end_pfn - 1) == zone.zone_id

    @cython.ccall
    def reset_isolation_suitable(self, zone_id: cython.int) -> cython.int:
        """Forget which page blocks to skip where something to isolate is seen again; 0.

        mm/compaction.c __reset_isolation_suitable(), v6.1.
        """
        zone: Zone = self.zones.zones[zone_id]
        migrate_pfn: cython.int = zone.start_pfn
        free_pfn: cython.int = zone.end_pfn - 1
        lowest: cython.int = free_pfn
        highest: cython.int = migrate_pfn
        source_set: cython.int = 0
        free_set: cython.int = 0
        self.blockskip_flush[zone_id] = 0
        while migrate_pfn < free_pfn:
            if self.reset_isolation_pfn(zone, migrate_pfn, 1, source_set) and migrate_pfn < lowest:
                source_set = 1
                lowest = migrate_pfn
                self.init_migrate_pfn[zone_id] = lowest
                self.cached_migrate_pfn[zone_id] = lowest
                self.cached_sync_pfn[zone_id] = lowest
            if self.reset_isolation_pfn(zone, free_pfn, free_set, 1) and free_pfn > highest:
                free_set = 1
                highest = free_pfn
                self.init_free_pfn[zone_id] = highest
                self.cached_free_pfn[zone_id] = highest
            migrate_pfn += PAGEBLOCK_PAGES
            free_pfn -= PAGEBLOCK_PAGES
        if lowest >= highest:
            self.cached_migrate_pfn[zone_id] = migrate_pfn
            self.cached_sync_pfn[zone_id] = migrate_pfn
            self.cached_free_pfn[zone_id] = free_pfn
        return 0

    @cython.cfunc
    def reset_isolation_pfn(
        self, zone: Zone, pfn: cython.int, source: cython.int, target: cython.int
    ) -> cython.int:
        """1 when a sample of the page block shows something to isolate; its mark goes then."""
        block: cython.int = pfn >> PAGEBLOCK_SHIFT
        if self.zones.zone_of(pfn) != zone.zone_id:
            return 0
        if source and target and not self.skip[block]:
            return 1
        if not source and target and self.zones.block_type[block] != MIGRATE_MOVABLE:
            return 0
        at: cython.int = max(block << PAGEBLOCK_SHIFT, zone.start_pfn)
        end: cython.int = min((block + 1) << PAGEBLOCK_SHIFT, zone.end_pfn)
        while at < end:
            flags: cython.longlong = self.mem.flags[at]
            if (source and flags & PG_LRU) or (target and flags & PG_BUDDY):
                self.skip[block] = 0
                return 1
            at += 1 << PAGE_ALLOC_COSTLY_ORDER
        return 0

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of all state, for digests."""
        return [(column.name, getattr(self, column.name)) for column in COLUMNS]
