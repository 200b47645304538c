"""Owns the views `meminfo`, `buddyinfo`, `zoneinfo` and `vmallocinfo`.

Imports analysis, observe and cli/view. Each is a function that gives looks at a root.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from memtwin.analysis.fragmentation import ZoneFragmentation, differing, zones_of
from memtwin.analysis.meminfo_meanings import MEANINGS, NO_SHARE, UNKNOWN
from memtwin.analysis.vmalloc import VmallocBy, grouped
from memtwin.analysis.watermarks import marks_of
from memtwin.cli.columns_text import Column, figure, size, table
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Look, Snapshot, SortableLook
from memtwin.errors import UserError
from memtwin.observe import fragments, meminfo, vmallocinfo, zoneinfo
from memtwin.observe.reading import Reading
from memtwin.observe.source import printable
from memtwin.units import KIB, PAGE_SIZE

_AREA_KINDS_WITHOUT_MEMORY = "an ioremap or vmap area has no pages of its own"


class MeminfoRow(msgspec.Struct, kw_only=True):
    """One line of /proc/meminfo; HugePages_* count pages, the rest are bytes."""

    name: str
    size_bytes: int | None
    count_pages: int | None
    percent_of_total: float | None
    meaning: str


def looks(root: Path, make: Callable[[Reading], Snapshot]) -> Look:
    """Looks at `root`, each made of a fresh reading."""
    source = source_at(root)

    def look() -> Snapshot:
        reading = Reading(source)
        found = make(reading)
        return found._replace(root=str(root), taken_s=taken_s(source), absent=reading.absent)

    return look


def needed(path: str, reading: Reading, record: object | None) -> UserError:
    """The error of a view whose one text could not be had."""
    assert record is None, f"memory_views.needed: {path} was read"
    return UserError(f"{path}: {reading.absent[-1].why}")


def meminfo_at(root: Path, name: str | None) -> Look:
    """Looks at every line of /proc/meminfo, or at the one called `name` alone."""

    def make(reading: Reading) -> Snapshot:
        info = reading.record(meminfo.PATH, meminfo.parse_meminfo)
        if info is None:
            raise needed(meminfo.PATH, reading, info)
        rows = _meminfo_rows(info)
        if name is not None:
            rows = [row for row in rows if row.name.lower() == name.lower().rstrip(":")]
            if not rows:
                raise UserError(f"--explain: found {name!r}, allowed is a line of {meminfo.PATH}")
        columns = [Column("name", "<"), Column("size"), Column("kB"), Column("of total")]
        columns.append(Column("meaning", "<"))
        return Snapshot("meminfo", rows, table(columns, map(_meminfo_cells, rows)))

    return looks(root, make)


def _meminfo_rows(info: meminfo.MemInfo) -> list[MeminfoRow]:
    rows = []
    for name in info.order:
        field = meminfo.FIELDS.get(name)
        kib = info.other[name] if field is None else getattr(info, field)
        counts = name.startswith("HugePages_")
        share = None
        if info.mem_total_kib and not counts and name not in NO_SHARE:
            share = 100 * kib / info.mem_total_kib
        if name.startswith("Swap") and name != "SwapCached":
            share = None  # not memory
        rows.append(
            MeminfoRow(
                name=printable(name),
                size_bytes=None if counts else kib * KIB,
                count_pages=kib if counts else None,
                percent_of_total=share,
                meaning=MEANINGS.get(name, UNKNOWN),
            )
        )
    return rows


def _meminfo_cells(row: MeminfoRow) -> list[str]:
    share = "" if row.percent_of_total is None else f"{row.percent_of_total:.1f} %"
    if row.size_bytes is None:
        return [row.name, f"{row.count_pages} pages", "", share, row.meaning]
    return [row.name, size(row.size_bytes), str(row.size_bytes // KIB), share, row.meaning]


def buddyinfo_at(root: Path) -> Look:
    """Looks at the free blocks of each zone, and what they say of fragmentation."""

    def make(reading: Reading) -> Snapshot:
        blocks = reading.record(fragments.BUDDYINFO_PATH, fragments.parse_buddyinfo)
        if blocks is None:
            raise needed(fragments.BUDDYINFO_PATH, reading, blocks)
        zones = zones_of(blocks)
        notes = []
        for path, field in (
            (fragments.UNUSABLE_PATH, "unusable_thousandths"),
            (fragments.EXTFRAG_PATH, "extfrag_thousandths"),
        ):
            theirs = reading.optional(path, partial(fragments.parse_index, path=path))
            if theirs is not None:
                apart = differing(zones, field, theirs)
                words = "equal to ours" if not apart else f"{apart} zones moved between the texts"
                notes.append(f"{path}: {words}")
        rows = [msgspec.structs.replace(zone, zone=printable(zone.zone)) for zone in zones]
        return Snapshot("buddyinfo", rows, _buddy_text(rows), notes=notes)

    return looks(root, make)


def _buddy_text(zones: list[ZoneFragmentation]) -> str:
    orders = max((len(zone.blocks) for zone in zones), default=0)
    heads = [Column("order", "<"), *(Column(str(order)) for order in range(orders))]
    out = []
    for zone in zones:
        largest = zone.largest_order
        biggest = "nothing" if largest is None else size((1 << largest) * PAGE_SIZE)
        out.append(
            f"node {zone.node}, zone {zone.zone}: {size(zone.free_bytes)} free,"
            f" largest block {biggest}\n"
        )
        pad = [""] * (orders - len(zone.blocks))
        failing = [
            "would fit" if index == -1000 else f"{index / 1000:.3f}"
            for index in zone.extfrag_thousandths
        ]
        out.append(
            table(
                heads,
                [
                    ["free blocks", *(str(n) for n in zone.blocks), *pad],
                    ["unusable", *(f"{n / 1000:.3f}" for n in zone.unusable_thousandths), *pad],
                    ["fragmented", *failing, *pad],
                ],
            )
        )
    return "\n".join(out).replace("\n\norder", "\norder")


_ZONE_HEADS = (
    Column("node"), Column("zone", "<"), Column("free"), Column("min"), Column("low"),
    Column("high"), Column("boost"), Column("reserve"), Column("managed"), Column("over min"),
    Column("over low"), Column("kswapd wakes at"), Column("state", "<"),
)  # fmt: skip


def zoneinfo_at(root: Path) -> Look:
    """Looks at each zone's free pages between its watermarks."""

    def make(reading: Reading) -> Snapshot:
        info = reading.record(zoneinfo.PATH, zoneinfo.parse_zoneinfo)
        if info is None:
            raise needed(zoneinfo.PATH, reading, info)
        rows = [msgspec.structs.replace(one, zone=printable(one.zone)) for one in marks_of(info)]
        cells = [
            [
                str(one.node), one.zone, figure(one.free_pages), figure(one.min_pages),
                figure(one.low_pages), figure(one.high_pages), figure(one.boost_pages),
                figure(one.reserve_pages), figure(one.managed_pages), f"{one.above_min_pages:+,}",
                f"{one.above_low_pages:+,}", figure(one.kswapd_wakes_pages), one.state,
            ]
            for one in rows
        ]  # fmt: skip
        notes = [
            "pages; reserve: lowmem_reserve against a request for the node's highest zone",
        ]
        return Snapshot("zoneinfo", rows, table(_ZONE_HEADS, cells), notes=notes)

    return looks(root, make)


