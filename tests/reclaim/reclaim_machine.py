"""A machine of real rooms with swap and groups, all memory free: what reclaim's tests run on."""

from __future__ import annotations

from dataclasses import dataclass

from tests.slab_caches import CACHES

from memtwin.address_space.anon_vma import AnonVmas
from memtwin.address_space.mapped_files import MappedFiles
from memtwin.address_space.mm import Mms
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vma_merge import Areas
from memtwin.fault.access import Access
from memtwin.fault.anonymous import AnonFault
from memtwin.fault.copy_range import CopyRange
from memtwin.fault.cow import Cow
from memtwin.fault.file_fault import FileFault
from memtwin.fault.page_walk import PageWalk
from memtwin.fault.swapin import SwapFault
from memtwin.fault.table_alloc import TableAlloc
from memtwin.fault.thp import Thp
from memtwin.fault.verdicts import READ, WRITE
from memtwin.fault.zap import Zap
from memtwin.file_io.mount import FileRooms
from memtwin.file_io.shmem import Shmem
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
from memtwin.process.fork_exit import ForkExit
from memtwin.process.kernel_stack import KernelStacks
from memtwin.process.mmap import Mapper
from memtwin.process.oom import OomKiller
from memtwin.process.overcommit import Overcommit
from memtwin.process.space import Space
from memtwin.process.syscalls import Syscalls
from memtwin.process.task import Task, Tasks
from memtwin.reclaim.assembly import Below, Reclaim, assemble
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.slowpath import Slowpath
from memtwin.reclaim.swap_io import SwapIo
from memtwin.reclaim.workingset import Workingset
from memtwin.slab.slub import Slub
from memtwin.swap.constants import CONTENT_WORD, DISK, ZRAM
from memtwin.swap.content import PageContent
from memtwin.swap.swap import Swap
from memtwin.swap.zram import Zram
from memtwin.swap.zsmalloc import Zsmalloc


@dataclass
class ReclaimMachine:
    """The rooms that tests look at."""

    page_alloc: PageAlloc
    vmstat: VmStat
    lru: Lru
    swap: Swap
    charge: Charge
    memcgs: MemcgTable
    folio_io: FolioIo
    slowpath: Slowpath
    reclaim: Reclaim
    rooms: FileRooms
    space: Space
    syscalls: Syscalls
    oom: OomKiller
    clock: Clock
    content: PageContent
    log: list[str]

    def count(self, name: str) -> int:
        """A counter by its /proc/vmstat name."""
        return self.vmstat.by_name()[name]

    def program(self, memcg: int = 0, pages: int = 0) -> tuple[Task, int]:
        """A task of a group, and the first page of its anonymous area of `pages`."""
        task = self.syscalls.spawn("a", memcg)
        if not pages:
            return task, 0
        address = self.syscalls.mmap(task, pages << 12)
        return task, address >> 12

    def touch(self, task: Task, vpn: int, kind: int = WRITE) -> None:
        """Touch one page, killing whom the out-of-memory killer picks until it works."""
        self.syscalls.touch(task, vpn << 12, kind)

    def verify(self) -> None:
        """Every room's verify()."""
        self.page_alloc.verify()
        self.lru.verify()
        self.lru.lruvecs.verify()
        self.swap.verify()
        self.charge.verify()
        self.memcgs.verify()
        self.folio_io.verify()
        for zram in self.swap.zrams:
            if zram is not None:
                zram.verify()


