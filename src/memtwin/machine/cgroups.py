"""Owns memory cgroups as an administrator handles them: make, set, fill; version 1 or 2.

Imports boot, memcg, units. Knows nothing of charging or reclaim beyond asking for it.
"""

from __future__ import annotations

from memtwin.errors import UserError
from memtwin.machine.boot import Kernel
from memtwin.machine.description import LimitConfig
from memtwin.memcg.constants import CGROUP_V1, CGROUP_V2, PAGE_COUNTER_MAX
from memtwin.process.task import Task
from memtwin.units import PAGE_SIZE, parse_size

LIMIT_GROUP = "limit"  # the group that a description's [limit] makes
_V2_LIMITS = {
    "memory.max": "max",
    "memory.high": "high",
    "memory.low": "low",
    "memory.min": "min",
    "memory.swap.max": "swap_max",
}
_V1_LIMITS = {
    "memory.limit_in_bytes": "max",
    "memory.memsw.limit_in_bytes": "memsw_max",
}


class Cgroups:
    """The groups of one machine by name."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.table = kernel.memcgs
        self.default_id = 0  # the group of new processes: 0 is the root

    def mount(self, version: int) -> None:
        """Choose the hierarchy; groups must not exist yet."""
        if len(self.table.names) > 1:
            raise UserError("cgmount: found groups, allowed is one mount before any cgcreate")
        self.table.version = CGROUP_V1 if version == 1 else CGROUP_V2

    def create(self, name: str) -> int:
        """Make a group below the root: its id."""
        return int(self.table.create(name, 0))

    def create_limit(self, limit: LimitConfig) -> int:
        """Make the group of a description's [limit] and put later processes there."""
        self.table.version = limit.cgroup_version
        memcg = self.create(LIMIT_GROUP)
        self.table.max[memcg] = limit.max_bytes // PAGE_SIZE
        if limit.high_bytes is not None:
            self.table.high[memcg] = limit.high_bytes // PAGE_SIZE
        if limit.swap_max_bytes is not None:
            if limit.cgroup_version == CGROUP_V1:
                self.table.memsw_max[memcg] = (
                    limit.max_bytes + limit.swap_max_bytes
                ) // PAGE_SIZE
            else:
                self.table.swap_max[memcg] = limit.swap_max_bytes // PAGE_SIZE
        self.default_id = memcg
        return memcg

    def id_of(self, name: str) -> int:
        """The id of a group; UserError when there is none."""
        if name not in self.table.names:
            found = ", ".join(n for n in self.table.names if n) or "none"
            raise UserError(f"cgroup: found {name!r}, groups are {found}")
        return int(self.table.find(name))

    def path_of(self, memcg: int) -> str:
        """The group's path as /proc/PID/cgroup shows it."""
        return "/" + (self.table.names[memcg] if memcg > 0 else "").strip("/")

    def set(self, name: str, file: str, value: str) -> int:
        """Write a file of a group: 0, or a negative errno as the kernel answers."""
        memcg = self.id_of(name)
        limits = _V1_LIMITS if self.table.version == CGROUP_V1 else _V2_LIMITS
        if file == "memory.swappiness" and self.table.version == CGROUP_V1:
            self.table.swappiness[memcg] = _whole(file, value, 0, 200)
            return 0
        if file not in limits:
            known = ", ".join([*limits, *(["memory.swappiness"] if limits is _V1_LIMITS else [])])
            raise UserError(f"cgset: found file {file!r}, the twin knows {known}")
        pages = PAGE_COUNTER_MAX
        if value not in ("max", "-1"):
            pages = parse_size(value, f"cgset {file}") // PAGE_SIZE
        slowpath = self.kernel.slowpath
        if self.table.version == CGROUP_V1 and limits[file] in ("max", "memsw_max"):
            return int(slowpath.resize_v1(memcg, pages, int(limits[file] == "memsw_max")))
        getattr(self.table, limits[file])[memcg] = pages
        if limits[file] == "high":
            slowpath.shrink_to_high(memcg)
        elif limits[file] == "max":
            # MODEL: where the kernel would kill until the group fits, the next charge does
            slowpath.shrink_to_max(memcg)
        return 0

    def peak_bytes(self, name: str) -> int:
        """The largest charge of a group so far."""
        return int(self.table.watermark[self.id_of(name)]) * PAGE_SIZE

    def add(self, name: str, task: Task) -> None:
        """Move a task into a group; pages it has keep their charge, later ones are the group's."""
        task.memcg_id = self.id_of(name)
        task.space().memcg = task.memcg_id


def _whole(name: str, text: str, least: int, most: int) -> int:
    if not text.isdigit() or not least <= int(text) <= most:
        raise UserError(f"{name}: found {text!r}, allowed is a whole number {least} .. {most}")
    return int(text)
