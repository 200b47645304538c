"""Owns how a booted kernel's rooms are handed to observe, so that it answers for /proc.

Imports boot's Kernel, process and observe's twin side. It reads and never changes anything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from memtwin.address_space.vm_flags import VM_HUGEPAGE, VM_NOHUGEPAGE
from memtwin.address_space.vma import VMA
from memtwin.file_io.open_file import OpenFile
from memtwin.hardware.block_device import BlockDevice
from memtwin.machine.boot import Kernel
from memtwin.machine.description import KERNELS
from memtwin.machine.pressure import Pressures
from memtwin.machine.scheduler import Scheduler
from memtwin.observe.layout import load_layout
from memtwin.observe.swaps import ZramMmStat
from memtwin.observe.system import DISKSTATS_PATH
from memtwin.observe.twin.kmemleak import kmemleak_text
from memtwin.observe.twin.maps import Backing, MapsTexts
from memtwin.observe.twin.process import ProcessTexts, ProcessView
from memtwin.observe.twin.smaps import SmapsWalk
from memtwin.observe.twin.source import Pages, TwinRooms, TwinTexts
from memtwin.observe.twin.stores import slab_rows, swap_rows, zram_mm_stat
from memtwin.observe.twin.sysfs import Content, SysTexts
from memtwin.observe.twin.system import DiskView, SystemTexts, SystemView
from memtwin.observe.twin.tree import Member, TwinTree
from memtwin.observe.twin.vmalloc import vmalloc_area
from memtwin.observe.vmallocinfo import PATH as VMALLOC_PATH
from memtwin.observe.vmallocinfo import VmallocArea
from memtwin.page.tunables import THP_MADVISE, THP_NEVER
from memtwin.page_cache.constants import BLOCK_DEVICE
from memtwin.process.kernel_objects import VMALLOC
from memtwin.process.kmemleak import PATH as KMEMLEAK
from memtwin.process.mmap import is_stack
from memtwin.units import PAGE_SIZE


def twin_texts(kernel: Kernel, scheduler: Scheduler, pressures: Pressures) -> TwinTexts:
    """The kernel as a source of texts; make it after booting, before anything runs."""
    accounts = scheduler.accounts

    def view_of(pid: int) -> ProcessView | None:
        task = next((task for task in kernel.tasks.all if task.pid == pid), None)
        if task is None:
            return None
        group = kernel.memcgs.names[task.memcg_id]
        times = task.times if accounts is None else accounts.times_of(task)
        return ProcessView(
            task,
            times=times,
            state=scheduler.state(str(pid)) if task.alive else "Z",
            oom_score=kernel.oom.oom_score(task),
            cgroup_path=f"/{group}",
            cgroup_version=int(kernel.memcgs.version),
        )

    def shmem_swapped(vma: VMA) -> int:
        first, pages = int(vma.pgoff), int(vma.end_vpn - vma.start_vpn)
        return int(kernel.shmem.swap_usage(vma.mapping_id, first, first + pages))

    walk = SmapsWalk(kernel.tables, kernel.mem, kernel.swap.swap_count, shmem_swapped)
    layout = load_layout(kernel.config.layout)
    areas = MapsTexts(
        walk,
        layout,
        lambda vma: _backing(kernel, vma),
        lambda vma: _huge_pages_for(kernel, vma),
    )
    processes = ProcessTexts(walk, layout, view_of, areas)
    rooms = TwinRooms(
        layout=kernel.config.layout,
        page_alloc=kernel.page_alloc,
        memcg=kernel.memcgs,
        pages=lambda: _pages(kernel),
        slabs=lambda: slab_rows(kernel.slub),
        swaps=lambda: swap_rows(kernel.swap),
        zrams=lambda: _zrams(kernel),
        process_text=processes.text,
        kswapd_failures=lambda node: int(kernel.vmscan.kswapd_failures[node]),
    )
    rooms.stacks = lambda: _stacks(kernel)
    rooms.vmalloc_objects = lambda: _vmalloc_objects(kernel)
    rooms.pressure = pressures.text
    start = dict(kernel.config.start_texts)
    recorded = kernel.config.setup_texts.get(VMALLOC_PATH)
    if recorded is not None:
        start.setdefault(VMALLOC_PATH, recorded)
    return TwinTexts(rooms, start)


def _stacks(kernel: Kernel) -> dict[int, dict[int, int]]:
    return {first: _by_node(kernel, frames) for first, frames in kernel.stacks.stacks.items()}


def _by_node(kernel: Kernel, frames: Iterable[int]) -> dict[int, int]:
    zones = kernel.zones
    return dict(Counter(zones.zone_of(pfn) // zones.nr_types for pfn in frames))


def _vmalloc_objects(kernel: Kernel) -> list[VmallocArea]:
    objects = kernel.kernel_objects.objects
    return [
        vmalloc_area(pointer, f"{one.trace[0]}+0x0/0x0", _by_node(kernel, one.frames))
        for pointer, one in sorted(objects.items())
        if one.kind == VMALLOC
    ]


def _zrams(kernel: Kernel) -> dict[str, ZramMmStat]:
    zrams = [zram for zram in kernel.swap.zrams if zram is not None]
    return {zram.name.removeprefix("/dev/"): zram_mm_stat(zram) for zram in zrams}


def _pages(kernel: Kernel) -> Pages:
    limits = kernel.file_rooms.limits
    kept = limits.bg_thresh, limits.thresh
    limits.domain_dirty_limits()  # as reading /proc/vmstat does: mm/vmstat.c vmstat_start(), v6.12
    background, threshold = limits.bg_thresh, limits.thresh
    limits.bg_thresh, limits.thresh = kept
    mappings = kernel.page_cache.mappings
    return Pages(
        swap_total=int(kernel.swap.total_swap_pages),
        swap_free=int(kernel.swap.nr_swap_pages),
        committed=kernel.overcommit.committed_pages,
        buffers=sum(m.nr_pages for m in mappings if m is not None and m.kind == BLOCK_DEVICE),
        dirty_threshold=threshold,
        dirty_background_threshold=background,
        vmalloc_used=kernel.stacks.nr_pages() + kernel.kernel_objects.vmalloc_pages,
    )


# the whole tree ---------------------------------------------------------------------------------

# MODEL: disks are virtio's (vda, vdb ...), zram devices come behind them: block/genhd.c numbers
# both when they are added, v6.12
_VIRTIO_MAJOR, _ZRAM_MAJOR, _MINORS_A_DISK = 254, 252, 16


def twin_tree(kernel: Kernel, texts: TwinTexts, scheduler: Scheduler) -> TwinTree:
    """The kernel as a tree of /proc and /sys; make it after booting, before anything runs."""

    def view() -> SystemView:
        return _system_view(kernel, scheduler)

    def members() -> list[Member]:
        return [Member(task.pid, task.memcg_id) for task in kernel.tasks.alive()]

    system = SystemTexts(view, kernel.config.start_texts)
    return TwinTree(texts, system, SysTexts(texts, view, lambda: _debugfs(kernel)), members)


def _debugfs(kernel: Kernel) -> dict[str, Content]:
    """What lies below /sys/kernel/debug: kmemleak, of a kernel in which a script runs code."""
    # MODEL: such a kernel is built with CONFIG_DEBUG_KMEMLEAK
    if not kernel.kernel_objects.is_used:
        return {}
    return {KMEMLEAK: lambda: kmemleak_text(kernel.kmemleak.leaks(), kernel.config.kernel)}


def _system_view(kernel: Kernel, scheduler: Scheduler) -> SystemView:
    config, tasks = kernel.config, kernel.tasks
    running, blocked = scheduler.load()
    named = {number: name for name, number in KERNELS.items()}
    return SystemView(
        now_ns=int(kernel.clock.now_ns),
        cpu_ns=int(kernel.clock.cpu_ns) + int(kernel.clock.beside_ns),
        user_ns=int(kernel.clock.user_ns),
        nr_cpus=config.nr_cpus,
        tasks_made=tasks.next_pid - 1,
        running=running,
        blocked=blocked,
        threads=len(tasks.alive()),
        last_pid=tasks.next_pid - 1,
        # MODEL: a described kernel is some build of its version
        release=config.kernel_release or f"{named[config.kernel]}.0-memtwin",
        machine=config.arch,
        disks=_disks(kernel),
    )


def _disks(kernel: Kernel) -> list[DiskView]:
    swaps = {swap.filename: swap for swap in kernel.config.swap}
    found = []
    for device in kernel.folio_io.devices:
        swap = swaps.get(device.name)
        if swap is None:
            found.append(_disk(device, _files_disk_name(kernel), kernel.file_rooms.disk_bytes))
        else:
            found.append(_disk(device, swap.filename.rpartition("/")[2], swap.size_bytes))
    for number, zram in enumerate(z for z in kernel.swap.zrams if z is not None):
        name, size = zram.name.removeprefix("/dev/"), int(zram.size_pages) * PAGE_SIZE
        found.append(DiskView(name, _ZRAM_MAJOR, number, size, algorithm=zram.algorithm))
    return found


def _files_disk_name(kernel: Kernel) -> str:
    """The disk of the file system: vda, or on a recorded machine the second one, if not swap's."""
    taken = {swap.filename for swap in kernel.config.swap}
    recorded = " vdb " in kernel.config.start_texts.get(DISKSTATS_PATH, "")
    letters = "b" * recorded + "abcdefgh"
    return next(f"vd{letter}" for letter in letters if f"/dev/vd{letter}" not in taken)


