"""The commands around a replay, with made-up replays in place of the twin's."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic

from memtwin.analysis.results import ReplayReport, SizingCurve, from_json
from memtwin.analysis.sizing import make_curve
from memtwin.cli.main import outcome
from memtwin.record import COLUMNS, TraceOp, open_trace, write_trace
from memtwin.record.schema import Counts, Machine, Recorder, TracedFile, TraceMetadata
from memtwin.sweep.real_command import command_of
from memtwin.units import MIB


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Opens file 0 to read, file 1 to write, and writes to the pipe that is file 2."""
    rows = [(TraceOp.OPEN, 0, 3, os.O_RDONLY), (TraceOp.OPEN, 1, 4, os.O_WRONLY | os.O_CREAT)]
    rows += [(TraceOp.READ, 0, 0, 99), (TraceOp.WRITE, 2, -1, 5), (TraceOp.LOAD, 77, 0, 0)]
    columns = {name: np.zeros(len(rows), dtype) for name, (dtype, _) in COLUMNS.items()}
    for i, (op, a, b, c) in enumerate(rows):
        columns["op"][i], columns["a"][i], columns["b"][i], columns["c"][i] = op, a, b, c
    files = [("/in", "regular"), ("/out", "regular"), ("pipe:[1]", "pipe")]
    metadata = TraceMetadata(
        schema_version=1,
        memtwin_version="0",
        command=["sort", "/in"],
        cwd="/tmp",
        machine=Machine("h", "6.1", "x86_64", "cpu", 1, 4096, 1 << 30),
        recorder=Recorder("qemu", "qemu 7", 10_000, "thread"),
        started_at="2026-01-01T00:00:00Z",
        complete=True,
        counts=Counts(events=len(rows), refs=len(rows), processes=1, threads=1),
        files=[TracedFile(path, 9, kind, "8:1", 5) for path, kind in files],
        exit_status=128 + 9,
    )
    path = tmp_path / "made.trace"
    write_trace(path, [columns], metadata)
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Replaces the replaying rooms; what they were asked for, in order."""
    calls: list[Any] = []

    def replay(trace: Any, config: Any, limit_bytes: int | None, tell: Callable[..., None]) -> Any:
        calls.append((config.name, limit_bytes))
        tell(1, 2)
        return synthetic.result(None if limit_bytes is None else limit_bytes // MIB)

    def sweep(
        trace: Any,
        config: Any,
        limits: list[int],
        tell: Callable[..., None],
        jobs: int,
        replays: int,
    ) -> SizingCurve:
        calls.append([limit // MIB for limit in limits])
        tell(0, len(limits), "first")
        return make_curve([synthetic.result(limit // MIB) for limit in limits])

    def run_script(text: str, config: Any, tell: Callable[..., None], name: str) -> dict[str, Any]:
        calls.append((config.name, text))
        tell(1, 2)
        files = {"/proc/vmstat": "nr_free_pages 12\npgfault 34\n"}
        end = {"name": "end", "time_ns": 5_000_000, "files": files}
        return {"checkpoints": [end], "leak_checks": [], "dmesg": ""}

    for name, function in (
        ("memtwin.workload.replay", replay),
        ("memtwin.sweep.sizing", sweep),
        ("memtwin.workload.script", run_script),
    ):
        monkeypatch.setattr(importlib.import_module(name), function.__name__, function)
    return calls


def test_replay_gives_its_result_as_text_json_and_page(
    trace: Path, asked: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "r.html"
    words = ["replay", str(trace), "--limit", "64M", "--machine", "board-128m", "--html", str(page)]
    assert outcome(words) == 0
    assert asked == [("board-128m", 64 * MIB)]
    assert "With 64M it finishes" in capsys.readouterr().out
    assert "<svg" not in page.read_text()
    assert "With <b>64M</b> it finishes" in page.read_text()
    assert outcome(["replay", str(trace), "--json"]) == 0
    report = from_json(capsys.readouterr().out)
    assert isinstance(report, ReplayReport)
    assert report.result == synthetic.result(None)


def test_size_tries_limits_around_the_peak_and_answers(
    trace: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["size", str(trace), "--points", "8", "--json", "--slowdown", "20"]) == 0
    assert asked == [("laptop-8g", None), [14, 30, 46, 62, 78, 94, 110, 126]]
    curve = from_json(capsys.readouterr().out)
    assert isinstance(curve, SizingCurve)
    assert curve.slowdown_target_percent == 20.0
    assert curve.smallest_under_target_bytes == 62 * MIB
    assert curve.unlimited is not None
    assert curve.unlimited.run_ns == synthetic.result(None).run_ns
    assert curve.unlimited.slowdown_percent == 0.0


def test_size_takes_the_limits_it_is_given(
    trace: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["size", str(trace), "--limits", "64M,32M,64M"]) == 0
    assert asked[1] == [32, 64]
    assert "No limit tried keeps" in capsys.readouterr().out


def test_verify_measures_what_was_predicted(
    trace: Path,
    asked: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from memtwin.sweep import verify as verifying

    told: list[Any] = []

    def check(command: Any, terms: Any) -> None:
        told.append((command.argv, terms.swap.value, terms.zram_bytes, terms.runs))

    def verify(command: Any, curve: SizingCurve, terms: Any, progress: Any) -> Any:
        report = synthetic.verified()
        report.command = command.argv
        return report

    monkeypatch.setattr(verifying, "check", check)
    monkeypatch.setattr(verifying, "verify", verify)
    words = ["size", str(trace), "--verify", "--with-zram", "512M", "--runs", "2"]
    assert outcome([*words, "--machine", "laptop-8g", "--limits", "64M"]) == 0
    assert told == [(["sort", "/in"], "zram", 512 * MIB, 2)]
    assert "Predicted against the real kernel" in capsys.readouterr().out


def test_the_command_to_verify_comes_from_the_trace(trace: Path) -> None:
    command = command_of(open_trace(trace))
    assert (command.argv, command.cwd) == (["sort", "/in"], "/tmp")
    assert command.read_files == ["/in"]
    assert command.written_files == ["/out"]
    assert command.expected_status == -9
    assert command.cpu is not None


def test_a_script_runs_on_the_machine_named_and_a_case_on_its_own(
    tmp_path: Path, asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "s.wl"
    script.write_text("start A\ncheckpoint end\n")
    assert outcome(["run", str(script), "--machine", "board-128m"]) == 0
    assert asked == [("board-128m", "start A\ncheckpoint end\n")]
    assert "0.005 s" in capsys.readouterr().out
    out = tmp_path / "r.json"
    assert outcome(["run", str(script), "--out", str(out)]) == 0
    assert json.loads(out.read_text())["checkpoints"][0]["name"] == "end"
    capsys.readouterr()
    broken = tmp_path / "c.json"
    for text in ("{", '{"other": {}}'):
        broken.write_text(text)
        assert outcome(["run", str(broken)]) == 2
        err = capsys.readouterr().err
        assert str(broken) in err
        assert err.count("\n") == 1
    broken.write_text('{"case": {}}')
    assert outcome(["run", str(broken), "--machine", "board-128m"]) == 2
    assert "a case names its machine" in capsys.readouterr().err
