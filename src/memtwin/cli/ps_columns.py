"""Owns the columns of `memtwin ps`: their names as smem has them, heads, and cells as text.

Imports cli/columns_text, analysis/usage and the records. Sums nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from memtwin.cli.columns_text import DASH, Column
from memtwin.errors import UserError
from memtwin.observe.processes.record import Origin, Process
from memtwin.observe.source import printable
from memtwin.units import KIB, format_size

KIB_UNIT, HUMAN_UNIT, PERCENT_UNIT = "KiB", "human", "percent"


class Field(NamedTuple):
    """One column: its head, how its value is got, and whether the value is a size."""

    head: str
    get: Callable[[Any], Any]
    is_size: bool = False
    align: str = ">"


def _size(head: str, field: str) -> Field:
    return Field(head, lambda row: getattr(row, field), is_size=True)


def _plain(head: str, field: str, align: str = ">") -> Field:
    return Field(head, lambda row: getattr(row, field), align=align)


_SIZES = {
    "swap": _size("Swap", "swap_bytes"),
    "swappss": _size("SwapPSS", "swap_pss_bytes"),
    "uss": _size("USS", "uss_bytes"),
    "pss": _size("PSS", "pss_bytes"),
    "rss": _size("RSS", "rss_bytes"),
    "vss": _size("VSS", "vss_bytes"),
}
PROCESS_FIELDS: Mapping[str, Field] = {
    "pid": _plain("PID", "pid"),
    "ppid": _plain("PPID", "ppid"),
    "uid": _plain("UID", "uid"),
    "user": _plain("User", "user", "<"),
    "name": _plain("Name", "comm", "<"),
    "command": Field("Command", lambda row: row.command or f"[{row.comm}]", align="<"),
    "cgroup": _plain("Cgroup", "cgroup", "<"),
    "state": _plain("S", "state", "<"),
    "threads": _plain("Threads", "threads"),
    "minflt": _plain("MinFlt", "min_flt"),
    "majflt": _plain("MajFlt", "maj_flt"),
    **_SIZES,
    "hugetlb": _size("HugeTLB", "hugetlb_bytes"),
    "oom": _plain("OOM", "oom_score"),
    "oomadj": _plain("OOMadj", "oom_score_adj"),
    "source": _plain("Source", "origin", "<"),
    "age": Field("Age", lambda row: f"{row.age_s:.0f}s" if row.pss_bytes is not None else None),
}
GROUP_FIELDS: Mapping[str, Field] = {
    "name": _plain("Name", "name", "<"),
    "count": _plain("Count", "count"),
    "read": _plain("Read", "read_count"),
    **_SIZES,
}
MAPPING_FIELDS: Mapping[str, Field] = {
    "map": _plain("Map", "name", "<"),
    "count": _plain("Count", "count"),
    "pids": _plain("PIDs", "pids_count"),
    **_SIZES,
    "avgpss": Field("AVGPSS", lambda row: _average(row, "pss_bytes"), is_size=True),
    "avgrss": Field("AVGRSS", lambda row: _average(row, "rss_bytes"), is_size=True),
    "avguss": Field("AVGUSS", lambda row: _average(row, "uss_bytes"), is_size=True),
}


def _average(row: Any, field: str) -> int | None:
    figure = getattr(row, field)
    return None if figure is None or not row.pids_count else figure // row.pids_count


class Layout(NamedTuple):
    """Which columns are shown and how: `unit` of sizes, `ram_bytes` for percent."""

    fields: Mapping[str, Field]
    names: Sequence[str]
    unit: str = KIB_UNIT
    ram_bytes: int = 0


def chosen(fields: Mapping[str, Field], words: str | None, usual: str) -> list[str]:
    """The names of the columns that `words` ("pid pss" or "pid,pss") asks for.

    Raises UserError for a name that is not there.
    """
    names = (words or usual).replace(",", " ").split()
    for name in names:
        known(fields, name, "columns")
    return names


def known(fields: Mapping[str, Field], name: str, what: str) -> Field:
    """The field `name`. Raises UserError, which lists those there are."""
    if name not in fields:
        raise UserError(f"{what}: found {name!r}, allowed are {' '.join(fields)}")
    return fields[name]


def heads(layout: Layout) -> list[Column]:
    """The columns for a table."""
    return [Column(layout.fields[name].head, layout.fields[name].align) for name in layout.names]


def cells(layout: Layout, rows: Sequence[Any]) -> list[list[str]]:
    """One list of cells for each of `rows`."""
    columns = [_column(layout, layout.fields[name], rows) for name in layout.names]
    return [list(line) for line in zip(*columns, strict=True)]


def _column(layout: Layout, field: Field, rows: Sequence[Any]) -> list[str]:
    values = map(field.get, rows)
    if not field.is_size:
        return [DASH if one is None or one == "" else printable(str(one)) for one in values]
    marked = field.head in ("PSS", "USS")
    if layout.unit == KIB_UNIT:
        texts = [DASH if one is None else str(one // KIB) for one in values]
    else:
        texts = [shown_size(one, layout.unit, layout.ram_bytes) for one in values]
    if marked:
        return [_mark(text, row) for text, row in zip(texts, rows, strict=True)]
    return texts


def _mark(text: str, row: Any) -> str:
    is_guess = isinstance(row, Process) and row.origin is Origin.ESTIMATED
    return f"~{text}" if is_guess else text


def shown_size(size_bytes: int | None, unit: str, ram_bytes: int) -> str:
    """A size in `unit`: KiB, as people write it, or percent of the machine's memory."""
    if size_bytes is None:
        return DASH
    if unit == KIB_UNIT:
        return str(size_bytes // KIB)
    if unit == HUMAN_UNIT:
        return format_size(size_bytes)
    return f"{100 * size_bytes / ram_bytes:.2f}%" if ram_bytes else DASH
