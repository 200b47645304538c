"""Owns swap as a whole: which device serves, per-CPU slot caches, use counts, the swap cache.

Imports page, memcg and the swap room. Has never heard of reclaim, page tables or I/O. A page's way
out: get_swap_page -> add_to_swap_cache -> (written) -> delete_from_swap_cache -> freed. Its slot
stays as long as page tables (swap_duplicate, swap_free) or the cache hold it.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.errors import InternalError, UserError
from memtwin.memcg.charge import Charge
from memtwin.memcg.constants import CGROUP_V1
from memtwin.page.flags import PG_DIRTY, PG_SWAPCACHE, PG_WRITEBACK
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import NR_FILE_PAGES, NR_SWAPCACHED
from memtwin.page.zone import Zones
from memtwin.swap.constants import (
    NO_CLUSTER,
    SLOTS_CACHE_OFF_PAGES,
    SLOTS_CACHE_ON_PAGES,
    SWAP_HAS_CACHE,
    SWAP_OFFSET_MASK,
    SWAP_SLOTS_CACHE_SIZE,
    SWAP_TYPE_SHIFT,
    ZRAM,
)
from memtwin.swap.content import PageContent
from memtwin.swap.slab_objects import SwapObjects
from memtwin.swap.swap_device import SwapDevice
from memtwin.swap.zram import Zram

if not cython.compiled:
    from memtwin.columns import I8

COLUMNS = (
    Column("slots", "i8", "swap", "entries taken from devices but not used yet, per CPU"),
    Column("slots_left", "i4", "swap", "how many of them, per CPU"),
    Column("slots_at", "i4", "swap", "place of the first of them, per CPU"),
    Column("returned", "i8", "swap", "entries freed but not given back to devices yet, per CPU"),
    Column("nr_returned", "i4", "swap", "how many of them, per CPU"),
)


@cython.final
@cython.cclass
class Swap:
    """All swap devices of a machine."""

    def __init__(
        self, mem: MemMap, zones: Zones, vmstat: VmStat, charge: Charge, content: PageContent,
        nr_cpus: int,
    ) -> None:  # fmt: skip
        self.mem = mem
        self.zones = zones
        self.vmstat = vmstat
        self.charge = charge
        self.content = content
        self.nr_cpus = nr_cpus
        self.cpu = 0  # the scheduler sets it
        self.devices: list[SwapDevice] = []
        self.zrams: list[Zram | None] = []  # by type; None for a disk
        self.order: list[int] = []  # types by falling priority, rotated among equals
        self.nr_swap_pages = 0  # free slots of all devices, less what CPUs have taken for later
        self.total_swap_pages = 0
        self.objects: SwapObjects | None = None  # slab objects; devices swapped on later use it
        self.nr_rotational = 0  # devices: any of them turns VMA readahead off
        self.slots_cache_active = 0
        self.slots = zeros(nr_cpus * SWAP_SLOTS_CACHE_SIZE, "i8")
        self.slots_left = zeros(nr_cpus, "i4")
        self.slots_at = zeros(nr_cpus, "i4")
        self.returned = zeros(nr_cpus * SWAP_SLOTS_CACHE_SIZE, "i8")
        self.nr_returned = zeros(nr_cpus, "i4")
        self._one = zeros(1, "i8")

    def connect_slabs(self, objects: SwapObjects) -> None:
        """Devices added from now on take slab objects for tree nodes and zram's handles."""
        self.objects = objects

    def swapon(
        self, name: str, size_pages: int, prio: int, backing: int, rotational: int = 0,
        io_device: int = -1, zram: Zram | None = None,
    ) -> int:  # fmt: skip
        """Add a swap area of `size_pages` slots (header included): its type number."""
        if size_pages < 10:
            raise UserError(f"swap {name}: found {size_pages} pages, allowed are 10 and more")
        swap_type = len(self.devices)
        if zram is not None and self.objects is not None:
            zram.pool.connect_slabs(self.objects)
        if prio < 0:
            prio = -2 - swap_type  # mm/swapfile.c least_priority, v6.1
        self.devices.append(
            SwapDevice(
                name,
                swap_type,
                size_pages,
                prio,
                backing,
                rotational,
                io_device,
                self.nr_cpus,
                self.objects,
            )
        )
        self.zrams.append(zram)
        self.order.append(swap_type)
        self.order.sort(key=lambda number: -self.devices[number].prio)
        self.nr_swap_pages += size_pages - 1
        self.total_swap_pages += size_pages - 1
        self.nr_rotational += 1 if rotational else 0
        return swap_type

    @cython.cfunc
    @cython.exceptval(check=False)
    def type_of(self, entry: cython.longlong) -> cython.int:
        """Device number of an entry."""
        return cython.cast(cython.int, entry >> SWAP_TYPE_SHIFT)

    @cython.cfunc
    @cython.exceptval(check=False)
    def offset_of(self, entry: cython.longlong) -> cython.longlong:
        """Slot number of an entry."""
        return entry & SWAP_OFFSET_MASK

    @cython.ccall
    def vm_swap_full(self) -> cython.int:
        """1 when less than half of all swap is free."""
        return 1 if self.nr_swap_pages * 2 < self.total_swap_pages else 0

    @cython.ccall
    def has_free_cluster(self) -> cython.int:
        """1 when a device has 512 adjoining free slots for a huge page (swap_alloc_cluster())."""
        i: cython.int
        for i in range(len(self.order)):
            device: SwapDevice = self.devices[self.order[i]]
            if not device.rotational and device.free_head != NO_CLUSTER:
                return 1
        return 0

    # -- slots ---------------------------------------------------------------------------------

    @cython.cfunc
    def get_swap_page(self, pfn: cython.int) -> cython.longlong:
        """A slot for a page, charged to its group: the entry, or 0 when there is none."""
        # mm/swap_slots.c folio_alloc_swap(), v6.1
        entry: cython.longlong = 0
        cpu: cython.int = self.cpu
        if self.check_cache_active():
            if self.slots_left[cpu] == 0:
                self.slots_at[cpu] = 0
                self.slots_left[cpu] = self.take(
                    self.slots, cpu * SWAP_SLOTS_CACHE_SIZE, SWAP_SLOTS_CACHE_SIZE
                )
            if self.slots_left[cpu] > 0:
                entry = self.slots[cpu * SWAP_SLOTS_CACHE_SIZE + self.slots_at[cpu]]
                self.slots_at[cpu] += 1
                self.slots_left[cpu] -= 1
        if entry == 0:
            if self.take(self._one, 0, 1) == 0:
                return 0
            entry = self._one[0]
        memcg: cython.int = self.mem.memcg[pfn]
        if memcg > 0 and self.charge.table.version != CGROUP_V1:
            if self.charge.try_charge_swap(memcg, 1) < 0:
                self.put_swap_entry(entry)
                return 0
            device: SwapDevice = self.devices[self.type_of(entry)]
            device.slot_memcg[self.offset_of(entry)] = memcg
        return entry

    @cython.cfunc
    def check_cache_active(self) -> cython.int:
        """Whether CPUs take slots in batches (mm/swap_slots.c check_cache_active(), v6.1)."""
        if not self.slots_cache_active:
            if self.nr_swap_pages > self.nr_cpus * SLOTS_CACHE_ON_PAGES:
                self.slots_cache_active = 1
        elif self.nr_swap_pages < self.nr_cpus * SLOTS_CACHE_OFF_PAGES:
            self.slots_cache_active = 0
            self.drain_slots()
        return self.slots_cache_active

    @cython.cfunc
    def drain_slots(self) -> cython.void:
        """Give every CPU's unused and returned slots back to the devices."""
        cpu: cython.int
        i: cython.int
        for cpu in range(self.nr_cpus):
            for i in range(self.slots_left[cpu]):
                self.free_to_device(
                    self.slots[cpu * SWAP_SLOTS_CACHE_SIZE + self.slots_at[cpu] + i]
                )
            self.slots_left[cpu] = 0
            self.flush_returned(cpu)

    @cython.cfunc
    def take(self, slots: I8, base: cython.int, goal: cython.int) -> cython.int:
        """Take up to `goal` entries from the devices in order of priority; how many."""
        # mm/swapfile.c get_swap_pages(), v6.1
        if self.nr_swap_pages <= 0:
            return 0
        if goal > self.nr_swap_pages:
            goal = cython.cast(cython.int, self.nr_swap_pages)
        found: cython.int = 0
        i: cython.int
        place: cython.int
        device: SwapDevice
        for place in range(len(self.order)):
            device = self.devices[self.order[place]]
            found = device.take_slots(slots, base, goal, self.cpu)
            if found > 0:
                kind: cython.longlong = device.type
                for i in range(found):
                    slots[base + i] |= kind << SWAP_TYPE_SHIFT
                if len(self.order) > 1:
                    self._requeue(place)
                break
        self.nr_swap_pages -= found
        return found

    def _requeue(self, place: int) -> None:
        # behind its equals (plist_requeue)
        number = self.order.pop(place)
        prio = self.devices[number].prio
        while place < len(self.order) and self.devices[self.order[place]].prio == prio:
            place += 1
        self.order.insert(place, number)

    @cython.cfunc
    def free_swap_slot(self, entry: cython.longlong) -> cython.void:
        """A slot without users: it waits in the CPU's cache for 64 of its kind."""
        # mm/swap_slots.c free_swap_slot(), v6.1; v6.12 alike
        cpu: cython.int = self.cpu
        if not self.slots_cache_active:
            self.free_to_device(entry)
            return
        if self.nr_returned[cpu] >= SWAP_SLOTS_CACHE_SIZE:
            self.flush_returned(cpu)
        self.returned[cpu * SWAP_SLOTS_CACHE_SIZE + self.nr_returned[cpu]] = entry
        self.nr_returned[cpu] += 1

    @cython.cfunc
    def flush_returned(self, cpu: cython.int) -> cython.void:
        """Give one CPU's returned slots back to the devices."""
        i: cython.int
        for i in range(self.nr_returned[cpu]):
            self.free_to_device(self.returned[cpu * SWAP_SLOTS_CACHE_SIZE + i])
        self.nr_returned[cpu] = 0

    @cython.cfunc
    def free_to_device(self, entry: cython.longlong) -> cython.void:
        """The slot is free: uncharged, its data dropped (swap_entry_free, swap_range_free)."""
        device: SwapDevice = self.devices[self.type_of(entry)]
        offset: cython.longlong = self.offset_of(entry)
        self.uncharge_slot(device, offset)
        device.put_back(offset)
        self.nr_swap_pages += 1
        if device.backing == ZRAM:
            zram: Zram | None = self.zrams[device.type]
            assert zram is not None  # a ZRAM device has one
            zram.free_slot(offset)

    @cython.cfunc
    @cython.exceptval(check=False)
    def uncharge_slot(self, device: SwapDevice, offset: cython.longlong) -> cython.void:
        """The slot's charge goes back to its group (mem_cgroup_uncharge_swap)."""
        if device.slot_memcg[offset] > 0:
            self.charge.uncharge_swap(device.slot_memcg[offset], 1)
            device.slot_memcg[offset] = 0

    @cython.ccall
    def record_slot(self, entry: cython.longlong, memcg: cython.int) -> cython.int:
        """The slot's charge belongs to `memcg` (swap_cgroup_record); the group before."""
        device: SwapDevice = self.devices[self.type_of(entry)]
        offset: cython.longlong = self.offset_of(entry)
        before: cython.int = device.slot_memcg[offset]
        device.slot_memcg[offset] = memcg
        return before

    @cython.ccall
    def slot_owner(self, entry: cython.longlong) -> cython.int:
        """Online group that a page read from the slot is charged to, or -1: the reader's own."""
        # mm/memcontrol.c mem_cgroup_swapin_charge_folio(), v6.1
        device: SwapDevice = self.devices[self.type_of(entry)]
        memcg: cython.int = device.slot_memcg[self.offset_of(entry)]
        return memcg if memcg > 0 and self.charge.table.online[memcg] else -1

    @cython.ccall
    def swapin_uncharge(self, entry: cython.longlong) -> cython.int:
        """v1: a page was read and charged, so the slot's memsw charge goes; 0."""
        if self.charge.table.version == CGROUP_V1:
            device: SwapDevice = self.devices[self.type_of(entry)]
            self.uncharge_slot(device, self.offset_of(entry))
        return 0

    @cython.cfunc
    def put_swap_entry(self, entry: cython.longlong) -> cython.void:
        """The swap cache lets go of a slot (put_swap_folio); free without other users."""
        device: SwapDevice = self.devices[self.type_of(entry)]
        offset: cython.longlong = self.offset_of(entry)
        if device.swap_map[offset] == SWAP_HAS_CACHE:
            self.free_swap_slot(entry)
        else:
            device.swap_map[offset] &= ~SWAP_HAS_CACHE

    @cython.ccall
    def swap_duplicate(self, entry: cython.longlong, times: cython.int) -> cython.int:
        """`times` more page table entries point at the slot; 0."""
        device: SwapDevice = self.devices[self.type_of(entry)]
        # MODEL: no COUNT_CONTINUED pages; the count has room for 2^29 users
        users: cython.int = device.swap_map[self.offset_of(entry)]
        keep: cython.int = users & SWAP_HAS_CACHE
        count: cython.int = self.count_of(users) + times
        device.swap_map[self.offset_of(entry)] = self.pack_count(count) | keep
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def count_of(self, users: cython.int) -> cython.int:
        """Users in page tables of a swap_map value: bits beside SWAP_HAS_CACHE."""
        return (users & 0x3F) | ((users >> 7) << 6)

    @cython.cfunc
    @cython.exceptval(check=False)
    def pack_count(self, count: cython.int) -> cython.int:
        """The swap_map bits of a user count."""
        return (count & 0x3F) | ((count >> 6) << 7)

    @cython.ccall
    def swap_count(self, entry: cython.longlong) -> cython.int:
        """Page table entries (and shmem slots) that point at the slot."""
        device: SwapDevice = self.devices[self.type_of(entry)]
        return self.count_of(device.swap_map[self.offset_of(entry)])

    @cython.ccall
    def swap_free(self, entry: cython.longlong) -> cython.int:
        """One page table entry less points at the slot; 1 when only the swap cache is left."""
        # mm/swapfile.c __swap_entry_free(), v6.1
        device: SwapDevice = self.devices[self.type_of(entry)]
        offset: cython.longlong = self.offset_of(entry)
        users: cython.int = device.swap_map[offset]
        count: cython.int = self.count_of(users)
        if count == 0:
            raise InternalError(f"swap.swap_free: slot {entry:#x} has no user")
        keep: cython.int = users & SWAP_HAS_CACHE
        if count == 1 and keep == 0:
            device.swap_map[offset] = SWAP_HAS_CACHE  # not free before the slot cache is flushed
            self.free_swap_slot(entry)
            return 0
        device.swap_map[offset] = self.pack_count(count - 1) | keep
        return 1 if count == 1 else 0

    # -- swap cache ----------------------------------------------------------------------------

    @cython.ccall
    def lookup(self, entry: cython.longlong) -> cython.int:
        """The frame that the swap cache holds for an entry, or -1."""
        device: SwapDevice = self.devices[self.type_of(entry)]
        cached: cython.longlong = device.cache[self.offset_of(entry)]
        return cython.cast(cython.int, cached - 1) if cached > 0 else -1

    @cython.ccall
    def shadow_of(self, entry: cython.longlong) -> cython.longlong:
        """The shadow left at an entry (> 0), or 0."""
        device: SwapDevice = self.devices[self.type_of(entry)]
        cached: cython.longlong = device.cache[self.offset_of(entry)]
        return -cached if cached < 0 else 0

    @cython.cfunc
    def add_to_swap_cache(self, pfn: cython.int, entry: cython.longlong) -> cython.longlong:
        """Put a frame into the swap cache; takes one reference. The shadow that was there, or 0."""
        device: SwapDevice = self.devices[self.type_of(entry)]
        offset: cython.longlong = self.offset_of(entry)
        shadow: cython.longlong = device.cache[offset]
        frame: cython.longlong = pfn
        if shadow == 0:
            device.nodes.fill(offset)
        device.cache[offset] = frame + 1
        device.nr_cached += 1
        device.swap_map[offset] |= SWAP_HAS_CACHE
        self.mem.flags[pfn] |= PG_SWAPCACHE
        self.mem.private[pfn] = entry
        self.mem.refcount[pfn] += 1
        self.count_cached(pfn, 1)
        return -shadow if shadow < 0 else 0

    @cython.cfunc
    def delete_from_swap_cache(self, pfn: cython.int, shadow: cython.longlong) -> cython.void:
        """Take a frame out of the swap cache, leaving `shadow` (> 0) or 0, and drop its hold on
        the slot. The cache's reference on the frame is dropped too; the caller frees it at 0."""
        entry: cython.longlong = self.mem.private[pfn]
        device: SwapDevice = self.devices[self.type_of(entry)]
        device.cache[self.offset_of(entry)] = -shadow
        if shadow == 0:
            device.nodes.empty(self.offset_of(entry))
        device.nr_cached -= 1
        self.mem.flags[pfn] &= ~PG_SWAPCACHE
        self.mem.private[pfn] = 0
        self.mem.refcount[pfn] -= 1
        self.count_cached(pfn, -1)
        self.put_swap_entry(entry)

    @cython.cfunc
    @cython.exceptval(check=False)
    def count_cached(self, pfn: cython.int, delta: cython.int) -> cython.void:
        """Swap cache pages count as file pages of the node, and as swapcached of the group."""
        node: cython.int = 0
        if self.zones.nr_nodes > 1:
            node = self.zones.zone_of(pfn) // self.zones.nr_types
        self.vmstat.mod_node(node, NR_FILE_PAGES, delta)
        self.charge.table.mod_lruvec_page_state(pfn, node, NR_SWAPCACHED, delta)

    @cython.ccall
    def folio_free_swap(self, pfn: cython.int) -> cython.int:
        """Drop a frame's slot if nothing but the swap cache uses it; 1 when dropped."""
        # mm/swapfile.c folio_free_swap(), v6.1
        flags: cython.longlong = self.mem.flags[pfn]
        if not flags & PG_SWAPCACHE or flags & PG_WRITEBACK:
            return 0
        if self.swap_count(self.mem.private[pfn]) > 0:
            return 0
        self.delete_from_swap_cache(pfn, 0)
        self.mem.flags[pfn] |= PG_DIRTY
        return 1

    @cython.ccall
    def is_synchronous(self, entry: cython.longlong) -> cython.int:
        """1 for a device that reads at once (SWP_SYNCHRONOUS_IO: zram)."""
        device: SwapDevice = self.devices[self.type_of(entry)]
        return 1 if device.backing == ZRAM else 0

    def used_pages(self) -> int:
        """Slots in use as /proc/swaps shows them (CPUs' slot caches included)."""
        return sum(int(device.inuse_pages) for device in self.devices)

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = "nr_swap_pages total_swap_pages slots_cache_active order"
        found: list[tuple[str, object]] = [(name, getattr(self, name)) for name in names.split()]
        found += [(column.name, getattr(self, column.name)) for column in COLUMNS]
        for device in self.devices:
            found += [(f"{device.type}.{name}", value) for name, value in device.columns()]
        return found

    def verify(self) -> None:
        """Free slots add up, and every cached frame points back at its slot."""
        free = sum(device.pages - device.inuse_pages for device in self.devices)
        if free != self.nr_swap_pages:
            raise InternalError(
                f"swap.verify: nr_swap_pages {self.nr_swap_pages}, devices have {free}"
            )
        for device in self.devices:
            device.verify()
            for offset in range(1, device.max):
                pfn = device.cache[offset] - 1
                entry = (device.type << SWAP_TYPE_SHIFT) | offset
                if pfn >= 0 and self.mem.private[pfn] != entry:
                    raise InternalError(
                        f"swap.verify: slot {entry:#x} caches frame {pfn}, "
                        f"which says {self.mem.private[pfn]:#x}"
                    )
