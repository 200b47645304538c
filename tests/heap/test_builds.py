"""The twin's malloc of each version against a build of it, wherever builds are at hand.

MEMTWIN_GLIBCS names them (docs/HACKING.md); `make heap-truth GLIBCS=DIR` does the same at length.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import glibc_builds
from tests.glibc_builds import Library
from tests.heap import sequences as seq
from tests.heap import truth
from tests.heap.test_faults import CASES
from tests.heap.test_truth import TUNABLES

from memtwin.errors import UserError
from memtwin.heap.constants import FAULTS
from memtwin.heap.heap import Heap
from memtwin.heap.versions import rules_of, versions

LIBRARIES = glibc_builds.builds_or_skip()
pytestmark = pytest.mark.parametrize("library", LIBRARIES, ids=str, scope="module")
EVENTS = 2000


@pytest.fixture(scope="module")
def driver(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver, built to run on the library of the test."""
    return truth.build_driver(tmp_path_factory.mktemp("truth"), library)


def _changes(tunables: str) -> tuple[tuple[str, int], ...]:
    pairs = [pair.split("=") for pair in tunables.split(":") if pair]
    return tuple((name, int(value)) for name, value in pairs)


def _expect_the_same(
    library: Library, driver: Path, events: np.ndarray, tunables: str = "", touches: int = 0
) -> tuple[truth.Answers, Heap]:
    real = truth.real(driver, events, tunables, touches)
    assert real.status == 0
    assert str(library.directory) in real.maps
    twin, heap = truth.twin(events, real.layout, _changes(tunables), touches, library.version)
    assert not truth.differences(real, twin)
    assert heap.memory.fault == 0
    return real, heap


@pytest.mark.parametrize("name", seq.MIXES)
def test_every_address_and_call_is_what_that_version_gives(
    library: Library, driver: Path, name: str
) -> None:
    real, _ = _expect_the_same(library, driver, seq.sequence(name, 200, EVENTS))
    assert np.count_nonzero(real.values[:, 0]) > EVENTS // 3


@pytest.mark.parametrize("tunables", TUNABLES)
def test_tunables_do_what_they_do_in_that_version(
    library: Library, driver: Path, tunables: str
) -> None:
    _expect_the_same(library, driver, seq.sequence("wide", 9, EVENTS), tunables)


@pytest.mark.parametrize(("name", "threads"), [("wide", 1), ("everything", 5), ("small", 20)])
def test_threads_get_the_arenas_and_sizes_of_that_version(
    library: Library, driver: Path, name: str, threads: int
) -> None:
    rows = [(seq.OP_STATS, 0, 0, 0, 0), (seq.OP_INFO, 0, 0, 0, 0)]
    events = seq.with_every(seq.threaded(name, 3, threads, EVENTS), EVENTS, rows)
    real, heap = _expect_the_same(library, driver, events)
    arenas = real.text.count("<heap nr=")
    assert arenas == int(heap.thread_arenas.narenas)
    assert arenas > 1


def test_arena_max_makes_threads_share_arenas_in_that_version(
    library: Library, driver: Path
) -> None:
    events = seq.threaded("wide", 4, 6, EVENTS)
    _expect_the_same(library, driver, events, "glibc.malloc.arena_max=2")


@pytest.mark.parametrize("name", ["wide", "large", "nudge", "everything"])
def test_a_break_that_cannot_go_on_is_replaced_as_in_that_version(
    library: Library, driver: Path, name: str
) -> None:
    _, heap = _expect_the_same(library, driver, seq.walled(name, 1, EVENTS))
    assert heap.arenas.noncontiguous[0] == 1


@pytest.mark.parametrize("name", ["trim", "memalign", "realloc_large", "calloc"])
def test_the_resident_pages_are_those_of_that_version(
    library: Library, driver: Path, name: str
) -> None:
    rows = [(seq.OP_RESIDENT, 0, 0, 0, 0)]
    events = seq.with_every(seq.sequence(name, 5, EVENTS), 300, rows)
    real, _ = _expect_the_same(library, driver, events, touches=1)
    assert real.values[events["op"] == seq.OP_RESIDENT].sum() > 0


@pytest.mark.parametrize("name", ["wide", "large", "everything"])
@pytest.mark.parametrize("hugetlb", [1, 2])
def test_huge_pages_change_calls_and_addresses_as_in_that_version(
    library: Library, driver: Path, hugetlb: int, name: str
) -> None:
    reason = truth.why_no_huge_pages(hugetlb)
    if reason or not rules_of(library.version).knows_hugetlb:
        pytest.skip(reason or f"glibc {library.version} has no such tunable")
    tunables = f"glibc.malloc.hugetlb={hugetlb}"
    for events in (
        seq.sequence(name, 1, EVENTS),
        seq.threaded(name, 1, 5, EVENTS),
        seq.walled(name, 1, EVENTS),
    ):
        real, _ = _expect_the_same(library, driver, events, tunables)
        assert truth.asks_for_huge_pages(real, hugetlb)


