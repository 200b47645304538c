"""A seeded twin at rest repeats its start; an unseeded one prints the same lines."""

from __future__ import annotations

import re

import pytest
from tests.observe.starts import NAMES, recorded, start_texts

from memtwin.machine.boot_memory import boot_memory, boot_tunables
from memtwin.machine.config import config_from_case, load_machine
from memtwin.memcg.table import MemcgTable
from memtwin.observe.swaps import ZramMmStat, parse_swaps
from memtwin.observe.twin.source import Pages, TwinRooms, TwinTexts
from memtwin.page.gfp import GFP_HIGHUSER_MOVABLE
from memtwin.page.vmstat_items import NR_ACTIVE_FILE, PGFAULT

MADE = (
    "/proc/vmstat",
    "/proc/meminfo",
    "/proc/zoneinfo",
    "/proc/buddyinfo",
    "/proc/pagetypeinfo",
    "/proc/slabinfo",
    "/proc/swaps",
    "/proc/sys/vm/min_free_kbytes",
    "/sys/kernel/mm/lru_gen/enabled",
)


def seeded(name: str) -> tuple[TwinRooms, TwinTexts]:
    config = config_from_case(recorded(name))
    page_alloc, _ = boot_memory(config, boot_tunables(config))
    memcg = MemcgTable(page_alloc.mem_map, page_alloc.vmstat, page_alloc.tunables)
    rows = parse_swaps(config.start_texts["/proc/swaps"])
    rooms = TwinRooms(config.layout, page_alloc, memcg, swaps=lambda: rows)
    return rooms, TwinTexts(rooms, config.start_texts)


@pytest.mark.parametrize("name", NAMES)
def test_a_seeded_twin_at_rest_repeats_the_start_byte_for_byte(name: str) -> None:
    _, texts = seeded(name)
    start = start_texts(name)
    for path in MADE:
        assert texts.read(path) == start[path], path


@pytest.mark.parametrize("name", NAMES)
def test_a_machine_without_a_seed_prints_the_same_lines(name: str) -> None:
    rooms, _ = seeded(name)
    texts = TwinTexts(rooms)
    start = start_texts(name)
    for path in MADE[:5]:
        assert shape(texts.read(path) or "") == shape(start[path]), path


def shape(text: str) -> list[list[str]]:
    return [re.sub(r"-?\d+(\.\d+)?", "#", line).split() for line in text.splitlines()]


def test_what_the_twin_counts_is_added_to_what_booting_left() -> None:
    rooms, texts = seeded("6.1")
    before = texts.read("/proc/vmstat") or ""
    rooms.page_alloc.vmstat.event[PGFAULT] += 7
    rooms.page_alloc.vmstat.node_stat[NR_ACTIVE_FILE] += 5
    after = texts.read("/proc/vmstat") or ""
    assert figure(after, "pgfault") == figure(before, "pgfault") + 7
    assert figure(after, "nr_active_file") == figure(before, "nr_active_file") + 5
    meminfo = texts.read("/proc/meminfo") or ""
    start = start_texts("6.1")["/proc/meminfo"]
    assert figure(meminfo, "Active(file):") == figure(start, "Active(file):") + 20


def test_pages_taken_show_in_every_text_that_counts_free_pages() -> None:
    rooms, texts = seeded("6.12")
    start = start_texts("6.12")
    for _ in range(2000):
        assert rooms.page_alloc.alloc_fast(GFP_HIGHUSER_MOVABLE, 0) >= 0
    free = figure(texts.read("/proc/vmstat") or "", "nr_free_pages")
    assert free < figure(start["/proc/vmstat"], "nr_free_pages") - 1000
    assert figure(texts.read("/proc/meminfo") or "", "MemFree:") == free * 4
    zoneinfo = texts.read("/proc/zoneinfo") or ""
    assert sum(int(n) for n in re.findall(r"pages free +(\d+)", zoneinfo)) == free
    rows = (texts.read("/proc/buddyinfo") or "").splitlines()
    blocks = [[int(n) for n in row.split()[4:]] for row in rows]
    assert sum(n << order for row in blocks for order, n in enumerate(row)) == free


