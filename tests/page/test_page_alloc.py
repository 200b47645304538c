"""The allocator's face: watermarks stop it, frames are conserved, requests go where they may."""

from __future__ import annotations

import random
import resource

import pytest

from memtwin.page.boot_layout import MemoryRange, boot_page_alloc
from memtwin.page.flags import PG_HEAD, PG_TAIL
from memtwin.page.gfp import (
    ALLOC_NO_WATERMARKS,
    GFP_ATOMIC,
    GFP_COMP,
    GFP_DMA,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    GFP_RECLAIMABLE,
    GFP_THISNODE,
    NEED_RECLAIM,
)
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat_items import (
    NR_FREE_PAGES,
    NUMA_FOREIGN,
    NUMA_HIT,
    NUMA_LOCAL,
    NUMA_MISS,
    PGALLOC_DMA,
    PGALLOC_DMA32,
    PGFREE,
)

KERNELS = pytest.mark.parametrize("kernel", [601, 612])
RAM_256M = [MemoryRange(1, 159), MemoryRange(256, 65536)]


def fill(page_alloc: PageAlloc, gfp: int, order: int = 0) -> list[int]:
    pfns = []
    while (pfn := page_alloc.alloc_fast(gfp, order)) >= 0:
        pfns.append(pfn)
    assert pfn == NEED_RECLAIM
    return pfns


@KERNELS
def test_the_fast_path_stops_just_below_the_low_watermark(kernel: int) -> None:
    page_alloc, _ = boot_page_alloc(RAM_256M, kernel)
    fill(page_alloc, GFP_HIGHUSER_MOVABLE)
    for zone in page_alloc.zones.populated():
        floor = zone.wmark_low + zone.watermark_boost + zone.lowmem_reserve[3]
        batch = page_alloc.pcp_of(zone.zone_id, 0).batch << 5
        free = page_alloc.vmstat.zone_page_state(zone.zone_id, NR_FREE_PAGES)
        assert floor - batch <= free <= floor
    page_alloc.verify()


@KERNELS
def test_atomic_requests_go_deeper_than_ordinary_ones_and_memalloc_to_the_end(kernel: int) -> None:
    page_alloc, _ = boot_page_alloc(RAM_256M, kernel)
    pfns = fill(page_alloc, GFP_KERNEL)

    def drain(gfp: int, alloc_flags: int) -> int:
        count = 0
        while (pfn := page_alloc.get_page_from_freelist(gfp, 0, alloc_flags)) >= 0:
            pfns.append(pfn)
            count += 1
        return count

    assert drain(GFP_KERNEL, page_alloc.gfp_to_alloc_flags(GFP_KERNEL, 0)) > 0  # low to min
    assert drain(GFP_ATOMIC, page_alloc.gfp_to_alloc_flags(GFP_ATOMIC, 0)) > 0  # below min
    assert drain(GFP_KERNEL, ALLOC_NO_WATERMARKS) > 0
    page_alloc.drain_all_pages()
    assert page_alloc.vmstat.global_zone_page_state(NR_FREE_PAGES) == 0
    assert len(set(pfns)) == len(pfns)
    for pfn in pfns:
        page_alloc.put_page(pfn)
    page_alloc.verify()


