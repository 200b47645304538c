"""Owns how reclaim splits its attention between anonymous and file pages, active and inactive.

Imports page, memcg, swap counts and the lists. Looks at sizes, costs and refaults; moves no page.
"""

from __future__ import annotations

import cython

from memtwin.columns import zeros
from memtwin.memcg.charge import Charge
from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import LRU_INACTIVE_ANON, LRU_INACTIVE_FILE
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    NR_ACTIVE_FILE,
    NR_FREE_PAGES,
    NR_INACTIVE_ANON,
    NR_INACTIVE_FILE,
)
from memtwin.page.zone import Zone, Zones
from memtwin.reclaim.constants import (
    DEACTIVATE_ANON,
    DEACTIVATE_FILE,
    SCAN_ANON,
    SCAN_EQUAL,
    SCAN_FILE,
    SCAN_FRACT,
    SWAP_CLUSTER_MAX,
)
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.scan_control import ScanControl
from memtwin.reclaim.stat_fold import StatFold
from memtwin.swap.swap import Swap

if not cython.compiled:
    from memtwin.columns import I8


@cython.final
@cython.cclass
class ScanBalance:
    """Works out scan targets."""

    def __init__(self, lruvecs: Lruvecs, charge: Charge, swap: Swap, page_alloc: PageAlloc) -> None:
        self.lruvecs = lruvecs
        self.memcgs: MemcgTable = charge.table
        self.charge = charge
        self.swap = swap
        self.page_alloc = page_alloc
        self.zones: Zones = lruvecs.zones
        self.vmstat: VmStat = lruvecs.vmstat
        self.stat_fold: StatFold | None = None  # None: statistics are always exact
        self.nr = zeros(4, "i8")  # answer of get_scan_count: pages to scan, by LRU_*

    @cython.ccall
    def can_reclaim_anon(self, memcg: cython.int) -> cython.int:
        """1 when anonymous pages have somewhere to go (can_reclaim_anon_pages)."""
        free: cython.longlong = self.swap.nr_swap_pages
        if memcg > 0:
            free = self.charge.nr_swap_pages(memcg, free)
        return 1 if free > 0 else 0

    @cython.ccall
    def inactive_is_low(self, lruvec: cython.int, lru: cython.int) -> cython.int:
        """1 when an inactive list is too short beside its active one (inactive_is_low, v6.1)."""
        inactive: cython.longlong = self.lruvecs.tree_size(lruvec, lru)
        active: cython.longlong = self.lruvecs.tree_size(lruvec, lru + 1)
        gigabytes: cython.longlong = (inactive + active) >> 18
        ratio: cython.longlong = 1
        if gigabytes > 0:
            while (ratio + 1) * (ratio + 1) <= 10 * gigabytes:  # int_sqrt
                ratio += 1
        return 1 if inactive * ratio < active else 0

    @cython.cfunc
    def prepare(self, sc: ScanControl, node: cython.int) -> cython.void:
        """Once a node and pass: costs, what may be deactivated, where the file cache stands."""
        # mm/vmscan.c prepare_scan_count(), v6.1; prepare_scan_control(), v6.12
        if self.stat_fold is not None:
            self.stat_fold.before_reclaim()
        memcg: cython.int = sc.target_memcg if sc.target_memcg > 0 else 0
        target: cython.int = self.lruvecs.of(memcg, node)
        sc.anon_cost = self.lruvecs.anon_cost[target]
        sc.file_cost = self.lruvecs.file_cost[target]
        sc.may_deactivate = DEACTIVATE_ANON | DEACTIVATE_FILE
        if not sc.force_deactivate:
            if not self.wants_deactivation(target, 0):
                sc.may_deactivate &= ~DEACTIVATE_ANON
            if not self.wants_deactivation(target, 1):
                sc.may_deactivate &= ~DEACTIVATE_FILE
        inactive_file: cython.longlong = self.lruvecs.tree_size(target, LRU_INACTIVE_FILE)
        sc.cache_trim_mode = 0
        if inactive_file >> sc.priority and not sc.may_deactivate & DEACTIVATE_FILE:
            if not sc.no_cache_trim_mode:
                sc.cache_trim_mode = 1
        if sc.target_memcg <= 0:
            self.look_for_tiny_cache(sc, node)

    @cython.cfunc
    def wants_deactivation(self, lruvec: cython.int, is_file: cython.int) -> cython.int:
        """1 when pages refault and are activated, or the inactive list is short."""
        at: cython.int = lruvec * 2 + is_file
        if self.lruvecs.activated(lruvec, is_file) != self.lruvecs.refaults[at]:
            return 1
        return self.inactive_is_low(lruvec, LRU_INACTIVE_FILE if is_file else LRU_INACTIVE_ANON)

    @cython.cfunc
    def look_for_tiny_cache(self, sc: ScanControl, node: cython.int) -> cython.void:
        """file_is_tiny: file and free pages together are below the high watermarks."""
        free: cython.longlong = 0
        high: cython.longlong = 0
        idx: cython.int
        zone: Zone
        for idx in range(self.zones.nr_types):
            zone = self.zones.zones[node * self.zones.nr_types + idx]
            free += self.vmstat.zone_page_state(zone.zone_id, NR_FREE_PAGES)
            if zone.managed_pages > 0:
                high += zone.wmark_high + zone.watermark_boost
        file: cython.longlong = self.vmstat.node_page_state(node, NR_ACTIVE_FILE)
        file += self.vmstat.node_page_state(node, NR_INACTIVE_FILE)
        anon: cython.longlong = self.vmstat.node_page_state(node, NR_INACTIVE_ANON)
        sc.file_is_tiny = 0
        if file + free <= high and not sc.may_deactivate & DEACTIVATE_ANON:
            if anon >> sc.priority:
                sc.file_is_tiny = 1

    @cython.cfunc
    def scan_mode(
        self, memcg: cython.int, sc: ScanControl, swappiness: cython.longlong
    ) -> cython.int:
        """SCAN_*: which types are scanned, and how they are weighed."""
        if not sc.may_swap or not self.can_reclaim_anon(memcg):
            return SCAN_FILE
        if sc.target_memcg > 0 and swappiness == 0:
            return SCAN_FILE
        if sc.priority == 0 and swappiness > 0:
            return SCAN_EQUAL
        if sc.file_is_tiny:
            return SCAN_ANON
        if sc.cache_trim_mode:
            return SCAN_FILE
        return SCAN_FRACT

    @cython.cfunc
    def get_scan_count(self, lruvec: cython.int, sc: ScanControl) -> cython.void:
        """Pages to scan of each list, into `nr` (mm/vmscan.c get_scan_count(), v6.1)."""
        memcg: cython.int = lruvec // self.lruvecs.nr_nodes
        swappiness: cython.longlong = self.memcgs.get_swappiness(memcg)
        if sc.proactive_swappiness >= 0:
            swappiness = sc.proactive_swappiness
        mode: cython.int = self.scan_mode(memcg, sc, swappiness)
        total_cost: cython.longlong = sc.anon_cost + sc.file_cost
        anon_cost: cython.longlong = total_cost + sc.anon_cost
        file_cost: cython.longlong = total_cost + sc.file_cost
        total_cost = anon_cost + file_cost
        weight_anon: cython.longlong = swappiness * (total_cost + 1) // (anon_cost + 1)
        weight_file: cython.longlong = (200 - swappiness) * (total_cost + 1) // (file_cost + 1)
        lru: cython.int
        scan: cython.longlong
        for lru in range(4):
            is_file: cython.int = 1 if lru >= LRU_INACTIVE_FILE else 0
            size: cython.longlong = self.lruvecs.size_up_to(lruvec, lru, sc.reclaim_idx)
            scan = self.protected_scan(memcg, sc, size) >> sc.priority
            if scan == 0 and not self.memcgs.online[memcg]:
                scan = size if size < SWAP_CLUSTER_MAX else SWAP_CLUSTER_MAX
            if mode == SCAN_FRACT:
                weight: cython.longlong = weight_file if is_file else weight_anon
                scan = scan * weight
                if not self.memcgs.online[memcg]:
                    scan += weight_anon + weight_file - 1
                scan = scan // (weight_anon + weight_file)
            elif mode != SCAN_EQUAL and (mode == SCAN_FILE) != (is_file == 1):
                scan = 0
            self.nr[lru] = scan

    @cython.cfunc
    def protected_scan(
        self, memcg: cython.int, sc: ScanControl, size: cython.longlong
    ) -> cython.longlong:
        """A list's size, less the share that memory.min and memory.low protect."""
        if memcg == 0 or memcg == sc.target_memcg:
            return size
        low: cython.longlong = self.effective_low(memcg)
        least: cython.longlong = self.effective_min(memcg)
        if low == 0 and least == 0:
            return size
        protection: cython.longlong = least
        if not sc.memcg_low_reclaim and low > least:
            protection = low
            sc.memcg_low_skipped = 1
        usage: cython.longlong = self.memcgs.usage[memcg]
        if usage < protection:
            usage = protection
        scan: cython.longlong = size - size * protection // (usage + 1)
        return scan if scan > SWAP_CLUSTER_MAX else SWAP_CLUSTER_MAX

    @cython.ccall
    def effective_min(self, memcg: cython.int) -> cython.longlong:
        """memory.min as far as the groups above grant it, pages."""
        return self.effective(memcg, self.memcgs.min)

    @cython.ccall
    def effective_low(self, memcg: cython.int) -> cython.longlong:
        """memory.low as far as the groups above grant it, pages."""
        return self.effective(memcg, self.memcgs.low)

    @cython.cfunc
    def effective(self, memcg: cython.int, setting: I8) -> cython.longlong:
        """mm/memcontrol.c effective_protection(), v6.1, without memory_recursiveprot."""
        parent: cython.int = self.memcgs.parent[memcg]
        if parent <= 0:
            return setting[memcg]
        if setting[memcg] == 0:
            return 0
        granted: cython.longlong = self.effective(parent, setting)
        siblings: cython.longlong = 0
        own: cython.longlong = 0
        row: cython.int
        for row in range(parent + 1, self.memcgs.nr):
            if self.memcgs.parent[row] == parent and self.memcgs.online[row]:
                part: cython.longlong = self.memcgs.usage[row]
                if part > setting[row]:
                    part = setting[row]
                siblings += part
                if row == memcg:
                    own = part
        if siblings > granted:
            return own * granted // siblings
        return own

    @cython.cfunc
    def snapshot_refaults(self, target_memcg: cython.int, node: cython.int) -> cython.void:
        """Remember the activations seen so far (mm/vmscan.c snapshot_refaults(), v6.1)."""
        lruvec: cython.int = self.lruvecs.of(target_memcg if target_memcg > 0 else 0, node)
        self.lruvecs.refaults[lruvec * 2] = self.lruvecs.activated(lruvec, 0)
        self.lruvecs.refaults[lruvec * 2 + 1] = self.lruvecs.activated(lruvec, 1)
