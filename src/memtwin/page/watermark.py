"""Owns the watermarks: how the kernel works them out, and whether a zone is above one.

Imports buddy, zone, vmstat and tunables. Has never heard of who asks or what happens when the
answer is no.
"""

from __future__ import annotations

import math

import cython

from memtwin.page.buddy import Buddy
from memtwin.page.flags import (
    LRU_ACTIVE_FILE,
    LRU_INACTIVE_FILE,
    MAX_ORDER,
    MIGRATE_CMA,
    MIGRATE_HIGHATOMIC,
    MIGRATE_PCPTYPES,
    NR_PAGE_ORDERS,
    PAGEBLOCK_PAGES,
)
from memtwin.page.gfp import (
    ALLOC_CMA,
    ALLOC_HARDER,
    ALLOC_HIGH,
    ALLOC_HIGHATOMIC,
    ALLOC_KSWAPD,
    ALLOC_OOM,
    ALLOC_RESERVES,
    ALLOC_WMARK_HIGH,
    ALLOC_WMARK_LOW,
    ALLOC_WMARK_MASK,
    ALLOC_WMARK_MIN,
    GFP_DIRECT_RECLAIM,
    GFP_HIGH,
    GFP_KSWAPD_RECLAIM,
    GFP_MOVABLE_BIT,
    GFP_NOMEMALLOC,
)
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat_items import (
    NR_FREE_CMA,
    NR_FREE_PAGES,
    NR_KERNEL_MISC_RECLAIMABLE,
    NR_SLAB_RECLAIMABLE,
)
from memtwin.page.zone import Zone

SWAP_CLUSTER_MAX = 32


