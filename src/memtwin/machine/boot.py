"""Owns booting: the one place that knows every room and the order in which they are made.

Imports all rooms of the twin. Read it as the table of contents of the program: each attribute of
`Kernel` is one noun of memory management. It has no behaviour; what happens when is `machine.py`.
"""

from __future__ import annotations

from typing import Any

from memtwin.address_space.anon_vma import AnonVmas
from memtwin.address_space.mapped_files import MappedFiles
from memtwin.address_space.mm import Mms
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vma_merge import Areas
from memtwin.columns import Digest
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
from memtwin.file_io.shrinkers import all_shrinkers
from memtwin.file_io.woken_flusher import WokenFlusher
from memtwin.hardware.block_device import BlockDevice
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.hardware.event_queue import EventQueue
from memtwin.hardware.prng import stream
from memtwin.machine.boot_memory import boot_memory, boot_tunables
from memtwin.machine.description import BlockConfig, MachineConfig, SwapConfig
from memtwin.machine.slab_caches import boot_caches
from memtwin.memcg.charge import Charge
from memtwin.memcg.constants import CGROUP_V2
from memtwin.memcg.table import MemcgTable
from memtwin.page_cache.buffer_head import BufferHeads
from memtwin.page_cache.page_cache import PageCache
from memtwin.process.fork_exit import ForkExit
from memtwin.process.kernel_objects import KernelObjects
from memtwin.process.kernel_stack import KernelStacks
from memtwin.process.kmemleak import Kmemleak
from memtwin.process.mmap import Mapper
from memtwin.process.oom import OomKiller
from memtwin.process.overcommit import Overcommit
from memtwin.process.space import Space
from memtwin.process.syscalls import Syscalls
from memtwin.process.task import Tasks
from memtwin.process.task_objects import TaskObjects
from memtwin.reclaim.assembly import Below, assemble
from memtwin.reclaim.compact_policy import CompactPolicy
from memtwin.reclaim.compaction import Compaction
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.migrate import Migrate
from memtwin.reclaim.slowpath import Slowpath
from memtwin.reclaim.stat_fold import StatFold
from memtwin.reclaim.swap_io import SwapIo
from memtwin.reclaim.workingset import Workingset
from memtwin.slab.slub import Slub
from memtwin.swap.constants import (
    CONTENT_HALF,
    CONTENT_QUARTER,
    CONTENT_RANDOM,
    CONTENT_SAME,
    CONTENT_WORD,
    CONTENT_ZERO,
    DISK,
    ZRAM,
)
from memtwin.swap.content import PageContent
from memtwin.swap.slab_objects import SwapObjects
from memtwin.swap.swap import Swap
from memtwin.swap.zram import Zram
from memtwin.swap.zsmalloc import Zsmalloc
from memtwin.units import GIB, bytes_to_pages

CONTENTS = {
    "zero": CONTENT_ZERO,
    "same": CONTENT_SAME,
    "word": CONTENT_WORD,
    "quarter": CONTENT_QUARTER,
    "half": CONTENT_HALF,
    "random": CONTENT_RANDOM,
    "rand": CONTENT_RANDOM,
}
LEAST_DISK_BYTES = 16 * GIB


