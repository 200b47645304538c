"""Owns placing what a real start showed: free blocks by order and type, page block types, per-CPU
lists.

Imports the rest of page/. Has never heard of /proc: numbers come in as records. Plain Python, run
once.

The texts say how many blocks are free, not where. Places are chosen so that the lists show the same
counts and stay so: no two free buddies of one order, each block in a page block of its type where
one is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from memtwin.errors import UserError
from memtwin.page.boot_layout import BootPages, MemoryRange, aligned_blocks, presence
from memtwin.page.flags import (
    MAX_ORDER,
    MIGRATE_MOVABLE,
    MIGRATE_RECLAIMABLE,
    MIGRATE_TYPES,
    MIGRATE_UNMOVABLE,
    PAGEBLOCK_ORDER,
    PAGEBLOCK_PAGES,
    PAGEBLOCK_SHIFT,
)
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.pcp import PerCpuPages
from memtwin.page.zone import Zone


@dataclass
class PagesetSeed:
    """One CPU's lists of a zone as /proc/zoneinfo shows them."""

    count: int
    high: int
    batch: int
    block_pfn: int = -1  # worked out here: a block of order 9 among the pages


@dataclass
class ZoneSeed:
    """A zone of a real start, from zoneinfo, buddyinfo and pagetypeinfo."""

    managed_pages: int
    spanned_pages: int
    present_pages: int
    wmark_min: int
    wmark_low: int
    wmark_high: int
    watermark_boost: int
    lowmem_reserve: list[int]
    wmark_promo: int = -1  # -1: not shown (6.1), high plus the distance
    cma_pages: int = 0
    # free blocks by (order, migrate type); page blocks by migrate type
    free_blocks: dict[tuple[int, int], int] = field(default_factory=dict)
    block_counts: dict[int, int] = field(default_factory=dict)
    pagesets: list[PagesetSeed] = field(default_factory=list)


