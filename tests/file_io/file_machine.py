"""A machine of real rooms below file_io: no stand-ins. `build()` makes one; nothing maps pages."""

from __future__ import annotations

from dataclasses import dataclass

from tests.slab_caches import CACHES

from memtwin.address_space.anon_vma import AnonVmas
from memtwin.address_space.mapped_files import MappedFiles
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.file_io.mount import FileRooms
from memtwin.hardware.block_device import BlockDevice
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.memcg.charge import Charge
from memtwin.memcg.table import MemcgTable
from memtwin.page.boot_layout import MemoryRange, boot_page_alloc
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page_cache.buffer_head import BufferHeads
from memtwin.page_cache.page_cache import PageCache
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.slowpath import Slowpath
from memtwin.reclaim.workingset import Workingset
from memtwin.slab.slub import Slub
from memtwin.swap.content import PageContent
from memtwin.swap.swap import Swap

RECLAIMABLE = {"radix_tree_node", "buffer_head", "ext4_inode_cache", "dentry", "ext4_extent_status"}


@dataclass
class Machine:
    """The rooms that tests look at."""

    rooms: FileRooms
    page_alloc: PageAlloc
    page_cache: PageCache
    buffer_heads: BufferHeads
    vmstat: VmStat
    lru: Lru
    folio_io: FolioIo
    clock: Clock
    slub: Slub
    disk: BlockDevice

    def count(self, name: str) -> int:
        """A counter by its /proc/vmstat name."""
        return self.vmstat.by_name()[name]

    def verify(self) -> None:
        """Every room's verify()."""
        self.page_alloc.verify()
        self.lru.verify()
        self.folio_io.verify()
        self.rooms.verify()


def build(
    kernel: int = 601,
    ram_mib: int = 256,
    disk_mib: int = 192,
    bytes_per_s: int = 0,
    latency_ns: int = 100_000,
    **sysctls: int,
) -> Machine:
    """A machine with one file system, all memory free."""
    tunables = Tunables(kernel, 1)
    tunables.lru_gen_enabled = int(kernel >= 612)
    for name, value in sysctls.items():
        setattr(tunables, name, value)
    ranges = [MemoryRange(1, 159), MemoryRange(256, ram_mib << 8)]
    page_alloc, _ = boot_page_alloc(ranges, kernel, tunables=tunables)
    mem, zones, vmstat = page_alloc.mem_map, page_alloc.zones, page_alloc.vmstat
    clock, cost = Clock(), CostTable()
    memcgs = MemcgTable(mem, vmstat, tunables)
    charge = Charge(memcgs, mem, 1)
    lruvecs = Lruvecs(mem, zones, vmstat, tunables, memcgs)
    content = PageContent(mem.nr_frames)
    lru = Lru(mem, lruvecs, vmstat, tunables, charge, page_alloc, content, 1)
    swap = Swap(mem, zones, vmstat, charge, content, 1)
    folio_io = FolioIo(mem, vmstat, clock, cost, lru, memcgs)
    disk = BlockDevice("vdb", latency_ns, bytes_per_s)
    device = folio_io.add_device(disk)
    slub = Slub(page_alloc)
    for name, size_bytes, order, objs in CACHES:
        slub.cache(slub.create(name, size_bytes, order, objs)).reclaimable = int(
            name in RECLAIMABLE
        )
    page_cache = PageCache(mem, zones, vmstat, memcgs)
    buffer_heads = BufferHeads(mem, 4)
    rmap = Rmap(
        mem, zones, memcgs, PageTables(mem, zones, memcgs, kernel), AnonVmas(), MappedFiles()
    )
    rooms = FileRooms(
        page_cache, buffer_heads, slub, Slowpath(mem, page_alloc, charge),
        Workingset(mem, lruvecs, memcgs, swap, tunables), folio_io, rmap, cost, device,
        disk_mib << 20,
    )  # fmt: skip
    return Machine(
        rooms, page_alloc, page_cache, buffer_heads, vmstat, lru, folio_io, clock, slub, disk
    )
