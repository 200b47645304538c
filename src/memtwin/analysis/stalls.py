"""Owns what pressure files say: shares of time stalled, averaged by the kernel and between looks.

Imports observe/system. Knows nothing of columns. Percent of wall time; totals are microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from memtwin.observe.system import Pressure


class Stall(msgspec.Struct, kw_only=True):
    """One line of a pressure file. `now_percent`: between the last two looks; None at the first."""

    cgroup: str | None  # None: the whole machine
    resource: str  # cpu, memory, io or irq
    tasks: str  # some: at least one task waited; full: all that could run did
    avg10_percent: float
    avg60_percent: float
    avg300_percent: float
    total_us: int
    now_percent: float | None = None


Key = tuple[str | None, str, str]


def stalls_of(pressures: Mapping[str, Pressure], cgroup: str | None = None) -> list[Stall]:
    """The lines of `pressures` (resource -> record)."""
    found = []
    for resource, pressure in pressures.items():
        for tasks, row in (("some", pressure.some), ("full", pressure.full)):
            if row is not None:
                found.append(
                    Stall(
                        cgroup=cgroup,
                        resource=resource,
                        tasks=tasks,
                        avg10_percent=row.avg10_percent,
                        avg60_percent=row.avg60_percent,
                        avg300_percent=row.avg300_percent,
                        total_us=row.total_us,
                    )
                )
    return found


def key_of(stall: Stall) -> Key:
    """What tells one line from the others."""
    return stall.cgroup, stall.resource, stall.tasks


def since(stalls: list[Stall], before: Mapping[Key, int], elapsed_s: float) -> None:
    """Fill `now_percent` of `stalls` from the totals of `elapsed_s` seconds ago."""
    for stall in stalls:
        old_us = before.get(key_of(stall))
        if old_us is not None and elapsed_s > 0 and stall.total_us >= old_us:
            stall.now_percent = (stall.total_us - old_us) / 1e4 / elapsed_s
