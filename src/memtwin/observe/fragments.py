"""Owns /proc/buddyinfo, /proc/pagetypeinfo and debugfs extfrag: records, readers and writers.

Imports observe/scan. Knows nothing of free lists. A row counts free blocks of 2**order pages,
order 0 first.
"""

from __future__ import annotations

import re

import msgspec

from memtwin.observe.scan import no_match, whole

BUDDYINFO_PATH = "/proc/buddyinfo"
PAGETYPEINFO_PATH = "/proc/pagetypeinfo"
UNUSABLE_PATH = "/sys/kernel/debug/extfrag/unusable_index"
EXTFRAG_PATH = "/sys/kernel/debug/extfrag/extfrag_index"
_ZONE = re.compile(r"Node +(\d{1,9}), zone +(\S+) *(.*)")
_TYPE = re.compile(r"Node +(\d{1,9}), zone +(\S+), type +(\S+) +(.*)")


class ZoneBlocks(msgspec.Struct, frozen=True):
    """Free blocks of one zone by order."""

    node: int
    zone: str
    blocks: tuple[int, ...]


class TypeBlocks(msgspec.Struct, frozen=True):
    """Free blocks of one zone and migrate type by order; capped: the count was cut off."""

    node: int
    zone: str
    migratetype: str
    blocks: tuple[int, ...]
    capped: tuple[bool, ...] = ()


class ZonePageblocks(msgspec.Struct, frozen=True):
    """Page blocks of one zone by migrate type, in the order of PageTypeInfo.migratetypes."""

    node: int
    zone: str
    pageblocks: tuple[int, ...]


class PageTypeInfo(msgspec.Struct, frozen=True):
    """One reading of /proc/pagetypeinfo."""

    pageblock_order: int
    migratetypes: tuple[str, ...]
    free: tuple[TypeBlocks, ...]
    pageblocks: tuple[ZonePageblocks, ...]


class ZoneIndex(msgspec.Struct, frozen=True):
    """A fragmentation index of one zone by order, in thousandths."""

    node: int
    zone: str
    thousandths: tuple[int, ...]


def parse_buddyinfo(text: str) -> list[ZoneBlocks]:
    """The rows of a /proc/buddyinfo text.

    >>> parse_buddyinfo("Node 0, zone      DMA      1      0      2 ")[0].blocks
    (1, 0, 2)
    """
    rows = []
    for line in filter(str.strip, text.splitlines()):
        match = _ZONE.fullmatch(line)
        if match is None:
            raise no_match(BUDDYINFO_PATH, line, "'Node N, zone NAME COUNT...'")
        counts = tuple(whole(word, BUDDYINFO_PATH, line) for word in match[3].split())
        rows.append(ZoneBlocks(int(match[1]), match[2], counts))
    return rows


def render_buddyinfo(rows: list[ZoneBlocks]) -> str:
    """The text of `rows` (mm/vmstat.c frag_show_print(), v6.12)."""
    return "".join(
        f"Node {row.node}, zone {row.zone:>8} " + "".join(f"{n:>6} " for n in row.blocks) + "\n"
        for row in rows
    )


def parse_pagetypeinfo(text: str) -> PageTypeInfo:
    """The record of a /proc/pagetypeinfo text."""
    pageblock_order = 9
    migratetypes: tuple[str, ...] = ()
    free: list[TypeBlocks] = []
    pageblocks: list[ZonePageblocks] = []
    for line in filter(str.strip, text.splitlines()):
        typed = _TYPE.fullmatch(line)
        plain = _ZONE.fullmatch(line)
        if typed:
            words = typed[4].split()
            counts = tuple(whole(word.lstrip(">"), PAGETYPEINFO_PATH, line) for word in words)
            capped = tuple(word.startswith(">") for word in words)
            free.append(TypeBlocks(int(typed[1]), typed[2], typed[3], counts, capped))
        elif plain:
            counts = tuple(whole(word, PAGETYPEINFO_PATH, line) for word in plain[3].split())
            pageblocks.append(ZonePageblocks(int(plain[1]), plain[2], counts))
        elif line.startswith("Page block order:"):
            pageblock_order = whole(line.split()[-1], PAGETYPEINFO_PATH, line)
        elif line.startswith("Number of blocks type"):
            migratetypes = tuple(line.split()[4:])
    return PageTypeInfo(pageblock_order, migratetypes, tuple(free), tuple(pageblocks))


