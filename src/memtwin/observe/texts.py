"""Owns which reader and writer belong to which path: one schema for host, captured tree and twin.

Imports observe's records. Knows nothing of where a text comes from.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from memtwin.errors import UserError
from memtwin.observe import (
    cgroup,
    fragments,
    iomem,
    kernel_mm,
    lru_gen,
    meminfo,
    mounts,
    node,
    slabinfo,
    swaps,
    system,
    vm_sysctl,
    vmallocinfo,
    zram,
)
from memtwin.observe import vmstat as vmstat_text
from memtwin.observe import zoneinfo as zoneinfo_text
from memtwin.observe.processes import files as process_files
from memtwin.observe.scan import parse_figure, parse_flat, render_flat
from memtwin.observe.source import Source


class Shape(NamedTuple):
    """How a text becomes a record and back."""

    parse: Callable[[str], Any]
    render: Callable[[Any], str]


def _index(path: str, render: Callable[[Any], str]) -> Shape:
    return Shape(lambda text: fragments.parse_index(text, path), render)


def _flat(name: str) -> Shape:
    return Shape(lambda text: parse_flat(text, name), render_flat)


def _figure(name: str) -> Shape:
    return Shape(lambda text: parse_figure(text, name), lambda figure: f"{figure}\n")


def _limit(name: str, render: Callable[[int | None], str]) -> Shape:
    return Shape(lambda text: cgroup.parse_limit(text, name), render)


_PRESSURE = Shape(system.parse_pressure, system.render_pressure)
_CHOICE = Shape(kernel_mm.parse_choice, kernel_mm.render_choice)
_SETTING = Shape(vm_sysctl.parse_setting, vm_sysctl.render_setting)
_PATHS = {
    meminfo.PATH: Shape(meminfo.parse_meminfo, meminfo.render_meminfo),
    vmstat_text.PATH: Shape(vmstat_text.parse_vmstat, vmstat_text.render_vmstat),
    zoneinfo_text.PATH: Shape(zoneinfo_text.parse_zoneinfo, zoneinfo_text.render_zoneinfo),
    fragments.BUDDYINFO_PATH: Shape(fragments.parse_buddyinfo, fragments.render_buddyinfo),
    fragments.PAGETYPEINFO_PATH: Shape(fragments.parse_pagetypeinfo, fragments.render_pagetypeinfo),
    fragments.UNUSABLE_PATH: _index(fragments.UNUSABLE_PATH, fragments.render_unusable_index),
    fragments.EXTFRAG_PATH: _index(fragments.EXTFRAG_PATH, fragments.render_extfrag_index),
    slabinfo.PATH: Shape(slabinfo.parse_slabinfo, slabinfo.render_slabinfo),
    swaps.PATH: Shape(swaps.parse_swaps, swaps.render_swaps),
    iomem.PATH: Shape(iomem.parse_iomem, iomem.render_iomem),
    system.STAT_PATH: Shape(system.parse_stat, system.render_stat),
    system.DISKSTATS_PATH: Shape(system.parse_diskstats, system.render_diskstats),
    system.LOADAVG_PATH: Shape(system.parse_loadavg, system.render_loadavg),
    system.UPTIME_PATH: Shape(system.parse_uptime, system.render_uptime),
    vmallocinfo.PATH: Shape(vmallocinfo.parse_vmallocinfo, vmallocinfo.render_vmallocinfo),
    mounts.PATH: Shape(mounts.parse_mounts, mounts.render_mounts),
    lru_gen.PATH: Shape(lru_gen.parse_lru_gen, lru_gen.render_lru_gen),
    **dict.fromkeys(system.PRESSURE_PATHS, _PRESSURE),
}
# last part of the path -> shape, for files of a process, a device or a cgroup
_NAMES = {
    "smaps_rollup": Shape(process_files.parse_smaps_rollup, process_files.render_smaps_rollup),
    "status": Shape(process_files.parse_status, process_files.render_status),
    "statm": Shape(process_files.parse_statm, process_files.render_statm),
    "stat": Shape(process_files.parse_process_stat, process_files.render_process_stat),
    "io": Shape(process_files.parse_io, process_files.render_io),
    "oom_score": _figure("oom_score"),
    "oom_score_adj": _figure("oom_score_adj"),
    "mm_stat": Shape(swaps.parse_mm_stat, swaps.render_mm_stat),
    "io_stat": Shape(swaps.parse_io_stat, swaps.render_io_stat),
    "bd_stat": Shape(zram.parse_bd_stat, zram.render_bd_stat),
    # drivers/block/zram/zcomp.c zcomp_available_show(), v6.12: with a blank at the end
    "comp_algorithm": Shape(
        kernel_mm.parse_choice, lambda choice: kernel_mm.render_choice(choice)[:-1] + " \n"
    ),
    "disksize": _figure("disksize"),
    "numastat": _flat("numastat"),
    "memory.pressure": _PRESSURE,
    "memory.numa_stat": Shape(cgroup.parse_numa_stat, cgroup.render_numa_stat),
    **{
        name: _flat(name)
        for name in (
            "memory.stat",
            "memory.events",
            "memory.events.local",
            "memory.swap.events",
            "memory.oom_control",
        )
    },
    **{
        name: _limit(name, cgroup.render_limit_v2)
        for name in (
            "memory.max",
            "memory.high",
            "memory.low",
            "memory.min",
            "memory.swap.max",
            "memory.swap.high",
        )
    },
}
_NODE_FILE = re.compile(rf"{node.ROOT}/node\d+/(meminfo|vmstat)")
_NODE_SHAPES = {
    "meminfo": Shape(node.parse_node_meminfo, node.render_node_meminfo),
    "vmstat": _flat("vmstat"),
}
_THP_CHOICE = re.compile(
    rf"{kernel_mm.ROOT}/transparent_hugepage/(\S+/)?(enabled|defrag|shmem_enabled)"
)
_V1_LIMIT = re.compile(r"memory\.\S*limit_in_bytes")
_PLAIN_FIGURE = re.compile(r"memory\.(\S*(current|peak|usage_in_bytes|failcnt|swappiness))")


def shape_of(path: str) -> Shape | None:
    """How the text of `path` is read and written; None when it has no record."""
    name = path.rpartition("/")[2]
    if path in _PATHS:
        return _PATHS[path]
    if path.startswith(f"{vm_sysctl.ROOT}/"):
        return None if name in vm_sysctl.ACTIONS else _SETTING
    if _THP_CHOICE.fullmatch(path):
        return _CHOICE
    node_file = _NODE_FILE.fullmatch(path)
    if node_file:
        return _NODE_SHAPES[node_file[1]]
    if name in _NAMES:
        return _NAMES[name]
    if _V1_LIMIT.fullmatch(name):
        return _limit(name, cgroup.render_limit_v1)
    return _figure(name) if _PLAIN_FIGURE.fullmatch(name) else None


def read_record(source: Source, path: str) -> Any:
    """The record of `path` on `source` (live host, captured tree, recorded texts or twin).

    Raises UserError when there is no such text or no reader for it.
    """
    shape, text = shape_of(path), source.read(path)
    if shape is None:
        known = ", ".join(sorted(_PATHS))
        raise UserError(f"observe: found {path!r}, which has no record; known are {known}, ...")
    if text is None:
        raise UserError(f"observe: found no text for {path!r} (no such file, or no permission)")
    return shape.parse(text)
