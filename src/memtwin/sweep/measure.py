"""Owns one run of a real command inside a memory group: its files, a limit, what it cost.

Imports errors, analysis.results and sweep.host. Knows nothing of predictions. What the
command executes is in memory before, charged to nobody in the group, as on a host that runs such
programs. For everything else a run must pay: a file that stays in memory for others is replaced,
inside a mount namespace of the command alone, by a copy that nobody has read yet.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from memtwin.analysis.results import MeasuredRun, Verdict
from memtwin.errors import UserError
from memtwin.machine.description import STAT_READ_US
from memtwin.sweep.host import Group, HostChanges
from memtwin.units import PAGE_SIZE

PROT_READ, MAP_SHARED = 1, 1  # include/uapi/asm-generic/mman-common.h, v6.12
EMPTY_TLB_EVERY_US = 1000
LAUNCHER = Path(__file__).with_name("launch.py")
TLB_EMPTIER = Path(__file__).with_name("tlb_emptier.py")


class Layout(enum.StrEnum):
    """Where the address space's parts lie."""

    RANDOM = "random"  # as the host does it
    FIXED = "fixed"  # personality ADDR_NO_RANDOMIZE: every run alike


class HugePages(enum.StrEnum):
    """Whether the command may get transparent huge pages."""

    AS_HOST = "as the host"
    OFF = "off"


class Statistics(enum.StrEnum):
    """How old the group's counters may be that the kernel's own reclaim works with.

    Since v5.16 reclaim folds per-CPU counters only when the last fold is over two periods of 2 s
    ago (mm/memcontrol.c mem_cgroup_flush_stats_ratelimited(), v6.12), and until then compares
    refaults that are that old. On one program at one limit this made real runs differ by a factor
    of 60 in major faults; with the counters folded every 2 ms they differed by 0.6 %.
    """

    FRESH = "fresh"  # memory.stat is read all the time, which folds them
    AS_KERNEL = "as the kernel does"  # whenever its own worker comes round


class Accesses(enum.StrEnum):
    """Whether reclaim sees that a page is in use while its translation stays in the TLB.

    Reclaim clears accessed bits without flushing translations, and a bit is set when one is loaded
    (arch/x86/mm/pgtable.c ptep_clear_flush_young(), v6.12). On a CPU with a large TLB that nobody
    else uses, programs of 20 to 40 MiB took up to three times the major faults.
    """

    SEEN = "all seen"  # another process empties the TLB every millisecond
    AS_CPU = "as the CPU shows them"


@dataclass(frozen=True)
class RealCommand:
    """A command and the conditions it runs under."""

    argv: list[str]
    cwd: str = "."
    read_files: list[str] = field(default_factory=list)  # the trace's files, only ever read
    written_files: list[str] = field(default_factory=list)
    warm_files: list[str] = field(default_factory=list)  # what it executes: in memory before
    layout: Layout = Layout.RANDOM
    huge_pages: HugePages = HugePages.OFF
    statistics: Statistics = Statistics.FRESH
    accesses: Accesses = Accesses.SEEN
    cpu: int | None = None  # the only CPU it may run on; None: as the host does it
    expected_status: int = 0  # what the recorded run ended with
    output: str = os.devnull  # where standard output and error go


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, *[ctypes.c_size_t] * 5]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]


def _regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def cached_bytes(path: str) -> int:
    """Bytes of the file at `path` that are in the page cache now (0 for what is not a file)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return 0
    try:
        size_bytes = os.fstat(fd).st_size
        if size_bytes == 0 or not stat.S_ISREG(os.fstat(fd).st_mode):
            return 0
        start = _libc.mmap(None, size_bytes, PROT_READ, MAP_SHARED, fd, 0)
        if start == ctypes.c_void_p(-1).value:
            return 0
        resident = ctypes.create_string_buffer((size_bytes + PAGE_SIZE - 1) // PAGE_SIZE)
        _libc.mincore(start, size_bytes, resident)
        _libc.munmap(start, size_bytes)
        return sum(byte & 1 for byte in resident.raw) * PAGE_SIZE
    finally:
        os.close(fd)


def evict(paths: Sequence[str]) -> None:
    """Drop these files' clean pages from the page cache, writing dirty ones out first."""
    for path in paths:
        with contextlib.suppress(OSError):
            if not _regular(path):
                continue
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                os.fdatasync(fd)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


