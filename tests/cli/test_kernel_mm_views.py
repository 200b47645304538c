"""thp, ksm, zswap, hugepages and numa: of this host, recordings, a twin and a made-up tree."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.observe.recordings import every_tree, written

from memtwin.cli.main import outcome
from memtwin.machine.config import load_machine
from memtwin.machine.machine import Machine
from memtwin.observe.source import paths_below

TREES = every_tree()
VIEWS = ("thp", "ksm", "zswap", "hugepages", "numa")
MADE_UP = {
    "/proc/meminfo": "MemTotal: 1000000 kB\nAnonPages: 400000 kB\nAnonHugePages: 102400 kB\n"
    "Zswap: 20000 kB\nZswapped: 50000 kB\nHugetlb: 69632 kB\n",
    "/proc/vmstat": "thp_fault_alloc 30\nthp_fault_fallback 10\nthp_swpout 0\nzswpin 5\nzswpout 9\n"
    "cow_ksm 7\n",
    "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size": "2097152\n",
    "/sys/kernel/mm/ksm/run": "1\n",
    "/sys/kernel/mm/ksm/pages_shared": "100\n",
    "/sys/kernel/mm/ksm/pages_sharing": "250\n",
    "/sys/kernel/mm/ksm/pages_unshared": "500\n",
    "/sys/kernel/mm/ksm/pages_volatile": "3\n",
    "/sys/kernel/mm/ksm/general_profit": "-4096\n",
    "/sys/module/zswap/parameters/enabled": "Y\n",
    "/sys/module/zswap/parameters/compressor": "zstd\n",
    "/sys/kernel/debug/zswap/stored_pages": "12500\n",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "34\n",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": "4\n",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages": "2\n",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/surplus_hugepages": "1\n",
    "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages": "8\n",
    "/sys/devices/system/node/node0/meminfo": "Node 0 MemTotal: 600000 kB\n"
    "Node 0 MemFree: 100000 kB\n",
    "/sys/devices/system/node/node0/numastat": "numa_hit 1000\nnuma_miss 2\nnuma_foreign 3\n"
    "interleave_hit 4\nlocal_node 990\nother_node 12\n",
    "/sys/devices/system/node/node0/cpulist": "0-3\n",
    "/sys/devices/system/node/node0/distance": "10 21\n",
    "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages": "30\n",
    "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages": "4\n",
    "/sys/devices/system/node/node0/hugepages/hugepages-2048kB/surplus_hugepages": "0\n",
    "/sys/devices/system/node/node10/meminfo": "Node 10 MemTotal: 400000 kB\n",
    "/proc/7/numa_maps": "7f0000000000 default anon=3 dirty=3 N0=2 N10=1 kernelpagesize_kB=4\n"
    "7f0001000000 bind:0 file=/x huge dirty=2 N0=2 kernelpagesize_kB=2048\n"
    "7f0002000000 default heap anon=5 dirty=5 N10=5 kernelpagesize_kB=4\ngarbage\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return written(tmp_path, MADE_UP)


def shown(words: list[str], root: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    assert outcome([*words, "--json", "--root", str(root)]) == 0
    return json.loads(capsys.readouterr().out)


def facts(view: str, root: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found = {}
    for row in shown([view], root, capsys)["rows"]:
        values = (row[name] for name in ("text", "size_bytes", "count", "percent"))
        found[row["name"]] = next(value for value in values if value is not None)
    return found


def test_huge_pages_are_told_as_set_as_used_and_as_had(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = facts("thp", tree, capsys)
    assert found["enabled"] == "madvise"
    assert found["AnonHugePages"] == 102400 << 10
    assert found["share of AnonPages"] == 25.6
    assert found["faults that got one"] == 75.0
    assert outcome(["thp", "--root", str(tree)]) == 0
    out = capsys.readouterr().out
    assert "thp_swpout" not in out
    assert "1 counters stand at 0" in out
    assert "of always madvise never" in out


def test_merging_tells_what_it_saves_and_whether_it_pays(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = facts("ksm", tree, capsys)
    assert (found["pages_sharing"], found["pages_shared"]) == (250 * 4096, 100 * 4096)
    assert (found["sharing / shared"], found["unshared / sharing"]) == ("2.50", "2.00")
    assert (found["general_profit"], found["cow_ksm"], found["run"]) == (-4096, 7, "1")
    assert outcome(["ksm", "--root", str(tree)]) == 0
    assert " -4K " in capsys.readouterr().out


def test_zswap_tells_its_pool_and_its_ratio(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = facts("zswap", tree, capsys)
    assert (found["enabled"], found["compressor"], found["ratio"]) == ("Y", "zstd", "2.50")
    assert found["gained"] == 30000 << 10
    assert (found["stored_pages"], found["zswpin"], found["zswpout"]) == (12500, 5, 9)


def test_pools_are_shown_for_the_machine_and_for_each_node(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = shown(["hugepages"], tree, capsys)["rows"]
    assert [(row["node"], row["total_pages"], row["free_pages"]) for row in rows] == [
        (None, 34, 4), (0, 30, 4),
    ]  # fmt: skip
    assert outcome(["hugepages", "--root", str(tree)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[1].split() == ["all", "2M", "34", "30", "4", "2", "1", "8", "68M"]
    assert out[-1] == "68M of memory are hugetlb pages, used or not"


def test_nodes_and_the_pages_of_a_process_on_them(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = shown(["numa"], tree, capsys)["rows"]
    assert [row["node"] for row in rows] == [0, 10]
    assert (rows[0]["numa_hit_pages"], rows[0]["other_pages"]) == (1000, 12)
    assert (rows[0]["total_bytes"], rows[0]["distances"]) == (600000 << 10, [10, 21])
    assert rows[1]["numa_hit_pages"] is None
    document = shown(["numa", "7"], tree, capsys)
    assert document["totals"]["bytes_by_node"] == {"N0": 8192 + (4 << 20), "N10": 4096 * 6}
    assert {(row["policy"], row["kind"]) for row in document["rows"]} == {
        ("default", "anonymous"), ("bind:0", "huge"), ("default", "heap"),
    }  # fmt: skip
    assert document["absent"] == [{"what": "1 lines of /proc/7/numa_maps", "why": "malformed"}]
    assert outcome(["numa", "8", "--root", str(tree)]) == 2
    assert "/proc/8/numa_maps: No such file" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(TREES))
@pytest.mark.parametrize("view", VIEWS)
def test_recordings_of_every_kernel_are_shown_with_the_figures_of_their_texts(
    view: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = TREES[name]
    found = shown([view], written(tmp_path, texts), capsys)
    counters = dict(line.split() for line in texts["/proc/vmstat"].splitlines())
    rows = [row for row in found["rows"] if row.get("name") in counters]
    for row in rows:
        assert row["count"] == int(counters[row["name"]]), row["name"]
    assert found["rows"] or found["absent"]


@pytest.mark.parametrize("view", VIEWS)
def test_this_host_is_shown(view: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome([view]) == 0
    assert outcome([view, "--csv"]) == 0


def test_a_twin_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(load_machine("laptop-8g", ["ram=256M", "thp=always"]))
    process = machine.spawn("p")
    process.touch(process.mmap("16M"), 4096)
    texts = {
        path: text
        for path in paths_below(machine.tree, "/")
        if (text := machine.tree.read(path)) is not None
    }
    root = written(tmp_path, texts)
    found = facts("thp", root, capsys)
    assert found["enabled"] == "always"
    assert found["AnonHugePages"] == 16 << 20
    assert found["thp_fault_alloc"] == 8
    nodes = shown(["numa"], root, capsys)["rows"]
    assert len(nodes) == 1
    counters = dict(line.split() for line in texts["/proc/vmstat"].splitlines())
    assert nodes[0]["numa_hit_pages"] == int(counters["numa_hit"]) > 0
    assert nodes[0]["distances"] == [10]