def render_pagetypeinfo(info: PageTypeInfo) -> str:
    """The text of `info`, one part a node (mm/vmstat.c pagetypeinfo_show(), v6.12)."""
    nodes = sorted({row.node for row in info.free})
    return "".join(_render_node(info, node) for node in nodes)


def _render_node(info: PageTypeInfo, node: int) -> str:
    free = [row for row in info.free if row.node == node]
    out = [f"Page block order: {info.pageblock_order}\n"]
    out.append(f"Pages per block:  {1 << info.pageblock_order}\n\n")
    out.append(f"{'Free pages count per migrate type at order':<43} ")
    out.append("".join(f"{order:>6} " for order in range(len(free[0].blocks))) + "\n")
    for row in free:
        out.append(f"Node {row.node:>4}, zone {row.zone:>8}, type {row.migratetype:>12} ")
        capped = row.capped or (False,) * len(row.blocks)
        out.append(
            "".join(f"{'>' * c}{n:>6} " for n, c in zip(row.blocks, capped, strict=True)) + "\n"
        )
    out.append("\nNumber of blocks type  " + "".join(f"{t:>12} " for t in info.migratetypes) + "\n")
    for zone in info.pageblocks:
        if zone.node == node:
            out.append(f"Node {zone.node}, zone {zone.zone:>8} ")
            out.append("".join(f"{n:>12} " for n in zone.pageblocks) + "\n")
    return "".join(out)


def parse_index(text: str, path: str) -> list[ZoneIndex]:
    """The rows of an extfrag_index or unusable_index text."""
    rows = []
    for line in filter(str.strip, text.splitlines()):
        match = _ZONE.fullmatch(line)
        if match is None:
            raise no_match(path, line, "'Node N, zone NAME INDEX...'")
        figures = tuple(whole(w.replace(".", ""), path, line) for w in match[3].split())
        rows.append(ZoneIndex(int(match[1]), match[2], figures))
    return rows


def render_unusable_index(rows: list[ZoneIndex]) -> str:
    """The text of unusable_index rows (mm/vmstat.c unusable_show_print(), v6.12)."""
    return "".join(
        f"Node {row.node}, zone {row.zone:>8} "
        + "".join(f"{n // 1000}.{n % 1000:03d} " for n in row.thousandths)
        + "\n"
        for row in rows
    )


def render_extfrag_index(rows: list[ZoneIndex]) -> str:
    """The text of extfrag_index rows (mm/vmstat.c extfrag_show_print(), v6.12)."""
    out = []
    for row in rows:
        out.append(f"Node {row.node}, zone {row.zone:>8} ")
        for n in row.thousandths:
            units = -(-n // 1000) if n < 0 else n // 1000  # C rounds towards zero
            out.append(f"{units:>2}.{abs(n) % 1000:03d} ")
        out.append("\n")
    return "".join(out)


def unusable_index(blocks: tuple[int, ...]) -> tuple[int, ...]:
    """Thousandths of free memory that cannot serve each order.

    mm/vmstat.c unusable_free_index(), v6.12.

    >>> unusable_index((4, 0, 1))
    (0, 500, 500)
    """
    free_pages = sum(n << order for order, n in enumerate(blocks))
    if free_pages == 0:
        return (1000,) * len(blocks)
    found = []
    for order in range(len(blocks)):
        usable = sum(n << k for k, n in enumerate(blocks) if k >= order)
        found.append((free_pages - usable) * 1000 // free_pages)
    return tuple(found)


def extfrag_index(blocks: tuple[int, ...]) -> tuple[int, ...]:
    """Thousandths: 1000 blames fragmentation for a failure, 0 lack of memory, -1000 none fails.

    mm/vmstat.c __fragmentation_index(), v6.12.

    >>> extfrag_index((4, 0, 0))
    (-1000, 250, 500)
    """
    free_pages = sum(n << order for order, n in enumerate(blocks))
    nr_blocks = sum(blocks)
    found = []
    for order in range(len(blocks)):
        if nr_blocks == 0:
            found.append(0)
        elif any(blocks[order:]):
            found.append(-1000)
        else:
            found.append(1000 - (1000 + free_pages * 1000 // (1 << order)) // nr_blocks)
    return tuple(found)
