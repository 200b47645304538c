"""Processes of real kernels, 5.10 to 7.3, 32 and 64 bits: each file agrees with the others."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from memtwin.observe.map_files import MapText, parse_maps, parse_numa_maps
from memtwin.observe.processes.record import Origin, Process
from memtwin.observe.processes.scan import Part, ProcessScan, look
from memtwin.observe.processes.text import figures_of_smaps
from memtwin.observe.source import TextSource
from memtwin.observe.texts import shape_of

DATA = Path(__file__).parents[2] / "data" / "processes"
NAMES = ("5.10", "6.1-686", "6.12", "7.3")
ALL_PARTS = Part.USER | Part.COMMAND | Part.CGROUP | Part.OOM | Part.STAT
PAGE_KIB = 4
NOT_SUMMED = {"Size", "KernelPageSize", "MMUPageSize"}  # smaps alone has them


@cache
def texts_of(name: str) -> dict[str, str]:
    texts: dict[str, str] = json.loads((DATA / f"{name}.json").read_text())["texts"]
    return texts


@cache
def workers_of(name: str) -> list[int]:
    """PIDs with an address space: P, Q, and R, which Q forked."""
    case: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
    first = sorted(int(pid) for pid in case["workers"])
    return [*first, first[-1] + 1]


def smaps_of(name: str, pid: int) -> MapText:
    return parse_maps(texts_of(name)[f"/proc/{pid}/smaps"])


each_kernel = pytest.mark.parametrize("name", NAMES)


@each_kernel
def test_each_text_with_a_record_is_written_back_byte_for_byte(name: str) -> None:
    written = 0
    for path, text in texts_of(name).items():
        shape = shape_of(path)
        if shape is not None:
            assert shape.render(shape.parse(text)) == text, path
            written += 1
    assert written >= 3 * 6


@each_kernel
def test_the_lines_of_smaps_add_up_to_smaps_rollup_key_by_key(name: str) -> None:
    for pid in workers_of(name):
        areas, rollup = smaps_of(name, pid), parse_maps(texts_of(name)[f"/proc/{pid}/smaps_rollup"])
        assert areas.malformed == rollup.malformed == 0
        (total,) = rollup.areas
        assert {"Rss", "Pss", "Private_Dirty", "Swap", "SwapPss", "Locked"} <= set(total.kib)
        for key, kib in total.kib.items():
            # each line of smaps is rounded down to a KiB, where shares of a page are counted
            lost_kib = len(areas.areas) if key.startswith(("Pss", "SwapPss")) else 0
            found = [area.kib[key] for area in areas.areas if key in area.kib]
            if key.startswith("Pss_") and not found:
                continue  # the rollup alone tells what kind of page the shares are of
            assert 0 <= kib - sum(found) <= lost_kib, (pid, key)
        assert set().union(*(area.kib for area in areas.areas)) - set(total.kib) <= NOT_SUMMED


@each_kernel
def test_maps_smaps_status_and_statm_tell_one_size_and_one_residence(name: str) -> None:
    texts = texts_of(name)
    for pid in workers_of(name):
        maps, smaps = parse_maps(texts[f"/proc/{pid}/maps"]), smaps_of(name, pid)
        assert [area.start_vaddr for area in maps.areas] == [a.start_vaddr for a in smaps.areas]
        status = dict(line.split(":", 1) for line in texts[f"/proc/{pid}/status"].splitlines())
        pages = [int(word) for word in texts[f"/proc/{pid}/statm"].split()]
        assert int(status["VmSize"].split()[0]) == PAGE_KIB * pages[0]
        gates = [area for area in smaps.areas if area.path == "[vsyscall]"]  # of no process
        assert sum(a.size_kib for a in smaps.areas if a not in gates) == PAGE_KIB * pages[0]
        assert int(status["VmRSS"].split()[0]) == PAGE_KIB * pages[1]
        swapped = sum(area.kib["Swap"] for area in smaps.areas)
        assert swapped == int(status["VmSwap"].split()[0])


@each_kernel
def test_the_reader_of_bytes_finds_what_the_records_hold(name: str) -> None:
    for pid in workers_of(name):
        total = parse_maps(texts_of(name)[f"/proc/{pid}/smaps_rollup"]).areas[0]
        for file in ("smaps_rollup", "smaps"):
            figures = figures_of_smaps(texts_of(name)[f"/proc/{pid}/{file}"].encode())
            assert figures is not None
            uss = total.sum_kib("Private_Clean", "Private_Dirty")
            assert uss is not None
            assert (figures.rss_bytes, figures.uss_bytes) == (total.kib["Rss"] << 10, uss << 10)
            assert figures.swap_bytes == total.kib["Swap"] << 10
            areas = len(smaps_of(name, pid).areas) if file == "smaps" else 0
            assert 0 <= total.kib["Pss"] - (figures.pss_bytes >> 10) <= areas


@each_kernel
def test_a_look_tells_every_figure_of_each_process_and_misses_nothing(name: str) -> None:
    scan = ProcessScan(TextSource(texts_of(name)), ALL_PARTS)
    found = {process.pid: process for process in look(scan)}
    assert not scan.counts
    for pid in workers_of(name):
        process = found.pop(pid)
        total = parse_maps(texts_of(name)[f"/proc/{pid}/smaps_rollup"]).areas[0]
        assert process.origin is Origin.FRESH
        assert process.pss_bytes == total.kib["Pss"] << 10
        assert process.swap_pss_bytes == total.kib["SwapPss"] << 10
        assert process.oom_score_adj == int(texts_of(name)[f"/proc/{pid}/oom_score_adj"])
        assert process.uid == 0
    assert all(process.origin is Origin.NO_MEMORY for process in found.values()), found


@each_kernel
def test_the_group_swapped_and_the_child_shares_with_its_parent(name: str) -> None:
    scan = ProcessScan(TextSource(texts_of(name)), ALL_PARTS)
    found = {process.pid: process for process in look(scan)}
    group, parent, child = (found[pid] for pid in workers_of(name))
    assert group.cgroup == "/box"
    assert parent.cgroup == "/"
    assert (group.swap_bytes or 0) > 4 << 20
    assert child.ppid == parent.ppid == 1  # the recorder is init, and starts them all
    assert _shared_bytes(child) > 1 << 20
    assert parent.oom_score_adj == 300


def _shared_bytes(process: Process) -> int:
    assert process.rss_bytes is not None
    assert process.uss_bytes is not None
    return process.rss_bytes - process.uss_bytes


@pytest.mark.parametrize("name", [name for name in NAMES if name != "6.1-686"])
def test_numa_maps_counts_the_pages_of_the_node(name: str) -> None:
    for pid in workers_of(name):
        areas, malformed = parse_numa_maps(texts_of(name)[f"/proc/{pid}/numa_maps"])
        assert malformed == 0
        huge_kib = sum(area.kib["AnonHugePages"] for area in smaps_of(name, pid).areas)
        pages = sum(area.pages.get("N0", 0) for area in areas)
        assert pages > 0
        # the kernel's zero page and pages of a device belong to no node's count
        assert PAGE_KIB * pages <= sum(area.kib["Rss"] for area in smaps_of(name, pid).areas)
        assert PAGE_KIB * pages >= huge_kib
