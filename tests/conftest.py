"""Owns what holds for the whole test run: the mode it must run in."""

from __future__ import annotations

import os

import pytest

import memtwin


def pytest_report_header() -> str:
    """Say at the top of the run which mode is tested."""
    return f"memtwin {memtwin.__version__}, {'compiled' if memtwin.compiled() else 'interpreted'}"


def pytest_sessionstart() -> None:
    """Refuse a run that would test another mode than the one asked for."""
    mode = "compiled" if memtwin.compiled() else "interpreted"
    expected = os.environ.get("MEMTWIN_EXPECT", mode)
    if expected != mode:
        pytest.exit(f"expected {expected} rooms, found {mode}: run `make build`", returncode=2)
