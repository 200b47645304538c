"""The speed of a disk is measured where that is possible, and nothing is left behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memtwin.sweep import disk_speed
from memtwin.sweep.disk_speed import measure_disk


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_speed, "PROBE_BYTES", 4 << 20)


@pytest.mark.usefixtures("small")
def test_a_disk_has_a_latency_and_two_rates_and_keeps_no_file(tmp_path: Path) -> None:
    opened = len(os.listdir("/proc/self/fd"))
    speed = measure_disk(tmp_path)
    if speed is None:
        pytest.skip("no direct I/O below the temporary directory")
    assert speed.latency_ns > 0
    assert speed.read_bytes_per_s > 0
    assert speed.write_bytes_per_s > 0
    assert not list(tmp_path.iterdir())
    assert len(os.listdir("/proc/self/fd")) == opened


@pytest.mark.parametrize("place", ["/proc", "/no/such/directory", "/dev/null"])
def test_a_place_without_a_disk_has_no_speed(place: str) -> None:
    assert measure_disk(Path(place)) is None


@pytest.mark.usefixtures("small")
def test_a_disk_that_fails_on_the_way_has_no_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "pwritev", lambda file, buffers, offset: 512)
    assert measure_disk(tmp_path) is None
    assert len(os.listdir("/proc/self/fd")) == opened
