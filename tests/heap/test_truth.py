"""The same events on the C library of this machine and on the twin: every address, every call.

`make heap-truth` runs the whole of it, 13 mixes of 16 seeds and 10,000 events; here is a part.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.heap import sequences as seq
from tests.heap import truth

EVENTS = 3000
TUNABLES = [
    "glibc.malloc.tcache_count=0",
    "glibc.malloc.tcache_count=100",
    "glibc.malloc.tcache_max=200",
    "glibc.malloc.tcache_unsorted_limit=3",
    "glibc.malloc.mxfast=0:glibc.malloc.tcache_count=2",
    "glibc.malloc.top_pad=0",
    "glibc.malloc.mmap_threshold=10000000:glibc.malloc.trim_threshold=5000",
]


def _expect_the_same(
    driver: Path, events: np.ndarray, tunables: str = "", touches: int = 0
) -> truth.Answers:
    real = truth.real(driver, events, tunables, touches)
    assert real.status == 0
    changes = tuple(
        (pair.split("=")[0], int(pair.split("=")[1])) for pair in tunables.split(":") if pair
    )
    twin, heap = truth.twin(events, real.layout, changes, touches)
    assert not truth.differences(real, twin)
    assert heap.memory.fault == 0
    return real


@pytest.mark.parametrize("name", seq.MIXES)
def test_every_address_and_call_and_usable_size_is_what_the_c_library_gave(
    name: str, driver: Path
) -> None:
    real = _expect_the_same(driver, seq.sequence(name, 100, EVENTS))
    assert np.count_nonzero(real.values[:, 0]) > EVENTS // 3
    assert len(real.calls) > 1


@pytest.mark.parametrize("name", ["wide", "large", "everything"])
@pytest.mark.parametrize("hugetlb", [1, 2])
def test_huge_pages_change_calls_and_addresses_as_in_the_c_library(
    hugetlb: int, name: str, driver: Path
) -> None:
    reason = truth.why_no_huge_pages(hugetlb)
    if reason:
        pytest.skip(reason)
    tunables = f"glibc.malloc.hugetlb={hugetlb}"
    real = _expect_the_same(driver, seq.sequence(name, 1, EVENTS), tunables)
    _expect_the_same(driver, seq.threaded(name, 1, 5, EVENTS), tunables)
    _expect_the_same(driver, seq.walled(name, 1, EVENTS), tunables)
    assert truth.asks_for_huge_pages(real, hugetlb)


@pytest.mark.parametrize("name", ["wide", "memalign", "realloc_large", "calloc", "everything"])
def test_filling_blocks_changes_no_address_but_which_pages_are_touched(
    name: str, driver: Path
) -> None:
    rows = [(seq.OP_RESIDENT, 0, 0, 0, 0)]
    events = seq.with_every(seq.sequence(name, 5, EVENTS), 300, rows)
    filled = _expect_the_same(driver, events, "glibc.malloc.perturb=85", touches=1)
    plain = _expect_the_same(driver, events, "glibc.malloc.perturb=0", touches=1)
    looks = events["op"] == seq.OP_RESIDENT
    assert (filled.values[~looks] == plain.values[~looks]).all()
    assert filled.calls == plain.calls
    if "memalign" in name:  # what is cut off an aligned block is filled, and then freed
        assert (filled.values[looks] > plain.values[looks]).any()


@pytest.mark.parametrize("tunables", TUNABLES)
def test_tunables_change_the_twin_as_they_change_the_c_library(tunables: str, driver: Path) -> None:
    _expect_the_same(driver, seq.sequence("wide", 9, EVENTS), tunables)


# without touching only mixes without realloc: copying reads pages that were never written, and
# the kernel shows its zero page there
@pytest.mark.parametrize(
    ("name", "touches"),
    [("small", 0), ("wide", 0), ("large", 0), ("wide", 1), ("large", 1), ("calloc", 1), ("trim", 1),
     ("memalign", 1), ("realloc_large", 1), ("everything", 1)],
)  # fmt: skip
def test_the_resident_pages_are_those_of_the_real_process(
    name: str, touches: int, driver: Path
) -> None:
    events = seq.with_every(seq.sequence(name, 5, EVENTS), 300, [(seq.OP_RESIDENT, 0, 0, 0, 0)])
    real = _expect_the_same(driver, events, touches=touches)
    assert real.values[events["op"] == seq.OP_RESIDENT].sum() > 0


@pytest.mark.parametrize(("name", "threads"), [("wide", 1), ("everything", 5), ("small", 20)])
def test_threads_that_take_turns_get_the_arenas_and_addresses_of_the_real_ones(
    name: str, threads: int, driver: Path
) -> None:
    _expect_the_same(driver, seq.threaded(name, 3, threads, EVENTS))


def test_arena_max_makes_threads_share_arenas_as_in_the_real_process(driver: Path) -> None:
    _expect_the_same(driver, seq.threaded("wide", 4, 6, EVENTS), "glibc.malloc.arena_max=2")


def test_the_texts_of_malloc_stats_and_malloc_info_are_equal(driver: Path) -> None:
    rows = [(seq.OP_STATS, 0, 0, 0, 0), (seq.OP_INFO, 0, 0, 0, 0)]
    alone = _expect_the_same(
        driver, seq.with_every(seq.sequence("everything", 77, 2000), 500, rows)
    )
    assert "<unsorted" in alone.text
    threads = seq.with_every(seq.threaded("wide", 5, 4, 2000), 500, rows)
    assert "subheaps" in _expect_the_same(driver, threads).text


def test_a_foreign_sbrk_splits_the_heap_as_in_the_real_process(driver: Path) -> None:
    rows = [(seq.OP_SBRK, 0, 0, 4112, 0)]
    _expect_the_same(driver, seq.with_every(seq.sequence("wide", 20, EVENTS), 700, rows))


def test_requests_that_nobody_can_serve_fail_by_the_same_calls(driver: Path) -> None:
    rows = [
        (1, 0, 1, 100, 0), (1, 0, 2, 1 << 46, 0), (1, 0, 3, 1 << 62, 0), (4, 0, 4, 1 << 44, 0),
        (3, 0, 1, 1 << 45, 0), (5, 0, 5, 1 << 40, 4096), (1, 0, 6, 50, 0), (2, 0, 1, 0, 0),
    ]  # fmt: skip
    real = _expect_the_same(driver, np.array(rows, dtype=seq.EVENT))
    assert real.values[1].sum() == 0
    assert real.values[6].sum() > 0
