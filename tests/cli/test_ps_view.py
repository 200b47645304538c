"""`memtwin ps`: equal to ps, psutil and smem on processes that stand still; sums; bad words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from stopped_set import NAME, stopped_processes

from memtwin.analysis.usage import By, total
from memtwin.cli import ps_choice, ps_view
from memtwin.cli.main import outcome
from memtwin.cli.view import Form, Pace, Showing, rendered
from memtwin.errors import UserError
from memtwin.observe.processes.record import Origin, Process
from memtwin.observe.processes.scan import Part
from memtwin.units import KIB

FIGURES = ("vss_bytes", "rss_bytes", "pss_bytes", "uss_bytes", "swap_bytes")


@pytest.fixture(scope="module")
def pids() -> Iterator[list[int]]:
    with stopped_processes() as found:
        yield found


def records(pids: list[int], **choice: Any) -> dict[int, Process]:
    looks = ps_view.ProcessLooks(ps_view.Choice(Path("/"), parts=Part.STAT | Part.USER, **choice))
    looks.scan.wanted = lambda process: process.pid in pids
    return {row.pid: row for row in looks.look().rows}


def test_every_figure_equals_psutil_to_the_byte(pids: list[int]) -> None:
    found = records(pids)
    assert sorted(found) == pids
    for pid, row in found.items():
        peer = psutil.Process(pid).memory_full_info()
        ours = row.vss_bytes, row.rss_bytes, row.pss_bytes, row.uss_bytes, row.swap_bytes
        assert ours == (peer.vms, peer.rss, peer.pss, peer.uss, peer.swap)


def test_vss_rss_parent_state_and_faults_equal_ps(pids: list[int]) -> None:
    words = ["ps", "-o", "pid=,ppid=,vsz=,rss=,min_flt=,maj_flt=,nlwp=,stat=,user="]
    words += ["-p", ",".join(map(str, pids))]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert len(lines) == len(pids)
    found = records(pids)
    for pid, ppid, vsz, rss, min_flt, maj_flt, nlwp, stat, user in lines:
        row = found[int(pid)]
        assert (row.ppid, row.vss_bytes) == (int(ppid), int(vsz) * KIB)
        assert row.rss_bytes == int(rss) * KIB
        assert (row.min_flt, row.maj_flt, row.threads) == (int(min_flt), int(maj_flt), int(nlwp))
        assert (row.state, row.user) == (stat[0], user)


@pytest.mark.skipif(shutil.which("smem") is None, reason="smem is not installed")
def test_every_figure_of_smaps_equals_smem_to_the_byte(pids: list[int]) -> None:
    words = ["smem", "-H", "-c", "pid swap uss pss rss vss", "-P", NAME]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    smem = {int(line.split()[0]): [int(w) for w in line.split()[1:]] for line in
            done.stdout.splitlines()}  # fmt: skip
    by_area = records(pids, map_filter="")  # from smaps, mapping by mapping, as smem does
    by_rollup = records(pids)
    for pid in pids:
        swap, uss, pss, rss, vss = smem[pid]
        row = by_area[pid]
        ours = row.swap_bytes, row.uss_bytes, row.pss_bytes, row.rss_bytes, row.vss_bytes
        assert ours == (swap * KIB, uss * KIB, pss * KIB, rss * KIB, vss * KIB)
        exact = by_rollup[pid]
        assert (exact.uss_bytes, exact.rss_bytes, exact.swap_bytes) == (ours[1], ours[3], ours[0])
        # smem adds what was rounded down for each mapping: less than a KiB for each is lost
        areas = len(Path(f"/proc/{pid}/maps").read_text().splitlines())
        assert exact.pss_bytes is not None
        assert 0 <= exact.pss_bytes - pss * KIB <= areas * KIB


def test_sums_by_program_user_and_cgroup_add_up_to_all(pids: list[int]) -> None:
    rows = list(records(pids).values())
    whole = total(rows)
    for by in (By.PROGRAM, By.USER, By.CGROUP):
        looks = ps_view.ProcessLooks(ps_view.Choice(Path("/"), by=by))
        looks.scan.wanted = lambda process: process.pid in pids
        groups = looks.look().rows
        assert sum(group.count for group in groups) == len(pids)
        for field in FIGURES:
            assert sum(getattr(group, field) for group in groups) == getattr(whole, field), field


def test_the_mappings_of_all_processes_add_up_to_the_processes(pids: list[int]) -> None:
    looks = ps_view.ProcessLooks(ps_view.Choice(Path("/"), mappings=True))
    looks.scan.wanted = lambda process: process.pid in pids
    rows = looks.look().rows
    by_area = records(pids, map_filter="")
    for field in FIGURES:
        of_rows = sum(getattr(row, field) or 0 for row in rows)
        assert of_rows == sum(getattr(one, field) or 0 for one in by_area.values()), field
    heap = next(row for row in rows if row.name == "[heap]")
    assert heap.pids_count == len(pids)


def test_the_command_prints_json_csv_and_text_that_agree(
    pids: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = NAME
    assert outcome(["ps", "-P", pattern, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert sorted(row["pid"] for row in rows) == pids
    assert [row["pss_bytes"] for row in rows] == sorted(row["pss_bytes"] for row in rows)
    assert outcome(["ps", "-P", pattern, "-c", "pid uss", "-s", "pid", "-r", "-t"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()[1:5]]
    expected = sorted(((row["pid"], row["uss_bytes"] // KIB) for row in rows), reverse=True)
    assert [(int(pid), int(uss)) for pid, uss in lines] == expected
    assert out.splitlines()[6].split() == ["4", str(sum(uss for _, uss in expected))]
    assert "4 of 4 processes readable" in out
    assert outcome(["ps", "-P", pattern, "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_repeated_looks_say_age_and_source_and_keep_to_the_budget(pids: list[int]) -> None:
    choice = ps_view.Choice(Path("/"), budget_share=1.0, interval_s=60.0)
    looks = ps_view.ProcessLooks(choice)
    looks.scan.wanted = lambda process: process.pid in pids
    first, second = looks.look(), looks.look()
    assert [row.origin for row in first.rows] == [Origin.FRESH] * len(pids)
    assert [row.origin for row in second.rows] == [Origin.CARRIED] * len(pids)  # nothing moved
    assert all(0 < row.age_s < 30 for row in second.rows)
    for before, after in zip(first.rows, second.rows, strict=True):
        assert before.pss_bytes == after.pss_bytes
    assert "0 walked" in second.notes[1]
    assert "4 carried over" in second.notes[1]


def test_what_no_budget_is_left_for_is_estimated_and_marked(pids: list[int]) -> None:
    looks = ps_view.ProcessLooks(ps_view.Choice(Path("/"), budget_share=1e-6, interval_s=0.1))
    looks.scan.wanted = lambda process: process.pid in pids
    snapshot = looks.look()
    assert [row.origin for row in snapshot.rows] == [Origin.ESTIMATED] * len(pids)
    assert rendered(snapshot, Form.TEXT).count("~") >= 2 * len(pids)
    for row in snapshot.rows:
        statm = Path(f"/proc/{row.pid}/statm").read_text().split()
        assert row.uss_bytes == (int(statm[1]) - int(statm[2])) * os.sysconf("SC_PAGE_SIZE")


def test_a_name_that_would_steer_the_terminal_is_shown_escaped(tmp_path: Path) -> None:
    (tmp_path / "proc" / "7").mkdir(parents=True)
    stat = b"7 (\x1b[2J\xff) S 1" + b" 7" * 48 + b"\n"
    (tmp_path / "proc" / "7" / "stat").write_bytes(stat)
    (tmp_path / "proc" / "7" / "cmdline").write_bytes(b"\x1b]0;x\n\0")
    for form in Form:
        look = ps_choice.look_for(
            ps_choice.Words(columns="pid name command"), tmp_path, Showing(form)
        )
        text = rendered(look(), form)
        text.encode()
        assert form is Form.CSV or "\x1b" not in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--by", "planet"], "--by: found 'planet', allowed are process, program"),
        (["-c", "pid nothing"], "columns: found 'nothing', allowed are pid"),
        (["-s", "nothing"], "sort: found 'nothing'"),
        (["-P", "("], "-P: found '('"),
        (["--budget", "0"], "--budget: found '0'"),
        (["--budget", "2%", "-m"], "--budget: found with a look into mappings"),
        (["-k", "-p"], "-k: found with -p"),
        (["--root", "/nowhere"], "--root: found '/nowhere', allowed is a directory"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["ps", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert says in err


def test_a_live_screen_has_the_largest_first_and_a_repeated_one_a_budget() -> None:
    live = ps_choice.look_for(ps_choice.Words(), Path("/"), Showing(pace=Pace.LIVE))
    rows = live().rows
    assert [row.pss_bytes or 0 for row in rows] == sorted(
        (row.pss_bytes or 0 for row in rows), reverse=True
    )
    with pytest.raises(UserError, match="allowed is none"):
        ps_choice.look_for(ps_choice.Words(budget="much"), Path("/"), Showing(pace=Pace.LIVE))
