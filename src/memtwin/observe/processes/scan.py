"""Owns one look at all processes below /proc: cheap files of each, the costly one where asked.

Imports observe's source and the room's `record`. Knows nothing of budgets, views or sums. Whatever
a process's files hold, or if it ends while it is read, the look goes on and the reason is counted.
"""

from __future__ import annotations

import enum
import os
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from memtwin.observe.map_files import MapArea, parse_maps
from memtwin.observe.processes.record import (
    Origin,
    Process,
    RollupFigures,
    command_of,
    path_of_cgroup,
    process_of_statm,
    process_of_status,
    status_bytes,
    status_words,
    uid_of_status,
)
from memtwin.observe.processes.text import figures_of_smaps, process_of_stat
from memtwin.observe.processes.user_names import UserNames
from memtwin.observe.source import SmallFiles, Tree, TreeSource, reason_word
from memtwin.units import PAGE_SIZE

PROC = "/proc"
MALFORMED = "malformed"
T = TypeVar("T")
GONE = "gone"


class Part(enum.Flag):
    """What is read of each process beyond its stat."""

    NONE = 0
    USER = enum.auto()
    COMMAND = enum.auto()
    CGROUP = enum.auto()
    OOM = enum.auto()
    STAT = enum.auto()  # name, parent, state, start, threads, faults; else only statm's sizes


class Missed(NamedTuple):
    """A file of a process that gave nothing, and why."""

    pid: int
    file: str
    why: str


