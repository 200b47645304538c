"""Owns smem's table: which columns its reports have, and how it prints them, byte by byte.

Imports errors. Knows nothing of where figures come from: a row is whatever a column gets from it.
Sizes are KiB. As smem 1.5 showtable() and its fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from memtwin.errors import UserError
from memtwin.observe.source import printable

_UNITS = ("", "K", "M", "G", "T")
_WIDTH = re.compile(r"[0-9]+")
_OVERFLOW = ("command", "map")  # columns that are cut to what the terminal leaves
_LEAST_OVERFLOW = 10


class Total(NamedTuple):
    """How the last line makes one cell of a column."""

    of: Callable[[list[Any]], Any]


COUNT = Total(len)
DIFFERENT = Total(lambda cells: len(dict.fromkeys(cells)))
SUM = Total(sum)
BLANK = Total(lambda cells: "")


class SmemColumn(NamedTuple):
    """One column. `shape`: a format whose letter is "a" where the cell is a size."""

    head: str
    get: Callable[[Any], Any]
    shape: str
    total: Total | None = None


class Style(NamedTuple):
    """How a table is printed. `width`: of the terminal, where columns are to fit it."""

    abbreviate: bool = False
    percent: bool = False
    totals: bool = False
    header: bool = True
    reverse: bool = False
    width: int | None = None


class Wholes(NamedTuple):
    """What percents are of, in KiB."""

    ram_kib: float
    swap_kib: int


def named(columns: Mapping[str, SmemColumn], words: str) -> list[str]:
    """The names in `words`. Raises UserError for one that the report does not have."""
    names = words.split()
    for name in names:
        if name not in columns:
            raise UserError(f"-c: found {name!r}, allowed are {' '.join(columns)}")
    return names


def sorted_rows(
    rows: Sequence[Any], columns: Mapping[str, SmemColumn], names: Sequence[str], sort: str
) -> list[Any]:
    """`rows` by column `sort`, and where that is the same, by what is shown of them."""
    if sort not in columns:
        raise UserError(f"-s: found {sort!r}, allowed are {' '.join(columns)}")
    key = columns[sort].get
    return sorted(rows, key=lambda row: (key(row), [columns[name].get(row) for name in names]))


def smem_text(
    rows: Sequence[Any],
    columns: Mapping[str, SmemColumn],
    names: Sequence[str],
    style: Style,
    wholes: Wholes,
) -> str:
    """The lines that smem prints of `rows`, which are in their order."""
    shapes = [_shape(columns[name], name, rows, names, columns, style) for name in names]
    heads = "".join(
        shape % columns[name].head + " " for shape, name in zip(shapes, names, strict=True)
    )
    lines = [heads] if style.header else []
    for row in rows:
        cells = [columns[name].get(row) for name in names]
        lines.append(_line(cells, columns, names, shapes, style, wholes))
    if style.totals:
        last = []
        for name in names:
            total = columns[name].total
            last.append("" if total is None else total.of([columns[name].get(r) for r in rows]))
        lines.append("-" * len(heads))
        lines.append(_line(last, columns, names, shapes, style, wholes))
    return "".join(f"{line}\n" for line in lines)


def _line(
    cells: Sequence[Any],
    columns: Mapping[str, SmemColumn],
    names: Sequence[str],
    shapes: Sequence[str],
    style: Style,
    wholes: Wholes,
) -> str:
    line = ""
    for cell, name, shape in zip(cells, names, shapes, strict=True):
        shown = cell
        if "a" in columns[name].shape and cell != "":
            shown = amount(cell, wholes.swap_kib if name == "swap" else wholes.ram_kib, style)
        line += shape % (printable(shown) if isinstance(shown, str) else shown) + " "
    return line


def amount(size_kib: float, whole_kib: float, style: Style) -> Any:
    """A size as `style` shows it.

    >>> amount(2048, 8192, Style(abbreviate=True)), amount(2048, 8192, Style(percent=True))
    ('2.0M', '25.00%')
    """
    if style.abbreviate:
        return _with_unit(size_kib * 1024)
    if style.percent:
        return "N/A" if whole_kib == 0 else f"{100.0 * size_kib / whole_kib:.2f}%"
    return size_kib


def _with_unit(size: float) -> str:
    if size == 0:
        return "0"
    step = 0
    while size >= 1024 and step < len(_UNITS):
        size, step = size / 1024.0, step + 1
    return f"{size:.1f}{_UNITS[min(step, len(_UNITS) - 1)]}"


def _shape(
    column: SmemColumn,
    name: str,
    rows: Sequence[Any],
    names: Sequence[str],
    columns: Mapping[str, SmemColumn],
    style: Style,
) -> str:
    shape = column.shape.replace("a", "s")
    if style.width is None:
        return shape
    widths = {one: _widest(columns[one], rows, style) for one in names}
    overflow = next((one for one in _OVERFLOW if one in names), None)
    if overflow is not None:
        others = sum(widths.values()) - widths[overflow]
        room = max(style.width - others - len(names), _LEAST_OVERFLOW)
        widths[overflow] = min(widths[overflow], room)
    return _WIDTH.sub(str(widths[name]), shape)


def _widest(column: SmemColumn, rows: Sequence[Any], style: Style) -> int:
    found = [1, len(column.head)] if style.header else [1]
    if (style.abbreviate or style.percent) and "a" in column.shape:
        return max([*found, 7])
    return max([*found, *(len(str(column.get(row))) for row in rows)])
