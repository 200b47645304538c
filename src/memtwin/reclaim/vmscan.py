"""Owns reclaim's loops: over priorities, nodes and groups, for an allocation or for a group's
limit.

Imports page, memcg and the reclaim room below. Frees pages and says how many; who asked, and what
happens when nothing was freed, is slowpath's and kswapd's affair. Rules: mm/vmscan.c, v6.1 and
v6.12.
"""

from __future__ import annotations

import cython

from memtwin.columns import zeros
from memtwin.hardware.clock import STALL_RECLAIM, Clock
from memtwin.memcg.constants import MAX_MEMCGS, MEMCG_LOW
from memtwin.memcg.table import MemcgTable
from memtwin.page.gfp import GFP_HIGHUSER_MOVABLE, GFP_IO
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    ALLOCSTALL_DMA,
    NR_FREE_PAGES,
    NR_INACTIVE_ANON,
    NR_INACTIVE_FILE,
    NR_ZONE_ACTIVE_ANON,
    NR_ZONE_ACTIVE_FILE,
    NR_ZONE_INACTIVE_ANON,
    NR_ZONE_INACTIVE_FILE,
    NR_ZONE_WRITE_PENDING,
)
from memtwin.page.zone import Zone, Zones
from memtwin.reclaim.constants import (
    DEF_PRIORITY,
    MAX_RECLAIM_RETRIES,
    PAGE_ALLOC_COSTLY_ORDER,
    SWAP_CLUSTER_MAX,
    THROTTLE_JIFFY_NS,
)
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru_scan import LruScan
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.mglru_node import MglruNode
from memtwin.reclaim.scan_balance import ScanBalance
from memtwin.reclaim.scan_control import ScanControl
from memtwin.reclaim.shrinker import Shrinkers


