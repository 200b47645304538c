"""What marks say of a zone's free pages, at the marks themselves; stalls between two looks."""

from __future__ import annotations

import pytest

from memtwin.analysis.stalls import Stall, key_of, since
from memtwin.analysis.watermarks import ABOVE_HIGH, ABOVE_LOW, ABOVE_MIN, BELOW_MIN, marks_of
from memtwin.observe.zoneinfo import ZoneInfo, ZoneText


@pytest.mark.parametrize(
    ("free", "state"),
    [(31, ABOVE_HIGH), (30, ABOVE_LOW), (21, ABOVE_LOW), (20, ABOVE_MIN), (11, ABOVE_MIN),
     (10, BELOW_MIN), (0, BELOW_MIN)],
)  # fmt: skip
def test_a_mark_is_passed_only_by_more_free_pages_than_it(free: int, state: str) -> None:
    # mm/page_alloc.c __zone_watermark_ok(), v6.12: free_pages <= min + lowmem_reserve fails
    pages = {"free": free, "min": 10, "low": 20, "high": 30, "managed": 100}
    zones = [
        ZoneText(node=0, name="DMA", pages=pages, protection_pages=(0, 7, 9)),
        ZoneText(node=0, name="Normal", pages={**pages, "free": 99}, protection_pages=(0, 0, 0)),
        ZoneText(node=0, name="Movable", pages={"managed": 0}),
    ]
    marks = marks_of(ZoneInfo(zones))
    assert [one.zone for one in marks] == ["DMA", "Normal"]
    assert marks[0].state == state
    # kept from requests for Normal, the highest zone that has pages
    assert (marks[0].reserve_pages, marks[0].kswapd_wakes_pages) == (7, 27)


def stall(total_us: int) -> Stall:
    return Stall(cgroup=None, resource="io", tasks="some", total_us=total_us,
                 avg10_percent=0.0, avg60_percent=0.0, avg300_percent=0.0)  # fmt: skip


@pytest.mark.parametrize(
    ("total_us", "elapsed_s", "expected"),
    [(1_500_000, 2.0, 25.0), (1_000_000, 2.0, 0.0), (999_999, 2.0, None), (1_500_000, 0.0, None)],
)
def test_the_share_since_the_look_before_is_of_wall_time_and_never_negative(
    total_us: int, elapsed_s: float, expected: float | None
) -> None:
    now = stall(total_us)
    since([now], {key_of(now): 1_000_000}, elapsed_s)
    assert now.now_percent == expected
