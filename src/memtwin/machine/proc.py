"""Owns how a booted kernel's rooms are handed to observe, so that it answers for /proc.

Imports boot's Kernel, process and observe's twin side. It reads and never changes anything.
"""

from __future__ import annotations

from memtwin.machine.boot import Kernel
from memtwin.observe.layout import load_layout
from memtwin.observe.swaps import ZramMmStat
from memtwin.observe.twin import Pages, TwinRooms, TwinTexts
from memtwin.observe.twin_process import ProcessTexts, ProcessView
from memtwin.observe.twin_smaps import SmapsWalk
from memtwin.observe.twin_stores import slab_rows, swap_rows, zram_mm_stat
from memtwin.page_cache.constants import BLOCK_DEVICE


def twin_texts(kernel: Kernel) -> TwinTexts:
    """The kernel as a source of texts; make it after booting, before anything runs."""

    def view_of(pid: int) -> ProcessView | None:
        task = next((task for task in kernel.tasks.all if task.pid == pid), None)
        if task is None:
            return None
        group = kernel.memcgs.names[task.memcg_id]
        return ProcessView(task, oom_score=kernel.oom.oom_score(task), cgroup_path=f"/{group}")

    walk = SmapsWalk(kernel.tables, kernel.mem, kernel.swap.swap_count)
    processes = ProcessTexts(walk, load_layout(kernel.config.layout), view_of)
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
    return TwinTexts(rooms, kernel.config.start_texts)


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
    )
