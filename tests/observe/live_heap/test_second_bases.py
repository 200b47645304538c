"""A pointer to a second base of a C++ object holds it, as memcheck's heuristic has it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tests.observe.live_heap.conftest import Build, Start

from memtwin.observe.live_heap import HeapScan, heap_scan, scan_heap
from memtwin.observe.live_heap.second_bases import second_bases
from memtwin.observe.live_heap.target import Method

OBJECTS = 250
WORDS = {"definite": "definitely lost", "indirect": "indirectly lost", "possible": "possibly lost",
         "reachable": "still reachable"}  # fmt: skip

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")


def _blocks(scan: HeapScan) -> dict[str, int]:
    return {kind: tally.blocks for kind, tally in scan.kinds.items()}


@pytest.mark.parametrize("flags", [(), ("-no-pie", "-fno-pie"), ("-static-libstdc++",)])
def test_objects_held_by_any_base_are_reachable_and_by_a_member_possibly_lost(
    flags: tuple[str, ...], build: Build, start: Start
) -> None:
    program = start(build("bases", *flags, compiler="g++"), OBJECTS)
    found = _blocks(scan_heap(program.pid))
    assert found["definite"] == 2 * OBJECTS
    assert found["indirect"] == 0
    assert found["possible"] == OBJECTS
    assert found["reachable"] - 4 * OBJECTS in range(6)  # besides, what the library holds


def test_each_further_base_is_found_and_nothing_else(build: Build, start: Start) -> None:
    program = start(build("bases", compiler="g++"), OBJECTS)
    look = heap_scan.take_look(program.pid, Method.FORK)
    assert look.blocks is not None
    places = second_bases(program.pid, look.image, look.blocks)
    starts = look.blocks.starts
    inside = places - starts[starts.searchsorted(places, side="right") - 1]
    # Both: at 16; All: at 16 and at 32. Three of each sort
    assert Counter(inside.tolist()) == {16: 6 * OBJECTS, 32: 3 * OBJECTS}


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind to compare with")
def test_the_counts_are_those_of_valgrind_with_its_heuristics(
    build: Build, start: Start, tmp_path: Path
) -> None:
    built, log = build("bases", compiler="g++"), tmp_path / "valgrind.txt"
    command = ["valgrind", f"--log-file={log}", "--leak-check=full", "--show-leak-kinds=all"]
    subprocess.run([*command, str(built), str(OBJECTS), "signal"], check=False, capture_output=True)
    text = log.read_text()
    by_heuristic = re.search(r"multipleinheritance: [\d,]+ bytes in ([\d,]+) blocks", text)
    assert by_heuristic is not None
    assert int(by_heuristic[1].replace(",", "")) == 3 * OBJECTS
    scan = scan_heap(start(built, OBJECTS).pid)
    for kind, words in WORDS.items():
        counted = re.search(rf"{words}: [\d,]+ bytes in ([\d,]+) blocks", text)
        assert counted is not None
        assert int(counted[1].replace(",", "")) == scan.kinds[kind].blocks, kind
