"""Owns /proc/zoneinfo: its records, its reader and its writer.

Imports observe/scan. Knows nothing of how watermarks come about. Figures are pages unless the
name says otherwise. A populated zone has counters, pagesets and a start_pfn; an empty one ends at
its protection.
"""

from __future__ import annotations

import re

import msgspec

from memtwin.errors import UserError
from memtwin.observe.scan import no_match, whole

PATH = "/proc/zoneinfo"
_HEAD = re.compile(r"Node (\d{1,9}), zone +(\S+)")
_PAGES = re.compile(r"  pages free +(\d+)|        (\w+) +(\d+)")
_TAIL = re.compile(r"  ([a-z_]+): +(\d+)")


class Pageset(msgspec.Struct):
    """The per-CPU list of one CPU in one zone."""

    cpu: int
    count_pages: int
    high_pages: int
    batch_pages: int
    stat_threshold: int | None = None  # vm stats threshold
    high_min_pages: int | None = None  # newer kernels; None: the older, narrower form
    high_max_pages: int | None = None


class ZoneText(msgspec.Struct, kw_only=True):
    """One zone of one node."""

    node: int
    name: str
    node_stats: dict[str, int] | None = (
        None  # per-node counters; the node's first populated zone has them
    )
    pages: dict[str, int]  # free, boost, min, low, high, (promo,) spanned, present, managed, cma
    protection_pages: tuple[int, ...] = ()  # lowmem_reserve against requests for each higher zone
    zone_stats: dict[str, int] = {}
    pagesets: list[Pageset] = []
    tail: dict[str, int] = {}  # node_unreclaimable, start_pfn, and what newer kernels add

    @property
    def populated(self) -> bool:
        """Whether the zone has pages."""
        return bool(self.tail)

    @property
    def start_pfn(self) -> int:
        """First frame of the zone; 0 when it is empty."""
        return self.tail.get("start_pfn", 0)

    @property
    def managed_pages(self) -> int:
        """Pages handed to the buddy allocator."""
        return self.pages["managed"]


class ZoneInfo(msgspec.Struct):
    """One reading of /proc/zoneinfo: zones in the text's order."""

    zones: list[ZoneText]

    def zone(self, name: str, node: int = 0) -> ZoneText:
        """The zone called `name` on `node`; UserError when there is none."""
        for zone in self.zones:
            if zone.name == name and zone.node == node:
                return zone
        found = ", ".join(f"{zone.node}/{zone.name}" for zone in self.zones)
        raise UserError(f"{PATH}: found zones {found}, no {node}/{name}")


def parse_zoneinfo(text: str) -> ZoneInfo:
    """The record of a /proc/zoneinfo text."""
    zones: list[ZoneText] = []
    for line in text.splitlines():
        head = _HEAD.match(line)
        if head:
            zones.append(ZoneText(node=int(head[1]), name=head[2], pages={}))
        elif line.strip():
            if not zones:
                raise no_match(PATH, line, "'Node N, zone NAME' first")
            _read_line(zones[-1], line)
    return ZoneInfo(zones)


def _read_line(zone: ZoneText, line: str) -> None:
    words = line.split()
    if line == "  per-node stats":
        zone.node_stats = {}
    elif words[0] == "protection:":
        inside = line.partition("(")[2].partition(")")[0]
        zone.protection_pages = tuple(whole(word, PATH, line) for word in inside.split(","))
    elif words[0] in ("cpu:", "count:", "high:", "batch:", "high_min:", "high_max:"):
        _read_pageset(zone, words[0][:-1], whole(words[-1], PATH, line), line)
    elif line.startswith("  vm stats threshold:"):
        _pageset(zone, line).stat_threshold = whole(words[-1], PATH, line)
    elif line == "  pagesets":
        pass
    elif line.startswith("      ") and not line.startswith("       "):
        stats = zone.zone_stats if "free" in zone.pages else zone.node_stats
        if stats is None or len(words) != 2:
            raise no_match(PATH, line, "'name NUMBER'")
        stats[words[0]] = whole(words[1], PATH, line)
    else:
        _read_pages_or_tail(zone, line)


def _read_pages_or_tail(zone: ZoneText, line: str) -> None:
    pages = _PAGES.fullmatch(line)
    tail = _TAIL.fullmatch(line)
    if pages:
        zone.pages[pages[2] or "free"] = whole(pages[3] or pages[1], PATH, line)
    elif tail:
        zone.tail[tail[1]] = whole(tail[2], PATH, line)
    # anything else is a line of a kernel we do not know: it has no figure of ours


def _read_pageset(zone: ZoneText, key: str, figure: int, line: str) -> None:
    if key == "cpu":
        zone.pagesets.append(Pageset(cpu=figure, count_pages=0, high_pages=0, batch_pages=0))
    else:
        setattr(_pageset(zone, line), f"{key}_pages", figure)


def _pageset(zone: ZoneText, line: str) -> Pageset:
    if not zone.pagesets:
        raise no_match(PATH, line, "'cpu: N' first")
    return zone.pagesets[-1]


def render_zoneinfo(info: ZoneInfo) -> str:
    """The text of `info` (mm/vmstat.c zoneinfo_show_print(), v6.1, v6.12)."""
    return "".join(_render_zone(zone) for zone in info.zones)


def _render_zone(zone: ZoneText) -> str:
    lines = [f"Node {zone.node}, zone {zone.name:>8}"]
    if zone.node_stats is not None:
        lines.append("  per-node stats")
        lines += [f"      {name:<12} {figure}" for name, figure in zone.node_stats.items()]
    lines.append(f"  pages free     {zone.pages['free']}")
    lines += [f"        {key:<8} {v}" for key, v in zone.pages.items() if key != "free"]
    lines.append(f"        protection: ({', '.join(map(str, zone.protection_pages))})")
    if zone.populated:
        lines += [f"      {name:<12} {figure}" for name, figure in zone.zone_stats.items()]
        lines.append("  pagesets")
        for pageset in zone.pagesets:
            lines += _render_pageset(pageset)
        width = max(len(key) for key in zone.tail) + 1
        width = max(width, 20)
        lines += [f"  {key + ':':<{width}} {figure}" for key, figure in zone.tail.items()]
    return "\n".join(lines) + "\n"


def _render_pageset(pageset: Pageset) -> list[str]:
    rows = [
        ("count:", pageset.count_pages),
        ("high:", pageset.high_pages),
        ("batch:", pageset.batch_pages),
        ("high_min:", pageset.high_min_pages),
        ("high_max:", pageset.high_max_pages),
    ]
    width = 6 if pageset.high_min_pages is None else 9
    lines = [f"    cpu: {pageset.cpu}"]
    lines += [f"              {key:<{width}} {v}" for key, v in rows if v is not None]
    if pageset.stat_threshold is not None:
        lines.append(f"  vm stats threshold: {pageset.stat_threshold}")
    return lines
