"""`memtwin heap` from the command line: recordings in; figures, a picture and reasons out."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc")


def _memtwin(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "memtwin.cli.main", "heap", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("heap") / "p.heap"
    code = "x = [bytes(n) for n in range(1000, 60000, 20)]; del x"
    done = _memtwin("record", "-o", str(out), "--", sys.executable, "-c", code)
    assert done.returncode == 0
    assert "exit status 0" in done.stderr
    return out


def test_a_replay_shows_the_changed_setting_beside_the_recorded_one(recording: Path) -> None:
    words = ["--set", "M_MMAP_THRESHOLD=16K", "--glibc", "2.41", "--json"]
    found = json.loads(_memtwin("replay", str(recording), *words).stdout)["replays"]
    plain, changed = found.values()
    assert list(found)[1] == "changed (2.41)"
    assert changed["mmap_calls"] > plain["mmap_calls"]
    assert changed["events"] == plain["events"] > 3000
    text = _memtwin("replay", str(recording), *words[:-1]).stdout
    assert "rss peak" in text
    assert "changed (2.41)" in text


def test_show_gives_a_picture_reasons_and_a_page(recording: Path, tmp_path: Path) -> None:
    page = tmp_path / "heap.html"
    text = _memtwin("show", str(recording), "--html", str(page)).stdout
    assert "bytes a cell" in text
    assert "malloc_trim(0) would give back" in text
    assert "Arena 0:" in text
    assert page.read_text().count("<rect") > 100


def test_a_mistake_is_one_line_and_status_2(recording: Path, tmp_path: Path) -> None:
    for words in (
        ("replay", str(tmp_path / "none")),
        ("replay", str(recording), "--glibc", "3.0"),
        ("replay", str(recording), "--set", "M_CHECK_ACTION=1"),
        ("replay", str(recording), "--process", "1"),
        ("replay", str(recording), "--limit", "32M"),
        ("record", "-o", str(tmp_path / "x")),
        ("show", str(recording), "--html", str(tmp_path / "no" / "p.html")),
    ):
        done = _memtwin(*words)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("memtwin: ")
