"""The command `memtwin`: its words, and how mistakes and Ctrl-C end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memtwin.cli.main import outcome
from memtwin.cli.output import progress, write_whole
from memtwin.errors import UserError
from memtwin.machine.config import machine_names
from memtwin.record import COLUMNS, write_trace
from memtwin.record.schema import Counts, Machine, Recorder, TraceMetadata

ROOT = Path(__file__).parents[2]


def run(*words: str, status: int = 0, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    assert outcome(list(words)) == status
    captured = capsys.readouterr()
    return captured.out, captured.err


@pytest.fixture
def tiny_trace(tmp_path: Path) -> Path:
    import numpy as np

    n = 5
    columns = {name: np.arange(n).astype(dtype) for name, (dtype, _) in COLUMNS.items()}
    columns["op"] = np.ones(n, np.uint8)
    path = tmp_path / "tiny.trace"
    metadata = TraceMetadata(
        schema_version=1,
        memtwin_version="0",
        command=["prog", "an argument"],
        cwd="/",
        machine=Machine("h", "6.1", "x86_64", "cpu", 1, 4096, 1 << 30),
        recorder=Recorder("qemu", "qemu 7", 10_000, "thread"),
        started_at="2026-01-01T00:00:00Z",
        complete=True,
        counts=Counts(events=n, refs=n),
    )
    write_trace(path, [columns], metadata)
    return path


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run("--help", capsys=capsys)
    words = ["record", "replay", "size", "run", "trace", "capture", "machines", "demo"]
    for word in words:
        assert f"\n  {word} " in out
    assert run(capsys=capsys)[0] == out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    import memtwin

    assert run("--version", capsys=capsys)[0] == f"memtwin {memtwin.__version__}\n"


def test_the_shipped_machines_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run("machines", capsys=capsys)
    assert [line.split()[0] for line in out.splitlines()] == list(machine_names())


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["repla"], "repla"),
        (["replay", "--nonsense", "x"], "--nonsense"),
        (["replay"], "TRACE"),
        (["replay", "missing.trace"], "missing.trace: no such file"),
        (["replay", "TINY", "--limit", "99G"], "--limit: found 99G, allowed is 1M to 8.0G"),
        (["replay", "TINY", "--limit", "0"], "--limit: found 0"),
        (["replay", "TINY", "--limit", "12Q"], "--limit: found '12Q'"),
        (["replay", "TINY", "--machine", "zx81"], "'zx81'"),
        (["replay", "TINY", "--set", "vm.swapiness=3"], "vm.swapiness"),
        (["replay", "TINY", "--swap", "tape:1G"], "tape:1G"),
        (["replay", "TINY", "--html", "/no/such/place/r.html"], "/no/such/place"),
        (["replay", "TINY", "--html", "/"], "--html: found a directory"),
        (["replay", "TINY", "--", "ls"], "after --"),
        (["replay", str(ROOT / "pyproject.toml")], "neither a Parquet trace"),
        (["size"], "found neither"),
        (["size", "TINY", "--", "ls"], "found both"),
        (["size", "TINY", "--points", "1"], "--points: found 1, allowed is 2 to 200"),
        (["size", "TINY", "--slowdown", "-3"], "--slowdown: found -3"),
        (["size", "TINY", "--limits", "1M,,2M"], "--limits: found ''"),
        (["size", "TINY", "--limits", "4M,99T"], "--limits: found 99T"),
        (["size", "TINY", "--with-zram", "1G"], "--with-zram: found without --verify"),
        (["size", "TINY", "--verify", "--runs", "0"], "--runs: found 0"),
        (["size", "TINY", "--verify", "--timeout", "0"], "--timeout: found 0"),
        (["record", "-o", "x"], "found no command, it stands after --"),
        (["record", "-o", "/no/such/place/x", "--", "true"], "/no/such/place"),
        (["record", "-o", "NEW", "--", "no-such-program-here"], "no-such-program-here"),
        (["record", "-o", "NEW", "--method", "magic", "--", "true"], "--method: found 'magic'"),
        (["record", "-o", "NEW", "--window", "0", "--", "true"], "window: found 0"),
        (["trace"], "Missing command"),
        (["trace", "head", "TINY", "-n", "-1"], "-n: found -1"),
        (["trace", "info", "missing.trace"], "missing.trace"),
        (["capture", "--root", "/no/such/root"], "/no/such/root"),
        (["capture", "-o", "/no/such/place/m.toml"], "/no/such/place"),
        (["demo", "--out", "/no/such/place/r.html"], "/no/such/place"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    words: list[str],
    found: str,
    tiny_trace: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"TINY": str(tiny_trace), "NEW": str(tmp_path / "new.trace")}
    before = sorted(tmp_path.iterdir())
    out, err = run(*(places.get(word, word) for word in words), status=2, capsys=capsys)
    assert out == ""
    assert found in err
    assert err.startswith("memtwin: ")
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_trace_is_told_in_words_and_in_json(
    tiny_trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    out, _ = run("trace", "info", str(tiny_trace), capsys=capsys)
    assert "prog 'an argument'" in out
    assert "LOAD" in out
    facts = json.loads(run("trace", "info", str(tiny_trace), "--json", capsys=capsys)[0])
    assert facts["n_events"] == 5
    assert facts["metadata"]["schema_version"] == 1
    out, _ = run("trace", "head", str(tiny_trace), "-n", "2", capsys=capsys)
    assert [line.split()[0] for line in out.splitlines()] == ["op", "LOAD", "LOAD"]


def test_the_host_can_be_captured_and_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "host.toml"
    run("capture", "-o", str(target), capsys=capsys)
    from memtwin.machine.config import load_machine

    assert load_machine(str(target)).ram_bytes > 0


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    write_whole(target, "first")
    write_whole(target, "second")
    assert target.read_text() == "second"
    with pytest.raises(UserError, match="No such file"):
        write_whole(tmp_path / "missing" / "r.html", "x")
    with pytest.raises(UnicodeEncodeError):
        write_whole(target, "half \ud800")
    assert target.read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["r.html"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full to stand for a full disk")
def test_a_full_disk_is_one_line() -> None:
    with pytest.raises(UserError, match="/dev/full: No space left"):
        write_whole(Path("/dev/full"), "x" * 100_000)


def test_progress_says_nothing_unless_a_terminal_looks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress("working") as step:
        step(1, 2, "half")
    assert capsys.readouterr() == ("", "")


def command(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "memtwin.cli.main", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _sleeps(children: Path) -> bool:
    """Whether the recorded program has got as far as its sleep."""
    pids = children.read_text().split()
    return any("nanosleep" in Path(f"/proc/{pid}/wchan").read_text() for pid in pids)


@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-user is not installed")
def test_ctrl_c_while_recording_ends_with_130_and_keeps_a_readable_trace(tmp_path: Path) -> None:
    out = tmp_path / "sleep.trace"
    process = command("record", "-o", str(out), "--", "sleep", "60")
    deadline_s = time.monotonic() + 50  # a machine under load compiles the plugin slowly
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not _sleeps(children):
        assert time.monotonic() < deadline_s, "the recorded program never slept"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["sleep.trace"]
    from memtwin.record import open_trace

    assert open_trace(out).n_events > 0


def test_a_reader_that_leaves_early_is_no_error(tiny_trace: Path) -> None:
    process = command("trace", "head", str(tiny_trace), "-n", "5")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() in (0, 1, 128 + signal.SIGPIPE)
    assert err == ""
