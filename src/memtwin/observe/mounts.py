"""Owns /proc/mounts, and where the cgroup hierarchies with memory are mounted.

Imports observe/scan. Knows nothing of what lies below a mount.
"""

from __future__ import annotations

import re

import msgspec

from memtwin.observe.scan import no_match

PATH = "/proc/mounts"
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(msgspec.Struct, frozen=True):
    """One mount."""

    device: str
    point: str
    kind: str
    options: tuple[str, ...]


class CgroupRoots(msgspec.Struct, frozen=True):
    """Mount points of the hierarchies; None where there is none."""

    v1_memory: str | None = None
    v2: str | None = None


def parse_mounts(text: str) -> list[Mount]:
    """The mounts of a /proc/mounts text, in its order; escapes such as \\040 are undone."""
    found = []
    for line in filter(str.strip, text.splitlines()):
        words = line.split(" ")
        if len(words) < 4:
            raise no_match(PATH, line, "'DEVICE POINT TYPE OPTIONS 0 0'")
        device, point, kind, options = (_plain(word) for word in words[:4])
        found.append(Mount(device, point, kind, tuple(options.split(","))))
    return found


def _plain(word: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8) & 0xFF), word)


def render_mounts(mounts: list[Mount]) -> str:
    """The text of `mounts` (fs/proc_namespace.c show_vfsmnt(), v6.12)."""
    return "".join(
        f"{_escaped(m.device)} {_escaped(m.point)} {m.kind} {','.join(m.options)} 0 0\n"
        for m in mounts
    )


def _escaped(name: str) -> str:
    return "".join(f"\\{ord(one):03o}" if one in " \t\n\\#" else one for one in name)


def cgroup_roots(mounts: list[Mount]) -> CgroupRoots:
    """Where cgroup v2 is mounted, and the v1 hierarchy that has the memory controller.

    >>> cgroup_roots(parse_mounts("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0")).v2
    '/sys/fs/cgroup'
    """
    v1 = [one.point for one in mounts if one.kind == "cgroup" and "memory" in one.options]
    v2 = [one.point for one in mounts if one.kind == "cgroup2"]
    return CgroupRoots(v1[0] if v1 else None, v2[0] if v2 else None)
