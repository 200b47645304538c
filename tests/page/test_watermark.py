"""Watermarks and reserves against figures that real kernels printed (6.1, 256 MiB and 1 GiB)."""

from __future__ import annotations

import pytest

from memtwin.page.boot_layout import MemoryRange, boot_page_alloc
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat_items import NR_FREE_PAGES

LOW = [MemoryRange(1, 159), MemoryRange(256, 65501)]
THREE_ZONES = [MemoryRange(1, 159), MemoryRange(256, 131037), MemoryRange(1048576, 1179648)]


def machine(
    ranges: list[MemoryRange], kernel: int, managed: list[int], bits: int = 64
) -> PageAlloc:
    tunables = Tunables(kernel, 1)
    page_alloc, _ = boot_page_alloc(ranges, kernel, bits=bits, tunables=tunables)
    for zone, pages in zip(page_alloc.zones.populated(), managed, strict=True):
        zone.managed_pages = pages
    return page_alloc


def test_spanned_and_present_follow_from_the_memory_map() -> None:
    page_alloc, _ = boot_page_alloc(THREE_ZONES, 601)
    shown = [(z.spanned_pages, z.present_pages) for z in page_alloc.zones.populated()]
    assert shown == [(4095, 3998), (1044480, 126941), (131072, 131072)]


@pytest.mark.parametrize(
    ("min_free_kbytes", "scale", "dma", "dma32"),
    [
        # min, low, high of each zone: /proc/zoneinfo of 6.1 with 3840 and 51489 managed pages
        (1024, 10, (17, 21, 25), (238, 297, 356)),
        (8192, 100, (142, 180, 218), (1905, 2419, 2933)),
        (8192, 1000, (142, 526, 910), (1905, 7053, 12201)),
        (2003, 333, (34, 161, 288), (465, 2179, 3893)),
    ],
)
def test_min_low_and_high_are_the_kernels(
    min_free_kbytes: int, scale: int, dma: tuple[int, ...], dma32: tuple[int, ...]
) -> None:
    page_alloc = machine(LOW, 601, [3840, 51489])
    page_alloc.tunables.min_free_kbytes = min_free_kbytes
    page_alloc.tunables.watermark_scale_factor = scale
    page_alloc.setup_per_zone_wmarks()
    shown = [(z.wmark_min, z.wmark_low, z.wmark_high) for z in page_alloc.zones.populated()]
    assert shown == [dma, dma32]
    # the lists' size follows the low watermark
    assert page_alloc.pcp_of(1, 0).high == max(dma32[1], 60)


def test_protection_is_what_higher_zones_hold_over_the_ratio_and_0_switches_it_off() -> None:
    page_alloc = machine(THREE_ZONES, 601, [3840, 102454, 125706])
    page_alloc.setup_per_zone_lowmem_reserve()
    dma, dma32, normal = page_alloc.zones.populated()
    assert list(dma.lowmem_reserve) == [0, 400, 891, 891, 891]
    assert list(dma32.lowmem_reserve) == [0, 0, 491, 491, 491]
    assert list(normal.lowmem_reserve) == [0, 0, 0, 0, 0]
    page_alloc.tunables.lowmem_reserve_ratio = [0, 0, 0, 0, 0]
    page_alloc.setup_per_zone_lowmem_reserve()
    assert not any(any(z.lowmem_reserve) for z in page_alloc.zones.zones)


def test_a_32_bit_machine_has_highmem_that_starts_inside_a_page_block() -> None:
    ranges = [MemoryRange(1, 159), MemoryRange(256, 393178)]
    page_alloc = machine(ranges, 601, [3840, 212949, 167900], bits=32)
    page_alloc.tunables.lowmem_reserve_ratio = [256, 32, 0, 0]
    page_alloc.tunables.min_free_kbytes = 3706
    page_alloc.setup_per_zone_wmarks()
    page_alloc.setup_per_zone_lowmem_reserve()
    dma, normal, high = page_alloc.zones.populated()
    assert (high.name, high.start_pfn, high.spanned_pages) == ("HighMem", 225278, 167900)
    assert (high.wmark_min, high.wmark_low, high.wmark_high) == (128, 307, 486)
    assert list(dma.lowmem_reserve)[:4] == [0, 831, 1487, 1487]
    assert list(normal.lowmem_reserve)[:4] == [0, 0, 5246, 5246]
    assert page_alloc.zones.zone_of(225277) == normal.zone_id
    assert page_alloc.zones.zone_of(225278) == high.zone_id


def test_an_empty_movable_zone_has_watermarks_on_612_and_none_on_61() -> None:
    for kernel, least in ((601, 0), (612, 32)):
        page_alloc, _ = boot_page_alloc(LOW, kernel)
        assert page_alloc.zones.zones[3].wmark_min == least


def test_totalreserve_is_high_plus_the_largest_protection_but_no_more_than_a_zone_has() -> None:
    page_alloc = machine(THREE_ZONES, 601, [3840, 102454, 125706])
    page_alloc.setup_per_zone_wmarks()
    page_alloc.setup_per_zone_lowmem_reserve()
    parts = [
        min(z.wmark_high + max(z.lowmem_reserve), z.managed_pages)
        for z in page_alloc.zones.populated()
    ]
    assert page_alloc.zones.totalreserve_pages == sum(parts)
    # nothing is cached: what is free and not reserved is available
    free = page_alloc.vmstat.global_zone_page_state(NR_FREE_PAGES)
    assert page_alloc.si_mem_available() == free - sum(parts)


def test_booting_chooses_min_free_as_the_kernel_does() -> None:
    page_alloc = machine(LOW, 601, [3840, 51489])
    # mm/page_alloc.c calculate_min_free_kbytes(), v6.1: int_sqrt(lowmem_kbytes * 16)
    assert page_alloc.watermarks.default_min_free_kbytes(0) == 1881
    big, _ = boot_page_alloc([MemoryRange(1, 159), MemoryRange(256, 1 << 21)], 601)
    # mm/khugepaged.c set_recommended_min_free_kbytes(), v6.12: 3 zones * 512 * 11 pages
    assert big.watermarks.default_min_free_kbytes(1) == 67584
