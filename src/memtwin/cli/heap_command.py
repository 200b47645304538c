"""Owns what `memtwin heap record`, `replay` and `show` print.

Imports record, workload, heap, analysis. Does no arithmetic of its own but of columns of text.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memtwin.analysis.heap_story import figures, human, reasons
from memtwin.cli import heap_picture, leak_report_view
from memtwin.cli.output import check_writable, note, write_whole
from memtwin.errors import UserError
from memtwin.heap.build import HeapTerms, parse_change
from memtwin.heap.census import MMAPPED, Census, Chunk, chunks, take_census
from memtwin.heap.constants import FAULTS
from memtwin.heap.upkeep import malloc_stats
from memtwin.heap.versions import INSTALLED_TRUTH, versions
from memtwin.record.heap_import import read_any
from memtwin.record.heap_recorder import Wanted, record_heap
from memtwin.record.heap_trace import HeapTrace
from memtwin.workload.heap_process import run_on_machine
from memtwin.workload.heap_replay import Events, Replayed, events_of
from memtwin.workload.heap_replay import replay as run_replay

SCHEMA = "memtwin.heap/1"
LEAKS_SHOWN = 12


@dataclass(frozen=True)
class Wishes:
    """What the words asked for: version, changes, process, CPUs; empty where nothing was said."""

    glibc: str
    changes: list[str]
    process: int | None
    cores: int | None


@dataclass(frozen=True)
class OnMachine:
    """Which machine a replay drives a process of, if any, and its limit."""

    machine: str | None
    limit: str | None


def record(command: list[str], out: Path, wanted: str) -> None:
    """Run and record; a line on what came of it."""
    if not command:
        raise UserError("heap record: found no command, it stands after --")
    check_writable(out, "--out")
    trace = record_heap(command, out, Wanted(wanted))
    images = len(trace.images())
    note(
        f"{out}: {trace.events} events of {images} program image{'s' * (images > 1)},"
        f" {human(out.stat().st_size)}; exit status {trace.info.exit_status}"
    )
    if wanted == Wanted.LEAKS.value:
        leak_report_view.show(leak_report_view.of_recording(trace, out), LEAKS_SHOWN, as_json=False)


def _chosen(trace: HeapTrace, process: int | None) -> int:
    """The image asked for, or the one with most events."""
    for image, pid, _ in trace.images():
        if process in (None, pid):
            return image
    found = ", ".join(f"{pid} ({count} events)" for _, pid, count in trace.images()[:6])
    raise UserError(f"--process: found {process}, allowed are {found}")


def _terms(trace: HeapTrace, wishes: Wishes) -> tuple[HeapTerms, HeapTerms | None]:
    """As recorded, and with the changes; None where nothing is changed."""
    own = trace.info.glibc if trace.info.glibc in versions() else INSTALLED_TRUTH
    cores = trace.info.cores or os.cpu_count() or 1
    plain = HeapTerms(own, cores)
    changes = tuple(parse_change(text) for text in wishes.changes)
    if not (changes or wishes.glibc or wishes.cores):
        return plain, None
    return plain, HeapTerms(wishes.glibc or own, wishes.cores or cores, changes=changes)


def _row(done: Replayed, census: Census) -> dict[str, Any]:
    heap, runner = done.heap, done.runner
    return {
        "events": int(runner.events),
        "live_peak_bytes": int(runner.live_peak),
        "live_end_bytes": int(runner.live_bytes),
        "rss_peak_bytes": done.resident_peak_bytes,
        "rss_end_bytes": done.resident_bytes,
        "arenas": int(heap.thread_arenas.narenas),
        "brk_calls": done.calls.get("brk", 0),
        "mmap_calls": done.calls.get("mmap", 0),
        "munmap_calls": done.calls.get("munmap", 0),
        "mremap_calls": done.calls.get("mremap", 0),
        "mprotect_calls": done.calls.get("mprotect", 0),
        "madvise_calls": done.calls.get("madvise", 0),
        "first_touches": done.faults,
        "kernel_time_ns": done.kernel_ns,
        "failures": int(runner.failures),
        **figures(census),
    }


def _shown(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return human(value)
    if name.endswith("_ns"):
        return f"{value / 1e6:.3f} ms"
    return f"{value:.1%}" if name == "fragmentation" else f"{value:,}"


def _label(name: str) -> str:
    return name.removesuffix("_bytes").removesuffix("_ns").replace("_", " ")


def replay(file: Path, wishes: Wishes, where: OnMachine, form: str) -> None:
    """Replay as recorded and, where something is changed, with the changes beside it."""
    trace = read_any(file)
    events = events_of(trace, _chosen(trace, wishes.process))
    columns: list[tuple[str, dict[str, Any]]] = []
    for name, terms in zip(("as recorded", "changed"), _terms(trace, wishes), strict=True):
        if terms is None:
            continue
        done = run_replay(events, terms, "log" if where.machine else "")
        row = _row(done, take_census(done.heap))
        if where.machine:
            row |= run_on_machine(done, where.machine, where.limit)
        columns.append((f"{name} ({terms.glibc})", row))
        if done.heap.memory.fault:
            note(f"{name}: the heap broke: {FAULTS.get(int(done.heap.memory.fault), 'SIGSEGV')}")
    if form == "json":
        print(json.dumps({"schema": SCHEMA, "replays": dict(columns), **_about(trace, events)}))
        return
    width = max(len(name) for name, _ in columns) + 2
    print(" " * 18 + "".join(f"{name:>{width}}" for name, _ in columns))
    for key in columns[0][1]:
        values = "".join(f"{_shown(key, row[key]):>{width}}" for _, row in columns)
        print(f"{_label(key):18}{values}")
    _notes(trace, events)


def _about(trace: HeapTrace, events: Events) -> dict[str, Any]:
    return {
        "command": trace.info.command,
        "unknown_frees": events.unknown_frees,
        "recorded_failures": events.failures,
        "missing": trace.info.missing,
    }


def _notes(trace: HeapTrace, events: Events) -> None:
    if events.unknown_frees:
        note(f"{events.unknown_frees} frees of blocks from before the recording are left out")
    if len(trace.images()) > 1:
        note(f"the recording holds {len(trace.images())} program images; --process chooses")


def _origin(done: Replayed, trace: HeapTrace, chunk: Chunk | None) -> str:
    """Who allocated a block: its event, and its stack where one was taken."""
    if chunk is None:
        return ""
    slots = [int(s) for s, row in enumerate(done.runner.row_of_slot) if int(row) == chunk.row]
    if not slots:
        return ""
    mine = [
        at for at in range(len(done.events.ops))
        if done.events.slots[at] == slots[0] and done.events.ops[at] != 2
    ]  # fmt: skip
    source = int(done.events.source[mine[-1]])
    stack = trace.info.stacks.get(str(int(trace.table["stack"][source])), [])
    seen = f", from {' < '.join(stack[:4])}" if stack else ""
    return f" ({int(done.runner.size_of_slot[slots[0]])} asked for in event {source}{seen})"


def show(file: Path, wishes: Wishes, html: Path | None, form: str) -> None:
    """The picture at the end, and the reasons."""
    check_writable(html, "--html")
    trace = read_any(file)
    events = events_of(trace, _chosen(trace, wishes.process))
    plain, changed = _terms(trace, wishes)
    done = run_replay(events, changed or plain)
    census = take_census(done.heap)
    origin = _origin(done, trace, census.last_used)
    said = reasons(census, done.resident_bytes, int(done.runner.live_bytes), origin)
    groups = _groups(done)
    if html is not None:
        title = f"heap of {' '.join(trace.info.command) or file.name}"
        write_whole(html, heap_picture.page(title, groups, said))
    if form == "json":
        print(json.dumps({"schema": SCHEMA, **_row(done, census), "reasons": said}))
        return
    for name, found in groups:
        print(f"{name}: {heap_picture.text(found)}")
    print(heap_picture.LEGEND + "\n")
    print("\n".join(said) + "\n")
    print(malloc_stats(done.heap), end="")
    _notes(trace, events)


def _groups(done: Replayed) -> list[tuple[str, list[Chunk]]]:
    """Chunks of the break and of each further heap; a mapped chunk needs no picture."""
    groups: dict[str, list[Chunk]] = {}
    for chunk in chunks(done.heap):
        if chunk.state != MMAPPED:
            block = chunk.row >> 22
            name = "break" if chunk.arena == 0 else f"arena {chunk.arena}, heap {block}"
            groups.setdefault(name, []).append(chunk)
    return list(groups.items())
