"""Owns the per-CPU page lists of a zone: refilling, draining, and how many pages they may hold.

Imports buddy, mobility, mem_map, zone and flags. Has never heard of zonelists or watermark checks,
but one: on 6.12 a drain clears the mark that the zone is below its high watermark.

A page's life here: taken from the buddy in a batch -> last on a list -> first -> allocated -> freed
-> first on a list -> last -> given back to the buddy in a batch. Its row has PG_PCP, its order, and
in FREE_MT bits the migrate type it is to be given back with.
"""

from __future__ import annotations

import cython

from memtwin.errors import InternalError
from memtwin.page.buddy import Buddy
from memtwin.page.flags import (
    FREE_MT_MASK,
    FREE_MT_SHIFT,
    MIGRATE_CMA,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    MIGRATE_PCPTYPES,
    PAGEBLOCK_ORDER,
    PAGEBLOCK_SHIFT,
    PG_PCP,
)
from memtwin.page.gfp import (
    FPI_NONE,
    NR_LOWORDER_PCP_LISTS,
    NR_PCP_LISTS,
    PAGE_ALLOC_COSTLY_ORDER,
    PCP_BATCH_SCALE_MAX,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.mobility import Mobility
from memtwin.page.vmstat_items import NR_FREE_CMA, NR_FREE_PAGES
from memtwin.page.zone import Zone


@cython.final
@cython.cclass
class PerCpuPages:
    """The lists of one zone on one CPU (include/linux/mmzone.h struct per_cpu_pages, v6.12)."""

    def __init__(self, zone: Zone, cpu: int, buddy: Buddy, mobility: Mobility) -> None:
        self.zone = zone
        self.cpu = cpu
        self.buddy = buddy
        self.mobility = mobility
        mem_map: MemMap = buddy.mem_map
        self.mem_map = mem_map
        self.kernel = buddy.kernel
        self.count = 0  # pages on all lists
        self.high = (
            0  # 6.1: drain at this count; 6.12: the same, tuned between high_min and high_max
        )
        self.high_min = 0
        self.high_max = 0
        self.batch = 1
        self.free_factor = 0  # 6.1: doublings of the next drain
        self.alloc_factor = 0  # 6.12: doublings of the next refill
        self.free_count = 0  # 6.12: pages freed lately without allocating
        self.prev_free_high_order = 0  # 6.12: PCPF_PREV_FREE_HIGH_ORDER
        self.first_head = buddy.mem_map.nr_frames + buddy.mem_map.nr_heads
        for _ in range(NR_PCP_LISTS):
            buddy.mem_map.new_head()

    @cython.cfunc
    @cython.exceptval(check=False)
    def order_to_pindex(self, migratetype: cython.int, order: cython.int) -> cython.int:
        """Number of the list for pages of this type and order."""
        # mm/page_alloc.c order_to_pindex(), v6.12
        if order > PAGE_ALLOC_COSTLY_ORDER:
            return NR_LOWORDER_PCP_LISTS + (migratetype == MIGRATE_MOVABLE)
        return MIGRATE_PCPTYPES * order + migratetype

    @cython.cfunc
    @cython.exceptval(check=False)
    def rmqueue(
        self, order: cython.int, migratetype: cython.int, alloc_flags: cython.int
    ) -> cython.int:
        """Take a block of 2**order frames, refilling the list first when it is empty; or -1."""
        # mm/page_alloc.c rmqueue_pcplist() and __rmqueue_pcplist(), v6.1 and v6.12
        self.free_factor >>= 1
        self.free_count >>= 1
        head: cython.int = self.first_head + self.order_to_pindex(migratetype, order)
        if self.mem_map.lru_next[head] == head:
            self._rmqueue_bulk(order, self._nr_pcp_alloc(order), head, migratetype, alloc_flags)
        pfn: cython.int = self.mem_map.lru_next[head]
        if pfn == head:
            return -1
        self.mem_map.list_del(pfn)
        self.count -= 1 << order
        return pfn

    @cython.cfunc
    @cython.exceptval(check=False)
    def _nr_pcp_alloc(self, order: cython.int) -> cython.int:
        # mm/page_alloc.c nr_pcp_alloc(), v6.12; __rmqueue_pcplist(), v6.1
        batch: cython.int = self.batch
        if self.kernel < 612:
            return max(batch >> order, 2) if batch > 1 else batch
        high: cython.int = min(max(self.high, self.high_min), self.high_max)
        max_nr_alloc: cython.int
        self.high = high
        if high < self.batch:
            return 1
        if order == 0:
            batch = self.batch << self.alloc_factor
        if self.high_min != self.high_max and not self.zone.below_high:
            high = min(high + batch, self.high_max)
            self.high = high
        if order == 0:
            max_nr_alloc = max(high - self.count - self.batch, self.batch)
            if batch <= max_nr_alloc and self.alloc_factor < PCP_BATCH_SCALE_MAX:
                self.alloc_factor += 1
            batch = min(batch, max_nr_alloc)
        return max(batch >> order, 2) if batch > 1 else batch

    @cython.cfunc
    @cython.exceptval(check=False)
    def _rmqueue_bulk(
        self,
        order: cython.int,
        count: cython.int,
        head: cython.int,
        migratetype: cython.int,
        alloc_flags: cython.int,
    ) -> cython.void:
        # mm/page_alloc.c rmqueue_bulk(), v6.12
        pfn: cython.int
        free_mt: cython.longlong
        self.mobility.begin_bulk()
        if order == 0 and self.zone.cma_pages == 0:
            count = self._refill_runs(count, head, migratetype)
        while count > 0:
            count -= 1
            pfn = self.mobility.rmqueue(self.zone, order, migratetype, alloc_flags)
            if pfn < 0:
                break
            free_mt = migratetype
            if self.buddy.zones.block_type[pfn >> PAGEBLOCK_SHIFT] == MIGRATE_CMA:
                free_mt = MIGRATE_CMA
            self.mem_map.flags[pfn] = PG_PCP | (free_mt << FREE_MT_SHIFT)
            self.mem_map.order[pfn] = order
            self.mem_map.list_add_tail(head, pfn)
            self.count += 1 << order

    @cython.cfunc
    @cython.exceptval(check=False)
    def _refill_runs(
        self, count: cython.int, head: cython.int, migratetype: cython.int
    ) -> cython.int:
        # the same frames in the same order as one by one, a block at a time; frames still missing
        pfn: cython.int
        end_pfn: cython.int
        last: cython.int = self.mem_map.lru_prev[head]
        word: cython.longlong = migratetype
        word = PG_PCP | (word << FREE_MT_SHIFT)
        while count > 0:
            pfn = self.buddy.take_run(self.zone, count, migratetype)
            if pfn < 0:
                break
            count -= self.buddy.run_pages
            self.count += self.buddy.run_pages
            end_pfn = pfn + self.buddy.run_pages
            while pfn < end_pfn:
                self.mem_map.flags[pfn] = word
                self.mem_map.lru_next[last] = pfn
                self.mem_map.lru_prev[pfn] = last
                last = pfn
                pfn += 1
        self.mem_map.lru_next[last] = head
        self.mem_map.lru_prev[head] = last
        return count

    @cython.cfunc
    @cython.exceptval(check=False)
    def free(self, pfn: cython.int, block_mt: cython.int, order: cython.int) -> cython.void:
        """Put a freed block, its page block of type `block_mt`, on its list; drain when full."""
        # mm/page_alloc.c free_unref_page_commit(), v6.1 and v6.12
        free_mt: cython.longlong = block_mt
        list_mt: cython.int = block_mt if block_mt < MIGRATE_PCPTYPES else MIGRATE_MOVABLE
        pindex: cython.int = self.order_to_pindex(list_mt, order)
        free_high: cython.int = 0
        high: cython.int
        self.mem_map.flags[pfn] = PG_PCP | (free_mt << FREE_MT_SHIFT)
        self.mem_map.order[pfn] = order
        self.mem_map.list_add(self.first_head + pindex, pfn)
        self.count += 1 << order
        if self.kernel < 612:
            free_high = self.free_factor != 0 and order != 0 and order <= PAGE_ALLOC_COSTLY_ORDER
            high = self._nr_pcp_high_61(free_high)
            if self.count >= high:
                self.free_bulk(self._nr_pcp_free_61(high, free_high), pindex)
            return
        self.alloc_factor >>= 1
        if order != 0 and order <= PAGE_ALLOC_COSTLY_ORDER:
            # MODEL: the CPU's cache slice is taken to be large (PCPF_FREE_HIGH_BATCH)
            free_high = (
                self.free_count >= self.batch
                and self.prev_free_high_order != 0
                and self.count >= self.batch
            )
            self.prev_free_high_order = 1
        else:
            self.prev_free_high_order = 0
        if self.free_count < self.batch << PCP_BATCH_SCALE_MAX:
            self.free_count += 1 << order
        high = self._nr_pcp_high_612(free_high)
        if self.count >= high:
            self.free_bulk(self._nr_pcp_free_612(high, free_high), pindex)
            if self.zone.below_high and self._above_high_wmark():
                self.zone.below_high = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def _nr_pcp_high_61(self, free_high: cython.int) -> cython.int:
        # mm/page_alloc.c nr_pcp_high(), v6.1
        if self.high == 0 or free_high:
            return 0
        if not self.zone.reclaim_active:
            return self.high
        return min(self.batch << 2, self.high)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _nr_pcp_free_61(self, high: cython.int, free_high: cython.int) -> cython.int:
        # mm/page_alloc.c nr_pcp_free(), v6.1
        if free_high:
            return self.count
        if high < self.batch:
            return 1
        batch: cython.int = self.batch << self.free_factor
        if batch < high - self.batch and self.free_factor < PCP_BATCH_SCALE_MAX:
            self.free_factor += 1
        return min(max(batch, self.batch), high - self.batch)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _nr_pcp_high_612(self, free_high: cython.int) -> cython.int:
        # mm/page_alloc.c nr_pcp_high(), v6.12
        batch: cython.int = self.batch
        high: cython.int = min(max(self.high, self.high_min), self.high_max)
        self.high = high
        if high == 0:
            return 0
        if free_high:
            self.high = max(high - (batch << PCP_BATCH_SCALE_MAX), self.high_min)
            return 0
        free_count: cython.int = max(self.free_count, batch)
        if self.zone.reclaim_active:
            self.high = max(high - free_count, self.high_min)
            return min(batch << 2, self.high)
        if self.high_min == self.high_max:
            return high
        if self.zone.below_high:
            self.high = max(high - free_count, self.high_min)
            return max(self.count, self.high_min)
        if self.count >= high and self.high < self.free_count + batch:
            self.high = min(max(self.free_count + batch, self.high_min), self.high_max)
        return high

    @cython.cfunc
    @cython.exceptval(check=False)
    def _nr_pcp_free_612(self, high: cython.int, free_high: cython.int) -> cython.int:
        # mm/page_alloc.c nr_pcp_free(), v6.12
        if free_high:
            return min(self.count, self.batch << PCP_BATCH_SCALE_MAX)
        if high < self.batch:
            return 1
        return min(max(self.free_count, self.batch), high - self.batch)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _above_high_wmark(self) -> cython.int:
        # mm/page_alloc.c zone_watermark_ok() for order 0 and no flags, v6.12
        free_pages: cython.longlong = self.buddy.vmstat.zone_stat[
            self.zone.stat_base + NR_FREE_PAGES
        ]
        free_pages -= self.zone.nr_free_highatomic
        free_pages -= self.buddy.vmstat.zone_stat[self.zone.stat_base + NR_FREE_CMA]
        mark: cython.longlong = self.zone.wmark_high + self.zone.watermark_boost
        return free_pages > mark + self.zone.lowmem_reserve[self.buddy.zones.idx_movable]

    @cython.cfunc
    @cython.exceptval(check=False)
    def free_bulk(self, count: cython.int, pindex: cython.int) -> cython.void:
        """Give back the last `count` pages, list by list, beginning with list `pindex`."""
        # mm/page_alloc.c free_pcppages_bulk(), v6.12. v6.1 narrows the round to lists that it has
        # not found empty at either end of the range, which skips empty lists only.
        order: cython.int
        head: cython.int
        pfn: cython.int
        before: cython.int
        migratetype: cython.int
        count = min(count, self.count)
        pindex -= 1
        while count > 0:
            pindex += 1
            if pindex >= NR_PCP_LISTS:
                pindex = 0
            head = self.first_head + pindex
            order = PAGEBLOCK_ORDER
            if pindex < NR_LOWORDER_PCP_LISTS:
                order = pindex // MIGRATE_PCPTYPES
            pfn = self.mem_map.lru_prev[head]
            while count > 0 and pfn != head:
                before = self.mem_map.lru_prev[pfn]
                count -= 1 << order
                self.count -= 1 << order
                migratetype = self.buddy.zones.block_type[pfn >> PAGEBLOCK_SHIFT]
                if self.kernel < 612 and migratetype != MIGRATE_ISOLATE:
                    migratetype = (self.mem_map.flags[pfn] & FREE_MT_MASK) >> FREE_MT_SHIFT
                self.buddy.free_one_page(self.zone, pfn, order, migratetype, FPI_NONE)
                pfn = before
            self.mem_map.lru_prev[head] = pfn  # cut the tail off
            self.mem_map.lru_next[pfn] = head

    @cython.ccall
    def drain(self) -> cython.int:
        """Give all pages back; their number."""
        # mm/page_alloc.c drain_pages_zone(), v6.12
        drained: cython.int = self.count
        while self.count > 0:
            self.free_bulk(self.batch << PCP_BATCH_SCALE_MAX, 0)
        return drained

    @cython.ccall
    def decay_high(self) -> cython.int:
        """What the vmstat worker does each second on 6.12; 1 when there is more to do."""
        # mm/page_alloc.c decay_pcp_high(), v6.12
        todo: cython.int = 0
        to_drain: cython.int
        if self.high > self.high_min:
            self.high = max(
                self.count - (self.batch << PCP_BATCH_SCALE_MAX),
                self.high - (self.high >> 3),
                self.high_min,
            )
            todo = self.high > self.high_min
        to_drain = self.count - self.high
        while to_drain > 0:
            self.free_bulk(min(to_drain, self.batch), 0)
            todo = 1
            to_drain -= self.batch
        return todo

    def seed(self, pfn: int, migratetype: int, order: int) -> None:
        """Put a block last on its list without draining: for seeding."""
        list_mt = migratetype if migratetype < MIGRATE_PCPTYPES else MIGRATE_MOVABLE
        self.mem_map.flags[pfn] = PG_PCP | (migratetype << FREE_MT_SHIFT)
        self.mem_map.order[pfn] = order
        self.mem_map.list_add_tail(self.first_head + self.order_to_pindex(list_mt, order), pfn)
        self.count += 1 << order

    def free_list(self, pindex: int) -> list[int]:
        """Blocks of list `pindex`, first to last."""
        return self.mem_map.walk(self.first_head + pindex)

    def verify(self) -> None:
        """Raise InternalError when a mark or the count differs from what the lists hold."""
        total = 0
        for pindex in range(NR_PCP_LISTS):
            order = PAGEBLOCK_ORDER
            if pindex < NR_LOWORDER_PCP_LISTS:
                order = pindex // MIGRATE_PCPTYPES
            for pfn in self.free_list(pindex):
                total += 1 << order
                if not self.mem_map.flags[pfn] & PG_PCP or self.mem_map.order[pfn] != order:
                    raise InternalError(
                        f"PerCpuPages.verify: frame {pfn} on list {pindex} has flags"
                        f" {self.mem_map.flags[pfn]:#x}, order {self.mem_map.order[pfn]}"
                    )
        if total != self.count:
            raise InternalError(
                f"PerCpuPages.verify: zone {self.zone.zone_id} cpu {self.cpu}:"
                f" {total} pages on the lists, count {self.count}"
            )

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = "count high high_min high_max batch free_factor alloc_factor free_count"
        return [(name, getattr(self, name)) for name in [*names.split(), "prev_free_high_order"]]
