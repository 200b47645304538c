"""The kernel's sums, held against texts that a real kernel printed at one moment."""

from __future__ import annotations

import pytest
from tests.observe.starts import NAMES, start_texts

from memtwin.observe.formulas import (
    MemTotals,
    commit_limit_pages,
    meminfo_figures,
    si_mem_available,
)
from memtwin.observe.fragments import (
    extfrag_index,
    parse_buddyinfo,
    parse_index,
    unusable_index,
)
from memtwin.observe.meminfo import FIELDS, parse_meminfo
from memtwin.observe.scan import parse_flat
from memtwin.observe.twin.zones import stat_threshold
from memtwin.observe.zoneinfo import parse_zoneinfo

# not sums of counters: sizes of other things, which the text itself supplies
GIVEN = ("Committed_AS", "VmallocTotal", "VmallocUsed", "Percpu", "DirectMap4k", "DirectMap2M")


@pytest.mark.parametrize("name", NAMES)
def test_meminfo_follows_from_vmstat_and_the_zones(name: str) -> None:
    texts = start_texts(name)
    vm = parse_flat(texts["/proc/vmstat"], "vmstat")
    info = parse_meminfo(texts["/proc/meminfo"])
    zones = parse_zoneinfo(texts["/proc/zoneinfo"]).zones
    # mm/page_alloc.c calculate_totalreserve_pages(), v6.12
    reserve = sum(
        min(max(zone.protection_pages) + zone.pages["high"], zone.pages["managed"])
        for zone in zones
    )
    high = [zone for zone in zones if zone.name == "HighMem"]
    total = sum(zone.pages["managed"] for zone in zones)
    swap_pages = (info.swap_total_kib or 0) // 4
    totals = MemTotals(
        total_pages=total,
        available_pages=si_mem_available(vm, sum(zone.pages["low"] for zone in zones), reserve),
        buffers_pages=(info.buffers_kib or 0) // 4,
        high_total_pages=sum(zone.pages["managed"] for zone in high),
        high_free_pages=sum(zone.pages["free"] for zone in high),
        swap_total_pages=swap_pages,
        swap_free_pages=(info.swap_free_kib or 0) // 4,
        commit_limit_pages=commit_limit_pages(total, swap_pages, 50, 0),
        cma_total_pages=sum(zone.pages["cma"] for zone in zones),
    )
    figures = meminfo_figures(vm, totals)
    printed = {key: getattr(info, FIELDS[key]) for key in info.order if key not in GIVEN}
    assert {key: figures[key] for key in printed} == printed


@pytest.mark.parametrize("name", NAMES)
def test_fragmentation_indices_follow_from_buddyinfo(name: str) -> None:
    texts = start_texts(name)
    blocks = [row.blocks for row in parse_buddyinfo(texts["/proc/buddyinfo"])]
    for path, index in (("unusable_index", unusable_index), ("extfrag_index", extfrag_index)):
        printed = parse_index(texts[f"/sys/kernel/debug/extfrag/{path}"], path)
        assert [index(row) for row in blocks] == [row.thousandths for row in printed]


@pytest.mark.parametrize("name", NAMES)
def test_the_stat_threshold_is_the_kernel_s(name: str) -> None:
    for zone in parse_zoneinfo(start_texts(name)["/proc/zoneinfo"]).zones:
        for pageset in zone.pagesets:
            assert stat_threshold(zone.managed_pages, 1) == pageset.stat_threshold


def test_strict_overcommit_counts_kbytes_before_the_ratio() -> None:
    assert commit_limit_pages(1000, 10, 50, 0) == 510
    assert commit_limit_pages(1000, 10, 50, 400) == 110
