"""What capture saves is what the views show, and what it could not read stands in the manifest."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.observe.recordings import system_texts, written

from memtwin.cli.main import outcome
from memtwin.observe.source import TreeSource
from memtwin.observe.tree_capture import MANIFEST, Choice, capture_tree, oom_reports


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine of files, with two processes and one file that is nobody's to read."""
    more = {
        "/proc/7/status": "Name:\tsh\nPid:\t7\n", "/proc/7/cmdline": "sh\0secret\0",
        "/proc/7/smaps_rollup": "Rss: 4 kB\n", "/proc/9/status": "Name:\tkswapd0\n",
        "/proc/cmdline": "root=/dev/vda password=x\n", "/proc/kcore": "never\n",
        "/proc/sys/vm/drop_caches": "0\n", "/sys/fs/cgroup/cgroup.controllers": "memory\n",
    }  # fmt: skip
    return written(tmp_path / "machine", {**system_texts("7.3"), **more})


def free_of(root: Path, capsys: pytest.CaptureFixture[str]) -> object:
    assert outcome(["free", "--json", "--root", str(root)]) == 0
    return json.loads(capsys.readouterr().out)["rows"]


@pytest.mark.parametrize("name", ["tree", "tree.tar.zst"])
def test_a_captured_tree_shows_what_the_machine_showed(
    name: str, machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    assert outcome(["capture", "--tree", str(out), "--root", str(machine)]) == 0
    assert f"{out}: " in capsys.readouterr().err
    for view in ("free", "vmstat", "zram", "dirty", "cgroups", "zoneinfo", "slabtop", "pressure"):
        shown = []
        for root in (machine, out):
            assert outcome([view, "--csv", "--once", "--root", str(root)]) == 0
            shown.append(capsys.readouterr().out)
        if view == "vmstat":  # its first column is the time of the look
            shown = [text.splitlines()[0] + text.partition(",")[2][-200:] for text in shown]
        assert shown[0] == shown[1], view
    assert sorted(path.name for path in tmp_path.iterdir()) == ["machine", name]


OF_PROCESSES = (
    "ps", "ps -m", "smem -m", "maps 7", "pmap -x 7", "procrank", "librank", "showmap 7",
    "procmem 7", "dumpsys-meminfo 7", "dumpsys-meminfo -S", "oom", "ledger", "meminfo",
)  # fmt: skip
PROCESS_TEXTS = ("stat", "status", "statm", "cmdline", "smaps", "smaps_rollup", "oom_score_adj")


@pytest.mark.parametrize("view", OF_PROCESSES)
def test_views_of_processes_take_an_archive_as_they_take_the_tree_it_was_made_of(
    view: str, machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    me = {f"/proc/7/{name}": Path(f"/proc/self/{name}").read_text() for name in PROCESS_TEXTS}
    me["/proc/7/stat"] = f"7 {me['/proc/7/stat'].partition(' ')[2]}"
    written(machine, me)
    shown = []
    for out in (tmp_path / "tree", tmp_path / "tree.tar.zst"):
        manifest = capture_tree(TreeSource(machine), out, Choice(processes=True, mappings=True))
        assert outcome([*view.split(), "--json", "--root", str(out)]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said.pop("root") == str(out)
        assert said.pop("taken_s") == manifest.taken_s
        assert said["rows"]
        shown.append(said)
    assert shown[0] == shown[1]


@pytest.mark.parametrize("view", [*OF_PROCESSES, "smem", "smem -w", "ps --live", "free"])
def test_a_root_that_is_not_there_is_one_line_whatever_the_view(
    view: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome([*view.split(), "--root", str(tmp_path / "none")]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "allowed is a directory or a captured archive" in said.err
    assert said.out == ""


@pytest.mark.parametrize("view", ["ps", "smem", "procrank"])
def test_a_root_without_processes_is_said_to_have_none(
    view: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome([view, "--root", str(tmp_path)]) == 2
    assert "found no processes" in capsys.readouterr().err


def test_processes_are_counted_and_command_lines_left_out_when_asked(
    machine: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tree"
    choice = Choice(processes=True, command_lines=False)
    manifest = capture_tree(TreeSource(machine), out, choice)
    assert (manifest.processes, manifest.processes_readable) == (2, 2)
    assert (out / "proc/7/smaps_rollup").read_text() == "Rss: 4 kB\n"
    saved = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"secret" not in saved
    assert b"password" not in saved
    assert out.stat().st_mode & 0o077 == 0  # maps of processes are private


def test_nothing_dangerous_is_read(machine: Path, tmp_path: Path) -> None:
    out = tmp_path / "tree"
    capture_tree(TreeSource(machine), out, Choice())
    names = {path.name for path in out.rglob("*")}
    assert not names & {"kcore", "drop_caches", "compact_memory", "stat_refresh", "7"}


def test_a_view_of_the_tree_says_why_a_text_was_absent_when_it_was_captured(
    machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine / "proc/slabinfo").unlink()
    (machine / "proc/slabinfo").symlink_to("/etc/hostname")  # leads out: refused
    out = tmp_path / "tree"
    capture_tree(TreeSource(machine), out, Choice())
    assert outcome(["slabtop", "--root", str(out)]) == 2
    assert "when it was captured" in capsys.readouterr().err


def test_what_is_there_already_is_kept_and_a_failed_capture_leaves_nothing(
    machine: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "tree"
    out.mkdir()
    assert outcome(["capture", "--tree", str(out), "--root", str(machine)]) == 2
    assert "nothing has yet" in capsys.readouterr().err
    out.rmdir()

    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(OSError, match="No space"):
        capture_tree(TreeSource(machine), out, Choice())
    assert [path.name for path in tmp_path.iterdir()] == ["machine"]


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x28\xb5\x2f\xfd\x00\x00"])
def test_a_file_that_is_no_archive_is_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.tar.zst").write_bytes(content)
    assert outcome(["free", "--root", str(tmp_path / "x.tar.zst")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_broken_manifest_does_not_hide_the_tree(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = free_of(machine, capsys)
    (machine / MANIFEST).write_text('{"absent": 7')
    assert free_of(machine, capsys) == before


def test_of_the_kernels_log_only_oom_reports_are_kept() -> None:
    log = (
        "usb 1-1: new device\nsh invoked oom-killer: gfp_mask=0x0\nMem-Info:\n"
        "Out of memory: Killed process 7 (sh)\nwlan0: key is secret\n"
    )
    assert oom_reports(log).splitlines() == [
        "sh invoked oom-killer: gfp_mask=0x0", "Mem-Info:", "Out of memory: Killed process 7 (sh)",
    ]  # fmt: skip


def test_a_captured_look_has_the_time_of_its_capture_and_its_reasons(
    machine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("tree", "tree.tar.zst"):
        out = tmp_path / name
        manifest = capture_tree(TreeSource(machine), out, Choice())
        assert outcome(["free", "--json", "--root", str(out)]) == 0
        assert json.loads(capsys.readouterr().out)["taken_s"] == manifest.taken_s


def test_pressure_that_was_disabled_is_said_to_be(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for resource in ("cpu", "memory", "io"):
        (machine / "proc/pressure" / resource).unlink()
    absent = [[f"/proc/pressure/{one}", "Operation not supported"] for one in ("cpu", "io")]
    said = {"taken_s": 1.0, "kernel": "x", "reader_uid": 0, "absent": absent}
    (machine / MANIFEST).write_text(json.dumps(said))
    assert outcome(["pressure", "--root", str(machine)]) == 0
    shown = capsys.readouterr().out
    assert "PSI is disabled on this kernel" in shown
    assert "/proc/pressure/memory (no such file: a kernel without PSI" in shown
