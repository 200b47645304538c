"""zram and the zsmalloc pool behind it, against a dictionary and against real mm_stat figures."""

import random

import pytest

from memtwin.errors import UserError
from memtwin.page.boot_layout import MemoryRange, boot_page_alloc
from memtwin.page.tunables import Tunables
from memtwin.swap.constants import (
    CONTENT_HALF,
    CONTENT_RANDOM,
    CONTENT_SAME,
    CONTENT_WORD,
    CONTENT_ZERO,
)
from memtwin.swap.zram import COMPRESSED_BYTES, Zram
from memtwin.swap.zsmalloc import Zsmalloc


def zram(kernel: int = 601, algorithm: str = "lzo-rle", ram_mib: int = 32) -> Zram:
    tunables = Tunables(kernel, 1)
    ranges = [MemoryRange(256, ram_mib << 8)]
    page_alloc, _ = boot_page_alloc(ranges, kernel, tunables=tunables)
    pool = Zsmalloc(page_alloc.mem_map, page_alloc.zones, page_alloc.vmstat, page_alloc, kernel)
    return Zram("zram0", 8192, algorithm, pool)


def test_stored_sizes_are_what_a_6_1_kernel_reported() -> None:
    # mm_stat of a 6.1 guest after MADV_PAGEOUT of 8192 pages, a quarter of each page random: 8192
    # * 1070 bytes compressed, 8966144 bytes used (one further page lies in it)
    store = zram(ram_mib=64)
    for slot in range(8191):
        store.write(slot, 4)
    orig, compressed, used = store.mm_stat()[:3]
    assert orig == 8191 * 4096
    assert compressed == 8191 * 1070
    assert used == pytest.approx(8966144, rel=0.002)


def test_same_filled_pages_take_no_memory() -> None:
    store = zram()
    for slot in range(100):
        store.write(slot, CONTENT_ZERO if slot % 2 else CONTENT_SAME)
    assert store.pool.pages_allocated == 0
    assert store.mm_stat()[5] == 100


def test_incompressible_pages_are_huge_and_take_a_frame_each() -> None:
    store = zram()
    for slot in range(50):
        store.write(slot, CONTENT_RANDOM)
    assert store.pool.pages_allocated == store.huge_pages == 50


@pytest.mark.parametrize("kernel", [601, 612])
@pytest.mark.parametrize("algorithm", sorted(COMPRESSED_BYTES))
def test_random_writes_and_frees_agree_with_a_dictionary(kernel: int, algorithm: str) -> None:
    chance = random.Random(kernel)
    store = zram(kernel, algorithm)
    kept: dict[int, int] = {}
    contents = (CONTENT_ZERO, CONTENT_WORD, CONTENT_HALF, CONTENT_RANDOM)
    for _ in range(1500):
        slot = chance.randrange(600)
        if chance.random() < 0.6:
            content = chance.choice(contents)
            assert store.write(slot, content) == 0
            kept[slot] = content
        else:
            store.free_slot(slot)
            kept.pop(slot, None)
    assert store.pages_stored == len(kept)
    sizes = {content: int(store.size_of_content[content]) for content in contents}
    assert store.compr_data_size == sum(max(sizes[content], 0) for content in kept.values())
    store.verify()
    for slot in list(kept):
        store.free_slot(slot)
    assert store.pool.pages_allocated == 0
    store.verify()


def test_a_full_machine_refuses_to_store() -> None:
    store = zram(ram_mib=4)
    slot = 0
    while store.write(slot, CONTENT_RANDOM) == 0:
        slot += 1
    assert slot > 100
    store.verify()


def test_an_unknown_algorithm_is_named_with_those_allowed() -> None:
    with pytest.raises(UserError, match=r"'brotli'.*lz4, lzo-rle, zstd"):
        zram(algorithm="brotli")