def figure(text: str, name: str) -> int:
    return next(int(line.split()[1]) for line in text.splitlines() if line.split()[0] == name)


def test_meminfo_takes_swap_and_commitments_from_the_rooms() -> None:
    rooms, _ = seeded("6.1")
    rooms.pages = lambda: Pages(swap_total=1000, swap_free=900, committed=77, buffers=3)
    meminfo = TwinTexts(rooms).read("/proc/meminfo") or ""
    assert figure(meminfo, "SwapTotal:") == 4000
    assert figure(meminfo, "SwapFree:") == 3600
    assert figure(meminfo, "Committed_AS:") == 308
    assert figure(meminfo, "Buffers:") == 12


def test_a_group_s_files_read_as_the_kernel_writes_them() -> None:
    rooms, texts = seeded("6.12")
    group = rooms.memcg.create("g", 0)
    rooms.memcg.max[group] = 8192
    assert texts.read("/cg/g/memory.max") == "33554432\n"
    assert texts.read("/cg/g/memory.high") == "max\n"
    assert texts.read("/cg/nobody/memory.max") is None
    recorded_stat = recorded("6.12")["more"]["/cgroup-v2/memory.stat"]
    assert shape(texts.read("/cg/g/memory.stat") or "") == shape(recorded_stat)
    assert shape(texts.read("/cg/g/memory.events") or "") == shape(
        recorded("6.12")["more"]["/cgroup-v2/memory.events"]
    )


def test_a_v1_group_s_files_read_as_the_kernel_writes_them() -> None:
    rooms, _ = seeded("6.1")
    rooms.memcg = MemcgTable(
        rooms.page_alloc.mem_map, rooms.page_alloc.vmstat, rooms.page_alloc.tunables, 1
    )
    group = rooms.memcg.create("g", 0)
    rooms.memcg.max[group] = 8192
    texts = TwinTexts(rooms)
    more = recorded("6.1")["more"]
    for name in ("memory.stat", "memory.oom_control", "memory.limit_in_bytes"):
        assert shape(texts.read(f"/cg/g/{name}") or "") == shape(more[f"/cgroup-v1/{name}"]), name
    assert (
        texts.read("/cg/g/memory.kmem.limit_in_bytes")
        == more["/cgroup-v1/memory.kmem.limit_in_bytes"]
    )
    stat = texts.read("/cg/g/memory.stat") or ""
    assert figure(stat, "hierarchical_memory_limit") == 32 << 20


def test_a_large_server_answers_without_a_seed() -> None:
    config = load_machine("server-64g")
    page_alloc, _ = boot_memory(config, boot_tunables(config))
    memcg = MemcgTable(page_alloc.mem_map, page_alloc.vmstat, page_alloc.tunables)
    texts = TwinTexts(TwinRooms(config.layout, page_alloc, memcg))
    zoneinfo = texts.read("/proc/zoneinfo") or ""
    assert zoneinfo.count("per-node stats") == 2
    assert zoneinfo.count("    cpu: 31") == 4  # DMA, DMA32, and a Normal on each node
    assert figure(texts.read("/proc/meminfo") or "", "MemTotal:") > 60 << 20
    assert (texts.read("/proc/pagetypeinfo") or "").count("Page block order: 9") == 2


def test_zram_shows_what_the_twin_stored_beside_the_header_page() -> None:
    rooms, _ = seeded("6.1")
    stored = ZramMmStat(0, 0, 0, 0, 0, 0, 0, 0, 0)
    rooms.zrams = lambda: {"zram0": stored}
    path = "/sys/block/zram0/mm_stat"
    start = "    4096       52     4096        0     4096        0        0        0        0\n"
    texts = TwinTexts(rooms, {path: start})
    assert texts.read(path) == start
    stored.orig_data_bytes, stored.same_pages = 8192, 1
    assert texts.read(path) == (
        "   12288       52     4096        0     4096        1        0        0        0\n"
    )
