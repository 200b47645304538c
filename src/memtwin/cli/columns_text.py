"""Owns a table as plain text: aligned columns that a pipe reads as well as a person.

Imports units. Knows nothing of what the figures mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from memtwin.units import format_size

DASH = "-"  # stands where a figure is absent


class Column(NamedTuple):
    """One column: its head, and ">" for figures or "<" for words."""

    head: str
    align: str = ">"


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """Lines of `rows` below the heads of `columns`, two blanks between them.

    >>> print(table([Column("name", "<"), Column("rss")], [["a", "12"], ["bc", "3"]]), end="")
    name  rss
    a      12
    bc      3
    """
    cells = [[column.head for column in columns], *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    # one format for all lines: tables of hundreds of rows are printed each second
    line = "  ".join(
        f"%{'-' if column.align == '<' else ''}{width}s"
        for column, width in zip(columns, widths, strict=True)
    )
    return "".join([(line % tuple(row)).rstrip() + "\n" for row in cells])


def figure(value: float | None) -> str:
    """`value` with thousands apart, or a dash where it is absent.

    >>> figure(1234567), figure(None)
    ('1,234,567', '-')
    """
    return DASH if value is None else f"{value:,}"


def size(size_bytes: int | None) -> str:
    """`size_bytes` as people write it, or a dash where it is absent.

    >>> size(134217728), size(None)
    ('128M', '-')
    """
    return DASH if size_bytes is None else format_size(size_bytes)
