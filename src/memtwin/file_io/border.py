"""Owns the crossing from plain rooms of file_io to compiled functions that Python cannot call.

Imports reclaim/folio_io, hardware, page. Knows no behaviour: a method is one call, with its name.
"""

from __future__ import annotations

import cython

from memtwin.hardware.clock import Clock
from memtwin.page.vmstat import VmStat
from memtwin.reclaim.folio_io import FolioIo


@cython.final
@cython.cclass
class Border:
    """Counting, letting time pass, starting a write."""

    def __init__(self, folio_io: FolioIo) -> None:
        self.folio_io = folio_io
        self.vmstat: VmStat = folio_io.vmstat
        self.clock: Clock = folio_io.clock

    @cython.ccall
    def count(self, event: cython.int, delta: cython.longlong) -> cython.int:
        """VmStat.count; 0."""
        self.vmstat.count(event, delta)
        return 0

    @cython.ccall
    def mod_node(self, node: cython.int, item: cython.int, delta: cython.longlong) -> cython.int:
        """VmStat.mod_node; 0."""
        self.vmstat.mod_node(node, item, delta)
        return 0

    @cython.ccall
    def spend(self, duration_ns: cython.longlong) -> cython.int:
        """Clock.spend; 0."""
        self.clock.spend(duration_ns)
        return 0

    @cython.ccall
    def wait_until(self, time_ns: cython.longlong, why: cython.int) -> cython.longlong:
        """Clock.wait_until: ns waited."""
        return self.clock.wait_until(time_ns, why)

    @cython.ccall
    def write_page(self, device: cython.int, pfn: cython.int, block: cython.longlong) -> cython.int:
        """FolioIo.start_writeback and submit_write; 0."""
        self.folio_io.start_writeback(pfn)
        return self.folio_io.submit_write(device, pfn, block)
