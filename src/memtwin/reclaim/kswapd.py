"""Owns kswapd: when it wakes, balances a node, pauses and sleeps again.

Imports page and reclaim/vmscan. Knows nothing of who allocates. Rules: mm/vmscan.c balance_pgdat()
and kswapd(), v6.1 and v6.12.

asleep -> woken -> balancing <-> throttled | preempted -> dozing (100 ms) -> asleep

MODEL: it has its first turn as it is woken: with one CPU because waking preempts, with more because
it runs beside its waker. With one CPU its turns, a tick or the rest of a priority's pass long,
alternate with the tasks'; with more the tasks' time stands still while it runs, and its next turn
comes when their time has caught up.
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
    KSWAPD_PREEMPTED,
    KSWAPD_THROTTLED,
    KSWAPD_TURN_NS,
    KSWAPD_WOKEN,
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
        self.until_ns = 0  # end of dozing or of a throttled pause; when it may have a CPU
        self.busy_until_ns = 0  # its own time, ahead of the tasks' where there are more CPUs
        self.order = 0  # asked for since it last looked
        self.highest = -1  # asked for since it last looked; -1 nothing
        self.run_order = 0
        self.run_highest = nr_types - 1
        self.sleep_order = 0  # the node must be balanced for these before it may sleep
        self.sleep_highest = nr_types - 1
        self.boost_left = 0
        self.boosted = 0
        self.nr_before = 0
        self.pass_ended = 0  # 1: balance_pgdat's loop is over, what follows it is not done yet
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
        self.nr_pending = 0  # that want a CPU
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
            if state.sleep_order > state.order:
                state.order = state.sleep_order
        self.want_cpu(state, KSWAPD_WOKEN)
        return 1

    @cython.cfunc
    def want_cpu(self, state: KswapdNode, why: cython.int) -> cython.void:
        """It is runnable from now on, or from when its own time is reached."""
        state.state = why
        state.until_ns = self.clock.now_ns
        if state.busy_until_ns > state.until_ns:
            state.until_ns = state.busy_until_ns
        self.nr_pending += 1

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
        """Let every kswapd that may have a CPU now have its turn; 0."""
        i: cython.int
        if self.nr_pending == 0:
            return 0
        for i in range(len(self.nodes)):
            state: KswapdNode = self.nodes[i]
            if state.state == KSWAPD_WOKEN or state.state == KSWAPD_PREEMPTED:
                if self.clock.now_ns >= state.until_ns:
                    self.run(state)
        return 0

    @cython.ccall
    def next_ns(self) -> cython.longlong:
        """When some kswapd has its next turn, or its pause or doze ends; -1: the machine calls
        `tick` then.
        """
        first: cython.longlong = -1
        i: cython.int
        for i in range(len(self.nodes)):
            state: KswapdNode = self.nodes[i]
            if state.state != KSWAPD_ASLEEP and (first < 0 or state.until_ns < first):
                first = state.until_ns
        return first

    @cython.ccall
    def tick(self) -> cython.int:
        """Carry on what is due by now: ended dozes and pauses, and turns; 0."""
        i: cython.int
        for i in range(len(self.nodes)):
            state: KswapdNode = self.nodes[i]
            if state.state == KSWAPD_THROTTLED:
                self.end_pause(state)
            elif state.state == KSWAPD_DOZING and self.clock.now_ns >= state.until_ns:
                if self.may_sleep(state):
                    state.state = KSWAPD_ASLEEP
                else:
                    self.vmstat.count(KSWAPD_HIGH_WMARK_HIT_QUICKLY, 1)
                    self.want_cpu(state, KSWAPD_WOKEN)
        return self.run_pending()

    @cython.cfunc
    def end_pause(self, state: KswapdNode) -> cython.void:
        """Go on after a throttled pause when it is over, or early once a batch was written."""
        # mm/vmscan.c __acct_reclaim_writeback(), v6.1
        written: cython.longlong = self.vmstat.node_page_state(state.node, NR_THROTTLED_WRITTEN)
        batch: cython.longlong = SWAP_CLUSTER_MAX
        if (
            self.clock.now_ns >= state.until_ns
            or written - state.written_at_pause > batch * self.folio_io.nr_throttled
        ):
            self.folio_io.nr_throttled -= 1
            self.want_cpu(state, KSWAPD_PREEMPTED)
            state.pass_ended = self.after_shrink(state)

    # -- balancing -----------------------------------------------------------------------------

    @cython.cfunc
    def begin(self, state: KswapdNode) -> cython.void:
        """Start balance_pgdat for what was asked."""
        idx: cython.int
        if state.highest >= 0:
            state.run_highest = state.highest
        state.run_order = state.order
        state.order = 0
        state.highest = -1
        state.pass_ended = 0
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
        """One turn: balance until the node is balanced or hopeless, it must pause, or its time is
        up.
        """
        came_ns: cython.longlong = self.clock.now_ns
        cpu_ns: cython.longlong = self.clock.cpu_ns
        must_yield: cython.int = self.clock.must_yield
        stall_ns = list(self.clock.stall_ns)
        self.nr_pending -= 1
        if state.state == KSWAPD_WOKEN:
            self.begin(state)
        state.state = KSWAPD_BALANCING
        while state.state == KSWAPD_BALANCING:
            state.sc.turn_end_ns = came_ns + KSWAPD_TURN_NS
            self.folio_io.run_completions(self.clock.now_ns)
            if state.pass_ended or self.step(state):
                if state.state == KSWAPD_BALANCING:
                    self.finish(state)
            elif self.clock.now_ns >= state.sc.turn_end_ns:
                self.want_cpu(state, KSWAPD_PREEMPTED)
        self.clock.kswapd_ns += self.clock.cpu_ns - cpu_ns
        if state.state == KSWAPD_PREEMPTED and state.sc.blocked_until_ns > state.until_ns:
            state.until_ns = state.sc.blocked_until_ns
        state.sc.blocked_until_ns = 0
        if self.tunables.nr_cpus > 1:
            state.busy_until_ns = self.clock.now_ns
            self.clock.beside_ns += self.clock.cpu_ns - cpu_ns
            self.clock.go_back(came_ns, cpu_ns, stall_ns, must_yield)
            return
        self.clock.kthread_ns += self.clock.cpu_ns - cpu_ns
        if state.state == KSWAPD_PREEMPTED:
            # the tasks have a turn as long
            state.until_ns += self.clock.cpu_ns - cpu_ns

    @cython.cfunc
    def needs_no_pass(self, state: KswapdNode) -> cython.int:
        """1 when the node is balanced and no boost is left to work off."""
        balanced: cython.int = self.balanced(state.node, state.sc.order, state.run_highest)
        if not balanced and state.boost_left > 0:
            state.boost_left = 0
            state.sc.priority = DEF_PRIORITY
        return 1 if balanced and state.boost_left == 0 else 0

    @cython.cfunc
    def begin_pass(self, state: KswapdNode) -> cython.void:
        """What balance_pgdat does before kswapd_shrink_node."""
        sc: ScanControl = state.sc
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

    @cython.cfunc
    def step(self, state: KswapdNode) -> cython.int:
        """One priority of balance_pgdat, or what is left of it; 1 when it is over or it pauses."""
        sc: ScanControl = state.sc
        if not sc.preempted:
            if self.needs_no_pass(state):
                return 1
            self.begin_pass(state)
        pause_ns: cython.longlong = self.vmscan.shrink_node(state.node, sc)
        if sc.preempted:
            return 0
        if pause_ns > 0:
            self.folio_io.unplug()
            state.state = KSWAPD_THROTTLED
            state.until_ns = self.clock.now_ns + pause_ns
            state.written_at_pause = self.vmstat.node_page_state(state.node, NR_THROTTLED_WRITTEN)
            self.folio_io.nr_throttled += 1
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
                    state.pass_ended = 0
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
        # what was asked for meanwhile decides whether it may sleep, unless it gave up on its order:
        # mm/vmscan.c kswapd(), v6.12
        compact_order: cython.int = state.order
        state.sleep_order = state.order
        state.sleep_highest = state.highest if state.highest >= 0 else state.run_highest
        if sc.order < state.run_order:
            compact_order = state.run_order
            state.sleep_order = sc.order
            state.sleep_highest = state.run_highest
        if self.may_sleep(state):
            state.state = KSWAPD_DOZING
            state.until_ns = self.clock.now_ns + 25 * THROTTLE_JIFFY_NS
            if self.compact is not None:
                self.compact.kswapd_sleeps(state.node, compact_order, state.sleep_highest)
            return
        self.vmstat.count(KSWAPD_HIGH_WMARK_HIT_QUICKLY, 1)
        self.begin(state)

    @cython.cfunc
    def may_sleep(self, state: KswapdNode) -> cython.int:
        """prepare_kswapd_sleep: balanced, or hopeless."""
        if self.vmscan.kswapd_failures[state.node] >= MAX_RECLAIM_RETRIES:
            return 1
        if self.balanced(state.node, state.sleep_order, state.sleep_highest):
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
        names = ["state", "until_ns", "busy_until_ns", "order", "highest", "run_order"]
        names += ["run_highest", "sleep_order", "sleep_highest", "boost_left"]
        return [
            (f"{state.node}.{name}", getattr(state, name)) for state in self.nodes for name in names
        ]
