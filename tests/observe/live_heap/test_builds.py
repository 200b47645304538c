"""The scan on programs that run on other versions of glibc, wherever builds are at hand.

MEMTWIN_GLIBCS names them (docs/HACKING.md). Several programs run at once, so that threads are
stopped at less convenient moments than on an idle machine.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests import glibc_builds
from tests.glibc_builds import Library
from tests.observe.live_heap.conftest import Build, Running, Start
from tests.observe.live_heap.test_truth import exact_look, sorted_blocks, truth_of

from memtwin.heap.versions import rules_of
from memtwin.observe.live_heap import Method, scan_heap

LIBRARIES = glibc_builds.builds_or_skip()
pytestmark = pytest.mark.parametrize("library", LIBRARIES, ids=str, scope="module")
AT_ONCE = 3


def _runs_on(program: Running, library: Library) -> bool:
    maps = Path(f"/proc/{program.pid}/maps").read_text()
    others = [other for other in LIBRARIES if other.directory != library.directory]
    return f"{library.directory}/" in maps and not any(f"{o.directory}/" in maps for o in others)


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("arenas", ["own arenas", "shared arenas"])
def test_every_block_is_what_the_program_says_it_is_on_that_version(
    library: Library, method: Method, arenas: str, build: Build, start: Start
) -> None:
    words = [200, "shared"] if arenas == "shared arenas" else [200]
    built = build("truth", library=library)
    waiting: list[Running] = []

    def begin() -> Running:
        while len(waiting) < AT_ONCE:
            waiting.append(start(built, *words))
            assert _runs_on(waiting[-1], library)
        return waiting.pop(0)

    for _ in range(AT_ONCE):
        truth, found = exact_look(begin, method)
        assert len(found) - len(truth) < 12
        assert Counter(truth.values())["d"] > 700


TUNABLES = ["tcache_count=0", "tcache_max=100", "arena_max=1", "mmap_threshold=4096", "hugetlb=1",
            "hugetlb=2"]  # fmt: skip


@pytest.mark.parametrize("tunable", TUNABLES)
def test_every_block_is_right_under_other_settings_of_that_version(
    library: Library, tunable: str, build: Build, start: Start
) -> None:
    if "hugetlb" in tunable and not rules_of(library.version).knows_hugetlb:
        pytest.skip(f"glibc {library.version} has no such tunable")
    built, tunables = build("truth", library=library), f"glibc.malloc.{tunable}"
    truth, _ = exact_look(lambda: start(built, 100, GLIBC_TUNABLES=tunables), Method.FORK)
    assert len(truth) > 2000


def test_every_block_is_right_where_mapped_memory_stood_in_for_the_break_of_that_version(
    library: Library, build: Build, start: Start
) -> None:
    built = build("truth", library=library)
    truth, found = exact_look(lambda: start(built, 100, "walled"), Method.FORK)
    assert len(found) >= len(truth) > 2000


def test_a_scan_names_that_version_and_counts_as_the_program_does(
    library: Library, build: Build, start: Start
) -> None:
    program = start(build("truth", library=library), 100)
    truth = Counter(truth_of(program).values())
    scan = scan_heap(program.pid)
    assert scan.allocator == f"glibc {library.version}"
    assert scan.kinds["definite"].blocks <= truth["d"]
    assert scan.heap.arenas == 5
    assert scan.heap.cached_chunks > 0
    assert scan.heap.fastbin_chunks > 0
    assert scan.notes == []


def test_a_cache_in_a_chunk_that_is_too_large_is_found_on_that_version(
    library: Library, build: Build, start: Start
) -> None:
    programs = [start(build("odd_cache", library=library)) for _ in range(AT_ONCE)]
    for program in programs:
        assert set(sorted_blocks(program.pid, Method.FORK).values()) <= {"p", "r"}
        assert scan_heap(program.pid).heap.cached_chunks == 7 + 5 * 7


def test_a_program_that_churns_without_leaking_is_never_said_to_leak_on_that_version(
    library: Library, build: Build, start: Start
) -> None:
    program = start(build("churn", library=library))
    for method in [Method.FORK] * 3 + [Method.COPY]:
        scan = scan_heap(program.pid, method)
        assert scan.kinds["definite"].blocks == 0, scan.groups[0]
        assert scan.kinds["indirect"].blocks == 0
