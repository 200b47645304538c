"""Owns the orders and the tally of one reclaim: struct scan_control of mm/vmscan.c, v6.1.

Imports nothing of the house but its room's constants. A plain record; vmscan, kswapd and slowpath
fill it.
"""

from __future__ import annotations

import cython

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
        self.clear_nr()

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
