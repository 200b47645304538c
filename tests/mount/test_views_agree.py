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
SEPARATOR = "=====memtwin====="


@pytest.mark.parametrize("name", ["result", "case", "recording"])
def test_a_view_prints_what_the_tool_prints(name: str, twins: Mapping[str, Twin]) -> None:
    missing = [tool for tool in ("free", "vmstat", "slabtop") if not shutil.which(tool)]
    reason = f"not installed: {', '.join(missing)}" if missing else try_namespace()
    if reason:
        pytest.skip(reason)
    ours = f"{sys.executable} -m memtwin"
    lines = [
        f"{tool} || exit 1; echo {SEPARATOR}; {ours} {tool} || exit 1; echo {SEPARATOR}"
        for tool in COMMANDS
    ]
    done = memtwin("inside", *twins[name].words, "--", "sh", "-c", "\n".join(lines))
    assert done.returncode == 0, done.stderr
    printed = done.stdout.split(SEPARATOR + "\n")
    for number, command in enumerate(COMMANDS):
        theirs, own = (text.splitlines() for text in printed[2 * number : 2 * number + 2])
        assert theirs, command
        assert own[: len(theirs)] == theirs, command
        # our slabtop adds what of the slab pages gives way
        assert len(own) - len(theirs) == (1 if command.startswith("slabtop") else 0), command