class ProcessScan:
    """Reads processes of a live host, a captured tree or the twin.

    `counts`: reason -> files that gave nothing, since the beginning. `missed`: of this look.
    """

    def __init__(self, source: Tree, parts: Part = Part.NONE) -> None:
        self.source = source
        self.parts = parts
        self._wants_stat = Part.STAT in parts or not self._is_live(source)
        self._wants_user, self._wants_command = Part.USER in parts, Part.COMMAND in parts
        self._wants_cgroup, self._wants_oom = Part.CGROUP in parts, Part.OOM in parts
        self.files = SmallFiles(source, PROC)
        self.users = UserNames(source)
        self.counts: Counter[str] = Counter()
        self.missed: list[Missed] = []
        self.is_live = self._is_live(source)
        self._page_bytes = os.sysconf("SC_PAGE_SIZE") if self.is_live else PAGE_SIZE
        self._read = self.files.read
        self.wanted: Callable[[Process], bool] | None = None  # others are passed over unwalked

    @staticmethod
    def _is_live(source: Tree) -> bool:
        return isinstance(source, TreeSource) and source.is_live

    def pids(self) -> list[int]:
        """The processes there are, ascending."""
        names = os.listdir(PROC) if self.is_live else self.source.names(PROC)
        return sorted(int(name) for name in names if _is_pid(name))

    def cheap(self, pid: int) -> Process | None:
        """The process `pid` without a walk of its page tables; None when it is gone."""
        try:
            if self._wants_stat:
                process = process_of_stat(self._read(f"{pid}/stat"), self._page_bytes)
            else:
                process = process_of_statm(pid, self._read(f"{pid}/statm"), self._page_bytes)
        except (OSError, ValueError, IndexError) as fault:
            if self.is_live and isinstance(fault, ProcessLookupError | FileNotFoundError):
                self._miss(pid, "stat", fault)
                return None
            found = self._of_status_alone(pid, fault)
            if found is None:
                return None
            process = found
        if process.pid != pid:
            self._count(pid, "stat", MALFORMED)
            return None
        self._owner(process)
        self._parts(process)
        if self.wanted is not None and not self.wanted(process):
            return None
        return process

    def _of_status_alone(self, pid: int, fault: Exception) -> Process | None:
        try:
            return process_of_status(status_words(self._read(f"{pid}/status")))
        except (OSError, ValueError, KeyError):
            self._miss(pid, "stat", fault)
            return None

    def _owner(self, process: Process) -> None:
        """The uid; off the live host also the sizes, whose pages may not be this host's."""
        try:
            if self.is_live:
                if self._wants_user:
                    process.uid = self.files.owner(str(process.pid))
            else:
                words = status_words(self._read(f"{process.pid}/status"))
                process.uid = uid_of_status(words)
                if process.rss_bytes is not None:
                    process.rss_bytes = status_bytes(words, b"VmRSS")
        except (OSError, ValueError) as fault:
            self._miss(process.pid, "status", fault)
        if self._wants_user:
            process.user = self.users.name(process.uid)

    def _parts(self, process: Process) -> None:
        if self._wants_command:
            process.command = self._part(process.pid, "cmdline", command_of)
            if not process.command and not process.comm:
                process.comm = self._part(process.pid, "comm", command_of) or ""
        if self._wants_cgroup:
            process.cgroup = self._part(process.pid, "cgroup", path_of_cgroup)
        if self._wants_oom:
            process.oom_score = self._part(process.pid, "oom_score", _small_number)
            process.oom_score_adj = self._part(process.pid, "oom_score_adj", _small_number)

    def _part(self, pid: int, file: str, reader: Callable[[bytes], T]) -> T | None:
        try:
            return reader(self._read(f"{pid}/{file}"))
        except (OSError, ValueError) as fault:
            self._miss(pid, file, fault)
            return None

    def costly(self, process: Process) -> bool:
        """Fill in what a walk of the page tables of `process` tells, or why it can't be told.

        False: it ended meanwhile.
        """
        if process.origin is Origin.NO_MEMORY:
            return True
        try:
            figures = self._walked(process.pid)
        except (OSError, ValueError, IndexError) as fault:
            self._miss(process.pid, "smaps_rollup", fault)
            process.why = self.missed[-1].why
            if self.is_live and process.why == GONE:
                return False
            self._without_walk(process)
            return True
        if figures is None:  # it lost its address space since its stat was read
            process.origin = Origin.NO_MEMORY
            process.vss_bytes, process.rss_bytes = 0, None
        else:
            take_figures(process, figures)
        return True

    def estimate(self, process: Process) -> bool:
        """Fill in what statm tells of PSS and USS: resident pages that no file or shmem has.

        False: there is no statm.
        """
        try:
            words = self._read(f"{process.pid}/statm").split()
            own_pages = int(words[1]) - int(words[2])
        except (OSError, ValueError, IndexError) as fault:
            self._miss(process.pid, "statm", fault)
            return False
        # it misses this process's part of shared pages, and takes what forks share for its own
        process.pss_bytes = process.uss_bytes = max(own_pages, 0) * self._page_bytes
        process.origin = Origin.ESTIMATED
        return True

    def _walked(self, pid: int) -> RollupFigures | None:
        try:
            return figures_of_smaps(self._read(f"{pid}/smaps_rollup"))
        except FileNotFoundError:
            # kernels before 4.14 have no rollup, and old phones neither; or it is gone
            data = self.files.read_whole(f"{pid}/smaps")
            return figures_of_smaps(data)

    def areas(self, process: Process) -> list[MapArea] | None:
        """The mappings of `process` with their figures (smaps), or why they can't be told."""
        if process.origin is Origin.NO_MEMORY:
            return []
        try:
            data = self.files.read_whole(f"{process.pid}/smaps")
        except (OSError, ValueError) as fault:
            self._miss(process.pid, "smaps", fault)
            process.why = self.missed[-1].why
            return None
        found = parse_maps(data.decode(errors="surrogateescape"))
        self.counts[MALFORMED] += found.malformed
        return found.areas

    def _without_walk(self, process: Process) -> None:
        """What status tells of a process whose smaps may not be read: anyone may read it."""
        try:
            words = status_words(self._read(f"{process.pid}/status"))
            process.swap_bytes = status_bytes(words, b"VmSwap")
            process.rss_bytes = status_bytes(words, b"VmRSS") or process.rss_bytes
        except (OSError, ValueError) as fault:
            self._miss(process.pid, "status", fault)

    def _miss(self, pid: int, file: str, fault: Exception) -> None:
        known = fault if isinstance(fault, OSError) else None
        self._count(pid, file, MALFORMED if known is None else reason_word(known))

    def _count(self, pid: int, file: str, why: str) -> None:
        self.counts[why] += 1
        self.missed.append(Missed(pid, file, why))


def take_figures(process: Process, figures: RollupFigures) -> None:
    """Put `figures`, just read, into `process`."""
    process.rss_bytes = figures.rss_bytes
    process.pss_bytes = figures.pss_bytes
    process.uss_bytes = figures.uss_bytes
    process.swap_bytes = figures.swap_bytes
    process.swap_pss_bytes = figures.swap_pss_bytes
    process.hugetlb_bytes = figures.hugetlb_bytes
    process.origin = Origin.FRESH


def _is_pid(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 11


def _small_number(data: bytes) -> int:
    figure = int(data)
    if not -(1 << 31) <= figure < 1 << 31:
        raise ValueError("a figure that no process has")
    return figure


def look(scan: ProcessScan) -> list[Process]:
    """All processes now, each with its costly figures read."""
    scan.missed.clear()
    found = []
    for pid in scan.pids():
        process = scan.cheap(pid)
        if process is not None and scan.costly(process):
            found.append(process)
    return found
