"""The QEMU recorder against programs that say themselves what they did."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from record_programs import (
    MEMORY,
    SHOW_MAPS,
    events,
    pages_of_maps,
    pages_of_trace,
    said,
    touched,
)

from memtwin.record import ExitKind, RecordSummary, Trace, TraceOp, map_flags, map_offset_pages

Record = Callable[..., tuple[RecordSummary, Trace]]
Compile = Callable[[str], Path]


def test_touched_pages_are_in_the_trace_and_no_others(
    record_here: Record, compile_c: Compile, tmp_path: Path, capfd: Any
) -> None:
    (tmp_path / "in").write_bytes(bytes(40_000))
    _, trace = record_here(compile_c(MEMORY), tmp_path / "in")
    at = said(capfd.readouterr().out)
    stored = touched(trace, TraceOp.STORE, at["anon"], 64)
    assert stored == set(range(0, 64, 2)) | {39}
    assert touched(trace, TraceOp.LOAD, at["anon"], 64) == set(range(1, 32, 2))
    assert touched(trace, TraceOp.LOAD, at["file"], 4) == {3}


def test_a_page_given_back_is_recorded_again_at_once(
    record_here: Record, compile_c: Compile, tmp_path: Path, capfd: Any
) -> None:
    (tmp_path / "in").write_bytes(bytes(40_000))
    _, trace = record_here(compile_c(MEMORY), tmp_path / "in")
    anon = said(capfd.readouterr().out)["anon"]
    columns = trace.read()
    stores = np.flatnonzero((columns["op"] == TraceOp.STORE) & (columns["a"] == anon >> 12))
    dropped = np.flatnonzero((columns["op"] == TraceOp.MADVISE) & (columns["a"] == anon))
    assert len(dropped) == 1
    assert stores[0] < dropped[0] < stores[-1]
    assert columns["c"][dropped[0]] == 4  # MADV_DONTNEED


def test_reads_and_writes_carry_their_true_offsets_and_buffers(
    record_here: Record, compile_c: Compile, tmp_path: Path, capfd: Any
) -> None:
    (tmp_path / "in").write_bytes(bytes(40_000))
    _, trace = record_here(compile_c(MEMORY), tmp_path / "in")
    buffer = said(capfd.readouterr().out)["buffer"]
    paths = [file.path for file in trace.metadata.files]
    source = paths.index(str(tmp_path / "in"))
    reads = [(e["b"], e["c"], e["d"]) for e in events(trace, TraceOp.READ) if e["a"] == source]
    assert reads == [
        (0, 5000, buffer),
        (5000, 5000, buffer),
        (1000, 10, buffer),
        (20000, 100, buffer),
        (1010, 8, buffer),
        (1018, 8, buffer + 4096),
    ]
    target = paths.index(str(tmp_path / "out"))
    writes = [(e["b"], e["c"]) for e in events(trace, TraceOp.WRITE) if e["a"] == target]
    assert writes == [(0, 100), (100, 50)]
    assert [e["b"] for e in events(trace, TraceOp.TRUNCATE) if e["a"] == target] == [120]
    assert [e["a"] for e in events(trace, TraceOp.FSYNC)] == [target]
    assert [(e["a"], e["b"]) for e in events(trace, TraceOp.UNLINK)] == [(target, 0)]
    assert [(e["a"], e["c"], e["d"]) for e in events(trace, TraceOp.FADVISE)] == [(source, 4096, 4)]
    assert trace.metadata.files[source].size_bytes == 40_000


def test_maps_carry_address_length_protection_and_file_offset(
    record_here: Record, compile_c: Compile, tmp_path: Path, capfd: Any
) -> None:
    (tmp_path / "in").write_bytes(bytes(40_000))
    _, trace = record_here(compile_c(MEMORY), tmp_path / "in")
    at = said(capfd.readouterr().out)
    source = [file.path for file in trace.metadata.files].index(str(tmp_path / "in"))
    maps = {e["a"]: e for e in events(trace, TraceOp.MAP)}
    anon, file = maps[at["anon"]], maps[at["file"]]
    assert (anon["b"], anon["c"], anon["e"]) == (64 << 12, 3, -1)
    assert map_flags(anon["d"]) == 0x22
    assert (file["b"], file["c"], file["e"]) == (4 << 12, 1, source)
    assert (map_flags(file["d"]), map_offset_pages(file["d"])) == (0x01, 2)
    moved = events(trace, TraceOp.REMAP)
    assert [(e["a"], e["b"], e["c"], e["d"]) for e in moved] == [
        (at["anon"] + (32 << 12), 32 << 12, 64 << 12, at["moved"])
    ]
    assert (at["moved"], 64 << 12) in [(e["a"], e["b"]) for e in events(trace, TraceOp.UNMAP)]
    assert [(e["a"], e["b"]) for e in events(trace, TraceOp.MLOCK)] == [(at["anon"], 8192)]


def test_the_rebuilt_address_space_is_the_real_one_page_for_page(
    record_here: Record, compile_c: Compile, capfd: Any
) -> None:
    _, trace = record_here(compile_c(SHOW_MAPS))
    real = pages_of_maps(capfd.readouterr().out)
    assert len(real) > 2000
    assert pages_of_trace(trace) == real


def test_the_stack_is_one_growing_mapping_of_the_size_of_its_limit(
    record_here: Record, compile_c: Compile
) -> None:
    import resource

    _, trace = record_here(compile_c(SHOW_MAPS))
    stacks = [e for e in events(trace, TraceOp.MAP) if map_flags(e["d"]) & 0x100]
    assert [e["b"] for e in stacks] == [resource.getrlimit(resource.RLIMIT_STACK)[0]]


THREADS = r"""
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
static volatile char *area;
static void *work(void *n)
{
    for (long i = 0; i < 8; i++) area[((long)n * 8 + i) << 12] = 1;
    for (volatile long i = 0; i < 200000; i++) ;
    return 0;
}
int main(void)
{
    pthread_t t[4];
    area = mmap(0, 32 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    dprintf(1, "area %lu\n", (unsigned long)area);
    for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, work, (void *)i);
    for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
    return 3;
}
"""


def test_threads_are_followed_each_under_its_own_number_after_its_clone(
    record_here: Record, compile_c: Compile, capfd: Any
) -> None:
    summary, trace = record_here(compile_c(THREADS))
    area = said(capfd.readouterr().out)["area"]
    assert summary.exit_status == 3
    columns = trace.read()
    inside = (columns["op"] == TraceOp.STORE) & (columns["a"] >= area >> 12)
    inside &= columns["a"] < (area >> 12) + 32
    by_thread = {
        int(tid): set((columns["a"][inside & (columns["tid"] == tid)] - (area >> 12)).tolist())
        for tid in np.unique(columns["tid"][inside])
    }
    assert sorted(by_thread.values(), key=min) == [set(range(n, n + 8)) for n in (0, 8, 16, 24)]
    for clone in events(trace, TraceOp.CLONE):
        first = int(np.flatnonzero(columns["tid"] == clone["a"])[0])
        at = np.flatnonzero((columns["op"] == TraceOp.CLONE) & (columns["a"] == clone["a"]))
        assert int(at[0]) < first
        assert clone["b"] & 0x100  # CLONE_VM: a thread
    assert [t.process for t in trace.metadata.threads] == [1] * 5
    assert trace.metadata.counts.threads == 5


def test_a_threads_instruction_count_never_runs_back(
    record_here: Record, compile_c: Compile
) -> None:
    _, trace = record_here(compile_c(THREADS))
    columns = trace.read()
    for tid in np.unique(columns["tid"]):
        insns = columns["insns"][columns["tid"] == tid].astype(np.int64)
        assert (np.diff(insns) >= 0).all()
        assert insns[-1] > 10_000


FAMILY = r"""
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    int status;
    volatile char *a = mmap(0, 8 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    dprintf(1, "area %lu\n", (unsigned long)a);
    a[0] = 1;
    if (fork() == 0) { a[0] = 2; a[1 << 12] = 2; exit(7); }
    wait(0);
    if (fork() == 0) { execl("/bin/sh", "sh", "-c", "exit 5", (char *)0); }
    wait(0);
    if (fork() == 0) { kill(getpid(), SIGKILL); }
    wait(&status);
    a[0] = 3;
    return 0;
}
"""


def test_forked_and_executed_children_are_in_the_trace(
    record_here: Record, compile_c: Compile, capfd: Any
) -> None:
    summary, trace = record_here(compile_c(FAMILY))
    area = said(capfd.readouterr().out)["area"] >> 12
    by_tid = {t.tid: t for t in trace.metadata.threads}
    assert [(t.parent, t.images, t.comm, t.ended) for t in by_tid.values()] == [
        (0, 1, "program", "exit 0"),
        (1, 1, "program", "exit 7"),
        (1, 2, by_tid[3].comm, "exit 5"),
        (1, 1, "program", "signal 9"),
    ]
    assert by_tid[3].comm in ("sh", "dash", "bash", "busybox")
    stores = {(e["tid"], e["a"] - area) for e in events(trace, TraceOp.STORE)}
    assert {(1, 0), (2, 0), (2, 1)} <= stores
    assert (1, 1) not in stores
    exits = {e["tid"]: (e["a"], e["b"]) for e in events(trace, TraceOp.EXIT)}
    assert exits == {
        1: (0, ExitKind.PROCESS),
        2: (7, ExitKind.PROCESS),
        3: (5, ExitKind.PROCESS),
        4: (9, ExitKind.SIGNAL),
    }
    assert len(events(trace, TraceOp.EXEC)) == 2
    assert summary.missing() == []


def test_a_child_that_cannot_be_followed_is_counted_and_said(
    record_here: Record, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x03\x00" + bytes(80))
    foreign.chmod(0o755)  # a 32-bit program: nothing follows it, and it can't run either
    summary, _ = record_here("/bin/sh", "-c", f"{foreign}; exit 4")
    assert summary.exit_status == 4
    assert summary.metadata.counts.children_missing == 0  # the exec failed: it came back


def test_a_script_runs_through_its_interpreter(record_here: Record, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh -e\nread x < /dev/null || exit 9\n")
    script.chmod(0o755)
    summary, trace = record_here(script, "argument")
    assert summary.exit_status == 9
    assert str(script) in [file.path for file in trace.metadata.files]


def test_the_program_sees_its_own_name_arguments_and_descriptors(
    record_here: Record, capfd: Any
) -> None:
    script = 'echo "$0:$1"; exec 3</dev/null; echo $?; ls /proc/self/fd | wc -l'
    command = ["/bin/sh", "-c", script, "name", "arg,with=comma"]
    subprocess.run(command, close_fds=False, check=True)
    natively = capfd.readouterr().out
    record_here(*command)
    assert capfd.readouterr().out == natively
    assert natively.splitlines()[:2] == ["name:arg,with=comma", "0"]


def test_the_same_program_gives_the_same_events_twice(
    record_here: Record, compile_c: Compile
) -> None:
    program = compile_c(SHOW_MAPS)
    first = record_here(program)[1].read()
    second = record_here(program)[1].read()
    calls = [columns["op"][columns["op"] >= TraceOp.MAP].tolist() for columns in (first, second)]
    assert calls[0] == calls[1]
