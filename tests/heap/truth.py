"""Runs one sequence of events on a real C library and on the twin, and compares them."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tests import glibc_builds
from tests.glibc_builds import Library
from tests.heap import sequences as seq

from memtwin.heap.address_map import Layout
from memtwin.heap.build import HeapTerms, new_heap
from memtwin.heap.call_log import CallLog
from memtwin.heap.constants import (
    BRK,
    MADV_HUGEPAGE,
    MADVISE,
    MAP_HUGETLB,
    MMAP,
    MPROTECT,
    MREMAP,
    MUNMAP,
    TOUCH,
)
from memtwin.heap.event_runner import EventRunner
from memtwin.heap.heap import Heap
from memtwin.heap.memory import Touching
from memtwin.heap.upkeep import mallinfo_numbers, malloc_info, malloc_stats, malloc_trim, mallopt

SOURCE = Path(__file__).parent / "truth_driver.c"
FLAGS = ("-O1", "-fno-builtin", "-pthread", "-w")
STACK_BYTES = 256 << 10
GUARD_BYTES = 4096
ENOUGH_HUGE_PAGES = 128
# the calls of x86-64 by number, as the log of the twin names them
NUMBERS = {12: BRK, 9: MMAP, 11: MUNMAP, 25: MREMAP, 10: MPROTECT, 28: MADVISE}
ERRNO_FROM = (1 << 64) - 4095


@dataclass
class Answers:
    """What one side did: (address or answer, usable size) by event, calls, text of stderr."""

    values: np.ndarray
    calls: list[tuple[int, ...]]  # (event, kind, address, length, argument, result)
    text: str = ""
    status: int = 0
    maps: str = ""  # of the process before the first event
    layout: Layout = field(default_factory=Layout)


def glibc_version() -> str:
    """Of this machine."""
    return glibc_builds.installed().version


def build_driver(directory: Path, library: Library | None = None) -> Path:
    """The compiled driver, to run on `library` or the installed one."""
    library = library or glibc_builds.installed()
    return glibc_builds.compile_for(library, [*FLAGS, SOURCE], directory / "truth_driver")


def real(
    driver: Path, events: np.ndarray, tunables: str = "", touches: int = 0, tail: Sequence[str] = ()
) -> Answers:
    """Run `events` on the C library of this machine."""
    with tempfile.TemporaryDirectory() as directory:
        paths = [Path(directory) / name for name in ("events", "answers", "calls", "maps")]
        header = np.array([len(events), seq.SLOTS, touches], dtype="<u8")
        paths[0].write_bytes(header.tobytes() + events.tobytes())
        with paths[1].open("wb") as out:
            out.truncate(32 + 16 * len(events) + 8 * seq.SLOTS)
        environment = {"PATH": os.environ.get("PATH", "")}
        if tunables:
            environment["GLIBC_TUNABLES"] = tunables
        done = subprocess.run(
            [str(driver), *map(str, paths), *tail],
            env=environment, stderr=subprocess.PIPE, text=True, check=False, cwd="/",
        )  # fmt: skip
        raw = np.fromfile(paths[1], dtype="<u8")
        values = raw[4 : 4 + 2 * len(events)].reshape(-1, 2)
        calls = np.fromfile(paths[2], dtype="<u8").reshape(-1, 7)
        maps = paths[3].read_text()
    found = _without_stacks([_real_call(row) for row in calls])
    return Answers(values, found, done.stderr, done.returncode, maps, read_layout(maps))


def _without_stacks(calls: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Without what ends a thread's stack: it is no part of the heap."""
    size = STACK_BYTES + GUARD_BYTES
    stacks = [call[5] for call in calls if call[1] == MMAP and call[3:5] == (size, 0)]
    return [
        call
        for call in calls
        if call[1] != MADVISE or not any(start <= call[2] < start + size for start in stacks)
    ]


def _real_call(row: np.ndarray) -> tuple[int, ...]:
    event, number, a0, a1, a2, _, result = (int(value) for value in row)
    kind = NUMBERS[number]
    if kind == MMAP:
        a2 |= int(row[5]) & MAP_HUGETLB
    if kind == BRK:
        return event, kind, a0, 0, 0, result
    if result >= ERRNO_FROM:
        result -= 1 << 64
    return event, kind, a0, a1, 0 if kind == MUNMAP else a2, result


