"""Owns the per-CPU lists of all zones on all CPUs: their sizes, draining them, their slow decay.

Imports pcp, zone and tunables. Has never heard of who allocates.
"""

from __future__ import annotations

import cython

from memtwin.page.buddy import Buddy
from memtwin.page.gfp import MIN_PERCPU_PAGELIST_HIGH_FRACTION
from memtwin.page.mobility import Mobility
from memtwin.page.pcp import PerCpuPages
from memtwin.page.tunables import Tunables
from memtwin.page.zone import Zone


@cython.final
@cython.cclass
class Pagesets:
    """Every zone's `per_cpu_pageset`."""

    def __init__(
        self, buddy: Buddy, mobility: Mobility, tunables: Tunables, cpu_nodes: list[int]
    ) -> None:
        self.zones = buddy.zones
        self.tunables = tunables
        self.kernel = tunables.kernel
        self.cpu_nodes = cpu_nodes
        self.nr_cpus = len(cpu_nodes)
        # row zone_id * nr_cpus + cpu
        self.pcps = [
            PerCpuPages(zone, cpu, buddy, mobility)
            for zone in buddy.zones.zones
            for cpu in range(self.nr_cpus)
        ]

    @cython.ccall
    def pcp_of(self, zone_id: cython.int, cpu: cython.int) -> PerCpuPages:
        """The lists of a zone on a CPU."""
        found: PerCpuPages = self.pcps[zone_id * self.nr_cpus + cpu]
        return found

    @cython.ccall
    def drain_pcp(self, cpu: cython.int) -> cython.int:
        """Give all pages of `cpu`'s lists back to the buddy; their number."""
        # mm/page_alloc.c drain_pages(), v6.12
        zone_id: cython.int
        drained: cython.int = 0
        pcp: PerCpuPages
        for zone_id in range(self.zones.nr_zones):
            pcp = self.pcps[zone_id * self.nr_cpus + cpu]
            drained += pcp.drain()
        return drained

    @cython.ccall
    def drain_all_pages(self) -> cython.int:
        """Give all pages of all CPUs' lists back; their number."""
        cpu: cython.int
        drained: cython.int = 0
        for cpu in range(self.nr_cpus):
            drained += self.drain_pcp(cpu)
        return drained

    @cython.ccall
    def refresh_cpu_vm_stats(self, cpu: cython.int) -> cython.int:
        """What `cpu`'s vmstat worker does to its lists each vm.stat_interval; pages given back."""
        # mm/vmstat.c refresh_cpu_vm_stats(), v6.12: decay, then lists of remote nodes
        # DIFFERS: a remote list is drained at each tick, not after 3 idle ones; the twin keeps no
        # idle count; counts of pagesets on NUMA
        zone_id: cython.int
        before: cython.int
        given: cython.int = 0
        node: cython.int = self.cpu_nodes[cpu]
        pcp: PerCpuPages
        for zone_id in range(self.zones.nr_zones):
            pcp = self.pcps[zone_id * self.nr_cpus + cpu]
            before = pcp.count
            if self.kernel >= 612:
                pcp.decay_high()
            if pcp.count and pcp.zone.node != node:
                pcp.free_bulk(pcp.batch, 0)
            given += before - pcp.count
        return given

    def zone_pcp_update(self) -> None:
        """Work out batch and high of every zone's lists and set them."""
        # mm/page_alloc.c zone_set_pageset_high_and_batch() and zone_highsize(), v6.1 and v6.12
        fraction = self.tunables.percpu_pagelist_high_fraction
        for zone in self.zones.populated():
            batch = zone_batchsize(zone.managed_pages)
            cpus = self.cpu_nodes.count(zone.node) or self.nr_cpus
            low = zone.wmark_low + zone.watermark_boost
            total = zone.managed_pages // fraction if fraction else low
            high_min = max(total // cpus, batch << 2)
            high_max = high_min
            if not fraction and self.kernel >= 612:
                most = zone.managed_pages // MIN_PERCPU_PAGELIST_HIGH_FRACTION
                high_max = max(most // cpus, batch << 2)
            self._update_zone(zone, high_min, high_max, batch)

    def _update_zone(self, zone: Zone, high_min: int, high_max: int, batch: int) -> None:
        old = (zone.pageset_high_min, zone.pageset_high_max, zone.pageset_batch)
        if old == (high_min, high_max, batch):
            return
        zone.pageset_high_min, zone.pageset_high_max = high_min, high_max
        zone.pageset_batch = batch
        for cpu in range(self.nr_cpus):
            pcp = self.pcps[zone.zone_id * self.nr_cpus + cpu]
            pcp.batch, pcp.high_min, pcp.high_max = batch, high_min, high_max
            if self.kernel < 612:
                pcp.high = high_min

    def verify(self) -> None:
        """Recount every list."""
        for pcp in self.pcps:
            pcp.verify()

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [
            (f"pcp{number}.{name}", value)
            for number, pcp in enumerate(self.pcps)
            for name, value in pcp.columns()
        ]


def zone_batchsize(managed_pages: int) -> int:
    """Pages moved at a time between the buddy and a zone's per-CPU lists.

    >>> zone_batchsize(51489), zone_batchsize(125706), zone_batchsize(1 << 22)
    (15, 31, 63)
    """
    # mm/page_alloc.c zone_batchsize(), v6.12
    batch = max(min(managed_pages >> 10, (1 << 20) // 4096) // 4, 1)
    scaled = batch + batch // 2
    return max((1 << (scaled.bit_length() - 1)) - 1, 1)
