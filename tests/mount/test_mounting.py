"""A mounted twin: whole texts, nothing written, and gone whichever way its process ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mount.twins import SHOP, Twin, everything

from memtwin.cli.main import outcome
from memtwin.errors import UserError
from memtwin.mount.checkpoint_tree import CheckpointTree
from memtwin.mount.nodes import Nodes
from memtwin.mount.serve import require_fuse
from memtwin.mount.written import write_tree
from memtwin.observe.meminfo import parse_meminfo
from memtwin.observe.source import TreeSource
from memtwin.observe.system import parse_stat

PATIENCE_S = 60.0
PLAYED = """
start P
@P mmap A anon 64M
sleep 1000
@P touch A w seq 0 4000
sleep 3000
@P touch A r rand 1 4000
"""


def is_mounted(place: Path) -> bool:
    return f" {place} fuse " in Path("/proc/self/mounts").read_text()


def wait_for(place: Path, mounted: bool) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while is_mounted(place) is not mounted:
        assert time.monotonic() < deadline_s, f"{place} is mounted: {not mounted}"
        time.sleep(0.02)


@contextlib.contextmanager
def mounted(place: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`memtwin mount` running, and what it shows at `place`."""
    try:
        require_fuse()
    except UserError as fault:
        pytest.skip(str(fault))
    command = [sys.executable, "-m", "memtwin", "mount", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(place, True)
        yield process
    finally:
        process.kill()
        process.communicate()
        wait_for(place, False)


def test_a_mounted_result_shows_every_file_of_its_tree(
    twins: dict[str, Twin], tmp_path: Path
) -> None:
    twin = twins["result"]
    with mounted(tmp_path, twin.words[0], str(tmp_path), *twin.words[1:]):
        assert everything(TreeSource(tmp_path)) == everything(twin.tree)
        for refused in ("proc/meminfo", "proc/new"):
            with pytest.raises(OSError, match=r"Read-only file system"):
                (tmp_path / refused).write_text("x")
        with pytest.raises(FileNotFoundError):
            (tmp_path / "proc" / "self").stat()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_it_is_unmounted_when_its_process_ends_by_a_signal(
    number: signal.Signals, twins: dict[str, Twin], tmp_path: Path
) -> None:
    with mounted(tmp_path, twins["result"].words[0], str(tmp_path)) as process:
        process.send_signal(number)
        _, told = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == (-number if number == signal.SIGKILL else 0), told
        wait_for(tmp_path, False)
    assert not any(tmp_path.iterdir())


def test_umount_ends_the_process_by_itself(twins: dict[str, Twin], tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("umount(8) is root's")
    with mounted(tmp_path, twins["result"].words[0], str(tmp_path)) as process:
        subprocess.run(["umount", str(tmp_path)], check=True)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0


def test_a_playing_twin_changes_but_never_within_one_open(tmp_path: Path) -> None:
    script, place = tmp_path / "play.wl", tmp_path / "at"
    place.mkdir()
    script.write_text(PLAYED)
    words = (str(script), str(place), "--play", "20", "--machine", "board-128m")
    with mounted(place, *words):
        stat = place / "proc" / "stat"
        with stat.open("rb", buffering=0) as held:
            begin = held.read(16)
            before = parse_stat(stat.read_text()).rows["cpu"]
            deadline_s = time.monotonic() + PATIENCE_S
            while parse_stat(stat.read_text()).rows["cpu"] == before:
                assert time.monotonic() < deadline_s, "its time stands still"
            rest = b"".join(iter(lambda: held.read(7), b""))
            held.seek(0)  # as vmstat and top do: the same open file, read anew
            later = parse_stat(held.read(1 << 16).decode()).rows["cpu"]
        assert sum(parse_stat((begin + rest).decode()).rows["cpu"]) <= sum(before) < sum(later)
        assert parse_meminfo((place / "proc" / "meminfo").read_text()).mem_total_kib


def test_written_files_are_the_tree_and_replace_nothing(
    twins: dict[str, Twin], tmp_path: Path
) -> None:
    tree, place = twins["recording"].tree, tmp_path / "tree"
    count = write_tree(Nodes(tree), place)
    assert everything(TreeSource(place)) == everything(tree)
    assert count == len(everything(tree))
    with pytest.raises(UserError, match="allowed is a new or empty place"):
        write_tree(Nodes(tree), place)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tree"]


def test_a_tree_whose_making_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    class Failing(CheckpointTree):
        def read(self, path: str) -> str | None:
            raise OSError(5, "Input/output error")

    with pytest.raises(UserError, match="Input/output error"):
        write_tree(Nodes(Failing({"/proc/stat": ""})), tmp_path / "tree")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mount", "{result}", "{full}"], "allowed is an empty directory"),
        (["mount", "{result}", "{full}/none"], "found no directory"),
        (["mount", "{result}", "{new}", "--at", "never"], "has busy, final"),
        (["mount", "{result}", "{new}", "--play", "1"], "which stands still"),
        (["mount", "{result}", "{new}", "--machine", "board-128m"], "leave it out"),
        (["mount", "{script}", "{new}", "--at", "never"], "has busy, final"),
        (["mount", "{script}", "{new}", "--play", "0"], "allowed is above 0"),
        (["mount", "{script}", "{new}", "--write", "--play", "1"], "stand still"),
        (["mount", "{full}", "{new}"], "found no proc/ in it"),
        (["mount", "{junk}", "{new}"], "allowed is a result or a case"),
        (["mount", "{outward}", "{new}"], "allowed are plain paths"),
        (["mount", "{nothing}", "{new}"], "found no text for '/proc/stat'"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    words: list[str],
    told: str,
    twins: dict[str, Twin],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {
        "result": twins["result"].words[0],
        "full": str(tmp_path / "full"),
        "new": str(tmp_path / "new"),
        "script": str(tmp_path / "shop.wl"),
        **{name: str(tmp_path / f"{name}.json") for name in ("junk", "outward", "nothing")},
    }
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    (tmp_path / "new").mkdir()
    (tmp_path / "shop.wl").write_text(SHOP)
    (tmp_path / "junk.json").write_text('{"a": 1}')
    for name, path in (("outward", "/proc/../../x"), ("nothing", "/proc/stat")):
        checkpoint = {"name": "final", "files": {path: "x" if name == "outward" else None}}
        (tmp_path / f"{name}.json").write_text(json.dumps({"checkpoints": [checkpoint]}))
    assert outcome([word.format(**names) for word in words]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert told in printed
