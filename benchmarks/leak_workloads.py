"""Owns workloads of the twin of which it is known whether they leak, and how they are sampled.

Each runs on a small machine beside programs that live their lives: they hold a working set, take
some memory, give it back and read files. A workload is a generator of what happens between two
samples. What leaks, leaks by construction; everything else ends where it began or stays bounded.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from memtwin.file_io.objects import take_object
from memtwin.machine.config import load_machine
from memtwin.machine.description import FileConfig, MachineConfig
from memtwin.machine.machine import Machine
from memtwin.machine.process import Process
from memtwin.observe.samples.journal import Sample
from memtwin.observe.samples.store import StoreWriter
from memtwin.page.gfp import GFP_KERNEL
from memtwin.units import PAGE_SIZE

SAMPLES, INTERVAL_NS = 120, 5_000_000_000
TEXTS = (
    "/proc/meminfo", "/proc/vmstat", "/proc/zoneinfo", "/proc/buddyinfo", "/proc/slabinfo",
    "/proc/swaps",
)  # fmt: skip
PROCESS_TEXTS = ("statm", "stat", "status", "smaps_rollup", "cgroup")
FILES = {"/data/small": 2 << 20, "/data/log": 24 << 20, "/data/base": 40 << 20}
KERNEL_LEAK_CACHE = "kmalloc-512"

Life = Iterator[None]


class Truth(NamedTuple):
    """What a search for leaks has to say: kind of the series that leaks, "" where nothing does."""

    kind: str
    family: str  # what the workload is an example of


class Workload(NamedTuple):
    """A workload: its truth, and what happens between two samples."""

    truth: Truth
    live: Callable[[Machine, random.Random], Life]


class Holder:
    """A program that holds so many pages: more are mapped and touched, fewer are unmapped."""

    def __init__(self, machine: Machine, name: str) -> None:
        self.process: Process = machine.spawn(name)
        self.areas: list[tuple[int, int]] = []  # (address, pages)
        self.pages = 0

    def hold(self, pages: int) -> None:
        """Take or give back until `pages` are held."""
        if pages > self.pages:
            more = pages - self.pages
            address = self.process.mmap(more * PAGE_SIZE)
            self.process.touch(address, more)
            self.areas.append((address, more))
            self.pages = pages
        while self.pages > pages and self.areas:
            address, held = self.areas.pop()
            kept = max(held - (self.pages - pages), 0)
            self.process.munmap(address + kept * PAGE_SIZE, (held - kept) * PAGE_SIZE)
            self.pages -= held - kept
            if kept:
                self.areas.append((address, kept))


def background(machine: Machine, rng: random.Random) -> Life:
    """Two programs that hold a little more or less each time, and one that reads a file."""
    holders = [Holder(machine, name) for name in ("server", "helper")]
    bases = [rng.randrange(400, 1500) for _ in holders]
    reader = machine.spawn("reader")
    while True:
        for holder, base in zip(holders, bases, strict=True):
            holder.hold(base + int(rng.gauss(0, base * 0.03)))
        if rng.random() < 0.3:
            reader.read_file("/data/small")
        yield


def sized(size: Callable[[int, random.Random], float]) -> Callable[[Machine, random.Random], Life]:
    """A program that holds `size(sample)` pages."""

    def live(machine: Machine, rng: random.Random) -> Life:
        holder = Holder(machine, "worker")
        base = rng.randrange(300, 1200)
        for sample in range(SAMPLES + 1):
            noise = rng.gauss(0, 3)
            holder.hold(max(base + int(size(sample, rng) + noise), 1))
            yield

    return live


def _per_run(
    draw: Callable[[random.Random], Callable[[int], float]],
) -> Callable[[Machine, random.Random], Life]:
    """A program whose sizes are drawn once for each run."""

    def live(machine: Machine, rng: random.Random) -> Life:
        shape = draw(rng)
        yield from sized(lambda sample, _: shape(sample))(machine, rng)

    return live


def _steady(rng: random.Random) -> Callable[[int], float]:
    return lambda sample: 0.0


def _leak(least: float, most: float) -> Callable[[random.Random], Callable[[int], float]]:
    def draw(rng: random.Random) -> Callable[[int], float]:
        pages = rng.uniform(least, most)
        return lambda sample: pages * sample

    return draw


def _bursts(rng: random.Random) -> Callable[[int], float]:
    count = rng.randrange(5, 12)
    at = sorted(rng.sample(range(2, SAMPLES - 2), count))
    pages = rng.randrange(60, 300)
    return lambda sample: pages * sum(moment <= sample for moment in at)


def _sawtooth(rng: random.Random) -> Callable[[int], float]:
    period, height = rng.randrange(5, 25), rng.randrange(300, 2500)
    return lambda sample: height * (sample % period) / period


def _leaking_sawtooth(rng: random.Random) -> Callable[[int], float]:
    teeth, leak = _sawtooth(rng), rng.uniform(4, 20)
    return lambda sample: teeth(sample) + leak * sample


def _collected(rng: random.Random) -> Callable[[int], float]:
    """Garbage collected when it has grown by a share that varies."""
    sizes, size = [], 0.0
    for _ in range(SAMPLES + 1):
        size += rng.uniform(0, 120)
        if rng.random() < 0.09:
            size = 0.0
        sizes.append(size)
    return lambda sample: sizes[sample]


def _warm_up(rng: random.Random) -> Callable[[int], float]:
    height, time = rng.randrange(300, 4000), SAMPLES * rng.uniform(0.05, 0.35)
    return lambda sample: height * (1 - math.exp(-sample / time))


def _fill(rng: random.Random) -> Callable[[int], float]:
    """A cache of its own that fills evenly and is full then."""
    height, full = rng.randrange(300, 4000), SAMPLES * rng.uniform(0.1, 0.65)
    return lambda sample: height * min(sample / full, 1.0)


def _steps(rng: random.Random) -> Callable[[int], float]:
    at = [rng.uniform(0.1, 0.9) * SAMPLES for _ in range(rng.choice((1, 2)))]
    pages = rng.randrange(200, 2500)
    return lambda sample: pages * sum(moment <= sample for moment in at)


def _periodic(rng: random.Random) -> Callable[[int], float]:
    height, turns, phase = rng.randrange(200, 1500), rng.uniform(2.5, 9), rng.random()
    return lambda sample: height * (1 + math.sin(2 * math.pi * (sample * turns / SAMPLES + phase)))


def _growing_cache(machine: Machine, rng: random.Random) -> Life:
    """A log is read on and on: page cache grows until it is given back."""
    reader = machine.spawn("indexer")
    log = reader.open("/data/log")
    step = rng.randrange(20, 50) * PAGE_SIZE
    for sample in range(SAMPLES + 1):
        machine.run(reader, reader.read_job(log, sample * step, step, 1 << 16))
        yield


def _slab_leak(machine: Machine, rng: random.Random) -> Life:
    """A driver that forgets objects of a kmalloc cache."""
    kernel, objects = machine.kernel, rng.randrange(10, 60)
    cache = int(kernel.slub.find(KERNEL_LEAK_CACHE))
    for _ in range(SAMPLES + 1):
        for _ in range(objects):
            take_object(kernel.slub, kernel.slowpath, cache)
        yield


def _table_leak(machine: Machine, rng: random.Random) -> Life:
    """One file is mapped again and again, a page of it used: a page table for each mapping."""
    mapper = machine.spawn("mapper")
    each = rng.randrange(1, 4)
    for _ in range(SAMPLES + 1):
        for _ in range(each):
            address, _ = mapper.mmap_file("/data/small")
            mapper.touch(address, 1, how="r")
        yield


def _driver_leak(machine: Machine, rng: random.Random) -> Life:
    """A driver that takes whole pages and forgets them: no counter tells."""
    pages = rng.randrange(2, 15)
    for _ in range(SAMPLES + 1):
        for _ in range(pages):
            machine.kernel.slowpath.alloc_page(GFP_KERNEL, 0)
        yield


WORKLOADS = {
    "steady": Workload(Truth("", "steady"), _per_run(_steady)),
    "growing page cache": Workload(Truth("", "cache"), _growing_cache),
    "sawtooth": Workload(Truth("", "sawtooth"), _per_run(_sawtooth)),
    "garbage collected": Workload(Truth("", "sawtooth"), _per_run(_collected)),
    "warm-up": Workload(Truth("", "warm-up"), _per_run(_warm_up)),
    "own cache fills": Workload(Truth("", "warm-up"), _per_run(_fill)),
    "one or two steps": Workload(Truth("", "step"), _per_run(_steps)),
    "periodic": Workload(Truth("", "periodic"), _per_run(_periodic)),
    "leak, slow": Workload(Truth("uss", "leak"), _per_run(_leak(0.8, 3))),
    "leak, fast": Workload(Truth("uss", "leak"), _per_run(_leak(8, 40))),
    "leak in bursts": Workload(Truth("uss", "leak"), _per_run(_bursts)),
    "leak under a sawtooth": Workload(Truth("uss", "leak"), _per_run(_leaking_sawtooth)),
    "slab leak": Workload(Truth("slab", "leak"), _slab_leak),
    "page-table leak": Workload(Truth("page tables", "leak"), _table_leak),
    "driver's pages leak": Workload(Truth("unaccounted", "leak"), _driver_leak),
}


def machine_for(seed: int) -> MachineConfig:
    """The machine that workloads run on: small, with swap and a few files."""
    import msgspec

    config = load_machine("board-128m", ["swap=zram:32M"])
    files = tuple(FileConfig(path, size) for path, size in FILES.items())
    return msgspec.structs.replace(config, files=files, seed=seed)


def run_into(name: str, seed: int, directory: Path, samples: int = SAMPLES) -> None:
    """Run workload `name` with `seed` and sample it into a new store at `directory`."""
    rng = random.Random(f"{name} {seed}")
    machine = Machine(machine_for(seed))
    lives = [background(machine, rng), WORKLOADS[name].live(machine, rng)]
    with StoreWriter(directory, PAGE_SIZE, "twin") as store:
        for _ in range(samples):
            for life in lives:
                next(life)
            machine.sleep(INTERVAL_NS)
            store.append(sample_of(machine))


def sample_of(machine: Machine) -> Sample:
    """All texts of a machine now."""
    texts = {path: machine.texts.read(path) for path in TEXTS}
    for process in machine.processes.values():
        if process.alive:
            for name in PROCESS_TEXTS:
                path = f"/proc/{process.pid}/{name}"
                texts[path] = machine.texts.read(path)
    known = {path: text.encode() for path, text in texts.items() if text is not None}
    return Sample(machine.clock.now_ns, machine.clock.now_ns, 0, known, [])
