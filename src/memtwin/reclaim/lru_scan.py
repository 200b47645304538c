"""Owns scanning the classic LRU lists: isolate from the tail, deactivate, shrink, put back.

Imports page, memcg and the reclaim room below. Has never heard of watermarks or of why it scans.
Rules: mm/vmscan.c, v6.1; v6.12 where `tunables.kernel` says so.
"""

from __future__ import annotations

import cython

from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vm_flags import VM_EXEC
from memtwin.columns import zeros
from memtwin.hardware.clock import STALL_RECLAIM
from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import (
    LRU_ACTIVE_ANON,
    LRU_ACTIVE_FILE,
    LRU_INACTIVE_ANON,
    LRU_INACTIVE_FILE,
    NR_LRU_LISTS,
    PG_ACTIVE,
    PG_LRU,
    PG_MLOCKED,
    PG_SWAPBACKED,
    PG_WORKINGSET,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    NR_ISOLATED_ANON,
    PGDEACTIVATE,
    PGREFILL,
    PGSCAN_ANON,
    PGSCAN_DIRECT,
    PGSCAN_KSWAPD,
    PGSKIP_DMA,
    PGSTEAL_ANON,
    PGSTEAL_DIRECT,
    PGSTEAL_KSWAPD,
)
from memtwin.reclaim.constants import (
    DEACTIVATE_ANON,
    DEF_PRIORITY,
    HEAD_SIDE,
    SWAP_CLUSTER_MAX,
)
from memtwin.reclaim.flusher_threads import FlusherThreads
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.folio_reclaim import FolioReclaim
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.scan_balance import ScanBalance
from memtwin.reclaim.scan_control import ScanControl

if not cython.compiled:
    from memtwin.columns import I4


