"""Owns what processes' memory adds up to: by process, program, user or cgroup, and in all.

Imports observe's process record. Pure: knows nothing of where the processes were read. A sum says
of how many of its members it was made, so that a partial one is never taken for a whole.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from memtwin.observe.processes.record import Origin, Process

SIZES = ("vss_bytes", "rss_bytes", "pss_bytes", "uss_bytes", "swap_bytes", "swap_pss_bytes")


class By(enum.StrEnum):
    """What processes are summed by."""

    PROCESS = "process"
    PROGRAM = "program"
    USER = "user"
    CGROUP = "cgroup"


class Usage(msgspec.Struct):
    """The sum over `count` processes, of which `read_count` had PSS and USS. None: none had it."""

    name: str
    count: int
    read_count: int
    vss_bytes: int | None
    rss_bytes: int | None
    pss_bytes: int | None
    uss_bytes: int | None
    swap_bytes: int | None
    swap_pss_bytes: int | None


class Seen(msgspec.Struct):
    """How many processes a look found, and of how many it could read all it asked for."""

    count: int  # with an address space
    read_count: int
    without_memory_count: int  # kernel threads and zombies
    why: dict[str, int]  # reason -> processes whose PSS and USS are absent


def seen(processes: Iterable[Process]) -> Seen:
    """What was found and read among `processes`."""
    count = read = without = 0
    why: dict[str, int] = {}
    for process in processes:
        if process.origin is Origin.NO_MEMORY:
            without += 1
            continue
        count += 1
        if process.pss_bytes is not None:
            read += 1
        elif process.why:
            why[process.why] = why.get(process.why, 0) + 1
    return Seen(count, read, without, why)


def with_memory(processes: Iterable[Process]) -> list[Process]:
    """Those of `processes` that have an address space."""
    return [process for process in processes if process.origin is not Origin.NO_MEMORY]


def matching(
    processes: Iterable[Process],
    process_pattern: re.Pattern[str] | None,
    user_pattern: re.Pattern[str] | None,
) -> list[Process]:
    """Those whose name or command holds `process_pattern`, and whose user `user_pattern`."""
    found = list(processes)
    if process_pattern is not None:
        holds = process_pattern.search
        found = [one for one in found if holds(one.comm) or holds(one.command or "")]
    if user_pattern is not None:
        found = [one for one in found if user_pattern.search(one.user or "")]
    return found


_KEYS: Mapping[By, Callable[[Process], str]] = {
    By.PROGRAM: lambda process: process.comm,
    By.USER: lambda process: process.user or "?",
    By.CGROUP: lambda process: process.cgroup or "?",
}


def summed(processes: Iterable[Process], by: By) -> list[Usage]:
    """One sum for each program, user or cgroup, in the order of their first process."""
    key = _KEYS[by]
    groups: dict[str, list[Process]] = {}
    for process in processes:
        groups.setdefault(key(process), []).append(process)
    return [total(members, name) for name, members in groups.items()]


def total(processes: Sequence[Process], name: str = "") -> Usage:
    """The sum of all `processes`.

    >>> total([]).rss_bytes is None
    True
    """
    sums: dict[str, int | None] = {}
    for field in SIZES:
        figures = [figure for one in processes if (figure := getattr(one, field)) is not None]
        sums[field] = sum(figures) if figures else None
    read = sum(1 for one in processes if one.pss_bytes is not None)
    return Usage(name, len(processes), read, **sums)
