"""Owns how the twin's page room becomes zoneinfo, buddyinfo and pagetypeinfo records.

Imports page and the records. Knows nothing of memcgs, swap or processes.
"""

from __future__ import annotations

from collections.abc import Mapping

from memtwin.observe.fragments import PageTypeInfo, TypeBlocks, ZoneBlocks, ZonePageblocks
from memtwin.observe.layout import Layout
from memtwin.observe.zoneinfo import Pageset, ZoneInfo, ZoneText
from memtwin.page.flags import (
    MIGRATE_CMA,
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_TYPES,
    MIGRATE_UNMOVABLE,
    NR_PAGE_ORDERS,
    PAGEBLOCK_ORDER,
    PAGEBLOCK_SHIFT,
)
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat_items import NODE_ITEMS, NR_FREE_PAGES, ZONE_ITEMS
from memtwin.page.zone import Zone

# printed name -> number (mm/page_alloc.c migratetype_names[], v6.12)
MIGRATETYPES = {
    "Unmovable": MIGRATE_UNMOVABLE,
    "Movable": MIGRATE_MOVABLE,
    "Reclaimable": MIGRATE_RECLAIMABLE,
    "HighAtomic": MIGRATE_HIGHATOMIC,
    "CMA": MIGRATE_CMA,
    "Isolate": MIGRATE_ISOLATE,
}
# counted in pages, printed in huge pages (mm/vmstat.c vmstat_item_print_in_thp(), v6.12)
PRINTED_IN_THP = (
    "nr_anon_transparent_hugepages",
    "nr_shmem_hugepages",
    "nr_shmem_pmdmapped",
    "nr_file_hugepages",
    "nr_file_pmdmapped",
)
HUGE_PAGES = 512
MAX_FREE_COUNT = 100_000  # mm/vmstat.c pagetypeinfo_showfree_print(), v6.12


def zone_counters(page_alloc: PageAlloc, zone: Zone) -> dict[str, int]:
    """name -> figure of every counter of `zone`."""
    stat = page_alloc.vmstat.zone_page_state
    found = {name: int(stat(zone.zone_id, item)) for item, name in enumerate(ZONE_ITEMS)}
    found["nr_free_pages_blocks"] = sum(
        blocks << order
        for order, blocks in enumerate(free_blocks(page_alloc, zone))
        if order >= PAGEBLOCK_ORDER
    )
    return found


def node_counters(page_alloc: PageAlloc, node: int) -> dict[str, int]:
    """name -> figure of every counter of `node`, as printed."""
    stat = page_alloc.vmstat.node_page_state
    found = {name: int(stat(node, item)) for item, name in enumerate(NODE_ITEMS)}
    for name in PRINTED_IN_THP:
        found[name] //= HUGE_PAGES
    return found


def free_blocks(page_alloc: PageAlloc, zone: Zone) -> tuple[int, ...]:
    """Free blocks of `zone` by order."""
    base = zone.zone_id * NR_PAGE_ORDERS
    return tuple(int(page_alloc.buddy.nr_free[base + order]) for order in range(NR_PAGE_ORDERS))


def stat_threshold(managed_pages: int, nr_cpus: int) -> int:
    """Drift that a CPU's counters may have (mm/vmstat.c calculate_normal_threshold(), v6.12).

    >>> stat_threshold(51489, 1)
    4
    """
    blocks_of_128_mib = managed_pages >> (27 - 12)
    return min(2 * nr_cpus.bit_length() * (1 + blocks_of_128_mib.bit_length()), 125)


def zoneinfo_record(
    page_alloc: PageAlloc, layout: Layout, node_unreclaimable: Mapping[int, int]
) -> ZoneInfo:
    """The twin's /proc/zoneinfo; `node_unreclaimable` says of which nodes kswapd gave up (1)."""
    texts = []
    with_stats: set[int] = set()
    for zone in page_alloc.zones.zones:
        text = ZoneText(
            node=zone.node,
            name=zone.name,
            pages=_pages(page_alloc, zone, layout),
            protection_pages=tuple(int(n) for n in zone.lowmem_reserve[: len(layout.zones)]),
        )
        if zone.present_pages:
            _fill_populated(page_alloc, zone, text, layout, node_unreclaimable.get(zone.node, 0))
            if zone.node not in with_stats:
                with_stats.add(zone.node)
                counters = node_counters(page_alloc, zone.node)
                text.node_stats = {name: counters.get(name, 0) for name in layout.node_stats}
        texts.append(text)
    return ZoneInfo(texts)


