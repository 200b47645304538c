"""Owns how a target is read when nobody says how: from a copy, or where it stands.

Imports cgroups, mappings and target. A frozen copy shares the target's pages until the target
writes them; each page that it writes meanwhile is charged to it once more. Where that could take it
over a limit of its memory cgroup, it is read where it stands, which costs it time and no memory.
"""

from __future__ import annotations

from functools import partial

from memtwin.observe.cgroup import parse_limit
from memtwin.observe.cgroup_tree import memory_hierarchy
from memtwin.observe.live_heap.mappings import parse_mappings
from memtwin.observe.live_heap.target import Method
from memtwin.observe.reading import Reading
from memtwin.observe.scan import parse_flat
from memtwin.observe.source import Tree, TreeSource
from memtwin.units import format_size

_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def choose_method(pid: int, source: Tree | None = None) -> tuple[Method, list[str]]:
    """How to read `pid`, and why, when it is not from a copy."""
    reading = Reading(source or TreeSource())
    maps = reading.source.read(f"/proc/{pid}/maps") or ""
    if any(m.is_huge and m.is_private and "w" in m.permissions for m in parse_mappings(maps)):
        why = "it has huge pages of the pool, and a copy could take them from it"
        return Method.COPY, [f"read where it stood, not from a copy: {why}"]
    own = _own_bytes(reading, pid)
    found = _least_room(reading, pid)
    if found is None or own is None or found[0] >= own:
        return Method.FORK, []
    room, group = found
    why = (
        f"cgroup {group} has room for {format_size(max(room, 0))} more, and a copy could cost"
        f" {format_size(own)}"
    )
    return Method.COPY, [f"read where it stood, not from a copy: {why}"]


def _own_bytes(reading: Reading, pid: int) -> int | None:
    """The most that a copy can cost: its anonymous pages and its page tables once more."""
    text = reading.source.read(f"/proc/{pid}/status") or ""
    figures = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if "RssAnon" not in figures:
        return None
    return sum(int(figures.get(name, "0 kB").split()[0]) << 10 for name in ("RssAnon", "VmPTE"))


def _least_room(reading: Reading, pid: int) -> tuple[int, str] | None:
    """(bytes, path) of the cgroup around `pid` that has the least room; None without a limit.

    What has not been used lately of the page cache gives way first and counts as room.
    """
    version, point = memory_hierarchy(reading)
    path = _path_of(reading, pid, version)
    if point is None or path is None:
        return None
    found: list[tuple[int, str]] = []
    limit_file, usage_file, cache_name = _FILES[version]
    while True:
        folder = point.rstrip("/") + path.rstrip("/")
        limit_text = reading.source.read(f"{folder}/{limit_file}")
        usage = reading.source.read(f"{folder}/{usage_file}")
        limit = parse_limit(limit_text, limit_file) if limit_text else None
        if limit is not None and usage:
            stat_file = f"{folder}/memory.stat"
            stat = reading.optional(stat_file, partial(parse_flat, path=stat_file)) or {}
            found.append((limit - int(usage) + stat.get(cache_name, 0), path))
        if path == "/":
            return min(found) if found else None
        path = path.rpartition("/")[0] or "/"


def _path_of(reading: Reading, pid: int, version: int) -> str | None:
    """Where `pid` is in the hierarchy that has memory files."""
    for line in (reading.source.read(f"/proc/{pid}/cgroup") or "").splitlines():
        number, controllers, path = line.split(":", 2)
        ours = number == "0" if version == 2 else "memory" in controllers.split(",")
        if ours and path.startswith("/") and "/../" not in f"{path}/":
            return path
    return None
