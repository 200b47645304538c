"""The shape of a series is told from its samples: growth for good apart from all other growth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtwin.analysis.leak import Kind, Series, Verdict, find_leaks
from memtwin.analysis.trend import (
    GROWING,
    MIN_SAMPLES,
    Shape,
    drift_p_value,
    judge,
    sen_mann_kendall,
)

MIB = 1 << 20
T = np.arange(120) * 5.0


def noise(seed: int, size: float) -> np.ndarray:
    """Autocorrelated: each sample remembers four fifths of the one before."""
    rng = np.random.default_rng(seed)
    drawn, found = rng.normal(0, size, len(T)), np.zeros(len(T))
    for i in range(1, len(T)):
        found[i] = 0.8 * found[i - 1] + 0.6 * drawn[i]
    return found


NO_LEAK = {Shape.SLOWING, Shape.STEP, Shape.FLAT}
SHAPES = {
    "flat": (20 * MIB + 0 * T, {Shape.FLAT}),
    "steady": (20 * MIB + 30_000 * T, {Shape.STEADY}),
    "bursts": (20 * MIB + MIB * np.searchsorted([60, 150, 290, 380, 520], T), GROWING),
    "one step": (20 * MIB + 8 * MIB * (T > 200), {Shape.STEP}),
    "two steps": (20 * MIB + 4 * MIB * ((T > 150) * 1 + (T > 430)), {Shape.STEP}),
    "sawtooth": (20 * MIB + 400_000 * (T % 60), {Shape.SAWTOOTH}),
    "leaking sawtooth": (20 * MIB + 400_000 * (T % 60) + 40_000 * T, GROWING),
    "warm-up": (20 * MIB + 10 * MIB * (1 - np.exp(-T / 150)), NO_LEAK),
    "filled": (20 * MIB + 10 * MIB * np.minimum(T / 300, 1), NO_LEAK),
    "periodic": (20 * MIB + 5 * MIB * np.sin(T / 20), {Shape.SAWTOOTH, Shape.FLAT}),
    "falling": (90 * MIB - 30_000 * T, {Shape.FALLING}),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("size", [0.0, 40_000.0])
def test_each_shape_is_called_by_its_name(name: str, size: float) -> None:
    values, wanted = SHAPES[name]
    for seed in range(3):
        found = judge(T, values + noise(seed, size), 512 << 10)
        assert found.shape in wanted, (seed, found)


def test_the_interval_of_a_slope_holds_the_truth_as_often_as_it_says() -> None:
    truth, held = 20_000.0, 0
    for seed in range(200):
        _, low, high, _ = sen_mann_kendall(T, truth * T + noise(seed, 200_000.0))
        held += low <= truth <= high
    assert held >= 170  # 95 % of 200 are 190; autocorrelation is estimated from the same samples


def test_noise_is_seldom_called_a_trend() -> None:
    called = sum(judge(T, 50 * MIB + noise(seed, MIB), 64 << 10).shape in GROWING
                 for seed in range(200))  # fmt: skip
    assert called <= 4


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(0, 1e12), min_size=0, max_size=60),
    least=st.floats(1, 1e9),
)
def test_any_series_is_judged(values: list[float], least: float) -> None:
    found = judge(np.arange(len(values), dtype=float), np.array(values), least)
    assert (found.shape is Shape.TOO_SHORT) == (len(values) < MIN_SAMPLES)
    assert found.low_per_s <= found.slope_per_s <= found.high_per_s
    assert 0 <= found.p_value <= 1


@settings(max_examples=40, deadline=None)
@given(scale=st.integers(1, 30), shift=st.floats(0, 1e9), name=st.sampled_from(sorted(SHAPES)))
def test_the_shape_keeps_when_units_and_level_change(scale: int, shift: float, name: str) -> None:
    values = np.round(SHAPES[name][0])
    factor = float(1 << scale)
    before = judge(T, values, 512 << 10)
    after = judge(T * 2, values * factor, (512 << 10) * factor)
    assert after.shape is before.shape
    assert after.slope_per_s == pytest.approx(before.slope_per_s * factor / 2)


def test_the_drift_test_counts_all_ways_of_signs() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        moves = rng.integers(1, 5, 8) * rng.choice([-1, 1], 8)
        ranks = np.array([(abs(moves) < abs(m)).sum() * 2 + (abs(moves) == abs(m)).sum() + 1
                          for m in moves])  # fmt: skip
        seen = ranks[moves > 0].sum()
        ways = sum(
            ranks[[bool(bits >> i & 1) for i in range(8)]].sum() >= seen for bits in range(256)
        )
        walk = np.concatenate(([0.0], np.cumsum(moves))).astype(float)
        assert drift_p_value(walk) == pytest.approx(ways / 256)


def test_growth_of_a_cache_is_no_leak_and_of_a_process_is_one() -> None:
    values = 20 * MIB + 30_000.0 * T
    found = find_leaks(
        [Series(kind, "x", T, values) for kind in (Kind.PAGE_CACHE, Kind.RECLAIMABLE_SLAB)]
        + [Series(Kind.USS, "1 worker", T, values)],
        room_bytes=600_000_000.0,
    )
    assert [one.verdict for one in found] == [Verdict.LEAK, Verdict.CACHE, Verdict.CACHE]
    leak = found[0]
    assert leak.until_oom_s == pytest.approx(20_000, rel=0.01)
    assert leak.until_oom_low_s is not None
    assert leak.until_oom_high_s is not None
    assert leak.until_oom_low_s <= leak.until_oom_s <= leak.until_oom_high_s
    assert found[1].until_oom_s is None


def test_a_limit_of_its_own_comes_before_the_machines_end() -> None:
    series = Series(Kind.USS, "1 worker", T, 20 * MIB + 30_000.0 * T, room_bytes=3_000_000.0)
    assert find_leaks([series], room_bytes=6e8)[0].until_oom_s == pytest.approx(100, rel=0.01)


def test_less_and_less_memory_available_is_found() -> None:
    found = find_leaks([Series(Kind.AVAILABLE, "machine", T, 900 * MIB - 50_000.0 * T)], 9e8)
    assert found[0].verdict is Verdict.LEAK
    assert found[0].trend.slope_per_s == pytest.approx(50_000, rel=0.01)


def test_free_memory_in_ever_smaller_pieces_is_fragmentation() -> None:
    found = find_leaks([Series(Kind.FRAGMENTATION, "machine", T, 0.1 + 0.001 * T)])
    assert found[0].verdict is Verdict.FRAGMENTATION


def test_of_many_noisy_series_none_is_called_a_leak_by_chance() -> None:
    series = [
        Series(Kind.USS, str(seed), T, 50 * MIB + noise(seed, 2.0 * MIB)) for seed in range(150)
    ]
    called = [one for one in find_leaks(series) if one.verdict is Verdict.LEAK]
    assert len(called) <= 1