@cython.final
@cython.cclass
class LruScan:
    """Scans one lruvec at a time."""

    def __init__(
        self, lru: Lru, rmap: Rmap, folio_reclaim: FolioReclaim, balance: ScanBalance
    ) -> None:
        self.lru = lru
        self.mem: MemMap = lru.mem
        self.lruvecs: Lruvecs = lru.lruvecs
        self.vmstat: VmStat = lru.vmstat
        self.tunables: Tunables = lru.tunables
        self.memcgs: MemcgTable = lru.charge.table
        self.rmap = rmap
        self.folio_reclaim = folio_reclaim
        self.balance = balance
        self.flushers = FlusherThreads()  # the file rooms put theirs here
        self.flusher_wanted = 0  # 1: wakeup_flusher_threads() is owed
        self.nr_total_scanned = 0  # of the last isolation, skipped pages included
        self.zone_taken = zeros(lru.lruvecs.zones.nr_zones, "i8")
        self.skip_head = lru.mem.new_head()
        # zones' PGSKIP_* by zone number
        names = ("DMA", "DMA32", "Normal", "Movable", "Device")
        self.skip_event = zeros(lru.lruvecs.zones.nr_zones, "i4")
        for zone in lru.lruvecs.zones.zones:
            row = names.index(zone.name) if zone.name in names else 1
            self.skip_event[zone.zone_id] = PGSKIP_DMA + row

    @cython.cfunc
    def isolate_lru_folios(
        self, nr_to_scan: cython.longlong, lruvec: cython.int, sc: ScanControl, lru: cython.int
    ) -> cython.longlong:
        """Take pages from a list's tail into folio_reclaim.isolated; pages taken."""
        head: cython.int = self.lruvecs.list_head[lruvec * NR_LRU_LISTS + lru]
        taken: cython.longlong = 0
        scan: cython.longlong = 0
        total: cython.longlong = 0
        skipped: cython.int = 0
        nr: cython.int = 0
        zone_id: cython.int
        zone_idx: cython.int
        nr_pages: cython.longlong
        while scan < nr_to_scan:
            pfn: cython.int = self.mem.lru_prev[head]
            if pfn == head:
                break
            nr_pages = 1
            nr_pages = nr_pages << self.mem.order[pfn]
            total += nr_pages
            self.mem.list_del(pfn)
            zone_id = self.lruvecs.zones.zone_of(pfn)
            zone_idx = zone_id % self.lruvecs.nr_zone_types
            if zone_idx > sc.reclaim_idx:
                self.vmstat.count(self.skip_event[zone_id], nr_pages)
                self.mem.list_add(self.skip_head, pfn)
                skipped += 1
                continue
            scan += nr_pages
            if not sc.may_unmap and self.mem.mapcount[pfn] > 0:
                self.mem.list_add(head, pfn)
                continue
            self.mem.flags[pfn] &= ~PG_LRU
            self.mem.refcount[pfn] += 1
            self.folio_reclaim.isolated[nr] = pfn
            nr += 1
            taken += nr_pages
            self.zone_taken[zone_id] += nr_pages
        if skipped > 0:
            self.mem.list_splice(self.skip_head, head)
        for zone_id in range(self.lruvecs.zones.nr_zones):
            if self.zone_taken[zone_id] > 0:
                self.lruvecs.update_size(lruvec, lru, zone_id, -self.zone_taken[zone_id])
                self.zone_taken[zone_id] = 0
        self.folio_reclaim.nr_isolated = nr
        self.nr_total_scanned = total
        return taken

    @cython.cfunc
    def move_folios_to_lru(
        self, lruvec: cython.int, pfns: I4, nr: cython.int
    ) -> cython.longlong:
        """Put isolated pages back on the lists their flags ask for; pages put back."""
        moved: cython.longlong = 0
        nr_pages: cython.longlong
        nr_freed: cython.int = 0
        i: cython.int
        pfn: cython.int
        for i in range(nr):
            pfn = pfns[i]
            if self.mem.flags[pfn] & PG_MLOCKED:
                self.lru.folio_add_lru(pfn)  # folio_putback_lru
                self.lru.folio_put(pfn)
                continue
            self.mem.refcount[pfn] -= 1
            if self.mem.refcount[pfn] == 0:
                # its last user went while it was isolated; freed below, after the lists
                pfns[nr_freed] = pfn
                nr_freed += 1
                continue
            nr_pages = 1
            nr_pages = nr_pages << self.mem.order[pfn]
            self.mem.flags[pfn] |= PG_LRU
            self.lruvecs.add_folio(lruvec, pfn, HEAD_SIDE)
            moved += nr_pages
            if self.mem.flags[pfn] & PG_ACTIVE:
                self.lruvecs.age_nonresident(lruvec, nr_pages)
        for i in range(nr_freed):
            self.lru.release(pfns[i])
        return moved

    @cython.cfunc
    @cython.exceptval(check=False)
    def count_scan(
        self, item: cython.int, sc: ScanControl, memcg: cython.int, node: cython.int,
        nr_pages: cython.longlong,
    ) -> cython.void:  # fmt: skip
        """Count for the group, and for the machine unless a group's limit made us scan."""
        if sc.target_memcg <= 0:
            self.vmstat.mod_node(node, item, nr_pages)
        self.memcgs.mod_stat(memcg, item, nr_pages)

    @cython.cfunc
    def shrink_inactive_list(
        self, nr_to_scan: cython.longlong, lruvec: cython.int, sc: ScanControl, lru: cython.int
    ) -> cython.longlong:
        """Scan pages of an inactive list; pages freed."""
        is_file: cython.int = 1 if lru >= LRU_INACTIVE_FILE else 0
        memcg: cython.int = lruvec // self.lruvecs.nr_nodes
        node: cython.int = lruvec % self.lruvecs.nr_nodes
        # too_many_isolated() is never true: one reclaimer runs at a time
        self.lru.lru_add_drain()
        taken: cython.longlong = self.isolate_lru_folios(nr_to_scan, lruvec, sc, lru)
        scanned: cython.longlong = self.nr_total_scanned
        item: cython.int = PGSCAN_KSWAPD if sc.is_kswapd else PGSCAN_DIRECT
        self.count_scan(item, sc, memcg, node, scanned)
        self.vmstat.mod_node(node, PGSCAN_ANON + is_file, scanned)
        if taken == 0:
            return 0
        self.vmstat.mod_node(node, NR_ISOLATED_ANON + is_file, taken)
        freed: cython.longlong = self.folio_reclaim.shrink_folio_list(sc, node, 0)
        self.move_folios_to_lru(lruvec, self.folio_reclaim.kept, self.folio_reclaim.nr_kept)
        self.vmstat.mod_node(node, NR_ISOLATED_ANON + is_file, -taken)
        item = PGSTEAL_KSWAPD if sc.is_kswapd else PGSTEAL_DIRECT
        self.count_scan(item, sc, memcg, node, freed)
        self.vmstat.mod_node(node, PGSTEAL_ANON + is_file, freed)
        cost: cython.longlong = self.folio_reclaim.nr_pageout
        if self.tunables.kernel >= 612:
            cost = cost * SWAP_CLUSTER_MAX + scanned - freed
        self.lruvecs.note_cost(lruvec, is_file, cost)
        sc.nr_dirty += self.folio_reclaim.nr_dirty
        sc.nr_congested += self.folio_reclaim.nr_congested
        sc.nr_unqueued_dirty += self.folio_reclaim.nr_unqueued_dirty
        sc.nr_writeback += self.folio_reclaim.nr_writeback
        sc.nr_immediate += self.folio_reclaim.nr_immediate
        sc.nr_taken += taken
        if is_file:
            sc.nr_file_taken += taken
        if self.folio_reclaim.nr_unqueued_dirty == taken:
            self.meet_unqueued_dirty(sc, node)
        return freed

    @cython.cfunc
    def meet_unqueued_dirty(self, sc: ScanControl, node: cython.int) -> cython.void:
        """Nothing but dirty file pages that nobody writes: wake the flusher; in a v1 group, wait.
        """
        # mm/vmscan.c shrink_inactive_list(), v6.1 and v6.12. MODEL: without waiting, the thread
        # gets the CPU when this reclaim is over (Vmscan.wake_flushers) or at the next timer
        self.flusher_wanted = 1
        if not self.folio_reclaim.writeback_throttling_sane(sc):
            self.wake_flushers()
            self.folio_reclaim.folio_io.throttle_on_writeback(node)

    @cython.ccall
    def wake_flushers(self) -> cython.int:
        """Let the flusher run if reclaim woke it; 0."""
        if self.flusher_wanted:
            self.flusher_wanted = 0
            self.flushers.wakeup_flusher_threads()
        return 0

    @cython.cfunc
    def shrink_active_list(
        self, nr_to_scan: cython.longlong, lruvec: cython.int, sc: ScanControl, lru: cython.int
    ) -> cython.void:
        """Move pages from an active list's tail to the inactive list; used program code stays."""
        is_file: cython.int = 1 if lru >= LRU_INACTIVE_FILE else 0
        memcg: cython.int = lruvec // self.lruvecs.nr_nodes
        node: cython.int = lruvec % self.lruvecs.nr_nodes
        self.lru.lru_add_drain()
        self.isolate_lru_folios(nr_to_scan, lruvec, sc, lru)
        self.count_scan(PGREFILL, sc, memcg, node, self.nr_total_scanned)
        nr: cython.int = self.folio_reclaim.nr_isolated
        nr_rotated: cython.longlong = 0
        nr_stay: cython.int = 0
        nr_go: cython.int = 0
        i: cython.int
        for i in range(nr):
            pfn: cython.int = self.folio_reclaim.isolated[i]
            if self.mem.flags[pfn] & PG_MLOCKED:
                self.lru.folio_add_lru(pfn)
                self.lru.folio_put(pfn)
                continue
            if self.folio_reclaim.is_mapped(pfn):
                if self.rmap.folio_referenced(pfn, sc.target_memcg) > 0:
                    if self.rmap.vm_flags & VM_EXEC and not self.mem.flags[pfn] & PG_SWAPBACKED:
                        nr_rotated += 1 << self.mem.order[pfn]
                        self.folio_reclaim.freed[nr_stay] = pfn
                        nr_stay += 1
                        continue
            self.mem.flags[pfn] = (self.mem.flags[pfn] & ~PG_ACTIVE) | PG_WORKINGSET
            self.folio_reclaim.kept[nr_go] = pfn
            nr_go += 1
        self.folio_reclaim.nr_isolated = 0
        self.move_folios_to_lru(lruvec, self.folio_reclaim.freed, nr_stay)
        deactivated: cython.longlong = self.move_folios_to_lru(
            lruvec, self.folio_reclaim.kept, nr_go
        )
        self.vmstat.count(PGDEACTIVATE, deactivated)
        self.memcgs.count_event(memcg, PGDEACTIVATE, deactivated)
        if self.tunables.kernel >= 612 and nr_rotated > 0:
            self.lruvecs.note_cost(lruvec, is_file, nr_rotated)
        self.folio_reclaim.clock.charge_stall(
            nr * self.folio_reclaim.cost.rmap_walk_ns, STALL_RECLAIM
        )

    @cython.cfunc
    def shrink_list(
        self, lru: cython.int, nr_to_scan: cython.longlong, lruvec: cython.int, sc: ScanControl
    ) -> cython.longlong:
        """Scan one list; pages freed."""
        if lru & 1:  # is_active_lru(): LRU_ACTIVE_ANON, LRU_ACTIVE_FILE
            if sc.may_deactivate & (DEACTIVATE_ANON << (lru >> 1)):
                self.shrink_active_list(nr_to_scan, lruvec, sc, lru)
            else:
                sc.skipped_deactivate = 1
            return 0
        return self.shrink_inactive_list(nr_to_scan, lruvec, sc, lru)

    @cython.cfunc
    def shrink_lruvec(self, lruvec: cython.int, sc: ScanControl) -> cython.void:
        """Scan all four lists in turns of 32 pages, in proportion, until enough is freed."""
        folio_io: FolioIo = self.folio_reclaim.folio_io
        freed: cython.longlong = 0
        lru: cython.int
        if sc.preempted:
            freed = sc.at_done
            sc.preempted = 0
        else:
            self.balance.get_scan_count(lruvec, sc)
            for lru in range(4):
                sc.nr_left[lru] = self.balance.nr[lru]
                sc.nr_target[lru] = self.balance.nr[lru]
        proportional: cython.int = 0
        if sc.target_memcg <= 0 and not sc.is_kswapd and sc.priority == DEF_PRIORITY:
            proportional = 1
        while (
            sc.nr_left[LRU_INACTIVE_ANON] > 0
            or sc.nr_left[LRU_ACTIVE_FILE] > 0
            or sc.nr_left[LRU_INACTIVE_FILE] > 0
        ):
            freed += self.shrink_lists(lruvec, sc)
            # interrupts come in between: what they end is rotated to where the next turn looks
            folio_io.run_completions(folio_io.clock.now_ns)
            self.meet_full_queue(sc)
            if freed >= sc.nr_to_reclaim and not proportional and not self.scale_targets(sc):
                break
            if sc.turn_is_over(folio_io.clock.now_ns, lruvec, freed):
                folio_io.unplug()
                return
        folio_io.unplug()
        sc.nr_reclaimed += freed
        if self.can_age_anon() and self.balance.inactive_is_low(lruvec, LRU_INACTIVE_ANON):
            self.shrink_active_list(SWAP_CLUSTER_MAX, lruvec, sc, LRU_ACTIVE_ANON)

    @cython.cfunc
    def meet_full_queue(self, sc: ScanControl) -> cython.void:
        """Whoever puts pages to a swap device waits while it takes no further request."""
        folio_io: FolioIo = self.folio_reclaim.folio_io
        until_ns: cython.longlong = folio_io.room_at_ns()
        if until_ns > 0 and sc.is_kswapd:
            sc.block(folio_io.clock.now_ns, until_ns)
        elif until_ns > 0:
            folio_io.wait_for_room()

    @cython.cfunc
    def shrink_lists(self, lruvec: cython.int, sc: ScanControl) -> cython.longlong:
        """Scan up to 32 pages of each list that has some left to scan; pages freed."""
        freed: cython.longlong = 0
        lru: cython.int
        for lru in range(4):
            if sc.nr_left[lru] > 0:
                step: cython.longlong = sc.nr_left[lru]
                if step > SWAP_CLUSTER_MAX:
                    step = SWAP_CLUSTER_MAX
                sc.nr_left[lru] -= step
                freed += self.shrink_list(lru, step, lruvec, sc)
        return freed

    @cython.ccall
    def can_age_anon(self) -> cython.int:
        """1 when the machine has swap at all (can_age_anon_pages)."""
        return 1 if self.balance.swap.total_swap_pages > 0 else 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def scale_targets(self, sc: ScanControl) -> cython.int:
        """Enough is freed: stop the smaller type, scale the other down; 0 when either is done."""
        nr_file: cython.longlong = sc.nr_left[LRU_INACTIVE_FILE] + sc.nr_left[LRU_ACTIVE_FILE]
        nr_anon: cython.longlong = sc.nr_left[LRU_INACTIVE_ANON] + sc.nr_left[LRU_ACTIVE_ANON]
        if nr_file == 0 or nr_anon == 0:
            return 0
        small: cython.int = LRU_INACTIVE_ANON
        large: cython.int = LRU_INACTIVE_FILE
        left: cython.longlong = nr_anon
        if nr_file <= nr_anon:
            small = LRU_INACTIVE_FILE
            large = LRU_INACTIVE_ANON
            left = nr_file
        target: cython.longlong = sc.nr_target[small] + sc.nr_target[small + 1] + 1
        percent: cython.longlong = left * 100 // target
        sc.nr_left[small] = 0
        sc.nr_left[small + 1] = 0
        lru: cython.int
        for lru in range(large, large + 2):
            scanned: cython.longlong = sc.nr_target[lru] - sc.nr_left[lru]
            wanted: cython.longlong = sc.nr_target[lru] * (100 - percent) // 100
            sc.nr_left[lru] = wanted - scanned if wanted > scanned else 0
        return 1
