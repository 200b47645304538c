"""Owns the life of generations: making and giving them up, and the feedback that protects tiers.

Imports page, reclaim/lru_gen and mglru_walk. Evicts nothing. Rules: mm/vmscan.c inc_max_seq(),
inc_min_seq(), read_ctrl_pos(), should_run_aging(), v6.12.
"""

from __future__ import annotations

import cython

from memtwin.hardware.clock import STALL_RECLAIM, Clock
from memtwin.hardware.cost import CostTable
from memtwin.page.flags import (
    LRU_GEN_MASK,
    LRU_GEN_SHIFT,
    LRU_REFS_MASK,
    PG_REFERENCED,
    PG_SWAPBACKED,
    PG_WORKINGSET,
)
from memtwin.page.mem_map import MemMap
from memtwin.reclaim.constants import (
    GEN_ANON,
    GEN_FILE,
    MAX_NR_GENS,
    MAX_NR_TIERS,
    MAX_SWAPPINESS,
    MIN_LRU_BATCH,
    MIN_NR_GENS,
)
from memtwin.reclaim.lru_gen import LruGen
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.mglru_walk import MglruWalk


@cython.final
@cython.cclass
class MglruGens:
    """Generations of every lruvec."""

    def __init__(self, walk: MglruWalk, clock: Clock, cost: CostTable) -> None:
        self.walk = walk
        self.clock = clock
        self.cost = cost
        self.mem: MemMap = walk.mem
        self.lruvecs: Lruvecs = walk.lruvecs
        self.gen: LruGen = walk.gen
        self.tier_last = 0  # answer of type_to_scan: the last tier to evict
        self.nr_to_scan = 0  # answer of should_run_aging: all pages that could be scanned

    @cython.cfunc
    @cython.exceptval(check=False)
    def nr_gens(self, lruvec: cython.int, gen_type: cython.int) -> cython.longlong:
        """Generations of a type."""
        return self.gen.max_seq[lruvec] - self.gen.min_seq[lruvec * 2 + gen_type] + 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def history(self, lruvec: cython.int, gen_type: cython.int, tier: cython.int) -> cython.int:
        """Row of the tier statistics."""
        return (lruvec * 2 + gen_type) * MAX_NR_TIERS + tier

    @cython.cfunc
    @cython.exceptval(check=False)
    def refaulted_of(
        self, lruvec: cython.int, gen_type: cython.int, tier: cython.int
    ) -> cython.longlong:
        """read_ctrl_pos: refaults of a tier, past average included."""
        row: cython.int = self.history(lruvec, gen_type, tier)
        return self.gen.avg_refaulted[row] + self.gen.refaulted[row]

    @cython.cfunc
    @cython.exceptval(check=False)
    def total_of(
        self, lruvec: cython.int, gen_type: cython.int, tier: cython.int
    ) -> cython.longlong:
        """read_ctrl_pos: evictions and protections of a tier, past average included."""
        row: cython.int = self.history(lruvec, gen_type, tier)
        total: cython.longlong = self.gen.avg_total[row] + self.gen.evicted[row]
        return total + self.gen.protected[row] if tier > 0 else total

    @cython.cfunc
    @cython.exceptval(check=False)
    def within_setpoint(
        self, lruvec: cython.int, sp_type: cython.int, sp_gain: cython.longlong,
        pv_type: cython.int, pv_tier: cython.int, pv_gain: cython.longlong,
    ) -> cython.int:  # fmt: skip
        """1 when (pv_type, pv_tier) refaults no more than sp_type's first tier
        (positive_ctrl_err).
        """
        refaulted: cython.longlong = self.refaulted_of(lruvec, pv_type, pv_tier)
        if refaulted < MIN_LRU_BATCH:
            return 1
        left: cython.longlong = self.total_of(lruvec, sp_type, 0) + MIN_LRU_BATCH
        right: cython.longlong = self.refaulted_of(lruvec, sp_type, 0) + 1
        left = refaulted * left * sp_gain
        right = right * self.total_of(lruvec, pv_type, pv_tier) * pv_gain
        return 1 if left <= right else 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def carry_over(self, lruvec: cython.int, gen_type: cython.int) -> cython.void:
        """The oldest generation is gone: its statistics join the averages (reset_ctrl_pos)."""
        tier: cython.int
        for tier in range(MAX_NR_TIERS):
            row: cython.int = self.history(lruvec, gen_type, tier)
            self.gen.avg_refaulted[row] = self.refaulted_of(lruvec, gen_type, tier) // 2
            self.gen.avg_total[row] = self.total_of(lruvec, gen_type, tier) // 2
            self.gen.refaulted[row] = 0
            self.gen.evicted[row] = 0
            self.gen.protected[row] = 0

    @cython.cfunc
    def inc_gen(self, lruvec: cython.int, pfn: cython.int) -> cython.int:
        """Move a page of the oldest generation to the next one, unless promoted; its generation."""
        flags: cython.longlong = self.mem.flags[pfn]
        gen_type: cython.int = 0 if flags & PG_SWAPBACKED else 1
        old_gen: cython.int = self.gen.min_seq[lruvec * 2 + gen_type] % MAX_NR_GENS
        now: cython.int = ((flags & LRU_GEN_MASK) >> LRU_GEN_SHIFT) - 1
        if now >= 0 and now != old_gen:
            return now
        new_gen: cython.int = (old_gen + 1) % MAX_NR_GENS
        flags &= ~(LRU_GEN_MASK | LRU_REFS_MASK | PG_REFERENCED | PG_WORKINGSET)
        plus_1: cython.longlong = new_gen + 1
        self.mem.flags[pfn] = flags | (plus_1 << LRU_GEN_SHIFT)
        self.walk.move_counts(pfn, lruvec, old_gen, new_gen)
        return new_gen

    @cython.cfunc
    def inc_min_seq(
        self, lruvec: cython.int, gen_type: cython.int, can_swap: cython.int
    ) -> cython.void:
        """Give up the oldest generation: what is left in it joins the next."""
        old_gen: cython.int = self.gen.min_seq[lruvec * 2 + gen_type] % MAX_NR_GENS
        idx: cython.int
        if gen_type == GEN_FILE or can_swap:
            for idx in range(self.gen.nr_zone_types):
                head: cython.int = self.gen.gen_head[self.gen.at(lruvec, old_gen, gen_type, idx)]
                while True:
                    pfn: cython.int = self.mem.lru_prev[head]
                    if pfn == head:
                        break
                    gen: cython.int = self.inc_gen(lruvec, pfn)
                    self.mem.list_del(pfn)
                    self.mem.list_add_tail(
                        self.gen.gen_head[self.gen.at(lruvec, gen, gen_type, idx)], pfn
                    )
        self.carry_over(lruvec, gen_type)
        self.gen.min_seq[lruvec * 2 + gen_type] += 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def is_empty(
        self, lruvec: cython.int, seq: cython.longlong, gen_type: cython.int
    ) -> cython.int:
        """1 when a generation's lists hold no page."""
        gen: cython.int = seq % MAX_NR_GENS
        idx: cython.int
        for idx in range(self.gen.nr_zone_types):
            head: cython.int = self.gen.gen_head[self.gen.at(lruvec, gen, gen_type, idx)]
            if self.mem.lru_next[head] != head:
                return 0
        return 1

    @cython.cfunc
    def try_to_inc_min_seq(self, lruvec: cython.int, can_swap: cython.int) -> cython.int:
        """Step over empty oldest generations; 1 when any was."""
        youngest: cython.longlong = self.gen.max_seq[lruvec]
        anon: cython.longlong = self.gen.min_seq[lruvec * 2]
        file: cython.longlong = self.gen.min_seq[lruvec * 2 + 1]
        if can_swap:
            while anon + MIN_NR_GENS <= youngest and self.is_empty(lruvec, anon, GEN_ANON):
                anon += 1
        while file + MIN_NR_GENS <= youngest and self.is_empty(lruvec, file, GEN_FILE):
            file += 1
        if can_swap:
            if anon > file:
                anon = file
            file = self.gen.min_seq[lruvec * 2 + 1]
            if anon > file:
                file = anon
        changed: cython.int = 0
        if can_swap and anon != self.gen.min_seq[lruvec * 2]:
            self.carry_over(lruvec, GEN_ANON)
            self.gen.min_seq[lruvec * 2] = anon
            changed = 1
        if file != self.gen.min_seq[lruvec * 2 + 1]:
            self.carry_over(lruvec, GEN_FILE)
            self.gen.min_seq[lruvec * 2 + 1] = file
            changed = 1
        return changed

    @cython.cfunc
    def inc_max_seq(self, lruvec: cython.int, can_swap: cython.int) -> cython.void:
        """Make a new youngest generation; the one two before it turns inactive."""
        node: cython.int = lruvec % self.lruvecs.nr_nodes
        if self.nr_gens(lruvec, GEN_FILE) == MAX_NR_GENS:
            self.inc_min_seq(lruvec, GEN_FILE, can_swap)
        if self.nr_gens(lruvec, GEN_ANON) == MAX_NR_GENS:
            self.inc_min_seq(lruvec, GEN_ANON, can_swap)
        seq: cython.longlong = self.gen.max_seq[lruvec]
        gone: cython.int = (seq - 1) % MAX_NR_GENS
        new: cython.int = (seq + 1) % MAX_NR_GENS
        gen_type: cython.int
        idx: cython.int
        for gen_type in range(2):
            for idx in range(self.gen.nr_zone_types):
                delta: cython.longlong = self.gen.gen_pages[
                    self.gen.at(lruvec, gone, gen_type, idx)
                ]
                delta -= self.gen.gen_pages[self.gen.at(lruvec, new, gen_type, idx)]
                if delta != 0:
                    zone_id: cython.int = node * self.gen.nr_zone_types + idx
                    self.lruvecs.update_size(lruvec, gen_type * 2, zone_id, delta)
                    self.lruvecs.update_size(lruvec, gen_type * 2 + 1, zone_id, -delta)
        self.gen.birth_ns[lruvec * MAX_NR_GENS + new] = self.clock.now_ns
        self.gen.max_seq[lruvec] = seq + 1

    @cython.cfunc
    def age(self, lruvec: cython.int, can_swap: cython.int) -> cython.int:
        """Walk the page tables and make a generation (try_to_inc_max_seq); 1."""
        before: cython.longlong = self.walk.nr_walked
        self.walk.walk_mms(lruvec, self.gen.max_seq[lruvec], can_swap)
        # MODEL: a table entry looked at costs a sixteenth of a reverse mapping walk
        self.clock.charge_stall(
            (self.walk.nr_walked - before) * self.cost.rmap_walk_ns // 16, STALL_RECLAIM
        )
        self.inc_max_seq(lruvec, can_swap)
        return 1

    @cython.cfunc
    def tier_idx(self, lruvec: cython.int, gen_type: cython.int) -> cython.int:
        """Last tier to evict, by the type's own first tier (get_tier_idx)."""
        tier: cython.int = 1
        while tier < MAX_NR_TIERS and self.within_setpoint(lruvec, gen_type, 1, gen_type, tier, 2):
            tier += 1
        return tier - 1

    @cython.cfunc
    def type_to_scan(self, lruvec: cython.int, swappiness: cython.int) -> cython.int:
        """The type that refaults less, weighed by swappiness; `tier_last` is set too."""
        anon_gain: cython.longlong = swappiness
        file_gain: cython.longlong = MAX_SWAPPINESS - swappiness
        gen_type: cython.int = self.within_setpoint(
            lruvec, GEN_ANON, anon_gain, GEN_FILE, 0, file_gain
        )
        gain: cython.longlong = file_gain if gen_type == GEN_FILE else anon_gain
        other_gain: cython.longlong = anon_gain if gen_type == GEN_FILE else file_gain
        tier: cython.int = 1
        while tier < MAX_NR_TIERS and self.within_setpoint(
            lruvec, 1 - gen_type, other_gain, gen_type, tier, gain
        ):
            tier += 1
        self.tier_last = tier - 1
        return gen_type

    @cython.cfunc
    def should_run_aging(self, lruvec: cython.int, can_swap: cython.int) -> cython.int:
        """1 when cold pages are scarce; `nr_to_scan` is set to all pages that could be scanned."""
        youngest: cython.longlong = self.gen.max_seq[lruvec]
        first_type: cython.int = 0 if can_swap else 1
        oldest: cython.longlong = self.gen.min_seq[lruvec * 2 + first_type]
        self.nr_to_scan = 0
        if oldest + MIN_NR_GENS > youngest:
            return 1
        old: cython.longlong = 0
        young: cython.longlong = 0
        total: cython.longlong = 0
        gen_type: cython.int
        seq: cython.longlong
        for gen_type in range(first_type, 2):
            for seq in range(self.gen.min_seq[lruvec * 2 + gen_type], youngest + 1):
                size: cython.longlong = self.size_of(lruvec, seq, gen_type)
                total += size
                if seq == youngest:
                    young += size
                elif seq + MIN_NR_GENS == youngest:
                    old += size
        self.nr_to_scan = total
        if oldest + MIN_NR_GENS < youngest:
            return 0
        if young * MIN_NR_GENS > total:
            return 1
        return 1 if old * (MIN_NR_GENS + 2) < total else 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def size_of(
        self, lruvec: cython.int, seq: cython.longlong, gen_type: cython.int
    ) -> cython.longlong:
        """Pages of a generation and type."""
        gen: cython.int = seq % MAX_NR_GENS
        size: cython.longlong = 0
        idx: cython.int
        for idx in range(self.gen.nr_zone_types):
            size += self.gen.gen_pages[self.gen.at(lruvec, gen, gen_type, idx)]
        return size
