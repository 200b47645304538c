"""Owns the free scanner of compaction: frames taken from a zone's top for pages that are to move.

Imports page and compact_control. Has never heard of the pages that move.
"""

from __future__ import annotations

import cython

from memtwin.columns import zeros
from memtwin.page.buddy import Buddy
from memtwin.page.flags import (
    MIGRATE_CMA,
    MIGRATE_MOVABLE,
    MIGRATE_PCPTYPES,
    MIGRATE_TYPES,
    NR_PAGE_ORDERS,
    PAGEBLOCK_ORDER,
    PAGEBLOCK_PAGES,
    PAGEBLOCK_SHIFT,
    PG_BUDDY,
    PG_HEAD,
)
from memtwin.page.gfp import ALLOC_CMA
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import COMPACT_ISOLATED
from memtwin.page.zone import Zone, Zones
from memtwin.reclaim.compact_constants import (
    COMPACT_CLUSTER_MAX,
    MIGRATE_ASYNC,
    MOST_FREE_PAGES,
)
from memtwin.reclaim.compact_control import CompactControl, CompactHints
from memtwin.units import NIL


@cython.final
@cython.cclass
class FreeScanner:
    """Finds frames to move pages to."""

    def __init__(self, page_alloc: PageAlloc, hints: CompactHints) -> None:
        self.page_alloc = page_alloc
        self.hints = hints
        self.mem: MemMap = page_alloc.mem_map
        self.buddy: Buddy = page_alloc.buddy
        self.zones: Zones = page_alloc.zones
        self.vmstat: VmStat = page_alloc.vmstat
        self.freepages = zeros(MOST_FREE_PAGES, "i4")
        self.free_total = 0  # of the last isolate_freepages_block: frames taken
        self.isolate_pfn = 0  # and where it stopped
        self.highest_seen = 0  # of the last search_free_list: highest page block with a free frame
        self.order_scanned = 0  # and how many blocks it looked at

    @cython.cfunc
    def compaction_alloc(self, cc: CompactControl) -> cython.int:
        """A free frame to move a page to, or -1."""
        if cc.nr_freepages == 0:
            self.isolate_freepages(cc)
            if cc.nr_freepages == 0:
                return -1
        cc.nr_freepages -= 1
        return self.freepages[cc.nr_freepages]

    @cython.cfunc
    def isolate_freepages(self, cc: CompactControl) -> cython.void:
        """Take free frames, from the top of the zone down, for the pages that wait."""
        self.fast_isolate_freepages(cc)
        if cc.nr_freepages > 0:
            return
        at: cython.int = cc.free_pfn
        start: cython.int = at & ~(PAGEBLOCK_PAGES - 1)
        end: cython.int = start + PAGEBLOCK_PAGES
        low_pfn: cython.int = (cc.migrate_pfn & ~(PAGEBLOCK_PAGES - 1)) + PAGEBLOCK_PAGES
        stride: cython.int = COMPACT_CLUSTER_MAX if cc.mode == MIGRATE_ASYNC else 1
        if cc.migrate_pfn & (PAGEBLOCK_PAGES - 1) == 0:
            low_pfn = cc.migrate_pfn + PAGEBLOCK_PAGES
        if end > cc.zone.end_pfn:
            end = cc.zone.end_pfn
        while start >= low_pfn:
            block: cython.int = start >> PAGEBLOCK_SHIFT
            if (
                self.hints.in_zone(start, end, cc.zone)
                and self.suitable_target(cc, start)
                and (cc.ignore_skip_hint or not self.hints.skip[block])
            ):
                taken: cython.int = self.isolate_freepages_block(cc, at, end, stride)
                at = self.isolate_pfn
                if at == end:
                    self.hints.skip[block] = 1
                    if start < self.hints.cached_free_pfn[cc.zone.zone_id]:
                        self.hints.cached_free_pfn[cc.zone.zone_id] = start
                if cc.nr_freepages >= cc.nr_migratepages:
                    if at >= end:
                        at = start - PAGEBLOCK_PAGES
                    break
                if at < end:
                    break
                # a block without free frames doubles the steps: the scanner then passes small
                # holes by (which is why compacting memory full of them moves little)
                stride = 1 if taken else min(COMPACT_CLUSTER_MAX, stride << 1)
            end = start
            start -= PAGEBLOCK_PAGES
            at = start
        cc.free_pfn = at

    @cython.cfunc
    @cython.exceptval(check=False)
    def suitable_target(self, cc: CompactControl, pfn: cython.int) -> cython.int:
        """1 when pages may be moved into the page block (suitable_migration_target())."""
        if self.mem.flags[pfn] & PG_BUDDY and self.mem.order[pfn] >= PAGEBLOCK_ORDER:
            return 0
        if cc.ignore_block_suitable:
            return 1
        block_mt: cython.int = self.zones.block_type[pfn >> PAGEBLOCK_SHIFT]
        return block_mt in (MIGRATE_MOVABLE, MIGRATE_CMA)

    @cython.cfunc
    def isolate_freepages_block(
        self, cc: CompactControl, start_pfn: cython.int, end_pfn: cython.int, stride: cython.int
    ) -> cython.int:
        """Take free blocks until there are enough; frames taken. `isolate_pfn` is where it
        stopped."""
        pfn: cython.int = start_pfn
        scanned: cython.int = 0
        order: cython.int
        self.free_total = 0
        while pfn < end_pfn:
            scanned += 1
            if self.mem.flags[pfn] & PG_HEAD:
                pfn += (1 << self.mem.order[pfn]) - 1
            elif self.mem.flags[pfn] & PG_BUDDY:
                order = self.isolate_free_block(cc, pfn)
                if order < 0:
                    break
                scanned += (1 << order) - 1
                self.free_total += 1 << order
                if cc.nr_migratepages <= cc.nr_freepages:
                    pfn += 1 << order
                    break
                pfn += (1 << order) - 1
            pfn += stride
        self.isolate_pfn = pfn if pfn < end_pfn else end_pfn
        cc.total_free_scanned += scanned
        self.vmstat.count(COMPACT_ISOLATED, self.free_total)
        return self.free_total

    @cython.cfunc
    def isolate_free_block(self, cc: CompactControl, pfn: cython.int) -> cython.int:
        """Take one free block apart into frames that wait; its order, or -1 at the watermark."""
        # mm/page_alloc.c __isolate_free_page() and mm/compaction.c split_map_pages(), v6.1
        zone: Zone = cc.zone
        order: cython.int = self.mem.order[pfn]
        mark: cython.longlong = zone.wmark_min + (1 << order)
        i: cython.int
        if cc.nr_freepages + (1 << order) > MOST_FREE_PAGES:
            return -1
        if not self.page_alloc.zone_watermark_ok(zone.zone_id, 0, mark, 0, ALLOC_CMA):
            return -1
        self.buddy.isolate_free_block(zone, pfn)
        for i in range(1 << order):
            self.mem.refcount[pfn + i] = 1
            self.freepages[cc.nr_freepages] = pfn + i
            cc.nr_freepages += 1
        if order >= PAGEBLOCK_ORDER - 1:
            last: cython.int = (pfn + (1 << order) - 1) >> PAGEBLOCK_SHIFT
            for i in range(pfn >> PAGEBLOCK_SHIFT, last + 1):
                if self.zones.block_type[i] < MIGRATE_PCPTYPES:
                    self.zones.block_type[i] = MIGRATE_MOVABLE
        return order

    @cython.cfunc
    def fast_isolate_freepages(self, cc: CompactControl) -> cython.void:
        """For a given order, try the free lists first: a block high up in the zone."""
        limit: cython.int = cc.scan_limit() >> 1
        order: cython.int
        _tries: cython.int
        pfn: cython.int = NIL
        highest: cython.int = 0
        starting: cython.int = 0
        if cc.order <= 0:
            return
        if limit < 1:
            limit = 1
        if cc.free_pfn >= self.hints.init_free_pfn[cc.zone.zone_id]:
            limit = PAGEBLOCK_PAGES >> 1
            starting = 1
        distance: cython.int = cc.free_pfn - cc.migrate_pfn
        low_pfn: cython.int = (cc.free_pfn - (distance >> 2)) & ~(PAGEBLOCK_PAGES - 1)
        min_pfn: cython.int = (cc.free_pfn - (distance >> 1)) & ~(PAGEBLOCK_PAGES - 1)
        if cc.search_order > cc.order - 1:
            cc.search_order = cc.order - 1
        order = cc.search_order
        for _tries in range(cc.order):
            pfn = self.search_free_list(cc, order, low_pfn, min_pfn, limit)
            cc.total_free_scanned += self.order_scanned
            if self.highest_seen > highest:
                highest = self.highest_seen
            if pfn >= 0:
                break
            if self.order_scanned >= limit:
                limit = max(1, limit >> 1)
            order = order - 1 if order > 0 else cc.order - 1
        if pfn < 0:
            cc.search_order = cc.search_order - 1 if cc.search_order > 0 else cc.order - 1
            cc.fast_search_fail += 1
            if starting and highest >= min_pfn and highest > 0:
                cc.free_pfn = highest
                pfn = highest
            elif starting and cc.direct_compaction and min_pfn >= cc.zone.start_pfn:
                cc.free_pfn = min_pfn
                pfn = min_pfn
        if highest > 0 and highest >= self.hints.cached_free_pfn[cc.zone.zone_id]:
            self.hints.cached_free_pfn[cc.zone.zone_id] = highest - PAGEBLOCK_PAGES
        if pfn >= 0:
            self.fast_isolate_around(cc, pfn)

    @cython.cfunc
    def search_free_list(
        self, cc: CompactControl, order: cython.int, low_pfn: cython.int, min_pfn: cython.int,
        limit: cython.int,
    ) -> cython.int:  # fmt: skip
        """Look from the tail of the movable blocks of `order` for a high one and take it: its
        frame, or -1."""
        row: cython.int = (cc.zone.zone_id * NR_PAGE_ORDERS + order) * MIGRATE_TYPES
        head: cython.int = self.buddy.first_head + row + MIGRATE_MOVABLE
        pfn: cython.int = self.mem.lru_prev[head]
        best: cython.int = NIL
        self.order_scanned = 0
        self.highest_seen = 0
        while pfn != head:
            self.order_scanned += 1
            if pfn & ~(PAGEBLOCK_PAGES - 1) > self.highest_seen:
                self.highest_seen = max(pfn & ~(PAGEBLOCK_PAGES - 1), cc.zone.start_pfn)
            if pfn >= low_pfn:
                cc.fast_search_fail = 0
                cc.search_order = order
                best = pfn
                break
            if pfn >= min_pfn and pfn > best:
                best = pfn
                limit >>= 1
            if self.order_scanned >= limit:
                break
            pfn = self.mem.lru_prev[pfn]
        if best >= 0:
            if self.isolate_free_block(cc, best) < 0:
                return NIL
            self.vmstat.count(COMPACT_ISOLATED, 1 << order)
            self.order_scanned += (1 << order) - 1
        return best

    @cython.cfunc
    def fast_isolate_around(self, cc: CompactControl, pfn: cython.int) -> cython.void:
        """Take more frames of the page block where a free block was found."""
        if cc.nr_freepages >= cc.nr_migratepages:
            return
        if cc.direct_compaction and cc.mode == MIGRATE_ASYNC:
            return
        start: cython.int = pfn & ~(PAGEBLOCK_PAGES - 1)
        end: cython.int = min(start + PAGEBLOCK_PAGES, cc.zone.end_pfn)
        if start < cc.zone.start_pfn:
            start = cc.zone.start_pfn
        if not self.hints.in_zone(start, end, cc.zone):
            return
        self.isolate_freepages_block(cc, start, end, 1)
        if cc.nr_freepages < cc.nr_migratepages:
            self.hints.skip[start >> PAGEBLOCK_SHIFT] = 1

    @cython.cfunc
    def give_back(self, cc: CompactControl, pfn: cython.int) -> cython.int:
        """A frame that was not used after all (compaction_free()); how many wait."""
        self.freepages[cc.nr_freepages] = pfn
        cc.nr_freepages += 1
        return cc.nr_freepages

    @cython.cfunc
    def release(self, cc: CompactControl) -> cython.int:
        """Free the frames that still wait; the highest of them, or 0."""
        highest: cython.int = 0
        while cc.nr_freepages > 0:
            cc.nr_freepages -= 1
            pfn: cython.int = self.freepages[cc.nr_freepages]
            if pfn > highest:
                highest = pfn
            self.page_alloc.put_page(pfn)
        return highest
