"""Owns the commands `record` and `trace`: what they say about a recording.

Imports record. Does no arithmetic of its own.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import msgspec

from memtwin.analysis.answers import count, duration
from memtwin.cli.output import note, progress
from memtwin.errors import UserError
from memtwin.record import Method, NativeRunMode, RecordSummary, TraceMetadata, open_trace
from memtwin.record import record as record_program
from memtwin.units import format_size


def method_of(word: str) -> Method:
    """The recorder called `word`; raises UserError with the names there are."""
    try:
        return Method(word)
    except ValueError:
        names = ", ".join(method.value for method in Method)
        raise UserError(f"--method: found {word!r}, allowed is {names}") from None


def record_to(
    command: list[str], out: Path, method: Method, window: int, native: NativeRunMode
) -> RecordSummary:
    """Record `command` to `out` with a line of progress."""
    with progress("recording") as step:

        def tell(elapsed_ns: int, written_bytes: int) -> None:
            step(0, 0, f"{format_size(written_bytes)} of events")

        return record_program(
            command, out, method=method, window=window, progress=tell, native_run=native
        )


def record(command: list[str], out: Path, method: str, window: int, mode: NativeRunMode) -> None:
    """The command `record`."""
    summary = record_to(command, out, method_of(method), window, mode)
    tell_summary(summary)
    if summary.interrupted:
        raise KeyboardInterrupt


def tell_summary(summary: RecordSummary) -> None:
    """What was recorded and what is missing, on stderr."""
    counts, recorder = summary.metadata.counts, summary.metadata.recorder
    note(
        f"recorded {shlex.join(summary.metadata.command)} with {recorder.tool}:"
        f" {count(counts.refs)} references, {count(summary.n_events)} events,"
        f" {counts.threads} threads, {counts.processes} processes,"
        f" exit status {summary.exit_status}"
    )
    for line in summary.missing():
        note(f"missing: {line}")
    note(f"{summary.path}: {format_size(summary.size_bytes)}")


def info(path: Path, as_json: bool) -> None:  # noqa: FBT001
    """The command `trace info`."""
    facts = open_trace(path).info()
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    meta = msgspec.convert(facts["metadata"], TraceMetadata)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in _facts(
        facts["size_bytes"], facts["n_events"], facts["distinct_pages"], meta
    ):
        table.add_row(name, value)
    console = Console(highlight=False, markup=False)
    console.print(table)
    for kind, number in sorted(facts["events"].items(), key=lambda item: -item[1]):
        console.print(f"  {kind:<10} {count(number):>12}")


def _facts(
    size_bytes: int, n_events: int, distinct_pages: int, meta: TraceMetadata
) -> list[tuple[str, str]]:
    counts, recorder = meta.counts, meta.recorder
    native = duration(meta.native_cpu_ns) if meta.native_cpu_ns else "not measured"
    end = "unknown" if meta.exit_status is None else str(meta.exit_status)
    facts = [
        ("command", shlex.join(meta.command)),
        ("in", meta.cwd),
        ("recorded", f"{meta.started_at} on {meta.machine.host}, kernel {meta.machine.kernel}"),
        ("recorder", f"{recorder.tool}, one record a page and {recorder.window_refs:,} references"),
        ("complete", "yes" if meta.complete else "no: the recording was cut short"),
        ("exit status", end),
        ("file", format_size(size_bytes)),
        ("events", f"{count(n_events)} of {count(counts.refs)} references"),
        ("instructions", count(counts.insns)),
        ("distinct pages", f"{count(distinct_pages)} ({format_size(distinct_pages * 4096)})"),
        ("processes, threads", f"{counts.processes}, {counts.threads}"),
        ("files", count(len(meta.files))),
        ("CPU time unrecorded", native),
        ("schema version", str(meta.schema_version)),
    ]
    if counts.children_missing:
        facts.append(("missing", f"{counts.children_missing} children could not be followed"))
    facts += [("cannot see", line) for line in recorder.misses]
    facts += [("note", line) for line in meta.notes]
    return facts


def head(path: Path, n: int) -> None:
    """The command `trace head`."""
    if n < 0:
        raise UserError(f"-n: found {n}, allowed is 0 and more")
    print(f"{'op':<9} {'tid':>4} {'insns':>12} {'a':>18} {'b':>18} {'c':>12} {'d':>18} {'e':>6}")
    for row in open_trace(path).head(n):
        print(
            f"{row['op']:<9} {row['tid']:>4} {row['insns']:>12} {row['a']:>18} {row['b']:>18}"
            f" {row['c']:>12} {row['d']:>18} {row['e']:>6}"
        )
