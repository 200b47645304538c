"""Owns the programs that the tests of live heaps look into: built once, started, ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.glibc_builds import Library

SOURCES = Path(__file__).parent / "programs"
Start = Callable[..., "Running"]
Build = Callable[..., Path]


class Running:
    """A program that has said READY, and what it said before."""

    def __init__(self, process: subprocess.Popen[str], said: list[str]) -> None:
        self.process, self.said, self.pid = process, said, process.pid

    def ask(self, word: str = "") -> str:
        """Send a line, get a line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compile a program of `programs/` with flags; each only once."""
    folder = tmp_path_factory.mktemp("programs")

    def built(
        name: str, *flags: str, compiler: str = "gcc", library: Library | None = None
    ) -> Path:
        source = next(SOURCES.glob(f"{name}.*"))
        words = [name, compiler, *(f.strip("-").replace("/", "_") for f in flags)]
        out = folder / "-".join([*words, library.version if library else "installed"])
        if not out.exists():
            links = library.link_words if library else ()
            subprocess.run(
                [compiler, "-g", "-O1", "-pthread", "-o", str(out), str(source), *flags, *links],
                check=True,
            )
        return out

    return built


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program and wait until it says READY; it is ended after the test."""
    running: list[subprocess.Popen[str]] = []

    def begin(*command: object, **environment: str) -> Running:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **environment},
        )  # fmt: skip
        running.append(process)
        said = []
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == "READY":
                return Running(process, said)
            said.append(line.strip())
        raise AssertionError(f"{command}: ended with {process.wait()} after {said[-3:]}")

    yield begin
    for process in running:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def _need_compiler() -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc to build the programs it looks into")
