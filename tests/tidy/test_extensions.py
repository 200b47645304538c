"""The two modes: what is loaded, and that a stale extension is refused, never run."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import house
import memtwin
from memtwin import extensions
from memtwin.extensions import EXTENSION_SUFFIXES, Mode, RoomFinder, StaleExtension

compiled_only = pytest.mark.skipif(
    not memtwin.compiled(), reason="this run is interpreted; `make test` runs compiled"
)


def _later(path: Path, seconds: int) -> None:
    moment_ns = time.time_ns() + seconds * 10**9
    os.utime(path, ns=(moment_ns, moment_ns))


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with room/a, whose header cimports that of room/b; both 'built'."""
    package = tmp_path / "memtwin"
    room = package / "room"
    room.mkdir(parents=True)
    monkeypatch.setattr(extensions, "PACKAGE_DIR", package)
    (room / "a.pxd").write_text("from memtwin.room.b cimport B\n")
    (room / "a.py").write_text("A = 1\n")
    (room / "b.pxd").write_text("cdef class B:\n    cdef int x\n")
    (room / "b.py").write_text("B = 1\n")
    for name in ("a", "b"):
        source = room / f"{name}.py"
        digest = extensions.source_digest(source).encode()
        built = extensions.extension_of(source)
        built.write_bytes(b"\x7fELF.." + extensions.DIGEST_MARK + digest + b"\0..")
        _later(built, 5)
    return room


def _find(room: Path, name: str, mode: Mode) -> str:
    spec = RoomFinder(mode).find_spec(f"memtwin.room.{name}", [str(room)])
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).name


def test_a_fresh_extension_is_loaded_when_compiled(toy: Path) -> None:
    assert _find(toy, "a", Mode.COMPILED) == "a" + EXTENSION_SUFFIXES[0]


def test_the_source_is_loaded_when_interpreted_though_it_is_built(toy: Path) -> None:
    assert _find(toy, "a", Mode.INTERPRETED) == "a.py"


def test_an_extension_of_another_source_is_refused(toy: Path) -> None:
    (toy / "a.py").write_text("A = 2\n")
    _later(toy / "a.py", 10)
    with pytest.raises(StaleExtension, match=r"memtwin\.room\.a: .* run `make build`"):
        _find(toy, "a", Mode.COMPILED)


def test_a_changed_header_makes_every_room_that_cimports_it_stale(toy: Path) -> None:
    (toy / "b.pxd").write_text("cdef class B:\n    cdef long x\n")
    _later(toy / "b.pxd", 10)
    for name in ("a", "b"):
        with pytest.raises(StaleExtension):
            _find(toy, name, Mode.COMPILED)


def test_a_touched_but_equal_source_is_not_stale(toy: Path) -> None:
    _later(toy / "a.py", 10)
    assert _find(toy, "a", Mode.COMPILED) == "a" + EXTENSION_SUFFIXES[0]


def test_a_room_that_is_not_built_among_built_ones_is_refused(toy: Path) -> None:
    extensions.extension_of(toy / "b.py").unlink()
    with pytest.raises(StaleExtension):
        _find(toy, "b", Mode.COMPILED)


def test_a_module_without_header_is_plain_python_in_both_modes(toy: Path) -> None:
    (toy / "c.py").write_text("C = 1\n")
    assert _find(toy, "c", Mode.COMPILED) == "c.py"
    assert _find(toy, "c", Mode.INTERPRETED) == "c.py"


def test_an_environment_variable_makes_a_process_interpret() -> None:
    code = "import memtwin, memtwin.page.mem_map as m; print(memtwin.compiled(), m.__file__[-3:])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "MEMTWIN_INTERPRETED": "1", "PYTHONPATH": str(house.ROOT / "src")},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["False", ".py"]


@compiled_only
@pytest.mark.parametrize("source", extensions.compiled_sources(), ids=extensions.module_name)
def test_each_extension_carries_the_digest_of_the_present_source(source: Path) -> None:
    built = extensions.extension_of(source)
    assert built.exists(), "not built: run `make build`"
    assert extensions.embedded_digest(built) == extensions.source_digest(source), "run `make build`"


@compiled_only
@pytest.mark.parametrize("source", extensions.compiled_sources(), ids=extensions.module_name)
def test_each_hot_room_runs_as_an_extension(source: Path) -> None:
    module = importlib.import_module(extensions.module_name(source))
    assert Path(str(module.__file__)) == extensions.extension_of(source)
