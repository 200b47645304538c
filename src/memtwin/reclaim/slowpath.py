"""Owns the retry loops of allocating and charging: the one place where memory pressure is met.

Imports page, memcg and the reclaim room. Knows nothing of who asks or what the page is for. When
nothing can be reclaimed it answers NEED_OOM; `process/oom` acts and the caller tries again.
"""

from __future__ import annotations

from typing import cast

import cython

from memtwin.hardware.clock import STALL_HIGH, STALL_RECLAIM, Clock
from memtwin.memcg.charge import Charge
from memtwin.memcg.constants import CHARGE_OK, KEEP_PAGES, MEMCG_HIGH, MEMCG_MAX, MEMCG_OOM
from memtwin.memcg.table import MemcgTable
from memtwin.page.gfp import (
    ALLOC_FAILED,
    ALLOC_NO_WATERMARKS,
    ALLOC_WMARK_HIGH,
    GFP_DIRECT_RECLAIM,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_KSWAPD_RECLAIM,
    GFP_MEMALLOC,
    GFP_MOVABLE_BIT,
    GFP_NOFAIL,
    GFP_NORETRY,
    GFP_RETRY_MAYFAIL,
    NEED_OOM,
    NEED_RECLAIM,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat_items import NR_FREE_PAGES, PGSCAN_DIRECT_THROTTLE
from memtwin.page.zone import Zone, Zones
from memtwin.reclaim.compact_constants import COMPACT_DEFERRED, COMPACT_PRIO_ASYNC
from memtwin.reclaim.compact_policy import CompactPolicy
from memtwin.reclaim.constants import (
    HZ,
    MAX_RECLAIM_RETRIES,
    PAGE_ALLOC_COSTLY_ORDER,
    SWAP_CLUSTER_MAX,
    THROTTLE_JIFFY_NS,
)
from memtwin.reclaim.kswapd import Kswapd
from memtwin.reclaim.vmscan import Vmscan
from memtwin.units import NIL, PAGE_SIZE


@cython.final
@cython.cclass
class Slowpath:
    """Allocation and charging as the kernel's callers see them."""

    def __init__(
        self, mem: MemMap, page_alloc: PageAlloc, charge: Charge, vmscan: Vmscan | None = None,
        kswapd: Kswapd | None = None, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        self.mem = mem
        self.page_alloc = page_alloc
        self.charge = charge
        self.memcgs: MemcgTable = charge.table
        self.connect(vmscan, kswapd, clock)
        self.zones: Zones = page_alloc.zones
        # after NEED_OOM: the group that is out of memory, -1 when it is the machine
        self.oom_memcg_id = NIL
        self.no_progress_loops = 0
        self.compact: CompactPolicy | None = (
            None  # what makes large blocks; the machine connects it
        )

    def connect(self, vmscan: Vmscan | None, kswapd: Kswapd | None, clock: Clock | None) -> None:
        """Give it what reclaims. Without, every shortage is an NEED_OOM (boot, tests of other
        rooms).
        """
        # None only where nothing is ever reclaimed; every use is behind such a test
        self.vmscan = cast("Vmscan", vmscan)
        self.kswapd = cast("Kswapd", kswapd)
        self.clock = cast("Clock", clock)

    # -- pages ---------------------------------------------------------------------------------

    @cython.ccall
    def alloc_page(self, gfp: cython.int, order: cython.int) -> cython.int:
        """A pfn (2**order frames, refcount 1), NEED_OOM or ALLOC_FAILED."""
        pfn: cython.int = self.page_alloc.alloc_fast(gfp, order)
        if self.page_alloc.boosted_zone >= 0:
            self.wake_boosted()
        if pfn >= 0:
            return pfn
        return self.alloc_slowly(gfp, order)

    @cython.cfunc
    def wake_boosted(self) -> cython.void:
        """A fallback boosted a zone's watermarks: its kswapd makes room (rmqueue, v6.1)."""
        zone: Zone = self.zones.zones[self.page_alloc.boosted_zone]
        self.page_alloc.boosted_zone = -1
        if self.kswapd is None:
            return
        self.kswapd.wakeup(zone.node, 0, zone.zone_idx)
        self.kswapd.run_pending()

    @cython.cfunc
    def alloc_slowly(self, gfp: cython.int, order: cython.int) -> cython.int:
        """kswapd, reserves, direct reclaim, retries (mm/page_alloc.c __alloc_pages_slowpath())."""
        if self.kswapd is None:
            self.oom_memcg_id = NIL
            return NEED_OOM if gfp & GFP_DIRECT_RECLAIM else ALLOC_FAILED
        self.kswapd.tick()
        alloc_flags: cython.int = self.page_alloc.gfp_to_alloc_flags(gfp, order)
        if gfp & GFP_KSWAPD_RECLAIM:
            self.kswapd.wake_all(gfp, order)
        pfn: cython.int = self.page_alloc.get_page_from_freelist(gfp, order, alloc_flags)
        if pfn >= 0:
            # kswapd gets the CPU when the allocating task returns to its program
            self.kswapd.run_pending()
            return pfn
        if gfp & GFP_MEMALLOC:
            pfn = self.page_alloc.get_page_from_freelist(gfp, order, ALLOC_NO_WATERMARKS)
        if pfn >= 0 or not gfp & GFP_DIRECT_RECLAIM or gfp & GFP_MEMALLOC:
            self.kswapd.run_pending()
            return pfn if pfn >= 0 else ALLOC_FAILED
        if self.compact is not None and order > 0:
            pfn = self.compact_first(gfp, order, alloc_flags)
            if pfn != NEED_RECLAIM:
                return pfn
        elif order > PAGE_ALLOC_COSTLY_ORDER and gfp & GFP_NORETRY:
            return ALLOC_FAILED
        self.no_progress_loops = 0
        while True:
            progress: cython.longlong = self.direct_reclaim(gfp, order)
            if progress > 0:
                pfn = self.page_alloc.get_page_from_freelist(gfp, order, alloc_flags)
                if pfn < 0:
                    self.page_alloc.drain_all_pages()
                    pfn = self.page_alloc.get_page_from_freelist(gfp, order, alloc_flags)
            if pfn < 0 and order > 0 and self.compact is not None:
                pfn = self.compact.direct_compact(gfp, order, alloc_flags, self.compact.priority)
            if pfn >= 0:
                return pfn
            if gfp & GFP_NORETRY:
                return ALLOC_FAILED
            if order > PAGE_ALLOC_COSTLY_ORDER and not gfp & GFP_RETRY_MAYFAIL:
                return ALLOC_FAILED
            if self.should_reclaim_retry(gfp, order, alloc_flags, progress):
                if gfp & GFP_KSWAPD_RECLAIM:
                    self.kswapd.wake_all(gfp, order)
                pfn = self.page_alloc.get_page_from_freelist(gfp, order, alloc_flags)
                if pfn >= 0:
                    return pfn
                continue
            if progress > 0 and order > 0 and self.compact is not None:
                if self.compact.should_retry(gfp, order, alloc_flags):
                    continue
            return self.out_of_memory(gfp, order)

    @cython.cfunc
    def compact_first(
        self, gfp: cython.int, order: cython.int, alloc_flags: cython.int
    ) -> cython.int:
        """Costly and unmovable blocks are first tried to be made of what is free: a pfn,
        ALLOC_FAILED when reclaim would not help, or NEED_RECLAIM."""
        # mm/page_alloc.c __alloc_pages_slowpath(), v6.1
        if self.compact is None:
            return NEED_RECLAIM
        self.compact.start_request()
        if order <= PAGE_ALLOC_COSTLY_ORDER and gfp & GFP_MOVABLE_BIT:
            return NEED_RECLAIM
        pfn: cython.int = self.compact.direct_compact(gfp, order, alloc_flags, COMPACT_PRIO_ASYNC)
        if pfn >= 0:
            return pfn
        if order > PAGE_ALLOC_COSTLY_ORDER and gfp & GFP_NORETRY:
            if self.compact.result <= COMPACT_DEFERRED:
                # kswapd runs when the task next gives up the CPU
                return ALLOC_FAILED
        return NEED_RECLAIM

    @cython.cfunc
    def direct_reclaim(self, gfp: cython.int, order: cython.int) -> cython.longlong:
        """kswapd first (it was woken and the task lets it run), then reclaim in the task."""
        self.kswapd.run_pending()
        if not self.allow_direct_reclaim(self.page_alloc.node):
            self.throttle_direct_reclaim(self.page_alloc.node)
        return self.vmscan.try_to_free_pages(gfp, order)

    @cython.cfunc
    def throttle_direct_reclaim(self, node: cython.int) -> cython.void:
        """Wait until kswapd has restored half the reserve, or gave up."""
        self.vmscan.vmstat.count(PGSCAN_DIRECT_THROTTLE, 1)
        while not self.allow_direct_reclaim(node):
            self.kswapd.wakeup(node, 0, self.zones.idx_normal)
            turn_ns: cython.longlong = self.kswapd.next_ns()
            if turn_ns < 0:
                return
            self.clock.wait_until(turn_ns, STALL_RECLAIM)
            self.vmscan.folio_io.run_completions(self.clock.now_ns)
            self.kswapd.tick()

    @cython.cfunc
    def allow_direct_reclaim(self, node: cython.int) -> cython.int:
        """1 while more than half of the reserves below the low zones is free (v6.1)."""
        if self.vmscan.kswapd_failures[node] >= MAX_RECLAIM_RETRIES:
            return 1
        reserve: cython.longlong = 0
        free: cython.longlong = 0
        idx: cython.int
        for idx in range(self.zones.idx_normal + 1):
            zone: Zone = self.zones.zones[node * self.zones.nr_types + idx]
            if zone.managed_pages > 0 and self.vmscan.zone_reclaimable_pages(zone.zone_id) > 0:
                reserve += zone.wmark_min
                free += self.vmscan.vmstat.zone_page_state(zone.zone_id, NR_FREE_PAGES)
        if reserve == 0:
            return 1
        return 1 if free > reserve // 2 else 0

    @cython.cfunc
    def should_reclaim_retry(
        self, gfp: cython.int, order: cython.int, alloc_flags: cython.int,
        progress: cython.longlong,
    ) -> cython.int:  # fmt: skip
        """1 while freeing all that can be freed would satisfy the request."""
        # mm/page_alloc.c should_reclaim_retry(), v6.1
        if progress > 0 and order <= PAGE_ALLOC_COSTLY_ORDER:
            self.no_progress_loops = 0
        else:
            self.no_progress_loops += 1
        if self.no_progress_loops > MAX_RECLAIM_RETRIES:
            return 0
        highest: cython.int = self.zones.gfp_zone(gfp)
        at: cython.int = self.zones.zonelist_row(self.page_alloc.node, highest)
        while self.zones.zonelist[at] >= 0:
            zone: Zone = self.zones.zones[self.zones.zonelist[at]]
            at += 1
            available: cython.longlong = self.vmscan.zone_reclaimable_pages(zone.zone_id)
            available += self.vmscan.vmstat.zone_page_state(zone.zone_id, NR_FREE_PAGES)
            mark: cython.longlong = zone.wmark_min + zone.watermark_boost
            if self.page_alloc.watermarks.watermark_ok(
                zone, order, mark, highest, alloc_flags, available
            ):
                return 1
        return 0

    @cython.cfunc
    def out_of_memory(self, gfp: cython.int, order: cython.int) -> cython.int:
        """A last look at the high watermark, then the verdict (__alloc_pages_may_oom)."""
        pfn: cython.int = self.page_alloc.get_page_from_freelist(
            gfp & ~GFP_DIRECT_RECLAIM, order, ALLOC_WMARK_HIGH
        )
        if pfn >= 0:
            return pfn
        if order > PAGE_ALLOC_COSTLY_ORDER or gfp & GFP_RETRY_MAYFAIL:
            return ALLOC_FAILED
        self.oom_memcg_id = NIL
        return NEED_OOM

    # -- charges -------------------------------------------------------------------------------

    @cython.ccall
    def charge_page(self, pfn: cython.int, memcg: cython.int, gfp: cython.int) -> cython.int:
        """Charge a page (its folio) to a group: CHARGE_OK or NEED_OOM (see `oom_memcg_id`)."""
        verdict: cython.int = self.try_charge(memcg, 1 << self.mem.order[pfn], gfp)
        if verdict == CHARGE_OK:
            self.charge.commit_charge(pfn, memcg)
        return verdict

    @cython.ccall
    def try_charge(self, memcg: cython.int, nr_pages: cython.int, gfp: cython.int) -> cython.int:
        """Charge pages to a group, reclaiming inside it: CHARGE_OK, NEED_OOM or ALLOC_FAILED."""
        if memcg <= 0 or self.charge.try_charge(memcg, nr_pages) == CHARGE_OK:
            if self.charge.over_high_pages > 0 and gfp & GFP_DIRECT_RECLAIM:
                self.handle_over_high(memcg)
            return CHARGE_OK
        return self.charge_slowly(memcg, nr_pages, gfp)

    @cython.cfunc
    def charge_slowly(self, memcg: cython.int, nr_pages: cython.int, gfp: cython.int) -> cython.int:
        """Reclaim in the group that is over, and try again (mm/memcontrol.c try_charge_memcg())."""
        retries: cython.int = MAX_RECLAIM_RETRIES
        drained: cython.int = 0
        may_swap: cython.int = 1
        while True:
            over: cython.int = self.charge.try_charge(memcg, nr_pages)
            if over == CHARGE_OK:
                if self.charge.over_high_pages > 0:
                    self.handle_over_high(memcg)
                return CHARGE_OK
            if self.charge.over_memsw:
                may_swap = 0
            if self.vmscan is None:
                self.oom_memcg_id = over
                return NEED_OOM
            if self.vmscan.lru_scan.lru.memalloc > 0:
                self.charge.force_charge(memcg, nr_pages)
                return CHARGE_OK
            if not gfp & GFP_DIRECT_RECLAIM:
                return self.refuse(memcg, nr_pages, gfp)
            self.memcgs.memory_event_add(over, MEMCG_MAX)
            freed: cython.longlong = self.vmscan.try_to_free_mem_cgroup_pages(
                over, nr_pages, gfp, may_swap
            )
            if self.charge.margin(over) >= nr_pages:
                continue
            if not drained:
                self.charge.drain_all_stock(over)
                drained = 1
                continue
            if gfp & GFP_NORETRY:
                return self.refuse(memcg, nr_pages, gfp)
            if freed > 0 and nr_pages <= 1 << PAGE_ALLOC_COSTLY_ORDER:
                continue
            if retries > 0:
                retries -= 1
                continue
            if gfp & (GFP_RETRY_MAYFAIL | GFP_NOFAIL):
                return self.refuse(memcg, nr_pages, gfp)
            self.memcgs.memory_event_add(over, MEMCG_OOM)
            self.oom_memcg_id = over
            return NEED_OOM

    @cython.cfunc
    def refuse(self, memcg: cython.int, nr_pages: cython.int, gfp: cython.int) -> cython.int:
        """No room: a request that must not fail goes over the limit, another fails."""
        if gfp & GFP_NOFAIL:
            self.charge.force_charge(memcg, nr_pages)
            return CHARGE_OK
        return ALLOC_FAILED

    @cython.ccall
    def charge_kmem(self, memcg: cython.int, nr_pages: cython.int, gfp: cython.int) -> cython.int:
        """Charge kernel pages (page tables, GFP_ACCOUNT): CHARGE_OK, NEED_OOM or ALLOC_FAILED."""
        verdict: cython.int = self.try_charge(memcg, nr_pages, gfp)
        if verdict == CHARGE_OK:
            self.charge.account_kmem(memcg, nr_pages)
        return verdict

    @cython.ccall
    def charge_object(
        self, memcg: cython.int, size_bytes: cython.int, gfp: cython.int
    ) -> cython.int:
        """Charge a slab object (SLAB_ACCOUNT): CHARGE_OK, NEED_OOM or ALLOC_FAILED."""
        # mm/memcontrol.c obj_cgroup_charge(), v6.1: by the byte, from pages charged before
        if memcg <= 0 or self.charge.consume_obj_stock(memcg, size_bytes):
            return CHARGE_OK
        nr_pages: cython.int = (size_bytes + PAGE_SIZE - 1) >> 12
        verdict: cython.int = self.charge_kmem(memcg, nr_pages, gfp)
        if verdict == CHARGE_OK:
            left_bytes: cython.int = nr_pages * PAGE_SIZE - size_bytes
            self.charge.refill_obj_stock(memcg, left_bytes, KEEP_PAGES)
        return verdict

    @cython.ccall
    def alloc_anon(self, memcg: cython.int) -> cython.int:
        """A charged frame for an anonymous page: a pfn, NEED_OOM or ALLOC_FAILED."""
        pfn: cython.int = self.page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0)
        if self.page_alloc.boosted_zone >= 0:
            self.wake_boosted()
        if pfn < 0:
            pfn = self.alloc_slowly(GFP_HIGHUSER_MOVABLE, 0)
            if pfn < 0:
                return pfn
        if memcg <= 0:
            self.mem.memcg[pfn] = 0
            return pfn
        cpu: cython.int = self.charge.cpu
        if self.charge.stock_memcg[cpu] == memcg and self.charge.stock_pages[cpu] > 0:
            self.charge.stock_pages[cpu] -= 1
        elif self.try_charge(memcg, 1, GFP_HIGHUSER_MOVABLE) != CHARGE_OK:
            self.page_alloc.put_page(pfn)
            return NEED_OOM
        self.charge.commit_charge(pfn, memcg)
        return pfn

    # -- memory.high and limits that shrink -------------------------------------------------------

    @cython.cfunc
    def handle_over_high(self, memcg: cython.int) -> cython.void:
        """Reclaim for a task that went over memory.high, then make it wait."""
        # mm/memcontrol.c mem_cgroup_handle_over_high(), v6.1. MODEL: done when charging, where the
        # kernel waits for the return to user mode
        owed: cython.longlong = self.charge.over_high_pages
        self.charge.over_high_pages = 0
        if self.vmscan is None or self.vmscan.lru_scan.lru.memalloc > 0:
            return
        retries: cython.int = MAX_RECLAIM_RETRIES
        wanted: cython.longlong = owed
        while True:
            freed: cython.longlong = self.reclaim_high(memcg, wanted)
            jiffies: cython.longlong = self.high_delay(memcg, owed)
            if jiffies <= HZ // 100:
                return
            if freed == 0:
                if retries == 0:
                    break
                retries -= 1
            wanted = SWAP_CLUSTER_MAX
        self.clock.wait_until(self.clock.now_ns + jiffies * THROTTLE_JIFFY_NS, STALL_HIGH)

    @cython.cfunc
    def reclaim_high(self, memcg: cython.int, nr_pages: cython.longlong) -> cython.longlong:
        """Reclaim in every group up the tree that is over its memory.high; pages freed."""
        freed: cython.longlong = 0
        at: cython.int = memcg
        while at > 0:
            if self.memcgs.usage[at] > self.memcgs.high[at]:
                self.memcgs.memory_event_add(at, MEMCG_HIGH)
                freed += self.vmscan.try_to_free_mem_cgroup_pages(at, nr_pages, GFP_KERNEL, 1)
            at = self.memcgs.parent[at]
        return freed

    @cython.cfunc
    @cython.exceptval(check=False)
    def high_delay(self, memcg: cython.int, nr_pages: cython.longlong) -> cython.longlong:
        """Jiffies that a task over memory.high owes (calculate_high_delay, v6.1), 2 s at most."""
        worst: cython.longlong = 0
        at: cython.int = memcg
        while at > 0:
            over: cython.longlong = self.memcgs.usage[at] - self.memcgs.high[at]
            if over > 0:
                high: cython.longlong = self.memcgs.high[at]
                if high < 1:
                    high = 1
                over = (over << 20) // high
                if over > worst:
                    worst = over
            at = self.memcgs.parent[at]
        if worst > 1 << 27:
            worst = 1 << 27  # far beyond the 2 s cap; keeps the square inside 64 bits
        jiffies: cython.longlong = (worst * worst * HZ) >> 34
        jiffies = jiffies * nr_pages // 64
        return jiffies if jiffies < 2 * HZ else 2 * HZ

    @cython.ccall
    def shrink_to_max(self, memcg: cython.int) -> cython.int:
        """After memory.max was lowered: CHARGE_OK once usage fits, NEED_OOM when reclaim fails."""
        # mm/memcontrol.c memory_max_write(), v6.1
        retries: cython.int = MAX_RECLAIM_RETRIES
        drained: cython.int = 0
        while self.memcgs.usage[memcg] > self.memcgs.max[memcg]:
            if not drained:
                self.charge.drain_all_stock(memcg)
                drained = 1
                continue
            excess: cython.longlong = self.memcgs.usage[memcg] - self.memcgs.max[memcg]
            if retries == 0:
                self.memcgs.memory_event_add(memcg, MEMCG_OOM)
                self.oom_memcg_id = memcg
                return NEED_OOM
            if self.vmscan.try_to_free_mem_cgroup_pages(memcg, excess, GFP_KERNEL, 1) == 0:
                retries -= 1
        return CHARGE_OK

    @cython.ccall
    def shrink_to_high(self, memcg: cython.int) -> cython.int:
        """After memory.high was lowered: reclaim as far as it goes; CHARGE_OK."""
        # mm/memcontrol.c memory_high_write(), v6.1
        retries: cython.int = MAX_RECLAIM_RETRIES
        drained: cython.int = 0
        while self.memcgs.usage[memcg] > self.memcgs.high[memcg]:
            if not drained:
                self.charge.drain_all_stock(memcg)
                drained = 1
                continue
            excess: cython.longlong = self.memcgs.usage[memcg] - self.memcgs.high[memcg]
            if self.vmscan.try_to_free_mem_cgroup_pages(memcg, excess, GFP_KERNEL, 1) == 0:
                if retries == 0:
                    break
                retries -= 1
        return CHARGE_OK

    @cython.ccall
    def resize_v1(
        self, memcg: cython.int, limit_pages: cython.longlong, is_memsw: cython.int
    ) -> cython.int:
        """v1 limit_in_bytes (or memsw.): 0, -22 (EINVAL) or -16 (EBUSY: reclaim gained nothing)."""
        # mm/memcontrol.c mem_cgroup_resize_max(), v6.1
        drained: cython.int = 0
        if is_memsw and limit_pages < self.memcgs.max[memcg]:
            return -22
        if not is_memsw and limit_pages > self.memcgs.memsw_max[memcg]:
            return -22
        while True:
            used: cython.longlong = self.memcgs.usage[memcg]
            if is_memsw:
                used = self.memcgs.memsw_usage[memcg]
            if used <= limit_pages:
                break
            if not drained:
                self.charge.drain_all_stock(memcg)
                drained = 1
                continue
            may_swap: cython.int = 0 if is_memsw else 1
            if self.vmscan.try_to_free_mem_cgroup_pages(memcg, 1, GFP_KERNEL, may_swap) == 0:
                return -16
        if is_memsw:
            self.memcgs.memsw_max[memcg] = limit_pages
        else:
            self.memcgs.max[memcg] = limit_pages
        return 0
