"""Owns the allocator's face: get_page_from_freelist and its fast path, freeing, and the sysctls'
effects.

Imports the rest of page/. Has never heard of reclaim: when no zone is above its watermark it
answers NEED_RECLAIM, and reclaim/slowpath owns the loop.

A frame's life: free -> allocated (flags 0, refcount 1, order) -> its owner's affair -> refcount 0
-> free. A block of more than one frame is compound (GFP_COMP: PG_HEAD, then PG_TAIL rows) or plain;
either way its first row keeps its order, and it is freed whole by that row. `split_page` makes
single frames of it.
"""

from __future__ import annotations

import cython

from memtwin.errors import InternalError
from memtwin.page.buddy import Buddy
from memtwin.page.compound import Compound
from memtwin.page.flags import (
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    PAGEBLOCK_ORDER,
    PAGEBLOCK_SHIFT,
    PG_BUDDY,
    PG_LOCKED,
    PG_LRU,
    PG_PCP,
    PG_SWAPCACHE,
    PG_TAIL,
    PG_WRITEBACK,
)
from memtwin.page.gfp import (
    ALLOC_CMA,
    ALLOC_HARDER,
    ALLOC_HIGHATOMIC,
    ALLOC_KSWAPD,
    ALLOC_NO_WATERMARKS,
    ALLOC_NOFRAGMENT,
    ALLOC_OOM,
    ALLOC_WMARK_HIGH,
    ALLOC_WMARK_LOW,
    ALLOC_WMARK_MASK,
    FPI_NONE,
    GFP_HIGHUSER_MOVABLE,
    GFP_KSWAPD_RECLAIM,
    GFP_THISNODE,
    NEED_RECLAIM,
    PAGE_ALLOC_COSTLY_ORDER,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.mobility import Mobility
from memtwin.page.pagesets import Pagesets
from memtwin.page.pcp import PerCpuPages
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    NR_FREE_PAGES,
    NUMA_FOREIGN,
    NUMA_HIT,
    NUMA_LOCAL,
    NUMA_MISS,
    NUMA_OTHER,
    PGFREE,
)
from memtwin.page.watermark import Watermarks
from memtwin.page.zone import Zone, Zones

# mm/page_alloc.c PAGE_FLAGS_CHECK_AT_FREE, v6.12: none of these may be set on a page being freed
BUSY_FLAGS = PG_LRU | PG_LOCKED | PG_WRITEBACK | PG_SWAPCACHE | PG_BUDDY | PG_PCP | PG_TAIL


