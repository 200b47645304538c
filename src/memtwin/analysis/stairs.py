"""Owns growth in bursts: which levels a series of samples stays at, and whether it only climbs.

Imports numpy. Has never heard of memory. Levels are the best piecewise constant fit under a price
for each change (optimal partitioning, Jackson and others 2005); whether they climb by chance is
Wilcoxon's signed-rank test (1945) of the changes, exact; how often bursts come has the exact
interval of a Poisson rate (Garwood 1936).
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
MOST_POINTS = 120
# MODEL: chosen on drawn series and on twins of seeds 200 to 215 of the workloads that
# benchmarks/leak_workloads.py marks as for design; measured on other seeds and other workloads
CHANGE_PRICE = 3.0  # of a change of level, in variances of the noise and logarithms of the count
LEAST_NOISE = 0.01  # of the range: changes much smaller than the whole are none
BURST_SHARE = 0.04  # of all that lasts, that a rise must have to be counted as a burst
GIVEN_BACK = 0.15  # of all rises, that falls may take back: more is no stair
MIN_BURSTS = 5  # fewer are more likely than 1 in 20 by chance, whatever their sizes
EARLY_DEVIATIONS = 1.0  # bursts that come earlier than this become rarer: of six that go on, one
LATE_CHANCE = 0.05  # of so long a rest at the end by chance: less means that it has ended


class Stairs(msgspec.Struct):
    """The levels of a series and what their changes tell."""

    levels: int
    bursts: int  # rises that were never given back, each worth counting
    p_value: float  # of as much up among the changes by chance
    lasting: float  # what the rises left for good
    given_back: float  # falls over rises
    even_bursts: float  # how many bursts of one size would tell as much
    earliness: float  # how early they come, in deviations of as many bursts at random times
    rest_chance: float  # of as long a rest at the end, if bursts came on as before
    left_share: float  # squares left by the levels, over those left by a straight line
    fits_better: bool  # levels explain the series better than a straight line


def climb(times_s: Values, values: Values) -> Stairs:
    """The stairs that `values` at `times_s` (ascending, at least 3) climb.

    >>> t = np.arange(60.0)
    >>> found = climb(t, np.floor(t / 10) * 1000)
    >>> found.bursts, found.p_value
    (5, 0.03125)
    """
    step = -(-len(values) // MOST_POINTS)
    at_s, seen = times_s[::step], _without_spikes(values)[::step]
    noise = _noise_of(seen)
    starts, squares_left = levels_of(seen, CHANGE_PRICE * noise * noise * math.log(len(seen)))
    ends = [*starts[1:], len(seen)]
    heights = np.array([seen[a:b].mean() for a, b in zip(starts, ends, strict=True)])
    changes = np.diff(heights)
    ups, downs = float(changes[changes > 0].sum()), float(-changes[changes < 0].sum())
    line = np.polynomial.polynomial.polyfit(at_s - at_s[0], seen, 1)
    line_left = float(((seen - line[0] - line[1] * (at_s - at_s[0])) ** 2).sum())
    price = noise * noise * math.log(len(seen))
    found = Stairs(
        levels=len(starts), bursts=0, p_value=drift_p_value(heights), lasting=0.0,
        given_back=downs / ups if ups else 1.0, even_bursts=0.0, earliness=0.0, rest_chance=1.0,
        left_share=squares_left / line_left if line_left else 1.0,
        fits_better=squares_left + 2 * len(starts) * price < line_left + 2 * price,
    )  # fmt: skip
    _time(found, at_s, np.array(starts), heights)
    return found


def is_stair(found: Stairs) -> bool:
    """Whether the series climbs and hardly ever gives back, in levels that explain it."""
    return found.fits_better and found.bursts > 0 and found.given_back <= GIVEN_BACK


def slows_down(found: Stairs) -> bool:
    """Whether bursts become rarer, or have ended."""
    return found.earliness > EARLY_DEVIATIONS or found.rest_chance < LATE_CHANCE


def _time(found: Stairs, at_s: Values, starts: NDArray[np.int64], heights: Values) -> None:
    """When the bursts came: fill in what follows from the rises that last."""
    kept = np.minimum.accumulate(heights[::-1])[::-1]  # what is never given back
    rises = np.diff(kept)
    found.lasting = float(rises.sum())
    counted = rises > BURST_SHARE * found.lasting
    if found.lasting <= 0 or not counted.any():
        return
    span = at_s[-1] - at_s[0]
    moments = (at_s[starts[1:]][counted] - at_s[0]) / span
    found.bursts = int(counted.sum())
    shares = rises[counted] / rises[counted].sum()
    found.even_bursts = 1.0 / float((shares * shares).sum())
    # at random times their mean is 1/2 with deviation sqrt(1/12 / bursts): Laplace's test of trend
    mean = float((shares * moments).sum())
    found.earliness = (0.5 - mean) * math.sqrt(12.0 * found.even_bursts)
    found.rest_chance = float(moments.max()) ** found.bursts


def levels_of(values: Values, price: float) -> tuple[list[int], float]:
    """(where each level begins, squares left) of the fit with the least squares plus prices.

    >>> levels_of(np.array([0.0, 0, 0, 5, 5, 5, 5]), 1.0)[0]
    [0, 3]
    """
    count = len(values)
    centred = values - values.mean()
    sums = np.concatenate(([0.0], np.cumsum(centred)))
    squares = np.concatenate(([0.0], np.cumsum(centred * centred)))
    best = np.zeros(count + 1)
    best[0] = -price
    begins = np.zeros(count + 1, dtype=np.int64)
    for end in range(1, count + 1):
        length = end - np.arange(end)
        left = squares[end] - squares[:end] - (sums[end] - sums[:end]) ** 2 / length
        whole = best[:end] + np.maximum(left, 0.0) + price
        begins[end] = int(np.argmin(whole))
        best[end] = whole[begins[end]]
    starts, end = [], count
    while end > 0:
        end = int(begins[end])
        starts.append(end)
    starts.reverse()
    return starts, max(float(best[count]) - price * (len(starts) - 1), 0.0)


def _without_spikes(values: Values) -> Values:
    """The median of each three neighbours."""
    if len(values) < 3:
        return values
    inner = np.median(np.stack((values[:-2], values[1:-1], values[2:])), axis=0)
    return np.concatenate((values[:1], inner, values[-1:]))


def _noise_of(values: Values) -> float:
    """The deviation of the noise from one sample to the next, whatever the levels are."""
    # of normal noise the median absolute difference is 0.6745 sqrt(2) deviations (Hampel 1974)
    typical = float(np.median(np.abs(np.diff(values)))) / (0.6745 * math.sqrt(2.0))
    return max(typical, LEAST_NOISE * float(np.ptp(values)), 1e-12)


def drift_p_value(values: Values) -> float:
    """The chance of moves that are so much up in a walk that goes up and down alike.

    Wilcoxon's signed-rank test (1945) of the differences, exact.

    >>> drift_p_value(np.array([0.0, 1.0, 1.0, 3.0, 6.0]))
    0.125
    """
    moves = np.diff(values)
    moves = moves[moves != 0]
    if not len(moves):
        return 1.0
    sizes = np.abs(moves)
    below = (sizes[None, :] < sizes[:, None]).sum(axis=1)
    same = (sizes[None, :] == sizes[:, None]).sum(axis=1)
    ranks = 2 * below + same + 1  # twice the mean rank: whole numbers
    ways = np.zeros(int(ranks.sum()) + 1)
    ways[0] = 1.0
    for rank in ranks.tolist():
        ways[rank:] = (ways[rank:] + ways[: len(ways) - rank]) / 2
        ways[:rank] /= 2
    return float(ways[int(ranks[moves > 0].sum()) :].sum())


def rate_bounds(bursts: float, confidence: float = 0.95) -> tuple[float, float]:
    """(least, most) that the rate may be, as a multiple of what was seen in `bursts` bursts.

    >>> tuple(round(bound, 2) for bound in rate_bounds(5))
    (0.32, 2.33)
    """
    tail = (1.0 - confidence) / 2
    low = _poisson_mean(bursts - 1, 1.0 - tail) if bursts >= 1 else 0.0
    return low / bursts, _poisson_mean(bursts, tail) / bursts


def _poisson_mean(most: float, chance: float) -> float:
    """The mean of a Poisson variable that is at most `most` with `chance`; between whole numbers
    interpolated.
    """
    whole = math.floor(most)
    found = _whole_mean(whole, chance)
    part = most - whole
    return found + part * (_whole_mean(whole + 1, chance) - found) if part else found


def _whole_mean(most: int, chance: float) -> float:
    low, high = 0.0, 10.0 * (most + 3)
    for _ in range(80):
        mean = (low + high) / 2
        term = total = math.exp(-mean)
        for count in range(1, most + 1):
            term *= mean / count
            total += term
        low, high = (mean, high) if total > chance else (low, mean)
    return (low + high) / 2
