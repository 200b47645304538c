"""Owns the description of the machine and the moment of a recording, and the native measurement.

Imports errors, schema, supervise. Knows no recorder.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
from dataclasses import asdict, dataclass

import memtwin
from memtwin.record import schema
from memtwin.record.program import find_program
from memtwin.record.supervise import run_supervised


def this_machine() -> schema.Machine:
    """The machine this runs on."""
    name = os.uname()
    return schema.Machine(
        host=name.nodename,
        kernel=name.release,
        arch=name.machine,
        cpu_model=_cpu_model(),
        cpus=os.cpu_count() or 1,
        page_size_bytes=os.sysconf("SC_PAGE_SIZE"),
        ram_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.lower().startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def new_metadata(command: list[str], recorder: schema.Recorder) -> schema.TraceMetadata:
    """Metadata of a recording that begins now."""
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return schema.TraceMetadata(
        schema_version=schema.SCHEMA_VERSION,
        memtwin_version=memtwin.__version__,
        command=list(command),
        cwd=os.getcwd(),
        machine=this_machine(),
        recorder=recorder,
        started_at=now,
        complete=False,
        counts=schema.Counts(),
    )


@dataclass(frozen=True)
class NativeRun:
    """What the kernel charged to one run without recording (getrusage of it and its children)."""

    wall_ns: int
    user_ns: int
    system_ns: int
    max_rss_bytes: int
    minor_faults: int
    major_faults: int
    exit_status: int

    @property
    def cpu_ns(self) -> int:
        """User and system time."""
        return self.user_ns + self.system_ns

    def as_dict(self) -> dict[str, int]:
        """The fields by name."""
        return asdict(self)


def measure_native(command: list[str]) -> NativeRun:
    """Run `command` once without recording and measure it; UserError when it isn't there."""
    find_program(command)
    result = run_supervised(list(command))
    usage = result.usage
    return NativeRun(
        wall_ns=result.wall_ns,
        user_ns=int(usage.ru_utime * 1e9),
        system_ns=int(usage.ru_stime * 1e9),
        max_rss_bytes=usage.ru_maxrss * 1024,
        minor_faults=usage.ru_minflt,
        major_faults=usage.ru_majflt,
        exit_status=result.exit_status,
    )
