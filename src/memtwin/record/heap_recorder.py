"""Owns recording a program's allocations: the preloaded library, its segments, the trace.

Imports heap_trace, supervise, host_compiler. The program runs as it would: its memory is the C
library's own. What it leaves when it or the recorder is killed is the directory of segments beside
the trace, which `memtwin heap` reads too.
"""

from __future__ import annotations

import ctypes
import enum
import os
import platform
import shutil
import time
from pathlib import Path

import msgspec

from memtwin.errors import UserError
from memtwin.host_compiler import built
from memtwin.record.exit_scan import ExitScan
from memtwin.record.heap_leaks import leaks_of
from memtwin.record.heap_trace import (
    HeapTrace,
    HeapTraceInfo,
    from_segments,
    read_maps,
    write_heap_trace,
)
from memtwin.record.supervise import RunResult, run_supervised

_SOURCES = Path(__file__).parent / "malloc_recorder"
_FLAGS = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall")
_MISSING = (
    "allocations before the library's constructors ran",
    "programs that are linked statically, setuid, or bring an allocator of their own",
    "what a forked child inherited: its frees of that are left out",
)


def library_path() -> Path:
    """The built library; raises UserError where there is no compiler or no glibc on x86-64."""
    if platform.libc_ver()[0] != "glibc" or platform.machine() != "x86_64":
        raise UserError(
            f"heap record: found {platform.libc_ver()[0] or 'another C library'} on"
            f" {platform.machine()}, allowed is glibc on x86_64"
        )
    return built("the recorder of allocations", "malloc_recorder.so", _SOURCES, _FLAGS)


class Wanted(enum.Enum):
    """What is recorded besides the calls."""

    CALLS = "calls"
    STACKS = "stacks"  # of each call
    LEAKS = "leaks"  # stacks, and what the blocks in use at the end are: leaked or not


def record_heap(command: list[str], out: Path, wanted: Wanted = Wanted.CALLS) -> HeapTrace:
    """Run `command` and write its allocations to `out`; leaks are in the trace's info.

    Raises UserError when the program is not found or `out` can't be written.
    """
    if shutil.which(command[0]) is None:
        raise UserError(f"{command[0]}: no such program")
    library = library_path()
    parts = out.with_name(out.name + ".parts")
    try:
        parts.mkdir()
    except FileExistsError:
        raise UserError(
            f"{parts}: found the segments of an earlier recording; look into it with"
            " `memtwin heap replay`, or remove it"
        ) from None
    except OSError as error:
        raise UserError(f"{parts}: can't be made ({error.strerror})") from None
    before = _clocks(library)
    scan = ExitScan(command, parts) if wanted is Wanted.LEAKS else None
    result = _run(scan.words if scan is not None else command, library, parts, wanted)
    after = _clocks(library)
    info = HeapTraceInfo(
        command=command,
        glibc=platform.libc_ver()[1],
        cores=os.cpu_count() or 1,
        wall_ns=result.wall_ns,
        cpu_ns=result.cpu_ns,
        exit_status=result.exit_status,
        missing=list(_MISSING),
    )
    if not any(parts.iterdir()):
        parts.rmdir()
        raise UserError(
            f"{command[0]}: exit status {result.exit_status}, found no allocation: it is linked"
            " statically, setuid, or brings an allocator of its own"
        )
    trace = from_segments(parts, info, (after[1] - before[1]) / (after[0] - before[0]))
    if scan is not None:
        _add_leaks(trace, scan, parts)
    write_heap_trace(out, trace)
    shutil.rmtree(parts)
    return trace


def _add_leaks(trace: HeapTrace, scan: ExitScan, parts: Path) -> None:
    """What was in use at the end, or why that is not known."""
    try:
        look = scan.finish()
    except UserError as error:
        trace.info.missing.append(str(error))
        return
    maps = read_maps(parts / f"{look.frozen.target_pid}.maps")
    files = {Path(name).name: name for _, _, _, name in maps}
    trace.info.leaks = msgspec.to_builtins(leaks_of(trace, look, files))


def _run(command: list[str], library: Path, parts: Path, wanted: Wanted) -> RunResult:
    """Run with our variables set, and the environment as it was afterwards."""
    changes = {
        "LD_PRELOAD": ":".join(filter(None, [str(library), os.environ.get("LD_PRELOAD", "")])),
        "MEMTWIN_HEAP_DIR": str(parts.absolute()),
    }
    if wanted is not Wanted.CALLS:
        changes["MEMTWIN_HEAP_STACKS"] = "1"
    old = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        return run_supervised(command)
    finally:
        for name, value in old.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _clocks(library: Path) -> tuple[int, int]:
    """(ticks, ns) at one moment."""
    read = ctypes.CDLL(str(library)).memtwin_ticks
    read.restype = ctypes.c_uint64
    return int(read()), time.monotonic_ns()
