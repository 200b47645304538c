"""A sysctl that the guardian wrote holds afterwards what it held before, however the asker goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memtwin.errors import UserError
from memtwin.sweep.host import HostChanges

# how often the kernel folds its memory counters: nothing here depends on one second more
PATH = Path("/proc/sys/vm/stat_interval")
needs_root = pytest.mark.skipif(
    not os.access(PATH, os.W_OK), reason=f"{PATH} may not be written here"
)
ASK_AND_WAIT = f"""
import time
from memtwin.sweep.host import HostChanges
changes = HostChanges("test").__enter__()
changes.ask("sysctl", "{PATH}", "7")
print("asked", flush=True)
time.sleep(60)
"""


@needs_root
def test_a_sysctl_is_put_back_when_the_block_ends() -> None:
    held = PATH.read_text()
    with HostChanges("test") as changes:
        changes.ask("sysctl", str(PATH), "7")
        assert PATH.read_text().strip() == "7"
    assert PATH.read_text() == held


@needs_root
def test_a_sysctl_is_put_back_when_the_asker_is_killed() -> None:
    held = PATH.read_text()
    with subprocess.Popen([sys.executable, "-c", ASK_AND_WAIT], stdout=subprocess.PIPE) as asker:
        assert asker.stdout is not None
        assert asker.stdout.readline() == b"asked\n"
        assert PATH.read_text().strip() == "7"
        asker.kill()
    for _ in range(500):
        if PATH.read_text() == held:
            break
        time.sleep(0.01)
    assert PATH.read_text() == held


def test_only_files_of_proc_sys_are_written(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("1")
    with HostChanges("test") as changes, pytest.raises(UserError, match="not a file of /proc/sys"):
        changes.ask("sysctl", str(target), "2")
    assert target.read_text() == "1"
