"""Owns booting the frames: a description's memory map and start texts become a seeded PageAlloc.

Imports page, observe's readers and description. Has never heard of processes, files or reclaim.
"""

from __future__ import annotations

from memtwin.machine.description import MachineConfig
from memtwin.observe.fragments import (
    BUDDYINFO_PATH,
    PAGETYPEINFO_PATH,
    PageTypeInfo,
    parse_buddyinfo,
    parse_pagetypeinfo,
)
from memtwin.observe.zoneinfo import PATH as ZONEINFO_PATH
from memtwin.observe.zoneinfo import ZoneText, parse_zoneinfo
from memtwin.page.boot_layout import BootPages, MemoryRange, build_zones, free_all, presence
from memtwin.page.boot_seed import PagesetSeed, ZoneSeed, seed_zone
from memtwin.page.flags import (
    MIGRATE_CMA,
    MIGRATE_HIGHATOMIC,
    MIGRATE_ISOLATE,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_UNMOVABLE,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.tunables import THP_ALWAYS, THP_MADVISE, THP_NEVER, Tunables
from memtwin.page.vmstat import VmStat
from memtwin.units import bytes_to_pages, paddr_to_pfn

_THP = {"never": THP_NEVER, "madvise": THP_MADVISE, "always": THP_ALWAYS}
_TYPE_OF_NAME = {
    "Unmovable": MIGRATE_UNMOVABLE,
    "Movable": MIGRATE_MOVABLE,
    "Reclaimable": MIGRATE_RECLAIMABLE,
    "HighAtomic": MIGRATE_HIGHATOMIC,
    "CMA": MIGRATE_CMA,
    "Isolate": MIGRATE_ISOLATE,
}


def boot_tunables(config: MachineConfig) -> Tunables:
    """The sysctls of a description; those it leaves open are worked out by `boot_memory`."""
    tunables = Tunables(config.kernel, config.nr_cpus)
    tunables.lru_gen_enabled = int(config.lru_gen)
    tunables.thp_enabled = _THP[config.thp]
    tunables.thp_defrag = _THP.get(config.thp_defrag, THP_MADVISE)
    for name, text in config.sysctls.items():
        tunables.set(name, text)
    return tunables


def memory_ranges(config: MachineConfig) -> list[MemoryRange]:
    """The description's RAM in whole frames."""
    return [
        MemoryRange(bytes_to_pages(part.start_paddr), paddr_to_pfn(part.end_paddr), part.node)
        for part in config.memory
    ]


def boot_memory(config: MachineConfig, tunables: Tunables) -> tuple[PageAlloc, BootPages]:
    """An allocator over the description's frames, seeded from its start texts where it has them."""
    ranges = memory_ranges(config)
    bits = 32 if config.arch == "i686" else 64
    zones = build_zones(ranges, config.kernel, config.nr_cpus, config.nr_nodes, bits)
    vmstat = VmStat(zones.nr_zones, config.nr_nodes)
    cpu_nodes = [cpu * config.nr_nodes // config.nr_cpus for cpu in range(config.nr_cpus)]
    page_alloc = PageAlloc(MemMap(zones.nr_frames), zones, vmstat, tunables, cpu_nodes)
    boot = BootPages(zones.nr_zones)
    if ZONEINFO_PATH in config.start_texts:
        seeds = zone_seeds(config)
        for zone in zones.populated():
            seed = seeds.get((zone.node, zone.name))
            if seed is not None:
                seed_zone(page_alloc, boot, zone, ranges, seed)
        _mark_empty_zones(config, page_alloc)
    else:
        _free_zones(config, page_alloc, boot, ranges)
    if tunables.min_free_kbytes < 0:
        tunables.min_free_kbytes = page_alloc.watermarks.default_min_free_kbytes(
            tunables.thp_enabled
        )
    if ZONEINFO_PATH not in config.start_texts:
        page_alloc.setup_per_zone_wmarks()
        page_alloc.setup_per_zone_lowmem_reserve()
    page_alloc.watermarks.calculate_totalreserve_pages()
    page_alloc.zone_pcp_update()  # the texts of 6.12 show high, not the bounds it is tuned in
    _seed_pageset_bounds(config, page_alloc)
    page_alloc.set_cpu(0)
    return page_alloc, boot


def _seed_pageset_bounds(config: MachineConfig, page_alloc: PageAlloc) -> None:
    """Batch and bounds of the per-CPU lists from the texts: they date from early in booting."""
    shown = parse_zoneinfo(config.start_texts.get(ZONEINFO_PATH, "")).zones
    pagesets = {(zone.node, zone.name): zone.pagesets for zone in shown}
    for zone in page_alloc.zones.populated():
        for pageset in pagesets.get((zone.node, zone.name), []):
            pcp = page_alloc.pcp_of(zone.zone_id, pageset.cpu)
            pcp.batch, pcp.high = pageset.batch_pages, pageset.high_pages
            if pageset.high_min_pages is not None and pageset.high_max_pages is not None:
                pcp.high_min, pcp.high_max = pageset.high_min_pages, pageset.high_max_pages


def _mark_empty_zones(config: MachineConfig, page_alloc: PageAlloc) -> None:
    """Watermarks of zones without pages: an empty Movable or HighMem zone has some since 6.2."""
    shown = parse_zoneinfo(config.start_texts[ZONEINFO_PATH]).zones
    pages_of = {(zone.node, zone.name): zone.pages for zone in shown if not zone.populated}
    for zone in page_alloc.zones.zones:
        pages = pages_of.get((zone.node, zone.name))
        if pages is not None:
            zone.wmark_min, zone.wmark_low = pages["min"], pages["low"]
            zone.wmark_high = pages["high"]
            zone.wmark_promo = pages.get("promo", 0)


def _free_zones(
    config: MachineConfig, page_alloc: PageAlloc, boot: BootPages, ranges: list[MemoryRange]
) -> None:
    """Free all managed pages; what the description reserves beyond the estimate is taken too."""
    zones = page_alloc.zones.populated()
    if config.reserved_bytes is not None:
        left = bytes_to_pages(config.reserved_bytes)
        largest = max(zones, key=lambda zone: zone.present_pages)
        for zone in zones:
            zone.managed_pages = zone.present_pages
        largest.managed_pages = max(largest.present_pages - left, 0)
    for zone in zones:
        free_all(page_alloc, boot, zone, presence(zone, ranges), zone.managed_pages)


def zone_seeds(config: MachineConfig) -> dict[tuple[int, str], ZoneSeed]:
    """(node, zone name) -> seed, of each populated zone of the start texts."""
    texts = config.start_texts
    types = parse_pagetypeinfo(texts[PAGETYPEINFO_PATH])
    totals = {(row.node, row.zone): row.blocks for row in parse_buddyinfo(texts[BUDDYINFO_PATH])}
    found = {}
    for zone in parse_zoneinfo(texts[ZONEINFO_PATH]).zones:
        if zone.populated:
            blocks = _free_blocks(zone, types, totals[zone.node, zone.name])
            found[zone.node, zone.name] = _seed_of(zone, types, blocks)
    return found


def _free_blocks(
    zone: ZoneText, types: PageTypeInfo, totals: tuple[int, ...]
) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for row in types.free:
        if (row.node, row.zone) == (zone.node, zone.name):
            for order, count in enumerate(row.blocks):
                if count:
                    found[order, _TYPE_OF_NAME[row.migratetype]] = count
    for order, total in enumerate(totals):
        # the two texts are read one after the other: buddyinfo is the one that is compared
        typed = sum(n for (o, _), n in found.items() if o == order)
        key = max((k for k in found if k[0] == order), key=lambda k: found[k], default=None)
        if typed != total:
            key = key or (order, MIGRATE_MOVABLE)
            found[key] = max(found.get(key, 0) + total - typed, 0)
    return found


def _seed_of(zone: ZoneText, types: PageTypeInfo, blocks: dict[tuple[int, int], int]) -> ZoneSeed:
    counts = {}
    for row in types.pageblocks:
        if (row.node, row.zone) == (zone.node, zone.name):
            for name, count in zip(types.migratetypes, row.pageblocks, strict=True):
                counts[_TYPE_OF_NAME[name]] = count
    pages = zone.pages
    return ZoneSeed(
        managed_pages=pages["managed"],
        spanned_pages=pages["spanned"],
        present_pages=pages["present"],
        wmark_min=pages["min"],
        wmark_low=pages["low"],
        wmark_high=pages["high"],
        wmark_promo=pages.get("promo", -1),
        watermark_boost=pages.get("boost", 0),
        lowmem_reserve=list(zone.protection_pages),
        cma_pages=pages.get("cma", 0),
        free_blocks=blocks,
        block_counts=counts,
        pagesets=[
            PagesetSeed(count=p.count_pages, high=p.high_pages, batch=p.batch_pages)
            for p in zone.pagesets
        ],
    )