@cython.final
@cython.cclass
class PageAlloc:
    """The page allocator of a machine. `set_cpu` says on which CPU the calls are made."""

    def __init__(
        self,
        mem_map: MemMap,
        zones: Zones,
        vmstat: VmStat,
        tunables: Tunables,
        cpu_nodes: list[int],
    ) -> None:
        self.mem_map = mem_map
        self.zones = zones
        self.vmstat = vmstat
        self.tunables = tunables
        self.kernel = tunables.kernel
        self.cpu_nodes = cpu_nodes
        self.nr_cpus = len(cpu_nodes)
        self.buddy = Buddy(mem_map, zones, vmstat, tunables.kernel)
        self.mobility = Mobility(self.buddy, tunables)
        self.watermarks = Watermarks(self.buddy, tunables)
        self.compound = Compound(mem_map)
        self.pagesets = Pagesets(self.buddy, self.mobility, tunables, cpu_nodes)
        self.pcps = self.pagesets.pcps  # row zone_id * nr_cpus + cpu
        self.boosted_zone = -1  # the zone whose kswapd a fallback wants awake; slowpath resets it
        self._busy_flags = BUSY_FLAGS
        self._free_zone_id = 0
        self._free_pcp = self.pcps[0]
        self._fast_pcp = self.pcps[0]
        self._fast_zone = zones.zones[0]
        self.set_cpu(0)

    @cython.ccall
    def set_cpu(self, cpu: cython.int) -> cython.int:
        """From now on calls are made on `cpu`; its node."""
        self.cpu = cpu
        self.node = self.cpu_nodes[cpu]
        self._free_zone_id = 0
        self._free_pcp = self.pcps[cpu]
        zone_id: cython.int = self.zones.zonelist[
            self.zones.zonelist_row(self.node, self.zones.idx_movable)
        ]
        zone_id = max(zone_id, 0)  # before the zonelists are filled
        self._fast_zone = self.zones.zones[zone_id]
        self._fast_pcp = self.pcps[zone_id * self.nr_cpus + cpu]
        return self.node

    @cython.ccall
    def pcp_of(self, zone_id: cython.int, cpu: cython.int) -> PerCpuPages:
        """The per-CPU lists of a zone."""
        return self.pagesets.pcp_of(zone_id, cpu)

    @cython.ccall
    def drain_pcp(self, cpu: cython.int) -> cython.int:
        """Give all pages of `cpu`'s lists back to the buddy; their number."""
        return self.pagesets.drain_pcp(cpu)

    @cython.ccall
    def drain_all_pages(self) -> cython.int:
        """Give all pages of all CPUs' lists back; their number."""
        return self.pagesets.drain_all_pages()

    @cython.ccall
    def refresh_cpu_vm_stats(self, cpu: cython.int) -> cython.int:
        """What `cpu`'s vmstat worker does each vm.stat_interval; pages given back to the buddy."""
        return self.pagesets.refresh_cpu_vm_stats(cpu)

    @cython.ccall
    @cython.exceptval(check=False)
    def alloc_fast(self, gfp: cython.int, order: cython.int) -> cython.int:
        """The first attempt of every allocation: at the low watermark. A pfn, or NEED_RECLAIM."""
        if order == 0 and gfp == GFP_HIGHUSER_MOVABLE and self._fast_zone_ok():
            head: cython.int = self._fast_pcp.first_head + MIGRATE_MOVABLE
            pfn: cython.int = self.mem_map.lru_next[head]
            if pfn != head:
                after: cython.int = self.mem_map.lru_next[pfn]
                self.mem_map.lru_next[head] = after
                self.mem_map.lru_prev[after] = head
                self._fast_pcp.count -= 1
                self._fast_pcp.free_factor >>= 1
                self._fast_pcp.free_count >>= 1
                base: cython.int = self._fast_zone.stat_base
                self.vmstat.event[self._fast_zone.pgalloc_event] += 1
                self.vmstat.zone_stat[base + NUMA_HIT] += 1
                if self._fast_zone.node == self.node:
                    self.vmstat.zone_stat[base + NUMA_LOCAL] += 1
                else:
                    self.vmstat.zone_stat[base + NUMA_OTHER] += 1
                self.mem_map.flags[pfn] = 0
                self.mem_map.refcount[pfn] = 1
                return pfn
        alloc_flags: cython.int = (
            ALLOC_WMARK_LOW | self.nofragment_flags(gfp) | self.watermarks.cma_flag(gfp)
        )
        if gfp & GFP_KSWAPD_RECLAIM:
            alloc_flags |= ALLOC_KSWAPD
        return self.get_page_from_freelist(gfp, order, alloc_flags)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _fast_zone_ok(self) -> cython.int:
        # zone_watermark_fast() of the preferred zone for a movable order-0 request
        zone_free: cython.longlong = self.vmstat.zone_stat[
            self._fast_zone.stat_base + NR_FREE_PAGES
        ]
        floor: cython.longlong = (
            self._fast_zone.watermark_boost + self._fast_zone.lowmem_reserve[self.zones.idx_movable]
        )
        if self.kernel < 612:
            zone_free -= self._fast_zone.nr_reserved_highatomic
            return zone_free > floor + self._fast_zone.wmark_low
        zone_free -= self._fast_zone.nr_free_highatomic
        if self._fast_zone.below_high:
            return zone_free > floor + self._fast_zone.wmark_low
        return zone_free > floor + self._fast_zone.wmark_high

    @cython.ccall
    @cython.exceptval(check=False)
    def get_page_from_freelist(
        self, gfp: cython.int, order: cython.int, alloc_flags: cython.int
    ) -> cython.int:
        """Allocate from the first zone above its watermark. A pfn, or NEED_RECLAIM."""
        # mm/page_alloc.c get_page_from_freelist(), v6.1 and v6.12
        # DIFFERS: no node_dirty_ok(), cpusets or node_reclaim(); dirty limits belong to a higher
        # room and the others are off by default; where pages for writing land on NUMA
        highest: cython.int = self.zones.gfp_zone(gfp)
        first: cython.int = self.zones.zonelist_row(self.node, highest)
        at: cython.int
        zone_id: cython.int
        pfn: cython.int
        preferred: cython.int = self.zones.zonelist[first]
        zone: Zone
        while True:
            at = first
            zone_id = self.zones.zonelist[at]
            while zone_id >= 0:
                zone = self.zones.zones[zone_id]
                if zone.node != self.node:
                    if gfp & GFP_THISNODE:
                        break
                    if alloc_flags & ALLOC_NOFRAGMENT:
                        break  # locality is worth more than avoiding fragmentation: try again
                if self._zone_allows(zone, order, highest, alloc_flags, gfp):
                    pfn = self._rmqueue(
                        zone, preferred, order, self.mobility.gfp_migratetype(gfp), alloc_flags
                    )
                    if pfn >= 0:
                        self.compound.prep_new_page(pfn, order, gfp)
                        if alloc_flags & ALLOC_HIGHATOMIC:
                            self.mobility.reserve_highatomic_pageblock(zone, pfn, order)
                        return pfn
                at += 1
                zone_id = self.zones.zonelist[at]
            if not alloc_flags & ALLOC_NOFRAGMENT:
                return NEED_RECLAIM
            alloc_flags &= ~ALLOC_NOFRAGMENT

    @cython.cfunc
    @cython.exceptval(check=False)
    def _zone_allows(
        self,
        zone: Zone,
        order: cython.int,
        highest: cython.int,
        alloc_flags: cython.int,
        gfp: cython.int,
    ) -> cython.int:
        mark: cython.longlong
        if self.kernel >= 612 and not zone.below_high:
            mark = self.watermarks.wmark_pages(zone, ALLOC_WMARK_HIGH)
            if self.watermarks.watermark_fast(zone, order, mark, highest, alloc_flags, gfp):
                return 1
            zone.below_high = 1
        mark = self.watermarks.wmark_pages(zone, alloc_flags & ALLOC_WMARK_MASK)
        if self.watermarks.watermark_fast(zone, order, mark, highest, alloc_flags, gfp):
            return 1
        return alloc_flags & ALLOC_NO_WATERMARKS

    @cython.cfunc
    @cython.exceptval(check=False)
    def _rmqueue(
        self,
        zone: Zone,
        preferred: cython.int,
        order: cython.int,
        migratetype: cython.int,
        alloc_flags: cython.int,
    ) -> cython.int:
        # mm/page_alloc.c rmqueue(), v6.1 and v6.12
        pfn: cython.int = -1
        pcp: PerCpuPages
        if order <= PAGE_ALLOC_COSTLY_ORDER or order == PAGEBLOCK_ORDER:
            if alloc_flags & ALLOC_CMA or migratetype != MIGRATE_MOVABLE:
                pcp = self.pcps[zone.zone_id * self.nr_cpus + self.cpu]
                pfn = pcp.rmqueue(order, migratetype, alloc_flags)
        if pfn < 0:
            pfn = self._rmqueue_buddy(zone, order, migratetype, alloc_flags)
        if pfn >= 0:
            self.vmstat.event[zone.pgalloc_event] += 1 << order
            self._zone_statistics(zone, preferred)
        if zone.boosted and (self.kernel < 612 or alloc_flags & ALLOC_KSWAPD):
            zone.boosted = 0
            self.boosted_zone = zone.zone_id
        return pfn

    @cython.cfunc
    @cython.exceptval(check=False)
    def _rmqueue_buddy(
        self, zone: Zone, order: cython.int, migratetype: cython.int, alloc_flags: cython.int
    ) -> cython.int:
        # mm/page_alloc.c rmqueue_buddy(), v6.12
        pfn: cython.int = -1
        if alloc_flags & ALLOC_HIGHATOMIC:
            pfn = self.buddy.rmqueue_smallest(zone, order, MIGRATE_HIGHATOMIC)
        if pfn < 0:
            self.mobility.begin_bulk()
            pfn = self.mobility.rmqueue(zone, order, migratetype, alloc_flags)
        if pfn < 0 and alloc_flags & (ALLOC_OOM | ALLOC_HARDER):
            pfn = self.buddy.rmqueue_smallest(zone, order, MIGRATE_HIGHATOMIC)
        return pfn

    @cython.cfunc
    @cython.exceptval(check=False)
    def _zone_statistics(self, zone: Zone, preferred: cython.int) -> cython.void:
        # mm/page_alloc.c zone_statistics(), v6.12
        wanted: Zone = self.zones.zones[preferred]
        if zone.node == wanted.node:
            self.vmstat.zone_stat[zone.stat_base + NUMA_HIT] += 1
        else:
            self.vmstat.zone_stat[zone.stat_base + NUMA_MISS] += 1
            self.vmstat.zone_stat[wanted.stat_base + NUMA_FOREIGN] += 1
        if zone.node == self.node:
            self.vmstat.zone_stat[zone.stat_base + NUMA_LOCAL] += 1
        else:
            self.vmstat.zone_stat[zone.stat_base + NUMA_OTHER] += 1

    @cython.ccall
    @cython.exceptval(check=False)
    def nofragment_flags(self, gfp: cython.int) -> cython.int:
        """ALLOC_NOFRAGMENT when the first zone tried is Normal with a DMA32 beside it, else 0."""
        # mm/page_alloc.c alloc_flags_nofragment(), v6.12
        row: cython.int = self.zones.zonelist_row(self.node, self.zones.gfp_zone(gfp))
        zone_id: cython.int = self.zones.zonelist[row]
        if self.zones.idx_dma32 == self.zones.idx_normal or zone_id < 0:
            return 0
        zone: Zone = self.zones.zones[zone_id]
        if zone.zone_idx != self.zones.idx_normal:
            return 0
        below: Zone = self.zones.zones[zone_id - 1]
        if self.zones.nr_nodes > 1 and below.present_pages == 0:
            return 0
        return ALLOC_NOFRAGMENT

    @cython.ccall
    @cython.exceptval(check=False)
    def gfp_to_alloc_flags(self, gfp: cython.int, order: cython.int) -> cython.int:
        """Allocation flags of the slow path, which begins at the min watermark."""
        return self.watermarks.gfp_to_alloc_flags(gfp, order)

    @cython.ccall
    @cython.exceptval(-1, check=False)
    def free_page(self, pfn: cython.int) -> cython.int:
        """Free a frame, or the block that it heads, whose refcount is 0; 0."""
        # mm/page_alloc.c free_unref_page() and __free_pages_ok(), v6.12
        order: cython.int = self.mem_map.order[pfn]
        if (
            self.mem_map.flags[pfn] & self._busy_flags
            or self.mem_map.refcount[pfn] != 0
            or self.mem_map.mapcount[pfn] != 0
            or self.mem_map.memcg[pfn] != 0
        ):
            self._bad_page(pfn)
        self.mem_map.mapping[pfn] = 0
        migratetype: cython.int = self.zones.block_type[pfn >> PAGEBLOCK_SHIFT]
        zone_id: cython.int = self.zones.zone_of(pfn)
        self.vmstat.event[PGFREE] += 1 << order
        if zone_id != self._free_zone_id:
            self._free_zone_id = zone_id
            self._free_pcp = self.pcps[zone_id * self.nr_cpus + self.cpu]
        if order:
            self.compound.clear_tails(pfn, order)
            if order > PAGE_ALLOC_COSTLY_ORDER and order != PAGEBLOCK_ORDER:
                self._free_large(self._free_pcp.zone, pfn, order)
                return 0
        if migratetype == MIGRATE_ISOLATE:
            self.buddy.free_one_page(self._free_pcp.zone, pfn, order, migratetype, FPI_NONE)
            return 0
        self._free_pcp.free(pfn, migratetype, order)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def _free_large(self, zone: Zone, pfn: cython.int, order: cython.int) -> cython.void:
        # mm/page_alloc.c split_large_buddy(), v6.12; v6.1 frees the block as one
        end_pfn: cython.int = pfn + (1 << order)
        if self.kernel >= 612:
            order = min(order, PAGEBLOCK_ORDER)
        while pfn < end_pfn:
            self.buddy.free_one_page(
                zone, pfn, order, self.zones.block_type[pfn >> PAGEBLOCK_SHIFT], FPI_NONE
            )
            pfn += 1 << order

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _bad_page(self, pfn: cython.int) -> cython.int:
        raise InternalError(
            f"PageAlloc.free_page: frame {pfn} has flags {self.mem_map.flags[pfn]:#x},"
            f" refcount {self.mem_map.refcount[pfn]}, mapcount {self.mem_map.mapcount[pfn]},"
            f" memcg {self.mem_map.memcg[pfn]}; a freed frame has none of them"
        )

    @cython.ccall
    @cython.exceptval(-1, check=False)
    def put_page(self, pfn: cython.int) -> cython.int:
        """Drop one reference; free at the last. 1 when it was freed."""
        self.mem_map.refcount[pfn] -= 1
        if self.mem_map.refcount[pfn] == 0:
            self.free_page(pfn)
            return 1
        return 0

    @cython.ccall
    @cython.exceptval(-1, check=False)
    def free_pages_bulk(self, head: cython.int) -> cython.int:
        """Free every frame on the list `head`, first to last; their number."""
        # mm/page_alloc.c free_unref_page_list(), v6.1; free_unref_folios(), v6.12
        freed: cython.int = 0
        pfn: cython.int = self.mem_map.list_first(head)
        while pfn >= 0:
            self.mem_map.list_del(pfn)
            self.free_page(pfn)
            freed += 1
            pfn = self.mem_map.list_first(head)
        return freed

    @cython.ccall
    @cython.exceptval(check=False)
    def split_page(self, pfn: cython.int) -> cython.int:
        """Make 2**order single frames of a block, each with refcount 1; the order it had."""
        return self.compound.split(pfn)

    def setup_per_zone_wmarks(self) -> None:
        """The effect of vm.min_free_kbytes and vm.watermark_scale_factor."""
        self.watermarks.setup_per_zone_wmarks()
        self.pagesets.zone_pcp_update()

    def zone_pcp_update(self) -> None:
        """Work out batch and high of every zone's per-CPU lists and set them."""
        self.pagesets.zone_pcp_update()

    def setup_per_zone_lowmem_reserve(self) -> None:
        """The effect of vm.lowmem_reserve_ratio."""
        self.watermarks.setup_per_zone_lowmem_reserve()

    def calculate_totalreserve_pages(self) -> None:
        """Sum the reserves again."""
        self.watermarks.calculate_totalreserve_pages()

    def nr_free_buffer_pages(self) -> int:
        """Pages beyond the high watermarks in zones for GFP_USER."""
        return self.watermarks.nr_free_buffer_pages()

    @cython.ccall
    def si_mem_available(self) -> cython.longlong:
        """MemAvailable in pages."""
        return self.watermarks.si_mem_available()

    @cython.ccall
    @cython.exceptval(check=False)
    def zone_watermark_ok(
        self,
        zone_id: cython.int,
        order: cython.int,
        mark: cython.longlong,
        highest_zoneidx: cython.int,
        alloc_flags: cython.int,
    ) -> cython.int:
        """1 when the zone has more than `mark` pages and a block of `order` for such a request."""
        # mm/page_alloc.c zone_watermark_ok(), v6.12. zone_watermark_ok_safe() is the same here: the
        # twin's counters have no per-CPU deltas.
        zone: Zone = self.zones.zones[zone_id]
        return self.watermarks.watermark_ok(
            zone,
            order,
            mark,
            highest_zoneidx,
            alloc_flags,
            self.vmstat.zone_stat[zone.stat_base + NR_FREE_PAGES],
        )

    @cython.ccall
    @cython.exceptval(check=False)
    def zone_watermark_ok_safe(
        self, zone_id: cython.int, order: cython.int, mark: cython.longlong, highest: cython.int
    ) -> cython.int:
        """zone_watermark_ok() for kswapd, which passes no flags."""
        return self.zone_watermark_ok(zone_id, order, mark, highest, 0)

    @cython.ccall
    @cython.exceptval(check=False)
    def wmark_pages(self, zone_id: cython.int, which: cython.int) -> cython.longlong:
        """The watermark ALLOC_WMARK_* of a zone, boost included."""
        zone: Zone = self.zones.zones[zone_id]
        return self.watermarks.wmark_pages(zone, which)

    @cython.ccall
    @cython.exceptval(check=False)
    def zone_has_block(self, zone_id: cython.int, order: cython.int) -> cython.int:
        """1 when a block of at least `order` is free for ordinary requests."""
        zone: Zone = self.zones.zones[zone_id]
        return self.watermarks.has_block(zone, order, 0)

    def verify(self) -> None:
        """Walk all free and per-CPU lists; raise InternalError at the first difference."""
        self.buddy.verify()
        self.pagesets.verify()

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return self.buddy.columns() + self.zones.columns() + self.pagesets.columns()
