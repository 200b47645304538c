"""What single figures of the recorded texts mean."""

from __future__ import annotations

from tests.observe.starts import recorded, start_texts

from memtwin.observe.cgroup import parse_cgroup
from memtwin.observe.fragments import parse_pagetypeinfo
from memtwin.observe.iomem import is_hidden, parse_iomem, system_ram
from memtwin.observe.processes.files import (
    parse_cgroup_membership,
    parse_process_stat,
    parse_smaps_rollup,
    parse_status,
)
from memtwin.observe.slabinfo import parse_slabinfo
from memtwin.observe.swaps import parse_swaps
from memtwin.observe.system import parse_stat
from memtwin.observe.zoneinfo import parse_zoneinfo


def test_zones_know_their_watermarks_and_reserves() -> None:
    info = parse_zoneinfo(start_texts("6.1-686")["/proc/zoneinfo"])
    normal = info.zone("Normal")
    assert (normal.pages["min"], normal.pages["low"], normal.pages["high"]) == (909, 1136, 1363)
    assert normal.protection_pages == (0, 0, 5246, 5246)
    assert info.zone("HighMem").start_pfn == 225278
    assert not info.zone("Movable").populated
    assert info.zone("DMA").node_stats is not None
    assert normal.node_stats is None


def test_newer_pagesets_have_limits_and_older_have_not() -> None:
    new = parse_zoneinfo(start_texts("7.3")["/proc/zoneinfo"]).zone("DMA32").pagesets[0]
    old = parse_zoneinfo(start_texts("6.12")["/proc/zoneinfo"]).zone("DMA32").pagesets[0]
    assert (new.high_min_pages, new.high_max_pages) == (516, 5807)
    assert old.high_min_pages is None


def test_free_blocks_of_the_types_add_up_to_buddyinfo() -> None:
    info = parse_pagetypeinfo(start_texts("7.3")["/proc/pagetypeinfo"])
    orders = zip(*(row.blocks for row in info.free if row.zone == "DMA32"), strict=True)
    assert [sum(order) for order in orders] == [7, 3, 5, 6, 5, 4, 9, 7, 4, 3, 35]
    assert info.migratetypes[4] == "CMA"


def test_system_ram_is_found_and_hidden_addresses_are_noticed() -> None:
    resources = parse_iomem(recorded("6.12")["setup"]["/proc/iomem"])
    assert system_ram(resources) == [(0x1000, 0x9FC00), (0x100000, 0xFFDA000)]
    assert not is_hidden(resources)
    assert is_hidden(parse_iomem("00000000-00000000 : System RAM\n"))


def test_a_swap_file_with_blanks_in_its_name_is_one_row() -> None:
    text = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/a\\040b   file\t\t1024\t\t0\t\t-2\n"
    (row,) = parse_swaps(text)
    assert (row.filename, row.kind, row.size_kib, row.priority) == ("/a\\040b", "file", 1024, -2)


def test_a_command_with_parentheses_does_not_shift_the_fields() -> None:
    text = "7 (a) b)) S 1 " + " ".join(str(n) for n in range(48)) + "\n"
    stat = parse_process_stat(text)
    assert (stat.comm, stat.state, stat.fields[0], stat.min_flt, stat.maj_flt) == (
        "a) b)",
        "S",
        1,
        5,
        7,
    )


def test_a_zombie_has_no_memory_lines() -> None:
    status = parse_status("Name:\tsh\nState:\tZ (zombie)\nPid:\t9\nPPid:\t1\nThreads:\t1\n")
    assert (status.pid, status.vm_rss_kib) == (9, None)
    assert parse_smaps_rollup("") is None


def test_slab_rows_have_their_columns_in_place() -> None:
    rows = {row.name: row for row in parse_slabinfo(start_texts("6.1")["/proc/slabinfo"])}
    dentry = rows["dentry"]
    assert (dentry.objsize_bytes, dentry.objs_per_slab, dentry.pages_per_slab) == (192, 21, 1)
    assert dentry.num_objs == dentry.num_slabs * dentry.objs_per_slab


def test_both_versions_of_a_cgroup_read_into_one_record() -> None:
    more = recorded("6.1")["more"]
    v1 = parse_cgroup({p.rpartition("/")[2]: t for p, t in more.items() if "cgroup-v1" in p})
    v2 = parse_cgroup({p.rpartition("/")[2]: t for p, t in more.items() if "cgroup-v2" in p})
    assert (v1.version, v1.max_bytes, v1.memsw_max_bytes) == (1, 32 << 20, 64 << 20)
    assert (v1.high_bytes, v1.events["oom_kill"]) == (None, 1)  # no soft limit
    assert (v2.version, v2.max_bytes, v2.high_bytes, v2.swap_max_bytes) == (
        2,
        32 << 20,
        30 << 20,
        0,
    )
    assert (v2.events["oom_kill"], v2.stat["pgscan"]) == (1, 26397)
    assert parse_cgroup_membership("4:memory:/a\n0::/b\n") == {"memory": "/a", "": "/b"}


def test_cpus_are_counted() -> None:
    assert parse_stat("cpu  1 2\ncpu0 1 1\ncpu1 0 1\nctxt 5\n").nr_cpus == 2