@cython.final
@cython.cclass
class Watermarks:
    """Works out and checks the watermarks of all zones."""

    def __init__(self, buddy: Buddy, tunables: Tunables) -> None:
        self.buddy = buddy
        self.zones = buddy.zones
        self.tunables = tunables

    @cython.cfunc
    @cython.exceptval(check=False)
    def wmark_pages(self, zone: Zone, which: cython.int) -> cython.longlong:
        """The watermark ALLOC_WMARK_* with the boost in force."""
        # include/linux/mmzone.h wmark_pages(), v6.12
        mark: cython.longlong = zone.wmark_min
        if which == ALLOC_WMARK_LOW:
            mark = zone.wmark_low
        elif which == ALLOC_WMARK_HIGH:
            mark = zone.wmark_high
        return mark + zone.watermark_boost

    @cython.cfunc
    @cython.exceptval(check=False)
    def unusable_free(
        self, zone: Zone, order: cython.int, alloc_flags: cython.int
    ) -> cython.longlong:
        """Free pages that such a request may not take."""
        # mm/page_alloc.c __zone_watermark_unusable_free(), v6.1 and v6.12
        unusable: cython.longlong = (1 << order) - 1
        if not alloc_flags & ALLOC_RESERVES:
            if self.buddy.kernel >= 612:
                unusable += zone.nr_free_highatomic
            else:
                unusable += zone.nr_reserved_highatomic
        if not alloc_flags & ALLOC_CMA:
            unusable += self.buddy.vmstat.zone_stat[zone.stat_base + NR_FREE_CMA]
        return unusable

    @cython.cfunc
    @cython.exceptval(check=False)
    def watermark_ok(
        self,
        zone: Zone,
        order: cython.int,
        mark: cython.longlong,
        highest_zoneidx: cython.int,
        alloc_flags: cython.int,
        free_pages: cython.longlong,
    ) -> cython.int:
        """1 when `free_pages` leave the zone above `mark` and a block of `order` is free."""
        # mm/page_alloc.c __zone_watermark_ok(), v6.12
        least: cython.longlong = mark
        free_pages -= self.unusable_free(zone, order, alloc_flags)
        if alloc_flags & ALLOC_RESERVES:
            if alloc_flags & ALLOC_HIGH:
                least -= least // 2
                if alloc_flags & ALLOC_HARDER:
                    least -= least // 4
            if alloc_flags & ALLOC_OOM:
                least -= least // 2
        if free_pages <= least + zone.lowmem_reserve[highest_zoneidx]:
            return 0
        if order == 0:
            return 1
        return self.has_block(zone, order, alloc_flags)

    @cython.cfunc
    @cython.exceptval(check=False)
    def has_block(self, zone: Zone, order: cython.int, alloc_flags: cython.int) -> cython.int:
        """1 when a block of at least `order` is free that such a request may take."""
        # mm/page_alloc.c __zone_watermark_ok(), v6.12
        o: cython.int
        migratetype: cython.int
        for o in range(order, MAX_ORDER + 1):
            if self.buddy.nr_free[zone.zone_id * NR_PAGE_ORDERS + o] == 0:
                continue
            for migratetype in range(MIGRATE_PCPTYPES):
                if not self.buddy.is_empty(zone.zone_id, o, migratetype):
                    return 1
            if alloc_flags & ALLOC_CMA and not self.buddy.is_empty(zone.zone_id, o, MIGRATE_CMA):
                return 1
            if alloc_flags & (ALLOC_HIGHATOMIC | ALLOC_OOM) and not self.buddy.is_empty(
                zone.zone_id, o, MIGRATE_HIGHATOMIC
            ):
                return 1
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def watermark_fast(
        self,
        zone: Zone,
        order: cython.int,
        mark: cython.longlong,
        highest_zoneidx: cython.int,
        alloc_flags: cython.int,
        gfp: cython.int,
    ) -> cython.int:
        """The check of the allocation path."""
        # mm/page_alloc.c zone_watermark_fast(), v6.12
        free_pages: cython.longlong = self.buddy.vmstat.zone_stat[zone.stat_base + NR_FREE_PAGES]
        usable: cython.longlong
        if order == 0:
            usable = free_pages - min(free_pages, self.unusable_free(zone, 0, alloc_flags))
            if usable > mark + zone.lowmem_reserve[highest_zoneidx]:
                return 1
        if self.watermark_ok(zone, order, mark, highest_zoneidx, alloc_flags, free_pages):
            return 1
        if order == 0 and zone.watermark_boost and alloc_flags & ALLOC_WMARK_MASK == 0:
            # v6.1 asks for __GFP_ATOMIC, v6.12 for ALLOC_MIN_RESERVE
            if gfp & GFP_HIGH and (self.buddy.kernel >= 612 or not gfp & GFP_DIRECT_RECLAIM):
                return self.watermark_ok(
                    zone, order, zone.wmark_min, highest_zoneidx, alloc_flags, free_pages
                )
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def cma_flag(self, gfp: cython.int) -> cython.int:
        """ALLOC_CMA when such a request may be served from CMA areas, else 0."""
        # mm/page_alloc.c gfp_to_alloc_flags_cma(), v6.12
        return ALLOC_CMA if gfp & GFP_MOVABLE_BIT else 0

    @cython.ccall
    @cython.exceptval(check=False)
    def gfp_to_alloc_flags(self, gfp: cython.int, order: cython.int) -> cython.int:
        """Allocation flags of the slow path, which begins at the min watermark."""
        # mm/page_alloc.c gfp_to_alloc_flags(), v6.12
        alloc_flags: cython.int = ALLOC_WMARK_MIN | self.cma_flag(gfp)
        if gfp & GFP_HIGH:
            alloc_flags |= ALLOC_HIGH
        if gfp & GFP_KSWAPD_RECLAIM:
            alloc_flags |= ALLOC_KSWAPD
        if not gfp & (GFP_DIRECT_RECLAIM | GFP_NOMEMALLOC):
            alloc_flags |= ALLOC_HARDER
            if order > 0 and gfp & GFP_HIGH:
                alloc_flags |= ALLOC_HIGHATOMIC
        return alloc_flags

    def setup_per_zone_wmarks(self) -> None:
        """Work out min, low, high and promo of every zone from the sysctls."""
        # mm/page_alloc.c __setup_per_zone_wmarks(), v6.1 and v6.12
        pages_min = self.tunables.min_free_kbytes >> 2
        lowmem_pages = 0
        for zone in self.zones.zones:
            if not self._is_capped(zone):
                lowmem_pages += zone.managed_pages
        for zone in self.zones.zones:
            managed = zone.managed_pages
            share = pages_min * managed // max(lowmem_pages, 1)
            zone.wmark_min = share
            if self._is_capped(zone):
                zone.wmark_min = min(max(managed // 1024, SWAP_CLUSTER_MAX), 128)
            distance = max(share >> 2, managed * self.tunables.watermark_scale_factor // 10000)
            zone.watermark_boost = 0
            zone.wmark_low = zone.wmark_min + distance
            zone.wmark_high = zone.wmark_low + distance
            zone.wmark_promo = zone.wmark_high + distance
        self.calculate_totalreserve_pages()

    def _is_capped(self, zone: Zone) -> bool:
        # is_highmem() is true for ZONE_MOVABLE where movable memory is highmem, 32-bit only:
        # include/linux/mmzone.h is_highmem_idx(), v6.1
        if zone.is_highmem():
            return True
        if zone.zone_idx != self.zones.idx_movable:
            return False
        highmem = any(z.is_highmem() and z.managed_pages for z in self.zones.zones)
        return highmem or self.tunables.kernel >= 612  # which leaves Movable out of lowmem

    def setup_per_zone_lowmem_reserve(self) -> None:
        """Work out what each zone keeps from requests for higher zones."""
        # mm/page_alloc.c setup_per_zone_lowmem_reserve(), v6.12
        nr_types = self.zones.nr_types
        ratios = self.tunables.lowmem_reserve_ratio
        for node in range(self.zones.nr_nodes):
            zones = self.zones.zones[node * nr_types : (node + 1) * nr_types]
            for i in range(nr_types - 1):
                ratio = ratios[i] if i < len(ratios) else 0
                managed = 0
                for j in range(i + 1, nr_types):
                    managed += zones[j].managed_pages
                    clear = ratio < 1 or zones[i].managed_pages == 0
                    zones[i].lowmem_reserve[j] = 0 if clear else managed // ratio
        self.calculate_totalreserve_pages()

    def calculate_totalreserve_pages(self) -> None:
        """Sum what cannot be used for user pages."""
        # mm/page_alloc.c calculate_totalreserve_pages(), v6.12
        total = 0
        for node in range(self.zones.nr_nodes):
            self.zones.node_totalreserve_pages[node] = 0
        for zone in self.zones.zones:
            most = max(zone.lowmem_reserve[j] for j in range(zone.zone_idx, self.zones.nr_types))
            most = min(most + zone.wmark_high + zone.watermark_boost, zone.managed_pages)
            self.zones.node_totalreserve_pages[zone.node] += most
            total += most
        self.zones.totalreserve_pages = total

    def nr_free_buffer_pages(self) -> int:
        """Pages beyond the high watermark in zones that GFP_USER may use."""
        # mm/page_alloc.c nr_free_zone_pages(), v6.12
        total = 0
        for zone_id in self.zones.zones_tried(0, self.zones.idx_normal):
            zone = self.zones.zones[zone_id]
            total += max(zone.managed_pages - zone.wmark_high - zone.watermark_boost, 0)
        return total

    def default_min_free_kbytes(self, hugepages_enabled: int) -> int:
        """vm.min_free_kbytes that booting chooses; `hugepages_enabled` is Tunables.thp_enabled."""
        # mm/page_alloc.c calculate_min_free_kbytes(), v6.12, at a time when no watermark is set
        lowmem_pages = sum(
            self.zones.zones[zone_id].managed_pages
            for zone_id in self.zones.zones_tried(0, self.zones.idx_normal)
        )
        least = min(max(math.isqrt(lowmem_pages * 4 * 16), 128), 262144)
        if not hugepages_enabled:
            return least
        return max(least, self._recommended_kbytes(lowmem_pages))

    def _recommended_kbytes(self, lowmem_pages: int) -> int:
        # mm/khugepaged.c set_recommended_min_free_kbytes(), v6.1 and v6.12
        nr_zones = sum(1 for z in self.zones.populated() if z.zone_idx <= self.zones.idx_normal)
        recommended = PAGEBLOCK_PAGES * nr_zones * (2 + MIGRATE_PCPTYPES * MIGRATE_PCPTYPES)
        return min(recommended, lowmem_pages // 20) * 4

    def hugepages_min_free_kbytes(self) -> int:
        """vm.min_free_kbytes that switching huge pages on asks for at least."""
        return self._recommended_kbytes(self.nr_free_buffer_pages())

    @cython.ccall
    def si_mem_available(self) -> cython.longlong:
        """Pages that could be had without swapping: MemAvailable."""
        # mm/page_alloc.c si_mem_available(), v6.12
        base: cython.int
        zone: Zone
        wmark_low: cython.longlong = 0
        available: cython.longlong = self.buddy.vmstat.global_zone_page_state(NR_FREE_PAGES)
        available -= self.zones.totalreserve_pages
        for base in range(self.zones.nr_zones):
            zone = self.zones.zones[base]
            wmark_low += zone.wmark_low + zone.watermark_boost
        pagecache: cython.longlong = self.buddy.vmstat.global_node_page_state(LRU_ACTIVE_FILE)
        pagecache += self.buddy.vmstat.global_node_page_state(LRU_INACTIVE_FILE)
        available += pagecache - min(pagecache // 2, wmark_low)
        reclaimable: cython.longlong = self.buddy.vmstat.global_node_page_state(NR_SLAB_RECLAIMABLE)
        reclaimable += self.buddy.vmstat.global_node_page_state(NR_KERNEL_MISC_RECLAIMABLE)
        available += reclaimable - min(reclaimable // 2, wmark_low)
        return max(available, 0)
