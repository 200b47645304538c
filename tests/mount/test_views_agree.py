"""Inside a twin, procps' tools and our views of the same name print the same bytes."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping

import pytest
from tests.mount.twins import Twin, memtwin

from memtwin.mount.inside import try_namespace

COMMANDS = (
    "free -b",
    "free -htw",
    "vmstat -a",
    "vmstat -s",
    "vmstat -m",
    "vmstat -d",
    "slabtop -o",
)
SHARES = ("smem -H -c 'pid uss rss swap pss'", "ps -H -c 'pid uss rss swap pss'")
SEPARATOR = "=====memtwin====="


@pytest.mark.parametrize("name", ["result", "case", "recording"])
def test_a_view_prints_what_the_tool_prints(name: str, twins: Mapping[str, Twin]) -> None:
    missing = [tool for tool in ("free", "vmstat", "slabtop", "smem") if not shutil.which(tool)]
    reason = f"not installed: {', '.join(missing)}" if missing else try_namespace()
    if reason:
        pytest.skip(reason)
    ours = f"{sys.executable} -m memtwin"
    lines = [
        f"{tool} || exit 1; echo {SEPARATOR}; {ours} {tool} || exit 1; echo {SEPARATOR}"
        for tool in COMMANDS
    ]
    lines.append(f"{SHARES[0]} && echo {SEPARATOR} && {ours} {SHARES[1]}")
    done = memtwin("inside", *twins[name].words, "--", "sh", "-c", "\n".join(lines))
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(SEPARATOR + "\n")
    for number, command in enumerate(COMMANDS):
        theirs, own = (text.splitlines() for text in printed[2 * number : 2 * number + 2])
        assert theirs, command
        assert own[: len(theirs)] == theirs, command
        # our slabtop adds what of the slab pages gives way
        assert len(own) - len(theirs) == (1 if command.startswith("slabtop") else 0), command
    theirs, own = (shares(text) for text in printed[2 * len(COMMANDS) :])
    assert theirs
    assert own.keys() == theirs.keys()
    for pid, (*figures, pss) in theirs.items():
        areas = twins[name].text(f"/proc/{pid}/smaps").count("\nRss:")
        assert own[pid][:-1] == figures, pid
        # smem adds the areas' shares, each rounded down; ours is the rollup's, rounded once
        assert 0 <= own[pid][-1] - pss <= areas, pid


def shares(text: str) -> dict[int, list[int]]:
    """pid -> USS, RSS, swap and PSS, in KiB."""
    lines = [line.split() for line in text.splitlines()]
    rows = [list(map(int, words)) for words in lines if words and all(map(str.isdigit, words))]
    return {pid: figures for pid, *figures in rows}
