"""The shape of a series is told from its samples: growth for good apart from all other growth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtwin.analysis.leak import Kind, Series, Verdict, find_leaks
from memtwin.analysis.stairs import climb, drift_p_value, levels_of, rate_bounds
from memtwin.analysis.trend import (
    GROWING,
    MIN_SAMPLES,
    Shape,
    judge,
    order_p_value,
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


def test_the_interval_of_a_slope_is_as_wide_as_that_of_least_squares_on_white_noise() -> None:
    # both sides: 1.96 x sqrt(12 / n^3) for deviation 1 and n points a second apart; a rank interval
    # is a few percent wider, and a part of the series looks autocorrelated by chance
    count = 60
    below, above = [], []
    for seed in range(200):
        noise_1 = np.random.default_rng(seed).normal(0.0, 1.0, count)
        slope, low, high, _ = sen_mann_kendall(np.arange(float(count)), noise_1)
        below.append(slope - low)
        above.append(high - slope)
    expected = 1.96 * math.sqrt(12 / count**3)
    for side in (below, above):
        assert 1.0 < float(np.median(side)) / expected < 1.25


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


def _bursts(at: list[float], mib: float = 1.0, size: float = 12_000.0, seed: int = 1) -> np.ndarray:
    return 20 * MIB + mib * MIB * np.searchsorted(at, T, side="right") + noise(seed, size)


def test_bursts_that_come_on_and_on_are_a_leak_and_few_of_them_are_to_be_watched() -> None:
    many = judge(T, _bursts([50, 130, 210, 330, 400, 540]), 256 << 10)
    assert (many.shape, many.bursts) == (Shape.BURSTS, 6)
    assert many.p_value == pytest.approx(1 / 64)
    few = judge(T, _bursts([100, 260, 500]), 256 << 10)
    assert (few.shape, few.bursts) == (Shape.FEW_BURSTS, 3)
    (found,) = find_leaks([Series(Kind.USS, "1 worker", T, _bursts([100, 260, 500]))])
    assert found.verdict is Verdict.WATCH
    assert "3 bursts" in found.why
    assert found.until_oom_s is None


def test_bursts_that_become_rarer_or_have_ended_are_no_leak() -> None:
    rarer = judge(T, _bursts([10, 25, 45, 70, 120, 240, 420]), 256 << 10)
    assert rarer.shape is Shape.SLOWING
    ended = judge(T, _bursts([20, 90, 150, 200, 260, 310]), 256 << 10)
    assert ended.shape is Shape.SLOWING


def test_bursts_of_which_one_is_given_back_are_not_counted_as_lasting() -> None:
    values = _bursts([50, 130, 210, 330, 400, 540])
    values[T >= 450] -= 3 * MIB
    assert judge(T, values, 256 << 10).shape not in GROWING


def test_levels_that_rise_and_fall_alike_are_seldom_called_a_leak() -> None:
    called = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        jumps = (rng.random(len(T)) < 0.1) * rng.choice([-1.0, 1.0], len(T))
        values = 200 * MIB + 2 * MIB * np.cumsum(jumps * rng.lognormal(0, 0.5, len(T)))
        called += judge(T, values + noise(seed, 12_000.0), 256 << 10).shape in GROWING
    assert called <= 26  # 5 % of 300 are 15, their deviation is 3.8: three of these above


def test_the_interval_of_a_rate_of_bursts_holds_the_truth_as_often_as_it_says() -> None:
    held, tried, rate = 0, 0, 8 / (T[-1] - T[0])
    for seed in range(300):
        rng = np.random.default_rng(seed)
        at = np.cumsum(rng.exponential(1 / rate, 60))
        found = judge(T, _bursts(at.tolist(), seed=seed), 256 << 10)
        if found.shape is Shape.BURSTS:
            tried += 1
            held += found.low_per_s <= rate * MIB <= found.high_per_s
    assert tried > 150
    assert held >= 0.9 * tried


def test_a_floor_seen_only_where_few_swings_turn_is_no_proof() -> None:
    assert order_p_value(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(1 / 24)
    assert order_p_value(np.array([4.0, 3.0, 2.0])) == pytest.approx(1.0)
    days = 20 * MIB + (8 + T / 200) * MIB * np.maximum(np.sin(2 * np.pi * T / 200), -0.6)
    assert judge(T, days + 1e4 * T, 256 << 10).shape not in GROWING


def test_bounds_of_a_poisson_rate_are_garwoods() -> None:
    # his table for 10 events: 4.80 and 18.39
    low, high = rate_bounds(10)
    assert low * 10 == pytest.approx(4.795, abs=0.005)
    assert high * 10 == pytest.approx(18.39, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e9), min_size=3, max_size=60))
def test_levels_are_the_best_that_any_choice_of_changes_gives(values: list[float]) -> None:
    found = climb(np.arange(len(values), dtype=float), np.array(values))
    assert 1 <= found.levels <= len(values)
    assert 0 <= found.p_value <= 1
    assert 0 <= found.bursts < found.levels


def test_the_levels_cost_no_more_than_any_others_do() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        values, price = rng.integers(0, 6, 9).astype(float), float(rng.uniform(0.5, 8))

        def cost(starts: list[int], of: np.ndarray = values, each: float = price) -> float:
            parts = np.split(of, starts[1:])
            return sum(((p - p.mean()) ** 2).sum() for p in parts) + each * (len(parts) - 1)

        every = [
            [0, *(k for k in range(1, 9) if bits >> (k - 1) & 1)] for bits in range(256)
        ]
        starts, left = levels_of(values, price)
        assert cost(starts) == pytest.approx(min(map(cost, every)))
        assert left == pytest.approx(cost(starts, each=0.0))


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