@pytest.mark.parametrize("name", ["memalign", "realloc_large", "calloc", "everything"])
def test_filling_blocks_touches_the_pages_that_it_touches_in_that_version(
    library: Library, driver: Path, name: str
) -> None:
    rows = [(seq.OP_RESIDENT, 0, 0, 0, 0)]
    events = seq.with_every(seq.sequence(name, 5, EVENTS), 300, rows)
    _expect_the_same(library, driver, events, "glibc.malloc.perturb=85", touches=1)


@pytest.mark.parametrize("name", ["wide", "memalign", "realloc_large", "calloc", "everything"])
def test_checked_blocks_lie_where_that_version_puts_them(
    library: Library, driver: Path, name: str
) -> None:
    if not rules_of(library.version).has_check_hooks:
        pytest.skip(f"glibc {library.version} checks in another library")
    tunables = "glibc.malloc.check=3"
    _expect_the_same(library, driver, seq.sequence(name, 5, EVENTS), tunables, touches=1)
    _expect_the_same(library, driver, seq.threaded(name, 5, 4, EVENTS), tunables, touches=1)


def test_an_alignment_that_is_no_power_of_two_is_taken_or_refused_as_in_that_version(
    library: Library, driver: Path
) -> None:
    rows = [
        (seq.OP_ALIGNED_ALLOC, 0, slot, 100 + slot, alignment)
        for slot, alignment in enumerate([24, 48, 64, 0, 1, 100, 5000], 1)
    ]
    real, _ = _expect_the_same(library, driver, np.array(rows, dtype=seq.EVENT))
    refused = int((real.values[:, 0] == 0).sum())
    assert refused == (5 if rules_of(library.version).aligned_alloc_checks else 0)


@pytest.mark.parametrize(("message", "tunables", "rows"), CASES, ids=[c[0] for c in CASES])
def test_a_broken_heap_is_found_by_the_words_of_that_version(
    library: Library, driver: Path, message: str, tunables: str, rows: list[tuple[int, ...]]
) -> None:
    events = np.array(rows, dtype=seq.EVENT)
    real = truth.real(driver, events, tunables)
    twin, heap = truth.twin(events, real.layout, _changes(tunables), glibc=library.version)
    assert FAULTS.get(int(heap.memory.fault)) == real.text.strip() == message
    assert (real.values == twin.values).all()


def test_the_rules_of_other_versions_are_told_apart(library: Library, driver: Path) -> None:
    """What would be equal under any rules proves none of them."""
    own = rules_of(library.version)
    runs = [(seq.sequence("nudge", seed, 10_000), "") for seed in range(3)]
    runs += [(seq.sequence("mallopt", seed, 10_000), "") for seed in range(3)]
    runs += [(seq.threaded("wide", 0, 2, 1000), ""), (seq.walled("everything", 0, 5000), "")]
    runs.append((np.array([(seq.OP_ALIGNED_ALLOC, 0, 1, 9, 48)], dtype=seq.EVENT), ""))
    runs.append((seq.sequence("small", 0, 100), "glibc.malloc.tcache_count=5"))
    # what a version does not know of it says nothing about the others
    unproved = {"version"}
    if own.has_check_hooks:
        runs.append((seq.sequence("small", 0, 100), "glibc.malloc.check=3"))
    else:
        unproved.add("has_check_hooks")
    if own.knows_hugetlb and not truth.why_no_huge_pages(2):
        runs.append((seq.sequence("large", 0, 1000), "glibc.malloc.hugetlb=2"))
    else:
        unproved |= {"knows_hugetlb", "hugetlb_sets_threshold"}
    real = [truth.real(driver, rows, tunables) for rows, tunables in runs]
    for version in versions():
        found = [
            _differs(rows, tunables, answers, version)
            for (rows, tunables), answers in zip(runs, real, strict=True)
        ]
        other = rules_of(version)
        apart = {name for name in vars(own) if getattr(own, name) != getattr(other, name)}
        assert any(found) is bool(apart - unproved), version


def _differs(rows: np.ndarray, tunables: str, real: truth.Answers, version: str) -> bool:
    """Whether the twin under another version's rules does anything else, or refuses to."""
    try:
        twin, _ = truth.twin(rows, real.layout, _changes(tunables), glibc=version)
    except UserError:
        return True
    return bool(truth.differences(real, twin))
