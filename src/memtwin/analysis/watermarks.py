"""Owns what a zone's watermarks say: how far free memory is from each, and what happens there.

Imports observe/zoneinfo. Knows nothing of columns. Figures are pages.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from memtwin.observe.zoneinfo import ZoneInfo, ZoneText


class ZoneMarks(msgspec.Struct, kw_only=True):
    """One zone with pages. Marks are as printed, with the boost inside where there is one."""

    node: int
    zone: str
    managed_pages: int
    free_pages: int
    min_pages: int
    low_pages: int
    high_pages: int
    promo_pages: int | None
    boost_pages: int | None
    protection_pages: tuple[int, ...]
    reserve_pages: int  # kept from a request that could use the highest zone with pages
    above_min_pages: int  # free less the mark; below 0: under it
    above_low_pages: int
    above_high_pages: int
    kswapd_wakes_pages: int  # such a request wakes kswapd when free falls to this
    state: str


# what a zone says, in words, when free memory stands between its marks
ABOVE_HIGH = "above high: kswapd may sleep"
ABOVE_LOW = "between low and high: kswapd ends what it began"
ABOVE_MIN = "below low: kswapd is wanted"
BELOW_MIN = "below min: allocations reclaim themselves"


def marks_of(info: ZoneInfo) -> list[ZoneMarks]:
    """The zones of `info` that have pages, in its order."""
    populated = [zone for zone in info.zones if zone.pages.get("managed")]
    return [_marks(zone, info.zones) for zone in populated]


def _marks(zone: ZoneText, zones: Sequence[ZoneText]) -> ZoneMarks:
    get = zone.pages.get
    free, low, high = get("free", 0), get("low", 0), get("high", 0)
    reserve = _reserve(zone, zones)
    # mm/page_alloc.c __zone_watermark_ok(), v6.12: fails at mark + lowmem_reserve and below
    above = {mark: free - get(mark, 0) for mark in ("min", "low", "high")}
    if above["high"] > 0:
        state = ABOVE_HIGH
    elif above["low"] > 0:
        state = ABOVE_LOW
    else:
        state = ABOVE_MIN if above["min"] > 0 else BELOW_MIN
    return ZoneMarks(
        node=zone.node,
        zone=zone.name,
        managed_pages=get("managed", 0),
        free_pages=free,
        min_pages=get("min", 0),
        low_pages=low,
        high_pages=high,
        promo_pages=get("promo"),
        boost_pages=get("boost"),
        protection_pages=zone.protection_pages,
        reserve_pages=reserve,
        above_min_pages=above["min"],
        above_low_pages=above["low"],
        above_high_pages=above["high"],
        kswapd_wakes_pages=low + reserve,
        state=state,
    )


def _reserve(zone: ZoneText, zones: Sequence[ZoneText]) -> int:
    """What the zone keeps from requests for the highest zone of its node that has pages."""
    of_node = [one for one in zones if one.node == zone.node]
    highest = max((i for i, one in enumerate(of_node) if one.pages.get("managed")), default=0)
    if highest < len(zone.protection_pages):
        return zone.protection_pages[highest]
    return 0


def totalreserve_pages(info: ZoneInfo) -> int:
    """Pages that no dirty page and no new program may count on.

    mm/page_alloc.c calculate_totalreserve_pages(), v6.12.
    """
    total = 0
    for zone in info.zones:
        managed = zone.pages.get("managed", 0)
        most = max(zone.protection_pages, default=0)
        total += min(most + zone.pages.get("high", 0), managed)
    return total
