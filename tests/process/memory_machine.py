"""A machine of real rooms up to process/, all memory free: what these rooms' tests run on."""

from __future__ import annotations

from dataclasses import dataclass, field

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
from memtwin.reclaim.assembly import Below, assemble
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.slowpath import Slowpath
from memtwin.reclaim.swap_io import SwapIo
from memtwin.reclaim.workingset import Workingset
from memtwin.slab.slub import Slub
from memtwin.swap.content import PageContent
from memtwin.swap.swap import Swap


@dataclass
class MemoryMachine:
    """The rooms that tests look at."""

    page_alloc: PageAlloc
    vmstat: VmStat
    lru: Lru
    swap: Swap
    memcgs: MemcgTable
    rooms: FileRooms
    shmem: Shmem
    page_cache: PageCache
    space: Space
    mapper: Mapper
    syscalls: Syscalls
    tasks: Tasks
    oom: OomKiller
    overcommit: Overcommit
    log: list[str] = field(default_factory=list)

    def count(self, name: str) -> int:
        """A counter by its /proc/vmstat name."""
        return self.vmstat.by_name()[name]

    def program(self, comm: str = "a") -> Task:
        """A task with an empty address space."""
        return self.syscalls.spawn(comm)

    def free_pages(self) -> int:
        """Free frames, those on per-CPU lists and in stacks kept for later included."""
        self.lru.lru_add_drain_all()
        self.page_alloc.drain_all_pages()
        cached = sum(len(frames) for cpu in self.syscalls.fork_exit.stacks.cached for frames in cpu)
        return self.count("nr_free_pages") + cached

    def verify(self) -> None:
        """Every room's verify()."""
        self.page_alloc.verify()
        self.lru.verify()
        self.swap.verify()
        self.space.verify()


def build(kernel: int = 601, ram_mib: int = 64, **sysctls: int) -> MemoryMachine:
    """A machine with no tasks."""
    tunables = Tunables(kernel, 1)
    tunables.thp_enabled = 0
    for name, value in sysctls.items():
        setattr(tunables, name, value)
    ranges = [MemoryRange(1, 159), MemoryRange(256, ram_mib << 8)]
    page_alloc, _ = boot_page_alloc(ranges, kernel, tunables=tunables)
    mem, zones, vmstat = page_alloc.mem_map, page_alloc.zones, page_alloc.vmstat
    clock, cost = Clock(), CostTable()
    memcgs = MemcgTable(mem, vmstat, tunables)
    charge = Charge(memcgs, mem, 1)
    tables = PageTables(mem, zones, memcgs, kernel)
    anon_vmas, files = AnonVmas(), MappedFiles()
    rmap = Rmap(mem, zones, memcgs, tables, anon_vmas, files)
    page_cache = PageCache(mem, zones, vmstat, memcgs)
    content = PageContent(mem.nr_frames)
    swap = Swap(mem, zones, vmstat, charge, content, 1)
    lruvecs = Lruvecs(mem, zones, vmstat, tunables, memcgs)
    lru = Lru(mem, lruvecs, vmstat, tunables, charge, page_alloc, content, 1)
    folio_io = FolioIo(mem, vmstat, clock, cost, lru, memcgs)
    device = folio_io.add_device(BlockDevice("vdb", 100_000, 0))
    slub = Slub(page_alloc)
    for row in CACHES:
        slub.create(*row)
    workingset = Workingset(mem, lruvecs, memcgs, swap, tunables)
    swap_io = SwapIo(mem, vmstat, clock, cost, tunables, memcgs, swap, content, folio_io)
    buffer_heads, mms = BufferHeads(mem, 4), Mms(tunables)
    slowpath = Slowpath(mem, page_alloc, charge)
    below = Below(
        lru, folio_io, workingset, slowpath, swap, swap_io, rmap, tables, mms, page_cache,
        buffer_heads, clock, cost,
    )  # fmt: skip
    reclaim = assemble(below)
    rooms = FileRooms(
        page_cache, buffer_heads, slub, slowpath, workingset, folio_io, rmap, cost, device,
        192 << 20,
    )  # fmt: skip
    shmem = Shmem(rooms.cache_pages, rooms.invalidate, folio_io, swap, reclaim.swap_in)
    anon = AnonFault(mem, tables, rmap, slowpath, lru, clock, cost, tunables)
    table_alloc = TableAlloc(mem, tables, slowpath, charge)
    file = FileFault(anon, rooms.filemap, rooms.writes, shmem)
    cow = Cow(anon, file, swap, vmstat)
    thp = Thp(anon, table_alloc, memcgs, vmstat)
    swap_fault = SwapFault(cow, swap, reclaim.swap_in, folio_io, memcgs)
    zap = Zap(mem, tables, rmap, lru, swap, table_alloc, rooms.dirty, clock, cost)
    space = Space(
        mms, tables, anon_vmas, files, rmap, Areas(anon_vmas, files),
        Access(anon, file, cow, swap_fault, thp, table_alloc, memcgs), zap,
        CopyRange(mem, tables, rmap, swap, table_alloc, clock, cost), PageWalk(thp, zap),
        table_alloc,
    )  # fmt: skip
    tasks, overcommit = Tasks(), Overcommit(zones, tunables, swap)
    mapper = Mapper(space, overcommit, tunables)
    stacks = KernelStacks(mem, slowpath, table_alloc, vmstat, 1)
    fork_exit = ForkExit(space, mapper, tasks, stacks, clock, cost)
    log: list[str] = []
    oom = OomKiller(
        tasks, overcommit, memcgs, vmstat, tunables,
        lambda task, signal: fork_exit.exit(task, 0, signal), log.append,
    )  # fmt: skip
    syscalls = Syscalls(space, mapper, fork_exit, oom, slowpath)
    return MemoryMachine(
        page_alloc, vmstat, lru, swap, memcgs, rooms, shmem, page_cache, space, mapper, syscalls,
        tasks, oom, overcommit, log,
    )  # fmt: skip
