"""Owns which figures the texts of a kernel version print, and in which order.

Imports errors. Knows nothing of the figures. One file a layout lies in `layouts/`, read off a
real kernel; a twin that is seeded from a recorded start prints in that start's order instead.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources

import msgspec

from memtwin.errors import UserError


class Layout(msgspec.Struct, frozen=True):
    """The shape of one kernel's texts."""

    kernel: str
    zones: tuple[str, ...]  # zone names of a node, lowest first
    migratetypes: tuple[str, ...]
    pageset_limits: bool  # whether a pageset prints high_min and high_max
    zone_pages: tuple[str, ...]
    zone_tail: tuple[str, ...]
    node_stats: tuple[str, ...]
    zone_stats: tuple[str, ...]
    vmstat: tuple[str, ...]
    meminfo: tuple[str, ...]
    rollup_name_column: int
    smaps_rollup: tuple[str, ...]
    memory_stat_v2: tuple[str, ...]
    memory_numa_stat_v2: tuple[str, ...]
    memory_stat_v1: tuple[str, ...]
    status: dict[str, str]


def layout_names() -> list[str]:
    """The layouts that are shipped.

    >>> layout_names()
    ['6.1', '6.1-686', '6.12', '7.3']
    """
    folder = resources.files("memtwin") / "observe" / "layouts"
    names = [entry.name for entry in folder.iterdir() if entry.name.endswith(".toml")]
    return sorted(name.removesuffix(".toml") for name in names)


@cache
def load_layout(name: str) -> Layout:
    """The layout called `name`; UserError when there is none."""
    if name not in layout_names():
        raise UserError(f"layout: found {name!r}, allowed is one of {', '.join(layout_names())}")
    file = resources.files("memtwin") / "observe" / "layouts" / f"{name}.toml"
    return msgspec.convert(tomllib.loads(file.read_text()), Layout)
