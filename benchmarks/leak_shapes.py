"""Owns sizes over time, of which it is known whether they leak: pages at each sample.

Imports nothing of memtwin and has never heard of machines: a shape is drawn once for a run from
its seed, and tells how many pages beyond its base a program holds at sample 0, 1, 2, ... What leaks
takes more without end; everything else ends where it began or has a bound.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

SAMPLES = 120

Shape = Callable[[int], float]
Drawn = Callable[[random.Random], Shape]


def steady(rng: random.Random) -> Shape:
    return lambda sample: 0.0


def leak(least: float, most: float) -> Drawn:
    def draw(rng: random.Random) -> Shape:
        pages = rng.uniform(least, most)
        return lambda sample: pages * sample

    return draw


def bursts(rng: random.Random) -> Shape:
    count = rng.randrange(5, 12)
    at = sorted(rng.sample(range(2, SAMPLES - 2), count))
    pages = rng.randrange(60, 300)
    return lambda sample: pages * sum(moment <= sample for moment in at)


def sawtooth(rng: random.Random) -> Shape:
    period, height = rng.randrange(5, 25), rng.randrange(300, 2500)
    return lambda sample: height * (sample % period) / period


def leaking_sawtooth(rng: random.Random) -> Shape:
    teeth, leak = sawtooth(rng), rng.uniform(4, 20)
    return lambda sample: teeth(sample) + leak * sample


def collected(rng: random.Random) -> Shape:
    """Garbage collected when it has grown by a share that varies."""
    sizes, size = [], 0.0
    for _ in range(SAMPLES + 1):
        size += rng.uniform(0, 120)
        if rng.random() < 0.09:
            size = 0.0
        sizes.append(size)
    return lambda sample: sizes[sample]


def warm_up(rng: random.Random) -> Shape:
    height, time = rng.randrange(300, 4000), SAMPLES * rng.uniform(0.05, 0.35)
    return lambda sample: height * (1 - math.exp(-sample / time))


def fill(rng: random.Random) -> Shape:
    """A cache of its own that fills evenly and is full then."""
    height, full = rng.randrange(300, 4000), SAMPLES * rng.uniform(0.1, 0.65)
    return lambda sample: height * min(sample / full, 1.0)


def steps(rng: random.Random) -> Shape:
    at = [rng.uniform(0.1, 0.9) * SAMPLES for _ in range(rng.choice((1, 2)))]
    pages = rng.randrange(200, 2500)
    return lambda sample: pages * sum(moment <= sample for moment in at)


def periodic(rng: random.Random) -> Shape:
    height, turns, phase = rng.randrange(200, 1500), rng.uniform(2.5, 9), rng.random()
    return lambda sample: height * (1 + math.sin(2 * math.pi * (sample * turns / SAMPLES + phase)))


def _remembering(rng: random.Random, deviation: float, memory: float) -> list[float]:
    """Noise that remembers `memory` of itself from sample to sample."""
    now, found = rng.gauss(0, deviation), []
    for _ in range(SAMPLES + 1):
        found.append(now)
        now = memory * now + rng.gauss(0, deviation) * math.sqrt(1 - memory * memory)
    return found


def noisy(rng: random.Random) -> Shape:
    """Load that goes up and down and remembers itself."""
    noise = _remembering(rng, rng.uniform(60, 200), rng.uniform(0.3, 0.8))
    return lambda sample: 600 + noise[sample]


def leak_under_noise(rng: random.Random) -> Shape:
    """In all it leaks four to eight deviations of a load like `noisy`."""
    deviation = rng.uniform(60, 200)
    noise = _remembering(rng, deviation, rng.uniform(0.3, 0.7))
    leaked = deviation * rng.uniform(4, 8) / SAMPLES
    return lambda sample: 800 + noise[sample] + leaked * sample


def bursts_under_noise(rng: random.Random) -> Shape:
    """Bursts, each of two to five deviations of a load like `noisy`."""
    deviation = rng.uniform(20, 60)
    noise = _remembering(rng, deviation, rng.uniform(0.0, 0.5))
    count, pages = rng.randrange(6, 14), deviation * rng.uniform(2, 5)
    at = sorted(rng.sample(range(2, SAMPLES - 2), count))
    return lambda sample: 300 + noise[sample] + pages * sum(moment <= sample for moment in at)


def uneven_bursts(rng: random.Random) -> Shape:
    """Bursts of very different sizes."""
    count = rng.randrange(7, 14)
    at = sorted(rng.sample(range(2, SAMPLES - 2), count))
    sizes = [rng.lognormvariate(math.log(120), 0.7) for _ in at]
    return lambda sample: sum(
        pages for moment, pages in zip(at, sizes, strict=True) if moment <= sample
    )


def few_bursts(rng: random.Random) -> Shape:
    """Three or four bursts: a leak, but nobody can know it yet."""
    at = sorted(rng.sample(range(5, SAMPLES - 5), rng.choice((3, 4))))
    pages = rng.randrange(100, 500)
    return lambda sample: pages * sum(moment <= sample for moment in at)


def leaking_collected(rng: random.Random) -> Shape:
    """A collected heap that keeps a little more after each collection."""
    inner, leaked = collected(rng), rng.uniform(4, 15)
    return lambda sample: inner(sample) + leaked * sample


def kept_high_water(rng: random.Random) -> Shape:
    """An allocator that gives nothing back: the most that its program has needed so far."""
    need = _remembering(rng, rng.uniform(100, 400), rng.uniform(0.3, 0.8))
    return lambda sample: 1000 + max(need[: sample + 1])


def leaking_high_water(rng: random.Random) -> Shape:
    """The same, of a program that leaks."""
    deviation = rng.uniform(100, 300)
    need, leaked = _remembering(rng, deviation, rng.uniform(0.3, 0.8)), deviation * 6 / SAMPLES
    return lambda sample: 1000 + max(need[at] + leaked * at for at in range(sample + 1))


def trimmed(rng: random.Random) -> Shape:
    """Memory given back late: kept as the high-water mark, and trimmed now and then."""
    need, kept, sizes = _remembering(rng, rng.uniform(200, 500), 0.7), 0.0, []
    for at in range(SAMPLES + 1):
        kept = need[at] if rng.random() < 0.06 else max(kept, need[at])
        sizes.append(1500 + kept)
    return lambda sample: sizes[sample]


def daily(rng: random.Random) -> Shape:
    """Two to four days: nights are low, days are high and differ."""
    days, phase = rng.uniform(2, 4), rng.random()
    heights = [rng.uniform(600, 1600) for _ in range(6)]

    def size(sample: int) -> float:
        at = sample * days / SAMPLES + phase
        return heights[int(at)] * max(math.sin(2 * math.pi * (at - 0.25)), -0.6)

    return lambda sample: 1200 + size(sample)


def lumpy_fill(rng: random.Random) -> Shape:
    """A cache filled in lumps, each missing entry as likely as any other to be asked for."""
    places = rng.randrange(6, 16)
    lump, asked = rng.randrange(60, 300), rng.uniform(1.5, 4) * places / SAMPLES
    there: set[int] = set()
    sizes = []
    for _ in range(SAMPLES + 1):
        if rng.random() < asked:
            there.add(rng.randrange(places))
        sizes.append(lump * len(there))
    return lambda sample: sizes[sample]


def levels(rng: random.Random) -> Shape:
    """Load that jumps from one of a few levels to another."""
    steps = [rng.uniform(0, 2000) for _ in range(rng.randrange(3, 6))]
    change, now, sizes = rng.uniform(0.04, 0.12), steps[0], []
    for _ in range(SAMPLES + 1):
        if rng.random() < change:
            now = rng.choice(steps)
        sizes.append(now)
    return lambda sample: sizes[sample]


def batches(rng: random.Random) -> Shape:
    """Jobs that come, hold what they need and give all of it back."""
    jobs = [
        (rng.uniform(0, SAMPLES), rng.uniform(5, 25), rng.uniform(200, 2000))
        for _ in range(rng.randrange(3, 7))
    ]
    return lambda sample: sum(
        pages for begin, lasts, pages in jobs if begin <= sample < begin + lasts
    )


def pool(rng: random.Random) -> Shape:
    """A pool that gets its members one by one while it starts, and then has them all."""
    members, started = rng.randrange(5, 12), SAMPLES * rng.uniform(0.1, 0.5)
    at = sorted(rng.uniform(0, started) for _ in range(members))
    pages = rng.randrange(60, 300)
    return lambda sample: pages * sum(moment <= sample for moment in at)


def adaptive(rng: random.Random) -> Shape:
    """A collector that lets its heap grow to a multiple of what lives, which settles."""
    lives, settles = rng.uniform(200, 600), SAMPLES * rng.uniform(0.05, 0.25)
    size, sizes = lives, []
    for at in range(SAMPLES + 1):
        live = lives * (1 + 1.5 * (1 - math.exp(-at / settles)))
        size += rng.uniform(0.05, 0.25) * lives
        if size > 2 * live:
            size = live
        sizes.append(size)
    return lambda sample: sizes[sample]
