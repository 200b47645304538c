"""Owns figures about fragmentation: buddyinfo, pagetypeinfo, the unusable and the fragmentation
index.

Imports buddy, zone and flags. Changes nothing. Figures in thousandths are whole numbers, as in the
kernel.
"""

from __future__ import annotations

from memtwin.page.buddy import Buddy
from memtwin.page.flags import MIGRATE_TYPES, NR_PAGE_ORDERS, PAGEBLOCK_PAGES, PAGEBLOCK_SHIFT
from memtwin.page.zone import MIXED_ZONES, Zone


def buddyinfo(buddy: Buddy, zone: Zone) -> list[int]:
    """Free blocks of each order: a line of /proc/buddyinfo."""
    base = zone.zone_id * NR_PAGE_ORDERS
    return [int(buddy.nr_free[base + order]) for order in range(NR_PAGE_ORDERS)]


def free_by_type(buddy: Buddy, zone: Zone, migratetype: int) -> list[int]:
    """Free blocks of each order on the lists of one migrate type: a line of /proc/pagetypeinfo."""
    base = zone.zone_id * NR_PAGE_ORDERS
    return [
        int(buddy.nr_free_type[(base + order) * MIGRATE_TYPES + migratetype])
        for order in range(NR_PAGE_ORDERS)
    ]


def block_counts(buddy: Buddy, zone: Zone) -> list[int]:
    """Page blocks of each migrate type: the last lines of /proc/pagetypeinfo."""
    # mm/vmstat.c pagetypeinfo_showblockcount_print(), v6.12: steps from the zone's first frame
    counts = [0] * MIGRATE_TYPES
    zones = buddy.zones
    for pfn in range(zone.start_pfn, zone.end_pfn, PAGEBLOCK_PAGES):
        block = pfn >> PAGEBLOCK_SHIFT
        if zones.zone_of_block[block] in (zone.zone_id, MIXED_ZONES):
            counts[zones.block_type[block]] += 1
    return counts


def _fill_contig(counts: list[int], order: int) -> tuple[int, int, int]:
    # mm/vmstat.c fill_contig_page_info(), v6.12: free pages, free blocks, blocks large enough
    free_pages = sum(n << o for o, n in enumerate(counts))
    suitable = sum(n << (o - order) for o, n in enumerate(counts) if o >= order)
    return free_pages, sum(counts), suitable


def unusable_index(buddy: Buddy, zone: Zone, order: int) -> int:
    """Thousandths of the free pages that are in blocks too small for `order`."""
    # mm/vmstat.c unusable_free_index(), v6.12
    free_pages, _, suitable = _fill_contig(buddyinfo(buddy, zone), order)
    if free_pages == 0:
        return 1000
    return (free_pages - (suitable << order)) * 1000 // free_pages


def fragmentation_index(buddy: Buddy, zone: Zone, order: int) -> int:
    """Why a request of `order` would fail, in thousandths: 0 lack of memory, 1000 fragmentation.

    -1000 means that it would not fail.
    """
    # mm/vmstat.c __fragmentation_index(), v6.12
    requested = 1 << order
    free_pages, free_blocks, suitable = _fill_contig(buddyinfo(buddy, zone), order)
    if free_blocks == 0:
        return 0
    if suitable:
        return -1000
    return 1000 - (1000 + free_pages * 1000 // requested) // free_blocks
