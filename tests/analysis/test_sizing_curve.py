"""The arithmetic of a sizing curve."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memtwin.analysis.results import (
    MeasuredRun,
    ReplayReport,
    ReplayResult,
    Verdict,
    VerifyReport,
    from_json,
    to_json,
)
from memtwin.analysis.sizing import (
    chance_percent,
    choose_limits,
    compare,
    knee_bytes,
    make_curve,
    middle,
    refine,
    smallest_surviving,
    smallest_under,
    summarize,
    verdicts_agree,
)
from memtwin.errors import UserError
from memtwin.units import MIB


def point(limit_mib: int, slowdown: float | None, maj_flt: int = 0) -> ReplayResult:
    dead = slowdown is None
    return ReplayResult(
        limit_bytes=limit_mib * MIB,
        verdict=Verdict.OOM_KILLED if dead else Verdict.FINISHED,
        maj_flt=maj_flt,
        slowdown_percent=slowdown,
    )


CURVE = [
    point(8, None),
    point(16, 4000.0, 90000),
    point(24, 900.0, 20000),
    point(32, 40.0, 900),
    point(40, 4.0, 90),
    point(48, 0.5, 10),
    point(56, 0.0, 0),
]


def test_the_knee_is_where_the_curve_bends() -> None:
    sharp = [point(16 * i, 800.0 if i < 4 else 2.0) for i in range(1, 9)]
    assert knee_bytes(sharp) == 64 * MIB
    assert knee_bytes(CURVE) == 40 * MIB


def test_a_flat_curve_has_no_knee() -> None:
    assert knee_bytes([point(8 * i, 0.2) for i in range(1, 9)]) is None
    assert knee_bytes([point(8, None), point(16, None)]) is None


def test_the_answers_hold_for_every_larger_limit() -> None:
    assert smallest_under(CURVE, 5.0) == 40 * MIB
    assert smallest_surviving(CURVE) == 16 * MIB
    lucky = [point(8, 1.0), point(16, None), point(24, 1.0)]
    assert smallest_under(lucky, 5.0) == smallest_surviving(lucky) == 24 * MIB
    assert smallest_under([point(8, 70.0)], 5.0) is None


def test_exactly_the_target_is_not_under_it() -> None:
    assert smallest_under([point(8, 5.0), point(16, 4.99)], 5.0) == 16 * MIB


def test_refining_halves_the_widest_gap_that_holds_an_answer() -> None:
    assert refine(CURVE, 5.0) == 36 * MIB
    fine = [point(15, None), point(16, 4000.0), point(39, 6.0), point(40, 4.0)]
    assert refine(fine, 5.0) is None


def test_a_curve_that_gets_worse_with_memory_is_told() -> None:
    curve = make_curve([point(32, 9.0, 5000), point(16, 8.0, 1000), point(64, None)])
    assert [p.limit_bytes // MIB for p in curve.points if p.limit_bytes] == [16, 32, 64]
    assert len(curve.notes) == 2
    assert "32M" in curve.notes[0]
    assert curve.notes[1] == "survives 32M but not 64M"
    assert make_curve(CURVE).notes == []


@given(st.integers(1 << 20, 1 << 42), st.integers(1, 40))
def test_chosen_limits_ascend_and_reach_above_the_peak(peak_bytes: int, points: int) -> None:
    limits = choose_limits(peak_bytes, points)
    assert limits == sorted(set(limits))
    assert 0 < len(limits) <= points
    assert limits[0] > 0
    if points > 1:
        assert limits[-1] >= peak_bytes
        assert limits[0] < peak_bytes


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 1e6)), min_size=1, max_size=20))
def test_any_curve_has_consistent_answers(pairs: list[tuple[int, float]]) -> None:
    curve = make_curve([point(limit, slow) for limit, slow in dict(pairs).items()])
    limits = [p.limit_bytes for p in curve.points]
    assert curve.smallest_surviving_bytes == limits[0]
    if curve.smallest_under_target_bytes is not None:
        assert curve.smallest_under_target_bytes >= (curve.smallest_surviving_bytes or 0)
    assert curve.knee_bytes is None or curve.knee_bytes in limits


def run(maj_flt: int, verdict: Verdict = Verdict.FINISHED) -> MeasuredRun:
    return MeasuredRun(limit_bytes=MIB, verdict=verdict, maj_flt=maj_flt)


def test_a_prediction_is_compared_with_the_median_of_its_runs() -> None:
    verified = compare(point(24, 3.0, 1100), [run(1010), run(990), run(1000)])
    assert verified.measured_maj_flt == 1000
    assert verified.spread_percent == pytest.approx(2.0)
    assert verified.error_percent == pytest.approx(10.0)
    assert verdicts_agree(verified)


def test_a_killed_run_has_no_error_and_few_faults_have_none_either() -> None:
    assert compare(point(24, 3.0, 10), [run(20)]).error_percent is None
    killed = compare(point(24, None, 1000), [run(900, Verdict.OOM_KILLED)])
    assert killed.error_percent is None
    assert verdicts_agree(killed)
    report = VerifyReport(command=["x"], points=[killed, compare(point(8, 1.0, 900), [run(1000)])])
    summarize(report)
    assert report.median_error_percent == report.worst_error_percent == pytest.approx(10.0)


def test_reports_survive_the_way_through_json() -> None:
    for report in (ReplayReport(result=CURVE[2]), make_curve(CURVE, CURVE[-1])):
        assert from_json(to_json(report)) == report


@pytest.mark.parametrize(
    "text", ["", "[1", '{"kind": "zebra"}', '{"kind": "sizing", "schema_version": 9}']
)
def test_foreign_json_is_one_clear_line(text: str) -> None:
    with pytest.raises(UserError) as fault:
        from_json(text, "r.json")
    assert str(fault.value).startswith("r.json: ")
    assert "\n" not in str(fault.value)


def test_a_slowdown_is_against_the_run_without_a_limit_which_waits_for_disks_as_well() -> None:
    free = ReplayResult(run_ns=2_000, base_ns=1_000, slowdown_percent=100.0)
    tight = ReplayResult(limit_bytes=MIB, run_ns=3_000, base_ns=1_000, slowdown_percent=200.0)
    dead = ReplayResult(limit_bytes=MIB // 2, verdict=Verdict.OOM_KILLED, run_ns=500)
    curve = make_curve([tight, dead], free)
    assert [point.slowdown_percent for point in curve.points] == [None, 50.0]
    assert curve.points[1].base_ns == 2_000
    assert curve.unlimited is not None
    assert curve.unlimited.slowdown_percent == 0.0
    assert tight.slowdown_percent == 200.0  # what was replayed stays as it is


def test_of_replays_that_differ_by_chance_the_median_one_counts_and_all_are_named() -> None:
    found = middle([point(32, 1.0, faults) for faults in (900, 100, 300, 7000, 310)])
    assert found.maj_flt == 310
    assert found.chance_maj_flt == [900, 100, 300, 7000, 310]
    assert chance_percent(found) == pytest.approx(100.0 * 6900 / 310)


def test_of_an_even_number_of_replays_the_lower_middle_one_counts() -> None:
    assert middle([point(32, 1.0, faults) for faults in (4, 3, 2, 1)]).maj_flt == 2


def test_replays_of_the_rarer_verdict_do_not_count() -> None:
    replays = [point(32, None, 5), point(32, 1.0, 40), point(32, 1.0, 50), point(32, 1.0, 60)]
    assert middle(replays).maj_flt == 50


def test_one_replay_is_itself_and_knows_no_chance() -> None:
    only = middle([point(32, 1.0, 40)])
    assert only.maj_flt == 40
    assert only.chance_maj_flt == []
    assert chance_percent(only) == 0.0
