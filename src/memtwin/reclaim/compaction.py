"""Owns the two scanners of compaction: pages to move from a zone's bottom, free frames at its top.

Imports page, reclaim/lru and migrate. Has never heard of who wants a large block or of when to give
up for a while: reclaim/compact_policy.py.

A compaction's life: begin -> (isolate pages -> isolate free frames -> migrate)* -> the scanners met
or a block is there -> end.
"""

from __future__ import annotations

import cython

from memtwin.columns import zeros
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.page.buddy import Buddy
from memtwin.page.flags import (
    MAX_ORDER,
    MIGRATE_CMA,
    MIGRATE_MOVABLE,
    MIGRATE_TYPES,
    NR_PAGE_ORDERS,
    PAGEBLOCK_ORDER,
    PAGEBLOCK_PAGES,
    PAGEBLOCK_SHIFT,
    PG_BUDDY,
    PG_HEAD,
    PG_LRU,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    COMPACT_FREE_SCANNED,
    COMPACT_ISOLATED,
    COMPACT_MIGRATE_SCANNED,
    PGMIGRATE_FAIL,
    PGMIGRATE_SUCCESS,
)
from memtwin.page.zone import Zone, Zones
from memtwin.reclaim.compact_constants import (
    COMPACT_CLUSTER_MAX,
    COMPACT_COMPLETE,
    COMPACT_CONTENDED,
    COMPACT_CONTINUE,
    COMPACT_PARTIAL_SKIPPED,
    COMPACT_SUCCESS,
    MIGRATE_ASYNC,
    MIGRATED,
    MOST_MIGRATE_PAGES,
)
from memtwin.reclaim.compact_control import CompactControl, CompactHints
from memtwin.reclaim.constants import PAGE_ALLOC_COSTLY_ORDER
from memtwin.reclaim.free_scanner import FreeScanner
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.migrate import Migrate
from memtwin.units import NIL