def _pages(page_alloc: PageAlloc, zone: Zone, layout: Layout) -> dict[str, int]:
    boost = (
        zone.watermark_boost
    )  # min, low, high, promo print with it: mmzone.h wmark_pages(), v6.12
    figures = {
        "free": int(page_alloc.vmstat.zone_page_state(zone.zone_id, NR_FREE_PAGES)),
        "boost": boost,
        "min": zone.wmark_min + boost,
        "low": zone.wmark_low + boost,
        "high": zone.wmark_high + boost,
        "promo": zone.wmark_promo + boost,
        "spanned": zone.spanned_pages,
        "present": zone.present_pages,
        "managed": zone.managed_pages,
        "cma": zone.cma_pages,
    }
    return {name: int(figures[name]) for name in layout.zone_pages}


def _fill_populated(
    page_alloc: PageAlloc, zone: Zone, text: ZoneText, layout: Layout, unreclaimable: int
) -> None:
    counters = zone_counters(page_alloc, zone)
    text.zone_stats = {name: counters.get(name, 0) for name in layout.zone_stats}
    threshold = stat_threshold(zone.managed_pages, page_alloc.nr_cpus)
    for cpu in range(page_alloc.nr_cpus):
        pcp = page_alloc.pcp_of(zone.zone_id, cpu)
        pageset = Pageset(cpu, pcp.count, pcp.high, pcp.batch, threshold)
        if layout.pageset_limits:
            pageset.high_min_pages, pageset.high_max_pages = pcp.high_min, pcp.high_max
        text.pagesets.append(pageset)
    tail = {
        "node_unreclaimable": unreclaimable,
        "start_pfn": zone.start_pfn,
        "reserved_highatomic": zone.nr_reserved_highatomic,
        "free_highatomic": zone.nr_free_highatomic,
    }
    text.tail = {name: int(tail[name]) for name in layout.zone_tail}


def buddyinfo_record(page_alloc: PageAlloc) -> list[ZoneBlocks]:
    """The twin's /proc/buddyinfo: populated zones only."""
    return [
        ZoneBlocks(zone.node, zone.name, free_blocks(page_alloc, zone))
        for zone in page_alloc.zones.populated()
    ]


def pagetypeinfo_record(page_alloc: PageAlloc, layout: Layout) -> PageTypeInfo:
    """The twin's /proc/pagetypeinfo."""
    free = []
    pageblocks = []
    for zone in page_alloc.zones.populated():
        for name in layout.migratetypes:
            counts = _free_by_type(page_alloc, zone, MIGRATETYPES[name])
            capped = tuple(n >= MAX_FREE_COUNT for n in counts)
            shown = tuple(min(n, MAX_FREE_COUNT) for n in counts)
            free.append(TypeBlocks(zone.node, zone.name, name, shown, capped))
        by_type = _pageblocks(page_alloc, zone)
        blocks = tuple(by_type[MIGRATETYPES[name]] for name in layout.migratetypes)
        pageblocks.append(ZonePageblocks(zone.node, zone.name, blocks))
    return PageTypeInfo(PAGEBLOCK_ORDER, layout.migratetypes, tuple(free), tuple(pageblocks))


def _free_by_type(page_alloc: PageAlloc, zone: Zone, migratetype: int) -> tuple[int, ...]:
    base = zone.zone_id * NR_PAGE_ORDERS
    column = page_alloc.buddy.nr_free_type
    rows = range(base, base + NR_PAGE_ORDERS)
    return tuple(int(column[row * MIGRATE_TYPES + migratetype]) for row in rows)


def _pageblocks(page_alloc: PageAlloc, zone: Zone) -> list[int]:
    """Page blocks of `zone` by migrate type: those whose first frame within the zone exists."""
    zones = page_alloc.zones
    counts = [0] * MIGRATE_TYPES
    # mm/vmstat.c pagetypeinfo_showblockcount_print(), v6.12: steps from start_pfn, aligned or not
    for pfn in range(zone.start_pfn, zone.end_pfn, 1 << PAGEBLOCK_SHIFT):
        if zones.zone_of(pfn) == zone.zone_id:
            counts[zones.block_type[pfn >> PAGEBLOCK_SHIFT]] += 1
    return counts
