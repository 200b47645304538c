"""The command line answers at once: what is heavy is imported inside the commands that use it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import house

HELP = "import sys; sys.argv = ['memtwin', '--help']; from memtwin.cli.main import main; main()"
LOADED = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
"""
MAX_CPU_S = 0.3
HEAVY = {"numpy", "pyarrow", "hypothesis", "Cython"}


FREE = "import sys; sys.argv = ['memtwin', 'free']; from memtwin.cli.main import main; main()"
# typer's checks of values load the first of these; a plain command line needs none
FREE_HEAVY = HEAVY | {"pydantic", "rich", "textual", "tarfile", "memtwin.observe.texts"}


def _run(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(house.ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )


def test_help_costs_less_than_300_ms_of_cpu() -> None:
    spent_s = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = _run(HELP)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        spent_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent_s) < MAX_CPU_S, f"CPU seconds of five runs: {spent_s}"


def test_help_imports_neither_numpy_nor_pyarrow() -> None:
    done = _run(LOADED + HELP)
    assert "usage" in done.stdout.lower()
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert not loaded & HEAVY


def test_free_imports_no_library_that_costs_more_than_it_prints() -> None:
    done = _run(LOADED + FREE)
    assert "Mem:" in done.stdout
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert not loaded & FREE_HEAVY
