"""The valgrind recorder: its reducer against a naive one, its calls and pages against truth."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_programs import MEMORY, events, said, touched

from memtwin.record import ExitKind, Method, RecordSummary, Trace, TraceOp
from memtwin.record.lackey_calls import LackeyCalls
from memtwin.record.lackey_text import LackeyText

Record = Callable[..., tuple[RecordSummary, Trace]]
Compile = Callable[[str], Path]


def naive(lines: list[str], window: int) -> list[tuple[int, int, int]]:
    """(page, kind, instructions) that fixed windows of references let through."""
    refs = insns = 0
    seen: set[tuple[int, int]] = set()
    out = []
    for line in lines:
        if not line.startswith(("I  ", " L ", " S ", " M ")):
            continue
        insns += line[0] == "I"
        address, size = int(line[3:].split(",")[0], 16), int(line.split(",")[1])
        kinds = {"I": [0], "L": [1], "S": [2], "M": [1, 2]}[line.strip()[0]]
        pages = [address >> 12]
        if (address + size - 1) >> 12 != pages[0]:
            pages.append(pages[0] + 1)
        touches = [(page, kinds[0]) for page in pages] + [(pages[0], k) for k in kinds[1:]]
        for touch in touches:
            if refs % window == 0:
                seen.clear()
            refs += 1
            if touch not in seen:
                seen.add(touch)
                out.append((*touch, insns))
    return out


@pytest.mark.parametrize("seed", range(8))
def test_the_reducer_agrees_with_a_naive_one_however_the_text_is_cut(seed: int) -> None:
    chance = random.Random(seed)
    window = chance.choice([1, 2, 7, 50, 10_000])
    lines = []
    for _ in range(2000):
        kind = chance.choice(["I ", " L", " S", " M"])
        page = chance.choice([0x401000, 0x1FFF000000, 0x7F0012345000]) + 4096 * chance.randrange(6)
        address = page + chance.choice([0, 8, 4090, chance.randrange(4096)])
        lines.append(f"{kind} {address:08x},{chance.choice([1, 2, 4, 8, 16, 32])}")
        if chance.random() < 0.01:
            lines.append("==123== a line of valgrind's own, with I and L in it")
    reducer, got = LackeyText(window), []
    start = 0
    while start < len(lines):
        stop = start + chance.randrange(1, 400)
        touches = reducer.reduce("".join(f"{x}\n" for x in lines[start:stop]).encode())
        rows = zip(touches.vpn, touches.kind, touches.insns, strict=True)
        got += [tuple(int(x) for x in row) for row in rows]
        start = stop
    assert got == naive(lines, window)


def test_calls_keep_file_positions_through_dup_seek_and_append(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(500))
    got: list[tuple[str, tuple[int, ...]]] = []
    calls = LackeyCalls(str(tmp_path), lambda op, a: got.append((op.name, a)), lambda path: 7)
    head = "SYSCALL[5,1]"
    for line in (
        f"{head}(257) sys_openat ( 4294967196, 0x10(f), 0 ) --> [async] ... ",
        f"{head}(257) ... [async] --> Success(0x3) ",
        f"{head}(0) sys_read ( 3, 0x1000, 100 ) --> [async] ... ",
        f"{head}(0) ... [async] --> Success(0x64) ",
        f"{head}(32) sys_dup ( 3 )[sync] --> Success(0x4) ",
        f"{head}(8) sys_lseek ( 4, 300, 0 )[sync] --> Success(0x12c) ",
        f"{head}(0) sys_read ( 3, 0x2000, 100 ) --> [async] ... ",
        f"{head}(0) ... [async] --> Success(0xa) ",
        f"{head}(0) sys_read ( 3, 0x2000, 100 ) --> [async] ... ",
        f"{head}(0) ... [async] --> Failure(0x5) ",
        f"{head}(257) sys_openat ( 4294967196, 0x10(f), 1025 ) --> [async] ... ",
        f"{head}(257) ... [async] --> Success(0x5) ",
        f"{head}(1) sys_write ( 5, 0x3000, 20 ) --> [async] ... ",
        f"{head}(1) ... [async] --> Success(0x14) ",
    ):
        calls.line(line)
    assert [x for x in got if x[0] in ("READ", "WRITE")] == [
        ("READ", (7, 0, 100, 0x1000)),
        ("READ", (7, 300, 10, 0x2000)),
        ("WRITE", (7, 500, 20, 0x3000)),
    ]
    assert calls.line(f"{head}(11) sys_munmap ( 0x4000, 8192 )[sync] --> Success(0x0) ")
    assert got[-1] == ("UNMAP", (0x4000, 8192))
    assert calls.line(f"{head}(58) sys_fork ( )   fork: process 5 created child 6")
    assert calls.children == 1


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind (apt install valgrind)")
def test_pages_mappings_and_reads_of_a_known_program_are_in_the_trace(
    record_here: Record, compile_c: Compile, tmp_path: Path, capfd: Any
) -> None:
    (tmp_path / "in").write_bytes(bytes(40_000))
    summary, trace = record_here(compile_c(MEMORY), tmp_path / "in", method=Method.LACKEY)
    at = said(capfd.readouterr().out)
    assert summary.exit_status == 0
    assert trace.metadata.recorder.method == "lackey"
    assert touched(trace, TraceOp.STORE, at["anon"], 64) == set(range(0, 64, 2)) | {39}
    assert touched(trace, TraceOp.LOAD, at["anon"], 64) == set(range(1, 32, 2))
    source = [file.path for file in trace.metadata.files].index(str(tmp_path / "in"))
    reads = [(e["b"], e["c"]) for e in events(trace, TraceOp.READ) if e["a"] == source]
    assert reads == [(0, 5000), (5000, 5000), (1000, 10), (20000, 100), (1010, 16)]
    mapped = {e["a"]: (e["b"], e["e"], e["d"] >> 32) for e in events(trace, TraceOp.MAP)}
    assert mapped[at["file"]] == (4 << 12, source, 2)
    assert mapped[at["anon"]] == (64 << 12, -1, 0)
    exits = events(trace, TraceOp.EXIT)
    assert [(e["a"], e["b"]) for e in exits] == [(0, ExitKind.PROCESS)]
    columns = trace.read()
    stores = np.flatnonzero((columns["op"] == TraceOp.STORE) & (columns["a"] == at["anon"] >> 12))
    dropped = np.flatnonzero(columns["op"] == TraceOp.MADVISE)
    assert stores[0] < dropped[0] < stores[-1]


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind (apt install valgrind)")
def test_children_that_lackey_does_not_follow_are_counted(record_here: Record) -> None:
    summary, _ = record_here("/bin/sh", "-c", "/bin/true; exit 3", method=Method.LACKEY)
    assert summary.exit_status == 3
    assert summary.metadata.counts.children_missing == 1
    assert "could not be followed" in summary.missing()[0]
