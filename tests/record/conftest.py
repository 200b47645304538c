"""Fixtures of the recorders' tests: compiled little programs with known behaviour."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from memtwin.record import RecordSummary, Trace, record

sys.path.insert(0, str(Path(__file__).parent))  # record_programs
Compile = Callable[[str], Path]


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """Compiles C text to a program."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc)")
    made: dict[str, Path] = {}

    def compile_text(text: str) -> Path:
        if text not in made:
            directory = tmp_path_factory.mktemp("program")
            (directory / "program.c").write_text(text)
            subprocess.run(
                [compiler, "-O1", "-pthread", "-o", "program", "program.c"],
                cwd=directory,
                check=True,
            )
            made[text] = directory / "program"
        return made[text]

    return compile_text


@pytest.fixture
def need_qemu() -> None:
    """Skips where the emulator isn't installed."""
    if shutil.which(f"qemu-{os.uname().machine}") is None:
        pytest.skip("no QEMU user mode (apt install qemu-user)")


@pytest.fixture
def record_here(
    tmp_path: Path, need_qemu: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[RecordSummary, Trace]]:
    """Records a command in a directory of its own and opens the trace."""
    monkeypatch.chdir(tmp_path)

    def run(*command: object, **options: object) -> tuple[RecordSummary, Trace]:
        from memtwin.record import open_trace

        summary = record([str(word) for word in command], tmp_path / "t.trace", **options)
        return summary, open_trace(summary.path)

    return run
