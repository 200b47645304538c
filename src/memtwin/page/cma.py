"""Owns contiguous memory areas: page blocks that lend their frames to movable pages only.

Imports buddy, mobility and zone. Plain Python. Has never heard of migration: a range that is partly
in use is refused with CMA_BUSY, and a room that can migrate empties it and asks again.
"""

from __future__ import annotations

from memtwin.errors import InternalError, UserError
from memtwin.page.flags import MIGRATE_CMA, PAGEBLOCK_PAGES, PG_BUDDY
from memtwin.page.gfp import FPI_NONE
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat_items import CMA_ALLOC_FAIL, CMA_ALLOC_SUCCESS
from memtwin.page.zone import Zone

CMA_BUSY = -16  # no range of free frames is large enough (EBUSY)


class CmaArea:
    """One area: frames start_pfn .. end_pfn - 1, both multiples of a page block."""

    def __init__(self, page_alloc: PageAlloc, zone: Zone, start_pfn: int, end_pfn: int) -> None:
        if start_pfn % PAGEBLOCK_PAGES or end_pfn % PAGEBLOCK_PAGES or start_pfn >= end_pfn:
            raise UserError(
                f"cma area: found frames {start_pfn} .. {end_pfn}, allowed are whole page blocks"
            )
        self.page_alloc = page_alloc
        self.zone = zone
        self.start_pfn = start_pfn
        self.end_pfn = end_pfn
        self.held: dict[int, int] = {}  # start pfn -> pages of what `alloc` gave out

    def activate(self) -> None:
        """Give the area's page blocks and their free blocks the type MIGRATE_CMA."""
        # mm/cma.c cma_activate_area() and mm/mm_init.c init_cma_reserved_pageblock(), v6.12
        self._cut_edges()
        for pfn in range(self.start_pfn, self.end_pfn, PAGEBLOCK_PAGES):
            self.page_alloc.mobility.set_block_type(self.zone, pfn, MIGRATE_CMA)
        self.zone.cma_pages += self.end_pfn - self.start_pfn

    def _cut_edges(self) -> None:
        # a free block larger than a page block may begin outside: split it into page blocks
        buddy = self.page_alloc.buddy
        mem_map = self.page_alloc.mem_map
        size_pages = PAGEBLOCK_PAGES * 2
        first = self.start_pfn // size_pages * size_pages
        for pfn in range(first, self.end_pfn, size_pages):
            if mem_map.flags[pfn] & PG_BUDDY and 1 << mem_map.order[pfn] == size_pages:
                order = buddy.isolate_free_block(self.zone, pfn)
                kind = buddy.zones.block_type[pfn // PAGEBLOCK_PAGES]
                for half in (pfn, pfn + PAGEBLOCK_PAGES):
                    buddy.seed_block(self.zone, half, order - 1, kind)

    def alloc(self, count_pages: int, align_pages: int = 1) -> int:
        """`count_pages` adjoining free frames, taken; their first pfn, or CMA_BUSY."""
        # mm/cma.c cma_alloc(), v6.12
        for pfn in range(self.start_pfn, self.end_pfn - count_pages + 1, align_pages):
            if all(self._is_free(at) for at in range(pfn, pfn + count_pages)):
                self._take(pfn, pfn + count_pages)
                self.held[pfn] = count_pages
                self.page_alloc.vmstat.event[CMA_ALLOC_SUCCESS] += count_pages
                return pfn
        self.page_alloc.vmstat.event[CMA_ALLOC_FAIL] += count_pages
        return CMA_BUSY

    def release(self, pfn: int) -> None:
        """Free what `alloc` gave out at `pfn`."""
        count = self.held.pop(pfn, 0)
        if not count:
            raise InternalError(f"CmaArea.release: nothing was given out at frame {pfn}")
        for at in range(pfn, pfn + count):
            self.page_alloc.put_page(at)

    def _head_of(self, pfn: int) -> int:
        # first frame of the free block that holds `pfn`, or -1
        mem_map = self.page_alloc.mem_map
        for order in range(11):
            head = pfn & ~((1 << order) - 1)
            if mem_map.flags[head] & PG_BUDDY and mem_map.order[head] >= order:
                return head
        return -1

    def _is_free(self, pfn: int) -> bool:
        return self._head_of(pfn) >= 0

    def _take(self, start_pfn: int, end_pfn: int) -> None:
        buddy = self.page_alloc.buddy
        mem_map = self.page_alloc.mem_map
        pfn = start_pfn
        while pfn < end_pfn:
            head = self._head_of(pfn)
            order = buddy.isolate_free_block(self.zone, head)
            for at in range(head, head + (1 << order)):
                if start_pfn <= at < end_pfn:
                    mem_map.refcount[at] = 1
            # what lies outside the range goes back, frame by frame
            for at in range(head, head + (1 << order)):
                if not start_pfn <= at < end_pfn:
                    buddy.return_block(self.zone, at, 0, MIGRATE_CMA, FPI_NONE)
            pfn = head + (1 << order)
