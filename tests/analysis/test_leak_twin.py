"""Of twins it is known what leaks: a few of the runs of benchmarks/leaks.py, whole way through."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "benchmarks"))

from leaks import outcome


@pytest.mark.parametrize(
    "name", ["steady", "sawtooth", "warm-up", "growing page cache", "one or two steps"]
)
def test_what_does_not_leak_is_not_called_a_leak(name: str) -> None:
    assert outcome(name, 7).false == ()


@pytest.mark.parametrize(
    "name",
    ["leak, slow", "leak under a sawtooth", "slab leak", "page-table leak", "driver's pages leak"],
)
def test_what_leaks_is_found_and_nothing_else_is_blamed(name: str) -> None:
    found = outcome(name, 7)
    assert found.found
    assert found.false == ()
