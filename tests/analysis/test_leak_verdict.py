"""Two scans, a trend and reports give one verdict, with its reasons."""

from __future__ import annotations

import msgspec
import pytest

from memtwin.analysis.heap_growth import heap_growth
from memtwin.analysis.leak_verdict import Answer, LeakVerdict, MemoryTrend, Sureness, judge_process
from memtwin.errors import UserError
from memtwin.observe.leak_reports import Frame, LeakReport, LossRecord
from memtwin.observe.live_heap.records import (
    Group,
    HeapFigures,
    HeapScan,
    ScanCost,
    Tally,
)

MIB = 1 << 20
GROWS = MemoryTrend("steady growth", True, 1e5, 9e4, 1.1e5, 40)
FLAT = MemoryTrend("flat", False, 0.0, -10.0, 10.0, 40)


def scan(at_s: float, *groups: Group, free_bytes: int = 0) -> HeapScan:
    kinds = {
        kind: Tally(
            sum(group.blocks for group in groups if group.kind == kind),
            sum(group.bytes for group in groups if group.kind == kind),
        )
        for kind in ("definite", "indirect", "possible", "reachable")
    }
    used = sum(tally.bytes for tally in kinds.values())
    heap = HeapFigures(used + free_bytes, 0, used, free_bytes, 4096, 1, 2, 0, 0, 1)
    cost = ScanCost(1, 1, 1, 1, 1, 1, 1, 1)
    return HeapScan(
        7, "program", at_s, 99, "glibc 2.36", "fork", 1, heap, kinds, list(groups), [], [], cost
    )


def group(kind: str, blocks: int, size: int = 1000, content: str | None = None) -> Group:
    held = ["table in program"] if kind == "reachable" else []
    return Group(kind, size, blocks, blocks * size, content=content, held_by=held)


def verdict(before: HeapScan, after: HeapScan, trend: MemoryTrend | None = FLAT) -> LeakVerdict:
    return judge_process(before, after, heap_growth(before, after), trend)


def test_new_blocks_without_a_pointer_are_a_leak_with_their_rate() -> None:
    before = scan(0.0, group("definite", 10, content="C++ Circle"), group("reachable", 50))
    after = scan(10.0, group("definite", 110, content="C++ Circle"), group("reachable", 50))
    found = verdict(before, after, GROWS)
    assert (found.answer, found.sureness) == (Answer.LEAKING, Sureness.CERTAIN)
    assert found.bytes_per_s == pytest.approx(10_000)
    assert [(one.content, one.blocks_since) for one in found.culprits] == [("C++ Circle", 100)]
    assert any("C++ Circle" in hint for hint in found.look_at)
    assert any("valgrind" in hint for hint in found.look_at)


def test_a_few_new_lost_blocks_are_less_than_certain() -> None:
    found = verdict(scan(0.0), scan(10.0, group("definite", 2)))
    assert (found.answer, found.sureness) == (Answer.LEAKING, Sureness.LIKELY)


def test_blocks_lost_before_and_none_since_are_an_old_leak() -> None:
    found = verdict(scan(0.0, group("definite", 9)), scan(10.0, group("definite", 9)))
    assert found.answer is Answer.LEAKED
    assert found.bytes_per_s == 0.0
    assert found.culprits[0].blocks == 9


def test_growth_that_pointers_lead_to_is_no_leak_but_told_with_its_holder() -> None:
    before, after = scan(0.0, group("reachable", 1000)), scan(10.0, group("reachable", 3000))
    found = verdict(before, after, GROWS)
    assert (found.answer, found.sureness) == (Answer.GROWING, Sureness.LIKELY)
    assert found.bytes_per_s == pytest.approx(200_000)
    assert any("table in program" in hint for hint in found.look_at)
    assert verdict(before, after, FLAT).sureness is Sureness.WEAK


def test_growth_of_the_process_without_growth_of_the_heap_is_outside_of_it() -> None:
    same = group("reachable", 1000)
    found = verdict(scan(0.0, same), scan(10.0, same), GROWS)
    assert found.answer is Answer.OUTSIDE
    assert found.bytes_per_s == GROWS.bytes_per_s


def test_nothing_that_grows_is_no_leak_and_weakly_so_without_a_trend() -> None:
    same = group("reachable", 1000)
    found = verdict(scan(0.0, same), scan(10.0, same))
    assert (found.answer, found.sureness) == (Answer.NOT_LEAKING, Sureness.LIKELY)
    assert found.culprits == []
    alone = verdict(scan(0.0, same), scan(10.0, same), None)
    assert (alone.answer, alone.sureness) == (Answer.NOT_LEAKING, Sureness.WEAK)


def test_fragmentation_cache_and_kept_memory_are_named_as_no_leaks() -> None:
    before = scan(0.0, group("reachable", 10))
    after = scan(10.0, group("reachable", 10), group("possible", 3), free_bytes=5 * MIB)
    text = "\n".join(verdict(before, after).not_leaks)
    assert "fragmentation: 5M" in text
    assert "cache: " in text
    assert "malloc_trim" in text
    assert "possibly lost: 3 blocks" in text


def test_a_report_adds_the_calls_that_allocated() -> None:
    record = LossRecord("definite", 5, 500, stack=[Frame("malloc"), Frame("make", "a.c", 12)])
    report = LeakReport(tool="valgrind", kinds={}, records=[record])
    before, after = scan(0.0), scan(1.0, group("definite", 20))
    found = judge_process(before, after, heap_growth(before, after), None, [report])
    assert any("make (a.c:12)" in hint for hint in found.look_at)


def test_growth_is_counted_by_kind_size_and_content() -> None:
    before = scan(0.0, group("definite", 5, 100, "A"), group("definite", 5, 100, "B"))
    after = scan(2.0, group("definite", 5, 100, "A"), group("definite", 9, 100, "B"),
                 group("reachable", 1, 64))  # fmt: skip
    growth = heap_growth(before, after)
    changed = {(one.kind, one.size_bytes, one.content): one.blocks_since for one in growth.groups}
    assert changed == {("definite", 100, "B"): 4, ("reachable", 64, None): 1}
    assert growth.lost_bytes_since == 400
    assert growth.in_use_bytes_since == 464


def test_scans_of_two_processes_or_the_wrong_way_round_are_refused() -> None:
    other = msgspec.structs.replace(scan(1.0), start_ticks=100)
    with pytest.raises(UserError, match="two of one process"):
        heap_growth(scan(0.0), other)
    with pytest.raises(UserError, match="earlier one first"):
        heap_growth(scan(5.0), scan(1.0))
