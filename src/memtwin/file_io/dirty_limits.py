"""Owns how many pages may be dirty: thresholds, the device's share of them, its measured bandwidth.

Imports page and hardware. Arithmetic over counters: it writes no page and wakes nobody. One device
holds all files, so one `bdi_writeback` is enough. What a group may have dirty is group_dirty's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memtwin.hardware.clock import Clock
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    NR_ACTIVE_FILE,
    NR_DIRTIED,
    NR_DIRTY,
    NR_FREE_PAGES,
    NR_INACTIVE_FILE,
    NR_WRITEBACK,
    NR_WRITTEN,
    NR_ZONE_ACTIVE_FILE,
    NR_ZONE_INACTIVE_FILE,
)
from memtwin.page.zone import Zones

if TYPE_CHECKING:
    from memtwin.file_io.group_dirty import GroupDirty

PAGE_SIZE = 4096
HZ = 250  # MODEL: CONFIG_HZ of distribution kernels; the rate control rounds to jiffies
JIFFY_NS = 1_000_000_000 // HZ
BANDWIDTH_INTERVAL = max(HZ // 5, 1)  # mm/page-writeback.c, v6.1
WB_BANDWIDTH_IDLE_JIF = HZ  # include/linux/backing-dev-defs.h, v6.1
INIT_BW = 100 << (20 - 12)  # mm/backing-dev.c INIT_BW: 100 MB/s in pages, v6.1
VM_COMPLETIONS_PERIOD = 3 * HZ  # mm/page-writeback.c VM_COMPLETIONS_PERIOD_LEN, v6.1
RATELIMIT_SHIFT = 10  # mm/page-writeback.c RATELIMIT_CALC_SHIFT, v6.1
MAX_PAUSE = max(HZ // 5, 1)
DIRTY_POLL_THRESH = 128 >> (12 - 10)
DIRTY_SCOPE = 8
MIN_WRITEBACK_PAGES = 4096 >> (12 - 10)  # fs/fs-writeback.c, v6.1


def div_trunc(a: int, b: int) -> int:
    """a / b rounded towards 0, as C divides (b > 0)."""
    return a // b if a >= 0 else -(-a // b)


def ilog2(n: int) -> int:
    """Position of the highest set bit of n >= 1."""
    return n.bit_length() - 1


def roundup_pow_of_two(n: int) -> int:
    """The smallest power of two >= n >= 1."""
    return 1 << (n - 1).bit_length()


class DirtyLimits:
    """The global domain of dirty pages and the one device's bdi_writeback counters."""

    def __init__(self, clock: Clock, vmstat: VmStat, zones: Zones, tunables: Tunables) -> None:
        self.clock = clock
        self.vmstat = vmstat
        self.zones = zones
        self.tunables = tunables
        self.available = 0  # pages that may hold dirty data, when the limits were last worked out
        self.thresh = 0
        self.bg_thresh = 0
        self.dirty_limit = 0  # dom->dirty_limit
        self.dirty_limit_tstamp = self.jiffies()
        self.avg_write_bandwidth = INIT_BW
        self.write_bandwidth = INIT_BW
        self.dirty_ratelimit = INIT_BW
        self.balanced_dirty_ratelimit = INIT_BW
        self.bw_time_stamp = self.jiffies()
        self.dirtied_stamp = 0
        self.written_stamp = 0
        self.completions = 0  # this device's part of dom->completions, aged
        self._written_seen = vmstat.global_node_page_state(NR_WRITTEN)
        self._period_end = 0  # 0: the period timer is off
        self.dirty_exceeded = 0
        self.groups: GroupDirty | None = None  # set where the rooms are put together
        self.writeback_set_ratelimit()

    def writeback_set_ratelimit(self) -> None:
        """Start the smoothed limit from the present one: at boot, and when a dirty sysctl changes.

        mm/page-writeback.c writeback_set_ratelimit(), v6.1.
        """
        self.domain_dirty_limits()
        self.dirty_limit = self.thresh

    def jiffies(self) -> int:
        """Ticks since boot."""
        return self.clock.now_ns // JIFFY_NS

    def _highmem_dirtyable(self) -> int:
        """mm/page-writeback.c highmem_dirtyable_memory(), v6.12."""
        total = 0
        for zone in self.zones.zones:
            if zone.name == "HighMem":
                base = zone.zone_id
                free = self.vmstat.zone_page_state(base, NR_FREE_PAGES)
                free -= min(free, int(zone.wmark_high) + int(zone.lowmem_reserve[zone.zone_idx]))
                total += free + self.vmstat.zone_page_state(base, NR_ZONE_INACTIVE_FILE)
                total += self.vmstat.zone_page_state(base, NR_ZONE_ACTIVE_FILE)
        return total

    def global_dirtyable_memory(self) -> int:
        """Pages that may hold dirty data: mm/page-writeback.c global_dirtyable_memory(), v6.12."""
        pages = self.vmstat.global_zone_page_state(NR_FREE_PAGES)
        pages -= min(pages, int(self.zones.totalreserve_pages))
        pages += self.vmstat.global_node_page_state(NR_INACTIVE_FILE)
        pages += self.vmstat.global_node_page_state(NR_ACTIVE_FILE)
        highmem = self._highmem_dirtyable()
        return int(pages - min(highmem, pages) + 1)

    def domain_dirty_limits(self) -> None:
        """Work out `thresh` and `bg_thresh`: mm/page-writeback.c domain_dirty_limits(), v6.12."""
        tunables = self.tunables
        available = self.available = self.global_dirtyable_memory()
        ratio = tunables.dirty_ratio * PAGE_SIZE // 100
        bg_ratio = tunables.dirty_background_ratio * PAGE_SIZE // 100
        thresh = ratio * available // PAGE_SIZE
        if tunables.dirty_bytes:
            thresh = -(-tunables.dirty_bytes // PAGE_SIZE)
        bg_thresh = bg_ratio * available // PAGE_SIZE
        if tunables.dirty_background_bytes:
            bg_thresh = -(-tunables.dirty_background_bytes // PAGE_SIZE)
        thresh = min(thresh, (1 << 32) - 1)
        self.thresh = thresh
        self.bg_thresh = thresh // 2 if bg_thresh >= thresh else bg_thresh

    def freerun(self) -> int:
        """dirty_freerun_ceiling() of the limits last worked out."""
        return (self.thresh + self.bg_thresh) // 2

    def nr_dirty(self) -> int:
        """nr_dirty, pages."""
        return int(self.vmstat.global_node_page_state(NR_DIRTY))

    def nr_writeback(self) -> int:
        """nr_writeback, pages."""
        return int(self.vmstat.global_node_page_state(NR_WRITEBACK))

    def age_completions(self) -> None:
        """Count completed writes and halve the count every 3 s: lib/flex_proportions.c, v6.1.

        # DIFFERS: what swap-out adds to nr_written counts as the file device's; the counter is one
        # for both; the device's share of the dirty limit, hardly with one file device.
        """
        now = self.jiffies()
        while self._period_end and now >= self._period_end:
            self.completions >>= 1
            self._period_end = (
                self._period_end + VM_COMPLETIONS_PERIOD if self.completions > 1 else 0
            )
        written = int(self.vmstat.global_node_page_state(NR_WRITTEN))
        fresh = written - self._written_seen
        self._written_seen = written
        if fresh > 0:
            self.completions += fresh
            if not self._period_end:
                self._period_end = now + VM_COMPLETIONS_PERIOD

    def note_completion(self) -> None:
        """A write has ended that is not counted in nr_written yet."""
        self.age_completions()
        self.completions = max(self.completions, 1)
        if not self._period_end:
            self._period_end = self.jiffies() + VM_COMPLETIONS_PERIOD

    def wb_thresh(self, thresh: int) -> int:
        """The device's share of `thresh`: none until it completed a write, then all of it."""
        # mm/page-writeback.c __wb_calc_thresh(), lib/flex_proportions.c fprop_fraction_percpu(),
        # v6.1
        self.age_completions()
        return thresh if self.completions > 0 else 0

    def wb_dirty(self) -> int:
        """Dirty and written-back pages of the device (swap-out under way is not of it)."""
        return self.nr_dirty() + self.nr_writeback()

    def over_bg_thresh(self) -> bool:
        """Whether background writing has work: mm/page-writeback.c wb_over_bg_thresh(), v6.1."""
        self.domain_dirty_limits()
        dirty = self.nr_dirty()
        if dirty > self.bg_thresh or dirty > self.wb_thresh(self.bg_thresh):
            return True
        return self.groups is not None and self.groups.any_over_bg_thresh()

    def hard_dirty_limit(self) -> int:
        """mm/page-writeback.c hard_dirty_limit(), v6.1."""
        return max(self.thresh, self.dirty_limit)

    def pos_ratio(self) -> int:
        """Scale of the rate limit, 1 << RATELIMIT_SHIFT is 1: wb_position_ratio(), v6.1."""
        return position_ratio(
            self.hard_dirty_limit(), self.thresh, self.freerun(), self.wb_dirty(),
            self.wb_thresh(self.thresh), self.avg_write_bandwidth,
        )  # fmt: skip

    def setpoint(self) -> int:
        """Dirty pages that the rate control aims at."""
        return (self.freerun() + self.hard_dirty_limit()) // 2

    def update_bandwidth(
        self, ratelimit_too: int, pos_ratio: int, group: GroupDirty | None = None
    ) -> None:
        """__wb_update_bandwidth(): at most one call a BANDWIDTH_INTERVAL has an effect, v6.1.

        `group` is the writer's, measured, if it has limits of its own.
        """
        now = self.jiffies()
        if now <= self.bw_time_stamp + BANDWIDTH_INTERVAL:
            return
        elapsed = max(now - self.bw_time_stamp, 1)
        dirtied = int(self.vmstat.global_node_page_state(NR_DIRTIED))
        written = int(self.vmstat.global_node_page_state(NR_WRITTEN))
        if ratelimit_too:
            if now >= self.dirty_limit_tstamp + BANDWIDTH_INTERVAL:
                self._update_dirty_limit()
                self.dirty_limit_tstamp = now
            self._update_ratelimit(dirtied, elapsed, pos_ratio, self.wb_dirty(), self.setpoint())
            if group is not None:
                group.update_dirty_limit(now, BANDWIDTH_INTERVAL)
                ratio = group.pos_ratio()
                self._update_ratelimit(dirtied, elapsed, ratio, group.total, group.setpoint())
        self._update_write_bandwidth(elapsed, written)
        self.dirtied_stamp = dirtied
        self.written_stamp = written
        self.bw_time_stamp = now

    def estimate_start(self) -> None:
        """wb_bandwidth_estimate_start(): an idle device's stamps start anew, v6.1."""
        now = self.jiffies()
        if now - self.bw_time_stamp > WB_BANDWIDTH_IDLE_JIF and self.nr_writeback() == 0:
            self.dirtied_stamp = int(self.vmstat.global_node_page_state(NR_DIRTIED))
            self.written_stamp = int(self.vmstat.global_node_page_state(NR_WRITTEN))
            self.bw_time_stamp = now

    def _update_dirty_limit(self) -> None:
        """mm/page-writeback.c update_dirty_limit(), v6.1."""
        if self.dirty_limit < self.thresh:
            self.dirty_limit = self.thresh
            return
        target = max(self.thresh, self.wb_dirty())
        if self.dirty_limit > target:
            self.dirty_limit -= (self.dirty_limit - target) >> 5

    def _update_write_bandwidth(self, elapsed: int, written: int) -> None:
        """mm/page-writeback.c wb_update_write_bandwidth(), v6.1."""
        period = roundup_pow_of_two(3 * HZ)
        avg, old = self.avg_write_bandwidth, self.write_bandwidth
        bw = (written - min(written, self.written_stamp)) * HZ
        if elapsed > period:
            bw //= elapsed
            avg = bw
        else:
            bw = (bw + old * (period - elapsed)) >> ilog2(period)
            if avg > old >= bw:
                avg -= (avg - old) >> 3
            if avg < old <= bw:
                avg += (old - avg) >> 3
        self.write_bandwidth = bw
        self.avg_write_bandwidth = max(avg, 1)

    def _update_ratelimit(
        self, dirtied: int, elapsed: int, pos_ratio: int, dirty: int, setpoint: int
    ) -> None:
        """mm/page-writeback.c wb_update_dirty_ratelimit(), v6.1."""
        write_bw = self.avg_write_bandwidth
        dirty_rate = (dirtied - self.dirtied_stamp) * HZ // elapsed
        task_rate = (self.dirty_ratelimit * pos_ratio >> RATELIMIT_SHIFT) + 1
        balanced = min(task_rate * write_bw // (dirty_rate | 1), write_bw)
        rate = self.dirty_ratelimit
        step = 0
        if dirty < setpoint:
            step = max(min(self.balanced_dirty_ratelimit, balanced, task_rate) - rate, 0)
        else:
            step = max(rate - max(self.balanced_dirty_ratelimit, balanced, task_rate), 0)
        shift = rate // (2 * step + 1)
        step = -(-(step >> shift) // 8) if shift < 64 else 0
        rate = rate + step if rate < balanced else rate - step
        self.dirty_ratelimit = max(rate, 1)
        self.balanced_dirty_ratelimit = balanced

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = (
            "dirty_limit", "dirty_limit_tstamp", "avg_write_bandwidth", "write_bandwidth",
            "dirty_ratelimit", "balanced_dirty_ratelimit", "bw_time_stamp", "completions",
            "dirty_exceeded",
        )  # fmt: skip
        return [(name, int(getattr(self, name))) for name in names]


def _polynom(setpoint: int, dirty: int, limit: int) -> int:
    """mm/page-writeback.c pos_ratio_polynom(), v6.1."""
    x = div_trunc((setpoint - dirty) << RATELIMIT_SHIFT, (limit - setpoint) | 1)
    ratio = x
    ratio = ratio * x >> RATELIMIT_SHIFT
    ratio = ratio * x >> RATELIMIT_SHIFT
    ratio += 1 << RATELIMIT_SHIFT
    return min(max(ratio, 0), 2 << RATELIMIT_SHIFT)


def position_ratio(
    limit: int, thresh: int, freerun: int, dirty: int, wb_thresh: int, avg_write_bandwidth: int
) -> int:
    """How much of the device's rate a writer gets: mm/page-writeback.c wb_position_ratio(), v6.1.

    Pages, but for `avg_write_bandwidth` (pages a second); 1 << RATELIMIT_SHIFT stands for 1.
    """
    if dirty >= limit:
        return 0
    setpoint = (freerun + limit) // 2
    ratio = _polynom(setpoint, dirty, limit)
    wb_thresh = max(min(wb_thresh, thresh), (limit - dirty) // 8)
    x = (wb_thresh << 16) // (thresh | 1)
    wb_setpoint = setpoint * x >> 16
    span = (thresh - wb_thresh + 8 * avg_write_bandwidth) * x >> 16
    intercept = wb_setpoint + span
    if dirty < intercept - span // 4:
        ratio = ratio * (intercept - dirty) // ((intercept - wb_setpoint) | 1)
    else:
        ratio //= 4
    intercept = wb_thresh // 2
    if dirty < intercept:
        ratio = ratio * intercept // dirty if dirty > intercept // 8 else ratio * 8
    return ratio