def _disk(device: BlockDevice, name: str, size_bytes: int) -> DiskView:
    letter = name[-1] if name.startswith("vd") and len(name) == 3 else "a"
    return DiskView(
        name=name,
        major=_VIRTIO_MAJOR,
        minor=(ord(letter) - ord("a")) * _MINORS_A_DISK,
        size_bytes=size_bytes,
        rotational=bool(device.rotational),
        reads=int(device.nr_reads),
        pages_read=int(device.pages_read),
        writes=int(device.nr_writes),
        pages_written=int(device.pages_written),
    )


def _backing(kernel: Kernel, vma: VMA) -> Backing:
    file = vma.file
    assert isinstance(file, OpenFile), f"machine.proc: area at {vma.start_vpn:#x} has no file"
    inode = file.inode
    if inode is None:
        # MODEL: the recorded machines' PID 1 is /init of their initramfs, device 0:2
        return Backing("/init", 0, 2, int(file.mapping.ino), False)
    path = kernel.file_rooms.shown_paths.get(inode.ino) or kernel.files.path_of(inode)
    return Backing(path, _VIRTIO_MAJOR, 0, inode.ino, bool(file.writable))


def _huge_pages_for(kernel: Kernel, vma: VMA) -> bool:
    """Whether the mode and the area's advice allow huge pages (hugepage_vma_check(), v6.1)."""
    mode = kernel.tunables.thp_enabled
    if mode == THP_NEVER or vma.vm_flags & VM_NOHUGEPAGE or is_stack(vma):
        return False
    return mode != THP_MADVISE or bool(vma.vm_flags & VM_HUGEPAGE)
