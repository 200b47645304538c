"""A replayed heap tells what other thresholds would have changed, and drives the twin's kernel."""

from __future__ import annotations

import numpy as np
import pytest

from memtwin.analysis.heap_story import figures, reasons
from memtwin.errors import UserError
from memtwin.heap.build import HeapTerms
from memtwin.heap.census import take_census
from memtwin.record.heap_trace import (
    COLUMNS,
    FREE,
    MALLOC,
    MALLOPT,
    REALLOC,
    TRIM,
    HeapTrace,
    HeapTraceInfo,
)
from memtwin.workload.heap_process import run_on_machine
from memtwin.workload.heap_replay import Replayed, events_of, replay

Row = tuple[int, int, int, int, int]  # op, tid, pointer, size, argument


def _trace(rows: list[Row]) -> HeapTrace:
    table = {name: np.zeros(len(rows), dtype) for name, (dtype, _) in COLUMNS.items()}
    table["time_ns"] = np.arange(len(rows), dtype="int64")
    for number, (op, tid, pointer, size, argument) in enumerate(rows):
        table["op"][number], table["tid"][number] = op, tid
        table["pointer"][number], table["size"][number] = pointer, size
        table["argument"][number] = argument
    table["pid"][:] = 1
    return HeapTrace(HeapTraceInfo(), table)


def _pinned(blocks: int = 400) -> HeapTrace:
    """Blocks of 100 KiB, a small one on top, then all but that freed."""
    rows: list[Row] = [(MALLOC, 1, 16 * (k + 1), 100 << 10, 0) for k in range(blocks)]
    rows.append((MALLOC, 1, 1 << 40, 64, 0))
    rows += [(FREE, 1, 16 * (k + 1), 0, 0) for k in range(blocks)]
    return _trace(rows)


def _run(trace: HeapTrace, *changes: tuple[str, int], keep: str = "") -> Replayed:
    return replay(events_of(trace, 0), HeapTerms(changes=changes), keep)


def test_a_block_above_freed_memory_keeps_it_and_is_named() -> None:
    done = _run(_pinned())
    census = take_census(done.heap)
    assert done.resident_bytes > 39 << 20
    assert census.last_used is not None
    assert census.last_used.size_bytes == 80
    assert census.free_below_last_bytes >= 400 * (100 << 10)
    assert census.trimmable_resident_bytes > 39 << 20
    said = " ".join(reasons(census, done.resident_bytes, 64, ""))
    assert "80 bytes" in said
    assert "malloc_trim(0) would give back 39" in said
    assert figures(census)["fragmentation"] == 0.0


def test_a_lower_mmap_threshold_gives_it_all_back() -> None:
    done = _run(_pinned(), ("M_MMAP_THRESHOLD", 64 << 10))
    assert done.resident_bytes < 1 << 20
    assert done.calls["munmap"] == 399  # the first one fits the break's first 132 KiB
    assert done.resident_peak_bytes > 39 << 20
    assert done.kernel_ns > 0


def test_a_recorded_trim_and_mallopt_are_done_unless_the_setting_is_changed() -> None:
    trace = _pinned()
    table = trace.table
    more = _trace([(MALLOPT, 1, 0, -3, 64 << 10)])
    joined = HeapTrace(
        trace.info, {name: np.concatenate([more.table[name], table[name]]) for name in table}
    )
    assert _run(joined).calls["munmap"] == 399
    assert "munmap" not in _run(joined, ("M_MMAP_THRESHOLD", 1 << 20)).calls
    trim = _trace([(TRIM, 1, 0, 0, 0)])
    trimmed = HeapTrace(
        trace.info, {name: np.concatenate([table[name], trim.table[name]]) for name in table}
    )
    assert _run(trimmed).resident_bytes < 1 << 20


def test_what_the_recording_does_not_explain_is_counted_and_left_out() -> None:
    rows: list[Row] = [
        (FREE, 1, 999, 0, 0),  # from before
        (MALLOC, 1, 16, 100, 0),
        (MALLOC, 2, 16, 50, 0),  # its free comes later into the trace
        (FREE, 1, 16, 0, 0),
        (MALLOC, 1, 0, 1 << 50, 0),  # failed
        (REALLOC, 1, 0, 1 << 50, 16),  # failed: the block stays
        (REALLOC, 1, 32, 70, 16),
        (REALLOC, 1, 0, 0, 32),  # frees
        (REALLOC, 1, 48, 10, 0),
    ]
    events = events_of(_trace(rows), 0)
    assert (events.unknown_frees, events.failures) == (1, 2)
    done = replay(events, HeapTerms())
    assert int(done.runner.live_blocks) == 1
    assert int(done.runner.live_bytes) == 10
    with pytest.raises(UserError, match="no image 5"):
        events_of(_trace(rows), 5)


def test_the_twins_process_has_the_resident_size_that_the_heap_says() -> None:
    trace = _pinned(100)
    for changes in ((), (("M_MMAP_THRESHOLD", 64 << 10),)):
        done = replay(events_of(trace, 0), HeapTerms(changes=changes), "log")
        found = run_on_machine(done, "laptop-8g", None)
        assert found["twin_alive"] == 1
        assert found["twin_refusals"] == 0
        assert found["twin_VmRSS_bytes"] == done.resident_bytes


def test_a_limit_makes_the_twins_process_swap_or_die() -> None:
    done = replay(events_of(_pinned(400), 0), HeapTerms(), "log")
    found = run_on_machine(done, "board-128m", "16M")
    assert found["twin_alive"] == 0 or found["twin_pswpout"] > 0
