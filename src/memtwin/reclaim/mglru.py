"""Owns multi-gen LRU's eviction from one lruvec: what to evict, when to make a new generation.

Imports the reclaim room below vmscan and page. Aging itself is `mglru_walk`, the way through the
groups of a node `mglru_node`. Rules: mm/vmscan.c
lru_gen_*, v6.12, which a 6.1 kernel with lru_gen switched on is given too.
"""

from __future__ import annotations

import cython

from memtwin.columns import zeros
from memtwin.page.flags import (
    LRU_REFS_MASK,
    PG_ACTIVE,
    PG_ANON,
    PG_DIRTY,
    PG_LOCKED,
    PG_LRU,
    PG_MLOCKED,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_SWAPBACKED,
    PG_SWAPCACHE,
    PG_WORKINGSET,
    PG_WRITEBACK,
)
from memtwin.page.gfp import GFP_IO
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    PGREFILL,
    PGSCAN_ANON,
    PGSCAN_DIRECT,
    PGSCAN_KSWAPD,
    PGSTEAL_ANON,
    PGSTEAL_DIRECT,
    PGSTEAL_KSWAPD,
)
from memtwin.page.zone import Zone, Zones
from memtwin.reclaim.constants import (
    DEF_PRIORITY,
    GEN_ANON,
    GEN_FILE,
    MAX_LRU_BATCH,
    MAX_NR_GENS,
    MAX_SWAPPINESS,
    MIN_LRU_BATCH,
    MIN_NR_GENS,
    REFS_MAX,
)
from memtwin.reclaim.folio_reclaim import FolioReclaim
from memtwin.reclaim.lru_gen import LruGen
from memtwin.reclaim.lru_scan import LruScan
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.mglru_gens import MglruGens
from memtwin.reclaim.mglru_walk import MglruWalk
from memtwin.reclaim.scan_balance import ScanBalance
from memtwin.reclaim.scan_control import ScanControl


