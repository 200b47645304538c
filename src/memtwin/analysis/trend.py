"""Owns what the shape of a series of samples is: flat, growing for good, or growing and done.

Imports numpy and stairs. Has never heard of memory, processes or files. The method is robust and
free of assumptions on the noise: Sen's slope (1968) with its rank interval, Mann's and Kendall's
test (1945, 1975) with the variance that autocorrelation leaves (Hamed and Rao 1998), both on the
floor of the series, which a sawtooth comes back to and a leak lifts. Growth in bursts is asked of
stairs.
"""

from __future__ import annotations

import enum
import math
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from memtwin.analysis.stairs import (
    MIN_BURSTS,
    Stairs,
    Values,
    climb,
    is_stair,
    rate_bounds,
    slows_down,
)

# MODEL: chosen on drawn series of seeds 0 to 4 and on twins of seeds 100 to 105;
# benchmarks/leaks.py measures on twins of other seeds
MIN_SAMPLES = 12
MIN_FLOOR_POINTS = 5
MAX_BLOCKS = 24
SWING_SHARE = 0.4  # a swing back of this share of the residual range ends a rise or a fall
SAMPLES_PER_BLOCK = 4
FEW_BURSTS = 3  # fewer are steps: memory kept
SPREAD_STEPS = 2.6  # growth in fewer even steps than this is a step, not a trend
STEP_RATIO = 0.35  # and where two steps leave less than this of what a line leaves unexplained
TESTS = 2  # Kendall's S of the floor and of all samples: the better counts
FLOOR_SHARE = 0.6  # of the slope of all samples, that the floor's must have
LATE_SHARE = 0.12  # of the growth, that the last third of the time must have
BURSTS_SHARE = 0.6  # growth in so few steps, of those that its floor has points for: in bursts
BURSTS_LATE_SHARE = 0.02  # the same of growth in few steps, which fall as they like
EARLY_DEVIATIONS = 1.3  # growth that comes earlier than even growth would, by this much: slowing
SAWTOOTH_SWINGS = 3
CONFIDENCE = 0.95
ROUNDING = 1e-12


class Shape(enum.Enum):
    """What a series does."""

    TOO_SHORT = "too short"
    FLAT = "flat"
    STEADY = "steady growth"
    BURSTS = "growth in bursts"
    FEW_BURSTS = "growth in few bursts"  # too few to tell
    SLOWING = "slowing growth"
    STEP = "step"
    SAWTOOTH = "sawtooth"
    FALLING = "falling"
    UNSURE = "growth, perhaps by chance"  # judged together with many others


GROWING = frozenset((Shape.STEADY, Shape.BURSTS))


class Trend(msgspec.Struct):
    """What a series does, and how sure that is.

    `slope_per_s` is the floor's, with the bounds of its interval; `p_value` is that of no growth.
    """

    shape: Shape
    samples: int
    span_s: float
    level: float  # median of the last tenth
    growth: float  # of the floor over the whole time
    slope_per_s: float = 0.0
    low_per_s: float = 0.0
    high_per_s: float = 0.0
    p_value: float = 1.0
    swings: int = 0  # times that it came back down to a floor
    steps: float = 0.0  # how many even steps the growth is like
    step_ratio: float = 1.0  # what two steps leave unexplained, over what a line leaves
    bursts: int = 0  # rises of which nothing was given back, where it grows in such
    asked: bool = False  # growth for good, if only chance does not explain it
    late_share: float = 0.0  # of the growth, in the last third of the time
    earliness: float = 0.0  # how early the growth comes, in deviations of as many even steps


