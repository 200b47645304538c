"""A recorded program's own C library did what the twin does with the same events."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from memtwin.errors import UserError
from memtwin.heap.build import HeapTerms
from memtwin.heap.census import take_census, verify
from memtwin.record.heap_import import read_any
from memtwin.record.heap_recorder import Wanted, library_path, record_heap
from memtwin.record.heap_trace import FREE, MALLOC, REALLOC, HeapTrace, read_heap_trace
from memtwin.workload.heap_replay import events_of, replay

PROGRAM = r"""
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
static void *work(void *p) {
    void *q = p;
    for (int i = 1; i < 100; i++) q = realloc(q, i * 50);
    free(q);
    return strdup("a string");
}
int main(int argc, char **argv) {
    static void *block[2000];
    pthread_t thread;
    void *text;
    for (int i = 0; i < 2000; i++) block[i] = malloc(100 + i * 7 % 3000);
    for (int i = 0; i < 2000; i += 2) free(block[i]);
    for (int i = 0; i < 500; i++) block[i * 2] = calloc(1, 50 + i);
    if (posix_memalign(&text, 256, 1000)) return 1;
    free(text);
    pthread_create(&thread, NULL, work, malloc(77));
    pthread_join(thread, &text);
    free(text);
    if (fork() == 0) { free(malloc(12345)); _exit(0); }
    wait(NULL);
    if (argc > 1) for (;;) free(malloc(500));
    return 7;
}
"""
pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or shutil.which("gcc") is None, reason="no glibc or gcc"
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("program")
    (directory / "p.c").write_text(PROGRAM)
    built = directory / "p"
    command = ["gcc", "-O1", "-fno-builtin", "-pthread", "-o", str(built), str(directory / "p.c")]
    subprocess.run(command, check=True)
    return built


@pytest.fixture(scope="module")
def recorded(program: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HeapTrace]:
    out = tmp_path_factory.mktemp("recorded") / "p.heap"
    return out, record_heap([str(program)], out)


def test_what_was_written_is_read_back_and_nothing_is_left_beside_it(
    recorded: tuple[Path, HeapTrace],
) -> None:
    out, trace = recorded
    again = read_heap_trace(out)
    assert trace.info.exit_status == 7
    assert again.info == trace.info
    assert all((again.table[name] == trace.table[name]).all() for name in trace.table)
    assert [p.name for p in out.parent.iterdir()] == [out.name]


def test_threads_children_and_every_kind_of_call_are_recorded(
    recorded: tuple[Path, HeapTrace],
) -> None:
    table = recorded[1].table
    assert len(np.unique(table["tid"])) == 3
    assert len(np.unique(table["pid"])) == 2
    assert set(np.unique(table["op"])) == {1, 2, 3, 4, 5}
    assert 12345 in table["size"]
    assert 9 in table["size"][table["op"] == MALLOC]  # strdup's
    assert (np.diff(table["time_ns"]) >= 0).all()


def test_the_twin_gives_the_addresses_that_the_program_got(
    recorded: tuple[Path, HeapTrace],
) -> None:
    trace = recorded[1]
    table = trace.table
    first = events_of(trace, trace.images()[0][0])
    if trace.info.glibc != "2.36":
        pytest.skip(f"glibc {trace.info.glibc} was not held against the twin event by event")
    done = replay(first, HeapTerms(trace.info.glibc, trace.info.cores))
    tids = table["tid"][first.source]
    still = np.flatnonzero(np.asarray(done.runner.row_of_slot) != 0)
    last = {int(slot): at for at, slot in enumerate(first.slots) if first.ops[at] != FREE}
    moved = {
        int(table["pointer"][first.source[last[int(slot)]]])
        - done.heap.address(int(done.runner.row_of_slot[slot]))
        for slot in still
        if slot in last and tids[last[int(slot)]] == table["pid"][0]
    }
    assert len(still) > 1000
    assert len(moved) == 1, "the heap was moved as a whole"
    verify(done.heap)


def test_every_realloc_has_its_old_block_and_every_free_its_allocation(
    recorded: tuple[Path, HeapTrace],
) -> None:
    trace = recorded[1]
    events = events_of(trace, trace.images()[0][0])
    assert events.unknown_frees <= 1  # what the thread library allocated before
    assert np.count_nonzero(events.ops == REALLOC) == 99
    census = take_census(replay(events, HeapTerms()).heap)
    assert census.bytes_by_state["used"] > 1_000_000


def test_a_killed_recording_is_read_from_its_segments(program: Path, tmp_path: Path) -> None:
    parts = tmp_path / "cut.heap.parts"
    parts.mkdir()
    environment = {
        **os.environ, "LD_PRELOAD": str(library_path()), "MEMTWIN_HEAP_DIR": str(parts),
    }  # fmt: skip
    running = subprocess.Popen([str(program), "forever"], env=environment)
    while sum(1 for _ in parts.iterdir()) < 4:
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    trace = read_any(parts)
    assert trace.events > 10_000
    assert "cut short" in trace.info.missing[0]
    assert events_of(trace, trace.images()[0][0]).failures == 0


LOGGED = r"""
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static void *block[1000];
int main(void) {
    char *text = malloc(1 << 20), *at = text;
    struct timespec pause = {2, 0};
    void *big = malloc(5ULL << 30), *same = malloc(64);
    at += sprintf(at, "1 %p %llu 0\n1 %p 64 0\n", big, 5ULL << 30, same);
    nanosleep(&pause, NULL); /* more ticks than one row holds */
    void *moved = realloc(same, 100000);
    at += sprintf(at, "3 %p 100000 %ju\n", moved, (uintmax_t)(uintptr_t)same);
    void *aligned = memalign(1 << 16, 33);
    at += sprintf(at, "5 %p 33 65536\n", aligned);
    mallopt(M_MXFAST, 80);
    at += sprintf(at, "20 0 1 80\n");
    mallopt(-100, -3);
    at += sprintf(at, "20 0 -100 -3\n");
    void *none = calloc(1ULL << 40, 1ULL << 40);
    at += sprintf(at, "4 %p %ju 0\n", none, (uintmax_t)INT64_MAX);
    for (int turn = 0; turn < 200; turn++) {
        for (int i = 0; i < 1000; i++) {
            block[i] = malloc(i);
            if (turn == 199) at += sprintf(at, "1 %p %d 0\n", block[i], i);
        }
        for (int i = 0; i < 1000; i++) free(block[i]);
    }
    fputs(text, stdout);
    return 0;
}
"""


def test_each_event_is_told_as_it_was_however_many_rows_it_takes(tmp_path: Path) -> None:
    (tmp_path / "l.c").write_text(LOGGED)
    built = tmp_path / "l"
    subprocess.run(
        ["gcc", "-O1", "-fno-builtin", "-w", "-o", str(built), str(tmp_path / "l.c")], check=True
    )
    parts = tmp_path / "parts"
    parts.mkdir()
    environment = {
        **os.environ, "LD_PRELOAD": str(library_path()), "MEMTWIN_HEAP_DIR": str(parts),
    }  # fmt: skip
    said = subprocess.run([str(built)], env=environment, capture_output=True, text=True, check=True)
    lines = [line.split() for line in said.stdout.split("\n") if line]
    truth = [(int(op), 0 if where == "(nil)" else int(where, 16), int(size), int(argument))
             for op, where, size, argument in lines]  # fmt: skip
    table = read_heap_trace(parts).table
    columns = [table[name].tolist() for name in ("op", "pointer", "size", "argument")]
    events = list(zip(*columns, strict=True))
    first = len(truth) - 1000
    assert events[1 : first + 1] == truth[:first]  # the text's own block is not told
    mallocs = [event for event in events if event[0] == MALLOC]
    at = mallocs.index(truth[first])
    while mallocs[at : at + 1000] != truth[first:]:  # other turns had the same addresses
        at = mallocs.index(truth[first], at + 1)
    assert np.count_nonzero(table["op"] == FREE) == 200_000
    assert np.count_nonzero(table["op"] == MALLOC) in (200_003, 200_004)  # stdout's buffer
    assert len(list(parts.glob("*.segment"))) > 1
    slept_ns = np.diff(table["time_ns"]).max()
    assert 1.9e9 < slept_ns < 3e9


def test_segments_of_the_first_form_are_still_read(tmp_path: Path) -> None:
    head = np.zeros(8, "u8")
    head[:2] = 0x31504145484D544D, 3
    head[2] = 7 | 8 << 32
    event = np.dtype([("words", "i8", (4,)), ("op", "u4"), ("stack", "u4")])
    events = np.array(
        [((100, 0x5000, 24, 0), 1, 0), ((200, 0x6000, 48, 0x5000), 3, 0),
         ((300, 0x6000, 0, 0), 2, 0), ((0, 0, 0, 0), 0, 0)], event
    )  # fmt: skip
    (tmp_path / "7.1.0.segment").write_bytes(head.tobytes() + events.tobytes())
    table = read_heap_trace(tmp_path).table
    assert table["op"].tolist() == [MALLOC, REALLOC, FREE]
    assert table["pointer"].tolist() == [0x5000, 0x6000, 0x6000]
    assert table["size"].tolist() == [24, 48, 0]
    assert table["argument"].tolist() == [0, 0x5000, 0]
    assert (table["pid"] == 7).all()
    assert (table["tid"] == 8).all()


def test_half_an_event_at_the_end_of_a_segment_is_left_out(tmp_path: Path) -> None:
    head = np.zeros(8, "u8")
    head[:3] = 0x32504145484D544D, 2, 7 | 8 << 32
    rows = np.array([1 << 62 | 1 << 56 | 0x5000, 24 << 32, 2 << 62 | 3 << 56 | 0x6000, 5], "u8")
    (tmp_path / "7.1.0.segment").write_bytes(head.tobytes() + rows.tobytes())
    table = read_heap_trace(tmp_path).table
    assert (table["op"].tolist(), table["pointer"].tolist()) == ([MALLOC], [0x5000])


def test_stacks_name_the_file_and_place_of_the_caller(program: Path, tmp_path: Path) -> None:
    trace = record_heap([str(program)], tmp_path / "s.heap", Wanted.STACKS)
    allocations = trace.table["op"] != FREE
    assert (trace.table["stack"][allocations] != 0).all()
    named = [frames[0] for frames in trace.info.stacks.values()]
    assert any(name.startswith("p+0x") for name in named)


def test_what_can_not_be_recorded_is_said_in_one_line(tmp_path: Path, program: Path) -> None:
    with pytest.raises(UserError, match="no such program"):
        record_heap(["/no/such/program"], tmp_path / "x.heap")
    (tmp_path / "y.heap.parts").mkdir()
    with pytest.raises(UserError, match="earlier recording"):
        record_heap([str(program)], tmp_path / "y.heap")
    (tmp_path / "m.bin").write_bytes(b"memray\0\0")
    with pytest.raises(UserError, match="memray"):
        read_any(tmp_path / "m.bin")
    (tmp_path / "t.heap").write_text("no parquet")
    with pytest.raises(UserError, match="no recording of a heap"):
        read_any(tmp_path / "t.heap")


@pytest.mark.skipif(shutil.which("heaptrack") is None, reason="no heaptrack")
def test_a_heaptrack_file_replays_to_the_same_live_memory(program: Path, tmp_path: Path) -> None:
    command = ["heaptrack", "-o", str(tmp_path / "h"), str(program)]
    subprocess.run(command, capture_output=True, check=False)
    found = [p for p in tmp_path.iterdir() if p.suffix in (".zst", ".gz")]
    trace = read_any(found[0])
    done = replay(events_of(trace, 0), HeapTerms())
    own = record_heap([str(program)], tmp_path / "own.heap")
    same = replay(events_of(own, own.images()[0][0]), HeapTerms())
    assert abs(int(done.runner.live_bytes) - int(same.runner.live_bytes)) < 4096
    assert int(done.runner.live_blocks) > 1000


def test_a_program_runs_the_same_under_the_recorder(tmp_path: Path) -> None:
    code = (
        "import os,sys; print(sum(len(str(i)) for i in range(9999)), len(os.environ)); sys.exit(3)"
    )
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    trace = record_heap([sys.executable, "-c", code], tmp_path / "p.heap")
    assert plain.returncode == trace.info.exit_status == 3
    assert not [name for name in os.environ if name.startswith("MEMTWIN_HEAP")]
