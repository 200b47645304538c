"""Owns when zones are compacted: by hand, by kcompactd behind kswapd, and for a request that finds
no block; and for how long a zone that disappointed is left alone.

Imports page, vmscan and the rest of compaction. Knows nothing of what the block is for.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.page.flags import MIGRATE_UNMOVABLE, NR_PAGE_ORDERS
from memtwin.page.gfp import ALLOC_CMA, ALLOC_WMARK_MASK
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    COMPACT_DAEMON_FREE_SCANNED,
    COMPACT_DAEMON_MIGRATE_SCANNED,
    COMPACT_DAEMON_WAKE,
    NR_FREE_PAGES,
)
from memtwin.page.vmstat_items import COMPACT_FAIL as COMPACTFAIL
from memtwin.page.vmstat_items import COMPACT_STALL as COMPACTSTALL
from memtwin.page.vmstat_items import COMPACT_SUCCESS as COMPACTSUCCESS
from memtwin.page.zone import Zone, Zones
from memtwin.reclaim.compact_constants import (
    COMPACT_COMPLETE,
    COMPACT_CONTINUE,
    COMPACT_DEFERRED,
    COMPACT_MAX_DEFER_SHIFT,
    COMPACT_PARTIAL_SKIPPED,
    COMPACT_PRIO_ASYNC,
    COMPACT_SKIPPED,
    COMPACT_SUCCESS,
    MIGRATE_ASYNC,
    MIGRATE_SYNC,
    MIGRATE_SYNC_LIGHT,
    MIN_COMPACT_COSTLY_PRIORITY,
    MIN_COMPACT_PRIORITY,
    WHOLE_ZONES,
)
from memtwin.reclaim.compact_control import CompactControl
from memtwin.reclaim.compaction import Compaction
from memtwin.reclaim.constants import PAGE_ALLOC_COSTLY_ORDER
from memtwin.reclaim.vmscan import Vmscan

COLUMNS = (
    Column("considered", "i4", "compact_policy", "requests since the zone was deferred"),
    Column("defer_shift", "i4", "compact_policy", "log2 of the requests it is left alone for"),
    Column("order_failed", "i4", "compact_policy", "least order that compaction failed for"),
)
_MAX_COMPACT_RETRIES = 16  # mm/page_alloc.c MAX_COMPACT_RETRIES, v6.1


@cython.final
@cython.cclass
class CompactPolicy:
    """Decides about compaction."""

    # DIFFERS: no proactive compaction (vm.compaction_proactiveness); it looks every 500 ms and acts
    # above a score of 90 of 100 only; large blocks of machines fragmented that far

    def __init__(self, compaction: Compaction, vmscan: Vmscan, page_alloc: PageAlloc) -> None:
        self.compaction = compaction
        self.vmscan = vmscan
        self.page_alloc = page_alloc
        self.zones: Zones = page_alloc.zones
        self.vmstat: VmStat = page_alloc.vmstat
        self.tunables: Tunables = page_alloc.tunables
        self.considered = zeros(self.zones.nr_zones, "i4")
        self.defer_shift = zeros(self.zones.nr_zones, "i4")
        self.order_failed = zeros(self.zones.nr_zones, "i4")
        self.result = COMPACT_SKIPPED  # of the last direct_compact
        self.retries = 0
        self.priority = COMPACT_PRIO_ASYNC

    # -- by hand -------------------------------------------------------------------------------

    @cython.ccall
    def compact_all(self) -> cython.int:
        """/proc/sys/vm/compact_memory: every zone, from end to end; 0."""
        # mm/compaction.c compact_nodes(), v6.1
        i: cython.int
        self.compaction.lru.lru_add_drain_all()
        for i in range(self.zones.nr_zones):
            zone: Zone = self.zones.zones[i]
            if zone.managed_pages > 0:
                cc: CompactControl = CompactControl(
                    zone, WHOLE_ZONES, MIGRATE_SYNC, MIGRATE_UNMOVABLE
                )
                cc.whole_zone = 1
                cc.ignore_skip_hint = 1
                self.compaction.compact_zone(cc)
        return 0

    # -- kcompactd -----------------------------------------------------------------------------

    @cython.ccall
    def kswapd_sleeps(self, node: cython.int, order: cython.int, highest: cython.int) -> cython.int:
        """A node's kswapd is done: it has freed memory, now make blocks of it; 0."""
        # mm/vmscan.c kswapd_try_to_sleep(), v6.1
        idx: cython.int
        for idx in range(self.zones.nr_types):
            at: cython.int = node * self.zones.nr_types + idx
            zone: Zone = self.zones.zones[at]
            if zone.managed_pages > 0 and self.compaction.hints.blockskip_flush[at]:
                self.compaction.hints.reset_isolation_suitable(at)
        self.wakeup_kcompactd(node, order, highest)
        return 0

    @cython.ccall
    def wakeup_kcompactd(
        self, node: cython.int, order: cython.int, highest: cython.int
    ) -> cython.int:
        """Let kcompactd work when a zone can give a block of `order` by compaction; 1 if so."""
        # MODEL: it runs at once, as a woken daemon does on an idle CPU
        idx: cython.int
        if order <= 0:
            return 0
        for idx in range(highest + 1):
            zone: Zone = self.zones.zones[node * self.zones.nr_types + idx]
            if zone.managed_pages > 0:
                if self.compaction_suitable(zone, order, 0, highest) == COMPACT_CONTINUE:
                    self.kcompactd(node, order, highest)
                    return 1
        return 0

    @cython.cfunc
    def kcompactd(self, node: cython.int, order: cython.int, highest: cython.int) -> cython.void:
        """Compact a node's zones for `order` (kcompactd_do_work())."""
        idx: cython.int
        status: cython.int
        self.vmstat.count(COMPACT_DAEMON_WAKE, 1)
        for idx in range(highest + 1):
            zone: Zone = self.zones.zones[node * self.zones.nr_types + idx]
            if zone.managed_pages == 0 or self.deferred(zone, order):
                continue
            if self.compaction_suitable(zone, order, 0, idx) != COMPACT_CONTINUE:
                continue
            cc: CompactControl = CompactControl(zone, order, MIGRATE_SYNC_LIGHT, MIGRATE_UNMOVABLE)
            status = self.compaction.compact_zone(cc)
            if status == COMPACT_SUCCESS:
                self.defer_reset(zone, order, 0)
            elif status in (COMPACT_PARTIAL_SKIPPED, COMPACT_COMPLETE):
                self.page_alloc.drain_all_pages()
                self.defer_compaction(zone, order)
            self.vmstat.count(COMPACT_DAEMON_MIGRATE_SCANNED, cc.total_migrate_scanned)
            self.vmstat.count(COMPACT_DAEMON_FREE_SCANNED, cc.total_free_scanned)

    # -- is it worth it ------------------------------------------------------------------------

    @cython.cfunc
    def suitable(
        self, zone: Zone, order: cython.int, alloc_flags: cython.int, highest: cython.int,
        free_pages: cython.longlong,
    ) -> cython.int:  # fmt: skip
        """SUCCESS: there is a block; SKIPPED: too little is free; CONTINUE: compact."""
        # mm/compaction.c __compaction_suitable(), v6.1
        mark: cython.longlong = self.page_alloc.wmark_pages(
            zone.zone_id, alloc_flags & ALLOC_WMARK_MASK
        )
        if self.page_alloc.zone_watermark_ok(zone.zone_id, order, mark, highest, alloc_flags):
            return COMPACT_SUCCESS
        mark = zone.wmark_low if order > PAGE_ALLOC_COSTLY_ORDER else zone.wmark_min
        mark += 2 << order  # compact_gap()
        if not self.page_alloc.watermarks.watermark_ok(
            zone, 0, mark, highest, ALLOC_CMA, free_pages
        ):
            return COMPACT_SKIPPED
        return COMPACT_CONTINUE

    @cython.cfunc
    def compaction_suitable(
        self, zone: Zone, order: cython.int, alloc_flags: cython.int, highest: cython.int
    ) -> cython.int:
        """The same, and for costly orders only where fragmentation is what is wrong."""
        index: cython.longlong
        free: cython.longlong = self.vmstat.zone_page_state(zone.zone_id, NR_FREE_PAGES)
        verdict: cython.int = self.suitable(zone, order, alloc_flags, highest, free)
        if verdict == COMPACT_CONTINUE and order > PAGE_ALLOC_COSTLY_ORDER:
            index = self.fragmentation_index(zone, order)
            if index >= 0 and index <= self.tunables.extfrag_threshold:
                return COMPACT_SKIPPED
        return verdict

    @cython.cfunc
    def fragmentation_index(self, zone: Zone, order: cython.int) -> cython.longlong:
        """Thousandths: 0 too little memory, 1000 fragmented, -1000 a block is there."""
        # mm/vmstat.c __fragmentation_index(), v6.1; page/fragmentation.py has it for views
        base: cython.int = zone.zone_id * NR_PAGE_ORDERS
        pages: cython.longlong = 0
        blocks: cython.longlong = 0
        at: cython.int
        for at in range(NR_PAGE_ORDERS):
            count: cython.longlong = self.page_alloc.buddy.nr_free[base + at]
            pages += count << at
            blocks += count
            if at >= order and count > 0:
                return -1000
        if blocks == 0:
            return 0
        return 1000 - (1000 + pages * 1000 // (1 << order)) // blocks

    # -- leaving a zone alone ------------------------------------------------------------------

    @cython.cfunc
    def deferred(self, zone: Zone, order: cython.int) -> cython.int:
        """1 when the zone is still to be left alone (compaction_deferred())."""
        at: cython.int = zone.zone_id
        limit: cython.int = 1 << self.defer_shift[at]
        if order < self.order_failed[at]:
            return 0
        self.considered[at] += 1
        if self.considered[at] >= limit:
            self.considered[at] = limit
            return 0
        return 1

    @cython.cfunc
    def defer_compaction(self, zone: Zone, order: cython.int) -> cython.void:
        """It did not help: leave the zone alone for twice as many requests."""
        at: cython.int = zone.zone_id
        self.considered[at] = 0
        self.defer_shift[at] = min(self.defer_shift[at] + 1, COMPACT_MAX_DEFER_SHIFT)
        if order < self.order_failed[at]:
            self.order_failed[at] = order

    @cython.cfunc
    def defer_reset(self, zone: Zone, order: cython.int, succeeded: cython.int) -> cython.void:
        """It helped, or is about to (compaction_defer_reset())."""
        at: cython.int = zone.zone_id
        if succeeded:
            self.considered[at] = 0
            self.defer_shift[at] = 0
        if order >= self.order_failed[at]:
            self.order_failed[at] = order + 1

    # -- for a request -------------------------------------------------------------------------

    @cython.cfunc
    def start_request(self) -> cython.void:
        """A new request enters the slow path."""
        self.retries = 0
        self.priority = COMPACT_PRIO_ASYNC
        self.result = COMPACT_SKIPPED

    @cython.ccall
    def direct_compact(
        self, gfp: cython.int, order: cython.int, alloc_flags: cython.int, priority: cython.int
    ) -> cython.int:
        """Compact and try again: a pfn, or -1. `result` tells what came of it."""
        # mm/page_alloc.c __alloc_pages_direct_compact(), v6.1
        self.result = COMPACT_SKIPPED
        if order == 0:
            return -1
        self.compaction.lru.memalloc += 1
        self.result = self.try_to_compact_pages(gfp, order, alloc_flags, priority)
        self.compaction.lru.memalloc -= 1
        if self.result == COMPACT_SKIPPED:
            return -1
        self.vmstat.count(COMPACTSTALL, 1)
        pfn: cython.int = self.page_alloc.get_page_from_freelist(gfp, order, alloc_flags)
        if pfn < 0:
            self.vmstat.count(COMPACTFAIL, 1)
            return -1
        zone: Zone = self.zones.zones[self.zones.zone_of(pfn)]
        self.compaction.hints.blockskip_flush[zone.zone_id] = 0
        self.defer_reset(zone, order, 1)
        self.vmstat.count(COMPACTSUCCESS, 1)
        return pfn

    @cython.cfunc
    def try_to_compact_pages(
        self, gfp: cython.int, order: cython.int, alloc_flags: cython.int, priority: cython.int
    ) -> cython.int:
        """Each zone that may serve the request, until one has a block; the best COMPACT_*."""
        # mm/compaction.c try_to_compact_pages(), v6.1
        best: cython.int = COMPACT_SKIPPED
        status: cython.int
        highest: cython.int = self.zones.gfp_zone(gfp)
        at: cython.int = self.zones.zonelist_row(self.page_alloc.node, highest)
        while self.zones.zonelist[at] >= 0:
            zone: Zone = self.zones.zones[self.zones.zonelist[at]]
            at += 1
            if priority > MIN_COMPACT_PRIORITY and self.deferred(zone, order):
                best = max(best, COMPACT_DEFERRED)
                continue
            status = self.compact_zone_order(zone, gfp, order, alloc_flags, highest, priority)
            best = max(best, status)
            if status == COMPACT_SUCCESS:
                self.defer_reset(zone, order, 0)
                break
            if priority != COMPACT_PRIO_ASYNC and (
                status in (COMPACT_COMPLETE, COMPACT_PARTIAL_SKIPPED)
            ):
                self.defer_compaction(zone, order)
        return best

    @cython.cfunc
    def compact_zone_order(
        self, zone: Zone, gfp: cython.int, order: cython.int, alloc_flags: cython.int,
        highest: cython.int, priority: cython.int,
    ) -> cython.int:  # fmt: skip
        """One zone for one request; COMPACT_*."""
        verdict: cython.int = self.compaction_suitable(zone, order, alloc_flags, highest)
        at: cython.int = zone.zone_id
        if verdict != COMPACT_CONTINUE:
            return verdict
        if order >= self.order_failed[at] and self.defer_shift[at] == COMPACT_MAX_DEFER_SHIFT:
            if self.considered[at] >= 1 << self.defer_shift[at]:
                self.compaction.hints.reset_isolation_suitable(at)
        cc: CompactControl = CompactControl(
            zone,
            order,
            MIGRATE_ASYNC if priority == COMPACT_PRIO_ASYNC else MIGRATE_SYNC_LIGHT,
            self.page_alloc.mobility.gfp_migratetype(gfp),
        )
        cc.direct_compaction = 1
        if priority == MIN_COMPACT_PRIORITY:
            cc.whole_zone = 1
            cc.ignore_skip_hint = 1
            cc.ignore_block_suitable = 1
        return self.compaction.compact_zone(cc)

    @cython.cfunc
    def should_retry(
        self, gfp: cython.int, order: cython.int, alloc_flags: cython.int
    ) -> cython.int:
        """1 when reclaim made progress and compaction may yet help (should_compact_retry())."""
        lowest: cython.int = MIN_COMPACT_PRIORITY
        most: cython.int = _MAX_COMPACT_RETRIES
        if order == 0:
            return 0
        if self.result == COMPACT_SUCCESS:
            self.retries += 1
        if self.result == COMPACT_SKIPPED:
            return self.zonelist_suitable(gfp, order, alloc_flags)
        if order > PAGE_ALLOC_COSTLY_ORDER:
            most = most // 4
            lowest = MIN_COMPACT_COSTLY_PRIORITY
        if self.result == COMPACT_SUCCESS and self.retries <= most:
            return 1
        if self.priority > lowest:
            self.priority -= 1
            self.retries = 0
            return 1
        return 0

    @cython.cfunc
    def zonelist_suitable(
        self, gfp: cython.int, order: cython.int, alloc_flags: cython.int
    ) -> cython.int:
        """1 when a zone could be compacted if reclaim went on (compaction_zonelist_suitable())."""
        highest: cython.int = self.zones.gfp_zone(gfp)
        at: cython.int = self.zones.zonelist_row(self.page_alloc.node, highest)
        while self.zones.zonelist[at] >= 0:
            zone: Zone = self.zones.zones[self.zones.zonelist[at]]
            at += 1
            available: cython.longlong = self.vmscan.zone_reclaimable_pages(zone.zone_id) // order
            available += self.vmstat.zone_page_state(zone.zone_id, NR_FREE_PAGES)
            if self.suitable(zone, order, alloc_flags, highest, available) == COMPACT_CONTINUE:
                return 1
        return 0

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of all state, for digests."""
        return [(column.name, getattr(self, column.name)) for column in COLUMNS]