class _Placement:
    """Places in one zone that are not free yet, and what has been put where.

    A region of order r below a page block never becomes free whole, and of two page blocks that are
    buddies one at most does: so no place merges with another.
    """

    def __init__(
        self, page_alloc: PageAlloc, zone: Zone, parts: list[tuple[int, int]], seed: ZoneSeed
    ) -> None:
        self.page_alloc = page_alloc
        self.zone = zone
        self.left = dict(seed.block_counts)  # page blocks of each type still to be named
        self.claimed: set[int] = set()
        self.free: list[tuple[int, int]] = []  # (pfn, order) of all put, per-CPU lists too
        self.whole: set[int] = set()  # page blocks that are free whole
        # regions[type][order] -> start pfns
        self.regions: list[list[list[int]]] = [
            [[] for _ in range(PAGEBLOCK_ORDER + 1)] for _ in range(MIGRATE_TYPES)
        ]
        aligned = [block for start, end in parts for block in aligned_blocks(start, end)]
        self.tops = [pfn for pfn, order in aligned if order == MAX_ORDER]
        self.blocks = [pfn for pfn, order in aligned if order == PAGEBLOCK_ORDER]
        self.scraps = [(pfn, order) for pfn, order in aligned if order < PAGEBLOCK_ORDER]

    def claim(self, pfn: int, migratetype: int) -> None:
        """Give the page block of `pfn` its type, once."""
        block = pfn >> PAGEBLOCK_SHIFT
        if block not in self.claimed:
            self.claimed.add(block)
            self.left[migratetype] = self.left.get(migratetype, 0) - 1
            self.page_alloc.zones.block_type[block] = migratetype

    def put(self, pfn: int, order: int, migratetype: int) -> None:
        """Thread a free block; UserError when no place was found (pfn -1)."""
        if pfn < 0:
            raise UserError(
                f"zone {self.zone.name}: found more free blocks of order {order} than fit"
            )
        self.page_alloc.buddy.seed_block(self.zone, pfn, order, migratetype)
        self.free.append((pfn, order))

    def place_tops(self, wanted: list[tuple[int, int]]) -> None:
        """Free blocks of MAX_ORDER, (type, count): from the middle of the zone."""
        # MODEL: what booting takes, it takes from both ends
        count = sum(n for _, n in wanted)
        if count > len(self.tops):
            raise UserError(
                f"zone {self.zone.name}: found {count} free blocks of order {MAX_ORDER},"
                f" its frames allow {len(self.tops)}"
            )
        skip = (len(self.tops) - count) // 2
        chosen = self.tops[skip : skip + count]
        for pfn in self.tops[:skip] + self.tops[skip + count :]:
            self.blocks += [pfn, pfn + PAGEBLOCK_PAGES]
        self.blocks.sort()
        for migratetype, number in wanted:
            for pfn in chosen[:number]:
                self.claim(pfn, migratetype)
                self.claim(pfn + PAGEBLOCK_PAGES, migratetype)
                self.put(pfn, MAX_ORDER, migratetype)
            del chosen[:number]

    def take_block(self, migratetype: int) -> int:
        """A whole page block whose buddy does not become free; -1 when none is left."""
        for at, pfn in enumerate(self.blocks):
            buddy = pfn ^ PAGEBLOCK_PAGES
            # upper halves first: a lower half stays for small blocks
            if buddy not in self.whole and (pfn & PAGEBLOCK_PAGES or buddy not in self.blocks):
                del self.blocks[at]
                self.whole.add(pfn)
                self.claim(pfn, migratetype)
                return pfn
        return -1

    def type_blocks(self) -> None:
        """Name the remaining page blocks' types by the counts, and make regions of them."""
        todo = [
            mt
            for mt in range(MIGRATE_TYPES)
            if mt != MIGRATE_MOVABLE
            for _ in range(max(self.left.get(mt, 0), 0))
        ]
        for number, pfn in enumerate(self.blocks):
            migratetype = todo[number] if number < len(todo) else MIGRATE_MOVABLE
            self.claim(pfn, migratetype)
            self.regions[migratetype][PAGEBLOCK_ORDER].append(pfn)
        self.blocks = []
        for pfn, order in self.scraps:
            wanted = [mt for mt in range(MIGRATE_TYPES) if self.left.get(mt, 0) > 0]
            self.claim(pfn, wanted[0] if wanted else MIGRATE_MOVABLE)
            migratetype = self.page_alloc.zones.block_type[pfn >> PAGEBLOCK_SHIFT]
            self.regions[migratetype][order].append(pfn)

    def take(self, migratetype: int, order: int) -> int:
        """A place below page block size: half of the smallest region above `order`; or -1."""
        kinds = [migratetype, *(mt for mt in _OTHER_TYPES if mt != migratetype)]
        for own in (self.regions[mt] for mt in kinds):
            for size in range(order + 1, PAGEBLOCK_ORDER + 1):
                if own[size]:
                    pfn = own[size].pop(0)
                    for high in range(size - 1, order, -1):
                        own[high].append(pfn + (1 << high))
                    own[order].insert(0, pfn)
                    return pfn + (1 << order)
            for at, pfn in enumerate(own[order]):
                if (pfn, order) in self.scraps:  # its buddy is a hole or another order: no merge
                    del own[order][at]
                    return pfn
        return -1

    def take_frame(self, migratetype: int) -> int:
        """A frame for a per-CPU list, or -1."""
        kinds = [migratetype, *(mt for mt in _OTHER_TYPES if mt != migratetype)]
        for own in (self.regions[mt] for mt in kinds):
            for size in range(PAGEBLOCK_ORDER + 1):
                if own[size]:
                    pfn = own[size].pop(0)
                    for high in range(size):
                        own[high].append(pfn + (1 << high))
                    return pfn
        return -1


_OTHER_TYPES = (1, 2, 0, 4, 3, 5)  # where a block goes when its own type has no place left

_SLAB_BLOCKS = (
    (3, MIGRATE_UNMOVABLE),
    (2, MIGRATE_UNMOVABLE),
    (1, MIGRATE_RECLAIMABLE),
    (1, MIGRATE_UNMOVABLE),
)


