"""Owns how many pages a memory group may have dirty: its own thresholds beside the machine's.

Imports file_io (dirty_limits, cache_pages), memcg and reclaim/lruvec. Arithmetic over counters, as
dirty_limits: it writes no page and lets nobody wait. Groups of version 1 have no such limits.

# DIFFERS: all groups share one bdi_writeback, whose bandwidth and rate are the machine's; the twin
# has one device; bends how long writers of several groups pause at the same time.
"""

from __future__ import annotations

from memtwin.file_io.cache_pages import CachePages
from memtwin.file_io.dirty_limits import PAGE_SIZE, DirtyLimits, position_ratio
from memtwin.memcg.constants import CGROUP_V2
from memtwin.page.flags import LRU_ACTIVE_FILE, LRU_INACTIVE_FILE
from memtwin.page.vmstat_items import NR_DIRTY, NR_WRITEBACK
from memtwin.reclaim.lruvec import Lruvecs

_ENDLESS = 1 << 52  # pages; more than any limit


class GroupDirty:
    """The memcg domain of dirty pages; `measure` takes one group's figures, the rest reads them."""

    def __init__(self, limits: DirtyLimits, pages: CachePages, lruvecs: Lruvecs) -> None:
        self.limits = limits
        self.pages = pages
        self.lruvecs = lruvecs
        self.memcgs = pages.page_cache.memcg
        self.memcg = 0  # the group last measured
        self.dirty = 0  # its dirty pages
        self.total = 0  # and those under writeback
        self.thresh = 0
        self.bg_thresh = 0
        self._dirty_limit: dict[int, int] = {}  # memcg -> cgwb_domain.dirty_limit
        self._limit_tstamp: dict[int, int] = {}

    def measure_current(self) -> bool:
        """Measure the running task's group; False when it has no limits of its own."""
        memcg = int(self.pages.memcg_id)
        if memcg <= 0 or self.memcgs.version != CGROUP_V2:
            return False
        self.measure(memcg)
        return True

    def measure(self, memcg: int) -> None:
        """Work out the group's figures; the machine's limits must be worked out already."""
        # mm/page-writeback.c mdtc_calc_avail(), domain_dirty_limits(), v6.12
        limits, tunables = self.limits, self.limits.tunables
        self.memcg = memcg
        self.dirty = self.memcgs.stat_total(memcg, NR_DIRTY)
        self.total = self.dirty + self.memcgs.stat_total(memcg, NR_WRITEBACK)
        file_pages = self._file_pages(memcg)
        clean = file_pages - min(file_pages, self.total)
        global_clean = limits.available - min(limits.available, limits.wb_dirty())
        available = file_pages + min(self._headroom(memcg), global_clean - min(global_clean, clean))
        ratio = tunables.dirty_ratio * PAGE_SIZE // 100
        if tunables.dirty_bytes:
            ratio = min(-(-tunables.dirty_bytes // limits.available), PAGE_SIZE)
        bg_ratio = tunables.dirty_background_ratio * PAGE_SIZE // 100
        if tunables.dirty_background_bytes:
            bg_ratio = min(-(-tunables.dirty_background_bytes // limits.available), PAGE_SIZE)
        self.thresh = ratio * available // PAGE_SIZE
        bg_thresh = bg_ratio * available // PAGE_SIZE
        self.bg_thresh = self.thresh // 2 if bg_thresh >= self.thresh else bg_thresh

    def _file_pages(self, memcg: int) -> int:
        nr_nodes = int(self.lruvecs.nr_nodes)
        return sum(
            int(self.lruvecs.tree_size(memcg * nr_nodes + node, lru))
            for node in range(nr_nodes)
            for lru in (LRU_INACTIVE_FILE, LRU_ACTIVE_FILE)
        )

    def _headroom(self, memcg: int) -> int:
        """Pages that the group and all above it may still take: mem_cgroup_wb_stats(), v6.12."""
        table, least = self.memcgs, _ENDLESS
        while memcg > 0:
            ceiling = min(int(table.max[memcg]), int(table.high[memcg]))
            least = min(least, ceiling - min(ceiling, int(table.usage[memcg])))
            memcg = int(table.parent[memcg])
        return least

    def freerun(self) -> int:
        """dirty_freerun_ceiling() of the group last measured."""
        return (self.thresh + self.bg_thresh) // 2

    def hard_dirty_limit(self) -> int:
        """mm/page-writeback.c hard_dirty_limit(), v6.12."""
        return max(self.thresh, self._dirty_limit.get(self.memcg, 0))

    def exceeded(self) -> bool:
        """Whether the group has more dirty pages than it may."""
        return self.total > self.limits.wb_thresh(self.thresh) and self.total > self.thresh

    def pos_ratio(self) -> int:
        """Scale of the rate limit for the group's tasks: wb_position_ratio(), v6.12."""
        limits = self.limits
        return position_ratio(
            self.hard_dirty_limit(), self.thresh, self.freerun(), self.total,
            limits.wb_thresh(self.thresh), limits.avg_write_bandwidth,
        )  # fmt: skip

    def setpoint(self) -> int:
        """Dirty pages that the rate control aims at."""
        return (self.freerun() + self.hard_dirty_limit()) // 2

    def update_dirty_limit(self, now: int, interval: int) -> None:
        """mm/page-writeback.c domain_update_dirty_limit(), v6.12; both in jiffies."""
        if now < self._limit_tstamp.get(self.memcg, 0) + interval:
            return
        self._limit_tstamp[self.memcg] = now
        limit = self._dirty_limit.get(self.memcg, 0)
        target = max(self.thresh, self.total)
        if limit < self.thresh:
            limit = self.thresh
        elif limit > target:
            limit -= (limit - target) >> 5
        self._dirty_limit[self.memcg] = limit

    def any_over_bg_thresh(self) -> bool:
        """Whether background writing has work for some group: wb_over_bg_thresh(), v6.12."""
        if self.memcgs.version != CGROUP_V2:
            return False
        for memcg in range(1, len(self.memcgs.names)):
            if self.memcgs.stat_total(memcg, NR_DIRTY) > 0:
                self.measure(memcg)
                if self.dirty > min(self.bg_thresh, self.limits.wb_thresh(self.bg_thresh)):
                    return True
        return False

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [
            (f"group{memcg}", [limit, self._limit_tstamp[memcg]])
            for memcg, limit in sorted(self._dirty_limit.items())
        ]
