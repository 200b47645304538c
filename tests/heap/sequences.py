"""Seeded sequences of allocation events, of many mixes, for the twin and the real C library."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

OP_MALLOC, OP_FREE, OP_REALLOC, OP_CALLOC, OP_MEMALIGN, OP_POSIX_MEMALIGN, OP_ALIGNED_ALLOC = range(
    1, 8
)
OP_MALLOPT, OP_TRIM, OP_MALLINFO, OP_STATS, OP_INFO, OP_RESIDENT = range(20, 26)
OP_THREAD_START, OP_THREAD_EXIT, OP_SBRK, OP_POKE, OP_FREE_AT, OP_REALLOC_AT, OP_WALL = range(
    26, 33
)

EVENT = np.dtype(
    [("op", "<u4"), ("thread", "<u4"), ("slot", "<u8"), ("size", "<i8"), ("argument", "<u8")]
)
SLOTS = 3000


@dataclass(frozen=True)
class Mix:
    """Weights of events and ranges of sizes, of one kind of program."""

    sizes: tuple[tuple[int, int, int], ...]  # (weight, smallest, largest)
    realloc: int = 0
    calloc: int = 0
    memalign: int = 0
    mallopt: int = 0
    trim: int = 0
    info: int = 0
    live: int = 600  # blocks held in the middle of the run
    churn: int = 0  # of 100 frees, how many take the youngest block
    nudge: int = 0  # of 100 reallocs, how many change the size by little


SMALL = ((6, 0, 128), (3, 0, 1100), (1, 1000, 3000))
WIDE = (*SMALL, (1, 3000, 70_000), (1, 60_000, 300_000))
LARGE = ((2, 1000, 9000), (3, 9000, 140_000), (2, 100_000, 1_500_000), (1, 1 << 20, 5 << 20))

MIXES = {
    "small": Mix(SMALL),
    "few_sizes": Mix(((5, 24, 24), (5, 40, 41), (2, 1032, 1040), (2, 500, 520))),
    "tiny_churn": Mix(((10, 0, 64), (1, 0, 400)), churn=80, live=200),
    "wide": Mix(WIDE, calloc=2),
    "large": Mix(LARGE, live=40),
    "realloc": Mix(WIDE, realloc=12, live=200),
    "realloc_large": Mix(LARGE, realloc=12, live=30),
    "memalign": Mix(WIDE, memalign=6, realloc=2, live=300),
    "memalign_small": Mix(SMALL, memalign=10, realloc=2),
    "calloc": Mix(WIDE, calloc=10, realloc=1),
    "mallopt": Mix(WIDE, calloc=2, realloc=2, memalign=1, mallopt=1, trim=1, live=150),
    "trim": Mix(WIDE, realloc=2, trim=1, info=1, live=900),
    "nudge": Mix((*WIDE, *LARGE), realloc=20, live=80, nudge=70),
    "everything": Mix((*WIDE, *LARGE), 4, 4, 3, 0, 1, 1, live=120),
}


def sequence(name: str, seed: int, events: int = 10_000) -> np.ndarray:
    """`events` events of the mix `name` as an array of EVENT."""
    return _Writer(MIXES[name], random.Random(f"{name} {seed}")).write(events)


def with_every(events: np.ndarray, count: int, rows: list[tuple[int, ...]]) -> np.ndarray:
    """`events` with `rows` after each `count` of them."""
    out: list[tuple[int, ...]] = []
    for number, event in enumerate(events, 1):
        out.append(tuple(event))
        if number % count == 0:
            out += rows
    return np.array(out, dtype=EVENT)


def walled(name: str, seed: int, events: int, distance_bytes: int = 300_000) -> np.ndarray:
    """The events of a mix; a hundredth on, a mapping comes to stand in the way of the break."""
    rows = [tuple(event) for event in sequence(name, seed, events)]
    rows.insert(events // 100, (OP_WALL, 0, 0, distance_bytes, 0))
    return np.array(rows, dtype=EVENT)


def threaded(name: str, seed: int, threads: int, events: int) -> np.ndarray:
    """The events of a mix done in turn by the main thread and `threads` more, which end in time."""
    chance = random.Random(f"{name} {seed} threads")
    out: list[tuple[int, ...]] = [(OP_THREAD_START, k, 0, 0, 0) for k in range(1, threads + 1)]
    alive = list(range(1, threads + 1))
    life = events // (threads + 1)
    for number, event in enumerate(sequence(name, seed, events), 1):
        if number % life == 0 and len(alive) > 1:
            out.append((OP_THREAD_EXIT, alive.pop(chance.randrange(len(alive))), 0, 0, 0))
        thread = chance.choice([0, *alive])
        out.append((int(event["op"]), thread, *(int(event[k]) for k in EVENT.names[2:])))
    return np.array(out, dtype=EVENT)


class _Writer:
    def __init__(self, mix: Mix, chance: random.Random) -> None:
        self.mix = mix
        self.chance = chance
        self.live: list[int] = []
        self.sizes: dict[int, int] = {}  # what was asked for last, by slot
        self.free = list(range(1, SLOTS))

    def write(self, count: int) -> np.ndarray:
        rows = np.zeros(count, dtype=EVENT)
        for number in range(count):
            # the population swells and shrinks, so that tops are reached, cut and given back
            phase = abs((number * 6 / count) % 2 - 1)
            rows[number] = self._event(int(self.mix.live * (0.1 + 1.4 * phase)))
            self.sizes[int(rows[number]["slot"])] = int(rows[number]["size"])
        return rows

    def _size(self) -> int:
        weights = [weight for weight, _, _ in self.mix.sizes]
        _, low, high = self.chance.choices(self.mix.sizes, weights)[0]
        return self.chance.randint(low, high)

    def _event(self, wanted: int) -> tuple[int, int, int, int, int]:
        mix, chance = self.mix, self.chance
        rare = chance.random() * 400
        if rare < mix.mallopt:
            return self._mallopt()
        if rare < mix.mallopt + mix.trim:
            return OP_TRIM, 0, 0, chance.choice([0, 0, 4096, 100_000]), 0
        if rare < mix.mallopt + mix.trim + mix.info:
            return OP_MALLINFO, 0, 0, 0, chance.randrange(10)
        if mix.realloc and chance.randrange(30) < mix.realloc:
            return self._realloc()
        if len(self.live) > 1 and (
            len(self.live) > SLOTS - 10 or chance.random() < 0.5 + (len(self.live) - wanted) / 400
        ):
            return OP_FREE, 0, self._take(), 0, 0
        return self._allocate()

    def _take(self) -> int:
        young = self.chance.randrange(100) < self.mix.churn
        at = len(self.live) - 1 if young else self.chance.randrange(len(self.live))
        slot = self.live[at]
        self.live[at] = self.live[-1]
        self.live.pop()
        self.free.append(slot)
        return slot

    def _allocate(self) -> tuple[int, int, int, int, int]:
        mix, chance = self.mix, self.chance
        slot = self.free.pop(chance.randrange(len(self.free)))
        self.live.append(slot)
        kind = chance.randrange(30)
        if kind < mix.calloc:
            return OP_CALLOC, 0, slot, self._size(), 0
        if kind < mix.calloc + mix.memalign:
            op = chance.choice([OP_MEMALIGN, OP_POSIX_MEMALIGN, OP_ALIGNED_ALLOC])
            alignment = 1 << chance.choice([3, 4, 5, 5, 6, 6, 7, 8, 10, 12, 12, 13, 16])
            return op, 0, slot, self._size(), alignment
        return OP_MALLOC, 0, slot, self._size(), 0

    def _realloc(self) -> tuple[int, int, int, int, int]:
        size = self._size() if self.chance.randrange(40) else 0
        if not self.live or self.chance.randrange(20) == 0:
            slot = self.free.pop()
            self.live.append(slot)
            return OP_REALLOC, 0, slot, size, 0
        slot = self.chance.choice(self.live)
        if self.mix.nudge and self.chance.randrange(100) < self.mix.nudge:
            near = self.chance.choice([10, 40, 40, 5000])
            size = max(1, self.sizes[slot] + self.chance.randint(-near, near))
        if size == 0:
            self.live.remove(slot)
            self.free.append(slot)
        return OP_REALLOC, 0, slot, size, 0

    def _mallopt(self) -> tuple[int, int, int, int, int]:
        parameter, values = self.chance.choice(
            [
                (1, [0, 16, 64, 100, 128, 160, 161]),
                (-1, [0, 1000, 4096, 65_536, 128 << 10, 1 << 20, -1]),
                (-2, [0, 1, 4096, 50_000, 128 << 10, 1 << 20]),
                (-3, [4096, 30_000, 128 << 10, 1 << 20, 64 << 20]),
                (-4, [0, 5, 65_536]),
                (-7, [1, 8]),
                (-8, [1, 2]),
                (-6, [0, 7]),
            ]
        )
        return OP_MALLOPT, 0, 0, parameter, self.chance.choice(values) & ((1 << 64) - 1)