def vmallocinfo_at(root: Path, by: VmallocBy, most: int | None) -> Look:
    """Looks at the vmalloc areas, added up `by`; the first `most` groups."""

    source = source_at(root)

    def look(name: str) -> Snapshot:
        by, reading = VmallocBy(name), Reading(source)
        areas = reading.record(vmallocinfo.PATH, vmallocinfo.parse_vmallocinfo)
        if areas is None:
            raise needed(vmallocinfo.PATH, reading, areas)
        groups = grouped(areas, by)
        rows = [msgspec.structs.replace(one, name=printable(one.name)) for one in groups[:most]]
        total = sum(one.size_bytes for one in groups)
        memory = sum(one.memory_bytes for one in groups)
        heads = [Column("memory"), Column("addresses"), Column("areas"), Column("largest")]
        heads += [Column("kind", "<"), Column(by.value, "<")]
        cells = [
            [
                size(one.memory_bytes), size(one.size_bytes), str(one.areas),
                size(one.largest_bytes), one.kind, one.name,
            ]
            for one in rows
        ]  # fmt: skip
        notes = [
            f"{len(areas)} areas: {size(memory)} of memory, {size(total)} of addresses"
            f" (guard pages too); {_AREA_KINDS_WITHOUT_MEMORY}"
        ]
        totals = {"areas": len(areas), "size_bytes": total, "memory_bytes": memory}
        return Snapshot(
            "vmallocinfo", rows, table(heads, cells), totals, reading.absent, notes, str(root),
            taken_s(source),
        )  # fmt: skip

    return SortableLook(look, {one.value[0]: one.value for one in VmallocBy}, by.value)
