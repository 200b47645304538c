"""Owns looking back into a store: its timeline, or any view at a moment or through a span.

Imports the store's reader, analysis/timeline and cli/view. A view runs on the moment's texts laid
out as a captured tree, so that it is the very view of a live host.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from memtwin.analysis.timeline import PATHS, TimelineRow, spread, timeline
from memtwin.cli.columns_text import DASH, Column, figure, size, table
from memtwin.cli.moments import clock_text, parse_moment_ns
from memtwin.cli.view import Absent, Form, Showing, Snapshot, show, shown_as
from memtwin.errors import UserError
from memtwin.observe.samples.moment import StoredMoment
from memtwin.observe.samples.reader import StoreReader

DEFAULT_ROWS = 20
_SPARKS = "▁▂▃▄▅▆▇█"


class Span(NamedTuple):
    """What part of a store is asked for, as it was written on the command line."""

    at: str | None = None
    begin: str | None = None
    end: str | None = None
    step_s: float | None = None
    rows: int = DEFAULT_ROWS


def replay(directory: Path, span: Span, view: list[str], form: Form) -> int:
    """Show a store: its timeline, or `view` (words of a command) at its moments. An exit status."""
    reader = StoreReader(directory)
    whole_ns = reader.span_ns()
    if span.at is not None and (span.begin or span.end):
        raise UserError("--at: found with --from or --to, allowed is one of them")
    if view:
        # typer takes the words that both commands know for ours
        own = {Form.TEXT: [], Form.JSON: ["--json"], Form.CSV: ["--csv"]}[form]
        return _views(reader, span, whole_ns, [*view, *own])
    show_timeline(reader, span, whole_ns, form)
    return 0


def between(span: Span, whole_ns: tuple[int, int]) -> tuple[int, int]:
    """The first and last moment of a span. Raises UserError when it ends before it begins."""
    begin = whole_ns[0] if span.begin is None else parse_moment_ns(span.begin, "--from", whole_ns)
    end = whole_ns[1] if span.end is None else parse_moment_ns(span.end, "--to", whole_ns)
    if span.begin is not None and ":" in span.begin:
        begin -= 59_999_999_999 if span.begin.count(":") == 1 else 999_999_999  # its beginning
    if end < begin:
        raise UserError(f"--to: found {span.end!r}, which is before --from")
    return begin, end


def show_timeline(reader: StoreReader, span: Span, whole_ns: tuple[int, int], form: Form) -> None:
    """Print the timeline of a span, or of the last moment at --at."""
    if span.at is not None:
        moment = parse_moment_ns(span.at, "--at", whole_ns)
        chosen = [reader.at(moment).taken_ns]
    else:
        inside = reader.moments_ns(between(span, whole_ns))
        chosen = _stepped(inside, span)
    if not chosen:
        raise UserError(f"{reader.directory}: found no sample in that span")
    picked = set(chosen)
    moments = reader.each(set(PATHS), (chosen[0], chosen[-1]))
    rows = timeline(moment for moment in moments if moment.taken_ns in picked)
    absent = [Absent("samples", said) for said in reader.said]
    snapshot = Snapshot(
        "timeline", rows, timeline_text(rows), {"samples": len(inside) if span.at is None else 1},
        absent, [], str(reader.directory), chosen[-1] / 1e9,
    )  # fmt: skip
    show(lambda: snapshot, Showing(form))


def _stepped(moments_ns: list[int], span: Span) -> list[int]:
    if span.step_s is None:
        return spread(moments_ns, span.rows)
    chosen: list[int] = []
    for moment in moments_ns:
        if not chosen or moment - chosen[-1] >= span.step_s * 1e9 * 0.999:
            chosen.append(moment)
    return chosen


def _views(reader: StoreReader, span: Span, whole_ns: tuple[int, int], view: list[str]) -> int:
    from memtwin.cli.main import outcome

    status = 0
    for moment in _moments(reader, span, whole_ns):
        print(f"# {clock_text(moment.taken_ns)}", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="memtwin-moment-") as folder:
            lay_out(moment, Path(folder))
            with shown_as(str(reader.directory), moment.taken_ns / 1e9):
                status = outcome([*view, "--root", folder])
        if status:
            return status
    for said in reader.said:
        print(f"memtwin: {said}", file=sys.stderr)
    return status


def _moments(reader: StoreReader, span: Span, whole_ns: tuple[int, int]) -> Iterator[StoredMoment]:
    if span.begin is None and span.end is None:
        at = span.at if span.at is not None else "end"
        yield reader.at(parse_moment_ns(at, "--at", whole_ns))
        return
    for moment_ns in _stepped(reader.moments_ns(between(span, whole_ns)), span):
        yield reader.at(moment_ns)


def lay_out(moment: StoredMoment, folder: Path) -> None:
    """Write a moment's texts below `folder` as a captured tree has them."""
    for path, text in moment.texts.items():
        parts = path.strip("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            continue  # no path of a kernel: nothing of a store may lead out of the folder
        file = folder.joinpath(*parts)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue  # a path below a path that is a file itself


_COLUMNS = (
    Column("time", "<"), Column("available"), Column("free"), Column("anon"), Column("file"),
    Column("shmem"), Column("slab"), Column("kernel"), Column("unaccounted"), Column("swap"),
    Column("majflt/s"), Column("in/s"), Column("out/s"), Column("stalled"),
)  # fmt: skip
_PLOTTED = (
    ("available", "available_bytes"), ("anon", "anonymous_bytes"), ("file", "file_bytes"),
    ("slab", "slab_bytes"), ("unaccounted", "unaccounted_bytes"), ("swap", "swap_used_bytes"),
)  # fmt: skip


def timeline_text(rows: list[TimelineRow]) -> str:
    """A table of the rows, and below it a small plot of the main figures."""
    text = table(_COLUMNS, map(_cells, rows))
    plots = []
    for name, field in _PLOTTED:
        values = [getattr(row, field) for row in rows]
        known = [value for value in values if value is not None]
        if len(known) > 1 and max(known) > min(known):
            plots.append([name, spark(values), _size(min(known)), _size(max(known))])
    if plots:
        heads = [Column("", "<"), Column("plot", "<"), Column("least"), Column("most")]
        text += "\n" + table(heads, plots)
    return text


def spark(values: list[float | None]) -> str:
    """`values` as a line of blocks, the least lowest; a blank where one is absent.

    >>> spark([0, 7, None, 3])
    '▁█ ▄'
    """
    known = [value for value in values if value is not None]
    low, high = min(known), max(known)
    span = (high - low) or 1
    return "".join(
        " " if value is None else _SPARKS[int((value - low) / span * (len(_SPARKS) - 1) + 0.5)]
        for value in values
    )


def _cells(row: TimelineRow) -> list[str]:
    clock = time.strftime("%H:%M:%S", time.localtime(row.taken_s))
    sizes = (
        row.available_bytes, row.free_bytes, row.anonymous_bytes, row.file_bytes, row.shmem_bytes,
        row.slab_bytes, row.kernel_bytes, row.unaccounted_bytes, row.swap_used_bytes,
    )  # fmt: skip
    rates = (row.major_faults_per_s, row.swap_in_pages_per_s, row.swap_out_pages_per_s)
    stalled = DASH if row.stalled_percent is None else f"{row.stalled_percent:.1f}%"
    rounded = [figure(None if rate is None else round(rate)) for rate in rates]
    return [clock, *map(_size, sizes), *rounded, stalled]


def _size(size_bytes: int | None) -> str:
    if size_bytes is None or size_bytes >= 0:
        return size(size_bytes)
    return f"-{size(-size_bytes)}"
