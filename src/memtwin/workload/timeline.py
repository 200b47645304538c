"""Owns sampling a replay as it goes: what was resident, swapped, cached and free, when.

Imports machine, analysis/results. Changes nothing that it looks at.
"""

from __future__ import annotations

from memtwin.address_space.vm_flags import MM_SWAPENTS
from memtwin.analysis.results import Timeline
from memtwin.machine.machine import Machine
from memtwin.page.vmstat_items import NR_FILE_PAGES, NR_FREE_PAGES
from memtwin.units import PAGE_SIZE
from memtwin.workload.replay_image import Image


class Sampler:
    """Samples the recorded program's processes and their machine."""

    def __init__(self, machine: Machine, image: Image) -> None:
        self.machine = machine
        self.image = image
        self.timeline = Timeline()
        self.peak_rss_pages = 0
        self._begin_ns = machine.clock.now_ns

    def sample(self) -> None:
        """Add one row."""
        rss_pages = swapped_pages = minor = major = 0
        for process in self.image.all:
            task = process.task
            min_flt, maj_flt = task.faults()
            minor, major = minor + min_flt, major + maj_flt
            if task.mm is not None:
                rss_pages += int(task.mm.get_rss())
                swapped_pages += int(task.mm.counter(MM_SWAPENTS))
                self.peak_rss_pages = max(self.peak_rss_pages, int(task.mm.hiwater_rss))
        self.peak_rss_pages = max(self.peak_rss_pages, rss_pages)
        kernel, line = self.machine.kernel, self.timeline
        zones = kernel.zones.zones
        line.time_ns.append(self.machine.clock.now_ns - self._begin_ns)
        line.rss_bytes.append(rss_pages * PAGE_SIZE)
        line.swapped_bytes.append(swapped_pages * PAGE_SIZE)
        line.file_bytes.append(
            int(kernel.vmstat.global_node_page_state(NR_FILE_PAGES)) * PAGE_SIZE
        )
        line.free_bytes.append(
            int(kernel.vmstat.global_zone_page_state(NR_FREE_PAGES)) * PAGE_SIZE
        )
        line.wmark_low_bytes.append(sum(zone.wmark_low for zone in zones) * PAGE_SIZE)
        line.wmark_high_bytes.append(sum(zone.wmark_high for zone in zones) * PAGE_SIZE)
        line.maj_flt.append(major)
        line.min_flt.append(minor)
