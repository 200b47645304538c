"""The twin's tree adds up: areas, rollups, statm, nodes and groups tell of the same pages."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

import pytest
from tests.mount.twins import Twin, shop_machine

from memtwin.machine.config import load_machine
from memtwin.machine.machine import Machine
from memtwin.observe.meminfo import parse_meminfo
from memtwin.observe.processes.files import parse_smaps_rollup, parse_statm, parse_status
from memtwin.observe.scan import parse_flat

NAMES = ("result", "case", "recording")
HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) ([rwxsp-]{4}) ([0-9a-f]{8,}) (\S+) (\d+)( +\S.*| )")
IN_KIB = re.compile(r"(\w+): +(\d+) kB")


@pytest.fixture(params=NAMES)
def twin(request: pytest.FixtureRequest, twins: Mapping[str, Twin]) -> Twin:
    return twins[request.param]


def sums_of(smaps: str) -> dict[str, int]:
    """name -> KiB over all areas of a smaps text."""
    found: dict[str, int] = {}
    for name, kib in IN_KIB.findall(smaps):
        found[name] = found.get(name, 0) + int(kib)
    return found


def test_the_areas_of_smaps_add_up_to_the_rollup_and_to_statm(twin: Twin) -> None:
    for pid in twin.pids():
        smaps = twin.text(f"/proc/{pid}/smaps")
        sums = sums_of(smaps)
        rollup = dict(IN_KIB.findall(twin.text(f"/proc/{pid}/smaps_rollup")))
        nr_areas = smaps.count("VmFlags:")
        for name, kib in rollup.items():
            if name in ("Pss_Anon", "Pss_File", "Pss_Shmem"):
                continue  # the rollup alone has them
            rounded = nr_areas if name in ("Pss", "Pss_Dirty", "SwapPss", "Locked") else 0
            assert int(kib) - rounded <= sums[name] <= int(kib), (pid, name)
        statm = parse_statm(twin.text(f"/proc/{pid}/statm"))
        assert sums["Size"] == statm.size_pages * 4
        parts = ("Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty")
        assert sums["Rss"] == sum(sums[part] for part in parts)


def test_resident_pages_are_what_smaps_walks(twin: Twin) -> None:
    for pid in twin.pids():
        status = parse_status(twin.text(f"/proc/{pid}/status"))
        sums = sums_of(twin.text(f"/proc/{pid}/smaps"))
        assert status.vm_rss_kib == sums["Rss"], pid
        assert status.vm_swap_kib is not None
        assert sums["Swap"] >= status.vm_swap_kib


def test_shares_of_all_processes_are_pages_counted_once(twin: Twin) -> None:
    anon = sum(
        int(re.findall(r"Pss_Anon: +(\d+)", twin.text(f"/proc/{pid}/smaps_rollup"))[0])
        for pid in twin.pids()
    )
    total = parse_meminfo(twin.text("/proc/meminfo")).anon_pages_kib
    assert total is not None
    assert 0 < anon <= total + len(twin.pids())


def test_maps_has_the_first_lines_of_smaps(twin: Twin) -> None:
    for pid in twin.pids():
        maps, smaps = twin.text(f"/proc/{pid}/maps"), twin.text(f"/proc/{pid}/smaps")
        lines = maps.splitlines()
        assert [line for line in smaps.splitlines() if HEAD.fullmatch(line)] == lines
        assert lines, pid
        borders = [tuple(int(word, 16) for word in line.split()[0].split("-")) for line in lines]
        assert all(start < end for start, end in borders)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(borders))


def test_a_recording_shows_its_files_heap_and_stack(twins: Mapping[str, Twin]) -> None:
    maps = twins["recording"].text("/proc/1/maps")
    for name in ("/usr/bin/python3.11", "libc.so.6", "[heap]", "[stack]"):
        assert name in maps
    assert twins["recording"].text("/proc/1/cmdline") == "python3\0-S\0examples/orders.py\0"


def test_a_recorded_machine_shows_its_image_as_the_kernel_did(twins: Mapping[str, Twin]) -> None:
    twin = twins["case"]
    pid = twin.pids()[-1]
    text = twin.text(f"/proc/{pid}/maps")
    assert re.search(r"^00401000-0047f000 r-xp 00001000 00:02 10157 +/init$", text, re.M)
    assert re.search(r"^004e2000-00504000 rw-p 00000000 00:00 0 +\[heap\]$", text, re.M)
    for name in ("[vvar]", "[vdso]", "[stack]"):
        assert text.count(name) == 1


def test_flags_tell_how_an_area_was_mapped(twins: Mapping[str, Twin]) -> None:
    flags = re.findall(
        r"(\S+)\nSize:.*?VmFlags: (.*?) \n", twins["result"].text("/proc/4/smaps"), re.S
    )
    assert flags == [("/log", "rd mr mw me sd")]
    shared = twins["result"].text("/proc/1/smaps")
    assert "VmFlags: rd wr sh mr mw me ms sd \n" in shared
    assert "VmFlags: rd wr mr mw me ac sd \n" in shared


def test_nodes_add_up_to_the_machine(twin: Twin) -> None:
    info = parse_meminfo(twin.text("/proc/meminfo"))
    total = free = 0
    for name in twin.tree.names("/sys/devices/system/node"):
        if name.startswith("node"):
            text = twin.text(f"/sys/devices/system/node/{name}/meminfo")
            total += int(re.findall(r"MemTotal: +(\d+) kB", text)[0])
            free += int(re.findall(r"MemFree: +(\d+) kB", text)[0])
    assert (total, free) == (info.mem_total_kib, info.mem_free_kib)


def test_a_group_lists_its_processes_and_charges(twins: Mapping[str, Twin]) -> None:
    twin = twins["result"]
    assert twin.text("/sys/fs/cgroup/web/cgroup.procs") == "2\n"
    assert twin.text("/proc/2/cgroup") == "0::/web\n"
    assert twin.text("/sys/fs/cgroup/web/memory.max") == f"{24 << 20}\n"
    stat = parse_flat(twin.text("/sys/fs/cgroup/web/memory.stat"), "memory.stat")
    rollup = parse_smaps_rollup(twin.text("/proc/2/smaps_rollup"))
    assert rollup is not None
    assert rollup.anonymous_kib is not None
    assert stat["anon"] == rollup.anonymous_kib << 10
    everywhere = [twin.text(f"/sys/fs/cgroup/{group}cgroup.procs") for group in ("", "web/")]
    assert sorted("".join(everywhere).split()) == sorted(twin.pids())


def test_version_1_groups_lie_below_their_controller() -> None:
    machine = Machine(load_machine("board-128m"))
    machine.cgroups.mount(1)
    machine.cgroups.create("g")
    machine.spawn("P", "g")
    tree = machine.tree
    assert tree.names("/sys/fs/cgroup") == ["memory"]
    assert tree.read("/sys/fs/cgroup/memory/g/cgroup.procs") == "1\n"
    assert tree.read("/proc/1/cgroup") == "1:memory:/g\n"
    assert "cgroup /sys/fs/cgroup/memory cgroup rw" in (tree.read("/proc/mounts") or "")
    files = tree.names("/sys/fs/cgroup/memory/g")
    assert {"memory.usage_in_bytes", "memory.memsw.limit_in_bytes"} <= set(files)
    assert "memory.current" not in files


def test_every_name_listed_can_be_read_and_nothing_else(twins: Mapping[str, Twin]) -> None:
    tree = shop_machine().tree
    seen = 0
    directories = ["/"]
    while directories:
        directory = directories.pop()
        for name in tree.names(directory):
            path = f"{directory.rstrip('/')}/{name}"
            if tree.names(path):
                directories.append(path)
            else:
                assert tree.read(path) is not None, path
                seen += 1
    assert seen > 150
    for path in ("/proc/99/stat", "/proc/1/wchan", "/sys/fs/cgroup/no/memory.max", "/proc/none"):
        assert tree.read(path) is None, path
        assert tree.names(path) == []


def test_looking_changes_nothing() -> None:
    machine = shop_machine()
    before = machine.digest()
    for name in ("/proc/stat", "/proc/1/smaps", "/sys/devices/system/node/node0/meminfo"):
        machine.tree.read(name)
    assert machine.digest() == before


def test_time_and_tasks_of_stat_follow_the_machine() -> None:
    machine = shop_machine()
    before = machine.tree.read("/proc/stat") or ""
    machine.sleep(2_000_000_000)
    machine.spawn("another")
    after = machine.tree.read("/proc/stat") or ""

    def row(text: str, name: str) -> list[int]:
        return list(map(int, re.findall(rf"^{name} (.*)$", text, re.M)[0].split()))

    assert row(after, "processes")[0] == row(before, "processes")[0] + 1
    passed = sum(row(after, "cpu ")) - sum(row(before, "cpu "))
    assert passed == pytest.approx(2 * 100 * 2, abs=2)  # two seconds of two CPUs, in ticks
