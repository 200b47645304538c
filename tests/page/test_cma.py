"""A contiguous memory area lends its frames to movable pages and gives out ranges of free ones."""

from memtwin.page.boot_layout import MemoryRange, boot_page_alloc
from memtwin.page.cma import CMA_BUSY, CmaArea
from memtwin.page.gfp import GFP_HIGHUSER_MOVABLE, GFP_KERNEL
from memtwin.page.vmstat_items import NR_FREE_CMA


def machine_with_area():
    page_alloc, _ = boot_page_alloc([MemoryRange(1, 159), MemoryRange(256, 65536)], 612)
    zone = page_alloc.zones.zones[1]
    area = CmaArea(page_alloc, zone, 32768 + 512, 32768 + 512 * 33)
    page_alloc.buddy.thread_all(zone)
    area.activate()
    return page_alloc, zone, area


def test_activating_counts_the_free_frames_of_the_area():
    page_alloc, zone, _area = machine_with_area()
    assert page_alloc.vmstat.zone_page_state(zone.zone_id, NR_FREE_CMA) == 32 * 512
    page_alloc.verify()


def test_kernel_pages_never_come_from_the_area_and_movable_ones_do():
    page_alloc, _, area = machine_with_area()
    for gfp, expected in ((GFP_KERNEL, 0), (GFP_HIGHUSER_MOVABLE, 1)):
        pfns = []
        while (pfn := page_alloc.alloc_fast(gfp, 0)) >= 0:
            pfns.append(pfn)
        inside = sum(area.start_pfn <= pfn < area.end_pfn for pfn in pfns)
        assert bool(inside) == bool(expected)
        for pfn in pfns:
            page_alloc.put_page(pfn)
        page_alloc.drain_all_pages()
        page_alloc.verify()


def test_a_range_is_given_out_whole_and_comes_back():
    page_alloc, zone, area = machine_with_area()
    before = page_alloc.vmstat.zone_page_state(zone.zone_id, NR_FREE_CMA)
    pfn = area.alloc(1000, 256)
    assert pfn % 256 == 0
    assert area.start_pfn <= pfn < area.end_pfn
    assert page_alloc.vmstat.zone_page_state(zone.zone_id, NR_FREE_CMA) == before - 1000
    page_alloc.verify()
    assert area.alloc(32 * 512) == CMA_BUSY
    area.release(pfn)
    page_alloc.drain_all_pages()
    assert page_alloc.vmstat.zone_page_state(zone.zone_id, NR_FREE_CMA) == before
    page_alloc.verify()