@cython.final
@cython.cclass
class Vmscan:
    """Reclaim of nodes and groups."""

    def __init__(
        self, lru_scan: LruScan, mglru: MglruNode, shrinkers: Shrinkers, page_alloc: PageAlloc,
        folio_io: FolioIo, clock: Clock,
    ) -> None:  # fmt: skip
        self.lru_scan = lru_scan
        self.mglru = mglru
        self.shrinkers = shrinkers
        self.page_alloc = page_alloc
        self.folio_io = folio_io
        self.clock = clock
        self.balance: ScanBalance = lru_scan.balance
        self.lruvecs: Lruvecs = lru_scan.lruvecs
        self.memcgs: MemcgTable = lru_scan.memcgs
        self.zones: Zones = page_alloc.zones
        self.vmstat: VmStat = lru_scan.vmstat
        self.tunables: Tunables = lru_scan.tunables
        nr_nodes = self.zones.nr_nodes
        self.congested = zeros(MAX_MEMCGS * nr_nodes, "i1")  # LRUVEC_(CGROUP_)CONGESTED, by lruvec
        self.node_congested = zeros(nr_nodes, "i1")  # LRUVEC_NODE_CONGESTED (v6.12)
        self.iter_at = zeros(MAX_MEMCGS * nr_nodes, "i4")  # last group of a partial walk, plus 1
        self.kswapd_failures = zeros(nr_nodes, "i4")  # balance_pgdat runs without a page freed
        # ALLOCSTALL_* by zone_idx
        names = ("DMA", "DMA32", "Normal", "Movable", "Device")
        self.stall_event = zeros(self.zones.nr_types, "i4")
        for idx, name in enumerate(self.zones.names):
            self.stall_event[idx] = ALLOCSTALL_DMA + (names.index(name) if name in names else 1)

    # -- one node ------------------------------------------------------------------------------

    @cython.cfunc
    def shrink_one_memcg(self, memcg: cython.int, node: cython.int, sc: ScanControl) -> cython.void:
        """One group's share of a node: its lists, then its kernel objects, unless protected."""
        usage: cython.longlong = self.memcgs.usage[memcg]
        if memcg > 0 and memcg != sc.target_memcg and not sc.preempted:
            least: cython.longlong = self.balance.effective_min(memcg)
            low: cython.longlong = self.balance.effective_low(memcg)
            if least > 0 and least >= usage:
                return
            if low > 0 and low >= usage:
                if not sc.memcg_low_reclaim:
                    sc.memcg_low_skipped = 1
                    return
                self.memcgs.memory_event_add(memcg, MEMCG_LOW)
        lruvec: cython.int = self.lruvecs.of(memcg, node)
        self.folio_io.run_completions(self.clock.now_ns)
        if self.tunables.lru_gen_enabled:
            self.mglru.shrink_lruvec(lruvec, sc)
        else:
            self.lru_scan.shrink_lruvec(lruvec, sc)
        if sc.preempted:
            return
        self.shrinkers.shrink_slab(sc.gfp, node, memcg, sc.priority)

    @cython.cfunc
    def shrink_node_memcgs(self, node: cython.int, sc: ScanControl) -> cython.void:
        """Every group below the target; v6.12 lets direct reclaim stop early and go on next time.
        """
        root: cython.int = sc.target_memcg if sc.target_memcg > 0 else 0
        partial: cython.int = 0
        if self.tunables.kernel >= 612 and not sc.is_kswapd and not sc.memcg_full_walk:
            partial = 1
        at: cython.int = root
        place: cython.int = root * self.zones.nr_nodes + node
        if partial and self.iter_at[place] > 0:
            at = self.memcgs.next_in_tree(root, self.iter_at[place] - 1)
            if at < 0:
                at = root
        if sc.preempted:
            at = sc.at_lruvec // self.zones.nr_nodes
        while at >= 0:
            if partial:
                self.iter_at[place] = at + 1
            self.shrink_one_memcg(at, node, sc)
            if sc.preempted:
                return
            if partial and sc.nr_reclaimed >= sc.nr_to_reclaim:
                return
            at = self.memcgs.next_in_tree(root, at)
        self.iter_at[place] = 0

    @cython.cfunc
    def shrink_node(self, node: cython.int, sc: ScanControl) -> cython.longlong:
        """Reclaim on one node; ns for which kswapd must now pause (0: none).

        `sc.preempted` says that kswapd's turn ended first: call again when it has the next.
        """
        pause_ns: cython.longlong = 0
        progress: cython.longlong
        if self.tunables.lru_gen_enabled and sc.target_memcg <= 0 and self.tunables.kernel >= 612:
            self.mglru.shrink_node(node, sc, self.shrinkers)
            if not sc.preempted and sc.nr_reclaimed > sc.nr_before:
                self.kswapd_failures[node] = 0
            return 0
        memcg: cython.int = sc.target_memcg if sc.target_memcg > 0 else 0
        target: cython.int = self.lruvecs.of(memcg, node)
        reclaimable: cython.int = 0
        while True:
            if not sc.preempted:
                sc.clear_nr()
                sc.nr_before = sc.nr_reclaimed
                if not self.tunables.lru_gen_enabled:
                    self.balance.prepare(sc, node)
            self.shrink_node_memcgs(node, sc)
            if sc.preempted:
                return 0
            sc.nr_reclaimed += self.shrinkers.take_reclaimed()
            progress = sc.nr_reclaimed - sc.nr_before
            if progress > 0:
                reclaimable = 1
            if sc.is_kswapd:
                pause_ns = self.mark_node(node, sc)
            self.mark_congested(node, target, sc)
            if not self.should_continue(node, progress, sc):
                break
        if reclaimable:
            self.kswapd_failures[node] = 0
        elif sc.cache_trim_mode:
            sc.cache_trim_mode_failed = 1
        return pause_ns

    @cython.cfunc
    def mark_node(self, node: cython.int, sc: ScanControl) -> cython.longlong:
        """kswapd notes what blocks it (PGDAT_WRITEBACK, PGDAT_DIRTY); ns it must pause."""
        if sc.nr_writeback > 0 and sc.nr_writeback == sc.nr_taken:
            self.lru_scan.folio_reclaim.node_writeback[node] = 1
        if sc.nr_unqueued_dirty == sc.nr_file_taken:
            self.lru_scan.folio_reclaim.node_dirty[node] = 1
        if sc.nr_immediate > 0:
            return 25 * THROTTLE_JIFFY_NS  # reclaim_throttle(VMSCAN_THROTTLE_WRITEBACK): HZ / 10
        return 0

    @cython.cfunc
    def mark_congested(self, node: cython.int, target: cython.int, sc: ScanControl) -> cython.void:
        """Note that all dirty pages met wait for the device, and stall who reclaims directly."""
        memcg_sane: cython.int = 0
        if sc.target_memcg > 0 and self.lru_scan.folio_reclaim.writeback_throttling_sane(sc):
            memcg_sane = 1
        if sc.nr_dirty > 0 and sc.nr_dirty == sc.nr_congested:
            if sc.is_kswapd or memcg_sane:
                if self.tunables.kernel >= 612 and sc.is_kswapd:
                    self.node_congested[node] = 1
                else:
                    self.congested[target] = 1
        if not sc.is_kswapd and (self.congested[target] or self.node_congested[node]):
            self.throttle_briefly(node)

    @cython.cfunc
    def throttle_briefly(self, node: cython.int) -> cython.void:
        """reclaim_throttle() for CONGESTED and NOPROGRESS: one jiffy, unless it would not help."""
        if self.kswapd_failures[node] >= MAX_RECLAIM_RETRIES:
            return
        reclaimable: cython.longlong = 0
        pending: cython.longlong = 0
        idx: cython.int
        for idx in range(self.zones.nr_types):
            zone: Zone = self.zones.zones[node * self.zones.nr_types + idx]
            if zone.managed_pages > 0:
                reclaimable += self.zone_reclaimable_pages(zone.zone_id)
                pending += self.vmstat.zone_page_state(zone.zone_id, NR_ZONE_WRITE_PENDING)
        if 2 * pending <= reclaimable:
            return
        self.folio_io.unplug()
        until_ns: cython.longlong = self.clock.now_ns + THROTTLE_JIFFY_NS
        self.clock.wait_until(until_ns, STALL_RECLAIM)
        self.folio_io.run_completions(until_ns)

    @cython.cfunc
    def should_continue(
        self, node: cython.int, progress: cython.longlong, sc: ScanControl
    ) -> cython.int:
        """1 when a request of higher order needs more free pages for compaction."""
        # mm/vmscan.c should_continue_reclaim(), v6.1
        if sc.order == 0 or progress == 0:
            return 0
        if sc.order <= PAGE_ALLOC_COSTLY_ORDER and sc.priority >= DEF_PRIORITY - 2:
            return 0
        idx: cython.int
        for idx in range(sc.reclaim_idx + 1):
            if idx < self.zones.nr_types:
                zone: Zone = self.zones.zones[node * self.zones.nr_types + idx]
                if zone.managed_pages > 0 and self.compaction_suitable(
                    zone, sc.order, sc.reclaim_idx
                ):
                    return 0
        inactive: cython.longlong = self.vmstat.node_page_state(node, NR_INACTIVE_FILE)
        if self.balance.can_reclaim_anon(0):
            inactive += self.vmstat.node_page_state(node, NR_INACTIVE_ANON)
        return 1 if inactive > 2 << sc.order else 0

    @cython.cfunc
    def compaction_suitable(self, zone: Zone, order: cython.int, highest: cython.int) -> cython.int:
        """1 when a zone has the free pages that compaction needs, or a block already."""
        # mm/compaction.c compaction_suitable(), v6.1. DIFFERS: the fragmentation index is not
        # asked; it decides between reclaim and compaction for large orders alone; bends how much is
        # reclaimed for orders above 3
        mark: cython.longlong = zone.wmark_low
        if order <= PAGE_ALLOC_COSTLY_ORDER:
            mark = zone.wmark_min
        return self.page_alloc.zone_watermark_ok(zone.zone_id, 0, mark + (2 << order), highest, 0)

    @cython.ccall
    def zone_reclaimable_pages(self, zone_id: cython.int) -> cython.longlong:
        """Pages of a zone that reclaim could free, or its free pages when there are none."""
        pages: cython.longlong = self.vmstat.zone_page_state(zone_id, NR_ZONE_INACTIVE_FILE)
        pages += self.vmstat.zone_page_state(zone_id, NR_ZONE_ACTIVE_FILE)
        if self.balance.can_reclaim_anon(0):
            pages += self.vmstat.zone_page_state(zone_id, NR_ZONE_INACTIVE_ANON)
            pages += self.vmstat.zone_page_state(zone_id, NR_ZONE_ACTIVE_ANON)
        if pages == 0:
            pages = self.vmstat.zone_page_state(zone_id, NR_FREE_PAGES)
        return pages

    # -- all nodes -----------------------------------------------------------------------------

    @cython.cfunc
    def shrink_zones(self, sc: ScanControl) -> cython.void:
        """Each node of the zonelist once."""
        # DIFFERS: no v1 soft limits (mem_cgroup_soft_limit_reclaim); nobody sets them here yet;
        # bends which group gives pages first
        at: cython.int = self.zones.zonelist_row(self.page_alloc.node, sc.reclaim_idx)
        first_node: cython.int = -1
        last_node: cython.int = -1
        while self.zones.zonelist[at] >= 0:
            zone: Zone = self.zones.zones[self.zones.zonelist[at]]
            at += 1
            if sc.target_memcg <= 0 and sc.order > PAGE_ALLOC_COSTLY_ORDER:
                if self.compaction_suitable(zone, sc.order, sc.reclaim_idx):
                    high: cython.longlong = zone.wmark_high + zone.watermark_boost + (2 << sc.order)
                    if self.page_alloc.zone_watermark_ok(zone.zone_id, 0, high, sc.reclaim_idx, 0):
                        sc.compaction_ready = 1
                        continue
            if zone.node == last_node:
                continue
            if first_node < 0:
                first_node = zone.node
            last_node = zone.node
            self.shrink_node(zone.node, sc)
        if first_node < 0 or sc.nr_reclaimed > sc.nr_scanned >> 3 or sc.target_memcg > 0:
            return
        if sc.priority == 1 and sc.nr_reclaimed == 0:
            self.throttle_briefly(first_node)

    @cython.cfunc
    def do_try_to_free_pages(self, sc: ScanControl) -> cython.longlong:
        """Priorities 12 down to 0 until enough is freed; pages freed, 0 when hopeless."""
        initial: cython.int = sc.priority
        node: cython.int
        while True:
            if sc.target_memcg <= 0:
                self.vmstat.count(self.stall_event[sc.reclaim_idx], 1)
            while True:
                sc.nr_scanned = 0
                self.shrink_zones(sc)
                if sc.nr_reclaimed >= sc.nr_to_reclaim or sc.compaction_ready:
                    break
                if sc.priority < DEF_PRIORITY - 2:
                    sc.may_writepage = 1
                sc.priority -= 1
                if sc.priority < 0:
                    break
            if not self.tunables.lru_gen_enabled:
                for node in range(self.zones.nr_nodes):
                    self.balance.snapshot_refaults(sc.target_memcg, node)
            if sc.target_memcg > 0:
                for node in range(self.zones.nr_nodes):
                    self.congested[sc.target_memcg * self.zones.nr_nodes + node] = 0
            if sc.nr_reclaimed > 0:
                return sc.nr_reclaimed
            if sc.compaction_ready:
                return 1
            if self.tunables.kernel >= 612 and not sc.memcg_full_walk:
                sc.memcg_full_walk = 1
            elif sc.skipped_deactivate:
                sc.force_deactivate = 1
                sc.skipped_deactivate = 0
            elif sc.memcg_low_skipped:
                sc.force_deactivate = 0
                sc.memcg_low_reclaim = 1
                sc.memcg_low_skipped = 0
            else:
                return 0
            sc.priority = initial

    @cython.ccall
    def try_to_free_pages(self, gfp: cython.int, order: cython.int) -> cython.longlong:
        """Direct reclaim for an allocation; pages freed."""
        sc: ScanControl = ScanControl(gfp, order, self.zones.gfp_zone(gfp))
        sc.may_writepage = 0 if self.tunables.laptop_mode else 1
        self.lru_scan.lru.memalloc += 1
        freed: cython.longlong = self.do_try_to_free_pages(sc)
        self.lru_scan.lru.memalloc -= 1
        self.lru_scan.wake_flushers()
        return freed

    @cython.ccall
    def try_to_free_mem_cgroup_pages(
        self, memcg: cython.int, nr_pages: cython.longlong, gfp: cython.int, may_swap: cython.int
    ) -> cython.longlong:
        """Reclaim inside a group for its limit; pages freed."""
        io_gfp: cython.int = GFP_HIGHUSER_MOVABLE
        if not gfp & GFP_IO:
            io_gfp = gfp
        sc: ScanControl = ScanControl(io_gfp, 0, self.zones.nr_types - 1)
        sc.target_memcg = memcg
        sc.nr_to_reclaim = nr_pages if nr_pages > SWAP_CLUSTER_MAX else SWAP_CLUSTER_MAX
        sc.may_writepage = 0 if self.tunables.laptop_mode else 1
        sc.may_swap = may_swap
        self.lru_scan.lru.memalloc += 1
        freed: cython.longlong = self.do_try_to_free_pages(sc)
        self.lru_scan.lru.memalloc -= 1
        self.lru_scan.wake_flushers()
        return freed

    @cython.ccall
    def reclaim_proactively(
        self, memcg: cython.int, nr_pages: cython.longlong, swappiness: cython.int
    ) -> cython.longlong:
        """memory.reclaim: free up to `nr_pages` of a group; pages freed. swappiness -1: its own."""
        total: cython.longlong = 0
        retries: cython.int = MAX_RECLAIM_RETRIES
        while total < nr_pages:
            if retries == 1:
                self.lru_scan.lru.lru_add_drain_all()
            sc: ScanControl = ScanControl(GFP_HIGHUSER_MOVABLE, 0, self.zones.nr_types - 1)
            sc.target_memcg = memcg
            sc.proactive = 1
            sc.proactive_swappiness = swappiness
            left: cython.longlong = nr_pages - total
            sc.nr_to_reclaim = left if left > SWAP_CLUSTER_MAX else SWAP_CLUSTER_MAX
            self.lru_scan.lru.memalloc += 1
            freed: cython.longlong = self.do_try_to_free_pages(sc)
            self.lru_scan.lru.memalloc -= 1
            if freed == 0:
                retries -= 1
                if retries == 0:
                    break
            total += freed
        return total
