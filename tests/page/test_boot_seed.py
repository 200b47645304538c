"""A zone seeded from a real start shows what the start showed, and keeps showing it."""

from __future__ import annotations

import random

import pytest

from memtwin.errors import UserError
from memtwin.page import fragmentation
from memtwin.page.boot_layout import (
    BootPages,
    MemoryRange,
    aligned_blocks,
    boot_page_alloc,
    build_zones,
    ranges_from_iomem,
)
from memtwin.page.boot_seed import PagesetSeed, ZoneSeed, seed_zone
from memtwin.page.gfp import GFP_HIGHUSER_MOVABLE, GFP_KERNEL
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat

RANGES = [MemoryRange(1, 159), MemoryRange(256, 65501)]
# DMA32 of a 256 MiB machine after booting 6.1: free blocks of orders 0 .. 10 by type
UNMOVABLE = (1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1)
MOVABLE = (1, 1, 1, 1, 0, 0, 8, 8, 4, 2, 37)
RECLAIMABLE = (1, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0)
ROWS = (UNMOVABLE, MOVABLE, RECLAIMABLE)


def dma32_seed(rows: tuple[tuple[int, ...], ...] = ROWS, pcp_count: int = 561) -> ZoneSeed:
    blocks = {(o, kind): n for kind, row in enumerate(rows) for o, n in enumerate(row)}
    return ZoneSeed(
        managed_pages=51489,
        spanned_pages=61405,
        present_pages=61405,
        wmark_min=426,
        wmark_low=532,
        wmark_high=638,
        watermark_boost=0,
        lowmem_reserve=[0, 0, 0, 0, 0],
        free_blocks=blocks,
        block_counts={0: 12, 1: 102, 2: 6},
        pagesets=[PagesetSeed(pcp_count, 532, 15)],
    )


def seeded(seed: ZoneSeed) -> tuple[PageAlloc, BootPages]:
    zones = build_zones(RANGES, 601, 1, 1)
    vmstat = VmStat(zones.nr_zones, 1)
    page_alloc = PageAlloc(MemMap(zones.nr_frames), zones, vmstat, Tunables(601, 1), [0])
    boot = BootPages(zones.nr_zones)
    seed_zone(page_alloc, boot, zones.zones[1], RANGES, seed)
    page_alloc.set_cpu(0)
    return page_alloc, boot


def test_lists_page_blocks_and_per_cpu_count_are_those_of_the_start() -> None:
    page_alloc, boot = seeded(dma32_seed())
    zone = page_alloc.zones.zones[1]
    for kind, row in enumerate(ROWS):
        assert fragmentation.free_by_type(page_alloc.buddy, zone, kind) == list(row)
    assert fragmentation.block_counts(page_alloc.buddy, zone)[:3] == [12, 102, 6]
    pcp = page_alloc.pcp_of(1, 0)
    assert (pcp.count, pcp.high, pcp.batch) == (561, 532, 15)
    free = sum(n << o for row in ROWS for o, n in enumerate(row))
    assert boot.count(1) == 61405 - free - 561
    page_alloc.verify()
    page_alloc.zones.verify()


def test_what_is_allocated_and_freed_again_leaves_orders_4_and_up_as_they_were() -> None:
    page_alloc, _ = seeded(dma32_seed())
    page_alloc.drain_all_pages()
    zone = page_alloc.zones.zones[1]
    before = fragmentation.buddyinfo(page_alloc.buddy, zone)
    pfns = [page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0) for _ in range(20000)]
    random.Random(1).shuffle(pfns)
    for pfn in pfns:
        page_alloc.put_page(pfn)
    page_alloc.drain_all_pages()
    assert fragmentation.buddyinfo(page_alloc.buddy, zone) == before
    page_alloc.verify()


@pytest.mark.parametrize("seed", range(8))
def test_any_plausible_start_can_be_placed(seed: int) -> None:
    rng = random.Random(seed)
    rows = tuple(
        tuple(rng.randrange(most) for most in (9, 9, 7, 6, 5, 4, 4, 4, 3, 3, tops))
        for tops in (3, 35, 2)
    )
    page_alloc, _ = seeded(dma32_seed(rows, pcp_count=rng.randrange(700)))
    zone = page_alloc.zones.zones[1]
    for kind, row in enumerate(rows):
        assert fragmentation.free_by_type(page_alloc.buddy, zone, kind) == list(row)
    page_alloc.verify()


def test_a_start_with_more_free_blocks_than_frames_is_the_users_mistake() -> None:
    rows = (UNMOVABLE, (*MOVABLE[:10], 70), RECLAIMABLE)
    with pytest.raises(UserError, match=r"DMA32: found 71 free blocks of order 10"):
        seeded(dma32_seed(rows))


def test_boot_pages_are_handed_out_once_and_can_be_freed() -> None:
    page_alloc, boot = seeded(dma32_seed())
    left = boot.count(1)
    pfns = [boot.take(page_alloc.mem_map, 1, order) for order in (0, 0, 1, 3, 2, 0)]
    assert len(set(pfns)) == 6
    assert min(pfns) >= 4096
    assert boot.count(1) == left - (1 + 1 + 2 + 8 + 4 + 1)
    for pfn in pfns:
        page_alloc.put_page(pfn)
    page_alloc.verify()
    while boot.take(page_alloc.mem_map, 1) >= 0:
        left -= 1
    assert left == 17
    assert boot.count(1) == 0


def test_the_memory_map_is_read_from_iomem_by_whole_pages() -> None:
    text = (
        "00001000-0009fbff : System RAM\n0009fc00-0009ffff : Reserved\n"
        "00100000-0ffd6fff : System RAM\n  01000000-0216f05f : Kernel code\n"
    )
    assert ranges_from_iomem(text) == [MemoryRange(1, 159), MemoryRange(256, 65495)]


def test_a_memory_map_that_overlaps_or_is_empty_is_refused() -> None:
    for ranges in ([], [MemoryRange(0, 100), MemoryRange(50, 200)]):
        with pytest.raises(UserError, match="memory map"):
            build_zones(ranges, 601, 1, 1)


@pytest.mark.parametrize("seed", range(5))
def test_aligned_blocks_tile_a_range(seed: int) -> None:
    rng = random.Random(seed)
    start = rng.randrange(5000)
    end = start + rng.randrange(1, 9000)
    at = start
    for pfn, order in aligned_blocks(start, end):
        assert pfn == at
        assert pfn % (1 << order) == 0
        at += 1 << order
    assert at == end


def test_fragmentation_figures_tell_lack_of_memory_from_splitting() -> None:
    page_alloc, _ = boot_page_alloc(RANGES, 601)
    zone = page_alloc.zones.zones[1]
    assert fragmentation.unusable_index(page_alloc.buddy, zone, 0) == 0
    assert fragmentation.fragmentation_index(page_alloc.buddy, zone, 9) == -1000
    pfns = []
    while (pfn := page_alloc.alloc_fast(GFP_KERNEL, 0)) >= 0:
        pfns.append(pfn)
    page_alloc.drain_all_pages()
    for pfn in pfns[::2]:
        page_alloc.put_page(pfn)
    page_alloc.drain_all_pages()
    assert fragmentation.unusable_index(page_alloc.buddy, zone, 9) > 900
    counts = fragmentation.buddyinfo(page_alloc.buddy, zone)
    if not counts[10]:
        free = sum(n << o for o, n in enumerate(counts))
        expected = 1000 - (1000 + free * 1000 // 1024) // sum(counts)
        assert fragmentation.fragmentation_index(page_alloc.buddy, zone, 10) == expected > 900
