"""Owns multi-gen LRU's way through a node: which groups it takes from, in what order, how hard.

Imports the reclaim room below vmscan and page. What is evicted from a group is `mglru`. Rules:
mm/vmscan.c lru_gen_shrink_node(), shrink_many(), shrink_one(), v6.12.
"""

from __future__ import annotations

import cython

from memtwin.memcg.constants import MEMCG_LOW
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import NR_INACTIVE_ANON, NR_INACTIVE_FILE
from memtwin.reclaim.constants import (
    DEF_PRIORITY,
    MEMCG_LRU_NOP,
    MEMCG_LRU_TAIL,
    MEMCG_LRU_YOUNG,
    MEMCG_NR_GENS,
    MIN_LRU_BATCH,
    SEG_TAIL,
)
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru_gen import LruGen
from memtwin.reclaim.lru_scan import LruScan
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.memcg_lru import MemcgLru
from memtwin.reclaim.mglru import Mglru
from memtwin.reclaim.mglru_gens import MglruGens
from memtwin.reclaim.mglru_walk import MglruWalk
from memtwin.reclaim.scan_balance import ScanBalance
from memtwin.reclaim.scan_control import ScanControl
from memtwin.reclaim.shrinker import Shrinkers


@cython.final
@cython.cclass
class MglruNode:
    """Reclaims from the groups of a node."""

    def __init__(self, mglru: Mglru, groups: MemcgLru) -> None:
        self.mglru = mglru
        self.groups = groups
        self.lru_scan: LruScan = mglru.lru_scan
        self.folio_io: FolioIo = mglru.folio_reclaim.folio_io
        self.balance: ScanBalance = mglru.balance
        self.walk: MglruWalk = mglru.walk
        self.gens: MglruGens = mglru.gens
        self.gen: LruGen = mglru.gen
        self.lruvecs: Lruvecs = mglru.lruvecs
        self.vmstat: VmStat = mglru.vmstat

    @cython.cfunc
    def shrink_lruvec(self, lruvec: cython.int, sc: ScanControl) -> cython.void:
        """Reclaim inside a group, for its limit (lru_gen_shrink_lruvec)."""
        if not sc.preempted:
            self.lru_scan.lru.lru_add_drain()
        self.walk.has_walk = sc.proactive
        if self.mglru.try_to_shrink_lruvec(lruvec, sc):
            self.groups.rotate(lruvec, MEMCG_LRU_YOUNG)
        self.walk.has_walk = 0
        self.folio_io.unplug()

    @cython.cfunc
    def shrink_node(self, node: cython.int, sc: ScanControl, shrinkers: Shrinkers) -> cython.void:
        """Reclaim on a node for the machine (lru_gen_shrink_node)."""
        if not sc.preempted:
            sc.clear_nr()
            sc.nr_before = sc.nr_reclaimed
            if not sc.may_writepage or not sc.may_unmap:
                return
            self.lru_scan.lru.lru_add_drain()
            self.set_initial_priority(node, sc)
            if sc.is_kswapd:
                sc.nr_reclaimed = 0
        self.walk.has_walk = 1 if sc.is_kswapd or sc.proactive else 0
        self.shrink_many(node, sc, shrinkers)
        if sc.is_kswapd and not sc.preempted:
            sc.nr_reclaimed += sc.nr_before
        self.walk.has_walk = 0
        self.folio_io.unplug()

    @cython.cfunc
    def set_initial_priority(self, node: cython.int, sc: ScanControl) -> cython.void:
        """Start harder when much is wanted of little (set_initial_priority)."""
        if sc.priority != DEF_PRIORITY or sc.nr_to_reclaim < MIN_LRU_BATCH:
            return
        reclaimable: cython.longlong = self.vmstat.node_page_state(node, NR_INACTIVE_FILE)
        if self.balance.can_reclaim_anon(0):
            reclaimable += self.vmstat.node_page_state(node, NR_INACTIVE_ANON)
        wanted: cython.longlong = sc.nr_to_reclaim - 1
        priority: cython.int = -1
        while reclaimable > 0:
            reclaimable >>= 1
            priority += 1
        while wanted > 0:
            wanted >>= 1
            priority -= 1
        if priority > DEF_PRIORITY:
            priority = DEF_PRIORITY
        if priority < DEF_PRIORITY // 2:
            priority = DEF_PRIORITY // 2
        sc.priority = priority

    @cython.cfunc
    def age_node(self, node: cython.int, sc: ScanControl) -> cython.void:
        """What kswapd does before each pass (lru_gen_age_node with min_ttl_ms 0)."""
        self.set_initial_priority(node, sc)

    @cython.cfunc
    def shrink_many(self, node: cython.int, sc: ScanControl, shrinkers: Shrinkers) -> cython.void:
        """Groups of the memcg generation at hand, in order, until enough is freed."""
        self.groups.know_groups()
        gen: cython.int = self.groups.seq[node] % MEMCG_NR_GENS
        fifo: list[int] = self.groups.fifo[node * MEMCG_NR_GENS + gen]
        at: cython.int = 0
        if sc.preempted:
            # others may have moved the group meanwhile: what is left of its turn is given up then
            if sc.at_lruvec in fifo:
                at = fifo.index(sc.at_lruvec)
            else:
                sc.preempted = 0
        while at < len(fifo):
            lruvec: cython.int = fifo[at]
            op: cython.int = self.shrink_one(lruvec, sc, shrinkers)
            if sc.preempted:
                return
            stop: cython.int = self.mglru.should_abort_scan(sc, node)
            if op == MEMCG_LRU_NOP:
                at += 1
            else:
                self.groups.rotate(lruvec, op)
            if stop:
                return

    @cython.cfunc
    def shrink_one(self, lruvec: cython.int, sc: ScanControl, shrinkers: Shrinkers) -> cython.int:
        """One group: evict, shrink its kernel objects; where it goes in the order of groups."""
        memcg: cython.int = lruvec // self.lruvecs.nr_nodes
        node: cython.int = lruvec % self.lruvecs.nr_nodes
        if memcg > 0 and not sc.preempted:
            usage: cython.longlong = self.balance.memcgs.usage[memcg]
            least: cython.longlong = self.balance.effective_min(memcg)
            low: cython.longlong = self.balance.effective_low(memcg)
            if least > 0 and least >= usage:
                return MEMCG_LRU_YOUNG
            if low > 0 and low >= usage:
                if self.groups.seg[lruvec] != SEG_TAIL:
                    return MEMCG_LRU_TAIL
                self.balance.memcgs.memory_event_add(memcg, MEMCG_LOW)
        success: cython.int = self.mglru.try_to_shrink_lruvec(lruvec, sc)
        if sc.preempted:
            return MEMCG_LRU_NOP
        shrinkers.shrink_slab(sc.gfp, node, memcg, sc.priority)
        sc.nr_reclaimed += shrinkers.take_reclaimed()
        if success and self.balance.memcgs.online[memcg]:
            return MEMCG_LRU_YOUNG
        if not success and self.is_sizable(lruvec, sc):
            return MEMCG_LRU_NOP
        return MEMCG_LRU_TAIL if self.groups.seg[lruvec] != SEG_TAIL else MEMCG_LRU_YOUNG

    @cython.cfunc
    def is_sizable(self, lruvec: cython.int, sc: ScanControl) -> cython.int:
        """1 when a group has enough pages at this priority (lruvec_is_sizable)."""
        total: cython.longlong = 0
        gen_type: cython.int
        seq: cython.longlong
        for gen_type in range(0 if self.mglru.swappiness_of(lruvec, sc) > 0 else 1, 2):
            for seq in range(self.gen.min_seq[lruvec * 2 + gen_type], self.gen.max_seq[lruvec] + 1):
                total += self.gens.size_of(lruvec, seq, gen_type)
        if self.balance.memcgs.online[lruvec // self.lruvecs.nr_nodes]:
            total >>= sc.priority
        return 1 if total > 0 else 0