def seed_zone(
    page_alloc: PageAlloc,
    boot: BootPages,
    zone: Zone,
    ranges: Sequence[MemoryRange],
    seed: ZoneSeed,
) -> None:
    """Make `zone`, whose lists are empty, what `seed` shows; UserError when it does not fit."""
    zone.managed_pages, zone.spanned_pages = seed.managed_pages, seed.spanned_pages
    zone.present_pages, zone.cma_pages = seed.present_pages, seed.cma_pages
    zone.wmark_min, zone.wmark_low = seed.wmark_min, seed.wmark_low
    zone.wmark_high, zone.watermark_boost = seed.wmark_high, seed.watermark_boost
    zone.wmark_promo = seed.wmark_promo
    if seed.wmark_promo < 0:
        zone.wmark_promo = 2 * seed.wmark_high - seed.wmark_low
    for idx, pages in enumerate(seed.lowmem_reserve):
        zone.lowmem_reserve[idx] = pages
    parts = presence(zone, ranges)
    placement = _Placement(page_alloc, zone, parts, seed)
    seed_free_lists(placement, seed)
    for cpu, pageset in enumerate(seed.pagesets):
        _seed_pageset(page_alloc.pcp_of(zone.zone_id, cpu), pageset, placement)
    _record_boot(boot, zone, parts, placement.free)


def seed_free_lists(placement: _Placement, seed: ZoneSeed) -> None:
    """Thread the free blocks of `seed`, and place order-9 blocks of per-CPU lists."""
    wanted = [(o, mt, n) for (o, mt), n in sorted(seed.free_blocks.items(), reverse=True) if n]
    placement.place_tops([(mt, n) for o, mt, n in wanted if o == MAX_ORDER])
    for order, migratetype, count in wanted:
        if order == PAGEBLOCK_ORDER:
            for _ in range(count):
                placement.put(placement.take_block(migratetype), order, migratetype)
    for pageset in seed.pagesets:
        if pageset.count >= PAGEBLOCK_PAGES and placement.blocks:
            pageset.block_pfn = placement.take_block(MIGRATE_UNMOVABLE)
    placement.type_blocks()
    for order, migratetype, count in wanted:
        if order < PAGEBLOCK_ORDER:
            for _ in range(count):
                placement.put(placement.take(migratetype, order), order, migratetype)


def _seed_pageset(pcp: PerCpuPages, seed: PagesetSeed, placement: _Placement) -> None:
    pcp.batch, pcp.high = seed.batch, seed.high
    left = seed.count
    # MODEL: zoneinfo gives only the count. What the first drains of real 6.1 starts gave back tells
    # that a count above 512 holds an unmovable block of order 9, that few movable pages are left
    # (the last program to run took them), and that the rest are single frames from slabs and page
    # tables. Bends which pages the first drain gives back.
    if seed.block_pfn >= 0:
        pcp.seed(seed.block_pfn, MIGRATE_UNMOVABLE, PAGEBLOCK_ORDER)
        placement.free.append((seed.block_pfn, PAGEBLOCK_ORDER))
        left -= PAGEBLOCK_PAGES
    left = _seed_slab_blocks(pcp, left, placement)
    kinds = (MIGRATE_UNMOVABLE, MIGRATE_RECLAIMABLE, MIGRATE_UNMOVABLE, MIGRATE_MOVABLE)
    for number in range(left):
        migratetype = kinds[number % len(kinds)]
        pfn = placement.take_frame(migratetype)
        if pfn < 0:
            raise UserError(f"zone {placement.zone.name}: no place for {seed.count} per-CPU pages")
        pcp.seed(pfn, migratetype, 0)
        placement.free.append((pfn, 0))


def _seed_slab_blocks(pcp: PerCpuPages, left: int, placement: _Placement) -> int:
    # MODEL: slabs of two to eight pages were taken shortly before a start's figures were read (the
    # inodes of the files read, the buffers of their texts); a refilled list is in the mean half
    # used, and they hold no more than the single frames do. Bends which request finds its list
    # empty first.
    least = left - left // 2
    for order, migratetype in _SLAB_BLOCKS:
        for _ in range(max(pcp.batch >> order, 2) // 2):
            if left - (1 << order) < least:
                return left
            pfn = placement.take(migratetype, order)
            if pfn < 0:
                return left
            pcp.seed(pfn, migratetype, order)
            placement.free.append((pfn, order))
            left -= 1 << order
    return left


def _record_boot(
    boot: BootPages, zone: Zone, parts: list[tuple[int, int]], free: list[tuple[int, int]]
) -> None:
    # what is neither free nor on a per-CPU list, in order
    taken = sorted(free)
    ranges = boot.ranges[zone.zone_id]
    at = 0
    for start, end in parts:
        while at < len(taken) and taken[at][0] < end:
            pfn, order = taken[at]
            if start < pfn:
                ranges.append((start, pfn))
            start = pfn + (1 << order)
            at += 1
        if start < end:
            ranges.append((start, end))
