"""Owns the tree of cgroups with memory files, v1 or v2: walks it, one record a cgroup.

Imports observe/cgroup, observe/mounts, observe/reading, observe/scan and observe/system. Knows
nothing of charging. A directory called as an interface file ("memory.x") is taken for one.
"""

from __future__ import annotations

import re
from functools import partial

import msgspec

from memtwin.observe.cgroup import FIELD_FILES, CgroupMemory, parse_limit
from memtwin.observe.mounts import PATH as MOUNTS_PATH
from memtwin.observe.mounts import cgroup_roots, parse_mounts
from memtwin.observe.reading import Reading
from memtwin.observe.scan import parse_flat
from memtwin.observe.system import Pressure, parse_pressure

DEFAULT_ROOT = "/sys/fs/cgroup"
MOST_CGROUPS = 20_000  # MODEL: a hostile tree may hold any number
MOST_DEPTH = 64  # MODEL: deeper than any hierarchy in use
INTERFACE = re.compile(
    r"(cgroup|memory|cpu|cpuset|cpuacct|io|pids|rdma|hugetlb|misc|irq|blkio|devices|freezer"
    r"|net_cls|net_prio|perf_event|dmem)\.[a-z0-9_.A-Z]+|tasks|notify_on_release|release_agent"
)
_PRESSURES = ("memory", "io", "cpu")


class Cgroup(msgspec.Struct, kw_only=True):
    """One cgroup. `path` is "/" for the root of the hierarchy."""

    path: str
    depth: int
    memory: CgroupMemory
    pressure: dict[str, Pressure] = {}  # "memory", "io", "cpu" -> what the file says
    processes: int | None = None


class CgroupTree(msgspec.Struct, kw_only=True):
    """Every cgroup below a mount point, parents before children."""

    version: int
    mount_point: str
    cgroups: list[Cgroup] = []
    truncated: bool = False  # there were more than MOST_CGROUPS, or deeper than MOST_DEPTH


def read_cgroup_tree(reading: Reading, deepest: int = MOST_DEPTH) -> CgroupTree | None:
    """The hierarchy that has the memory controller; None, and told, when there is none."""
    version, point = memory_hierarchy(reading)
    if point is None:
        reading.tell("cgroups", "no hierarchy with memory files is mounted")
        return None
    tree = CgroupTree(version=version, mount_point=point)
    todo = [("/", 0)]
    while todo:
        path, depth = todo.pop()
        if len(tree.cgroups) >= MOST_CGROUPS:
            tree.truncated = True
            break
        names = reading.names(_below(point, path))
        tree.cgroups.append(_read(reading, tree, path, depth, names))
        if depth < min(deepest, MOST_DEPTH):
            below = [name for name in names if not INTERFACE.fullmatch(name)]
            todo += [(f"{path.rstrip('/')}/{name}", depth + 1) for name in reversed(below)]
        elif deepest >= MOST_DEPTH and any(not INTERFACE.fullmatch(name) for name in names):
            tree.truncated = True
    return tree


def memory_hierarchy(reading: Reading) -> tuple[int, str | None]:
    """(version, mount point) of the hierarchy that has memory files; (0, None) without one."""
    mounts = reading.optional(MOUNTS_PATH, parse_mounts)
    roots = cgroup_roots(mounts or [])
    if roots.v1_memory is not None and reading.names(roots.v1_memory):
        return 1, roots.v1_memory
    for point in (roots.v2, DEFAULT_ROOT):
        if point is not None:
            names = reading.names(point)
            if "cgroup.controllers" in names or "cgroup.procs" in names:
                return 2, point
    if "memory.usage_in_bytes" in reading.names(f"{DEFAULT_ROOT}/memory"):
        return 1, f"{DEFAULT_ROOT}/memory"
    return 0, None


def _below(point: str, path: str) -> str:
    return point if path == "/" else point.rstrip("/") + path


class _Limit(msgspec.Struct):
    """A limit that was read, which may be none."""

    size_bytes: int | None


def _limit(text: str, name: str) -> _Limit:
    return _Limit(parse_limit(text, name))


def _read(reading: Reading, tree: CgroupTree, path: str, depth: int, names: list[str]) -> Cgroup:
    folder = _below(tree.mount_point, path)
    found = Cgroup(path=path, depth=depth, memory=CgroupMemory(version=tree.version))
    present = set(names)
    for file, field in FIELD_FILES[tree.version].items():
        if file in present:
            limit = reading.record(f"{folder}/{file}", partial(_limit, name=file))
            setattr(found.memory, field, limit.size_bytes if limit else None)
    events = "memory.events" if tree.version == 2 else "memory.oom_control"
    for file, field in (
        ("memory.stat", "stat"),
        (events, "events"),
        ("memory.swap.events", "swap_events"),
    ):
        if file in present:
            flat = reading.record(f"{folder}/{file}", partial(parse_flat, path=file))
            setattr(found.memory, field, flat or {})
    for name in _PRESSURES:
        if f"{name}.pressure" in present:
            pressure = reading.record(f"{folder}/{name}.pressure", parse_pressure)
            if pressure is not None:
                found.pressure[name] = pressure
    if "cgroup.procs" in present:
        procs = reading.record(f"{folder}/cgroup.procs", str)
        found.processes = None if procs is None else procs.count("\n")
    return found