@KERNELS
@pytest.mark.parametrize("seed", range(3))
def test_frames_are_conserved_and_blocks_merge_again(kernel: int, seed: int) -> None:
    page_alloc, _ = boot_page_alloc(RAM_256M, kernel)
    zone = page_alloc.zones.zones[1]
    page_alloc.buddy.thread_all(zone)
    before = page_alloc.vmstat.global_zone_page_state(NR_FREE_PAGES)
    rng = random.Random(seed)
    held: dict[int, int] = {}
    frames: set[int] = set()
    for _ in range(4000):
        if held and rng.random() < 0.48:
            pfn = rng.choice(list(held))
            frames -= set(range(pfn, pfn + (1 << held.pop(pfn))))
            page_alloc.put_page(pfn)
            continue
        order = rng.choice((0, 0, 0, 0, 0, 1, 2, 3, 4, 6, 9))
        gfp = rng.choice((GFP_HIGHUSER_MOVABLE, GFP_KERNEL, GFP_KERNEL | GFP_RECLAIMABLE))
        pfn = page_alloc.alloc_fast(gfp | (GFP_COMP if order else 0), order)
        if pfn < 0:
            continue
        block = set(range(pfn, pfn + (1 << order)))
        assert pfn % (1 << order) == 0
        assert not block & frames, "a frame was given out twice"
        frames |= block
        held[pfn] = order
    page_alloc.verify()
    on_lists = sum(pcp.count for pcp in page_alloc.pcps)
    free = page_alloc.vmstat.global_zone_page_state(NR_FREE_PAGES)
    assert free + on_lists + len(frames) == before
    for pfn in held:
        page_alloc.put_page(pfn)
    page_alloc.drain_all_pages()
    page_alloc.verify()
    assert page_alloc.vmstat.global_zone_page_state(NR_FREE_PAGES) == before
    allocated = page_alloc.vmstat.event[PGALLOC_DMA32] + page_alloc.vmstat.event[PGALLOC_DMA]
    assert page_alloc.vmstat.event[PGFREE] == allocated


def test_a_compound_block_has_a_head_and_tails_and_splits_into_frames() -> None:
    page_alloc, _ = boot_page_alloc(RAM_256M, 612)
    pfn = page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE | GFP_COMP, 9)
    mem_map = page_alloc.mem_map
    assert mem_map.flags[pfn] == PG_HEAD
    assert mem_map.order[pfn] == 9
    assert all(mem_map.flags[pfn + i] == PG_TAIL for i in range(1, 512))
    assert page_alloc.compound.head_of(pfn + 511) == pfn
    assert page_alloc.split_page(pfn) == 9
    for at in range(pfn, pfn + 512):
        assert page_alloc.put_page(at) == 1
    page_alloc.drain_all_pages()
    page_alloc.verify()


def test_a_dma_request_stays_in_the_dma_zone() -> None:
    page_alloc, _ = boot_page_alloc(RAM_256M, 612)
    for pfn in fill(page_alloc, GFP_KERNEL | GFP_DMA)[:50]:
        assert page_alloc.zones.zone_of(pfn) == 0


def two_nodes(kernel: int) -> PageAlloc:
    ranges = [MemoryRange(0, 159), MemoryRange(256, 65536), MemoryRange(65536, 131072, node=1)]
    page_alloc, _ = boot_page_alloc(ranges, kernel, nr_cpus=4, nodes=2)
    return page_alloc


@KERNELS
def test_each_cpu_is_served_from_its_own_node_first_and_counts_misses_after(kernel: int) -> None:
    page_alloc = two_nodes(kernel)
    stat = page_alloc.vmstat
    assert page_alloc.set_cpu(3) == 1
    pfns = fill(page_alloc, GFP_HIGHUSER_MOVABLE | GFP_THISNODE)
    assert all(pfn >= 65536 for pfn in pfns)
    near = page_alloc.zones.nr_types + 1
    assert stat.zone_page_state(near, NUMA_HIT) == len(pfns)
    assert stat.zone_page_state(near, NUMA_LOCAL) == len(pfns)
    pfn = page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0)
    assert 0 <= pfn < 65536
    assert stat.zone_page_state(1, NUMA_MISS) == 1
    assert stat.zone_page_state(near, NUMA_FOREIGN) == 1
    page_alloc.set_cpu(0)
    for each in [*pfns, pfn]:
        page_alloc.put_page(each)
    page_alloc.drain_all_pages()
    page_alloc.verify()


def test_a_tebibyte_boots_without_touching_its_frames() -> None:
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    page_alloc, _ = boot_page_alloc([MemoryRange(1, 159), MemoryRange(256, 1 << 28)], 612, 64)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 100 * 1024
    zone = page_alloc.zones.zones[2]
    assert zone.deferred_end_pfn - zone.deferred_start_pfn > 250_000_000
    assert page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0) >= 0
