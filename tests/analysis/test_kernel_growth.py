"""What of the kernel's memory grew between two looks."""

from __future__ import annotations

from memtwin.analysis.kernel_growth import KernelGrowth, KernelLook, kernel_growth
from memtwin.observe.meminfo import parse_meminfo
from memtwin.observe.slabinfo import parse_slabinfo

HEAD = "slabinfo - version: 2.1\n# name <active_objs> <num_objs> <objsize> <objperslab>\n"


def cache(name: str, active: int, slabs: int, objects: int = 16, pages: int = 2) -> str:
    return (
        f"{name} {active} {slabs * objects} 512 {objects} {pages} : tunables 0 0 0"
        f" : slabdata {slabs} {slabs} 0\n"
    )


def look(taken_s: float, vmalloc_kib: int, tables_kib: int, slabs: str | None) -> KernelLook:
    info = parse_meminfo(
        f"MemTotal: 1000 kB\nVmallocUsed: {vmalloc_kib} kB\nPageTables: {tables_kib} kB\n"
    )
    return KernelLook(taken_s, info, None if slabs is None else parse_slabinfo(HEAD + slabs))


def by_name(before: KernelLook, after: KernelLook) -> dict[str, KernelGrowth]:
    return {row.name: row for row in kernel_growth(before, after)}


def test_a_cache_has_grown_by_its_slabs_pages_and_by_its_active_objects() -> None:
    rows = by_name(look(5, 0, 0, cache("leaky", 10, 1)), look(15, 0, 0, cache("leaky", 50, 4)))
    row = rows["leaky"]
    assert (row.bytes, row.bytes_since) == (4 * 8192, 3 * 8192)
    assert (row.objects, row.objects_since) == (50, 40)
    assert row.bytes_per_s == 3 * 8192 / 10


def test_objects_may_go_while_slabs_stay() -> None:
    rows = by_name(look(0, 0, 0, cache("a", 32, 2)), look(1, 0, 0, cache("a", 1, 2)))
    assert (rows["a"].bytes_since, rows["a"].objects_since) == (0, -31)


def test_a_new_cache_has_grown_from_nothing_and_one_that_is_gone_is_no_row() -> None:
    before, after = cache("old", 16, 1), cache("new", 5, 1)
    rows = by_name(look(0, 0, 0, before), look(1, 0, 0, after))
    assert (rows["new"].bytes_since, rows["new"].objects_since) == (8192, 5)
    assert "old" not in rows


def test_figures_of_meminfo_grow_and_shrink_and_the_fastest_growing_is_first() -> None:
    rows = kernel_growth(look(0, 100, 50, cache("a", 16, 1)), look(2, 1124, 40, cache("a", 32, 2)))
    assert [row.name for row in rows] == ["vmalloc", "a", "page tables"]
    assert [row.bytes_since for row in rows] == [1 << 20, 8192, -10 << 10]
    assert rows[0].objects is None
    assert rows[0].bytes_per_s == 1 << 19


def test_without_slabinfo_in_one_of_the_looks_no_cache_is_told_to_have_grown() -> None:
    rows = kernel_growth(look(0, 1, 1, None), look(1, 1, 1, cache("a", 16, 1)))
    assert [row.kind for row in rows] == ["meminfo", "meminfo"]
