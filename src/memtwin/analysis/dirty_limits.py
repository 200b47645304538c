"""Owns when dirty pages are written and writers stopped: the limits as the kernel computes them.

Imports observe's records, analysis/watermarks and units. Knows nothing of columns. Figures are
pages unless the name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from memtwin.analysis.watermarks import totalreserve_pages
from memtwin.observe.vm_sysctl import DirtySysctl
from memtwin.observe.zoneinfo import ZoneInfo
from memtwin.units import PAGE_SIZE, bytes_to_pages

MAX_LIMIT_PAGES = (1 << 32) - 1  # mm/page-writeback.c domain_dirty_limits(), v6.12: UINT_MAX


class DirtyLimits(msgspec.Struct, kw_only=True):
    """The limits of the machine as a whole."""

    dirtyable_pages: int
    background_pages: int  # from here on flusher threads write
    limit_pages: int  # from here on writers wait
    background_by: str  # the setting that decided, in words
    limit_by: str


def dirtyable_pages(vm: Mapping[str, int], info: ZoneInfo, settings: DirtySysctl) -> int:
    """Pages that may be dirty: free ones beyond the reserves, and file pages.

    mm/page-writeback.c global_dirtyable_memory(), v6.12.
    """
    free = vm.get("nr_free_pages", 0)
    found = free - min(free, totalreserve_pages(info))
    found += vm.get("nr_inactive_file", 0) + vm.get("nr_active_file", 0)
    if not settings.highmem_is_dirtyable:
        found -= min(_highmem_pages(info), found)
    return found + 1


def _highmem_pages(info: ZoneInfo) -> int:
    """mm/page-writeback.c highmem_dirtyable_memory(), v6.12."""
    found = 0
    for zone in info.zones:
        if zone.name == "HighMem" and zone.pages.get("managed"):
            free = zone.pages.get("free", 0)
            found += free - min(free, zone.pages.get("high", 0))
            found += zone.zone_stats.get("nr_zone_inactive_file", 0)
            found += zone.zone_stats.get("nr_zone_active_file", 0)
    return found


def dirty_limits(vm: Mapping[str, int], info: ZoneInfo, settings: DirtySysctl) -> DirtyLimits:
    """The limits for a writer without real-time priority.

    mm/page-writeback.c domain_dirty_limits(), v6.12. A missing setting counts with its default.
    """
    available = dirtyable_pages(vm, info, settings)
    # mm/page-writeback.c vm_dirty_ratio, dirty_background_ratio, v6.12
    limit, limit_by = _limit(settings.bytes, settings.ratio_percent, 20, available)
    background, background_by = _limit(
        settings.background_bytes, settings.background_ratio_percent, 10, available
    )
    limit = min(limit, MAX_LIMIT_PAGES)
    if background >= limit:
        background, background_by = limit // 2, "half of the limit, which it would exceed"
    return DirtyLimits(
        dirtyable_pages=available,
        background_pages=background,
        limit_pages=limit,
        background_by=background_by,
        limit_by=limit_by,
    )


def _limit(
    size_bytes: int | None, percent: int | None, default_percent: int, available: int
) -> tuple[int, str]:
    if size_bytes:
        return bytes_to_pages(size_bytes), f"{size_bytes} bytes"
    percent = default_percent if percent is None else percent
    ratio = percent * PAGE_SIZE // 100
    return ratio * available // PAGE_SIZE, f"{percent} % of what may be dirty"


def drift_percent(ours: int, kernels: int | None) -> float | None:
    """How far our figure is from the kernel's own, of the kernel's; None without one."""
    return None if not kernels else 100 * (ours - kernels) / kernels
