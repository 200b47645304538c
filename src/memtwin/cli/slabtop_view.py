"""Owns `memtwin slabtop`: procps' head and columns, and what of slab gives way.

Imports analysis/slabs, observe and cli/view.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from memtwin.analysis.slabs import SORTS, SlabCache, SlabSums, sorted_caches, sums_of
from memtwin.cli.columns_text import size
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Look, Snapshot, SortableLook
from memtwin.cli.vmstat_sums import slab_caches
from memtwin.observe import meminfo
from memtwin.observe.reading import Reading
from memtwin.observe.source import printable
from memtwin.units import KIB

# src/slabtop.c print_headings(), procps 4.0.2
_HEAD = f"{'  OBJS ACTIVE  USE OBJ SIZE  SLABS OBJ/SLAB CACHE SIZE NAME':<78}"


def look_at(root: Path, sort: str, most: int | None) -> Look:
    """Looks at the slab caches, sorted by slabtop's letter `sort`; the first `most` of them."""
    source = source_at(root)

    def look(letter: str) -> Snapshot:
        reading = Reading(source)
        caches = slab_caches(reading)
        sums, shown = sums_of(caches), sorted_caches(caches, letter)[:most]
        info = reading.optional(meminfo.PATH, meminfo.parse_meminfo)
        gives_way_kib = info.sreclaimable_kib if info else None
        stays_kib = info.sunreclaim_kib if info else None
        totals = msgspec.structs.asdict(sums)
        notes = []
        if gives_way_kib is not None and stays_kib is not None and gives_way_kib + stays_kib:
            share = 100 * gives_way_kib / (gives_way_kib + stays_kib)
            totals["reclaimable_bytes"] = gives_way_kib * KIB
            totals["unreclaimable_bytes"] = stays_kib * KIB
            notes.append(
                f"{size(gives_way_kib * KIB)} of {size((gives_way_kib + stays_kib) * KIB)}"
                f" slab pages give way under pressure ({share:.1f} %)"
            )
        return Snapshot(
            "slabtop",
            [msgspec.structs.replace(one, name=printable(one.name)) for one in shown],
            _text(sums, shown),
            totals=totals,
            absent=reading.absent,
            notes=notes,
            root=str(root),
            taken_s=taken_s(source),
        )

    return SortableLook(look, {letter: letter for letter in SORTS}, sort)


def _text(sums: SlabSums, caches: list[SlabCache]) -> str:
    """src/slabtop.c print_summary(), print_details(), procps 4.0.2."""
    lines = [
        _summary("Objects", sums.active_objs, sums.objs),
        _summary("Slabs", sums.active_slabs, sums.slabs),
        _summary("Caches", sums.active_caches, sums.caches),
        f" {'Active / Total Size (% used)':<35}: {sums.active_size_bytes / KIB:.2f}K"
        f" / {sums.size_bytes / KIB:.2f}K ({_share(sums.active_size_bytes, sums.size_bytes)})",
        f" {'Minimum / Average / Maximum Object':<35}: {sums.min_obj_bytes / KIB:.2f}K"
        f" / {sums.avg_obj_bytes / KIB:.2f}K / {sums.max_obj_bytes / KIB:.2f}K",
        "",
        _HEAD,
    ]
    lines += [
        f"{one.objs:>6} {one.active_objs:>6} {one.use_percent:>3}%"
        f" {one.obj_size_bytes / KIB:>7.2f}K"
        f" {one.slabs:>6} {one.objs_per_slab:>8} {one.cache_size_bytes // KIB:>9}K"
        f" {printable(one.name):<23}"
        for one in caches
    ]
    return "".join(f"{line}\n" for line in lines)


def _summary(what: str, active: int, total: int) -> str:
    label = f"Active / Total {what} (% used)"
    return f" {label:<35}: {active} / {total} ({_share(active, total)})"


def _share(part: int, whole: int) -> str:
    return f"{100.0 * part / whole:.1f}%" if whole else "-"
