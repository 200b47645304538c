"""Slab caches, swap areas and zram of the twin as the kernel's texts."""

from __future__ import annotations

from memtwin.machine.description import ZRAM_ALGORITHMS
from memtwin.observe.slabinfo import parse_slabinfo, render_slabinfo
from memtwin.observe.swaps import parse_swaps, render_swaps
from memtwin.observe.twin.stores import slab_rows
from memtwin.page.boot_layout import MemoryRange, boot_page_alloc
from memtwin.slab.slub import Slub
from memtwin.swap.zram import COMPRESSED_BYTES


def test_a_cache_s_objects_show_in_slabinfo() -> None:
    page_alloc, _ = boot_page_alloc([MemoryRange(256, 16384)], 601)
    slub = Slub(page_alloc)
    cache_id = slub.create("dentry", 192, 0, 21)
    before = slab_rows(slub)[0]
    assert (before.name, before.num_objs, before.objs_per_slab) == ("dentry", 0, 21)
    pfn = page_alloc.get_page_from_freelist(slub.gfp_of(cache_id), 0, 1)
    slub.add_slab(cache_id, pfn)
    after = slab_rows(slub)[0]
    assert (after.num_objs, after.num_slabs, after.pages_per_slab) == (21, 1, 1)
    assert parse_slabinfo(render_slabinfo([after])) == [after]


def test_descriptions_allow_the_algorithms_that_zram_knows() -> None:
    assert set(ZRAM_ALGORITHMS) == set(COMPRESSED_BYTES)


def test_large_areas_lose_the_extra_tab_as_in_the_kernel() -> None:
    text = (
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        "/dev/nvme0n1p2                          partition\t10000000\t9999999\t\t-2\n"
    )
    assert render_swaps(parse_swaps(text)) == text
