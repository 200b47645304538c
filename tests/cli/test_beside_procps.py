"""free, vmstat and slabtop print byte for byte what procps prints of the same texts."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.observe.recordings import every_tree, written

from memtwin.cli.main import outcome

TREES = every_tree()
FREE = (
    "free", "free -b", "free -m", "free -g", "free -h", "free -h --si", "free --mega", "free -w",
    "free -wl", "free -tv", "free -hltv --si", "free --kilo",
)  # fmt: skip
VMSTAT = (
    "vmstat", "vmstat -a", "vmstat -w", "vmstat -wa", "vmstat -s", "vmstat -S M", "vmstat -S m -s",
    "vmstat -S k", "vmstat -d", "vmstat -dw", "vmstat -D", "vmstat -m", "vmstat -f",
    "vmstat -p vda",
)  # fmt: skip
SLABTOP = tuple(f"slabtop -o -s {letter}" for letter in "abclvnopsu")
COMMANDS = (*FREE, *VMSTAT, *SLABTOP)
SEPARATOR = "=====next====="


def tools() -> list[str]:
    """What is missing to run procps on a written tree."""
    missing = [name for name in ("free", "vmstat", "slabtop", "unshare") if not shutil.which(name)]
    if not missing and "4.0.2" not in subprocess.getoutput("free --version"):
        missing.append("procps 4.0.2")
    return missing


def in_tree(tree: Path) -> dict[str, str]:
    """command -> what procps prints with the files of `tree` bound over /proc and /sys/block."""
    script = [
        f"mount --bind {tree}/proc /proc",
        f"mount --bind {tree}/sys/block /sys/block",
        *(f"{command}; echo {SEPARATOR}" for command in COMMANDS),
    ]
    done = subprocess.run(
        ["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c", "\n".join(script)],
        capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    parts = done.stdout.split(f"{SEPARATOR}\n")
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.splitlines()[0]}")
    assert len(parts) == len(COMMANDS) + 1, done.stderr
    return dict(zip(COMMANDS, parts, strict=False))


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Each recording written out, with names for its disks."""
    found = {}
    for name, texts in TREES.items():
        more = {"/proc/cpuinfo": "processor\t: 0\ncore id\t\t: 0\n"}  # vmstat ends without one
        tree = written(tmp_path_factory.mktemp("tree"), {**more, **texts})
        for disk in ("vda", "vdb", "zram0"):
            (tree / "sys/block" / disk).mkdir(parents=True, exist_ok=True)
        found[name] = tree
    return found


@pytest.mark.parametrize("name", sorted(TREES))
def test_procps_and_memtwin_print_the_same_bytes(
    name: str, trees: Mapping[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    if missing := tools():
        pytest.skip(f"without {', '.join(missing)}")
    theirs = in_tree(trees[name])
    different = []
    for command in COMMANDS:
        assert theirs[command], f"procps' {command} printed nothing"
        words = command.split()
        assert outcome([*words, "--root", str(trees[name])]) == 0
        ours = capsys.readouterr().out
        ours = "".join(
            line for line in ours.splitlines(keepends=True)
            if not line.startswith("absent: ") and "give way under pressure" not in line
        )  # fmt: skip
        if ours != theirs[command]:
            different.append(f"{command}\n--- procps\n{theirs[command]}--- memtwin\n{ours}")
    assert not different, f"{len(different)} of {len(COMMANDS)}:\n" + "\n".join(different)
