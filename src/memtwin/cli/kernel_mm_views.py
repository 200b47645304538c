"""Owns the views `thp`, `ksm`, `zswap`, `hugepages` and `numa`.

Imports analysis, observe and cli/view. Each is a function that gives looks at a root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from memtwin.analysis.kernel_mm_facts import Fact, ksm_facts, thp_facts, zswap_facts
from memtwin.cli.columns_text import DASH, Column, figure, size, table
from memtwin.cli.memory_views import looks
from memtwin.cli.view import Look, Snapshot
from memtwin.errors import UserError
from memtwin.observe import kernel_mm, meminfo, vmstat
from memtwin.observe.map_files import NumaArea, parse_numa_maps
from memtwin.observe.node import ROOT as NODES
from memtwin.observe.node import NodeMemory, read_nodes
from memtwin.observe.reading import Reading
from memtwin.observe.scan import parse_figure
from memtwin.observe.source import printable
from memtwin.units import KIB, PAGE_SIZE

_NO_ZSWAP = "no such directory: a kernel without zswap, or a tree without its texts"
_NO_KSM = "no such directory: a kernel without KSM, or a tree without its texts"
_NO_THP = "no such directory: a kernel without THP, or a tree without its texts"
_NO_POOLS = "no such directory: a kernel without hugetlb, or a tree without its texts"
_NODE_FIGURES = ("MemTotal", "MemFree", "AnonPages", "FilePages", "Slab")


class HugepageRow(msgspec.Struct, kw_only=True):
    """One pool of hugetlb pages, of the machine (`node` None) or of one node."""

    node: int | None
    page_bytes: int
    total_pages: int | None
    free_pages: int | None
    reserved_pages: int | None
    surplus_pages: int | None
    overcommit_pages: int | None


class NodeRow(msgspec.Struct, kw_only=True):
    """One node: memory in bytes, allocations in pages since boot."""

    node: int
    cpus: str | None
    total_bytes: int | None
    free_bytes: int | None
    anon_bytes: int | None
    file_bytes: int | None
    slab_bytes: int | None
    numa_hit_pages: int | None
    numa_miss_pages: int | None
    numa_foreign_pages: int | None
    interleave_hit_pages: int | None
    local_pages: int | None
    other_pages: int | None
    distances: list[int]


class NumaMapRow(msgspec.Struct, kw_only=True):
    """Mappings of one process of one policy and kind, and where their pages lie."""

    policy: str
    kind: str
    count: int
    bytes_by_node: dict[str, int]


def thp_at(root: Path) -> Look:
    """Looks at transparent huge pages."""

    def make(reading: Reading) -> Snapshot:
        thp = kernel_mm.read_thp(reading)
        if thp == kernel_mm.Thp():
            reading.tell(f"{kernel_mm.ROOT}/transparent_hugepage", _NO_THP)
        return _facts("thp", thp_facts(thp, _info(reading), _vmstat(reading)))

    return looks(root, make)


def ksm_at(root: Path) -> Look:
    """Looks at same-page merging."""

    def make(reading: Reading) -> Snapshot:
        ksm = kernel_mm.read_ksm(reading)
        if not ksm.figures:
            reading.tell(f"{kernel_mm.ROOT}/ksm", _NO_KSM)
        return _facts("ksm", ksm_facts(ksm, _vmstat(reading)))

    return looks(root, make)


def zswap_at(root: Path) -> Look:
    """Looks at zswap."""

    def make(reading: Reading) -> Snapshot:
        zswap = kernel_mm.read_zswap(reading)
        if zswap is None:
            reading.tell(kernel_mm.ZSWAP_PARAMETERS, _NO_ZSWAP)
            zswap = kernel_mm.Zswap()
        elif not zswap.counters:
            reading.tell(kernel_mm.ZSWAP_DEBUG, "debugfs is not mounted, or root's alone")
        return _facts("zswap", zswap_facts(zswap, _info(reading), _vmstat(reading)))

    return looks(root, make)


def _info(reading: Reading) -> meminfo.MemInfo | None:
    return reading.record(meminfo.PATH, meminfo.parse_meminfo)


def _vmstat(reading: Reading) -> Mapping[str, int]:
    counters = reading.record(vmstat.PATH, vmstat.parse_vmstat)
    return {} if counters is None else counters.figures


def _facts(name: str, facts: Sequence[Fact]) -> Snapshot:
    columns = [Column("what", "<"), Column("name", "<"), Column("value"), Column("meaning", "<")]
    shown = [fact for fact in facts if fact.count != 0]
    lines = [[fact.section, fact.name, _value(fact), fact.meaning] for fact in shown]
    never = len(facts) - len(shown)
    notes = [f"{never} counters stand at 0"] if never else []
    return Snapshot(name, facts, table(columns, lines), notes=notes)


def _value(fact: Fact) -> str:
    if fact.size_bytes is not None:
        sign = "-" if fact.size_bytes < 0 else ""
        return sign + size(abs(fact.size_bytes))
    if fact.percent is not None:
        return f"{fact.percent:.1f} %"
    return figure(fact.count) if fact.text is None else printable(fact.text)


def hugepages_at(root: Path) -> Look:
    """Looks at the pools of hugetlb pages, of the machine and of each node."""

    def make(reading: Reading) -> Snapshot:
        pools = kernel_mm.read_hugepages(reading)
        rows = [
            HugepageRow(
                node=None, page_bytes=pool.size_kib * KIB, total_pages=pool.nr_hugepages,
                free_pages=pool.free_hugepages, reserved_pages=pool.resv_hugepages,
                surplus_pages=pool.surplus_hugepages,
                overcommit_pages=pool.nr_overcommit_hugepages,
            )
            for pool in pools
        ]  # fmt: skip
        info = _info(reading)
        if not pools:
            reading.tell(f"{kernel_mm.ROOT}/hugepages", _NO_POOLS)
            rows = _default_pool(info)
        rows += [row for pool in pools for row in _of_nodes(reading, pool.size_kib)]
        notes = []
        if info is not None and info.hugetlb_kib is not None:
            notes.append(f"{size(info.hugetlb_kib * KIB)} of memory are hugetlb pages, used or not")
        return Snapshot("hugepages", rows, _pool_text(rows), notes=notes)

    return looks(root, make)


def _default_pool(info: meminfo.MemInfo | None) -> list[HugepageRow]:
    """The pool of the default size, which /proc/meminfo tells too."""
    if info is None or info.hugepagesize_kib is None:
        return []
    return [
        HugepageRow(
            node=None, page_bytes=info.hugepagesize_kib * KIB,
            total_pages=info.hugepages_total_pages, free_pages=info.hugepages_free_pages,
            reserved_pages=info.hugepages_rsvd_pages, surplus_pages=info.hugepages_surp_pages,
            overcommit_pages=None,
        )
    ]  # fmt: skip


def _of_nodes(reading: Reading, size_kib: int) -> list[HugepageRow]:
    found = []
    for name in reading.names(NODES):
        folder = f"{NODES}/{name}/hugepages/hugepages-{size_kib}kB"
        if not name.startswith("node") or not name[4:].isdigit():
            continue
        total, free, surplus = (
            _figure(reading, f"{folder}/{file}")
            for file in ("nr_hugepages", "free_hugepages", "surplus_hugepages")
        )
        if total is not None:
            found.append(
                HugepageRow(
                    node=int(name[4:]), page_bytes=size_kib * KIB, total_pages=total,
                    free_pages=free, reserved_pages=None, surplus_pages=surplus,
                    overcommit_pages=None,
                )
            )  # fmt: skip
    return sorted(found, key=lambda row: row.node or 0)


def _figure(reading: Reading, path: str) -> int | None:
    return reading.optional(path, partial(parse_figure, path=path))


def _pool_text(rows: Sequence[HugepageRow]) -> str:
    heads = ("node", "page", "total", "used", "free", "reserved", "surplus", "overcommit", "memory")
    lines = []
    for row in rows:
        used = None
        if row.total_pages is not None and row.free_pages is not None:
            used = row.total_pages - row.free_pages
        memory = None if row.total_pages is None else row.total_pages * row.page_bytes
        counts = (row.total_pages, used, row.free_pages, row.reserved_pages, row.surplus_pages)
        lines.append([
            "all" if row.node is None else str(row.node), size(row.page_bytes),
            *map(figure, (*counts, row.overcommit_pages)), size(memory),
        ])  # fmt: skip
    return table([Column(head) for head in heads], lines)


def numa_at(root: Path) -> Look:
    """Looks at the nodes: memory, where allocations went, distances."""

    def make(reading: Reading) -> Snapshot:
        nodes = read_nodes(reading)
        if not nodes:
            reading.tell(NODES, "no such directory: a kernel without NUMA, or a tree without it")
        rows = [_node_row(reading, node) for node in nodes]
        return Snapshot("numa", rows, _node_text(rows))

    return looks(root, make)


def _node_row(reading: Reading, node: NodeMemory) -> NodeRow:
    total, free, anon, file, slab = (
        None if (kib := node.meminfo_kib.get(name)) is None else kib * KIB for name in _NODE_FIGURES
    )
    distance = reading.optional(f"{NODES}/node{node.node}/distance", str) or ""
    counted = node.numastat_pages
    return NodeRow(
        node=node.node, cpus=node.cpus, total_bytes=total, free_bytes=free, anon_bytes=anon,
        file_bytes=file, slab_bytes=slab, numa_hit_pages=counted.get("numa_hit"),
        numa_miss_pages=counted.get("numa_miss"), numa_foreign_pages=counted.get("numa_foreign"),
        interleave_hit_pages=counted.get("interleave_hit"), local_pages=counted.get("local_node"),
        other_pages=counted.get("other_node"),
        distances=[int(word) for word in distance.split() if word.isdigit()],
    )  # fmt: skip


def _node_text(rows: Sequence[NodeRow]) -> str:
    """The figures of `numastat`, a line a node, and what numactl -H tells of distances."""
    heads = ("node", "cpus", "total", "free", "anon", "file", "slab", "hit", "miss", "foreign",
             "interleave", "local", "other", "distances")  # fmt: skip
    lines = []
    for row in rows:
        sizes = (row.total_bytes, row.free_bytes, row.anon_bytes, row.file_bytes, row.slab_bytes)
        pages = (
            row.numa_hit_pages, row.numa_miss_pages, row.numa_foreign_pages,
            row.interleave_hit_pages, row.local_pages, row.other_pages,
        )  # fmt: skip
        distances = " ".join(map(str, row.distances)) or DASH
        cells = [*map(size, sizes), *map(figure, pages), distances]
        lines.append([str(row.node), printable(row.cpus or DASH), *cells])
    return table([Column(head) for head in heads], lines)


def numa_of_at(root: Path, pid: int) -> Look:
    """Looks at where the pages of process `pid` lie, by policy and kind of mapping."""

    def make(reading: Reading) -> Snapshot:
        path = f"/proc/{pid}/numa_maps"
        text = reading.source.read(path)
        if text is None:
            raise UserError(f"{path}: {reading.why(path)}")
        areas, malformed = parse_numa_maps(text)
        if malformed:
            reading.tell(f"{malformed} lines of {path}", "malformed")
        rows = _numa_rows(areas)
        nodes = sorted({node for row in rows for node in row.bytes_by_node}, key=_node_number)
        heads = [Column("policy", "<"), Column("kind", "<"), Column("mappings")]
        heads += [Column(node) for node in nodes]
        lines = [
            [printable(row.policy), row.kind, str(row.count)]
            + [size(row.bytes_by_node.get(node, 0)) for node in nodes]
            for row in rows
        ]
        whole = {node: sum(row.bytes_by_node.get(node, 0) for row in rows) for node in nodes}
        count = str(sum(row.count for row in rows))
        lines.append(["total", "", count, *(size(whole[node]) for node in nodes)])
        return Snapshot("numa-maps", rows, table(heads, lines), {"bytes_by_node": whole})

    return looks(root, make)


def _node_number(name: str) -> int:
    return int(name[1:])


def _numa_rows(areas: Sequence[NumaArea]) -> list[NumaMapRow]:
    rows: dict[tuple[str, str], NumaMapRow] = {}
    for area in areas:
        kind = next((mark for mark in ("heap", "stack", "huge") if mark in area.marks), "")
        kind = kind or ("file" if area.file else "anonymous")
        key = (area.policy, kind)
        row = rows.setdefault(
            key, NumaMapRow(policy=area.policy, kind=kind, count=0, bytes_by_node={})
        )
        row.count += 1
        # fs/proc/task_mmu.c show_numa_map(), v6.12: pages of the size that the line tells
        page_bytes = area.pages.get("kernelpagesize_kB", PAGE_SIZE // KIB) * KIB
        for name, pages in area.pages.items():
            if name[0] == "N" and name[1:].isdigit():
                row.bytes_by_node[name] = row.bytes_by_node.get(name, 0) + pages * page_bytes
    return list(rows.values())