def warm(paths: Sequence[str]) -> None:
    """Bring these files into the page cache, charged to this process's group."""
    for path in paths:
        with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


class CommandFiles:
    """The command's files before each run: executed ones warm, others evicted or unread copies."""

    def __init__(
        self, command: RealCommand, changes: HostChanges, parent: str = "/var/tmp"
    ) -> None:
        self.evictable = [*command.read_files, *command.written_files]
        self.copies: list[tuple[str, str]] = []  # (copy, original)
        evict(self.evictable)
        real = {os.path.realpath(path) for path in command.read_files if _regular(path)}
        self.warm = {os.path.realpath(path) for path in command.warm_files if _regular(path)}
        real -= {os.path.realpath(path) for path in command.written_files} | self.warm
        shared = sorted(path for path in real if cached_bytes(path) > 0)
        if not shared:
            return
        directory = changes.ask("directory", parent)
        for number, path in enumerate(shared):
            copy = f"{directory}/{number}"
            try:
                shutil.copy2(path, copy)
                owner = os.stat(path)
                os.chown(copy, owner.st_uid, owner.st_gid)
            except OSError as fault:
                raise UserError(f"verify: copying {path} to {copy}: {fault.strerror}") from None
            self.copies.append((copy, path))

    def cold(self) -> list[str]:
        """Files that the command must find unread."""
        return [path for path in self.evictable if os.path.realpath(path) not in self.warm]

    def prepare(self) -> int:
        """Bring all files into their state; bytes that stay cached though they should not."""
        evict(self.evictable)
        warm(sorted(self.warm))
        evict([copy for copy, _ in self.copies])
        replaced = {path for _, path in self.copies}
        names = {os.path.realpath(path) for path in self.evictable} - replaced - self.warm
        return sum(cached_bytes(path) for path in [*names, *(copy for copy, _ in self.copies)])


def _start(
    command: RealCommand, group: Group, own_files: CommandFiles
) -> tuple[subprocess.Popen[bytes], int, int]:
    """The started child, and the minor and major faults it brought along from before exec."""
    report_read, report_write = os.pipe()
    spec = {
        "argv": command.argv,
        "copies": own_files.copies,
        "evict": own_files.cold(),
        "fixed_layout": command.layout is Layout.FIXED,
        "no_huge_pages": command.huge_pages is HugePages.OFF,
        "cpu": command.cpu,
        "procs": str(group.procs),
        "report_fd": report_write,
    }
    with open(report_read, "rb") as report:
        try:
            with open(command.output, "wb") as output:
                child = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(spec)],
                    cwd=command.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=[report_write],
                )
        except OSError as fault:
            raise UserError(f"verify: {fault.filename}: {fault.strerror}") from None
        finally:
            os.close(report_write)
        answer = json.loads(report.read().splitlines()[-1] or b"{}")
    if "faults" not in answer:
        child.wait()
        why = answer.get("error", "it was killed before it started")
        raise UserError(f"verify: starting {command.argv[0]}: {why}")
    return child, *answer["faults"]


def _swap_counts() -> tuple[int, int]:
    fields = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    return int(fields.get("pswpin", 0)), int(fields.get("pswpout", 0))


def _end_all(group: Group, child: subprocess.Popen[bytes]) -> None:
    """Kill what runs in the group: the command and what it left behind."""
    for pid in [*group.pids(), *([child.pid] if child.returncode is None else [])]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _verdict(status: int, kills: int, expected: int) -> Verdict:
    if kills:
        return Verdict.OOM_KILLED
    if status == -signal.SIGSEGV:
        return Verdict.SEGFAULT
    return Verdict.FINISHED if status == expected else Verdict.FAILED