@cython.final
@cython.cclass
class Compaction:
    """Moves pages together, zone by zone."""

    # DIFFERS: v6.1 rules on 6.12 too; 6.12 keeps free blocks whole until a page needs them, and
    # leaves large folios alone as well; compact_* counters and buddyinfo after compaction there

    def __init__(self, lru: Lru, migrate: Migrate, clock: Clock, cost: CostTable) -> None:
        self.mem: MemMap = lru.mem
        self.lru = lru
        self.migrate = migrate
        self.page_alloc: PageAlloc = lru.page_alloc
        self.buddy: Buddy = lru.page_alloc.buddy
        self.zones: Zones = lru.page_alloc.zones
        self.vmstat: VmStat = lru.vmstat
        self.clock = clock
        self.cost = cost
        self.hints = CompactHints(lru.mem, lru.page_alloc.zones)
        self.free_scanner = FreeScanner(lru.page_alloc, self.hints)
        self.migratepages = zeros(MOST_MIGRATE_PAGES, "i4")
        self.order_scanned = 0  # of the last find_free_source: blocks looked at

    @cython.ccall
    def compact_zone(self, cc: CompactControl) -> cython.int:
        """Move pages until a block of cc.order is free or the scanners meet; COMPACT_*.

        mm/compaction.c compact_zone(), v6.1. The caller has asked whether the zone is suitable.
        """
        # DIFFERS: no page is captured as it comes free; on one CPU nobody else takes it; none but
        # the pcp lists of direct compaction
        last_migrated: cython.int = 0
        result: cython.int
        update_cached: cython.int
        self.begin(cc)
        at: cython.int = cc.zone.zone_id
        update_cached = cc.mode == MIGRATE_ASYNC and (
            self.hints.cached_migrate_pfn[at] == self.hints.cached_sync_pfn[at]
        )
        result = self.finished(cc)
        while result == COMPACT_CONTINUE:
            start: cython.int = cc.migrate_pfn
            cc.rescan = last_migrated >> PAGEBLOCK_SHIFT == start >> PAGEBLOCK_SHIFT
            if self.isolate_migratepages(cc):
                update_cached = 0
                last_migrated = start
                if self.migrate_batch(cc) < 0 and not self.scanners_met(cc):
                    result = COMPACT_CONTENDED
                    break
            elif update_cached:
                self.hints.cached_sync_pfn[at] = self.hints.cached_migrate_pfn[at]
            if cc.order > 0 and last_migrated:
                if last_migrated < cc.migrate_pfn & ~((1 << cc.order) - 1):
                    self.lru.lru_add_drain()
                    self.page_alloc.drain_pcp(self.page_alloc.cpu)
                    last_migrated = 0
            result = self.finished(cc)
        self.end(cc)
        return result

    @cython.cfunc
    def begin(self, cc: CompactControl) -> cython.void:
        """Set the scanners to their places."""
        zone: Zone = cc.zone
        at: cython.int = zone.zone_id
        top: cython.int = (zone.end_pfn - 1) & ~(PAGEBLOCK_PAGES - 1)
        self.buddy.thread_all(zone)
        if cc.whole_zone:
            cc.migrate_pfn = zone.start_pfn
            cc.free_pfn = top
        else:
            cc.migrate_pfn = self.hints.cached_migrate_pfn[at]
            if cc.mode != MIGRATE_ASYNC:
                cc.migrate_pfn = self.hints.cached_sync_pfn[at]
            cc.free_pfn = self.hints.cached_free_pfn[at]
            if cc.free_pfn < zone.start_pfn or cc.free_pfn >= zone.end_pfn:
                cc.free_pfn = top
                self.hints.cached_free_pfn[at] = top
            if cc.migrate_pfn < zone.start_pfn or cc.migrate_pfn >= zone.end_pfn:
                cc.migrate_pfn = zone.start_pfn
                self.hints.cached_migrate_pfn[at] = zone.start_pfn
                self.hints.cached_sync_pfn[at] = zone.start_pfn
            if cc.migrate_pfn <= self.hints.init_migrate_pfn[at]:
                cc.whole_zone = 1
        self.lru.lru_add_drain()

    @cython.cfunc
    def migrate_batch(self, cc: CompactControl) -> cython.int:
        """Move what was isolated, last found first; pages that failed, or -1: no free frame left.

        mm/migrate.c migrate_pages_batch(), v6.1.
        """
        failed: cython.int = 0
        moved: cython.int = 0
        target: cython.int
        left: cython.int = cc.nr_migratepages
        while left > 0:
            target = self.free_scanner.compaction_alloc(cc)
            if target < 0:
                break
            left -= 1
            source: cython.int = self.migratepages[left]
            if self.migrate.move(source, target) == MIGRATED:
                moved += 1
            else:
                self.free_scanner.give_back(cc, target)
                self.migrate.putback(source)
                failed += 1
        cc.nr_migratepages = 0
        self.vmstat.count(PGMIGRATE_SUCCESS, moved)
        if left > 0:
            self.vmstat.count(PGMIGRATE_FAIL, failed + 1)
            while left > 0:
                left -= 1
                self.migrate.putback(self.migratepages[left])
            return -1
        if failed > 0:
            self.vmstat.count(PGMIGRATE_FAIL, failed)
            if cc.direct_compaction and cc.mode == MIGRATE_ASYNC:
                # the block of the wanted order cannot come free any more
                cc.migrate_pfn = ((cc.migrate_pfn - 1) >> cc.order << cc.order) + (1 << cc.order)
        return failed

    @cython.cfunc
    def end(self, cc: CompactControl) -> cython.void:
        """Give back the frames that were not needed, and count."""
        highest: cython.int = self.free_scanner.release(cc)
        at: cython.int = cc.zone.zone_id
        highest = highest & ~(PAGEBLOCK_PAGES - 1)
        if highest > self.hints.cached_free_pfn[at]:
            self.hints.cached_free_pfn[at] = highest
        self.vmstat.count(COMPACT_MIGRATE_SCANNED, cc.total_migrate_scanned)
        self.vmstat.count(COMPACT_FREE_SCANNED, cc.total_free_scanned)
        # MODEL: a frame looked at costs what reclaim's look at a page costs
        self.clock.spend(
            self.cost.scan_page_ns * (cc.total_migrate_scanned + cc.total_free_scanned) // 8
        )

    @cython.cfunc
    @cython.exceptval(check=False)
    def scanners_met(self, cc: CompactControl) -> cython.int:
        """1 when both scanners are in one page block or have passed each other."""
        return cc.free_pfn >> PAGEBLOCK_SHIFT <= cc.migrate_pfn >> PAGEBLOCK_SHIFT

    @cython.cfunc
    def finished(self, cc: CompactControl) -> cython.int:
        """COMPACT_CONTINUE, or why to stop (__compact_finished())."""
        zone: Zone = cc.zone
        order: cython.int
        fallback: cython.int
        if self.scanners_met(cc):
            self.hints.reset_cached_positions(zone)
            if cc.direct_compaction:
                self.hints.blockskip_flush[zone.zone_id] = 1
            return COMPACT_COMPLETE if cc.whole_zone else COMPACT_PARTIAL_SKIPPED
        if cc.order < 0 or cc.migrate_pfn & (PAGEBLOCK_PAGES - 1):
            return COMPACT_CONTINUE
        for order in range(cc.order, MAX_ORDER + 1):
            if not self.buddy.is_empty(zone.zone_id, order, cc.migratetype):
                return COMPACT_SUCCESS
            if cc.migratetype == MIGRATE_MOVABLE:
                if not self.buddy.is_empty(zone.zone_id, order, MIGRATE_CMA):
                    return COMPACT_SUCCESS
            fallback = self.page_alloc.mobility.find_suitable_fallback(
                zone.zone_id, order, cc.migratetype
            )
            if fallback >= 0 and self.page_alloc.mobility.can_steal_fallback(order, cc.migratetype):
                return COMPACT_SUCCESS
        return COMPACT_CONTINUE

    @cython.cfunc
    def isolate_migratepages(self, cc: CompactControl) -> cython.int:
        """Isolate pages of the first page block that has some; how many."""
        low_pfn: cython.int = self.fast_find_migrateblock(cc)
        start: cython.int = low_pfn & ~(PAGEBLOCK_PAGES - 1)
        end: cython.int = start + PAGEBLOCK_PAGES
        found: cython.int = low_pfn != cc.migrate_pfn and cc.fast_search_fail == 0
        if start < cc.zone.start_pfn:
            start = cc.zone.start_pfn
        while end <= cc.free_pfn:
            block: cython.int = low_pfn >> PAGEBLOCK_SHIFT
            wanted: cython.int = self.hints.in_zone(start, end, cc.zone)
            if wanted and not low_pfn & (PAGEBLOCK_PAGES - 1) and not found:
                wanted = cc.ignore_skip_hint or not self.hints.skip[block]
            if wanted and not self.suitable_source(cc, start):
                self.hints.update_cached_migrate(cc, end)
                wanted = 0
            if wanted:
                self.isolate_migratepages_block(cc, low_pfn, end)
                break
            found = 0
            cc.migrate_pfn = end
            low_pfn = end
            start = end
            end += PAGEBLOCK_PAGES
        return cc.nr_migratepages

    @cython.cfunc
    @cython.exceptval(check=False)
    def suitable_source(self, cc: CompactControl, pfn: cython.int) -> cython.int:
        """0 for a huge page's block, and for blocks of other types in an optimistic try."""
        if self.mem.flags[pfn] & PG_HEAD and self.mem.order[pfn] >= PAGEBLOCK_ORDER:
            return 0
        if cc.mode != MIGRATE_ASYNC or not cc.direct_compaction:
            return 1
        block_mt: cython.int = self.zones.block_type[pfn >> PAGEBLOCK_SHIFT]
        if cc.migratetype == MIGRATE_MOVABLE:
            return block_mt in (MIGRATE_MOVABLE, MIGRATE_CMA)
        return block_mt == cc.migratetype

    @cython.cfunc
    def isolate_migratepages_block(
        self, cc: CompactControl, low_pfn: cython.int, end_pfn: cython.int
    ) -> cython.void:
        """Isolate movable pages of low_pfn .. end_pfn - 1, at most a batch of them."""
        first: cython.int = low_pfn
        scanned: cython.int = 0
        taken: cython.int = 0
        skip_updated: cython.int = 0
        careful: cython.int = cc.direct_compaction and cc.mode == MIGRATE_ASYNC
        next_skip: cython.int = 0
        aligned: cython.int = not low_pfn & (PAGEBLOCK_PAGES - 1)
        if careful:
            next_skip = (low_pfn >> cc.order << cc.order) + (1 << cc.order)
        while low_pfn < end_pfn:
            if careful and low_pfn >= next_skip:
                if taken:
                    break
                next_skip = (low_pfn >> cc.order << cc.order) + (1 << cc.order)
            scanned += 1
            flags: cython.longlong = self.mem.flags[low_pfn]
            if flags & PG_BUDDY:
                low_pfn += 1 << self.mem.order[low_pfn]
                continue
            if flags & PG_LRU and not flags & PG_HEAD and self.migrate.isolate(low_pfn, cc.mode):
                if not skip_updated:
                    skip_updated = 1
                    if not cc.ignore_skip_hint and aligned and low_pfn == first:
                        self.hints.skip[low_pfn >> PAGEBLOCK_SHIFT] = 1
                self.migratepages[cc.nr_migratepages] = low_pfn
                cc.nr_migratepages += 1
                taken += 1
                low_pfn += 1
                if cc.nr_migratepages >= COMPACT_CLUSTER_MAX and not cc.rescan:
                    break
                continue
            if flags & PG_HEAD:
                low_pfn += (1 << self.mem.order[low_pfn]) - 1
            if careful:
                self.putback_all(cc)
                taken = 0
                if low_pfn < next_skip:
                    low_pfn = next_skip - 1
                    next_skip += 1 << cc.order
            low_pfn += 1
        if low_pfn > end_pfn:
            low_pfn = end_pfn
        if low_pfn == end_pfn and (taken == 0 or cc.rescan):
            if aligned and not skip_updated:
                self.hints.skip[first >> PAGEBLOCK_SHIFT] = 1
            self.hints.update_cached_migrate(cc, low_pfn - 1)
        cc.total_migrate_scanned += scanned
        self.vmstat.count(COMPACT_ISOLATED, taken)
        cc.migrate_pfn = low_pfn

    @cython.cfunc
    def putback_all(self, cc: CompactControl) -> cython.void:
        """Give up the pages isolated so far."""
        while cc.nr_migratepages > 0:
            cc.nr_migratepages -= 1
            self.migrate.putback(self.migratepages[cc.nr_migratepages])

    @cython.cfunc
    def fast_find_migrateblock(self, cc: CompactControl) -> cython.int:
        """A page block that has free frames already, for large orders; else where we are."""
        pfn: cython.int = cc.migrate_pfn
        limit: cython.int = cc.scan_limit()
        if cc.ignore_skip_hint or cc.order <= PAGE_ALLOC_COSTLY_ORDER:
            return pfn
        if pfn != cc.zone.start_pfn and pfn & (PAGEBLOCK_PAGES - 1):
            return pfn
        if cc.direct_compaction and cc.migratetype != MIGRATE_MOVABLE:
            return pfn
        distance: cython.int = (cc.free_pfn - cc.migrate_pfn) >> 1
        if cc.migrate_pfn != cc.zone.start_pfn:
            distance >>= 2
        high_pfn: cython.int = (cc.migrate_pfn + distance) & ~(PAGEBLOCK_PAGES - 1)
        order: cython.int = cc.order - 1
        scanned: cython.int = 0
        while order >= PAGE_ALLOC_COSTLY_ORDER and scanned < limit:
            found: cython.int = self.find_free_source(cc, order, high_pfn, limit - scanned)
            scanned += self.order_scanned
            if found >= 0:
                cc.total_migrate_scanned += scanned
                cc.fast_search_fail = 0
                if cc.fast_start_pfn >= 0 and (cc.fast_start_pfn == 0 or found < cc.fast_start_pfn):
                    cc.fast_start_pfn = found
                self.hints.skip[found >> PAGEBLOCK_SHIFT] = 1
                found = found & ~(PAGEBLOCK_PAGES - 1)
                return found if found > cc.zone.start_pfn else cc.zone.start_pfn
            order -= 1
        cc.total_migrate_scanned += scanned
        cc.fast_search_fail += 1
        if cc.fast_start_pfn > 0:
            cc.migrate_pfn = cc.fast_start_pfn
            cc.fast_start_pfn = NIL
        return cc.migrate_pfn

    @cython.cfunc
    def find_free_source(
        self, cc: CompactControl, order: cython.int, high_pfn: cython.int, limit: cython.int
    ) -> cython.int:
        """A free block of `order` below `high_pfn` in a page block not skipped, or -1."""
        row: cython.int = (cc.zone.zone_id * NR_PAGE_ORDERS + order) * MIGRATE_TYPES
        head: cython.int = self.buddy.first_head + row + MIGRATE_MOVABLE
        pfn: cython.int = self.mem.lru_next[head]
        self.order_scanned = 0
        while pfn != head:
            self.order_scanned += 1
            if self.order_scanned > limit:
                break
            if pfn < high_pfn and not self.hints.skip[pfn >> PAGEBLOCK_SHIFT]:
                return pfn
            pfn = self.mem.lru_next[pfn]
        # DIFFERS: the list is not turned so that the next search sees other blocks
        # (move_freelist_tail()); which of equal page blocks is emptied; buddyinfo after compaction
        return -1

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of all state, for digests."""
        return self.hints.columns()
