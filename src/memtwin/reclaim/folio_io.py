"""Owns page input and output: putting frames to devices, waiting for them, what their end changes.

Imports hardware, page, memcg and reclaim/lru. Knows frames and devices, not what a page holds:
files and swap tell it (device, block).

A read: locked -> submitted -> ended (uptodate, unlocked). A write: writeback -> submitted -> ended.
"""

from __future__ import annotations

import cython

from memtwin.errors import InternalError
from memtwin.hardware.block_device import BlockDevice
from memtwin.hardware.clock import STALL_RECLAIM, Clock
from memtwin.hardware.cost import CostTable
from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import PG_LOCKED, PG_RECLAIM, PG_UPTODATE, PG_WRITEBACK
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    NR_THROTTLED_WRITTEN,
    NR_WRITEBACK,
    NR_WRITTEN,
    NR_ZONE_WRITE_PENDING,
    PGPGIN,
    PGPGOUT,
)
from memtwin.reclaim.constants import IO_READ, IO_WRITE, SWAP_CLUSTER_MAX, THROTTLE_JIFFY_NS
from memtwin.reclaim.lru import Lru


@cython.final
@cython.cclass
class FolioIo:
    """Page I/O of all devices of a machine."""

    def __init__(
        self, mem: MemMap, vmstat: VmStat, clock: Clock, cost: CostTable, lru: Lru,
        memcgs: MemcgTable,
    ) -> None:  # fmt: skip
        self.mem = mem
        self.vmstat = vmstat
        self.clock = clock
        self.cost = cost
        self.lru = lru
        self.memcgs = memcgs
        self.devices: list[BlockDevice] = []
        self.nr_throttled = 0  # reclaimers that wait for writes to end (nr_writeback_throttled)

    def add_device(self, device: BlockDevice) -> int:
        """Number of a new device."""
        self.devices.append(device)
        return len(self.devices) - 1

    @cython.ccall
    def submit_read(
        self, device: cython.int, pfn: cython.int, block: cython.longlong
    ) -> cython.int:
        """Read a locked frame from `block` (counted in pages); 0. Ends uptodate and unlocked."""
        disk: BlockDevice = self.devices[device]
        self.submit(disk, IO_READ, pfn, block)
        self.vmstat.count(PGPGIN, 4)  # KiB; block/blk-core.c submit_bio(), v6.1 counts sectors
        return 0

    @cython.ccall
    def submit_write(
        self, device: cython.int, pfn: cython.int, block: cython.longlong
    ) -> cython.int:
        """Write a frame that `start_writeback` marked to `block`; 0."""
        disk: BlockDevice = self.devices[device]
        self.submit(disk, IO_WRITE, pfn, block)
        self.vmstat.count(PGPGOUT, 4)
        return 0

    @cython.cfunc
    def submit(
        self, disk: BlockDevice, op: cython.int, pfn: cython.int, block: cython.longlong
    ) -> cython.void:
        """Plug one frame; a request that cannot be merged with goes out first, at the CPU's cost.
        """
        before: cython.longlong = disk.nr_reads + disk.nr_writes
        disk.submit(self.clock.now_ns, op, pfn, block, 1)
        if disk.nr_reads + disk.nr_writes > before:
            self.clock.spend(self.cost.submit_io_ns)

    @cython.ccall
    def submit_raw(
        self, device: cython.int, op: cython.int, block: cython.longlong, nr_pages: cython.int
    ) -> cython.longlong:
        """A transfer without frames (a journal's blocks), issued at once; when it ends, ns."""
        disk: BlockDevice = self.devices[device]
        disk.issue(self.clock.now_ns)
        disk.submit(self.clock.now_ns, op, -1, block, nr_pages)
        self.vmstat.count(PGPGIN if op == IO_READ else PGPGOUT, 4 * nr_pages)
        return disk.issue(self.clock.now_ns)

    @cython.ccall
    def unplug(self) -> cython.int:
        """Issue what is plugged on every device (blk_finish_plug); 0."""
        i: cython.int
        disk: BlockDevice
        for i in range(len(self.devices)):
            disk = self.devices[i]
            if disk.plugged > 0:
                disk.issue(self.clock.now_ns)
                self.clock.spend(self.cost.submit_io_ns)
        return 0

    @cython.cfunc
    def start_writeback(self, pfn: cython.int) -> cython.void:
        """Mark a frame as under writeback and count it (folio_start_writeback)."""
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        self.mem.flags[pfn] |= PG_WRITEBACK
        node: cython.int = self.lru.lruvecs.node_of(pfn)
        self.memcgs.mod_lruvec_page_state(pfn, node, NR_WRITEBACK, nr_pages)
        self.vmstat.mod_zone(self.lru.lruvecs.zones.zone_of(pfn), NR_ZONE_WRITE_PENDING, nr_pages)

    @cython.ccall
    def end_writeback(self, pfn: cython.int) -> cython.int:
        """A frame's write ended (mm/page-writeback.c folio_end_writeback(), v6.1); 0."""
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_RECLAIM:
            flags &= ~PG_RECLAIM
            self.mem.flags[pfn] = flags
            self.lru.folio_rotate_reclaimable(pfn)
        self.mem.flags[pfn] &= ~PG_WRITEBACK
        node: cython.int = self.lru.lruvecs.node_of(pfn)
        self.memcgs.mod_lruvec_page_state(pfn, node, NR_WRITEBACK, -nr_pages)
        self.memcgs.mod_lruvec_page_state(pfn, node, NR_WRITTEN, nr_pages)
        if self.nr_throttled > 0:
            self.vmstat.mod_node(node, NR_THROTTLED_WRITTEN, nr_pages)
        self.vmstat.mod_zone(self.lru.lruvecs.zones.zone_of(pfn), NR_ZONE_WRITE_PENDING, -nr_pages)
        return 0

    @cython.ccall
    def end_read(self, pfn: cython.int) -> cython.int:
        """A frame's read ended: its content is there, whoever waits may go on; 0."""
        self.mem.flags[pfn] = (self.mem.flags[pfn] | PG_UPTODATE) & ~PG_LOCKED
        return 0

    @cython.ccall
    def next_end_ns(self) -> cython.longlong:
        """When the next request of any device ends, or -1."""
        first_ns: cython.longlong = -1
        i: cython.int
        end_ns: cython.longlong
        disk: BlockDevice
        for i in range(len(self.devices)):
            disk = self.devices[i]
            end_ns = disk.next_end_ns()
            if end_ns >= 0 and (first_ns < 0 or end_ns < first_ns):
                first_ns = end_ns
        return first_ns

    @cython.ccall
    def run_completions(self, now_ns: cython.longlong) -> cython.int:
        """End every request whose time has come, in order of time; how many pages ended."""
        nr_ended: cython.int = 0
        i: cython.int
        disk: BlockDevice
        while True:
            first_ns: cython.longlong = self.next_end_ns()
            if first_ns < 0 or first_ns > now_ns:
                return nr_ended
            for i in range(len(self.devices)):
                disk = self.devices[i]
                while disk.next_end_ns() == first_ns:
                    self.complete(disk.take())
                    nr_ended += 1

    @cython.cfunc
    def complete(self, entry: cython.longlong) -> cython.void:
        """What the end of one page's transfer changes; `entry` is frame * 2 + op."""
        if entry < 0:
            return
        if entry & 1:
            self.end_writeback(entry >> 1)
        else:
            self.end_read(entry >> 1)

    @cython.ccall
    def wait_on_folio(self, pfn: cython.int, why: cython.int) -> cython.longlong:
        """Wait until a frame's read ended (PG_LOCKED is gone); ns waited, counted as stall `why`.
        """
        return self.wait_on_bit(pfn, PG_LOCKED, why)

    @cython.ccall
    def wait_on_writeback(self, pfn: cython.int, why: cython.int) -> cython.longlong:
        """Wait until a frame's write ended; ns waited, counted as stall `why`."""
        return self.wait_on_bit(pfn, PG_WRITEBACK, why)

    @cython.cfunc
    def wait_on_bit(
        self, pfn: cython.int, bit: cython.longlong, why: cython.int
    ) -> cython.longlong:
        """Let time pass until `bit` of the frame's flags is clear; ns waited."""
        waited_ns: cython.longlong = 0
        if not self.mem.flags[pfn] & bit:
            return 0
        self.unplug()
        self.run_completions(self.clock.now_ns)
        while self.mem.flags[pfn] & bit:
            end_ns: cython.longlong = self.next_end_ns()
            if end_ns < 0:
                raise InternalError(
                    f"folio_io.wait_on_bit: frame {pfn} has flags {self.mem.flags[pfn]:#x}, "
                    "but no request is under way"
                )
            waited_ns += self.clock.wait_until(end_ns, why)
            self.run_completions(end_ns)
        self.clock.spend(self.cost.context_switch_ns)
        return waited_ns

    @cython.cfunc
    def room_at_ns(self) -> cython.longlong:
        """When each device takes a further request; 0: now.

        block/blk-mq-tag.c blk_mq_get_tag(), v6.1 and v6.12: who submits sleeps until a tag is free.
        """
        i: cython.int
        disk: BlockDevice
        at_ns: cython.longlong = 0
        for i in range(len(self.devices)):
            disk = self.devices[i]
            if disk.is_full() and disk.next_end_ns() > at_ns:
                at_ns = disk.next_end_ns()
        return at_ns

    @cython.cfunc
    def wait_for_room(self) -> cython.void:
        """Let a reclaimer wait until each device takes a further request."""
        at_ns: cython.longlong = self.room_at_ns()
        while at_ns > 0:
            self.clock.wait_until(at_ns, STALL_RECLAIM)
            self.run_completions(at_ns)
            at_ns = self.room_at_ns()

    @cython.cfunc
    def throttle_on_writeback(self, node: cython.int) -> cython.void:
        """Let a reclaimer wait until a batch of writes ended, a tenth of a second at most."""
        # mm/vmscan.c reclaim_throttle(VMSCAN_THROTTLE_WRITEBACK), v6.12
        until_ns: cython.longlong = self.clock.now_ns + 25 * THROTTLE_JIFFY_NS
        before: cython.longlong = self.vmstat.node_page_state(node, NR_THROTTLED_WRITTEN)
        batch: cython.longlong = SWAP_CLUSTER_MAX
        self.nr_throttled += 1
        self.unplug()
        while self.clock.now_ns < until_ns:
            end_ns: cython.longlong = self.next_end_ns()
            if end_ns < 0 or end_ns > until_ns:
                end_ns = until_ns
            self.clock.wait_until(end_ns, STALL_RECLAIM)
            self.run_completions(end_ns)
            written: cython.longlong = self.vmstat.node_page_state(node, NR_THROTTLED_WRITTEN)
            if written - before > batch * self.nr_throttled:
                break
        self.nr_throttled -= 1

    @cython.ccall
    def nr_under_way(self, device: cython.int) -> cython.longlong:
        """Pages put to a device that have not ended."""
        disk: BlockDevice = self.devices[device]
        return disk.tail - disk.head

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of every device's state, for digests."""
        return [
            (f"{i}.{name}", value)
            for i, device in enumerate(self.devices)
            for name, value in device.columns()
        ]

    def verify(self) -> None:
        """A frame under way is locked (read) or under writeback (write)."""
        for device in self.devices:
            for entry in range(device.head, device.tail):
                place = entry % device.ring_room
                pfn, op = device.ring_pfn[place], device.ring_op[place]
                bit = PG_WRITEBACK if op == IO_WRITE else PG_LOCKED
                if pfn >= 0 and not self.mem.flags[pfn] & bit:
                    raise InternalError(
                        f"folio_io.verify: frame {pfn} is under way (op {op}) on "
                        f"{device.name}, its flags are {self.mem.flags[pfn]:#x}"
                    )
