"""Slabs against a naive model: a dictionary of slabs and the objects in use in each."""

from __future__ import annotations

import random

import pytest

from memtwin.errors import InternalError
from memtwin.page.boot_layout import BootPages, MemoryRange, boot_page_alloc
from memtwin.page.gfp import GFP_COMP
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat_items import (
    NR_FREE_PAGES,
    NR_SLAB_RECLAIMABLE,
    NR_SLAB_UNRECLAIMABLE,
)
from memtwin.slab.slab_seed import SlabSeed, seed_cache
from memtwin.slab.slab_state import NEED_PAGE
from memtwin.slab.slub import Slub
from memtwin.units import NIL

KERNELS = pytest.mark.parametrize("kernel", [601, 612])


def machine(kernel: int = 601) -> tuple[PageAlloc, BootPages, Slub]:
    page_alloc, boot = boot_page_alloc([MemoryRange(1, 159), MemoryRange(256, 65536)], kernel)
    return page_alloc, boot, Slub(page_alloc)


def take(slub: Slub, cache_id: int) -> int:
    """An object, handing in a page when one is needed."""
    pfn = slub.alloc_object(cache_id)
    if pfn == NEED_PAGE:
        order = slub.order_of(cache_id)
        gfp = slub.gfp_of(cache_id) | (GFP_COMP if order else 0)
        slub.add_slab(cache_id, slub.page_alloc.alloc_fast(gfp, order))
        pfn = slub.alloc_object(cache_id)
    assert pfn >= 0
    return pfn


@KERNELS
@pytest.mark.parametrize("seed", range(4))
def test_objects_and_pages_agree_with_a_dictionary_after_every_event(
    kernel: int, seed: int
) -> None:
    page_alloc, _, slub = machine(kernel)
    caches = [slub.create("dentry", 192, 0, 21), slub.create("biovec-max", 4096, 3, 8)]
    free_before = page_alloc.vmstat.global_zone_page_state(NR_FREE_PAGES)
    rng = random.Random(seed)
    inuse: list[dict[int, int]] = [{}, {}]
    for step in range(4000):
        which = rng.randrange(2)
        own = inuse[which]
        growing = (step // 700) % 2 == 0
        if own and rng.random() < (0.35 if growing else 0.7):
            pfn = rng.choice(list(own))
            own[pfn] -= 1
            if not own[pfn]:
                del own[pfn]
            slub.free_object(caches[which], pfn)
        else:
            pfn = take(slub, caches[which])
            own[pfn] = own.get(pfn, 0) + 1
            assert own[pfn] <= slub.cache(caches[which]).objs_per_slab
        assert slub.cache(caches[which]).inuse == sum(own.values())
        assert slub.cache(caches[which]).num_slabs >= len(own)
        if step % 100 == 0:
            slub.verify()
            page_alloc.verify()
    stat = page_alloc.vmstat
    dentry, biovec = slub.caches
    assert stat.node_page_state(0, NR_SLAB_RECLAIMABLE) == dentry.num_slabs
    assert stat.node_page_state(0, NR_SLAB_UNRECLAIMABLE) == biovec.num_slabs * 8
    for which, cache_id in enumerate(caches):
        for pfn, count in inuse[which].items():
            for _ in range(count):
                slub.free_object(cache_id, pfn)
        slub.shrink(cache_id)
        # what a CPU allocates from stays
        assert slub.cache(cache_id).num_slabs <= 1
    slub.verify()
    page_alloc.drain_all_pages()
    held = sum(cache.num_slabs << cache.order for cache in slub.caches)
    assert stat.global_zone_page_state(NR_FREE_PAGES) == free_before - held
    page_alloc.verify()


def test_a_need_for_a_page_changes_nothing() -> None:
    _, _, slub = machine()
    cache_id = slub.create("dentry", 192, 0, 21)
    before = [(name, str(value)) for name, value in slub.cache(cache_id).columns()]
    assert slub.alloc_object(cache_id) == NEED_PAGE
    assert [(name, str(value)) for name, value in slub.cache(cache_id).columns()] == before


def test_freed_objects_count_as_active_until_their_slab_reaches_the_nodes_list() -> None:
    _, _, slub = machine()
    cache_id = slub.create("ext4_inode_cache", 1192, 2, 13)
    cache = slub.cache(cache_id)
    assert (cache.cpu_partial, cache.cpu_partial_slabs, cache.min_partial) == (24, 4, 5)
    pfns = [take(slub, cache_id) for _ in range(13 * 40)]
    slabs = sorted(set(pfns))
    for number, pfn in enumerate(slabs[:5]):
        slub.free_object(cache_id, pfn)
        # 4 slabs fit on the per-CPU partial list; the fifth moves them to the node
        assert cache.active_objs() == cache.num_objs - (4 if number == 4 else 0)
    slub.verify()


def test_empty_slabs_go_back_once_min_partial_others_are_on_the_nodes_list() -> None:
    page_alloc, _, slub = machine()
    cache_id = slub.create("dentry", 192, 0, 21)
    pfns = [take(slub, cache_id) for _ in range(21 * 200)]
    given = sum(slub.free_object(cache_id, pfn) for pfn in pfns)
    cache = slub.cache(cache_id)
    assert given == 200 - cache.num_slabs
    # kept: the node's least, and what the per-CPU partial list holds
    assert cache.min_partial <= cache.num_slabs <= cache.min_partial + cache.cpu_partial_slabs + 1
    slub.verify()
    page_alloc.verify()


def test_an_owner_that_forgot_the_slab_frees_the_oldest_objects() -> None:
    _page_alloc, _, slub = machine()
    cache_id = slub.create("dentry", 192, 0, 21)
    for _ in range(21 * 30 + 7):
        take(slub, cache_id)
    for _ in range(21 * 30 + 7):
        slub.free_object(cache_id, NIL)
    assert slub.cache(cache_id).inuse == 0
    slub.verify()
    with pytest.raises(InternalError, match="dentry has no object in use"):
        slub.free_object(cache_id, NIL)


def test_a_cache_seeded_from_slabinfo_shows_the_same_line() -> None:
    page_alloc, boot, slub = machine()
    line = SlabSeed("inode_cache", 10300, 10356, 640, 12, 2, 863)
    # without a real start all is free: let booting have taken the frames the slabs are in
    zone = page_alloc.zones.zones[1]
    while boot.count(1) < 863 * 2 + 4:
        pfn = page_alloc.buddy.take_smallest(zone, 10, 1)
        boot.ranges[1].append((pfn, pfn + 1024))
    boot.ranges[1].sort()
    cache = slub.cache(seed_cache(slub, boot, line))
    assert (cache.active_objs(), cache.num_objs, cache.num_slabs) == (10300, 10356, 863)
    assert page_alloc.vmstat.node_page_state(0, NR_SLAB_RECLAIMABLE) == 863 * 2
    slub.verify()
    assert slub.find("inode_cache") == cache.cache_id
    assert slub.find("no_such_cache") == NIL


def test_a_smaller_slab_holds_fewer_objects() -> None:
    page_alloc, _, slub = machine()
    cache_id = slub.create("ext4_inode_cache", 1192, 2, 13)
    assert slub.alloc_object(cache_id) == NEED_PAGE
    assert slub.add_slab(cache_id, page_alloc.alloc_fast(slub.gfp_of(cache_id), 0)) == 3
    assert len({take(slub, cache_id) for _ in range(4)}) == 2
    slub.verify()
