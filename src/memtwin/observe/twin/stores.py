"""Owns how the twin's slab caches, swap areas and zram devices become records.

Imports slab, swap and the records. Knows nothing of who uses them.
"""

from __future__ import annotations

from memtwin.observe.slabinfo import SlabRow
from memtwin.observe.swaps import SwapRow, ZramMmStat
from memtwin.slab.slub import Slub
from memtwin.swap.swap import Swap
from memtwin.swap.zram import Zram
from memtwin.units import PAGE_SIZE, pages_to_kib


def slab_rows(slub: Slub) -> list[SlabRow]:
    """The caches of the twin, as /proc/slabinfo counts them (mm/slub.c get_slabinfo(), v6.12)."""
    return [
        SlabRow(
            name=cache.name,
            active_objs=int(cache.active_objs()),
            num_objs=int(cache.num_objs),
            objsize_bytes=int(cache.size_bytes),
            objs_per_slab=int(cache.objs_per_slab),
            pages_per_slab=1 << cache.order,
            active_slabs=int(cache.num_slabs),
            num_slabs=int(cache.num_slabs),
        )
        for cache in slub.caches
    ]


def swap_rows(swap: Swap) -> list[SwapRow]:
    """The swap areas of the twin, in order of their numbers."""
    return [
        SwapRow(
            filename=device.name,
            kind="partition",
            size_kib=pages_to_kib(int(device.pages)),
            used_kib=pages_to_kib(int(device.inuse_pages)),
            priority=int(device.prio),
        )
        for device in swap.devices
    ]


def zram_mm_stat(zram: Zram) -> ZramMmStat:
    """The device's mm_stat (drivers/block/zram/zram_drv.c mm_stat_show(), v6.12)."""
    return ZramMmStat(
        orig_data_bytes=int(zram.pages_stored) * PAGE_SIZE,
        compr_data_bytes=int(zram.compr_data_size),
        mem_used_bytes=int(zram.pool.pages_allocated) * PAGE_SIZE,
        mem_limit_bytes=int(zram.mem_limit) * PAGE_SIZE,
        mem_used_max_bytes=int(zram.mem_used_max) * PAGE_SIZE,
        same_pages=int(zram.same_pages),
        # DIFFERS: zspages are never compacted; the kernel's shrinker does; bends mm_stat's seventh
        pages_compacted=0,
        huge_pages=int(zram.huge_pages),
        huge_pages_since=int(zram.huge_pages_since),
    )
