"""The buddy against a naive model: lists of (pfn, order) per order and type, merged by search."""

from __future__ import annotations

import random

import pytest

from memtwin.errors import InternalError
from memtwin.page.boot_layout import MemoryRange, boot_page_alloc
from memtwin.page.flags import MIGRATE_MOVABLE, PG_BUDDY
from memtwin.page.gfp import FPI_NONE, FPI_TO_TAIL, GFP_HIGHUSER_MOVABLE
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat_items import NR_FREE_PAGES

MAX_ORDER = 10


class NaiveBuddy:
    """Free blocks as Python lists; frees and splits as the rules say, one list search a step."""

    def __init__(self) -> None:
        self.lists: dict[tuple[int, int], list[int]] = {}

    def of(self, order: int, kind: int) -> list[int]:
        return self.lists.setdefault((order, kind), [])

    def find(self, pfn: int, order: int) -> int | None:
        return next((k for (o, k), pfns in self.lists.items() if o == order and pfn in pfns), None)

    def free(self, pfn: int, order: int, kind: int, to_tail: bool) -> None:
        while order < MAX_ORDER and (other := self.find(pfn ^ (1 << order), order)) is not None:
            self.of(order, other).remove(pfn ^ (1 << order))
            pfn &= ~(1 << order)
            order += 1
        if order < MAX_ORDER - 1 and not to_tail:
            # the pair above would merge if this block's buddy came: keep it for last
            above = pfn & ~(1 << order)
            to_tail = self.find(above ^ (1 << (order + 1)), order + 1) is not None
        self.of(order, kind).insert(len(self.of(order, kind)) if to_tail else 0, pfn)

    def take(self, order: int, kind: int) -> int:
        for size in range(order, MAX_ORDER + 1):
            if self.of(size, kind):
                pfn = self.of(size, kind).pop(0)
                for half in range(size - 1, order - 1, -1):
                    self.of(half, kind).insert(0, pfn + (1 << half))
                return pfn
        return -1

    def free_pages(self) -> int:
        return sum(len(pfns) << order for (order, _), pfns in self.lists.items())


def small_machine(kernel: int) -> PageAlloc:
    page_alloc, _ = boot_page_alloc([MemoryRange(4096, 4096 + 16 * 1024)], kernel)
    page_alloc.buddy.thread_all(page_alloc.zones.zones[1])
    return page_alloc


def model_of(page_alloc: PageAlloc) -> NaiveBuddy:
    naive = NaiveBuddy()
    for order in range(MAX_ORDER + 1):
        for kind in range(6):
            naive.lists[order, kind] = page_alloc.buddy.free_list(1, order, kind)
    return naive


def same_lists(page_alloc: PageAlloc, naive: NaiveBuddy) -> bool:
    return all(
        page_alloc.buddy.free_list(1, order, kind) == naive.of(order, kind)
        for order in range(MAX_ORDER + 1)
        for kind in range(3)
    )


@pytest.mark.parametrize("kernel", [601, 612])
@pytest.mark.parametrize("seed", range(4))
def test_lists_equal_the_naive_models_after_every_event(kernel: int, seed: int) -> None:
    page_alloc = small_machine(kernel)
    zone = page_alloc.zones.zones[1]
    naive = model_of(page_alloc)
    rng = random.Random(seed)
    held: list[tuple[int, int]] = []
    for _ in range(600):
        if held and rng.random() < 0.5:
            pfn, order = held.pop(rng.randrange(len(held)))
            tail = rng.random() < 0.2
            fpi = FPI_TO_TAIL if tail else FPI_NONE
            page_alloc.buddy.return_block(zone, pfn, order, MIGRATE_MOVABLE, fpi)
            naive.free(pfn, order, MIGRATE_MOVABLE, tail)
        else:
            order = rng.choice((0, 0, 0, 1, 2, 3, 5, 9, 10))
            pfn = page_alloc.buddy.take_smallest(zone, order, MIGRATE_MOVABLE)
            assert pfn == naive.take(order, MIGRATE_MOVABLE)
            if pfn >= 0:
                held.append((pfn, order))
        assert same_lists(page_alloc, naive)
        assert page_alloc.vmstat.zone_page_state(1, NR_FREE_PAGES) == naive.free_pages()
    page_alloc.verify()


@pytest.mark.parametrize("seed", range(6))
def test_a_run_takes_the_frames_that_single_requests_would_take(seed: int) -> None:
    rng = random.Random(seed)
    page_alloc = small_machine(601)
    zone = page_alloc.zones.zones[1]
    for _ in range(rng.randrange(40)):  # unequal lists to begin with
        page_alloc.buddy.take_smallest(zone, rng.choice((0, 1, 3, 4, 6)), MIGRATE_MOVABLE)
    naive = model_of(page_alloc)
    for _ in range(30):
        count = rng.randrange(1, 64)
        singles = [naive.take(0, MIGRATE_MOVABLE) for _ in range(count)]
        run: list[int] = []
        while len(run) < count:
            pfn = page_alloc.buddy.take_frames(zone, count - len(run), MIGRATE_MOVABLE)
            assert pfn >= 0
            run += range(pfn, pfn + page_alloc.buddy.run_pages)
        assert run == singles
        assert same_lists(page_alloc, naive)


def test_deferred_blocks_count_as_free_and_come_when_the_list_runs_out() -> None:
    page_alloc, _ = boot_page_alloc([MemoryRange(4096, 4096 + 64 * 1024)], 612)
    zone = page_alloc.zones.zones[1]
    free = page_alloc.vmstat.zone_page_state(1, NR_FREE_PAGES)
    assert zone.deferred_end_pfn - zone.deferred_start_pfn > 32 * 1024
    assert not page_alloc.mem_map.flags[zone.deferred_start_pfn] & PG_BUDDY
    taken = 0
    while page_alloc.buddy.take_smallest(zone, 9, MIGRATE_MOVABLE) >= 0:
        taken += 512
    assert free - taken < 512 * 2
    assert zone.deferred_start_pfn == zone.deferred_end_pfn
    page_alloc.verify()


def test_verify_names_both_sides_of_a_wrong_count() -> None:
    page_alloc = small_machine(612)
    page_alloc.buddy.nr_free_type[(1 * 11 + 10) * 6 + 1] += 1
    with pytest.raises(InternalError, match=r"on the list, \d+ counted"):
        page_alloc.verify()


def test_freeing_a_frame_that_is_still_referenced_is_our_own_bug() -> None:
    page_alloc = small_machine(612)
    pfn = page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0)
    with pytest.raises(InternalError, match="refcount 1"):
        page_alloc.free_page(pfn)
    page_alloc.put_page(pfn)
    with pytest.raises(InternalError, match="flags"):
        page_alloc.free_page(pfn)
