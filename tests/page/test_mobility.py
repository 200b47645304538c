"""Falling back: a request whose type has no free block takes one of another type, by version."""

from __future__ import annotations

import pytest

from memtwin.page import fragmentation
from memtwin.page.boot_layout import MemoryRange, boot_page_alloc
from memtwin.page.flags import (
    MIGRATE_HIGHATOMIC,
    MIGRATE_MOVABLE,
    MIGRATE_UNMOVABLE,
    PAGEBLOCK_SHIFT,
    PG_LRU,
)
from memtwin.page.gfp import (
    ALLOC_NO_WATERMARKS,
    GFP_ATOMIC,
    GFP_HIGHUSER_MOVABLE,
    GFP_KERNEL,
    NEED_RECLAIM,
)
from memtwin.page.page_alloc import PageAlloc

KERNELS = pytest.mark.parametrize("kernel", [601, 612])


def machine(kernel: int) -> PageAlloc:
    page_alloc, _ = boot_page_alloc([MemoryRange(1, 159), MemoryRange(256, 65536)], kernel)
    return page_alloc


def block_type(page_alloc: PageAlloc, pfn: int) -> int:
    return page_alloc.zones.block_type[pfn >> PAGEBLOCK_SHIFT]


@KERNELS
def test_an_unmovable_request_takes_over_the_largest_movable_block(kernel: int) -> None:
    page_alloc = machine(kernel)
    zone = page_alloc.zones.zones[1]
    blocks = fragmentation.free_by_type(page_alloc.buddy, zone, MIGRATE_MOVABLE)[10]
    pfn = page_alloc.alloc_fast(GFP_KERNEL, 0)
    assert block_type(page_alloc, pfn) == MIGRATE_UNMOVABLE
    assert block_type(page_alloc, pfn ^ 512) == MIGRATE_UNMOVABLE
    left = fragmentation.free_by_type(page_alloc.buddy, zone, MIGRATE_MOVABLE)[10]
    assert left == blocks - 1
    # the next ones come from the same block
    assert page_alloc.alloc_fast(GFP_KERNEL, 0) >> 10 == pfn >> 10
    page_alloc.verify()


@KERNELS
def test_a_fallback_below_page_block_size_boosts_the_watermarks(kernel: int) -> None:
    page_alloc = machine(kernel)
    zone = page_alloc.zones.zones[1]
    pfns = []
    while (pfn := page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0)) >= 0:
        page_alloc.mem_map.flags[pfn] |= PG_LRU
        pfns.append(pfn)
    page_alloc.drain_all_pages()
    for pfn in pfns[::-2]:  # scattered holes, no block of page block size
        page_alloc.mem_map.flags[pfn] &= ~PG_LRU
        page_alloc.put_page(pfn)
    page_alloc.drain_all_pages()
    zone.watermark_boost = 0
    for _ in range(20000):
        if page_alloc.alloc_fast(GFP_KERNEL, 0) == NEED_RECLAIM or zone.watermark_boost:
            break
    assert zone.watermark_boost
    assert page_alloc.boosted_zone == zone.zone_id  # kswapd is to be woken
    page_alloc.verify()


@KERNELS
def test_a_high_order_atomic_request_reserves_its_page_block_up_to_the_limit(kernel: int) -> None:
    page_alloc = machine(kernel)
    zone = page_alloc.zones.zones[1]
    flags = page_alloc.gfp_to_alloc_flags(GFP_ATOMIC, 3)
    for _ in range(400):
        pfn = page_alloc.get_page_from_freelist(GFP_ATOMIC, 3, flags)
        assert pfn >= 0
    # mm/page_alloc.c reserve_highatomic_pageblock(), v6.1: 1 % and a block; v6.12: 1 % rounded up
    limit = zone.managed_pages // 100 + 512 if kernel == 601 else 1024
    assert 0 < zone.nr_reserved_highatomic < limit + 512
    counts = fragmentation.block_counts(page_alloc.buddy, zone)
    assert counts[MIGRATE_HIGHATOMIC] == zone.nr_reserved_highatomic // 512
    page_alloc.verify()
    freed = page_alloc.mobility.unreserve_highatomic(zone, MIGRATE_MOVABLE, 1)
    assert freed > 0
    page_alloc.verify()


def test_a_movable_request_on_612_steals_one_page_when_no_block_can_be_claimed() -> None:
    page_alloc = machine(612)
    zone = page_alloc.zones.zones[1]
    kernel_pfns = []
    # every frame goes to the kernel, then single frames of every page block come back
    while (pfn := page_alloc.get_page_from_freelist(GFP_KERNEL, 0, ALLOC_NO_WATERMARKS)) >= 0:
        kernel_pfns.append(pfn)
    page_alloc.drain_all_pages()
    for pfn in kernel_pfns[::4]:
        page_alloc.put_page(pfn)
    page_alloc.drain_all_pages()
    before = page_alloc.mobility.nr_fallbacks
    counts = fragmentation.block_counts(page_alloc.buddy, zone)
    while page_alloc.mobility.nr_fallbacks == before:
        assert page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0) >= 0
    stolen = [page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0) for _ in range(600)]
    assert any(block_type(page_alloc, pfn) == MIGRATE_UNMOVABLE for pfn in stolen)
    # the page blocks keep their types
    assert fragmentation.block_counts(page_alloc.buddy, zone) == counts
    page_alloc.verify()