def read_layout(maps: str) -> Layout:
    """Where things stood before the first event, from the text of /proc/PID/maps."""
    occupied, program_end, mmap_base = [], 0, 0
    for line in maps.splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s*(.*)", line)
        assert found is not None
        start, end, name = int(found[1], 16), int(found[2], 16), found[3]
        if name == "[heap]":
            continue  # what ld.so took from the break: the twin knows
        occupied.append((start, end))
        if start < 0x7000_0000_0000:
            program_end = end
        elif "stack" not in name and name != "[vsyscall]":
            mmap_base = end
    memory = dict(
        line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if line
    )
    limit = sum(int(memory[key].split()[0]) for key in ("MemTotal", "SwapTotal")) << 10
    if Path("/proc/sys/vm/overcommit_memory").read_text().strip() != "0":
        limit = 0
    huge = int(memory.get("HugePages_Free", "0")) - int(memory.get("HugePages_Rsvd", "0"))
    return Layout(program_end, mmap_base, tuple(occupied), limit, nr_huge_pages=max(0, huge))


def why_no_huge_pages(hugetlb: int) -> str:
    """Why glibc.malloc.hugetlb can't be compared on this machine; "" when it can."""
    if hugetlb == 1:
        mode = Path("/sys/kernel/mm/transparent_hugepage/enabled")
        if not mode.exists() or "[madvise]" not in mode.read_text():
            return "transparent huge pages are not in madvise mode here"
        return ""
    figures = dict(
        line.split(":") for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line
    )
    if int(figures.get("Hugepagesize", "0 kB").split()[0]) != 2048:
        return "huge pages are not of 2 MiB here"
    if 0 < int(figures["HugePages_Total"]) < ENOUGH_HUGE_PAGES:
        return f"a pool of less than {ENOUGH_HUGE_PAGES} huge pages may end in the middle"
    return ""


def asks_for_huge_pages(answers: Answers, hugetlb: int) -> bool:
    """Whether the kernel was asked for any, in the way of that value of the tunable."""
    if hugetlb == 1:
        return any(kind == MADVISE and what == MADV_HUGEPAGE for _, kind, _, _, what, _ in
                   answers.calls)  # fmt: skip
    return any(kind == MMAP and what & MAP_HUGETLB for _, kind, _, _, what, _ in answers.calls)


def twin(
    events: np.ndarray, layout: Layout, changes: tuple[tuple[str, int], ...] = (), touches: int = 0,
    glibc: str = "",
) -> tuple[Answers, Heap]:  # fmt: skip
    """Run `events` on a simulated heap that lies where the real one lay."""
    touching = Touching.REQUESTED if touches else Touching.HEADERS
    cores = os.cpu_count() or 1
    heap = new_heap(HeapTerms(glibc or glibc_version(), cores, layout, touching, changes))
    runner = EventRunner(heap)
    runner.make_room(seq.SLOTS)
    values = np.zeros((len(events), 2), dtype="<u8")
    text: list[str] = []
    at = 0
    while at < len(events) and not heap.memory.fault:
        end = at
        while end < len(events) and _is_plain(events[end]):
            if events[end]["thread"] != events[at]["thread"]:
                break
            end += 1
        if end > at:
            _run_plain(heap, runner, events[at:end], values[at:end])
        else:
            heap.memory.log.event = at
            values[at] = _run_special(heap, runner, events[at], text)
            runner.skip()
            end = at + 1
        at = end
    return Answers(values, _twin_calls(heap.memory.log), "".join(text)), heap


def _is_plain(event: np.void) -> bool:
    """Whether the runner does it: what replays do."""
    op, alignment = int(event["op"]), int(event["argument"])
    if op == seq.OP_ALIGNED_ALLOC:
        return alignment > 0 and alignment & (alignment - 1) == 0
    return op < seq.OP_MALLOPT


def _run_plain(heap: Heap, runner: EventRunner, events: np.ndarray, values: np.ndarray) -> None:
    heap.run_as(int(events[0]["thread"]))
    ops = np.minimum(events["op"], seq.OP_MEMALIGN).astype("u1")
    columns = [events[name].astype("i8") for name in ("slot", "size", "argument")]
    out = [np.zeros(len(events), dtype="i8") for _ in range(2)]
    runner.run_recorded(ops.data, *[c.data for c in columns], *[c.data for c in out])
    values[:, 0], values[:, 1] = out


