"""Owns moving pages between frames and swap slots: disk through FolioIo, zram at once.

Imports hardware, page, swap and reclaim/folio_io. Knows nothing of why a page is written or read.
"""

from __future__ import annotations

import cython

from memtwin.hardware.clock import STALL_SWAP_IN, Clock
from memtwin.hardware.cost import CostTable
from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import PG_DIRTY
from memtwin.page.mem_map import MemMap
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import NR_WRITTEN, PGPGIN, PGPGOUT, PSWPIN, PSWPOUT
from memtwin.reclaim.folio_io import FolioIo
from memtwin.swap.constants import CONTENT_DEFAULT, CONTENT_ZERO, ZRAM
from memtwin.swap.content import PageContent
from memtwin.swap.swap import Swap
from memtwin.swap.swap_device import SwapDevice
from memtwin.swap.zram import Zram


@cython.final
@cython.cclass
class SwapIo:
    """Writes and reads swap slots."""

    def __init__(
        self, mem: MemMap, vmstat: VmStat, clock: Clock, cost: CostTable, tunables: Tunables,
        memcgs: MemcgTable, swap: Swap, content: PageContent, folio_io: FolioIo,
    ) -> None:  # fmt: skip
        self.mem = mem
        self.vmstat = vmstat
        self.clock = clock
        self.cost = cost
        self.tunables = tunables
        self.memcgs = memcgs
        self.swap = swap
        self.content = content
        self.folio_io = folio_io

    @cython.ccall
    def swap_writepage(self, pfn: cython.int) -> cython.int:
        """Write a clean-marked page of the swap cache to its slot; 0, or -1 when zram has no
        memory.

        A disk: the page is under writeback until the request ends. zram: it is done on return.
        """
        # mm/page_io.c swap_writepage(), v6.1 and v6.12
        if self.swap.folio_free_swap(pfn):
            return 0
        entry: cython.longlong = self.mem.private[pfn]
        device: SwapDevice = self.swap.devices[self.swap.type_of(entry)]
        offset: cython.longlong = self.swap.offset_of(entry)
        content: cython.int = self.content.content[pfn]
        device.slot_content[offset] = content
        if content == CONTENT_DEFAULT:
            content = self.content.default_class
        if self.tunables.kernel >= 612 and content == CONTENT_ZERO:
            return 0  # swap_zeromap_folio_set(): a bit a slot, no I/O
        memcg: cython.int = self.mem.memcg[pfn]
        if device.backing != ZRAM:
            self.count(PSWPOUT, memcg)
            self.clock.spend(self.cost.swap_page_ns)
            self.folio_io.start_writeback(pfn)
            self.folio_io.submit_write(device.io_device, pfn, offset)
            return 0
        zram: Zram | None = self.swap.zrams[device.type]
        assert zram is not None  # a ZRAM device has one
        self.clock.spend(self.cost.zram_compress_ns)
        if zram.write(offset, content) < 0:
            self.mem.flags[pfn] |= PG_DIRTY
            return -1
        self.count(PSWPOUT, memcg)
        if self.tunables.kernel >= 612:
            # drivers/block/zram takes bios since rw_page is gone (v6.3), so submit_bio() counts
            self.vmstat.count(PGPGOUT, 4)
        self.memcgs.mod_lruvec_page_state(
            pfn, self.folio_io.lru.lruvecs.node_of(pfn), NR_WRITTEN, 1
        )
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def count(self, event: cython.int, memcg: cython.int) -> cython.void:
        """Count a swap event for the machine and, since v6.12, for the group."""
        self.vmstat.count(event, 1)
        if memcg > 0 and self.tunables.kernel >= 612:
            self.memcgs.count_event(memcg, event, 1)

    @cython.ccall
    def swap_readpage(self, pfn: cython.int, entry: cython.longlong) -> cython.int:
        """Read a slot into a locked page; 1 when it is done on return (zram), 0 when under way."""
        # mm/page_io.c swap_readpage(), v6.1, swap_read_folio(), v6.12
        device: SwapDevice = self.swap.devices[self.swap.type_of(entry)]
        offset: cython.longlong = self.swap.offset_of(entry)
        content: cython.int = device.slot_content[offset]
        if content != CONTENT_DEFAULT:
            self.content.set_content(pfn, content)
        else:
            content = self.content.default_class
        if self.tunables.kernel >= 612 and content == CONTENT_ZERO:
            self.folio_io.end_read(pfn)
            return 1
        self.count(PSWPIN, self.mem.memcg[pfn])
        if device.backing != ZRAM:
            self.clock.spend(self.cost.swap_page_ns)
            self.folio_io.submit_read(device.io_device, pfn, offset)
            return 0
        if self.tunables.kernel >= 612:
            self.vmstat.count(PGPGIN, 4)
        self.clock.charge_stall(self.cost.zram_decompress_ns, STALL_SWAP_IN)
        self.folio_io.end_read(pfn)
        return 1
