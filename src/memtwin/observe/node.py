"""Owns /sys/devices/system/node/nodeN: its meminfo, vmstat and numastat.

Imports observe/reading and observe/scan. Knows nothing of zonelists.
"""

from __future__ import annotations

import re
from functools import partial

import msgspec

from memtwin.observe.reading import Reading
from memtwin.observe.scan import no_match, parse_flat, whole, whole_of_unit

ROOT = "/sys/devices/system/node"
_NAME = re.compile(r"node\d{1,9}")
_LINE = re.compile(r"Node (\d{1,9}) (\S+):? +(.*)")


class NodeMemInfo(msgspec.Struct):
    """One reading of a node's meminfo: printed name -> KiB, or huge pages (HugePages_*)."""

    node: int
    figures_kib: dict[str, int]


class NodeMemory(msgspec.Struct, kw_only=True):
    """What one node's files said."""

    node: int
    meminfo_kib: dict[str, int] = {}
    vmstat: dict[str, int] = {}
    numastat_pages: dict[str, int] = {}
    cpus: str | None = None


def parse_node_meminfo(text: str) -> NodeMemInfo:
    """The record of a node's meminfo text.

    >>> parse_node_meminfo("Node 0 MemTotal:         128836 kB\\n").figures_kib
    {'MemTotal': 128836}
    """
    node, figures = 0, {}
    for line in filter(str.strip, text.splitlines()):
        match = _LINE.fullmatch(line)
        if match is None:
            raise no_match("node meminfo", line, "'Node N Name: NUMBER kB'")
        node = whole(match[1], "node meminfo", line)
        name = match[2].rstrip(":")
        figures[name] = whole_of_unit(match[3].strip(), " kB", "node meminfo", line)
    return NodeMemInfo(node, figures)


def render_node_meminfo(info: NodeMemInfo) -> str:
    """The text of `info` (drivers/base/node.c node_read_meminfo(), v6.12)."""
    out = []
    for name, figure in info.figures_kib.items():
        if name.startswith("HugePages_"):  # mm/hugetlb.c hugetlb_report_node_meminfo(), v6.12
            out.append(f"Node {info.node} {name + ':':<16}{figure:>5}\n")
        else:
            out.append(f"Node {info.node} {name + ':':<16}{figure:>8} kB\n")
    return "".join(out)


def read_nodes(reading: Reading) -> list[NodeMemory]:
    """Every node that has memory files, by number."""
    names = [name for name in reading.names(ROOT) if _NAME.fullmatch(name)]
    return [_read(reading, name) for name in sorted(names, key=lambda name: int(name[4:]))]


def _read(reading: Reading, name: str) -> NodeMemory:
    folder = f"{ROOT}/{name}"
    info = reading.optional(f"{folder}/meminfo", parse_node_meminfo)
    found = NodeMemory(node=int(name[4:]))
    if info is not None:
        found.meminfo_kib = info.figures_kib
    for field, file in (("vmstat", "vmstat"), ("numastat_pages", "numastat")):
        path = f"{folder}/{file}"
        figures = reading.optional(path, partial(parse_flat, path=path))
        setattr(found, field, figures or {})
    cpus = reading.optional(f"{folder}/cpulist", str)
    found.cpus = None if cpus is None else cpus.strip()
    return found