def _run_special(
    heap: Heap, runner: EventRunner, event: np.void, text: list[str]
) -> tuple[int, int]:
    op, size, argument = int(event["op"]), int(event["size"]), int(event["argument"])
    if op == seq.OP_MALLOPT:
        signed = argument - (1 << 64) if argument >> 63 else argument
        return mallopt(heap, size, signed), 0
    if op == seq.OP_TRIM:
        return malloc_trim(heap, size), 0
    if op == seq.OP_MALLINFO:
        return mallinfo_numbers(heap)[argument], 0
    if op == seq.OP_ALIGNED_ALLOC:
        address = heap.aligned_alloc(argument, size)
        runner.row_of_slot[int(event["slot"])] = heap.memory.row_of(address - 16) if address else 0
        return address, heap.usable_size(address)
    if op in (seq.OP_STATS, seq.OP_INFO):
        text.append(malloc_stats(heap) if op == seq.OP_STATS else malloc_info(heap))
    elif op == seq.OP_RESIDENT:
        return resident(heap)
    elif op == seq.OP_THREAD_START:
        _start_thread(heap, int(event["thread"]))
    elif op == seq.OP_THREAD_EXIT:
        heap.run_as(int(event["thread"]))
        heap.exit_thread()
        heap.run_as(0)
    elif op == seq.OP_SBRK:
        return int(heap.system.sbrk(size)), 0
    elif op == seq.OP_WALL:
        hint = ((int(heap.system.sbrk(0)) + 4095) & -4096) + (size & -4096)
        return int(heap.system.mmap(hint, 4096, 0)), 0
    elif op in (seq.OP_POKE, seq.OP_FREE_AT, seq.OP_REALLOC_AT):
        address = heap.address(int(runner.row_of_slot[int(event["slot"])]))
        if op == seq.OP_POKE:
            heap.memory.poke(address + size, argument)
        elif op == seq.OP_FREE_AT:
            heap.free(address + size)
        else:
            heap.realloc(address + argument, size)
    return 0, 0


def resident(heap: Heap) -> tuple[int, int]:
    """Pages of the break, and of all else, that are resident in the twin."""
    pages = np.asarray(heap.memory.resident)
    main = int(pages[heap.memory.main_first >> 8 : heap.memory.main_end >> 8].sum())
    return main, int(heap.memory.nr_resident) - main


def _start_thread(heap: Heap, number: int) -> None:
    """What pthread_create asks of the heap: a stack, its guard, and room for thread storage."""
    heap.run_as(0)
    address = int(heap.system.mmap(0, STACK_BYTES + GUARD_BYTES, 0))
    heap.system.mprotect(address + 4096, STACK_BYTES + GUARD_BYTES - 4096, 3)
    # elf/dl-tls.c allocate_dtv(), glibc 2.36: one module, 14 to spare, two more
    heap.calloc_row(17 * 16)
    heap.run_as(number)
    heap.run_as(0)


def _twin_calls(log: CallLog) -> list[tuple[int, ...]]:
    return [
        (int(row[5]), *(int(value) for value in row[:5])) for row in log.take() if row[0] != TOUCH
    ]


def differences(one: Answers, other: Answers) -> list[str]:
    """What differs, first things first: answers, then calls, then texts."""
    found = []
    for at in np.flatnonzero((one.values != other.values).any(axis=1))[:3]:
        shown = [" ".join(f"{int(v):#x}" for v in side.values[at]) for side in (one, other)]
        found.append(f"event {at}: {shown[0]} really, {shown[1]} in the twin")
    for a, b in zip(one.calls, other.calls, strict=False):
        if a != b:
            found.append(f"call {_shown(a)} really, {_shown(b)} in the twin")
            break
    if len(one.calls) != len(other.calls):
        found.append(f"{len(one.calls)} calls really, {len(other.calls)} in the twin")
    if one.text != other.text:
        found.append(f"text {one.text[-300:]!r} really, {other.text[-300:]!r} in the twin")
    return found


def _shown(call: tuple[int, ...]) -> str:
    return f"{call[0]}: " + " ".join(f"{value:#x}" for value in call[1:])
