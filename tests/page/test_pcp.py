"""Per-CPU lists: how many frames each drain gives back and each refill takes, by version."""

from __future__ import annotations

from memtwin.page.boot_layout import MemoryRange, boot_page_alloc
from memtwin.page.gfp import GFP_COMP, GFP_HIGHUSER_MOVABLE, GFP_KERNEL
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat_items import NR_FREE_PAGES

RAM_256M = [MemoryRange(1, 159), MemoryRange(256, 65536)]


def machine(kernel: int) -> PageAlloc:
    page_alloc, _ = boot_page_alloc(RAM_256M, kernel)
    page_alloc.tunables.min_free_kbytes = 1840
    page_alloc.setup_per_zone_wmarks()
    return page_alloc


def drains(page_alloc: PageAlloc, pfns: list[int]) -> list[int]:
    """Sizes of the drains while `pfns` are freed one after the other."""
    pcp = page_alloc.pcp_of(1, 0)
    found = []
    for pfn in pfns:
        before = pcp.count
        page_alloc.put_page(pfn)
        if pcp.count != before + 1:
            found.append(before + 1 - pcp.count)
    return found


def test_on_61_a_drain_doubles_until_an_allocation_halves_it() -> None:
    page_alloc = machine(601)
    pcp = page_alloc.pcp_of(1, 0)
    pfns = [page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0) for _ in range(3000)]
    batch, high = pcp.batch, pcp.high
    # mm/page_alloc.c nr_pcp_free(), v6.1: batch << factor, at most high - batch
    expected = [min(batch << factor, high - batch) for factor in range(5)]
    assert drains(page_alloc, pfns[:1600])[:5] == expected
    factor = pcp.free_factor
    page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0)
    assert pcp.free_factor == factor >> 1


def test_on_61_refills_take_one_batch_and_on_612_more_and_more() -> None:
    for kernel, growing in ((601, False), (612, True)):
        page_alloc = machine(kernel)
        batch = page_alloc.pcp_of(1, 0).batch
        free = page_alloc.vmstat.zone_page_state(1, NR_FREE_PAGES)
        refills = []
        for _ in range(400):
            page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0)
            left = page_alloc.vmstat.zone_page_state(1, NR_FREE_PAGES)
            if left != free:
                refills.append(free - left)
            free = left
        assert refills[0] == batch
        assert (max(refills) > batch) == growing


def test_on_61_lists_keep_4_batches_while_reclaim_is_active() -> None:
    page_alloc = machine(601)
    pcp = page_alloc.pcp_of(1, 0)
    pfns = [page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0) for _ in range(2000)]
    page_alloc.zones.zones[1].reclaim_active = 1
    for pfn in pfns:
        page_alloc.put_page(pfn)
    assert pcp.count < pcp.batch << 2
    page_alloc.verify()


def test_on_612_the_vmstat_worker_lets_high_decay_to_its_least() -> None:
    page_alloc = machine(612)
    pcp = page_alloc.pcp_of(1, 0)
    pfns = [page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0) for _ in range(3000)]
    for pfn in pfns:
        page_alloc.put_page(pfn)
    assert pcp.high > pcp.high_min
    for _ in range(60):
        page_alloc.refresh_cpu_vm_stats(0)
    assert pcp.high == pcp.high_min
    assert pcp.count <= pcp.high
    page_alloc.verify()


def test_a_refill_of_a_higher_order_takes_fewer_blocks_and_order_4_none() -> None:
    # mm/page_alloc.c nr_pcp_alloc(), v6.12: batch >> order, at least 2; one of them is given out
    for order, left_pages in ((1, (15 // 2 - 1) * 2), (3, 8), (9, 512), (4, 0)):
        page_alloc = machine(612)
        pcp = page_alloc.pcp_of(1, 0)
        pfn = page_alloc.alloc_fast(GFP_KERNEL | GFP_COMP, order)
        assert pcp.count == left_pages
        page_alloc.put_page(pfn)
        page_alloc.verify()
