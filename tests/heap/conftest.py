"""Owns the driver that makes the machine's own C library the truth, built once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import glibc_builds
from tests.heap import truth


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built driver; skips where this machine's C library is none that the twin knows."""
    reason = glibc_builds.why_not(glibc_builds.installed())
    if reason:
        pytest.skip(reason)
    return truth.build_driver(tmp_path_factory.mktemp("truth"))