@contextlib.contextmanager
def _beside(cpu: int | None) -> Iterator[None]:
    """Run this process on other CPUs than `cpu`, where there are any, and before whatever is there.

    Otherwise the counters get old whenever the host is busy: their reader waits for its turn, or
    sits on the command's own CPU.
    """
    cpus = os.sched_getaffinity(0)
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    if cpu is not None and cpus - {cpu}:
        os.sched_setaffinity(0, cpus - {cpu})
    with contextlib.suppress(PermissionError):  # a container may forbid it
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)
        os.sched_setaffinity(0, cpus)


@contextlib.contextmanager
def _tlb_emptied(command: RealCommand) -> Iterator[None]:
    """Empty the TLB of each CPU that the command may run on again and again."""
    cpus = os.sched_getaffinity(0) if command.cpu is None else {command.cpu}
    with contextlib.ExitStack() as running:
        for cpu in sorted(cpus) if command.accesses is Accesses.SEEN else []:
            words = [sys.executable, "-I", "-S", str(TLB_EMPTIER), str(cpu)]
            # it ends as its standard input is closed, which leaving the context does
            running.enter_context(
                subprocess.Popen([*words, str(EMPTY_TLB_EVERY_US)], stdin=subprocess.PIPE)
            )
        yield


def _ended(pid: int, group: Group, statistics: Statistics, deadline_s: float) -> bool:
    """Wait for the end of `pid`, until `deadline_s`; whether it came."""
    watched = os.pidfd_open(pid)
    stat = os.open(group.path / "memory.stat", os.O_RDONLY)
    try:
        waiting = select.poll()
        waiting.register(watched, select.POLLIN)
        while (left_s := deadline_s - time.monotonic()) > 0:
            if statistics is Statistics.AS_KERNEL:
                return bool(waiting.poll(left_s * 1000))
            if waiting.poll(0):
                return True
            os.pread(stat, 1 << 16, 0)
            time.sleep(STAT_READ_US / 1e6)
        return False
    finally:
        os.close(stat)
        os.close(watched)


def run_limited(
    command: RealCommand,
    group: Group,
    own_files: CommandFiles,
    limit_bytes: int | None,
    patience_s: float,
) -> MeasuredRun:
    """Run `command` once in the empty `group` under `limit_bytes` (None: no limit) and measure it.

    The run is ended after `patience_s` seconds. Whatever it started is gone on return.
    """
    group.set_limit(limit_bytes)
    cached = own_files.prepare()
    swap_before = _swap_counts()
    start_s = time.monotonic()
    with _tlb_emptied(command):
        child, min_before, maj_before = _start(command, group, own_files)
        try:
            with _beside(command.cpu):
                timed_out = not _ended(child.pid, group, command.statistics, start_s + patience_s)
            if timed_out:
                os.kill(child.pid, signal.SIGKILL)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            wall_ns = round((time.monotonic() - start_s) * 1e9)
        finally:
            _end_all(group, child)
            if child.returncode is None:
                child.wait()
    swap_after = _swap_counts()
    all_flt, group_maj_flt = group.faults()
    return MeasuredRun(
        limit_bytes=limit_bytes,
        verdict=Verdict.TIMED_OUT
        if timed_out
        else _verdict(child.returncode, group.oom_kills(), command.expected_status),
        exit_status=child.returncode,
        maj_flt=usage.ru_majflt - maj_before,
        min_flt=usage.ru_minflt - min_before,
        group_maj_flt=group_maj_flt,
        group_min_flt=None if all_flt is None else all_flt - (group_maj_flt or 0),
        peak_usage_bytes=group.peak_bytes(),
        max_rss_bytes=usage.ru_maxrss * 1024,
        wall_ns=wall_ns,
        cpu_ns=round((usage.ru_utime + usage.ru_stime) * 1e9),
        swap_in_pages=swap_after[0] - swap_before[0],
        swap_out_pages=swap_after[1] - swap_before[1],
        cached_elsewhere_bytes=cached,
    )
