"""Owns the orders and the tally of one reclaim: struct scan_control of mm/vmscan.c, v6.1.

Imports columns and its room's constants. A plain record; vmscan, kswapd and slowpath fill it. What
the kernel keeps on the stack of a kswapd that is preempted is kept here too.
"""

from __future__ import annotations

import cython

from memtwin.columns import zeros
from memtwin.reclaim.constants import DEF_PRIORITY, GLOBAL_RECLAIM, SWAP_CLUSTER_MAX


@cython.final
@cython.cclass
class ScanControl:
    """One reclaim's orders (set by who starts it) and tally (kept by who carries it out)."""

    def __init__(self, gfp: int, order: int, reclaim_idx: int) -> None:
        self.gfp = gfp
        self.order = order
        self.reclaim_idx = reclaim_idx  # highest zone_idx that helps
        self.nr_to_reclaim = SWAP_CLUSTER_MAX
        self.target_memcg = GLOBAL_RECLAIM
        self.priority = DEF_PRIORITY
        self.is_kswapd = 0
        self.may_writepage = 1
        self.may_unmap = 1
        self.may_swap = 1
        self.proactive = 0
        self.proactive_swappiness = -1  # -1: the group's or machine's own
        self.may_deactivate = 0
        self.force_deactivate = 0
        self.skipped_deactivate = 0
        self.memcg_low_reclaim = 0
        self.memcg_low_skipped = 0
        self.memcg_full_walk = 0
        self.compaction_ready = 0
        self.cache_trim_mode = 0
        self.cache_trim_mode_failed = 0
        self.no_cache_trim_mode = 0
        self.file_is_tiny = 0
        self.anon_cost = 0
        self.file_cost = 0
        self.nr_scanned = 0
        self.nr_reclaimed = 0
        # a kswapd whose turn ends inside a pass over a node leaves here where it stands
        self.turn_end_ns = 0
        self.blocked_until_ns = 0  # kswapd's next turn is not before
        self.preempted = 0  # 1: the pass goes on where it was left
        self.at_lruvec = 0
        self.at_done = 0  # pages freed (classic lists) or scanned (generations) of that lruvec
        self.nr_before = 0  # nr_reclaimed as the pass began
        self.nr_left = zeros(4, "i8")  # pages still to scan of each list
        self.nr_target = zeros(4, "i8")
        self.clear_nr()

    @cython.cfunc
    @cython.exceptval(check=False)
    def turn_is_over(
        self, now_ns: cython.longlong, lruvec: cython.int, done: cython.longlong
    ) -> cython.int:
        """1 when kswapd has to leave `lruvec`, `done` pages on; what it does is resumable there."""
        if not self.is_kswapd or now_ns < self.turn_end_ns:
            return 0
        self.preempted = 1
        self.at_lruvec = lruvec
        self.at_done = done
        return 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def block(self, now_ns: cython.longlong, until_ns: cython.longlong) -> cython.void:
        """kswapd's turn is over now, and the next begins at `until_ns` at the earliest."""
        self.turn_end_ns = now_ns
        self.blocked_until_ns = until_ns

    @cython.cfunc
    @cython.exceptval(check=False)
    def clear_nr(self) -> cython.void:
        """Forget the tally of one shrink_node pass."""
        self.nr_dirty = 0
        self.nr_unqueued_dirty = 0
        self.nr_congested = 0
        self.nr_writeback = 0
        self.nr_immediate = 0
        self.nr_file_taken = 0
        self.nr_taken = 0
