"""procps, smem and psutil, unmodified, inside a twin print the twin's own figures."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from tests.mount.twins import Twin, memtwin

from memtwin.mount.inside import try_namespace
from memtwin.observe.meminfo import MemInfo, parse_meminfo
from memtwin.observe.processes.files import (
    SmapsRollup,
    Status,
    parse_process_stat,
    parse_smaps_rollup,
    parse_statm,
    parse_status,
)
from memtwin.observe.slabinfo import SlabRow, parse_slabinfo
from memtwin.observe.system import parse_diskstats, parse_stat
from memtwin.observe.vmstat import parse_vmstat

NAMES = ("result", "case", "recording")
TOOLS = {
    "free": "free -w",
    "vmstat -s": "vmstat -s",
    "vmstat -m": "vmstat -m",
    "vmstat -d": "vmstat -d",
    "slabtop": "slabtop -o",
    "ps": "ps -e -o pid,rss,vsz,size,user:20,comm",
    "ps args": "ps -e -o pid,args",
    "smem": "smem -c 'pid pss uss rss swap' -H",
    "smem total": "smem -t -c 'pss uss rss swap'",
}
PSUTIL = """
import json, psutil
print(json.dumps({
    "memory": psutil.virtual_memory()._asdict(),
    "swap": psutil.swap_memory()._asdict(),
    "cpus": psutil.cpu_count(),
    "disks": {n: d._asdict() for n, d in psutil.disk_io_counters(perdisk=True).items()},
    "processes": {p.pid: p.memory_full_info()._asdict() for p in psutil.process_iter()},
    "maps": {p.pid: [list(m) for m in p.memory_maps(grouped=False)] for p in psutil.process_iter()},
    "self": psutil.Process().name(),
}))
"""
SEPARATOR = "=====memtwin====="
Shown = dict[str, str]


@pytest.fixture(scope="session")
def shown(twins: Mapping[str, Twin]) -> Mapping[str, Shown]:
    """What each tool printed inside each twin: one program started a twin runs them all."""
    missing = [
        tool
        for tool in ("free", "vmstat", "slabtop", "ps", "pmap", "smem")
        if not shutil.which(tool)
    ]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    reason = try_namespace()
    if reason:
        pytest.skip(reason)
    return {name: _run_all(twin) for name, twin in twins.items()}


def _run_all(twin: Twin) -> Shown:
    tools = dict(TOOLS)
    for pid in twin.pids():
        tools[f"pmap -x {pid}"] = f"pmap -x {pid}"
        tools[f"pmap -X {pid}"] = f"pmap -X {pid}"
    tools["psutil"] = f"{sys.executable} -c '{PSUTIL}'"
    script = "\n".join(f"{command} || exit 1; echo {SEPARATOR}" for command in tools.values())
    done = memtwin("inside", *twin.words, "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    parts = done.stdout.split(SEPARATOR + "\n")
    assert len(parts) == len(tools) + 1
    return dict(zip(tools, parts, strict=False))


@pytest.fixture(params=NAMES)
def both(
    request: pytest.FixtureRequest, twins: Mapping[str, Twin], shown: Mapping[str, Shown]
) -> tuple[Twin, Shown]:
    return twins[request.param], shown[request.param]


Both = tuple[Twin, Shown]


def meminfo(twin: Twin) -> MemInfo:
    return parse_meminfo(twin.text("/proc/meminfo"))


def known(figure: int | None) -> int:
    assert figure is not None
    return figure


def rollup(twin: Twin, pid: str) -> SmapsRollup:
    found = parse_smaps_rollup(twin.text(f"/proc/{pid}/smaps_rollup"))
    assert found is not None
    return found


def status(twin: Twin, pid: str) -> Status:
    return parse_status(twin.text(f"/proc/{pid}/status"))


def cache_kib(info: MemInfo) -> int:
    """meminfo.c kb_main_cached of procps: page cache and what slab can give back."""
    return known(info.cached_kib) + known(info.sreclaimable_kib)


def test_free_prints_meminfo(both: Both) -> None:
    twin, printed = both
    info = meminfo(twin)
    lines = {line.split()[0]: line.split()[1:] for line in printed["free"].splitlines()[1:]}
    total, used, free, shared, buffers, cache, available = map(int, lines["Mem:"])
    assert (total, free, shared) == (info.mem_total_kib, info.mem_free_kib, info.shmem_kib)
    assert (buffers, cache) == (info.buffers_kib, cache_kib(info))
    assert available == info.mem_available_kib
    # newer procps takes what is available for unused, older ones what is free or cache
    assert used in (total - available, total - free - buffers - cache)
    swap_used = known(info.swap_total_kib) - known(info.swap_free_kib)
    assert list(map(int, lines["Swap:"])) == [info.swap_total_kib, swap_used, info.swap_free_kib]


def test_vmstat_s_prints_meminfo_and_vmstat(both: Both) -> None:
    twin, printed = both
    info, vm = meminfo(twin), parse_vmstat(twin.text("/proc/vmstat")).figures
    stat = parse_stat(twin.text("/proc/stat"))
    rows = dict(reversed(line.strip().split(" ", 1)) for line in printed["vmstat -s"].splitlines())
    got = {name.removeprefix("K "): int(figure) for name, figure in rows.items()}
    assert got["total memory"] == info.mem_total_kib
    assert got["free memory"] == info.mem_free_kib
    assert got["active memory"] == info.active_kib
    assert got["inactive memory"] == info.inactive_kib
    assert got["buffer memory"] == info.buffers_kib
    assert got["swap cache"] == cache_kib(info)
    assert got["free swap"] == info.swap_free_kib
    assert got["paged in"] == vm["pgpgin"]
    assert got["paged out"] == vm["pgpgout"]
    assert got["pages swapped in"] == vm["pswpin"]
    assert got["pages swapped out"] == vm["pswpout"]
    assert got["forks"] == stat.figure("processes")
    assert got["non-nice user cpu ticks"] == stat.rows["cpu"][0]
    assert got["idle cpu ticks"] == stat.rows["cpu"][3]


def slab_rows(twin: Twin) -> dict[str, SlabRow]:
    return {row.name: row for row in parse_slabinfo(twin.text("/proc/slabinfo"))}


def test_vmstat_m_and_slabtop_print_slabinfo(both: Both) -> None:
    twin, printed = both
    rows = slab_rows(twin)
    found = 0
    for line in printed["vmstat -m"].splitlines():
        name, *figures = line.split()
        if name != "Cache":
            row = next(row for full, row in rows.items() if full[:24] == name)
            expected = [row.active_objs, row.num_objs, row.objsize_bytes, row.objs_per_slab]
            assert list(map(int, figures)) == expected, name
            found += 1
    assert found == len(rows)
    top = re.findall(
        r"^ *(\d+) +(\d+) +\d+% +\S+ +(\d+) +(\d+) +\d+K (\S+)", printed["slabtop"], re.M
    )
    assert len(top) > 10
    for objects, active, slabs, each, name in top:
        row = rows[name]
        expected = [row.num_objs, row.active_objs, row.num_slabs, row.objs_per_slab]
        assert list(map(int, (objects, active, slabs, each))) == expected, name
    head = re.search(r"Total Objects \(% used\) +: (\d+) / (\d+)", printed["slabtop"])
    assert head is not None
    assert int(head[1]) == sum(row.active_objs for row in rows.values())
    assert int(head[2]) == sum(row.num_objs for row in rows.values())


def test_vmstat_d_prints_diskstats(both: Both) -> None:
    twin, printed = both
    rows = {row.name: row for row in parse_diskstats(twin.text("/proc/diskstats"))}
    lines = [line.split() for line in printed["vmstat -d"].splitlines()]
    got = {words[0]: list(map(int, words[1:])) for words in lines if words[0] in rows}
    assert set(got) == {name for name in rows if name in twin.tree.names("/sys/block")}
    assert got
    for name, figures in got.items():
        row = rows[name]
        assert (figures[0], figures[2]) == (row.reads, row.sectors_read)
        assert (figures[4], figures[6]) == (row.writes, row.sectors_written)


def test_ps_prints_every_process_and_only_the_twin_s(both: Both) -> None:
    twin, printed = both
    lines = [line.split(None, 5) for line in printed["ps"].splitlines()[1:]]
    assert [line[0] for line in lines] == sorted(twin.pids(), key=int)
    for pid, rss, vsz, size, user, comm in lines:
        is_now, stat = status(twin, pid), parse_process_stat(twin.text(f"/proc/{pid}/stat"))
        assert int(rss) == is_now.vm_rss_kib
        assert int(vsz) == known(is_now.vm_size_kib) == stat.vsize_bytes >> 10
        assert int(size) == known(is_now.vm_data_kib) + known(is_now.vm_stk_kib)
        assert (user, comm) == ("root", is_now.name)
    for line in printed["ps args"].splitlines()[1:]:
        pid, args = line.split(None, 1)
        assert args == twin.text(f"/proc/{pid}/cmdline").rstrip("\0").replace("\0", " ")


def test_smem_prints_the_shares_of_smaps(both: Both) -> None:
    twin, printed = both
    totals = [0, 0, 0, 0]
    lines = printed["smem"].split("\n")
    rows = {words[0]: list(map(int, words[1:])) for line in lines if (words := line.split())}
    assert sorted(rows) == sorted(twin.pids())
    for pid, (pss, uss, rss, swap) in rows.items():
        record = rollup(twin, pid)
        areas = twin.text(f"/proc/{pid}/smaps").count("\nRss:")
        assert (rss, swap) == (record.rss_kib, record.swap_kib)
        assert uss == known(record.private_clean_kib) + known(record.private_dirty_kib)
        # smem adds the areas' shares, each rounded down; the rollup rounds their sum
        assert known(record.pss_kib) - areas <= pss <= known(record.pss_kib)
        totals = [so_far + one for so_far, one in zip(totals, (pss, uss, rss, swap), strict=True)]
    assert list(map(int, printed["smem total"].split("\n")[-2].split())) == totals


def smaps(twin: Twin, pid: str) -> list[dict[str, str]]:
    """Areas of a smaps text: "address" and "perm" of its first line, then each line by name."""
    found: list[dict[str, str]] = []
    for line in twin.text(f"/proc/{pid}/smaps").splitlines():
        head = re.match(r"([0-9a-f]+)-[0-9a-f]+ (\S+) ([0-9a-f]+) (\S+) (\d+)", line)
        if head:
            found.append({"address": head[1], "perm": head[2], "inode": head[5]})
        else:
            name, value = line.split(":", 1)
            found[-1][name] = value.removesuffix(" kB").strip()
    return found


def test_pmap_prints_the_areas_of_smaps(both: Both) -> None:
    twin, printed = both
    seen = 0
    for pid in twin.pids():
        areas = smaps(twin, pid)
        lines = printed[f"pmap -x {pid}"].splitlines()[2:]
        dirty = [int(a["Shared_Dirty"]) + int(a["Private_Dirty"]) for a in areas]
        for area, line, dirty_kib in zip(areas, lines, dirty, strict=False):
            address, size, rss, shown_dirty, mode = line.split()[:5]
            assert int(address, 16) == int(area["address"], 16)
            assert (size, rss, int(shown_dirty)) == (area["Size"], area["Rss"], dirty_kib)
            assert mode[:3] == area["perm"][:3]
            seen += 1
        total = lines[len(areas) + 1].split()
        assert total[:2] == ["total", "kB"]
        sums = [sum(int(a[name]) for a in areas) for name in ("Size", "Rss")]
        assert list(map(int, total[2:])) == [*sums, sum(dirty)]
        _compare_wide(printed[f"pmap -X {pid}"].splitlines()[1:], areas)
    assert seen > len(twin.pids())


def _compare_wide(lines: list[str], areas: list[dict[str, str]]) -> None:
    names = lines[0].split()
    for area, line in zip(areas, lines[1:], strict=False):
        row = dict(zip(names, line.split(), strict=False))
        assert int(row.pop("Address"), 16) == int(area["address"], 16)
        assert (row.pop("Perm"), row.pop("Inode")) == (area["perm"], area["inode"])
        figures = {name: row[name] for name in names if name in row and name in area}
        assert figures == {name: area[name] for name in figures}
        assert {"Size", "Rss", "Pss", "Swap", "Referenced", "Anonymous"} <= set(figures)


def test_psutil_reads_memory_swap_processes_and_disks(both: Both) -> None:
    twin, printed = both
    got: dict[str, Any] = json.loads(printed["psutil"])
    info, vm = meminfo(twin), parse_vmstat(twin.text("/proc/vmstat")).figures
    memory, swap = got["memory"], got["swap"]
    assert memory["total"] == info.mem_total_kib << 10
    assert memory["available"] == known(info.mem_available_kib) << 10
    assert memory["free"] == info.mem_free_kib << 10
    assert memory["cached"] == cache_kib(info) << 10
    assert memory["shared"] == known(info.shmem_kib) << 10
    assert memory["slab"] == known(info.slab_kib) << 10
    swap_used = known(info.swap_total_kib) - known(info.swap_free_kib)
    assert (swap["total"], swap["used"]) == (known(info.swap_total_kib) << 10, swap_used << 10)
    assert (swap["sin"], swap["sout"]) == (vm["pswpin"] << 12, vm["pswpout"] << 12)
    assert got["cpus"] == parse_stat(twin.text("/proc/stat")).nr_cpus
    for row in parse_diskstats(twin.text("/proc/diskstats")):
        assert got["disks"][row.name]["read_bytes"] == row.sectors_read * 512
        assert got["disks"][row.name]["write_count"] == row.writes
    assert sorted(got["processes"]) == sorted(twin.pids())
    for pid, full in got["processes"].items():
        record, statm = rollup(twin, pid), parse_statm(twin.text(f"/proc/{pid}/statm"))
        assert full["rss"] == statm.resident_pages << 12
        assert full["vms"] == statm.size_pages << 12
        assert full["shared"] == statm.shared_pages << 12
        assert full["pss"] == known(record.pss_kib) << 10
        assert full["uss"] == (
            known(record.private_clean_kib) + known(record.private_dirty_kib) << 10
        )
        assert full["swap"] == known(record.swap_kib) << 10
        assert len(got["maps"][pid]) == len(smaps(twin, pid))


def test_a_program_finds_itself_but_no_listing_shows_it(both: Both) -> None:
    _, printed = both
    assert json.loads(printed["psutil"])["self"].startswith("python")
