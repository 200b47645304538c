"""`memtwin smem` prints byte for byte what smem 1.5 prints of the same processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from stopped_set import NAME, stopped_processes

from memtwin.cli.main import outcome

SMEM = shutil.which("smem")
needs_smem = pytest.mark.skipif(SMEM is None, reason="smem is not installed")
REPORTS = (
    "", "-t", "-k", "-p -t", "-r", "-H", "-n -t", "-s pid", "-s command -r", "-a", "-a -k",
    "-c|pid maps name vss swap", "-c|user maps pss -s", "-a -c|pid user name command maps vss",
    "-m", "-m -t", "-m -c|map count pids swap uss rss pss vss avgpss avgrss -s",
    "-m -a -k -r", "-m -s count", "-u", "-u -t -n", "-u -k -c|user count swap uss pss rss",
    "-M heap", "-m -M so$ -t", "-U root -t", "-P nothing-of-this-name -t",
)  # fmt: skip
SYSTEM = (
    "-w", "-w -t", "-w -k", "-w -p -t", "-w -R 64G", "-w -R 65537.3M -t", "-w -s used -r",
    "-w -c|order area noncache", "-w -H", "-w -a", "-p -R 1G", "-m -p -R 2048MB -t",
)  # fmt: skip


def words_of(text: str) -> list[str]:
    """The words of a report; what stands behind "|" is one word, but for a flag at its end."""
    plain, bar, columns = text.partition("|")
    if not bar:
        return plain.split()
    trailing = " -s" if columns.endswith(" -s") else ""
    columns = columns.removesuffix(" -s")
    more = ["-s", columns.split()[-1]] if trailing else []
    return [*plain.split(), columns, *more]


@pytest.fixture(scope="module")
def pids() -> Iterator[list[int]]:
    with stopped_processes() as found:
        yield found


@pytest.fixture(scope="module")
def tree(pids: list[int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stopped processes and this machine's meminfo as files, one of them another user's."""
    root = tmp_path_factory.mktemp("tree")
    for number, pid in enumerate(pids):
        place = root / "proc" / str(pid)
        place.mkdir(parents=True)
        for name in ("stat", "cmdline", "smaps", "status"):
            (place / name).write_bytes(Path(f"/proc/{pid}/{name}").read_bytes())
        if os.geteuid() == 0 and number == 1:
            os.chown(place, 65534, 65534)
            status = (place / "status").read_text().replace("Uid:\t0\t0", "Uid:\t65534\t65534")
            (place / "status").write_text(status)
    (root / "proc" / "meminfo").write_bytes(Path("/proc/meminfo").read_bytes())
    (root / "etc").mkdir()
    (root / "etc" / "passwd").write_bytes(Path("/etc/passwd").read_bytes())
    return root


def smem(words: list[str]) -> str:
    done = subprocess.run(
        ["smem", *words], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    return done.stdout


@needs_smem
@pytest.mark.parametrize("report", [*REPORTS, *SYSTEM])
def test_every_report_of_a_tree_equals_smem_byte_for_byte(
    report: str,
    tree: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_terminal(descriptor: int) -> os.terminal_size:
        raise OSError(descriptor)

    monkeypatch.setattr(os, "get_terminal_size", no_terminal)  # as of a pipe
    words = [*words_of(report), "-S", str(tree)]
    theirs = smem(words)
    assert theirs.count("\n") or "-H" in report
    assert outcome(["smem", *words]) == 0
    assert capsys.readouterr().out == theirs


@needs_smem
@pytest.mark.parametrize("report", ["-t", "-c|pid user name command maps swap uss pss rss vss",
                                    "-m -t", "-u", "-k -t -r"])  # fmt: skip
def test_reports_of_running_processes_equal_smem_byte_for_byte(
    report: str, pids: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*words_of(report), "-P", f"{NAME}$"]  # not smem itself, whose words hold the pattern
    theirs = smem(words)
    assert theirs.count("\n") > 1
    assert outcome(["smem", *words]) == 0
    assert capsys.readouterr().out == theirs


def test_json_has_whole_figures_with_their_units(
    tree: Path, pids: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["smem", "--json", "--root", str(tree)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "memtwin.smem-process"
    assert sorted(row["pid"] for row in document["rows"]) == pids
    maps = Path(f"/proc/{pids[0]}/maps").read_text().count("\n")
    assert next(r["maps_count"] for r in document["rows"] if r["pid"] == pids[0]) == maps
    assert outcome(["smem", "-w", "--json", "--root", str(tree)]) == 0
    areas = json.loads(capsys.readouterr().out)["rows"]
    total = int((tree / "proc" / "meminfo").read_text().split()[1])
    assert sum(area["used_kib"] for area in areas) == total


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("-c nonsense", "-c: found 'nonsense', allowed are pid user"),
        ("-s nonsense", "-s: found 'nonsense'"),
        ("-m -u", "found more than one of -m -u -w"),
        ("-k -p", "-k: found with -p"),
        ("-P (", "-P: found '('"),
        ("-R much", "-R: found 'much', allowed is a number with its unit"),
    ],
)
def test_a_word_that_is_none_is_named(
    words: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["smem", *words.split()]) == 2
    err = capsys.readouterr().err
    assert found in err
    assert err.count("\n") == 1
