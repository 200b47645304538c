"""`memtwin ledger` shows the same figures as text, JSON and CSV, and says what is missing."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from memtwin.cli.main import outcome

_STARTS = Path(__file__).parent.parent / "data" / "starts"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A captured tree of a recorded kernel."""
    texts = json.loads((_STARTS / "6.12.json").read_text())["start"]["files"]
    for path, text in texts.items():
        file = tmp_path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_rows_of_a_captured_tree_sum_to_its_mem_total(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["ledger", "--root", str(tree), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    rows = [row for row in document["rows"] if row["section"] == "row"]
    total = document["totals"]["mem_total_pages"]
    assert sum(row["pages"] for row in rows) == total == document["totals"]["sum_of_rows_pages"]
    assert outcome(["ledger", "--root", str(tree), "--csv"]) == 0
    printed = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["row"] for row in printed] == [row["row"] for row in document["rows"]]
    assert outcome(["ledger", "--root", str(tree)]) == 0
    text = capsys.readouterr().out
    assert f"{total:,}" in text
    assert "unaccounted" in text


def test_a_census_of_a_tree_without_frames_is_absent_with_its_reason(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["ledger", "--root", str(tree), "--census", "--json"]) == 0
    absent = json.loads(capsys.readouterr().out)["absent"]
    assert {"what": "census", "why": "/proc/kpageflags: No such file or directory"} in absent


def test_a_second_look_tells_how_each_row_moved(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ledger", "--root", str(tree), "--json", "--interval", "0.1", "--count", "2"]
    assert outcome(words) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert {row["change_pages"] for row in first["rows"]} == {None}
    assert {row["change_pages"] for row in second["rows"] if row["section"] == "row"} == {0}


def test_a_tree_without_meminfo_is_a_mistake_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["ledger", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads this host")
def test_the_ledger_of_this_host_closes(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(["ledger", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["totals"]["sum_of_rows_pages"] == document["totals"]["mem_total_pages"]
