"""Owns what keeps pages of a kind together: falling back to page blocks of another migrate type.

Imports buddy, zone, flags and gfp. Has never heard of per-CPU lists or watermark checks; it raises
a zone's watermark_boost, which watermark reads.
"""

from __future__ import annotations

import cython

from memtwin.page.buddy import Buddy
from memtwin.page.flags import (
    MAX_ORDER,
    MIGRATE_CMA,
    MIGRATE_HIGHATOMIC,
    MIGRATE_MOVABLE,
    MIGRATE_PCPTYPES,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
    NR_PAGE_ORDERS,
    PAGEBLOCK_ORDER,
    PAGEBLOCK_PAGES,
    PAGEBLOCK_SHIFT,
    PG_BUDDY,
    PG_LRU,
)
from memtwin.page.gfp import (
    ALLOC_CMA,
    ALLOC_KSWAPD,
    ALLOC_NOFRAGMENT,
    GFP_MOVABLE_BIT,
    GFP_RECLAIMABLE,
    RMQUEUE_CLAIM,
    RMQUEUE_CMA,
    RMQUEUE_NORMAL,
    RMQUEUE_STEAL,
)
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat_items import NR_FREE_CMA, NR_FREE_PAGES
from memtwin.page.zone import Zone


@cython.final
@cython.cclass
class Mobility:
    """Takes blocks for a migrate type, from blocks of another type when its own have run out."""

    def __init__(self, buddy: Buddy, tunables: Tunables) -> None:
        self.buddy = buddy
        self.tunables = tunables
        self.mode = RMQUEUE_NORMAL  # of the bulk request under way (6.12)
        self.nr_fallbacks = 0  # the kernel's mm_page_alloc_extfrag events

    @cython.cfunc
    @cython.exceptval(check=False)
    def begin_bulk(self) -> cython.void:
        """Start a request for several blocks."""
        self.mode = RMQUEUE_NORMAL

    @cython.cfunc
    @cython.exceptval(check=False)
    def rmqueue(
        self, zone: Zone, order: cython.int, migratetype: cython.int, alloc_flags: cython.int
    ) -> cython.int:
        """Take 2**order frames for `migratetype`, or -1."""
        # mm/page_alloc.c __rmqueue(), v6.1 and v6.12
        pfn: cython.int
        base: cython.int = zone.stat_base
        if alloc_flags & ALLOC_CMA and (
            self.buddy.vmstat.zone_stat[base + NR_FREE_CMA]
            > self.buddy.vmstat.zone_stat[base + NR_FREE_PAGES] // 2
        ):
            pfn = self.buddy.rmqueue_smallest(zone, order, MIGRATE_CMA)
            if pfn >= 0:
                return pfn
        if self.buddy.kernel >= 612:
            return self._rmqueue_612(zone, order, migratetype, alloc_flags)
        while True:
            pfn = self.buddy.rmqueue_smallest(zone, order, migratetype)
            if pfn >= 0:
                return pfn
            if alloc_flags & ALLOC_CMA:
                pfn = self.buddy.rmqueue_smallest(zone, order, MIGRATE_CMA)
                if pfn >= 0:
                    return pfn
            if not self._rmqueue_fallback(zone, order, migratetype, alloc_flags):
                return -1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _rmqueue_612(
        self, zone: Zone, order: cython.int, migratetype: cython.int, alloc_flags: cython.int
    ) -> cython.int:
        pfn: cython.int
        if self.mode == RMQUEUE_NORMAL:
            pfn = self.buddy.rmqueue_smallest(zone, order, migratetype)
            if pfn >= 0:
                return pfn
        if self.mode <= RMQUEUE_CMA and alloc_flags & ALLOC_CMA:
            pfn = self.buddy.rmqueue_smallest(zone, order, MIGRATE_CMA)
            if pfn >= 0:
                self.mode = RMQUEUE_CMA
                return pfn
        if self.mode <= RMQUEUE_CLAIM:
            pfn = self._rmqueue_claim(zone, order, migratetype, alloc_flags)
            if pfn >= 0:
                self.mode = RMQUEUE_NORMAL
                return pfn
        if not alloc_flags & ALLOC_NOFRAGMENT:
            pfn = self._rmqueue_steal(zone, order, migratetype)
            if pfn >= 0:
                self.mode = RMQUEUE_STEAL
                return pfn
        return -1

    @cython.ccall
    @cython.exceptval(check=False)
    def gfp_migratetype(self, gfp: cython.int) -> cython.int:
        """Migrate type that a request asks for."""
        # include/linux/gfp.h gfp_migratetype(), v6.12
        if gfp & GFP_MOVABLE_BIT:
            return MIGRATE_MOVABLE
        return MIGRATE_RECLAIMABLE if gfp & GFP_RECLAIMABLE else MIGRATE_UNMOVABLE

    @cython.cfunc
    @cython.exceptval(check=False)
    def find_suitable_fallback(
        self, zone_id: cython.int, order: cython.int, migratetype: cython.int
    ) -> cython.int:
        """Another migrate type that has a free block of `order`, or -1."""
        # mm/page_alloc.c fallbacks[] and find_suitable_fallback(), v6.12
        first: cython.int = MIGRATE_RECLAIMABLE
        second: cython.int = MIGRATE_MOVABLE
        if self.buddy.nr_free[zone_id * NR_PAGE_ORDERS + order] == 0:
            return -1
        if migratetype == MIGRATE_RECLAIMABLE:
            first = MIGRATE_UNMOVABLE
        elif migratetype == MIGRATE_MOVABLE:
            second = MIGRATE_UNMOVABLE
        if not self.buddy.is_empty(zone_id, order, first):
            return first
        if not self.buddy.is_empty(zone_id, order, second):
            return second
        return -1

    @cython.cfunc
    @cython.exceptval(check=False)
    def can_steal_fallback(self, order: cython.int, start_mt: cython.int) -> cython.int:
        """1 when taking a block of `order` is reason to take its whole page block."""
        # mm/page_alloc.c can_steal_fallback(), v6.12
        return order >= PAGEBLOCK_ORDER // 2 or start_mt != MIGRATE_MOVABLE

    @cython.cfunc
    @cython.exceptval(check=False)
    def _rmqueue_fallback(
        self, zone: Zone, order: cython.int, start_mt: cython.int, alloc_flags: cython.int
    ) -> cython.int:
        # mm/page_alloc.c __rmqueue_fallback(), v6.1
        min_order: cython.int = order
        current_order: cython.int = MAX_ORDER
        fallback_mt: cython.int = -1
        can_steal: cython.int = 0
        if order < PAGEBLOCK_ORDER and alloc_flags & ALLOC_NOFRAGMENT:
            min_order = PAGEBLOCK_ORDER
        while current_order >= min_order:
            fallback_mt = self.find_suitable_fallback(zone.zone_id, current_order, start_mt)
            if fallback_mt >= 0:
                break
            current_order -= 1
        if fallback_mt < 0:
            return 0
        can_steal = self.can_steal_fallback(current_order, start_mt)
        if not can_steal and start_mt == MIGRATE_MOVABLE and current_order > order:
            current_order = order
            fallback_mt = self.find_suitable_fallback(zone.zone_id, current_order, start_mt)
            while fallback_mt < 0:
                current_order += 1
                fallback_mt = self.find_suitable_fallback(zone.zone_id, current_order, start_mt)
            can_steal = self.can_steal_fallback(current_order, start_mt)
        pfn: cython.int = self.buddy.first_free(zone, current_order, fallback_mt)
        self._steal_suitable_fallback(zone, pfn, alloc_flags, start_mt, can_steal)
        self.nr_fallbacks += 1
        return 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _steal_suitable_fallback(
        self,
        zone: Zone,
        pfn: cython.int,
        alloc_flags: cython.int,
        start_type: cython.int,
        whole_block: cython.int,
    ) -> cython.void:
        # mm/page_alloc.c steal_suitable_fallback(), v6.1
        current_order: cython.int = self.buddy.mem_map.order[pfn]
        old_type: cython.int = self.buddy.zones.block_type[pfn >> PAGEBLOCK_SHIFT]
        if old_type == MIGRATE_HIGHATOMIC:
            self.buddy.move_to_free_list(zone, pfn, start_type)
            return
        if current_order >= PAGEBLOCK_ORDER:
            self.buddy.change_pageblock_range(pfn, current_order, start_type)
            self.buddy.move_to_free_list(zone, pfn, start_type)
            return
        if self.boost_watermark(zone) and alloc_flags & ALLOC_KSWAPD:
            zone.boosted = 1
        if not whole_block or not self._block_in_zone(zone, pfn):
            self.buddy.move_to_free_list(zone, pfn, start_type)
            return
        free_pages: cython.int = self.free_pages_in_block(pfn)
        movable_pages: cython.int = self.movable_pages_in_block(pfn)
        alike_pages: cython.int = self._alike_pages(start_type, old_type, free_pages, movable_pages)
        self._move_freepages(zone, pfn, start_type)
        if free_pages + alike_pages >= PAGEBLOCK_PAGES // 2:
            self.buddy.zones.block_type[pfn >> PAGEBLOCK_SHIFT] = start_type

    @cython.cfunc
    @cython.exceptval(check=False)
    def _rmqueue_claim(
        self, zone: Zone, order: cython.int, start_mt: cython.int, alloc_flags: cython.int
    ) -> cython.int:
        # mm/page_alloc.c __rmqueue_claim(), v6.12
        min_order: cython.int = order
        current_order: cython.int = MAX_ORDER
        fallback_mt: cython.int
        pfn: cython.int
        if order < PAGEBLOCK_ORDER and alloc_flags & ALLOC_NOFRAGMENT:
            min_order = PAGEBLOCK_ORDER
        while current_order >= min_order:
            fallback_mt = self.find_suitable_fallback(zone.zone_id, current_order, start_mt)
            if fallback_mt >= 0:
                if not self.can_steal_fallback(current_order, start_mt):
                    return -1
                pfn = self.buddy.first_free(zone, current_order, fallback_mt)
                pfn = self._try_to_steal_block(zone, pfn, order, start_mt, alloc_flags)
                if pfn >= 0:
                    self.nr_fallbacks += 1
                    return pfn
            current_order -= 1
        return -1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _try_to_steal_block(
        self,
        zone: Zone,
        pfn: cython.int,
        order: cython.int,
        start_type: cython.int,
        alloc_flags: cython.int,
    ) -> cython.int:
        # mm/page_alloc.c try_to_steal_block(), v6.12
        current_order: cython.int = self.buddy.mem_map.order[pfn]
        block_type: cython.int = self.buddy.zones.block_type[pfn >> PAGEBLOCK_SHIFT]
        if block_type == MIGRATE_HIGHATOMIC:
            return -1
        if current_order >= PAGEBLOCK_ORDER:
            self.buddy.change_pageblock_range(pfn, current_order, start_type)
            self.buddy.move_to_free_list(zone, pfn, start_type)
            self.buddy.take_block(zone, pfn, order, start_type)
            return pfn
        if self.boost_watermark(zone) and alloc_flags & ALLOC_KSWAPD:
            zone.boosted = 1
        if not self._block_in_zone(zone, pfn):
            return -1
        free_pages: cython.int = self.free_pages_in_block(pfn)
        movable_pages: cython.int = self.movable_pages_in_block(pfn)
        alike_pages: cython.int = self._alike_pages(
            start_type, block_type, free_pages, movable_pages
        )
        if free_pages + alike_pages < PAGEBLOCK_PAGES // 2:
            return -1
        self._move_freepages(zone, pfn, start_type)
        self.buddy.zones.block_type[pfn >> PAGEBLOCK_SHIFT] = start_type
        return self.buddy.rmqueue_smallest(zone, order, start_type)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _rmqueue_steal(self, zone: Zone, order: cython.int, start_mt: cython.int) -> cython.int:
        # mm/page_alloc.c __rmqueue_steal(), v6.12
        current_order: cython.int
        fallback_mt: cython.int
        pfn: cython.int
        for current_order in range(order, MAX_ORDER + 1):
            fallback_mt = self.find_suitable_fallback(zone.zone_id, current_order, start_mt)
            if fallback_mt >= 0:
                pfn = self.buddy.first_free(zone, current_order, fallback_mt)
                self.buddy.take_block(zone, pfn, order, fallback_mt)
                self.nr_fallbacks += 1
                return pfn
        return -1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _alike_pages(
        self,
        start_type: cython.int,
        old_type: cython.int,
        free_pages: cython.int,
        movable_pages: cython.int,
    ) -> cython.int:
        # mm/page_alloc.c try_to_steal_block(), v6.12: pages in use that suit the new type
        if start_type == MIGRATE_MOVABLE:
            return movable_pages
        if old_type == MIGRATE_MOVABLE:
            return PAGEBLOCK_PAGES - (free_pages + movable_pages)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def boost_watermark(self, zone: Zone) -> cython.int:
        """Raise the zone's watermarks for a while after a fallback; 1 when it did."""
        # mm/page_alloc.c boost_watermark(), v6.12
        factor: cython.longlong = self.tunables.watermark_boost_factor
        if factor == 0 or zone.managed_pages < PAGEBLOCK_PAGES * 4:
            return 0
        high: cython.longlong = zone.wmark_high
        max_boost: cython.longlong = (high // 10000) * factor + (high % 10000) * factor // 10000
        if max_boost == 0:
            return 0
        max_boost = max(PAGEBLOCK_PAGES, max_boost)
        zone.watermark_boost = min(zone.watermark_boost + PAGEBLOCK_PAGES, max_boost)
        return 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def _block_in_zone(self, zone: Zone, pfn: cython.int) -> cython.int:
        # mm/page_alloc.c prep_move_freepages_block(), v6.12
        # DIFFERS: a block that begins before the zone is not moved, 6.1 moves the part inside; one
        # block a zone is concerned; the type of that page block
        start_pfn: cython.int = (pfn >> PAGEBLOCK_SHIFT) << PAGEBLOCK_SHIFT
        return start_pfn >= zone.start_pfn and start_pfn + PAGEBLOCK_PAGES <= zone.end_pfn

    @cython.ccall
    def free_pages_in_block(self, pfn: cython.int) -> cython.int:
        """Free pages on the buddy lists in the page block of `pfn`."""
        at: cython.int = (pfn >> PAGEBLOCK_SHIFT) << PAGEBLOCK_SHIFT
        end_pfn: cython.int = at + PAGEBLOCK_PAGES
        found: cython.int = 0
        while at < end_pfn:
            if self.buddy.mem_map.flags[at] & PG_BUDDY:
                found += 1 << self.buddy.mem_map.order[at]
                at += 1 << self.buddy.mem_map.order[at]
            else:
                at += 1
        return found

    @cython.ccall
    def movable_pages_in_block(self, pfn: cython.int) -> cython.int:
        """Pages on an LRU list in the page block of `pfn`."""
        at: cython.int
        found: cython.int = 0
        start_pfn: cython.int = (pfn >> PAGEBLOCK_SHIFT) << PAGEBLOCK_SHIFT
        for at in range(start_pfn, start_pfn + PAGEBLOCK_PAGES):
            if self.buddy.mem_map.flags[at] & PG_LRU:
                found += 1
        return found

    @cython.cfunc
    @cython.exceptval(check=False)
    def _move_freepages(self, zone: Zone, pfn: cython.int, migratetype: cython.int) -> cython.int:
        # mm/page_alloc.c __move_freepages_block(), v6.12
        at: cython.int = (pfn >> PAGEBLOCK_SHIFT) << PAGEBLOCK_SHIFT
        end_pfn: cython.int = at + PAGEBLOCK_PAGES
        size_pages: cython.int
        moved: cython.int = 0
        while at < end_pfn:
            if self.buddy.mem_map.flags[at] & PG_BUDDY:
                size_pages = 1 << self.buddy.mem_map.order[at]
                self.buddy.move_to_free_list(zone, at, migratetype)
                moved += size_pages
                at += size_pages
            else:
                at += 1
        return moved

    @cython.ccall
    def set_block_type(self, zone: Zone, pfn: cython.int, migratetype: cython.int) -> cython.int:
        """Give the page block of `pfn` and its free blocks a type (CMA, isolation); pages moved."""
        moved: cython.int = self._move_freepages(zone, pfn, migratetype)
        self.buddy.zones.block_type[pfn >> PAGEBLOCK_SHIFT] = migratetype
        return moved

    @cython.ccall
    def reserve_highatomic_pageblock(
        self, zone: Zone, pfn: cython.int, order: cython.int
    ) -> cython.int:
        """Keep the page block of a high-order atomic request for more of them; 1 when it did."""
        # mm/page_alloc.c reserve_highatomic_pageblock(), v6.1 and v6.12
        hundredth: cython.longlong = zone.managed_pages // 100
        limit: cython.longlong = hundredth + PAGEBLOCK_PAGES
        if self.buddy.kernel >= 612:
            if hundredth < PAGEBLOCK_PAGES:
                return 0
            limit = (hundredth + PAGEBLOCK_PAGES - 1) // PAGEBLOCK_PAGES * PAGEBLOCK_PAGES
        if zone.nr_reserved_highatomic >= limit:
            return 0
        if self.buddy.zones.block_type[pfn >> PAGEBLOCK_SHIFT] >= MIGRATE_PCPTYPES:
            return 0
        if order < PAGEBLOCK_ORDER:
            zone.nr_reserved_highatomic += PAGEBLOCK_PAGES
            self.set_block_type(zone, pfn, MIGRATE_HIGHATOMIC)
        else:
            zone.nr_reserved_highatomic += 1 << order
            self.buddy.change_pageblock_range(pfn, order, MIGRATE_HIGHATOMIC)
        return 1

    @cython.ccall
    def unreserve_highatomic(
        self, zone: Zone, migratetype: cython.int, force: cython.int
    ) -> cython.int:
        """Give a reserved page block back to `migratetype`; pages freed by it (0 none)."""
        # mm/page_alloc.c unreserve_highatomic_pageblock(), v6.12: one zone of its loop
        order: cython.int
        pfn: cython.int
        moved: cython.int
        if not force and zone.nr_reserved_highatomic <= PAGEBLOCK_PAGES:
            return 0
        for order in range(MAX_ORDER + 1):
            pfn = self.buddy.first_free(zone, order, MIGRATE_HIGHATOMIC)
            if pfn < 0:
                continue
            zone.nr_reserved_highatomic -= min(
                max(PAGEBLOCK_PAGES, 1 << order), zone.nr_reserved_highatomic
            )
            if order <= PAGEBLOCK_ORDER:
                moved = self.set_block_type(zone, pfn, migratetype)
            else:
                self.buddy.move_to_free_list(zone, pfn, migratetype)
                self.buddy.change_pageblock_range(pfn, order, migratetype)
                moved = 1 << order
            if moved:
                return moved
        return 0
