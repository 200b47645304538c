"""What glibc says of a broken heap, and ends by SIGABRT, the twin says of the same events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.heap import sequences as seq
from tests.heap import truth

from memtwin.heap.constants import FAULTS

SIGABRT_STATUS = 128 + 6
M, F, AT, POKE = seq.OP_MALLOC, seq.OP_FREE, seq.OP_FREE_AT, seq.OP_POKE
NO_TCACHE = "glibc.malloc.tcache_count=0"


def _blocks(size: int, count: int) -> list[tuple[int, ...]]:
    return [(M, 0, slot, size, 0) for slot in range(1, count + 1)]


# (what glibc 2.36 says, tunables, events as op, thread, slot, size, argument)
CASES = [
    ("free(): double free detected in tcache 2", "", [*_blocks(40, 1), *[(AT, 0, 1, 0, 0)] * 2]),
    ("double free or corruption (fasttop)", NO_TCACHE,
     [*_blocks(40, 2), *[(AT, 0, 1, 0, 0)] * 2]),
    ("double free or corruption (top)", "", [*_blocks(2000, 1), *[(AT, 0, 1, 0, 0)] * 2]),
    ("double free or corruption (!prev)", "", [*_blocks(2000, 2), *[(AT, 0, 1, 0, 0)] * 2]),
    ("double free or corruption (out)", "",
     [*_blocks(2000, 1), (POKE, 0, 1, -8, 0x80001), (AT, 0, 1, 0, 0)]),
    ("free(): invalid pointer", "", [*_blocks(2000, 1), (AT, 0, 1, 8, 0)]),
    ("free(): invalid size", "", [*_blocks(40, 1), (POKE, 0, 1, -8, 0x11), (AT, 0, 1, 0, 0)]),
    ("free(): invalid next size (normal)", "",
     [*_blocks(2000, 2), (POKE, 0, 2, -8, 1), (AT, 0, 1, 0, 0)]),
    ("free(): invalid next size (fast)", NO_TCACHE,
     [*_blocks(40, 2), (POKE, 0, 2, -8, 1), (AT, 0, 1, 0, 0)]),
    ("malloc(): corrupted top size", "",
     [*_blocks(2008, 1), (POKE, 0, 1, 2008, (1 << 40) + 1), (M, 0, 2, 3000, 0)]),
    ("malloc(): invalid size (unsorted)", "",
     [*_blocks(2000, 2), (AT, 0, 1, 0, 0), (POKE, 0, 1, -8, 0x1), (M, 0, 3, 3000, 0)]),
    ("malloc(): mismatching next->prev_size (unsorted)", "",
     [*_blocks(2008, 2), (AT, 0, 1, 0, 0), (POKE, 0, 1, 2000, 64), (M, 0, 3, 3000, 0)]),
    ("malloc(): invalid next size (unsorted)", "",
     [*_blocks(2008, 2), (AT, 0, 1, 0, 0), (POKE, 0, 2, -8, 1), (M, 0, 3, 3000, 0)]),
    ("malloc(): invalid next->prev_inuse (unsorted)", "",
     [*_blocks(2008, 2), (AT, 0, 1, 0, 0), (POKE, 0, 2, -8, 2016 | 1), (M, 0, 3, 3000, 0)]),
    ("corrupted size vs. prev_size while consolidating", "",
     [*_blocks(2008, 3), (AT, 0, 1, 0, 0), (POKE, 0, 2, -16, 1008), (AT, 0, 2, 0, 0)]),
    ("corrupted size vs. prev_size", "",
     [*_blocks(2008, 4), (AT, 0, 2, 0, 0), (POKE, 0, 2, 2000, 1008), (AT, 0, 1, 0, 0)]),
    ("munmap_chunk(): invalid pointer", "",
     [*_blocks(300_000, 1), (POKE, 0, 1, -8, 0x1002 + 16), (AT, 0, 1, 0, 0)]),
    ("mremap_chunk(): invalid pointer", "",
     [*_blocks(300_000, 1), (POKE, 0, 1, -8, 0x1002 + 16),
      (seq.OP_REALLOC_AT, 0, 1, 400_000, 0)]),
    ("realloc(): invalid pointer", "", [*_blocks(64, 1), (seq.OP_REALLOC_AT, 0, 1, 90, 8)]),
    ("realloc(): invalid old size", "",
     [*_blocks(64, 1), (POKE, 0, 1, -8, 0x9), (seq.OP_REALLOC_AT, 0, 1, 90, 0)]),
    ("realloc(): invalid next size", "",
     [*_blocks(64, 2), (POKE, 0, 2, -8, 1), (seq.OP_REALLOC_AT, 0, 1, 90, 0)]),
    ("malloc(): memory corruption (fast)", NO_TCACHE,
     [*_blocks(40, 2), (AT, 0, 1, 0, 0), (POKE, 0, 1, -8, 0x61), (M, 0, 3, 40, 0)]),
    ("malloc_consolidate(): invalid chunk size", NO_TCACHE,
     [*_blocks(40, 2), (AT, 0, 1, 0, 0), (POKE, 0, 1, -8, 0x61), (M, 0, 3, 2000, 0)]),
]  # fmt: skip


def _changes(tunables: str) -> tuple[tuple[str, int], ...]:
    pairs = [pair.split("=") for pair in tunables.split(":") if pair]
    return tuple((name, int(value)) for name, value in pairs)


@pytest.mark.parametrize(("message", "tunables", "rows"), CASES, ids=[c[0] for c in CASES])
def test_the_twin_finds_the_broken_heap_that_glibc_finds(
    message: str, tunables: str, rows: list[tuple[int, ...]], driver: Path
) -> None:
    events = np.array(rows, dtype=seq.EVENT)
    real = truth.real(driver, events, tunables)
    assert real.status == SIGABRT_STATUS
    twin, heap = truth.twin(events, real.layout, _changes(tunables))
    assert FAULTS.get(int(heap.memory.fault)) == real.text.strip()
    if truth.glibc_version() == "2.36":
        assert real.text.strip() == message
    assert (real.values == twin.values).all()


def test_a_dead_process_allocates_and_frees_nothing_more(driver: Path) -> None:
    rows = [*_blocks(40, 1), *[(AT, 0, 1, 0, 0)] * 2]
    layout = truth.real(driver, np.array(rows[:1], dtype=seq.EVENT)).layout
    _, heap = truth.twin(np.array(rows, dtype=seq.EVENT), layout)
    before = heap.memory.log.counts.tolist() if hasattr(heap.memory.log.counts, "tolist") else None
    assert heap.malloc(100) == 0
    assert heap.calloc(1, 300_000) == 0
    assert heap.memalign(64, 64) == 0
    assert before is None or heap.memory.log.counts.tolist() == before
