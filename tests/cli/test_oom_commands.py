"""`memtwin oom`, `oom explain` and `delays` as a user meets them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sys
from pathlib import Path

import pytest

from memtwin.cli.main import outcome

LAB = Path(__file__).parent.parent / "data" / "oom"
Text = pytest.CaptureFixture[str]


def _said(capsys: Text, *words: str) -> str:
    assert outcome(list(words)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def _refused(capsys: Text, *words: str) -> str:
    assert outcome(list(words)) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "found" in said.err or "no such" in said.err.lower()
    return said.err


def test_explain_tells_the_kill_the_cause_and_the_table(capsys: Text) -> None:
    said = _said(capsys, "oom", "explain", str(LAB / "6.1-swap.txt"))
    assert "The machine ran out of memory: init (79) was killed." in said
    assert "Swap is full" in said
    assert "killed   79  init" in said
    assert "Where all RAM (90.3M) was:" in said


def test_explain_as_json_has_every_figure_with_its_unit(capsys: Text) -> None:
    said = json.loads(_said(capsys, "oom", "explain", str(LAB / "6.12-group.txt"), "--json"))
    assert said["schema"] == "memtwin.oom.explain"
    (row,) = said["rows"]
    assert row["report"]["memcg"]["memory"]["limit_kib"] == 24576
    assert row["judgement"]["agrees"] is True
    assert said["totals"]["reports"] == 1


def test_explain_takes_one_of_several_and_counts_from_the_end(capsys: Text) -> None:
    path = str(LAB / "6.1-four-kills.txt")
    assert _said(capsys, "oom", "explain", path).count("--- report") == 4
    last = _said(capsys, "oom", "explain", path, "--report", "-1")
    assert "--- report 4 of 4" in last
    assert "1 to 4" in _refused(capsys, "oom", "explain", path, "--report", "5")


def test_explain_reads_gzip_and_stdin(
    capsys: Text, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = (LAB / "5.10-global.txt").read_bytes()
    packed = tmp_path / "kern.log.2.gz"
    packed.write_bytes(gzip.compress(raw))
    wanted = "init (72) was killed"
    assert wanted in _said(capsys, "oom", "explain", str(packed))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))
    assert wanted in _said(capsys, "oom", "explain", "-")
    packed.write_bytes(gzip.compress(raw)[:200])
    assert "gzip" in _refused(capsys, "oom", "explain", str(packed))


def test_explain_says_when_there_is_nothing_and_writes_a_page(capsys: Text, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\xff\x00 nothing here\n<script>\n")
    assert "No OOM kill of the kernel in 2 lines" in _said(capsys, "oom", "explain", str(log))
    page = tmp_path / "page.html"
    log.write_text((LAB / "7.3-group.txt").read_text().replace("(init)", "(<b>&)"))
    _said(capsys, "oom", "explain", str(log), "--html", str(page))
    assert "&lt;b&gt;&amp;" in page.read_text()
    assert "<b>&" not in page.read_text()


def test_explain_answers_what_would_have_avoided_it(capsys: Text) -> None:
    said = _said(
        capsys, "oom", "explain", str(LAB / "6.12-group.txt"), "--what-if", "--growth", "2M"
    )
    assert "The twin rebuilds the kill" in said
    assert "2M more than it had" in said
    assert "more memory.max" in said


def test_explain_needs_exactly_one_log(capsys: Text, tmp_path: Path) -> None:
    assert "nothing" in _refused(capsys, "oom", "explain")
    assert "FILE and --dmesg" in _refused(capsys, "oom", "explain", "x", "--dmesg")
    assert outcome(["oom", "explain", str(tmp_path / "none")]) == 2
    assert "No such file" in capsys.readouterr().err
    assert outcome(["oom", "explain", str(tmp_path)]) == 2


def _tree(tmp_path: Path) -> Path:
    """A captured tree of three processes, one exempt, two in a group."""
    proc = tmp_path / "proc"
    (proc / "sys" / "kernel").mkdir(parents=True)
    (proc / "sys" / "kernel" / "osrelease").write_text("6.1.0-20-amd64\n")
    (proc / "meminfo").write_text("MemTotal:  4096000 kB\nSwapTotal:  0 kB\n")
    for pid, name, rss_kib, adj, score in (
        (1, "init", 9000, 0, 0), (20, "web\tapp", 400_000, 0, 731), (30, "db", 800_000, -500, 464),
        (40, "sshd", 8000, -1000, 0),
    ):  # fmt: skip
        home = proc / str(pid)
        home.mkdir()
        (home / "status").write_text(
            f"Name:\t{name}\nUid:\t5\t5\t5\t5\nVmRSS:\t{rss_kib} kB\nVmPTE:\t400 kB\n"
        )
        (home / "oom_score").write_text(f"{score}\n")
        (home / "oom_score_adj").write_text(f"{adj}\n")
        (home / "cgroup").write_text(f"0::/{'shop/web' if pid in (20, 30) else ''}\n")
    (proc / "50").mkdir()
    (proc / "50" / "status").write_text("Name:\tkthreadd\n")
    (proc / "60").mkdir()  # gone
    group = tmp_path / "sys" / "fs" / "cgroup" / "shop"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{512 << 20}\n")
    (group / "memory.oom.group").write_text("1\n")
    return tmp_path


def test_next_names_the_one_and_those_that_are_exempt(capsys: Text, tmp_path: Path) -> None:
    said = _said(capsys, "oom", "--root", str(_tree(tmp_path)))
    assert "web\\x09app (20) would be killed" in said
    assert "never killed: init (1), sshd (40)" in said
    assert "oom_score recomputed as the kernel's for 4 of 4 processes" in said
    assert "memory.oom.group of /shop is set" in said
    assert "4 of 5 processes readable (1 gone or not permitted)" in said


def test_next_of_a_group_counts_by_its_limit(capsys: Text, tmp_path: Path) -> None:
    root = str(_tree(tmp_path))
    said = json.loads(_said(capsys, "oom", "--root", root, "--cgroup", "/shop", "--json"))
    assert [row["pid"] for row in said["rows"]] == [
        30,
        20,
    ]  # -500 thousandths of 512 MiB weigh less
    assert said["totals"]["total_pages"] == 1 << 17
    rows = list(
        csv.DictReader(io.StringIO(_said(capsys, "oom", "--root", root, "--csv", "-c", "2")))
    )
    assert [row["pid"] for row in rows] == ["20", "30"]
    assert "no memory cgroup" in _refused(capsys, "oom", "--root", root, "--cgroup", "/nope")


def test_next_refuses_what_is_no_tree(capsys: Text, tmp_path: Path) -> None:
    assert "meminfo" in _refused(capsys, "oom", "--root", str(tmp_path))
    assert "allowed is a directory or a captured archive" in _refused(
        capsys, "oom", "--root", str(tmp_path / "x")
    )


def test_delays_of_this_process_as_text_json_and_csv(capsys: Text) -> None:
    pid = str(os.getpid())
    assert "cpu" in _said(capsys, "delays", pid)
    said = json.loads(_said(capsys, "delays", pid, "--json"))
    kinds = {row["kind"] for row in said["rows"]}
    assert kinds >= {"cpu", "blkio", "swapin", "freepages"}
    assert all(row["why"] or row["total_ns"] is not None for row in said["rows"])
    rows = list(csv.DictReader(io.StringIO(_said(capsys, "delays", pid, "--csv", "--threads"))))
    assert {row["pid"] for row in rows} == {pid}
    every = json.loads(_said(capsys, "delays", "--all", "-c", "2", "--json"))
    assert len({row["pid"] for row in every["rows"]}) == 2


COUNTED = """
import threading
held = bytearray(8 << 20)
threads = [threading.Thread(target=sum, args=(range(200_000),)) for _ in range(3)]
for one in threads: one.start()
for one in threads: one.join()
"""


def test_delays_of_a_command_are_those_of_all_its_threads(capsys: Text) -> None:
    if outcome(["delays", "--json", "--", "true"]) == 2:
        pytest.skip(capsys.readouterr().err)
    capsys.readouterr()
    said = json.loads(_said(capsys, "delays", "--json", "--", sys.executable, "-c", COUNTED))
    (task,) = said["totals"]["tasks"]
    assert task["threads"] == 4
    assert task["comm"].startswith("python")
    assert task["min_flt"] > 8 << 8
    cpu = next(row for row in said["rows"] if row["kind"] == "cpu")
    assert cpu["count"] >= 4
    assert "no way to run it" in _refused(capsys, "delays", "--", "no-such-program-here")


def test_delays_refuse_what_they_cannot_do(capsys: Text) -> None:
    _refused(capsys, "delays")
    _refused(capsys, "delays", "1", "--all")
    assert "no process" in _refused(capsys, "delays", str(2**22 + 5))
