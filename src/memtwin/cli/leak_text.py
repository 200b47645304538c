"""Owns how sizes, kinds and blocks of a search for leaks are printed.

Imports cli/columns_text, units and the records' titles.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from memtwin.cli.columns_text import DASH, Column, figure, table
from memtwin.errors import Absent
from memtwin.observe.leak_reports.report import KIND_TITLES, Tally
from memtwin.units import format_size


def signed(size_bytes: int) -> str:
    """A difference of bytes.

    >>> signed(2048), signed(-1)
    ('+2K', '-1B')
    """
    return f"{'-' if size_bytes < 0 else '+'}{format_size(abs(size_bytes))}"


def per_hour(bytes_per_s: float) -> str:
    """A rate as people think of leaks.

    >>> per_hour(1024)
    '3.5M/h'
    """
    return f"{'-' if bytes_per_s < 0 else ''}{format_size(round(abs(bytes_per_s) * 3600))}/h"


def kinds_table(kinds: Mapping[str, Tally | None]) -> str:
    """The four kinds with their blocks and bytes."""
    rows = [
        [
            title,
            figure(tally.blocks) if (tally := kinds.get(kind)) is not None else DASH,
            figure(tally.bytes) if tally is not None else DASH,
        ]
        for kind, title in KIND_TITLES.items()
    ]
    return table([Column("kind", "<"), Column("blocks"), Column("bytes")], rows)


def say(text: str) -> None:
    """Print lines that end with a newline already."""
    sys.stdout.write(text)


def notes_and_absent(notes: Sequence[str], absent: Sequence[Absent] = ()) -> str:
    """What has to be said below a view."""
    lines = [f"note: {note}\n" for note in notes]
    return "".join(lines + [f"absent: {one.what}: {one.why}\n" for one in absent])


def say_json(value: Any) -> None:
    """Print a record, or a mapping of records, as JSON."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=1).decode())