@cython.final
@cython.cclass
class Mglru:
    """Evicts from generations."""

    def __init__(
        self, lru_scan: LruScan, walk: MglruWalk, gens: MglruGens, page_alloc: PageAlloc
    ) -> None:
        self.lru_scan = lru_scan
        self.folio_reclaim: FolioReclaim = lru_scan.folio_reclaim
        self.balance: ScanBalance = lru_scan.balance
        self.walk = walk
        self.gens = gens
        self.page_alloc = page_alloc
        self.mem: MemMap = lru_scan.mem
        self.vmstat: VmStat = lru_scan.vmstat
        self.lruvecs: Lruvecs = lru_scan.lruvecs
        self.gen: LruGen = lru_scan.lruvecs.gen
        self.zones: Zones = page_alloc.zones
        self.last_type = 0  # answer of isolate_folios: the type it took
        self.again = zeros(MAX_LRU_BATCH, "i4")  # clean pages to try once more
        self.moved_head = lru_scan.mem.new_head()

    # -- one lruvec ----------------------------------------------------------------------------

    @cython.cfunc
    def swappiness_of(self, lruvec: cython.int, sc: ScanControl) -> cython.int:
        """0 when anonymous pages can't go anywhere (get_swappiness)."""
        memcg: cython.int = lruvec // self.lruvecs.nr_nodes
        free: cython.longlong = self.balance.swap.nr_swap_pages
        if not sc.may_swap:
            return 0
        if self.balance.charge.nr_swap_pages(memcg, free) < MIN_LRU_BATCH:
            return 0
        if sc.proactive_swappiness >= 0:
            return sc.proactive_swappiness
        return cython.cast(cython.int, self.balance.memcgs.get_swappiness(memcg))

    # -- eviction ------------------------------------------------------------------------------

    @cython.cfunc
    def sort_folio(
        self, lruvec: cython.int, pfn: cython.int, sc: ScanControl, tier_last: cython.int,
        gen_type: cython.int, zone_idx: cython.int,
    ) -> cython.int:  # fmt: skip
        """1 when a page of the oldest list was promoted, protected or in a zone that does not
        help.
        """
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_MLOCKED:
            return 0
        gen: cython.int = self.gen.gen_of(pfn)
        oldest: cython.int = self.gen.min_seq[lruvec * 2 + gen_type] % MAX_NR_GENS
        if gen != oldest:
            self.mem.list_del(pfn)
            self.mem.list_add(self.gen.gen_head[self.gen.at(lruvec, gen, gen_type, zone_idx)], pfn)
            return 1
        refs: cython.int = self.gen.refs_of(flags)
        tier: cython.int = self.folio_reclaim.workingset.tier_of(refs)
        if tier > tier_last or refs == REFS_MAX or zone_idx > sc.reclaim_idx:
            spared: cython.int = 1 if tier > tier_last or refs == REFS_MAX else 0
            gen = self.gens.inc_gen(lruvec, pfn)
            self.mem.list_del(pfn)
            self.mem.list_add_tail(
                self.gen.gen_head[self.gen.at(lruvec, gen, gen_type, zone_idx)], pfn
            )
            if spared:
                nr_pages: cython.longlong = 1
                self.gen.protected[self.gens.history(lruvec, gen_type, tier)] += (
                    nr_pages << self.mem.order[pfn]
                )
            return 1
        return 0

    @cython.cfunc
    def isolate_folio(
        self, lruvec: cython.int, pfn: cython.int, sc: ScanControl, zone_id: cython.int
    ) -> cython.int:
        """Take a page off its generation for shrink_folio_list; 0 when it may not swap now."""
        flags: cython.longlong = self.mem.flags[pfn]
        if not sc.gfp & GFP_IO:
            if flags & PG_DIRTY and flags & PG_SWAPBACKED:
                return 0
            if flags & PG_ANON and not flags & PG_SWAPCACHE:
                return 0
        if not flags & PG_REFERENCED:
            flags &= ~(LRU_REFS_MASK | PG_WORKINGSET)
        self.mem.flags[pfn] = flags & ~(PG_REFERENCED | PG_LRU)
        self.mem.refcount[pfn] += 1
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        lru: cython.int = self.gen.del_folio(lruvec, pfn, zone_id % self.gen.nr_zone_types, 1)
        self.lruvecs.update_size(lruvec, lru, zone_id, -nr_pages)
        return 1

    @cython.cfunc
    def scan_folios(
        self, lruvec: cython.int, sc: ScanControl, gen_type: cython.int, tier_last: cython.int
    ) -> cython.longlong:
        """Isolate up to 64 pages of a type's oldest generation; pages scanned, 0 for no progress.
        """
        node: cython.int = lruvec % self.lruvecs.nr_nodes
        if self.gens.nr_gens(lruvec, gen_type) == MIN_NR_GENS:
            return 0
        gen: cython.int = self.gen.min_seq[lruvec * 2 + gen_type] % MAX_NR_GENS
        scanned: cython.longlong = 0
        sorted_pages: cython.longlong = 0
        isolated: cython.longlong = 0
        remaining: cython.int = MAX_LRU_BATCH
        nr: cython.int = 0
        i: cython.int
        skipped: cython.longlong
        nr_pages: cython.longlong
        for i in range(self.gen.nr_zone_types, 0, -1):
            idx: cython.int = (sc.reclaim_idx + i) % self.gen.nr_zone_types
            head: cython.int = self.gen.gen_head[self.gen.at(lruvec, gen, gen_type, idx)]
            zone_id: cython.int = node * self.gen.nr_zone_types + idx
            skipped = 0
            while True:
                pfn: cython.int = self.mem.lru_prev[head]
                if pfn == head:
                    break
                nr_pages = 1
                nr_pages = nr_pages << self.mem.order[pfn]
                scanned += nr_pages
                if self.sort_folio(lruvec, pfn, sc, tier_last, gen_type, idx):
                    sorted_pages += nr_pages
                elif self.isolate_folio(lruvec, pfn, sc, zone_id):
                    self.folio_reclaim.isolated[nr] = pfn
                    nr += 1
                    isolated += nr_pages
                else:
                    self.mem.list_del(pfn)
                    self.mem.list_add(self.moved_head, pfn)
                    skipped += nr_pages
                remaining -= 1
                if remaining == 0 or isolated >= MIN_LRU_BATCH or skipped >= MIN_LRU_BATCH:
                    break
            if skipped > 0:
                self.mem.list_splice(self.moved_head, head)
                self.vmstat.count(self.lru_scan.skip_event[zone_id], skipped)
            if remaining == 0 or isolated >= MIN_LRU_BATCH:
                break
        self.folio_reclaim.nr_isolated = nr
        memcg: cython.int = lruvec // self.lruvecs.nr_nodes
        item: cython.int = PGSCAN_KSWAPD if sc.is_kswapd else PGSCAN_DIRECT
        self.lru_scan.count_scan(item, sc, memcg, node, isolated)
        self.lru_scan.count_scan(PGREFILL, sc, memcg, node, sorted_pages)
        self.vmstat.mod_node(node, PGSCAN_ANON + gen_type, isolated)
        if gen_type == GEN_FILE:
            sc.nr_file_taken += isolated
        return scanned if isolated > 0 or remaining == 0 else 0

    @cython.cfunc
    def isolate_folios(
        self, lruvec: cython.int, sc: ScanControl, swappiness: cython.int
    ) -> cython.longlong:
        """Pages scanned of the better type, or of the other when that has none; `last_type` says
        which.
        """
        tier: cython.int = -1
        gen_type: cython.int
        anon: cython.longlong = self.gen.min_seq[lruvec * 2]
        file: cython.longlong = self.gen.min_seq[lruvec * 2 + 1]
        if swappiness == 0 or (anon >= file and swappiness == 1):
            gen_type = GEN_FILE
        elif anon < file or swappiness == MAX_SWAPPINESS:
            gen_type = GEN_ANON
        elif not sc.gfp & GFP_IO:
            gen_type = GEN_FILE
        else:
            gen_type = self.gens.type_to_scan(lruvec, swappiness)
            tier = self.gens.tier_last
        scanned: cython.longlong = 0
        tried: cython.int = 0
        while tried < (1 if swappiness == 0 else 2):
            tried += 1
            if tier < 0:
                tier = self.gens.tier_idx(lruvec, gen_type)
            scanned = self.scan_folios(lruvec, sc, gen_type, tier)
            if scanned > 0:
                break
            gen_type = 1 - gen_type
            tier = -1
        self.last_type = gen_type
        return scanned

    @cython.cfunc
    def evict_folios(
        self, lruvec: cython.int, sc: ScanControl, swappiness: cython.int
    ) -> cython.longlong:
        """Isolate a batch and shrink it; pages scanned, 0 when there is nothing more to gain."""
        memcg: cython.int = lruvec // self.lruvecs.nr_nodes
        node: cython.int = lruvec % self.lruvecs.nr_nodes
        scanned: cython.longlong = self.isolate_folios(lruvec, sc, swappiness)
        gen_type: cython.int = self.last_type
        scanned += self.gens.try_to_inc_min_seq(lruvec, 1 if swappiness > 0 else 0)
        if self.gens.nr_gens(lruvec, 0 if swappiness > 0 else 1) == MIN_NR_GENS:
            scanned = 0
        item: cython.int = PGSTEAL_KSWAPD if sc.is_kswapd else PGSTEAL_DIRECT
        retried: cython.int = 0
        i: cython.int
        while self.folio_reclaim.nr_isolated > 0:
            freed: cython.longlong = self.folio_reclaim.shrink_folio_list(sc, node, 0)
            sc.nr_unqueued_dirty += self.folio_reclaim.nr_unqueued_dirty
            sc.nr_reclaimed += freed
            nr_again: cython.int = self.sort_rejected(retried)
            self.lru_scan.move_folios_to_lru(
                lruvec, self.folio_reclaim.kept, self.folio_reclaim.nr_kept
            )
            self.lru_scan.count_scan(item, sc, memcg, node, freed)
            self.vmstat.mod_node(node, PGSTEAL_ANON + gen_type, freed)
            for i in range(nr_again):
                self.folio_reclaim.isolated[i] = self.again[i]
            self.folio_reclaim.nr_isolated = nr_again
            retried = 1
        return scanned

    @cython.cfunc
    def sort_rejected(self, retried: cython.int) -> cython.int:
        """Of the kept pages: clean ones go to `again` (how many), the rest learns where to return.
        """
        nr_again: cython.int = 0
        nr_kept: cython.int = 0
        i: cython.int
        for i in range(self.folio_reclaim.nr_kept):
            pfn: cython.int = self.folio_reclaim.kept[i]
            flags: cython.longlong = self.mem.flags[pfn]
            stays: cython.int = 1
            if flags & PG_MLOCKED:
                stays = 1
            elif flags & PG_RECLAIM and flags & (PG_DIRTY | PG_WRITEBACK):
                if flags & PG_WORKINGSET:
                    self.mem.flags[pfn] = flags | PG_REFERENCED
            elif (
                retried
                or flags & (PG_ACTIVE | PG_REFERENCED | PG_LOCKED | PG_DIRTY | PG_WRITEBACK)
                or self.folio_reclaim.is_mapped(pfn)
            ):
                flags &= ~(LRU_REFS_MASK | PG_REFERENCED | PG_WORKINGSET)
                self.mem.flags[pfn] = flags | PG_ACTIVE
            else:
                stays = 0
            if stays:
                self.folio_reclaim.kept[nr_kept] = pfn
                nr_kept += 1
            else:
                self.again[nr_again] = pfn
                nr_again += 1
        self.folio_reclaim.nr_kept = nr_kept
        return nr_again

    @cython.cfunc
    def pages_to_scan(
        self, lruvec: cython.int, sc: ScanControl, swappiness: cython.int
    ) -> cython.longlong:
        """Pages to scan at this priority; 0 or -1 to stop (-1: it was aged instead)."""
        memcg: cython.int = lruvec // self.lruvecs.nr_nodes
        can_swap: cython.int = 1 if swappiness > 0 else 0
        if memcg > 0 and memcg != sc.target_memcg:
            least: cython.longlong = self.balance.effective_min(memcg)
            if least > 0 and least >= self.balance.memcgs.usage[memcg]:
                return -1
        aging: cython.int = self.gens.should_run_aging(lruvec, can_swap)
        if self.gens.nr_to_scan > 0 and not self.balance.memcgs.online[memcg]:
            return self.gens.nr_to_scan
        if not aging or sc.priority == DEF_PRIORITY:
            return self.gens.nr_to_scan >> sc.priority
        return -1 if self.gens.age(lruvec, can_swap) else 0

    @cython.cfunc
    def should_abort_scan(self, sc: ScanControl, node: cython.int) -> cython.int:
        """1 when global reclaim has freed enough."""
        idx: cython.int
        enough: cython.longlong = sc.nr_to_reclaim
        if sc.target_memcg > 0:
            return 0
        if enough < 2 << sc.order:
            enough = 2 << sc.order
        if sc.nr_reclaimed >= enough:
            return 1
        if not sc.is_kswapd or sc.order > 0:
            return 0
        for idx in range(sc.reclaim_idx + 1):
            zone: Zone = self.zones.zones[node * self.zones.nr_types + idx]
            mark: cython.longlong = zone.wmark_high + zone.watermark_boost + MIN_LRU_BATCH
            if zone.managed_pages > 0 and not self.page_alloc.zone_watermark_ok(
                zone.zone_id, 0, mark, sc.reclaim_idx, 0
            ):
                return 0
        return 1

    @cython.cfunc
    def try_to_shrink_lruvec(self, lruvec: cython.int, sc: ScanControl) -> cython.int:
        """Evict until enough was scanned or freed; 1 when it was aged instead and should rest."""
        swappiness: cython.int = self.swappiness_of(lruvec, sc)
        scanned: cython.longlong = 0
        wanted: cython.longlong
        if sc.preempted:
            scanned = sc.at_done
            sc.preempted = 0
        while True:
            self.folio_reclaim.folio_io.run_completions(self.folio_reclaim.clock.now_ns)
            wanted = self.pages_to_scan(lruvec, sc, swappiness)
            if wanted <= 0:
                break
            delta: cython.longlong = self.evict_folios(lruvec, sc, swappiness)
            if delta == 0:
                break
            scanned += delta
            self.lru_scan.meet_full_queue(sc)
            if scanned >= wanted or self.should_abort_scan(sc, lruvec % self.lruvecs.nr_nodes):
                break
            if sc.turn_is_over(self.folio_reclaim.clock.now_ns, lruvec, scanned):
                return 0
        if sc.nr_unqueued_dirty > 0 and sc.nr_unqueued_dirty == sc.nr_file_taken:
            self.lru_scan.meet_unqueued_dirty(sc, lruvec % self.lruvecs.nr_nodes)
        return 1 if wanted < 0 else 0
