"""Owns workloads of the twin of which it is known whether they leak, and how they are sampled.

Each runs on a small machine beside programs that live their lives: they hold a working set, take
some memory, give it back and read files. A workload is a generator of what happens between two
samples. What leaks, leaks by construction; everything else ends where it began or stays bounded.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import leak_shapes as shapes
from leak_shapes import SAMPLES, Drawn

from memtwin.file_io.objects import take_object
from memtwin.machine.config import load_machine
from memtwin.machine.description import FileConfig, MachineConfig
from memtwin.machine.machine import Machine
from memtwin.machine.process import Process
from memtwin.observe.samples.journal import Sample
from memtwin.observe.samples.store import StoreWriter
from memtwin.page.gfp import GFP_KERNEL
from memtwin.units import NIL, PAGE_SIZE

INTERVAL_NS = 5_000_000_000
TEXTS = (
    "/proc/meminfo", "/proc/vmstat", "/proc/zoneinfo", "/proc/buddyinfo", "/proc/slabinfo",
    "/proc/swaps",
)  # fmt: skip
PROCESS_TEXTS = ("statm", "stat", "status", "smaps_rollup", "cgroup")
FILES = {"/data/small": 2 << 20, "/data/log": 24 << 20, "/data/base": 40 << 20}
KERNEL_LEAK_CACHE = "kmalloc-512"

Life = Iterator[None]


class Part(enum.Enum):
    """What a workload is for."""

    DESIGN = "design"  # the method was chosen on other seeds of it
    HELD_OUT = "held out"  # nothing was chosen on it: run only for the final figures
    UNKNOWABLE = "unknowable"  # it leaks, but too little has happened to know


Live = Callable[[Machine, random.Random], Life]


class Workload(NamedTuple):
    """A workload. `kind`: of the series that leaks, "" where nothing does."""

    kind: str
    part: Part
    live: Live


class Holder:
    """A program that holds so many pages: more are mapped and touched, fewer are unmapped."""

    def __init__(self, machine: Machine, name: str, kind: str = "anon") -> None:
        self.process: Process = machine.spawn(name)
        self.kind = kind
        self.areas: list[tuple[int, int]] = []  # (address, pages)
        self.pages = 0

    def hold(self, pages: int) -> None:
        """Take or give back until `pages` are held."""
        if pages > self.pages:
            more = pages - self.pages
            address = self.process.mmap(more * PAGE_SIZE, self.kind)
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


def program(draw: Drawn, kind: str = "anon") -> Live:
    """A program whose size over time is drawn once for each run."""

    def live(machine: Machine, rng: random.Random) -> Life:
        shape, holder = draw(rng), Holder(machine, "worker", kind)
        base = rng.randrange(300, 1200)
        for sample in range(SAMPLES + 1):
            holder.hold(max(base + int(shape(sample) + rng.gauss(0, 3)), 1))
            yield

    return live


def both(*lives: Live) -> Live:
    """Several lives beside each other."""

    def live(machine: Machine, rng: random.Random) -> Life:
        for _ in zip(*(one(machine, rng) for one in lives), strict=False):
            yield

    return live


def beside(draw: Drawn) -> Live:
    """Another program of the machine, that is not what leaks."""

    def live(machine: Machine, rng: random.Random) -> Life:
        shape, holder = draw(rng), Holder(machine, "neighbour")
        for sample in range(SAMPLES + 1):
            holder.hold(max(400 + int(shape(sample)), 1))
            yield

    return live


def _growing_cache(machine: Machine, rng: random.Random) -> Life:
    """A log is read on and on: page cache grows until it is given back."""
    reader = machine.spawn("indexer")
    log = reader.open("/data/log")
    step = rng.randrange(20, 50) * PAGE_SIZE
    for sample in range(SAMPLES + 1):
        machine.run(reader, reader.read_job(log, sample * step, step, 1 << 16))
        yield


def objects_of(cache_name: str, draw: Drawn, each: float) -> Live:
    """A driver that holds `each` objects of a slab cache for each page of the shape."""

    def live(machine: Machine, rng: random.Random) -> Life:
        kernel, shape, held = machine.kernel, draw(rng), 0
        cache = int(kernel.slub.find(cache_name))
        for sample in range(SAMPLES + 1):
            wanted = max(int(shape(sample) * each), 0)
            for _ in range(held, wanted):
                take_object(kernel.slub, kernel.slowpath, cache)
            for _ in range(wanted, held):
                kernel.slub.free_object(cache, NIL)
            held = wanted
            yield

    return live


def pages_of_driver(draw: Drawn) -> Live:
    """A driver that holds whole pages: no counter tells."""

    def live(machine: Machine, rng: random.Random) -> Life:
        kernel, shape = machine.kernel, draw(rng)
        held: list[int] = []
        for sample in range(SAMPLES + 1):
            wanted = max(int(shape(sample)), 0)
            while len(held) < wanted:
                held.append(kernel.slowpath.alloc_page(GFP_KERNEL, 0))
            while len(held) > wanted:
                pfn = held.pop()
                kernel.page_alloc.mem_map.refcount[pfn] = 0
                kernel.page_alloc.free_page(pfn)
            yield

    return live


def vmalloc_of_driver(draw: Drawn) -> Live:
    """A driver that takes areas by vmalloc() as a shape grows."""

    def live(machine: Machine, rng: random.Random) -> Life:
        shape, held = draw(rng), 0
        task = machine.spawn("modprobe").task
        for sample in range(SAMPLES + 1):
            wanted = int(shape(sample))
            if wanted > held:
                size_bytes = (wanted - held) * PAGE_SIZE
                machine.kernel.kernel_objects.vmalloc(size_bytes, task, ("driver_probe",))
                held = wanted
            yield

    return live


def _table_leak(machine: Machine, rng: random.Random) -> Life:
    """One file is mapped again and again, a page of it used: a page table for each mapping."""
    mapper = machine.spawn("mapper")
    each = rng.randrange(1, 4)
    for _ in range(SAMPLES + 1):
        for _ in range(each):
            address, _ = mapper.mmap_file("/data/small")
            mapper.touch(address, 1, how="r")
        yield


def children(most: float, lives_for: float) -> Live:
    """A server that starts a child for each request; they end after `lives_for` samples."""

    def live(machine: Machine, rng: random.Random) -> Life:
        alive: list[tuple[int, Process]] = []
        for sample in range(SAMPLES + 1):
            for _ in range(rng.randrange(int(most) + 1)):
                alive.append((sample, machine.spawn("child")))
            while alive and sample - alive[0][0] > lives_for:
                alive.pop(0)[1].kill()
            yield

    return live


_D, _H = Part.DESIGN, Part.HELD_OUT
WORKLOADS = {
    # nothing leaks
    "steady": Workload("", _D, program(shapes.steady)),
    "growing page cache": Workload("", _D, _growing_cache),
    "sawtooth": Workload("", _D, program(shapes.sawtooth)),
    "garbage collected": Workload("", _D, program(shapes.collected)),
    "warm-up": Workload("", _D, program(shapes.warm_up)),
    "own cache fills": Workload("", _D, program(shapes.fill)),
    "one or two steps": Workload("", _D, program(shapes.steps)),
    "periodic": Workload("", _D, program(shapes.periodic)),
    "noisy load": Workload("", _D, program(shapes.noisy)),
    "days and nights": Workload("", _D, program(shapes.daily)),
    "allocator keeps all": Workload("", _D, program(shapes.kept_high_water)),
    "cache fills in lumps": Workload("", _D, program(shapes.lumpy_fill)),
    "dentries pile up": Workload("", _D, objects_of("dentry", shapes.leak(3, 15), 8)),
    "load in levels": Workload("", _H, program(shapes.levels)),
    "batch jobs": Workload("", _H, program(shapes.batches)),
    "pool starts": Workload("", _H, program(shapes.pool)),
    "adaptive collector": Workload("", _H, program(shapes.adaptive)),
    "memory given back late": Workload("", _H, program(shapes.trimmed)),
    "shared memory fills": Workload("", _H, program(shapes.fill, "shm")),
    "slab of a busy driver": Workload("", _H, objects_of(KERNEL_LEAK_CACHE, shapes.daily, 1)),
    "driver's rings grow twice": Workload("", _H, pages_of_driver(shapes.steps)),
    "children come and go": Workload("", _H, children(3, 12)),
    # something leaks
    "leak, slow": Workload("uss", _D, program(shapes.leak(0.8, 3))),
    "leak, fast": Workload("uss", _D, program(shapes.leak(8, 40))),
    "leak in bursts": Workload("uss", _D, program(shapes.bursts)),
    "leak in uneven bursts": Workload("uss", _D, program(shapes.uneven_bursts)),
    "leak under a sawtooth": Workload("uss", _D, program(shapes.leaking_sawtooth)),
    "leak under noise": Workload("uss", _D, program(shapes.leak_under_noise)),
    "leak, allocator keeps all": Workload("uss", _D, program(shapes.leaking_high_water)),
    "slab leak": Workload("slab", _D, objects_of(KERNEL_LEAK_CACHE, shapes.leak(2, 8), 6)),
    "page-table leak": Workload("page tables", _D, _table_leak),
    "driver's pages leak": Workload("unaccounted", _D, pages_of_driver(shapes.leak(2, 15))),
    "leak beside a sawtooth": Workload(
        "uss", _H, both(program(shapes.leak(2, 10)), beside(shapes.sawtooth))
    ),
    "bursts under noise": Workload("uss", _H, program(shapes.bursts_under_noise)),
    "leak in a collected heap": Workload("uss", _H, program(shapes.leaking_collected)),
    "slab leak in bursts": Workload("slab", _H, objects_of(KERNEL_LEAK_CACHE, shapes.bursts, 8)),
    "socket buffers leak": Workload(
        "slab", _H, objects_of("skbuff_head_cache", shapes.leak(2, 12), 16)
    ),
    "driver's pages leak in bursts": Workload("unaccounted", _H, pages_of_driver(shapes.bursts)),
    "vmalloc leak": Workload("vmalloc", _H, vmalloc_of_driver(shapes.leak(2, 15))),
    "shared memory leak": Workload("shmem", _H, program(shapes.leak(12, 40), "shm")),
    "children never end": Workload("kernel stacks", _H, children(3, 9999)),
    # something leaks, and nobody can know it yet
    "three or four bursts": Workload("uss", Part.UNKNOWABLE, program(shapes.few_bursts)),
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
