"""Owns kswapd: when it wakes, balances a node, pauses and sleeps again.

Imports page and reclaim/vmscan. Knows nothing of who allocates. Rules: mm/vmscan.c balance_pgdat()
and kswapd(), v6.1 and v6.12.

asleep -> (woken) balancing <-> throttled -> dozing (100 ms) -> asleep MODEL: on waking it runs to
completion at once: with one CPU because waking preempts, with more because it runs beside its
waker. It stops early only where the kernel's would sleep for I/O (throttled).
"""

from __future__ import annotations

import cython

from memtwin.columns import zeros
from memtwin.hardware.clock import Clock
from memtwin.page.flags import LRU_ACTIVE_ANON, LRU_INACTIVE_ANON
from memtwin.page.gfp import GFP_KERNEL
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    KSWAPD_HIGH_WMARK_HIT_QUICKLY,
    KSWAPD_LOW_WMARK_HIT_QUICKLY,
    NR_THROTTLED_WRITTEN,
    PAGEOUTRUN,
)
from memtwin.page.zone import Zone, Zones
from memtwin.reclaim.compact_policy import CompactPolicy
from memtwin.reclaim.constants import (
    DEF_PRIORITY,
    KSWAPD_ASLEEP,
    KSWAPD_BALANCING,
    KSWAPD_DOZING,
    KSWAPD_THROTTLED,
    MAX_RECLAIM_RETRIES,
    SWAP_CLUSTER_MAX,
    THROTTLE_JIFFY_NS,
)
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.scan_control import ScanControl
from memtwin.reclaim.vmscan import Vmscan


@cython.final
@cython.cclass
class KswapdNode:
    """One node's kswapd: what it was asked for, and where its balancing stands."""

    def __init__(self, node: int, nr_types: int) -> None:
        self.node = node
        self.state = KSWAPD_ASLEEP
        self.until_ns = 0  # end of dozing or of a throttled pause
        self.order = 0  # asked for since it last looked
        self.highest = -1  # asked for since it last looked; -1 nothing
        self.run_order = 0
        self.run_highest = nr_types - 1
        self.boost_left = 0
        self.boosted = 0
        self.nr_before = 0
        self.raise_priority = 1
        self.written_at_pause = 0
        self.sc = ScanControl(GFP_KERNEL, 0, nr_types - 1)
        self.zone_boosts = zeros(nr_types, "i8")


