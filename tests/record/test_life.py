"""The tracefs recorder, where there is root: against programs that say what they did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_programs import MEMORY, SHOW_MAPS, events, pages_of_maps, pages_of_trace, said

import memtwin
from memtwin.errors import UserError
from memtwin.record import ExitKind, Method, RecordSummary, Trace, TraceOp, record
from memtwin.record.tracefs import TraceInstance

Record = Callable[..., tuple[RecordSummary, Trace]]
Compile = Callable[[str], Path]


def tracing_works() -> bool:
    instance = TraceInstance(Path("/tmp"))
    try:
        instance.open(["exceptions/page_fault_user"])
        return bool(instance.ids)
    except (UserError, OSError):
        return False
    finally:
        instance.close()


needs_tracing = pytest.mark.skipif(not tracing_works(), reason="no root or no tracefs here")


def leftovers() -> list[str]:
    mounts = Path("/proc/mounts").read_text().splitlines()
    left = [line for line in mounts if "memtwin-tracefs" in line]
    return left + [str(p) for p in Path("/tmp").glob("memtwin-tracefs-*")]


@needs_tracing
def test_first_touches_calls_and_files_of_a_known_program_are_in_the_trace(
    record_here: Record, compile_c: Compile, tmp_path: Path, capfd: Any
) -> None:
    (tmp_path / "in").write_bytes(bytes(40_000))
    summary, trace = record_here(compile_c(MEMORY), tmp_path / "in", method=Method.LIFE)
    at = said(capfd.readouterr().out)
    assert (summary.exit_status, summary.missing()) == (0, [])
    first = at["anon"] >> 12
    faults = {e["a"] - first for e in events(trace, TraceOp.FAULT)}
    assert set(range(0, 64, 2)) <= faults
    assert (set(range(1, 32, 2)) | {39}) <= faults  # each faults by itself: no huge pages of 64
    assert not faults & {33, 35, 37, 41, 43, 63}
    reads = [(e["b"], e["c"]) for e in events(trace, TraceOp.READ)]
    assert reads[-5:] == [(0, 5000), (5000, 5000), (1000, 10), (20000, 100), (1010, 16)]
    maps = {e["a"]: e for e in events(trace, TraceOp.MAP)}
    assert maps[at["anon"]]["b"] == 64 << 12
    assert maps[at["file"]]["d"] >> 32 == 2
    mapped = trace.metadata.files[maps[at["file"]]["e"]]
    assert (mapped.path, mapped.size_bytes) == (str(tmp_path / "in"), 40_000)
    assert leftovers() == []


@needs_tracing
def test_the_address_space_is_rebuilt_page_for_page_but_for_the_stacks_room(
    record_here: Record, compile_c: Compile, capfd: Any
) -> None:
    _, trace = record_here(compile_c(SHOW_MAPS), method=Method.LIFE)
    text = capfd.readouterr().out
    real, ours = pages_of_maps(text), pages_of_trace(trace)
    stack = next(e for e in events(trace, TraceOp.MAP) if e["d"] & 0x100)
    room = set(range(stack["a"] >> 12, (stack["a"] + stack["b"]) >> 12))
    assert {vpn: p for vpn, p in ours.items() if vpn not in room} == {
        vpn: p for vpn, p in real.items() if vpn not in room
    }
    assert len(real) > 400


@needs_tracing
def test_children_threads_and_their_ends_are_followed(record_here: Record) -> None:
    script = "/bin/true; (exit 5); kill -9 $$"
    summary, trace = record_here("/bin/sh", "-c", script, method=Method.LIFE)
    assert summary.exit_status == 128 + signal.SIGKILL
    ends = [(t.parent, t.images, t.ended) for t in trace.metadata.threads]
    assert ends == [(0, 1, "signal 9"), (1, 2, "exit 0"), (1, 1, "exit 5")]
    exits = [(e["tid"], e["a"], e["b"]) for e in events(trace, TraceOp.EXIT)]
    assert sorted(exits) == [
        (1, 9, ExitKind.SIGNAL),
        (2, 0, ExitKind.PROCESS),
        (3, 5, ExitKind.PROCESS),
    ]
    columns = trace.read()
    for clone in events(trace, TraceOp.CLONE):
        born = np.flatnonzero((columns["op"] == TraceOp.CLONE) & (columns["a"] == clone["a"]))
        assert born[0] < np.flatnonzero(columns["tid"] == clone["a"])[0]
    assert leftovers() == []


@needs_tracing
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_of_the_tracing_is_left_after_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    text = (
        "import sys; from memtwin.record import *\n"
        "s = record(['/bin/sleep', '100'], 't.trace', method=Method.LIFE); print(s.exit_status)"
    )
    recorder = subprocess.Popen(
        [sys.executable, "-c", text],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(memtwin.__file__).parent.parent)},
        stdout=subprocess.PIPE,
        text=True,
    )
    for _ in range(200):
        children = Path(f"/proc/{recorder.pid}/task/{recorder.pid}/children").read_text().split()
        if children and "sleep" in Path(f"/proc/{children[0]}/comm").read_text():
            break
        time.sleep(0.05)
    recorder.send_signal(number)
    out, _ = recorder.communicate(timeout=30)
    assert out.split() == [str(128 + number)]
    assert [p.name for p in tmp_path.iterdir()] == ["t.trace"]
    assert leftovers() == []


@needs_tracing
def test_what_a_killed_recorder_left_is_taken_away_by_the_next(tmp_path: Path) -> None:
    text = (
        "import os, signal; from pathlib import Path; from memtwin.record.tracefs import *\n"
        "TraceInstance(Path('.')).open(['exceptions/page_fault_user'])\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(memtwin.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", text], cwd=tmp_path, env=environment, check=False)
    assert len(leftovers()) == 2
    record(["/bin/true"], tmp_path / "t.trace", method=Method.LIFE)
    assert leftovers() == []


def test_without_root_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match="--life needs root"):
        record(["/bin/true"], tmp_path / "t.trace", method=Method.LIFE)
    assert list(tmp_path.iterdir()) == []