def build(
    kernel: int = 601, ram_mib: int = 64, swap_mib: int = 0, zram_mib: int = 0,
    algorithm: str = "lzo-rle", version: int = 2, lru_gen: int = 0, **sysctls: int,
) -> ReclaimMachine:  # fmt: skip
    """A machine with no tasks, with a swap disk and a zram of the given sizes."""
    tunables = tuned(kernel, lru_gen, sysctls)
    ranges = [MemoryRange(1, 159), MemoryRange(256, ram_mib << 8)]
    page_alloc, _ = boot_page_alloc(ranges, kernel, tunables=tunables)
    mem, zones, vmstat = page_alloc.mem_map, page_alloc.zones, page_alloc.vmstat
    clock, cost = Clock(), CostTable()
    memcgs = MemcgTable(mem, vmstat, tunables, version)
    charge = Charge(memcgs, mem, 1)
    tables = PageTables(mem, zones, memcgs, kernel)
    anon_vmas, mapped, mms = AnonVmas(), MappedFiles(), Mms(tunables)
    rmap = Rmap(mem, zones, memcgs, tables, anon_vmas, mapped)
    page_cache = PageCache(mem, zones, vmstat, memcgs)
    content = PageContent(mem.nr_frames, CONTENT_WORD)
    swap = Swap(mem, zones, vmstat, charge, content, 1)
    lruvecs = Lruvecs(mem, zones, vmstat, tunables, memcgs)
    lru = Lru(mem, lruvecs, vmstat, tunables, charge, page_alloc, content, 1)
    folio_io = FolioIo(mem, vmstat, clock, cost, lru, memcgs)
    disk = folio_io.add_device(BlockDevice("vda", 100_000, 0))
    add_swap(swap, folio_io, page_alloc, swap_mib, zram_mib, algorithm)
    slub = Slub(page_alloc)
    for row in CACHES:
        slub.create(*row)
    workingset = Workingset(mem, lruvecs, memcgs, swap, tunables)
    swap_io = SwapIo(mem, vmstat, clock, cost, tunables, memcgs, swap, content, folio_io)
    buffer_heads = BufferHeads(mem, 4)
    slowpath = Slowpath(mem, page_alloc, charge)
    reclaim = assemble(
        Below(
            lru, folio_io, workingset, slowpath, swap, swap_io, rmap, tables, mms, page_cache,
            buffer_heads, clock, cost,
        )
    )  # fmt: skip
    rooms = FileRooms(
        page_cache, buffer_heads, slub, slowpath, workingset, folio_io, rmap, cost, disk, 192 << 20
    )
    shmem = Shmem(rooms.cache_pages, rooms.invalidate, folio_io, swap, reclaim.swap_in)
    anon = AnonFault(mem, tables, rmap, slowpath, lru, clock, cost, tunables)
    table_alloc = TableAlloc(mem, tables, slowpath, charge)
    file = FileFault(anon, rooms.filemap, rooms.writes, shmem)
    cow = Cow(anon, file, swap, vmstat)
    thp = Thp(anon, table_alloc, memcgs, vmstat)
    swap_fault = SwapFault(cow, swap, reclaim.swap_in, folio_io, memcgs)
    zap = Zap(mem, tables, rmap, lru, swap, table_alloc, rooms.dirty, clock, cost)
    space = Space(
        mms, tables, anon_vmas, mapped, rmap, Areas(anon_vmas, mapped),
        Access(anon, file, cow, swap_fault, thp, table_alloc, memcgs), zap,
        CopyRange(mem, tables, rmap, swap, table_alloc, clock, cost), PageWalk(thp, zap),
        table_alloc,
    )  # fmt: skip
    tasks, overcommit = Tasks(), Overcommit(zones, tunables, swap)
    mapper = Mapper(space, overcommit, tunables)
    fork_exit = ForkExit(
        space, mapper, tasks, KernelStacks(mem, slowpath, table_alloc, vmstat, 1), clock, cost
    )
    log: list[str] = []
    oom = OomKiller(
        tasks, overcommit, memcgs, vmstat, tunables,
        lambda task, signal: fork_exit.exit(task, 0, signal), log.append,
    )  # fmt: skip
    syscalls = Syscalls(space, mapper, fork_exit, oom, slowpath)
    return ReclaimMachine(
        page_alloc, vmstat, lru, swap, charge, memcgs, folio_io, slowpath, reclaim, rooms, space,
        syscalls, oom, clock, content, log,
    )  # fmt: skip


def add_swap(
    swap: Swap,
    folio_io: FolioIo,
    page_alloc: PageAlloc,
    swap_mib: int,
    zram_mib: int,
    algorithm: str,
) -> None:
    """Swap on a disk of 200 MiB/s and on zram, where a size is given."""
    if swap_mib:
        number = folio_io.add_device(BlockDevice("vdb", 100_000, 200 << 20))
        swap.swapon("/dev/vdb", swap_mib << 8, -1, DISK, 0, number)
    if zram_mib:
        mem, kernel = page_alloc.mem_map, page_alloc.kernel
        pool = Zsmalloc(mem, page_alloc.zones, page_alloc.vmstat, page_alloc, kernel)
        zram = Zram("zram0", zram_mib << 8, algorithm, pool)
        swap.swapon("/dev/zram0", zram_mib << 8, -1, ZRAM, 0, -1, zram)


def tuned(kernel: int, lru_gen: int, sysctls: dict[str, int]) -> Tunables:
    """Sysctls in force: no huge pages, and mappings may be larger than the machine."""
    tunables = Tunables(kernel, 1)
    tunables.thp_enabled = 0
    tunables.overcommit_memory = 1
    tunables.lru_gen_enabled = lru_gen
    for name, value in sysctls.items():
        setattr(tunables, name, value)
    return tunables


__all__ = ["READ", "WRITE", "ReclaimMachine", "build"]