@cython.final
@cython.cclass
class Kswapd:
    """The kswapd of every node."""

    def __init__(
        self, vmscan: Vmscan, page_alloc: PageAlloc, folio_io: FolioIo, clock: Clock
    ) -> None:
        self.vmscan = vmscan
        self.page_alloc = page_alloc
        self.folio_io = folio_io
        self.clock = clock
        self.zones: Zones = page_alloc.zones
        self.vmstat: VmStat = page_alloc.vmstat
        self.tunables: Tunables = page_alloc.tunables
        self.nodes = [KswapdNode(node, self.zones.nr_types) for node in range(self.zones.nr_nodes)]
        self.nr_pending = 0  # woken, and not run yet
        self.compact: CompactPolicy | None = None  # what follows it; the machine connects it

    # -- waking --------------------------------------------------------------------------------

    @cython.ccall
    def wakeup(self, node: cython.int, order: cython.int, highest: cython.int) -> cython.int:
        """Ask a node's kswapd to balance it; `run_pending` lets it. 1 when it was woken."""
        # mm/vmscan.c wakeup_kswapd(), v6.1
        state: KswapdNode = self.nodes[node]
        if highest > state.highest:
            state.highest = highest
        if order > state.order:
            state.order = order
        if state.state != KSWAPD_ASLEEP and state.state != KSWAPD_DOZING:
            return 0
        if self.vmscan.kswapd_failures[node] >= MAX_RECLAIM_RETRIES:
            return 0
        if self.balanced(node, order, highest) and not self.is_boosted(node, highest):
            return 0
        if state.state == KSWAPD_DOZING:
            self.vmstat.count(KSWAPD_LOW_WMARK_HIT_QUICKLY, 1)
            # woken early it keeps the order it balanced for
            if state.sc.order > state.order:
                state.order = state.sc.order
        self.begin(state)
        return 1

    @cython.cfunc
    def wake_all(self, gfp: cython.int, order: cython.int) -> cython.void:
        """Wake the kswapd of every node that a request could be served from."""
        highest: cython.int = self.zones.gfp_zone(gfp)
        at: cython.int = self.zones.zonelist_row(self.page_alloc.node, highest)
        last: cython.int = -1
        while self.zones.zonelist[at] >= 0:
            zone: Zone = self.zones.zones[self.zones.zonelist[at]]
            at += 1
            if zone.managed_pages > 0 and zone.node != last:
                self.wakeup(zone.node, order, highest)
                last = zone.node

    @cython.ccall
    def run_pending(self) -> cython.int:
        """Let every kswapd that is awake work until it sleeps or pauses; 0."""
        i: cython.int
        if self.nr_pending == 0:
            return 0
        for i in range(len(self.nodes)):
            state: KswapdNode = self.nodes[i]
            if state.state == KSWAPD_BALANCING:
                self.run(state)
        return 0

    @cython.ccall
    def next_ns(self) -> cython.longlong:
        """When some kswapd's pause or doze ends, or -1: the machine then calls `tick`."""
        first: cython.longlong = -1
        i: cython.int
        for i in range(len(self.nodes)):
            state: KswapdNode = self.nodes[i]
            if state.state == KSWAPD_DOZING or state.state == KSWAPD_THROTTLED:
                if first < 0 or state.until_ns < first:
                    first = state.until_ns
        return first

    @cython.ccall
    def tick(self) -> cython.int:
        """Carry on what is due by now: ended dozes and pauses, and awake kswapds; 0."""
        i: cython.int
        for i in range(len(self.nodes)):
            state: KswapdNode = self.nodes[i]
            if state.state == KSWAPD_THROTTLED:
                # __acct_reclaim_writeback(): woken early once a batch was written
                written: cython.longlong = self.vmstat.node_page_state(
                    state.node, NR_THROTTLED_WRITTEN
                )
                batch: cython.longlong = SWAP_CLUSTER_MAX
                if (
                    self.clock.now_ns >= state.until_ns
                    or written - state.written_at_pause > batch * self.folio_io.nr_throttled
                ):
                    self.folio_io.nr_throttled -= 1
                    state.state = KSWAPD_BALANCING
                    self.nr_pending += 1
                    self.after_shrink(state)
                    self.run(state)
            elif state.state == KSWAPD_DOZING and self.clock.now_ns >= state.until_ns:
                if self.may_sleep(state):
                    state.state = KSWAPD_ASLEEP
                else:
                    self.vmstat.count(KSWAPD_HIGH_WMARK_HIT_QUICKLY, 1)
                    self.begin(state)
                    self.run(state)
            elif state.state == KSWAPD_BALANCING:
                self.run(state)
        return 0

    # -- balancing -----------------------------------------------------------------------------

    @cython.cfunc
    def begin(self, state: KswapdNode) -> cython.void:
        """Start balance_pgdat for what was asked."""
        idx: cython.int
        state.state = KSWAPD_BALANCING
        self.nr_pending += 1
        if state.highest >= 0:
            state.run_highest = state.highest
        state.run_order = state.order
        state.order = 0
        state.highest = -1
        state.sc = ScanControl(GFP_KERNEL, state.run_order, state.run_highest)
        state.sc.is_kswapd = 1
        self.vmstat.count(PAGEOUTRUN, 1)
        state.boost_left = 0
        for idx in range(state.run_highest + 1):
            zone: Zone = self.zone_at(state.node, idx)
            state.zone_boosts[idx] = zone.watermark_boost
            state.boost_left += zone.watermark_boost
            zone.reclaim_active = 1
        state.boosted = 1 if state.boost_left > 0 else 0

    @cython.cfunc
    def zone_at(self, node: cython.int, idx: cython.int) -> Zone:
        """A node's zone."""
        found: Zone = self.zones.zones[node * self.zones.nr_types + idx]
        return found

    @cython.cfunc
    def run(self, state: KswapdNode) -> cython.void:
        """Balance until the node is balanced, hopeless, or kswapd must pause."""
        while state.state == KSWAPD_BALANCING:
            self.folio_io.run_completions(self.clock.now_ns)
            if self.step(state) == 0:
                continue
            if state.state == KSWAPD_THROTTLED:
                return
            self.finish(state)

    @cython.cfunc
    def step(self, state: KswapdNode) -> cython.int:
        """One priority of balance_pgdat; 1 when it is over or kswapd pauses."""
        sc: ScanControl = state.sc
        balanced: cython.int = self.balanced(state.node, sc.order, state.run_highest)
        if not balanced and state.boost_left > 0:
            state.boost_left = 0
            sc.priority = DEF_PRIORITY
            return 0
        if state.boost_left == 0 and balanced:
            return 1
        state.raise_priority = 1
        if state.boost_left > 0 and sc.priority == DEF_PRIORITY - 2:
            state.raise_priority = 0
        sc.may_writepage = 1 if not self.tunables.laptop_mode and state.boost_left == 0 else 0
        sc.may_swap = 1 if state.boost_left == 0 else 0
        self.age_node(state.node, sc)
        if sc.priority < DEF_PRIORITY - 2:
            sc.may_writepage = 1
        sc.nr_scanned = 0
        state.nr_before = sc.nr_reclaimed
        sc.nr_to_reclaim = 0
        idx: cython.int
        for idx in range(sc.reclaim_idx + 1):
            zone: Zone = self.zone_at(state.node, idx)
            if zone.managed_pages > 0:
                high: cython.longlong = zone.wmark_high + zone.watermark_boost
                sc.nr_to_reclaim += high if high > SWAP_CLUSTER_MAX else SWAP_CLUSTER_MAX
        pause_ns: cython.longlong = self.vmscan.shrink_node(state.node, sc)
        if pause_ns > 0:
            self.folio_io.unplug()
            state.state = KSWAPD_THROTTLED
            state.until_ns = self.clock.now_ns + pause_ns
            state.written_at_pause = self.vmstat.node_page_state(state.node, NR_THROTTLED_WRITTEN)
            self.folio_io.nr_throttled += 1
            self.nr_pending -= 1
            return 1
        return self.after_shrink(state)

    @cython.cfunc
    def after_shrink(self, state: KswapdNode) -> cython.int:
        """What balance_pgdat does behind kswapd_shrink_node; 1 when the loop is over."""
        sc: ScanControl = state.sc
        if sc.order > 0 and sc.nr_reclaimed >= 2 << sc.order:
            sc.order = 0
        if sc.nr_scanned >= sc.nr_to_reclaim:
            state.raise_priority = 0
        progress: cython.longlong = sc.nr_reclaimed - state.nr_before
        state.boost_left -= progress if progress < state.boost_left else state.boost_left
        if state.boost_left > 0 and progress == 0:
            sc.priority = 0
            return 1
        if state.raise_priority or progress == 0:
            sc.priority -= 1
        return 1 if sc.priority < 1 else 0

    @cython.cfunc
    def finish(self, state: KswapdNode) -> cython.void:
        """balance_pgdat is over: account boosts, then sleep or go on."""
        sc: ScanControl = state.sc
        idx: cython.int
        if sc.priority < 1:
            if self.tunables.kernel >= 612 and sc.nr_reclaimed == 0 and sc.cache_trim_mode_failed:
                if not sc.no_cache_trim_mode:
                    # v6.12: once more with anonymous pages in it
                    sc.no_cache_trim_mode = 1
                    sc.priority = DEF_PRIORITY
                    return
            if sc.nr_reclaimed == 0:
                self.vmscan.kswapd_failures[state.node] += 1
        for idx in range(state.run_highest + 1):
            zone: Zone = self.zone_at(state.node, idx)
            zone.reclaim_active = 0
            if state.boosted and state.zone_boosts[idx] > 0:
                less: cython.longlong = state.zone_boosts[idx]
                if less > zone.watermark_boost:
                    less = zone.watermark_boost
                zone.watermark_boost -= less
        if not self.tunables.lru_gen_enabled:
            self.vmscan.balance.snapshot_refaults(0, state.node)
        self.nr_pending -= 1
        if self.may_sleep(state):
            state.state = KSWAPD_DOZING
            state.until_ns = self.clock.now_ns + 25 * THROTTLE_JIFFY_NS
            if self.compact is not None:
                self.compact.kswapd_sleeps(state.node, state.run_order, state.run_highest)
            return
        self.vmstat.count(KSWAPD_HIGH_WMARK_HIT_QUICKLY, 1)
        self.begin(state)

    @cython.cfunc
    def may_sleep(self, state: KswapdNode) -> cython.int:
        """prepare_kswapd_sleep: balanced, or hopeless."""
        if self.vmscan.kswapd_failures[state.node] >= MAX_RECLAIM_RETRIES:
            return 1
        if self.balanced(state.node, state.sc.order, state.run_highest):
            # clear_pgdat_congested()
            self.vmscan.congested[state.node] = 0
            self.vmscan.node_congested[state.node] = 0
            self.vmscan.lru_scan.folio_reclaim.node_writeback[state.node] = 0
            self.vmscan.lru_scan.folio_reclaim.node_dirty[state.node] = 0
            return 1
        return 0

    @cython.cfunc
    def age_node(self, node: cython.int, sc: ScanControl) -> cython.void:
        """Background aging of anonymous pages (kswapd_age_node)."""
        memcg: cython.int = 0
        if self.tunables.lru_gen_enabled:
            self.vmscan.mglru.age_node(node, sc)
            return
        if not self.vmscan.lru_scan.can_age_anon():
            return
        root: cython.int = self.vmscan.lruvecs.of(0, node)
        if not self.vmscan.balance.inactive_is_low(root, LRU_INACTIVE_ANON):
            return
        while memcg >= 0:
            self.vmscan.lru_scan.shrink_active_list(
                SWAP_CLUSTER_MAX, self.vmscan.lruvecs.of(memcg, node), sc, LRU_ACTIVE_ANON
            )
            memcg = self.vmscan.memcgs.next_in_tree(0, memcg)

    @cython.ccall
    def balanced(self, node: cython.int, order: cython.int, highest: cython.int) -> cython.int:
        """1 when some zone up to `highest` is above its high watermark (pgdat_balanced)."""
        idx: cython.int
        seen: cython.int = 0
        for idx in range(highest + 1):
            zone: Zone = self.zone_at(node, idx)
            if zone.managed_pages == 0:
                continue
            seen = 1
            high: cython.longlong = zone.wmark_high + zone.watermark_boost
            if self.page_alloc.zone_watermark_ok_safe(zone.zone_id, order, high, highest):
                return 1
        return 0 if seen else 1

    @cython.cfunc
    def is_boosted(self, node: cython.int, highest: cython.int) -> cython.int:
        """1 when a zone's watermarks are boosted (pgdat_watermark_boosted)."""
        idx: cython.int
        for idx in range(highest + 1):
            zone: Zone = self.zone_at(node, idx)
            if zone.managed_pages > 0 and zone.watermark_boost > 0:
                return 1
        return 0

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = ["state", "until_ns", "order", "highest", "run_order", "run_highest", "boost_left"]
        return [
            (f"{state.node}.{name}", getattr(state, name)) for state in self.nodes for name in names
        ]
