"""Processes that share memory in every way and stand still, to be looked at by several programs.

Their program is linked by itself: no page of theirs is mapped by any other process, so that what
others do on the machine meanwhile changes none of their figures.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

COUNT = 4
NAME = "stopped-set"


@contextlib.contextmanager
def stopped_processes() -> Iterator[list[int]]:
    """The pids of four stopped processes: a parent and three forks that wrote some pages."""
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory) / NAME
        source = Path(__file__).with_suffix(".c")
        compiler = os.environ.get("CC", "gcc").split()
        subprocess.run([*compiler, "-O1", "-static", str(source), "-o", str(program)], check=True)
        parent = subprocess.Popen([str(program)], stdout=subprocess.PIPE)
        pids: list[int] = []
        try:
            assert parent.stdout is not None
            pids = sorted(int(parent.stdout.readline()) for _ in range(COUNT))
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            while not all(_is_stopped(pid) for pid in pids):
                time.sleep(0.01)
            yield pids
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            parent.kill()
            parent.communicate()


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
