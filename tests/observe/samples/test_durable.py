"""A store survives a failing step and a loss of power at any moment of its sealing."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from memtwin.errors import UserError
from memtwin.observe.samples.journal import Sample
from memtwin.observe.samples.reader import StoreReader
from memtwin.observe.samples.store import StoreWriter

S = 1_000_000_000
MOMENTS = [n * S for n in range(1, 6)]
STEPS = ("fsync", "rename", "unlink")


class Step(NamedTuple):
    """One call that decides what survives, and the store as it stood just after."""

    call: str
    path: str  # below the store; "." is the store itself
    after: Path


class Disk:
    """Notes each step, keeps the store as it stood after it, and can fail at one of them."""

    def __init__(self, store: Path, kept: Path, fails_at: int = -1) -> None:
        self.store, self.kept, self.fails_at = store, kept, fails_at
        self.steps: list[Step] = []
        self.count = 0
        self._real = {name: getattr(os, name) for name in STEPS}

    def watching(self, name: str) -> Callable[..., Any]:
        def step(what: Any, *more: Any, **named: Any) -> Any:
            where = os.readlink(f"/proc/self/fd/{what}") if name == "fsync" else os.fspath(what)
            if not where.startswith(str(self.store)):
                return self._real[name](what, *more, **named)
            if self.count == self.fails_at:
                self.count += 1
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            found = self._real[name](what, *more, **named)
            after = self.kept / str(self.count)
            shutil.copytree(self.store, after)
            self.steps.append(Step(name, os.path.relpath(where, self.store), after))
            self.count += 1
            return found

        return step


def written(directory: Path) -> StoreWriter:
    """A store with five samples in its journal."""
    store = StoreWriter(directory, 4096, "/")
    for number, moment in enumerate(MOMENTS):
        text = f"MemTotal:  1000 kB\nMemFree:  {number} kB\n".encode()
        store.append(Sample(moment, moment, 0, {"/proc/meminfo": text}, []))
    return store


def sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int = -1
) -> tuple[Disk, Path, bool]:
    """Seal such a store, watched; whether it went well."""
    directory = tmp_path / "store"
    store = written(directory)
    disk = Disk(directory, tmp_path / "kept", fails_at)
    with monkeypatch.context() as patched:
        for name in STEPS:
            patched.setattr(os, name, disk.watching(name))
        try:
            store.close()
        except UserError:
            return disk, directory, False
    return disk, directory, True


def test_contents_then_names_are_flushed_before_the_rename_and_the_journal_goes_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, _, _ = sealed(tmp_path, monkeypatch)
    calls = [(step.call, step.path) for step in disk.steps]
    part = "segment-00000001.part"
    files = [path for call, path in calls if call == "fsync" and path.startswith(f"{part}/")]
    there = sorted(os.listdir(tmp_path / "store" / "segment-00000001"))
    assert sorted(os.path.basename(path) for path in files) == there
    assert calls == [
        ("fsync", "journal-00000001"),
        *(("fsync", path) for path in files),
        ("fsync", part),
        ("rename", part),
        ("fsync", "."),
        ("unlink", "journal-00000001"),
    ]


def test_a_step_that_fails_loses_nothing_whichever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = len(sealed(tmp_path / "whole", monkeypatch)[0].steps)
    assert steps > 8
    for number in range(steps):
        _, directory, went_well = sealed(tmp_path / str(number), monkeypatch, number)
        assert not went_well, number
        assert StoreReader(directory).moments_ns() == MOMENTS, number
        StoreWriter(directory, 4096, "/").close()
        assert StoreReader(directory).moments_ns() == MOMENTS, number
        assert not list(directory.glob("journal-*")), number


def after_power_loss(steps: list[Step], journal: Path, target: Path) -> Iterator[Path]:
    """Every state in which the disk may be found when power fails after the last of `steps`.

    What a step did to names may be on disk or not until their directory is flushed; what was
    written to a file may be missing until the file is.
    """
    flushed = {step.path for step in steps if step.call == "fsync"}
    renamed = next((n for n, step in enumerate(steps) if step.call == "rename"), None)
    unlinked = steps[-1].call == "unlink"
    name_flushed = renamed is not None and any(
        step.call == "fsync" and step.path == "." for step in steps[renamed:]
    )
    part = "segment-00000001.part"
    here = "segment-00000001" if renamed is not None else part
    may_be_undone = {
        "rename": renamed is not None and not name_flushed,
        "unlink": unlinked,
        "names": f"{part}" not in flushed and (steps[-1].after / here).exists(),
    }
    doubtful = [name for name, may in may_be_undone.items() if may]
    for number, undone in enumerate(itertools.product([False, True], repeat=len(doubtful))):
        lost = {name for name, is_lost in zip(doubtful, undone, strict=True) if is_lost}
        state = target / str(number)
        shutil.copytree(steps[-1].after, state)
        for file in (state / here).glob("*.parquet"):
            if "names" in lost:
                file.unlink()
            elif f"{part}/{file.name}" not in flushed:
                file.write_bytes(b"")
        if "rename" in lost:
            (state / here).rename(state / part)
        if "unlink" in lost:
            shutil.copy(journal, state / "journal-00000001")
        yield state


def test_a_loss_of_power_after_any_step_loses_no_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, _, _ = sealed(tmp_path, monkeypatch)
    journal = disk.steps[0].after / "journal-00000001"  # flushed by the first step
    states = 0
    for number in range(1, len(disk.steps) + 1):
        target = tmp_path / "found" / str(number)
        for state in after_power_loss(disk.steps[:number], journal, target):
            where = (number, state.name, disk.steps[number - 1][:2])
            assert StoreReader(state).moments_ns() == MOMENTS, where
            StoreWriter(state, 4096, "/").close()
            assert StoreReader(state).moments_ns() == MOMENTS, where
            states += 1
    assert states > len(disk.steps)  # some steps leave it open what is on disk


def test_a_journal_is_removed_beside_its_segment_only_when_that_is_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = len(sealed(tmp_path / "whole", monkeypatch)[0].steps) - 1
    _, directory, _ = sealed(tmp_path / "cut", monkeypatch, last)  # the journal could not go
    disk = Disk(directory, tmp_path / "kept")
    with monkeypatch.context() as patched:
        for name in STEPS:
            patched.setattr(os, name, disk.watching(name))
        StoreWriter(directory, 4096, "/").close()
    calls = [(step.call, step.path) for step in disk.steps]
    assert calls == [("fsync", "."), ("unlink", "journal-00000001")]