class Kernel:
    """Every room of one running kernel."""

    def __init__(self, config: MachineConfig) -> None:
        self.config = config
        self._boot_bottom()
        self._boot_mappings()
        self._boot_lists()
        self._boot_reclaim()
        self._boot_files()
        self._boot_faults()
        self._boot_processes()
        self._boot_statistics()

    def _boot_bottom(self) -> None:
        """Clock, frames, slabs, groups."""
        config = self.config
        self.clock = Clock()
        self.clock.now_ns = config.start_time_ns
        self.events = EventQueue()
        self.cost = CostTable(config.costs)
        self.tunables = boot_tunables(config)
        self.page_alloc, self.boot_pages = boot_memory(config, self.tunables)
        self.zones, self.vmstat = self.page_alloc.zones, self.page_alloc.vmstat
        self.mem = self.page_alloc.mem_map
        self.slub = Slub(self.page_alloc)
        boot_caches(self.slub, self.boot_pages, config.start_texts, config.kernel)
        version = config.limit.cgroup_version if config.limit else CGROUP_V2
        self.memcgs = MemcgTable(self.mem, self.vmstat, self.tunables, version)
        self.charge = Charge(self.memcgs, self.mem, config.nr_cpus)

    def _boot_mappings(self) -> None:
        """Address spaces, page cache, swap."""
        self.tables = PageTables(self.mem, self.zones, self.memcgs, self.tunables.kernel)
        self.mms = Mms(self.tunables)
        self.anon_vmas = AnonVmas()
        self.mapped_files = MappedFiles()
        self.rmap = Rmap(
            self.mem, self.zones, self.memcgs, self.tables, self.anon_vmas, self.mapped_files
        )
        self.page_cache = PageCache(self.mem, self.zones, self.vmstat, self.memcgs)
        self.buffer_heads = BufferHeads(self.mem, 1)
        self.content = PageContent(self.mem.nr_frames, CONTENTS[self.config.content])
        self.swap = Swap(
            self.mem, self.zones, self.vmstat, self.charge, self.content, self.config.nr_cpus
        )
        self.swap.connect_slabs(SwapObjects(self.slub, self.page_alloc))

    def _boot_lists(self) -> None:
        """LRU lists, block devices, swap I/O."""
        self.lruvecs = Lruvecs(self.mem, self.zones, self.vmstat, self.tunables, self.memcgs)
        self.lru = Lru(
            self.mem,
            self.lruvecs,
            self.vmstat,
            self.tunables,
            self.charge,
            self.page_alloc,
            self.content,
            self.config.nr_cpus,
        )
        self.folio_io = FolioIo(
            self.mem, self.vmstat, self.clock, self.cost, self.lru, self.memcgs
        )
        self.file_device = self.folio_io.add_device(block_device("disk", self.config.block))
        for swap in self.config.swap:
            self.swapon(swap)
        self.workingset = Workingset(
            self.mem, self.lruvecs, self.memcgs, self.swap, self.tunables
        )
        self.swap_io = SwapIo(
            self.mem,
            self.vmstat,
            self.clock,
            self.cost,
            self.tunables,
            self.memcgs,
            self.swap,
            self.content,
            self.folio_io,
        )

    def _boot_reclaim(self) -> None:
        """What frees pages, and who asks it to."""
        self.slowpath = Slowpath(self.mem, self.page_alloc, self.charge)
        reclaim = assemble(
            Below(
                lru=self.lru,
                folio_io=self.folio_io,
                workingset=self.workingset,
                slowpath=self.slowpath,
                swap=self.swap,
                swap_io=self.swap_io,
                rmap=self.rmap,
                tables=self.tables,
                mms=self.mms,
                page_cache=self.page_cache,
                buffer_heads=self.buffer_heads,
                clock=self.clock,
                cost=self.cost,
            )
        )
        self.lru_scan = reclaim.lru_scan
        self.shrinkers = reclaim.shrinkers
        self.vmscan = reclaim.vmscan
        self.kswapd = reclaim.kswapd
        self.swap_in = reclaim.swap_in
        self.migrate = Migrate(
            self.lru, self.rmap, self.page_cache, self.buffer_heads, self.swap, self.clock,
            self.cost,
        )  # fmt: skip
        compaction = Compaction(self.lru, self.migrate, self.clock, self.cost)
        self.compact = CompactPolicy(compaction, self.vmscan, self.page_alloc)
        self.kswapd.compact = self.compact
        self.slowpath.compact = self.compact

    def _boot_files(self) -> None:
        """The one file system."""
        config = self.config
        files_bytes = sum(file.size_bytes for file in config.files)
        disk_bytes = config.block.size_bytes or max(2 * files_bytes, LEAST_DISK_BYTES)
        self.file_rooms = FileRooms(
            self.page_cache,
            self.buffer_heads,
            self.slub,
            self.slowpath,
            self.workingset,
            self.folio_io,
            self.rmap,
            self.cost,
            self.file_device,
            disk_bytes,
            config.block.read_ahead_kib // 4,
        )
        self.files = self.file_rooms.files
        for directory in config.directories:
            self.files.declare_directory(directory)
        for file in config.files:
            self.files.declare(file.path, file.size_bytes)
        for shrinker in all_shrinkers(self.files, self.tunables, self.zones):
            self.shrinkers.register(shrinker)
        self.lru_scan.flushers = WokenFlusher(
            self.file_rooms.flusher, self.file_rooms.cache_pages
        )

    def _boot_faults(self) -> None:
        """What a touch may meet."""
        self.table_alloc = TableAlloc(self.mem, self.tables, self.slowpath, self.charge)
        self.shmem = Shmem(
            self.file_rooms.cache_pages,
            self.file_rooms.invalidate,
            self.folio_io,
            self.swap,
            self.swap_in,
        )
        anon = AnonFault(
            self.mem,
            self.tables,
            self.rmap,
            self.slowpath,
            self.lru,
            self.clock,
            self.cost,
            self.tunables,
        )
        file = FileFault(anon, self.file_rooms.filemap, self.file_rooms.writes, self.shmem)
        cow = Cow(anon, file, self.swap, self.vmstat)
        swap_fault = SwapFault(cow, self.swap, self.swap_in, self.folio_io, self.memcgs)
        thp = Thp(anon, self.table_alloc, self.memcgs, self.vmstat)
        self.access = Access(anon, file, cow, swap_fault, thp, self.table_alloc, self.memcgs)
        self.zap = Zap(
            self.mem,
            self.tables,
            self.rmap,
            self.lru,
            self.swap,
            self.table_alloc,
            self.file_rooms.dirty,
            self.clock,
            self.cost,
        )
        self.space = Space(
            mms=self.mms,
            tables=self.tables,
            anon_vmas=self.anon_vmas,
            files=self.mapped_files,
            rmap=self.rmap,
            areas=Areas(self.anon_vmas, self.mapped_files),
            access=self.access,
            zap=self.zap,
            copy_range=CopyRange(
                self.mem,
                self.tables,
                self.rmap,
                self.swap,
                self.table_alloc,
                self.clock,
                self.cost,
            ),
            page_walk=PageWalk(thp, self.zap),
            table_alloc=self.table_alloc,
        )

    def _boot_processes(self) -> None:
        """Tasks and their system calls."""
        self.dmesg: list[str] = []
        self.overcommit = Overcommit(self.zones, self.tunables, self.swap)
        self.mapper = Mapper(self.space, self.overcommit, self.tunables)
        self.tasks = Tasks()
        self.stacks = KernelStacks(
            self.mem, self.slowpath, self.table_alloc, self.vmstat, self.config.nr_cpus
        )
        self.fork_exit = ForkExit(
            self.space, self.mapper, self.tasks, self.stacks, self.clock, self.cost
        )
        self.task_objects = TaskObjects(self.slub, self.slowpath, self.space)
        self.fork_exit.objects = self.mapper.objects = self.task_objects
        self.kernel_objects = KernelObjects(self.slub, self.slowpath, self.clock, self.tasks)
        self.kmemleak = Kmemleak(self.kernel_objects, self.log)
        self.oom = OomKiller(
            self.tasks,
            self.overcommit,
            self.memcgs,
            self.vmstat,
            self.tunables,
            lambda task, signal: self.fork_exit.exit(task, 0, signal),
            self.log,
        )
        self.syscalls = Syscalls(
            self.space, self.mapper, self.fork_exit, self.oom, self.slowpath
        )

    def _boot_statistics(self) -> None:
        """How old the figures are that reclaim compares."""
        phase_ppm = stream(self.config.seed, "stat_fold").below(1_000_000)
        self.stat_fold = StatFold(
            self.lruvecs, self.clock, self.config.kernel, self.config.nr_cpus, phase_ppm
        )
        self.vmscan.lru_scan.balance.stat_fold = self.stat_fold
        self.workingset.stat_fold = self.stat_fold
        if self.config.limit is not None and self.config.limit.stat_read_us:
            self.stat_fold.read_every(self.config.limit.stat_read_us * 1000)

    def parts(self) -> list[tuple[str, Any]]:
        """(name, owner) of everything with state, in order of layers."""
        found: list[tuple[str, Any]] = [
            ("clock", self.clock),
            ("tunables", self.tunables),
            ("mem_map", self.mem),
            ("vmstat", self.vmstat),
            ("page_alloc", self.page_alloc),
            ("slub", self.slub),
            ("memcg", self.memcgs),
            ("charge", self.charge),
            ("space", self.space),
            ("page_cache", self.page_cache),
            ("swap", self.swap),
            ("content", self.content),
            ("lruvecs", self.lruvecs),
            ("lru", self.lru),
            ("stat_fold", self.stat_fold),
            ("kswapd", self.kswapd),
            ("compaction", self.compact.compaction),
            ("compact_policy", self.compact),
            ("file_rooms", self.file_rooms),
            ("overcommit", self.overcommit),
            ("tasks", self.tasks),
            ("task_objects", self.task_objects),
            ("kernel_objects", self.kernel_objects),
            ("kmemleak", self.kmemleak),
        ]
        found += [(f"zram{n}", z) for n, z in enumerate(self.swap.zrams) if z is not None]
        found += [(f"device{n}", d) for n, d in enumerate(self.folio_io.devices)]
        return found

    def digest(self) -> str:
        """BLAKE2b over the state of every room."""
        digest = Digest()
        for name, owner in self.parts():
            digest.add_all(name, owner.columns())
        return digest.hexdigest()

    def verify(self) -> None:
        """Let every room check itself; InternalError names both sides of what does not hold."""
        for _, owner in self.parts():
            check = getattr(owner, "verify", None)
            if check is not None:
                check()

    def log(self, text: str) -> None:
        """One line of the kernel log."""
        seconds, rest = divmod(self.clock.now_ns, 1_000_000_000)
        self.dmesg.append(f"[{seconds:5d}.{rest // 1000:06d}] {text}")

    def swapon(self, swap: SwapConfig) -> int:
        """Add one swap area: its type number."""
        size_pages = bytes_to_pages(swap.size_bytes)
        if swap.kind == "zram":
            pool = Zsmalloc(self.mem, self.zones, self.vmstat, self.page_alloc, self.config.kernel)
            zram = Zram(swap.filename, size_pages, swap.algorithm, pool)
            return self.swap.swapon(swap.filename, size_pages, swap.priority, ZRAM, 0, -1, zram)
        device = swap.device or self.config.block
        number = self.folio_io.add_device(
            block_device(swap.filename, device, device.nr_requests)
        )
        rotational = int(device.rotational)
        return self.swap.swapon(
            swap.filename, size_pages, swap.priority, DISK, rotational, number
        )


def block_device(name: str, config: BlockConfig, nr_requests: int = 0) -> BlockDevice:
    """A device of the described speed; `nr_requests` that it takes at once, 0 for any number."""
    # DIFFERS: the device of files takes any number of requests, as does swap on it beside them; a
    # real one makes the flusher wait; bends who waits when files and swap share a slow disk
    return BlockDevice(
        name,
        config.latency_ns,
        config.read_bytes_per_s,
        0,
        int(config.rotational),
        config.burst_ns,
        nr_requests=nr_requests,
        write_bytes_per_s=config.write_bytes_per_s,
    )
