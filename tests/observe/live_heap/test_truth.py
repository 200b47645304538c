"""A scan against a program that knows the truth about each of its blocks, and against valgrind."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.observe.live_heap.conftest import Build, Running, Start

from memtwin.observe.live_heap import Method, heap_scan, scan_heap
from memtwin.observe.live_heap.marking import mark

KINDS = "dipr"  # by state
NAMES = {"d": "definite", "i": "indirect", "p": "possible", "r": "reachable"}
VALGRIND_LINE = re.compile(r"(definitely|indirectly|possibly) lost|(still reachable): ")


def truth_of(program: Running) -> dict[int, str]:
    told = (line.split() for line in program.said)
    return {int(vaddr, 16): kind for vaddr, kind in told}


def sorted_blocks(pid: int, method: Method) -> dict[int, str]:
    look = heap_scan.take_look(pid, method)
    assert look.blocks is not None
    assert look.blocks.troubles == []
    assert look.blocks.notes == []
    reach = mark(look.image, look.blocks, look.frozen.threads, 1)
    states = np.asarray(reach.state)
    return {int(start): KINDS[states[i]] for i, start in enumerate(look.blocks.starts)}


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("arenas", ["own arenas", "shared arenas"])
def test_every_block_is_what_the_program_says_it_is(
    method: Method, arenas: str, build: Build, start: Start
) -> None:
    words = [300, "shared"] if arenas == "shared arenas" else [300]
    program = start(build("truth"), *words)
    truth = truth_of(program)
    found = sorted_blocks(program.pid, method)
    wrong = {hex(v): (kind, found.get(v)) for v, kind in truth.items() if found.get(v) != kind}
    assert wrong == {}
    # what else there is belongs to the C library (threads' tables): never lost
    assert {found[v] for v in found if v not in truth} <= {"p", "r"}
    assert len(found) - len(truth) < 12
    assert Counter(truth.values())["d"] > 1000


@pytest.mark.parametrize("tunable", ["tcache_count=0", "arena_max=1", "mmap_threshold=4096"])
def test_every_block_is_right_under_other_settings_of_malloc(
    tunable: str, build: Build, start: Start
) -> None:
    program = start(build("truth"), 100, GLIBC_TUNABLES=f"glibc.malloc.{tunable}")
    truth = truth_of(program)
    look = heap_scan.take_look(program.pid, Method.FORK)
    assert look.blocks is not None
    assert look.blocks.troubles == []
    reach = mark(look.image, look.blocks, look.frozen.threads, 1)
    found = {int(s): KINDS[reach.state[i]] for i, s in enumerate(look.blocks.starts)}
    wrong = {hex(v): (kind, found.get(v)) for v, kind in truth.items() if found.get(v) != kind}
    assert wrong == {}


def test_a_scan_counts_what_its_blocks_are_and_groups_add_up(build: Build, start: Start) -> None:
    program = start(build("truth"), 100)
    truth = Counter(truth_of(program).values())
    scan = scan_heap(program.pid)
    assert scan.kinds["definite"].blocks == truth["d"]
    assert scan.kinds["indirect"].blocks == truth["i"]
    for kind, tally in scan.kinds.items():
        groups = [group for group in scan.groups if group.kind == kind]
        assert sum(group.blocks for group in groups) == tally.blocks
        assert sum(group.bytes for group in groups) == tally.bytes
    definite = [group for group in scan.groups if group.kind == "definite"]
    assert sum(group.indirect_bytes for group in definite) == scan.kinds["indirect"].bytes
    assert sum(group.indirect_blocks for group in definite) == truth["i"]
    heap = scan.heap
    assert heap.in_use_bytes == sum(tally.bytes for tally in scan.kinds.values())
    assert heap.cached_chunks > 0
    assert heap.fastbin_chunks > 0
    assert heap.arenas == 5
    assert scan.threads == 5


def test_a_reachable_block_tells_what_holds_it(build: Build, start: Start) -> None:
    scan = scan_heap(start(build("truth"), 50).pid)
    held = {group.held_by[-1].split("+")[0].split(" in ")[0] for group in scan.groups
            if group.kind == "reachable" and group.held_by}  # fmt: skip
    assert {"starts", "lists"} <= held
    assert any(" of thread " in step for group in scan.groups for step in group.held_by)
    assert all(group.held_by == [] for group in scan.groups if group.kind == "definite")


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind to compare with")
def test_the_counts_are_those_of_valgrind_on_the_same_program(
    build: Build, start: Start, tmp_path: Path
) -> None:
    program = build("truth")
    log = tmp_path / "valgrind.txt"
    subprocess.run(
        ["valgrind", f"--log-file={log}", "--leak-check=full", "--show-leak-kinds=all",
         "--leak-check-heuristics=none", str(program), "200", "signal"],
        stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    counted = {}
    for word, kind in (("definitely", "d"), ("indirectly", "i"), ("possibly", "p"),
                       ("still reachable", "r")):  # fmt: skip
        line = re.search(rf"{word}.*: [\d,]+ bytes in ([\d,]+) blocks", log.read_text())
        assert line is not None
        counted[kind] = int(line[1].replace(",", ""))
    scan = scan_heap(start(program, 200, "shared").pid)
    found = {kind: scan.kinds[name].blocks for kind, name in NAMES.items()}
    assert found == counted


def test_a_program_that_churns_without_leaking_is_never_said_to_leak(
    build: Build, start: Start
) -> None:
    program = start(build("churn"))
    for method in [Method.FORK] * 5 + [Method.COPY] * 2:
        scan = scan_heap(program.pid, method)
        assert scan.kinds["definite"].blocks == 0, scan.groups[0]
        assert scan.kinds["indirect"].blocks == 0
        assert scan.kinds["reachable"].blocks > 10_000
