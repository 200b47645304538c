"""Owns the free lists of all zones: adding, removing, splitting and merging free blocks.

Imports mem_map, zone, vmstat and flags. Has never heard of per-CPU lists, watermarks or reclaim.

A free block's life: freed -> merged with its buddies -> on the list of its order and migrate type
-> taken -> split down to the order asked for. Its first row has PG_BUDDY, its order, and the
migrate type of its list in FREE_MT bits; all other rows of the block have flags 0.

Blocks between a zone's deferred_start_pfn and deferred_end_pfn are free, of MAX_ORDER and movable,
and count as such, but are not threaded: they are the tail of that list. A machine pays for them
when it needs them.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.errors import InternalError
from memtwin.page.flags import (
    FREE_MT_MASK,
    FREE_MT_SHIFT,
    MAX_ORDER,
    MIGRATE_CMA,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    MIGRATE_PCPTYPES,
    MIGRATE_TYPES,
    NR_PAGE_ORDERS,
    PAGEBLOCK_ORDER,
    PAGEBLOCK_SHIFT,
    PG_BUDDY,
)
from memtwin.page.gfp import FPI_TO_TAIL, HEAD_ADD, TAIL_ADD
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import NR_FREE_CMA, NR_FREE_PAGES
from memtwin.page.zone import Zone, Zones

COLUMNS = (
    Column("nr_free", "i4", "buddy", "free blocks; row zone_id * NR_PAGE_ORDERS + order"),
    Column(
        "nr_free_type", "i4", "buddy", "the same by migrate type; row (that) * MIGRATE_TYPES + type"
    ),
)


@cython.final
@cython.cclass
class Buddy:
    """The free areas of every zone."""

    def __init__(self, mem_map: MemMap, zones: Zones, vmstat: VmStat, kernel: int) -> None:
        self.mem_map = mem_map
        self.zones = zones
        self.vmstat = vmstat
        self.kernel = kernel
        self.nr_free = zeros(zones.nr_zones * NR_PAGE_ORDERS, "i4")
        self.nr_free_type = zeros(zones.nr_zones * NR_PAGE_ORDERS * MIGRATE_TYPES, "i4")
        self.run_pages = 0  # frames that take_run() took last
        self.first_head = mem_map.nr_frames + mem_map.nr_heads
        for _ in range(zones.nr_zones * NR_PAGE_ORDERS * MIGRATE_TYPES):
            mem_map.new_head()

    @cython.cfunc
    @cython.exceptval(check=False)
    def account_freepages(
        self, zone: Zone, nr_pages: cython.longlong, migratetype: cython.int
    ) -> cython.void:
        """Add `nr_pages` to the zone's free pages, as free pages of `migratetype`."""
        # mm/page_alloc.c account_freepages(), v6.12; v6.1 __mod_zone_freepage_state() has no
        # highatomic
        if migratetype == MIGRATE_ISOLATE:
            return
        self.vmstat.zone_stat[zone.stat_base + NR_FREE_PAGES] += nr_pages
        if migratetype < MIGRATE_PCPTYPES:
            return
        if migratetype == MIGRATE_CMA:
            self.vmstat.zone_stat[zone.stat_base + NR_FREE_CMA] += nr_pages
        else:
            zone.nr_free_highatomic += nr_pages

    @cython.cfunc
    @cython.exceptval(check=False)
    def add_to_free_list(
        self,
        zone_id: cython.int,
        pfn: cython.int,
        order: cython.int,
        migratetype: cython.int,
        where: cython.int,
    ) -> cython.void:
        """Thread a block that is on no list; marks its first row."""
        area: cython.int = zone_id * NR_PAGE_ORDERS + order
        row: cython.int = area * MIGRATE_TYPES + migratetype
        free_mt: cython.longlong = migratetype
        self.mem_map.flags[pfn] = PG_BUDDY | (free_mt << FREE_MT_SHIFT)
        self.mem_map.order[pfn] = order
        head: cython.int = self.first_head + row
        other: cython.int
        if where == TAIL_ADD:
            other = self.mem_map.lru_prev[head]
            self.mem_map.lru_prev[pfn] = other
            self.mem_map.lru_next[pfn] = head
            self.mem_map.lru_next[other] = pfn
            self.mem_map.lru_prev[head] = pfn
        else:
            other = self.mem_map.lru_next[head]
            self.mem_map.lru_next[pfn] = other
            self.mem_map.lru_prev[pfn] = head
            self.mem_map.lru_prev[other] = pfn
            self.mem_map.lru_next[head] = pfn
        self.nr_free[area] += 1
        self.nr_free_type[row] += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def del_page_from_free_list(self, zone_id: cython.int, pfn: cython.int) -> cython.int:
        """Take the block at `pfn` off its list and unmark it; the migrate type of that list."""
        order: cython.int = self.mem_map.order[pfn]
        migratetype: cython.int = (self.mem_map.flags[pfn] & FREE_MT_MASK) >> FREE_MT_SHIFT
        area: cython.int = zone_id * NR_PAGE_ORDERS + order
        after: cython.int = self.mem_map.lru_next[pfn]
        before: cython.int = self.mem_map.lru_prev[pfn]
        self.mem_map.lru_next[before] = after
        self.mem_map.lru_prev[after] = before
        self.mem_map.flags[pfn] = 0
        self.mem_map.order[pfn] = 0
        self.nr_free[area] -= 1
        self.nr_free_type[area * MIGRATE_TYPES + migratetype] -= 1
        return migratetype

    @cython.cfunc
    @cython.exceptval(check=False)
    def move_to_free_list(
        self, zone: Zone, pfn: cython.int, migratetype: cython.int
    ) -> cython.void:
        """Move a free block to the tail of the list of `migratetype`."""
        # mm/page_alloc.c move_to_free_list(), v6.12 accounts the change; v6.1 does not for CMA
        order: cython.int = self.mem_map.order[pfn]
        size_pages: cython.longlong = 1
        size_pages <<= order
        old: cython.int = self.del_page_from_free_list(zone.zone_id, pfn)
        self.add_to_free_list(zone.zone_id, pfn, order, migratetype, TAIL_ADD)
        self.account_freepages(zone, -size_pages, old)
        self.account_freepages(zone, size_pages, migratetype)

    @cython.cfunc
    @cython.exceptval(check=False)
    def is_empty(
        self, zone_id: cython.int, order: cython.int, migratetype: cython.int
    ) -> cython.int:
        """1 when no block of this order and type is free."""
        area: cython.int = zone_id * NR_PAGE_ORDERS + order
        return self.nr_free_type[area * MIGRATE_TYPES + migratetype] == 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def first_free(self, zone: Zone, order: cython.int, migratetype: cython.int) -> cython.int:
        """First block of the list, or -1; threads a deferred block when the list has run out."""
        row: cython.int = (zone.zone_id * NR_PAGE_ORDERS + order) * MIGRATE_TYPES + migratetype
        if self.nr_free_type[row] == 0:
            return -1
        pfn: cython.int = self.mem_map.lru_next[self.first_head + row]
        if pfn != self.first_head + row:
            return pfn
        self.thread_deferred(zone, 1)
        return self.mem_map.lru_next[self.first_head + row]

    @cython.cfunc
    @cython.exceptval(check=False)
    def thread_deferred(self, zone: Zone, nr_blocks: cython.int) -> cython.void:
        """Put the next `nr_blocks` deferred blocks at the tail of the list of movable blocks."""
        size_pages: cython.int = 1 << MAX_ORDER
        area: cython.int = zone.zone_id * NR_PAGE_ORDERS + MAX_ORDER
        while nr_blocks > 0 and zone.deferred_start_pfn < zone.deferred_end_pfn:
            self.nr_free[area] -= 1  # adding counts it again
            self.nr_free_type[area * MIGRATE_TYPES + MIGRATE_MOVABLE] -= 1
            self.add_to_free_list(
                zone.zone_id, zone.deferred_start_pfn, MAX_ORDER, MIGRATE_MOVABLE, TAIL_ADD
            )
            zone.deferred_start_pfn += size_pages
            nr_blocks -= 1

    def thread_all(self, zone: Zone) -> None:
        """Thread all deferred blocks of a zone: who walks or retypes frames needs them so."""
        self.thread_deferred(zone, (zone.deferred_end_pfn - zone.deferred_start_pfn) >> MAX_ORDER)

    def seed_block(self, zone: Zone, pfn: int, order: int, migratetype: int) -> None:
        """Make a block free, last on its list, without merging: for seeding."""
        self.add_to_free_list(zone.zone_id, pfn, order, migratetype, TAIL_ADD)
        self.account_freepages(zone, 1 << order, migratetype)

    def defer(self, zone: Zone, start_pfn: int, end_pfn: int) -> None:
        """Make start_pfn .. end_pfn - 1, MAX_ORDER aligned, the zone's deferred free blocks."""
        area = zone.zone_id * NR_PAGE_ORDERS + MAX_ORDER
        nr_blocks = (end_pfn - start_pfn) >> MAX_ORDER
        zone.deferred_start_pfn, zone.deferred_end_pfn = start_pfn, end_pfn
        self.nr_free[area] += nr_blocks
        self.nr_free_type[area * MIGRATE_TYPES + MIGRATE_MOVABLE] += nr_blocks
        self.account_freepages(zone, nr_blocks << MAX_ORDER, MIGRATE_MOVABLE)

    @cython.cfunc
    @cython.exceptval(check=False)
    def expand(
        self,
        zone_id: cython.int,
        pfn: cython.int,
        low: cython.int,
        high: cython.int,
        migratetype: cython.int,
    ) -> cython.int:
        """Give back upper halves of a taken block of order `high` until it is of order `low`."""
        # mm/page_alloc.c expand(), v6.12
        nr_added: cython.int = 0
        size_pages: cython.int = 1 << high
        while high > low:
            high -= 1
            size_pages >>= 1
            self.add_to_free_list(zone_id, pfn + size_pages, high, migratetype, HEAD_ADD)
            nr_added += size_pages
        return nr_added

    @cython.cfunc
    @cython.exceptval(check=False)
    def take_block(
        self, zone: Zone, pfn: cython.int, order: cython.int, migratetype: cython.int
    ) -> cython.void:
        """Take the free block at `pfn`, keep its first 2**order frames, give back the rest."""
        # mm/page_alloc.c page_del_and_expand(), v6.12
        high: cython.int = self.mem_map.order[pfn]
        nr_pages: cython.int = 1 << high
        self.del_page_from_free_list(zone.zone_id, pfn)
        nr_pages -= self.expand(zone.zone_id, pfn, order, high, migratetype)
        self.account_freepages(zone, -nr_pages, migratetype)

    @cython.cfunc
    @cython.exceptval(check=False)
    def rmqueue_smallest(
        self, zone: Zone, order: cython.int, migratetype: cython.int
    ) -> cython.int:
        """Take 2**order frames from the smallest block of `migratetype` that has them, or -1."""
        # mm/page_alloc.c __rmqueue_smallest(), v6.12
        current_order: cython.int
        pfn: cython.int
        for current_order in range(order, MAX_ORDER + 1):
            pfn = self.first_free(zone, current_order, migratetype)
            if pfn >= 0:
                self.take_block(zone, pfn, order, migratetype)
                return pfn
        return -1

    @cython.cfunc
    @cython.exceptval(check=False)
    def take_run(self, zone: Zone, count: cython.int, migratetype: cython.int) -> cython.int:
        """Take up to `count` adjoining frames as so many order-0 requests would; the first, or -1.

        How many is left in `run_pages`: taking frames one by one empties the smallest block from
        its first frame on before another block is touched.
        """
        # mm/page_alloc.c rmqueue_bulk() of order 0, v6.12
        order: cython.int
        pfn: cython.int = -1
        for order in range(MAX_ORDER + 1):
            pfn = self.first_free(zone, order, migratetype)
            if pfn >= 0:
                break
        if pfn < 0:
            return -1
        order = self.mem_map.order[pfn]
        self.del_page_from_free_list(zone.zone_id, pfn)
        self.run_pages = min(count, 1 << order)
        self.account_freepages(zone, -self.run_pages, migratetype)
        at: cython.int = self.run_pages
        low: cython.int = 0
        while at < 1 << order:  # what is left, in aligned blocks
            while not at & (1 << low):
                low += 1
            self.add_to_free_list(zone.zone_id, pfn + at, low, migratetype, HEAD_ADD)
            at += 1 << low
        return pfn

    @cython.cfunc
    @cython.exceptval(check=False)
    def is_buddy(self, zone_id: cython.int, buddy_pfn: cython.int, order: cython.int) -> cython.int:
        """1 when a free block of `order` in this zone begins at `buddy_pfn`."""
        # mm/internal.h page_is_buddy(), v6.12
        if buddy_pfn >= self.mem_map.nr_frames:
            return 0
        if not self.mem_map.flags[buddy_pfn] & PG_BUDDY:
            return 0
        if self.mem_map.order[buddy_pfn] != order:
            return 0
        if self.zones.zone_of_block[buddy_pfn >> PAGEBLOCK_SHIFT] == zone_id:
            return 1
        return self.zones.zone_of(buddy_pfn) == zone_id

    @cython.cfunc
    @cython.exceptval(check=False)
    def free_one_page(
        self,
        zone: Zone,
        pfn: cython.int,
        order: cython.int,
        migratetype: cython.int,
        fpi_flags: cython.int,
    ) -> cython.void:
        """Free a block of `order` onto the lists of `migratetype`, merging it with free buddies."""
        # mm/page_alloc.c __free_one_page(), v6.12
        zone_id: cython.int = zone.zone_id
        buddy_pfn: cython.int = 0
        buddy_mt: cython.int
        size_pages: cython.longlong = 1
        size_pages <<= order
        self.account_freepages(zone, size_pages, migratetype)
        self.mem_map.flags[pfn] = 0
        self.mem_map.order[pfn] = 0
        while order < MAX_ORDER:
            buddy_pfn = pfn ^ (1 << order)
            if not self.is_buddy(zone_id, buddy_pfn, order):
                break
            if order >= PAGEBLOCK_ORDER:
                buddy_mt = self.zones.block_type[buddy_pfn >> PAGEBLOCK_SHIFT]
                if buddy_mt != migratetype and (
                    migratetype >= MIGRATE_PCPTYPES or buddy_mt >= MIGRATE_PCPTYPES
                ):
                    break  # only the three ordinary types merge: migratetype_is_mergeable()
                if buddy_mt != migratetype and self.kernel >= 612:
                    self.change_pageblock_range(buddy_pfn, order, migratetype)
            self.del_page_from_free_list(zone_id, buddy_pfn)
            pfn &= buddy_pfn
            order += 1
        where: cython.int = HEAD_ADD
        if fpi_flags & FPI_TO_TAIL:
            where = TAIL_ADD
        elif order < MAX_ORDER - 1:
            # mm/page_alloc.c buddy_merge_likely(), v6.12
            buddy_pfn = (pfn & (pfn ^ (1 << order))) ^ (1 << (order + 1))
            if self.is_buddy(zone_id, buddy_pfn, order + 1):
                where = TAIL_ADD
        self.add_to_free_list(zone_id, pfn, order, migratetype, where)

    @cython.cfunc
    @cython.exceptval(check=False)
    def change_pageblock_range(
        self, pfn: cython.int, order: cython.int, migratetype: cython.int
    ) -> cython.void:
        """Set the type of every page block in a block of at least page block size."""
        # mm/page_alloc.c change_pageblock_range(), v6.12
        block: cython.int
        first: cython.int = pfn >> PAGEBLOCK_SHIFT
        for block in range(first, first + (1 << (order - PAGEBLOCK_ORDER))):
            self.zones.block_type[block] = migratetype

    @cython.ccall
    def free_block_pfn(self, zone: Zone, order: cython.int, migratetype: cython.int) -> cython.int:
        """First block of a list, or -1: for compaction and views."""
        return self.first_free(zone, order, migratetype)

    @cython.ccall
    def isolate_free_block(self, zone: Zone, pfn: cython.int) -> cython.int:
        """Take the whole free block at `pfn` off the lists; its order (compaction, CMA)."""
        # mm/page_alloc.c __isolate_free_page(), v6.12: the caller has checked the watermark
        order: cython.int = self.mem_map.order[pfn]
        size_pages: cython.longlong = 1
        size_pages <<= order
        migratetype: cython.int = self.del_page_from_free_list(zone.zone_id, pfn)
        self.account_freepages(zone, -size_pages, migratetype)
        return order

    @cython.ccall
    def return_block(
        self,
        zone: Zone,
        pfn: cython.int,
        order: cython.int,
        migratetype: cython.int,
        fpi_flags: cython.int,
    ) -> cython.int:
        """free_one_page() for callers in Python and other rooms; 0."""
        self.free_one_page(zone, pfn, order, migratetype, fpi_flags)
        return 0

    def take_smallest(self, zone: Zone, order: int, migratetype: int) -> int:
        """rmqueue_smallest() for callers in Python."""
        return self.rmqueue_smallest(zone, order, migratetype)

    def take_frames(self, zone: Zone, count: int, migratetype: int) -> int:
        """take_run() for callers in Python."""
        return self.take_run(zone, count, migratetype)

    def free_list(self, zone_id: int, order: int, migratetype: int) -> list[int]:
        """Threaded blocks of a list, first to last (deferred blocks are not among them)."""
        row = (zone_id * NR_PAGE_ORDERS + order) * MIGRATE_TYPES + migratetype
        return self.mem_map.walk(self.first_head + row)

    def verify(self) -> None:
        """Walk every list; raise InternalError where a mark, a count or the free pages differ."""
        for zone in self.zones.zones:
            free_pages = 0
            for order in range(NR_PAGE_ORDERS):
                area = zone.zone_id * NR_PAGE_ORDERS + order
                total = 0
                for migratetype in range(MIGRATE_TYPES):
                    found = self._verify_list(zone, order, migratetype)
                    counted = self.nr_free_type[area * MIGRATE_TYPES + migratetype]
                    if found != counted:
                        raise InternalError(
                            f"Buddy.verify: zone {zone.zone_id} order {order} type {migratetype}:"
                            f" {found} blocks on the list, {counted} counted"
                        )
                    total += found
                    if migratetype != MIGRATE_ISOLATE:
                        free_pages += found << order
                if total != self.nr_free[area]:
                    raise InternalError(
                        f"Buddy.verify: zone {zone.zone_id} order {order}: {total} blocks by type,"
                        f" nr_free {self.nr_free[area]}"
                    )
            stat = self.vmstat.zone_page_state(zone.zone_id, NR_FREE_PAGES)
            if free_pages != stat:
                raise InternalError(
                    f"Buddy.verify: zone {zone.zone_id}: {free_pages} pages on lists,"
                    f" nr_free_pages {stat}"
                )

    def _verify_list(self, zone: Zone, order: int, migratetype: int) -> int:
        found = self.free_list(zone.zone_id, order, migratetype)
        flags = PG_BUDDY | (migratetype << FREE_MT_SHIFT)
        for pfn in found:
            if self.mem_map.flags[pfn] != flags or self.mem_map.order[pfn] != order:
                raise InternalError(
                    f"Buddy.verify: frame {pfn} on the list of order {order} type {migratetype} has"
                    f" flags {self.mem_map.flags[pfn]:#x} and order {self.mem_map.order[pfn]}"
                )
            if pfn & ((1 << order) - 1) or self.zones.zone_of(pfn) != zone.zone_id:
                raise InternalError(f"Buddy.verify: frame {pfn} does not belong on its list")
        count = len(found)
        if order == MAX_ORDER and migratetype == MIGRATE_MOVABLE:
            count += (zone.deferred_end_pfn - zone.deferred_start_pfn) >> MAX_ORDER
        return count

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of all state, for digests."""
        return [("nr_free", self.nr_free), ("nr_free_type", self.nr_free_type)]