def judge(times_s: Values, values: Values, least_growth: float, alpha: float = 0.05) -> Trend:
    """The trend of `values` at `times_s` (ascending).

    Growth of less than `least_growth` over the whole time is none; `alpha` is the chance of taking
    noise for a trend.

    >>> t = np.arange(60.0)
    >>> judge(t, 1000 * t, 100.0).shape
    <Shape.STEADY: 'steady growth'>
    """
    count = len(values)
    if count < MIN_SAMPLES or times_s[-1] <= times_s[0]:
        level = float(np.median(values)) if count else 0.0
        return Trend(Shape.TOO_SHORT, count, 0.0, level, 0.0)
    if float(np.ptp(values)) >= least_growth:
        stairs = climb(times_s, values)
        if is_stair(stairs) and stairs.lasting >= least_growth:
            return _trend_of_stairs(times_s, values, stairs, alpha)
    troughs = _troughs(values)
    at_s, floor = floor_of(times_s, values, troughs)
    slope, low, high, p_value = sen_mann_kendall(at_s, floor)
    span_s = float(times_s[-1] - times_s[0])
    thin_s, thin = _thinned(times_s, values)
    whole_slope, _, _, whole_p = sen_mann_kendall(thin_s, thin)
    if slope >= FLOOR_SHARE * whole_slope:  # not the height of the swings: the floor rises too
        p_value = min(p_value, whole_p)
    p_value = min(p_value * TESTS, 1.0)
    swing = float(np.ptp(np.quantile(values - slope * times_s, (0.05, 0.95))))
    if 0 < len(troughs) <= MAX_BLOCKS and swing > slope * span_s:  # seen only where it turns
        p_value = max(p_value, order_p_value(values[troughs]))
    trend = Trend(
        Shape.FLAT,
        count,
        span_s,
        float(np.median(values[-max(count // 10, 3) :])),
        slope * span_s,
        slope,
        low,
        high,
        p_value,
        len(troughs),
    )
    _describe_growth(trend, at_s, floor)
    trend.step_ratio = step_ratio(thin_s, thin)
    trend.shape = _shape(trend, floor, swing, least_growth, alpha)
    return trend


def _trend_of_stairs(times_s: Values, values: Values, stairs: Stairs, alpha: float) -> Trend:
    """The trend of a series that climbs in bursts and gives nothing back."""
    span_s = float(times_s[-1] - times_s[0])
    slope = stairs.lasting / span_s
    least, most = rate_bounds(stairs.even_bursts)
    level = float(np.median(values[-max(len(values) // 10, 3) :]))
    if stairs.bursts < FEW_BURSTS:
        shape = Shape.STEP
    elif slows_down(stairs):
        shape = Shape.SLOWING
    elif stairs.bursts < MIN_BURSTS or stairs.p_value >= alpha:
        shape = Shape.FEW_BURSTS
    else:
        shape = Shape.BURSTS
    return Trend(
        shape, len(values), span_s, level, stairs.lasting, slope, least * slope, most * slope,
        stairs.p_value, steps=stairs.even_bursts, earliness=stairs.earliness, bursts=stairs.bursts,
        asked=shape is Shape.BURSTS or (shape is Shape.FEW_BURSTS and stairs.bursts >= MIN_BURSTS),
    )  # fmt: skip


def floor_of(
    times_s: Values, values: Values, troughs: NDArray[np.int64]
) -> tuple[Values, Values]:
    """(times, floor): what the series keeps coming back to; `troughs`: where it turned up again.

    The least of each of up to MAX_BLOCKS equal stretches, each as long as the swings take.
    """
    blocks = min(max(len(values) // SAMPLES_PER_BLOCK, MIN_FLOOR_POINTS + 1), MAX_BLOCKS)
    if len(troughs) > 1:  # a stretch shorter than a cycle would not reach down to the floor
        cycle = float(np.quantile(np.diff(np.array([0, *troughs, len(values) - 1])), 0.75))
        blocks = max(min(blocks, int(len(values) / max(cycle, 1.0))), MIN_FLOOR_POINTS + 1)
    parts = np.array_split(np.arange(len(values)), blocks)
    least = np.array([part[np.argmin(values[part])] for part in parts])
    return times_s[least], values[least]


def _troughs(values: Values) -> NDArray[np.int64]:
    """Where it turned up again after swinging down by SWING_SHARE of its range about its line."""
    index = np.arange(len(values), dtype=np.float64)
    slope = _sen_slopes(*_thinned(index, values))[0]
    residual = values - slope * index
    swing = SWING_SHARE * float(residual.max() - residual.min())
    if swing <= 0:
        return np.empty(0, dtype=np.int64)
    found, low, high, going_up = [], 0, 0, True
    for at, value in enumerate(residual):
        if going_up:
            if value > residual[high]:
                high = at
            elif residual[high] - value >= swing:
                going_up, low = False, at
        elif value < residual[low]:
            low = at
        elif value - residual[low] >= swing:
            found.append(low)
            going_up, high = True, at
    return np.array(found, dtype=np.int64)


def _thinned(times: Values, values: Values) -> tuple[Values, Values]:
    step = max(len(values) // 100, 1)
    return times[::step], values[::step]


def _sen_slopes(times: Values, values: Values) -> tuple[float, Values]:
    """(median, all sorted) of the slopes between each two points."""
    first, second = np.triu_indices(len(values), 1)
    apart = times[second] - times[first]
    kept = apart > 0
    slopes = np.sort((values[second] - values[first])[kept] / apart[kept])
    return float(np.median(slopes)) if len(slopes) else 0.0, slopes


def sen_mann_kendall(times: Values, values: Values) -> tuple[float, float, float, float]:
    """(slope, low, high, p): Sen's slope, its interval, and the chance of such a rise by chance.

    Sen (1968), with the variance of Kendall's S as Hamed and Rao (1998) correct it for
    autocorrelation of the ranks about the trend. p is one-sided: for no rise.
    """
    slope, slopes = _sen_slopes(times, values)
    count = len(values)
    signs = np.sign(values[None, :] - values[:, None])
    score = float(np.triu(signs, 1).sum())
    _, ties = np.unique(values, return_counts=True)
    variance = count * (count - 1) * (2 * count + 5) - (ties * (ties - 1) * (2 * ties + 5)).sum()
    variance = variance / 18.0 * _autocorrelation_factor(times, values, slope)
    if variance <= 0:
        return slope, slope, slope, 1.0
    deviation = math.sqrt(variance)
    z = (score - math.copysign(1.0, score)) / deviation if score else 0.0
    half = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2) * deviation
    lowest = int(max((len(slopes) - half) / 2, 0))
    highest = int(min((len(slopes) + half) / 2, len(slopes) - 1))
    p_value = 1.0 - NormalDist().cdf(z)
    return slope, float(slopes[lowest]), float(slopes[highest]), p_value


def _autocorrelation_factor(times: Values, values: Values, slope: float) -> float:
    """By how much autocorrelation widens the variance of S; never less than 1."""
    count = len(values)
    residual = values - slope * times
    if float(np.ptp(residual)) <= ROUNDING * float(np.abs(values).max()):
        return 1.0  # a straight line: what is left is the rounding of floats
    ranks = np.argsort(np.argsort(residual, kind="stable"), kind="stable").astype(np.float64)
    ranks -= ranks.mean()
    power = float((ranks * ranks).sum())
    if power <= 0 or count < 8:
        return 1.0
    lags = np.arange(1, count // 3 + 1)
    rho = np.array([float((ranks[lag:] * ranks[:-lag]).sum()) / power for lag in lags])
    first = float(rho[0])
    rho[np.abs(rho) < 1.96 / math.sqrt(count)] = 0.0  # not to be told from none
    weights = (count - lags) * (count - lags - 1) * (count - lags - 2)
    factor = 1.0 + 2.0 / (count * (count - 1) * (count - 2)) * float((weights * rho).sum())
    # what is estimated about a fitted line is too small (Kendall 1954); the sum of a first-order
    # process with the first lag set right is a second estimate, and the wider one is taken
    first = min(first + (1.0 + 4.0 * first) / count, 0.95)
    if first > 1.0 / math.sqrt(count):
        factor = max(factor, (1.0 + first) / (1.0 - first))
    return max(factor, 1.0)


def step_ratio(times_s: Values, values: Values) -> float:
    """Squares left by the best two steps (three levels), over those left by a straight line.

    >>> step_ratio(np.arange(9.0), np.array([0, 0, 0, 0, 5, 5, 5, 5, 5.0]))
    0.0
    """
    count = len(values)
    line = np.polynomial.polynomial.polyfit(times_s - times_s[0], values, 1)
    left_by_line = float(((values - line[0] - line[1] * (times_s - times_s[0])) ** 2).sum())
    if left_by_line <= 0 or count < 3:
        return 1.0
    centred = values - values.mean()
    sums = np.concatenate(([0.0], np.cumsum(centred)))
    squares = np.concatenate(([0.0], np.cumsum(centred * centred)))
    begin, end = np.triu_indices(count + 1, 1)
    left = np.full((count + 1, count + 1), np.inf)
    part = squares[end] - squares[begin] - (sums[end] - sums[begin]) ** 2 / (end - begin)
    left[begin, end] = np.maximum(part, 0.0)
    left[count, count] = 0.0
    one_step = (left + left[:, count][None, :]).min(axis=1)  # from each point to the end
    best = float((left[0, 1:-1] + one_step[1:-1]).min())
    return best / left_by_line


def _describe_growth(trend: Trend, at_s: Values, floor: Values) -> None:
    """How the growth of the floor is spread over time."""
    lasting = np.minimum.accumulate(floor[::-1])[::-1]  # what is never given back
    rises = np.diff(lasting)
    total = float(rises.sum())
    if total <= 0:
        return
    shares = rises / total
    trend.steps = 1.0 / float((shares * shares).sum())
    begin, span = at_s[0], at_s[-1] - at_s[0]
    by_late = float(np.interp(begin + span * 2 / 3, at_s, lasting - lasting[0]))
    trend.late_share = 1.0 - by_late / total
    middles = ((at_s[1:] + at_s[:-1]) / 2 - begin) / span
    mean = float((shares * middles).sum())
    # steps at random times have a mean time of 1/2 with deviation sqrt(1/12 / steps)
    trend.earliness = (0.5 - mean) * math.sqrt(12.0 * trend.steps)


def order_p_value(values: Values) -> float:
    """The chance of values in so rising an order, of all their orders: Kendall's test, exact.

    >>> order_p_value(np.array([1.0, 2.0, 3.0]))
    0.16666666666666666
    """
    falls = int((np.triu(values[None, :] < values[:, None], 1)).sum())
    ways = np.ones(1)  # orders of 1, 2, ... values by how many pairs of them fall
    for count in range(2, len(values) + 1):
        ways = np.convolve(ways, np.ones(count)) / count
    return float(ways[: falls + 1].sum())


def _shape(trend: Trend, floor: Values, swing: float, least_growth: float, alpha: float) -> Shape:
    if trend.growth <= -least_growth and trend.high_per_s < 0:
        return Shape.FALLING
    grown = _shape_of_growth(trend, floor) if trend.growth >= least_growth else Shape.FLAT
    trend.asked = grown in GROWING
    if grown is not Shape.FLAT and trend.p_value < alpha and trend.low_per_s >= 0:
        return grown
    if trend.swings >= SAWTOOTH_SWINGS:
        return Shape.SAWTOOTH if swing >= least_growth else Shape.FLAT
    net = float(np.median(floor[-2:]) - np.median(floor[:2]))
    return Shape.STEP if net >= least_growth and _one_step(trend) else Shape.FLAT


def _one_step(trend: Trend) -> bool:
    return trend.steps < SPREAD_STEPS or trend.step_ratio < STEP_RATIO


def _shape_of_growth(trend: Trend, floor: Values) -> Shape:
    """What a floor that rises beyond chance is."""
    if _one_step(trend):
        return Shape.STEP
    in_bursts = trend.steps < min(2 * SPREAD_STEPS, BURSTS_SHARE * (len(floor) - 1))
    least_late = BURSTS_LATE_SHARE if in_bursts else LATE_SHARE
    if trend.late_share < least_late or trend.earliness > EARLY_DEVIATIONS:
        return Shape.SLOWING
    return Shape.BURSTS if in_bursts else Shape.STEADY
