"""Owns the allocator's face: get_page_from_freelist and its fast path, freeing, and the sysctls' effects.

Imports the rest of page/. Has never heard of reclaim: when no zone is above its watermark it answers
NEED_RECLAIM, and reclaim/slowpath owns the loop.

A frame's life: free -> allocated (flags 0, refcount 1, order) -> its owner's affair -> refcount 0 -> free.
A block of more than one frame is compound (GFP_COMP: PG_HEAD, then PG_TAIL rows) or plain; either way its
first row keeps its order, and it is freed whole by that row. `split_page` makes single frames of it.
"""

from __future__ import annotations

import cython

from memtwin.errors import InternalError
from memtwin.page.buddy import Buddy
from memtwin.page.flags import (
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
    PAGEBLOCK_ORDER,
    PAGEBLOCK_SHIFT,
    PG_BUDDY,
    PG_HEAD,
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
    ALLOC_HIGH,
    ALLOC_HIGHATOMIC,
    ALLOC_KSWAPD,
    ALLOC_NO_WATERMARKS,
    ALLOC_NOFRAGMENT,
    ALLOC_OOM,
    ALLOC_WMARK_HIGH,
    ALLOC_WMARK_LOW,
    ALLOC_WMARK_MASK,
    ALLOC_WMARK_MIN,
    FPI_NONE,
    GFP_COMP,
    GFP_DIRECT_RECLAIM,
    GFP_HIGH,
    GFP_HIGHUSER_MOVABLE,
    GFP_KSWAPD_RECLAIM,
    GFP_MOVABLE_BIT,
    GFP_NOMEMALLOC,
    GFP_RECLAIMABLE,
    GFP_THISNODE,
    MIN_PERCPU_PAGELIST_HIGH_FRACTION,
    NEED_RECLAIM,
    PAGE_ALLOC_COSTLY_ORDER,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.mobility import Mobility
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
        self, mem_map: MemMap, zones: Zones, vmstat: VmStat, tunables: Tunables, cpu_nodes: list[int]
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
        # row zone_id * nr_cpus + cpu
        self.pcps = [
            PerCpuPages(zone, cpu, self.buddy, self.mobility)
            for zone in zones.zones
            for cpu in range(self.nr_cpus)
        ]
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
        found: PerCpuPages = self.pcps[zone_id * self.nr_cpus + cpu]
        return found

    # --- allocating

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
        alloc_flags: cython.int = ALLOC_WMARK_LOW | self.nofragment_flags(gfp) | self._cma_flag(gfp)
        if gfp & GFP_KSWAPD_RECLAIM:
            alloc_flags |= ALLOC_KSWAPD
        return self.get_page_from_freelist(gfp, order, alloc_flags)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _fast_zone_ok(self) -> cython.int:
        # zone_watermark_fast() of the preferred zone for a movable order-0 request
        zone_free: cython.longlong = self.vmstat.zone_stat[self._fast_zone.stat_base + NR_FREE_PAGES]
        floor: cython.longlong = (
            self._fast_zone.watermark_boost
            + self._fast_zone.lowmem_reserve[self.zones.idx_movable]
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
        # mm/page_alloc.c get_page_from_freelist(), v6.1 and v6.12. DIFFERS: no spreading of dirty
        # pages over nodes (node_dirty_ok), no cpusets, no node_reclaim; bends where pages for writing
        # land when one node holds nearly all dirty pages.
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
                    pfn = self._rmqueue(zone, preferred, order, self.gfp_migratetype(gfp), alloc_flags)
                    if pfn >= 0:
                        self._prep_new_page(pfn, order, gfp)
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

    @cython.cfunc
    @cython.exceptval(check=False)
    def _prep_new_page(
        self, pfn: cython.int, order: cython.int, gfp: cython.int
    ) -> cython.void:
        # mm/page_alloc.c prep_new_page() and prep_compound_page(), v6.12
        tail_pfn: cython.int
        self.mem_map.flags[pfn] = 0
        self.mem_map.refcount[pfn] = 1
        self.mem_map.order[pfn] = order
        if order and gfp & GFP_COMP:
            self.mem_map.flags[pfn] = PG_HEAD
            for tail_pfn in range(pfn + 1, pfn + (1 << order)):
                self.mem_map.flags[tail_pfn] = PG_TAIL
                self.mem_map.order[tail_pfn] = order

    @cython.ccall
    @cython.exceptval(check=False)
    def gfp_migratetype(self, gfp: cython.int) -> cython.int:
        """Migrate type that a request asks for."""
        # include/linux/gfp.h gfp_migratetype(), v6.12
        if gfp & GFP_MOVABLE_BIT:
            return MIGRATE_MOVABLE
        return MIGRATE_RECLAIMABLE if gfp & GFP_RECLAIMABLE else MIGRATE_UNMOVABLE

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

    @cython.cfunc
    @cython.exceptval(check=False)
    def _cma_flag(self, gfp: cython.int) -> cython.int:
        # mm/page_alloc.c gfp_to_alloc_flags_cma(), v6.12
        return ALLOC_CMA if gfp & GFP_MOVABLE_BIT else 0

    @cython.ccall
    @cython.exceptval(check=False)
    def gfp_to_alloc_flags(self, gfp: cython.int, order: cython.int) -> cython.int:
        """Allocation flags of the slow path, which begins at the min watermark."""
        # mm/page_alloc.c gfp_to_alloc_flags(), v6.12
        alloc_flags: cython.int = ALLOC_WMARK_MIN | self._cma_flag(gfp)
        if gfp & GFP_HIGH:
            alloc_flags |= ALLOC_HIGH
        if gfp & GFP_KSWAPD_RECLAIM:
            alloc_flags |= ALLOC_KSWAPD
        if not gfp & (GFP_DIRECT_RECLAIM | GFP_NOMEMALLOC):
            alloc_flags |= ALLOC_HARDER
            if order > 0 and gfp & GFP_HIGH:
                alloc_flags |= ALLOC_HIGHATOMIC
        return alloc_flags

    # --- freeing

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
            self._clear_tails(pfn, order)
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
    def _clear_tails(self, pfn: cython.int, order: cython.int) -> cython.void:
        tail_pfn: cython.int
        if self.mem_map.flags[pfn] & PG_HEAD:
            for tail_pfn in range(pfn + 1, pfn + (1 << order)):
                self.mem_map.flags[tail_pfn] = 0
                self.mem_map.order[tail_pfn] = 0

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
        # mm/page_alloc.c split_page(), v6.12
        order: cython.int = self.mem_map.order[pfn]
        at: cython.int
        for at in range(pfn, pfn + (1 << order)):
            self.mem_map.flags[at] &= ~(PG_HEAD | PG_TAIL)
            self.mem_map.order[at] = 0
            self.mem_map.refcount[at] = 1
        return order

    # --- per-CPU lists

    @cython.ccall
    def drain_pcp(self, cpu: cython.int) -> cython.int:
        """Give all pages of `cpu`'s lists back to the buddy; their number."""
        zone_id: cython.int
        drained: cython.int = 0
        pcp: PerCpuPages
        for zone_id in range(self.zones.nr_zones):
            pcp = self.pcps[zone_id * self.nr_cpus + cpu]
            drained += pcp.drain()
        return drained

    @cython.ccall
    def drain_all_pages(self) -> cython.int:
        """Give all pages of all CPUs' lists back; their number."""
        cpu: cython.int
        drained: cython.int = 0
        for cpu in range(self.nr_cpus):
            drained += self.drain_pcp(cpu)
        return drained

    @cython.ccall
    def refresh_cpu_vm_stats(self, cpu: cython.int) -> cython.int:
        """What `cpu`'s vmstat worker does to its lists each vm.stat_interval; pages given back."""
        # mm/vmstat.c refresh_cpu_vm_stats(), v6.12: decay, then lists of remote nodes. DIFFERS: a
        # remote list is drained at once, not after 3 idle intervals; bends pagesets' counts on NUMA.
        zone_id: cython.int
        before: cython.int
        given: cython.int = 0
        pcp: PerCpuPages
        for zone_id in range(self.zones.nr_zones):
            pcp = self.pcps[zone_id * self.nr_cpus + cpu]
            before = pcp.count
            if self.kernel >= 612:
                pcp.decay_high()
            if pcp.count and pcp.zone.node != self.cpu_nodes[cpu]:
                pcp.free_bulk(pcp.batch, 0)
            given += before - pcp.count
        return given

    def zone_pcp_update(self) -> None:
        """Work out batch and high of every zone's lists and set them."""
        # mm/page_alloc.c zone_set_pageset_high_and_batch(), v6.1 and v6.12
        for zone in self.zones.populated():
            batch = zone_batchsize(zone.managed_pages)
            cpus = self.cpu_nodes.count(zone.node) or self.nr_cpus
            fraction = self.tunables.percpu_pagelist_high_fraction
            total = zone.managed_pages // fraction if fraction else self._low_wmark_pages(zone)
            high_min = max(total // cpus, batch << 2)
            high_max = high_min
            if not fraction and self.kernel >= 612:
                most = zone.managed_pages // MIN_PERCPU_PAGELIST_HIGH_FRACTION
                high_max = max(most // cpus, batch << 2)
            old = (zone.pageset_high_min, zone.pageset_high_max, zone.pageset_batch)
            if old == (high_min, high_max, batch):
                continue
            zone.pageset_high_min, zone.pageset_high_max = high_min, high_max
            zone.pageset_batch = batch
            for pcp in self.pcps[zone.zone_id * self.nr_cpus : (zone.zone_id + 1) * self.nr_cpus]:
                pcp.batch, pcp.high_min, pcp.high_max = batch, high_min, high_max
                if self.kernel < 612:
                    pcp.high = high_min

    def _low_wmark_pages(self, zone: Zone) -> int:
        return zone.wmark_low + zone.watermark_boost

    # --- sysctls and figures

    def setup_per_zone_wmarks(self) -> None:
        """The effect of vm.min_free_kbytes and vm.watermark_scale_factor."""
        self.watermarks.setup_per_zone_wmarks()
        self.zone_pcp_update()

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
        """Walk all free and per-CPU lists and recount; raise InternalError at the first difference."""
        self.buddy.verify()
        for pcp in self.pcps:
            pcp.verify()

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        found = self.buddy.columns() + self.zones.columns()
        for number, pcp in enumerate(self.pcps):
            found += [(f"pcp{number}.{name}", value) for name, value in pcp.columns()]
        return found


def zone_batchsize(managed_pages: int) -> int:
    """Pages moved at a time between the buddy and a zone's per-CPU lists.

    >>> zone_batchsize(51489), zone_batchsize(125706), zone_batchsize(1 << 22)
    (15, 31, 63)
    """
    # mm/page_alloc.c zone_batchsize(), v6.12
    batch = max(min(managed_pages >> 10, (1 << 20) // 4096) // 4, 1)
    scaled = batch + batch // 2
    return max((1 << (scaled.bit_length() - 1)) - 1, 1)
