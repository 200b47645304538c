"""Owns the front door of recording: checks what was asked, chooses a way, makes the trace file.

Imports the rest of the room. The only file here that knows every recorder.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from memtwin.errors import UserError
from memtwin.record import schema
from memtwin.record.host import measure_native
from memtwin.record.lackey import record_lackey
from memtwin.record.life import record_life
from memtwin.record.part import PartReader
from memtwin.record.program import Program, find_program
from memtwin.record.qemu import emulator_for, record_qemu
from memtwin.record.supervise import RunResult
from memtwin.record.trace import write_trace

Progress = Callable[[int, int], None]  # (elapsed_ns, written_bytes)


class Method(enum.Enum):
    """How to record."""

    AUTO = "auto"  # QEMU where it is installed, else lackey
    QEMU = "qemu"  # every page touch and call; 15 to 25 times the CPU
    LACKEY = "lackey"  # the same by valgrind, several hundred times slower
    LIFE = "life"  # root: calls and page faults at native speed, no touches after the first


class NativeRunMode(enum.Enum):
    """Whether to run the program once more, without recording, to learn its CPU time."""

    SKIP = "skip"
    MEASURE_FIRST = "measure first"


@dataclass(frozen=True)
class RecordSummary:
    """What was recorded: where it is and the metadata that stands in it."""

    path: Path
    size_bytes: int
    n_events: int
    exit_status: int
    interrupted: bool  # the recorder got SIGINT, SIGTERM, SIGHUP or SIGQUIT meanwhile
    metadata: schema.TraceMetadata

    def missing(self) -> list[str]:
        """What the user must be told is not in the trace: one line each."""
        counts, lines = self.metadata.counts, []
        if counts.children_missing:
            lines.append(
                f"{counts.children_missing} child processes could not be followed: "
                "their memory is missing"
            )
        if counts.still_running:
            lines.append(f"{counts.still_running} processes had not ended: their rest is missing")
        if counts.lost_events:
            lines.append(f"{counts.lost_events} events were lost by the kernel")
        if counts.lost_blocks:
            lines.append(f"{counts.lost_blocks} blocks of events were lost")
        if counts.damaged_blocks:
            lines.append(f"{counts.damaged_blocks} blocks of events were damaged and left out")
        return [*lines, *self.metadata.notes]


def choose_method(method: Method, program: Program) -> Method:
    """The way AUTO stands for; UserError when what is asked for is not installed."""
    qemu, valgrind = emulator_for(program.arch) is not None, shutil.which("valgrind") is not None
    native = program.arch == os.uname().machine
    if method is Method.AUTO:
        if qemu:
            return Method.QEMU
        if valgrind and native:
            return Method.LACKEY
        if native:
            raise UserError(
                f"no recorder: found neither qemu-{program.arch} nor valgrind; "
                "apt install qemu-user"
            )
        raise UserError(
            f"no recorder for {program.arch}: found no qemu-{program.arch}; apt install qemu-user"
        )
    if method is Method.QEMU and not qemu:
        raise UserError(f"qemu-{program.arch} is not installed; apt install qemu-user")
    if method is Method.LACKEY and not valgrind:
        raise UserError("valgrind is not installed; apt install valgrind")
    if method is not Method.QEMU and not native:
        raise UserError(f"{method.value} can't run a program for {program.arch} on this machine")
    return method


def _check_target(out: Path) -> None:
    if out.is_dir():
        raise UserError(f"{out}: found a directory, allowed is the name of a file")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such directory")
    if not os.access(out.parent, os.W_OK):
        raise UserError(f"{out.parent}: may not be written")


def record(
    command: list[str],
    out: Path | str,
    *,
    method: Method = Method.AUTO,
    window: int = schema.DEFAULT_WINDOW_REFS,
    progress: Progress | None = None,
    native_run: NativeRunMode = NativeRunMode.SKIP,
    cpu_model: str | None = None,
) -> RecordSummary:
    """Run `command` once, recorded, and leave its trace at `out`.

    `window` is in memory references: a page is recorded once in so many. `cpu_model` is for
    programs that need a newer processor than QEMU usually shows them ("max"). Raises UserError when
    the program or the recorder isn't there, or the trace can't be written; then nothing stands
    under the name `out`. A program that fails or is killed is recorded as any other.
    """
    out = Path(os.path.abspath(out))
    if not 1 <= window <= 1_000_000_000:
        raise UserError(f"window: found {window} references, allowed are 1 to 1000000000")
    program = find_program(command)
    chosen = choose_method(method, program)
    _check_target(out)
    native_cpu_ns = 0
    if native_run is NativeRunMode.MEASURE_FIRST:
        native_cpu_ns = measure_native(command).cpu_ns
    part = out.with_name(out.name + ".part")
    result = None
    try:
        result = _run(chosen, _Job(program, command, part, window, progress, cpu_model))
        metadata = _convert(part, out, result, native_cpu_ns)
    except (OSError, UserError) as error:
        part.unlink(missing_ok=True)
        raise _cannot_write(out, error) if isinstance(error, OSError) else error from None
    except (KeyboardInterrupt, SystemExit):
        if result is None:  # nothing ran yet; what did run stays, readable
            part.unlink(missing_ok=True)
        raise
    part.unlink(missing_ok=True)
    size_bytes = out.stat().st_size
    return RecordSummary(
        out, size_bytes, metadata.counts.events, result.exit_status, bool(result.signals), metadata
    )


def _cannot_write(out: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{out.parent}: the disk is full; the recording was given up")
    return UserError(f"{out}: can't be written ({error.strerror or error})")


@dataclass(frozen=True)
class _Job:
    program: Program
    command: list[str]
    part: Path
    window_refs: int
    progress: Progress | None
    cpu_model: str | None


def _run(method: Method, job: _Job) -> RunResult:
    if method is Method.QEMU:
        return record_qemu(
            job.program, job.command, job.part, job.window_refs, job.progress, job.cpu_model
        )
    if method is Method.LACKEY:
        return record_lackey(job.program, job.command, job.part, job.window_refs, job.progress)
    return record_life(job.program, job.command, job.part, job.progress)


def _convert(part: Path, out: Path, result: RunResult, native_cpu_ns: int) -> schema.TraceMetadata:
    ended = {**result.ended, result.pid: result.wait_status}
    with contextlib.closing(PartReader(part, ended)) as reader:
        metadata = reader.metadata
        metadata.complete = True
        if metadata.recorder.method == Method.LIFE.value:
            metadata.counts.insns = 0  # its clock is time
        metadata.wall_ns, metadata.cpu_ns = result.wall_ns, result.cpu_ns
        metadata.native_cpu_ns = native_cpu_ns
        metadata.exit_status = result.exit_status
        metadata.counts.children_missing += result.children_missing
        metadata.counts.lost_events = result.lost_events
        if os.WIFSIGNALED(result.wait_status) and os.WTERMSIG(result.wait_status) == signal.SIGILL:
            metadata.notes.append(
                "the program met an instruction that the emulated processor doesn't know; "
                'a newer one can be asked for (cpu_model="max")'
            )
        if result.signals:
            metadata.notes.append(f"the recorder got signal {result.signals[0]} meanwhile")
        write_trace(out, reader.batches(), metadata)
    return metadata
