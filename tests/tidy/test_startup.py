"""The command line answers at once: what is heavy is imported inside the commands that use it."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

import house

HELP = "import sys; sys.argv = ['memtwin', '--help']; from memtwin.cli.main import main; main()"
LOADED = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
"""
MAX_CPU_S = 0.3
HEAVY = {"numpy", "pyarrow", "hypothesis", "Cython"}


PLAIN = "import sys; sys.argv = {words!r}; from memtwin.cli.main import main; main()"
# what declares and checks words, shows screens, and the libraries behind them: none is needed to
# print a view that is asked for in plain words
VIEW_HEAVY = HEAVY | {
    "argparse",
    "asyncio",
    "click",
    "ctypes",
    "dataclasses",
    "importlib.metadata",
    "importlib.resources",
    "logging",
    "memtwin.cli.typer_way",
    "memtwin.observe.texts",
    "multiprocessing",
    "pydantic",
    "rich",
    "socket",
    "subprocess",
    "tarfile",
    "tempfile",
    "textual",
    "threading",
    "tomllib",
    "typer",
    "typing_extensions",
}
PLAIN_VIEWS = (
    "free",
    "free -h -t",
    "vmstat",
    "vmstat -s",
    "slabtop -o",
    "meminfo",
    "buddyinfo",
    "zoneinfo",
    "vmallocinfo",
    "cgroups",
    "zram",
    "dirty",
    "pressure",
    "ps",
    "ps -t -k",
    "maps self",
    "pmap self",
    "procrank",
    "oom",
    "ledger",
    "smem -t",
    "thp",
    "zswap",
    "numa",
)


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


@pytest.mark.parametrize("view", PLAIN_VIEWS)
def test_a_view_in_plain_words_imports_no_library_that_costs_more_than_it_prints(view: str) -> None:
    words = ["memtwin", *(str(os.getpid()) if word == "self" else word for word in view.split())]
    done = _run(LOADED + PLAIN.format(words=words))
    assert done.returncode == 0, done.stderr
    assert done.stdout
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "memtwin.cli.short_way" in loaded
    assert not loaded & VIEW_HEAVY


def test_watching_begins_without_the_libraries_that_seal_and_read_stores() -> None:
    rooms = "import memtwin.cli.watch_run, memtwin.cli.watch_command"
    done = _run(f"{LOADED}{rooms}, memtwin.observe.samples.store, memtwin.cli.watch_words")
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert "memtwin.observe.samples.sampler" in loaded
    assert not loaded & {"numpy", "pyarrow", "typer", "subprocess"}


def test_typing_extensions_can_still_be_imported_after_a_view() -> None:
    code = PLAIN.format(words=["memtwin", "free"]).replace("main()", "outcome(['free'])")
    code = code.replace("import main;", "import outcome;") + "; import typing_extensions as t"
    done = _run(f"{code}; assert t.__file__; import msgspec; assert msgspec.Struct")
    assert done.returncode == 0, done.stderr
    assert "Mem:" in done.stdout


def test_a_doubtful_word_is_left_to_the_library_that_checks_them() -> None:
    done = _run(LOADED + PLAIN.format(words=["memtwin", "free", "--help"]))
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert {"typer", "memtwin.cli.typer_way"} <= loaded
