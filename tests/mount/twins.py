"""Twins that the tests of this room show, each made once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from memtwin.machine.config import load_machine
from memtwin.machine.machine import Machine
from memtwin.mount.checkpoint_tree import CheckpointTree
from memtwin.mount.live import open_case, open_recording, open_script
from memtwin.mount.wanted import Wanted
from memtwin.observe.source import Tree, paths_below
from memtwin.workload.script import run_script

TESTS = Path(__file__).parent.parent
RECORDING = TESTS.parent / "src" / "memtwin" / "data" / "demo.trace"
# several processes: a shared file, a forked child, shared memory, a group that swaps to zram
SHOP = """
cgcreate web
cgset web memory.max 24M
start server
start worker
cgadd web worker
@server open F /log create
@server write F 0 4M
@server fsync F
@server mmapfile M /log shared
@server touch M r seq 0 1000
@server mmap A anon 40M
@server touch A w seq 0 10000
@server mmap S shm 6M
@server touch S w seq 0 900
@server fork child
@child touch A w seq 0 2000
@child touch M r seq 0 300
@worker mmap B anon 48M
@worker fill B half 1 0 12000
start reader
@reader mmapfile M /log private ro
@reader touch M r seq 100 500
checkpoint busy
@worker munmap B
sleep 1500
"""
SHOP_CHANGES = ["ram=192M", "swap=zram:256M", "cpus=2"]
GUEST = """
start P
@P mmap A anon 24M
@P touch A w seq 0 6000
@P fork Q
@Q touch A w seq 0 1500
"""


@dataclass(frozen=True)
class Twin:
    """A twin to be shown: what memtwin is told, and its tree in this process."""

    name: str
    words: tuple[str, ...]  # behind `memtwin inside`
    tree: Tree

    def text(self, path: str) -> str:
        found = self.tree.read(path)
        assert found is not None, f"{self.name} has no {path}"
        return found

    def pids(self) -> list[str]:
        return [name for name in self.tree.names("/proc") if name.isdigit()]


@cache
def shop_result() -> dict[str, Any]:
    return run_script(SHOP, load_machine("laptop-8g", SHOP_CHANGES))


def guest_case() -> dict[str, Any]:
    case: dict[str, Any] = json.loads((TESTS / "data" / "starts" / "6.12.json").read_text())
    case["case"]["script"] = GUEST.strip().splitlines()
    return case


def shop_machine() -> Machine:
    wanted = Wanted(lambda: load_machine("laptop-8g", SHOP_CHANGES), at="busy")
    machine = open_script(SHOP, Path("shop.wl"), wanted, None).machine
    assert machine is not None
    return machine


def make_twins(folder: Path) -> dict[str, Twin]:
    """A result file, a case with a recorded start run live, and a recording replayed live."""
    result, case = folder / "shop.json", folder / "guest.json"
    result.write_text(json.dumps(shop_result()))
    case.write_text(json.dumps(guest_case()))
    busy = next(c for c in shop_result()["checkpoints"] if c["name"] == "busy")
    nothing = Wanted(lambda: load_machine("laptop-8g"))
    small = Wanted(
        lambda: load_machine("laptop-8g", ["swap=zram:64M"]), True, "30%", None, 16 << 20
    )
    replayed = ("--at", "30%", "--limit", "16M", "--swap", "zram:64M")
    return {
        "result": Twin("result", (str(result), "--at", "busy"), CheckpointTree(busy["files"])),
        "case": Twin("case", (str(case),), open_case(guest_case(), case, nothing, None).tree),
        "recording": Twin(
            "recording",
            (str(RECORDING), *replayed),
            open_recording(RECORDING, small, None).tree,
        ),
    }


def memtwin(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """`memtwin WORDS`, ended."""
    command = [sys.executable, "-m", "memtwin", *words]
    environment = {**os.environ, "LC_ALL": "C", "COLUMNS": "300", "SHELL": "/bin/sh"}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=environment,
        **options,
    )


def everything(tree: Tree) -> dict[str, str]:
    """path -> text of all files of `tree`."""
    return {path: text for path in paths_below(tree, "/") if (text := tree.read(path)) is not None}
