"""Owns `memtwin leaks`: samples for a while or takes a store, and shows what grows for good.

Imports the store's reader and analysis/leak. Judges nothing itself.
"""

from __future__ import annotations

import re

import msgspec

from memtwin.analysis.leak import Finding, Kind, Series, Verdict, find_leaks
from memtwin.analysis.leak_series import (
    PATHS,
    cgroup_series,
    process_series,
    slab_series,
    system_series,
    thinned,
)
from memtwin.analysis.trend import Shape
from memtwin.cli.columns_text import DASH, Column, table
from memtwin.cli.view import Absent, Snapshot
from memtwin.observe.samples.moment import StoredMoment
from memtwin.observe.samples.reader import StoreReader
from memtwin.units import format_size

_SHOWN = (Verdict.LEAK, Verdict.CACHE, Verdict.FRAGMENTATION, Verdict.WATCH)
_WHERE = (Kind.HEAP, Kind.ANONYMOUS_MAPS)


class LeakRow(msgspec.Struct):
    """One series as printed. Fragmentation: shares, not bytes. The ends are None out of sight."""

    verdict: str
    kind: str
    name: str
    shape: str
    growth_bytes_per_hour: float
    growth_low_bytes_per_hour: float
    growth_high_bytes_per_hour: float
    p_value: float
    level_bytes: float
    samples: int
    span_s: float
    until_oom_s: float | None
    until_oom_low_s: float | None
    until_oom_high_s: float | None
    why: str


def leaks_of(
    reader: StoreReader, span_ns: tuple[int, int] | None = None, shown: tuple[Verdict, ...] = _SHOWN
) -> Snapshot:
    """What leaks in a store, within `span_ns` or in all of it."""
    span_ns = span_ns or reader.span_ns()
    findings = findings_of(reader, span_ns)
    rows = [_row(one) for one in findings if one.verdict in shown]
    counts = {verdict.value: 0 for verdict in Verdict}
    for one in findings:
        counts[one.verdict.value] += 1
    notes = [
        f"{len(findings):,} series over {(span_ns[1] - span_ns[0]) / 1e9:,.0f} s:"
        f" {counts['leak']} leak, {counts['none']:,} show no growth worth a word"
    ]
    late = {one.name for one in findings if one.trend.shape is Shape.TOO_SHORT}
    if late:
        notes.append(f"{len(late):,} of them began too late to be judged")
    if not any(one.verdict is Verdict.LEAK for one in findings):
        notes.insert(0, "no leak found")
    absent = [Absent("samples", said) for said in reader.said]
    return Snapshot(
        "leaks", rows, table(_COLUMNS, map(_cells, rows)) if rows else "",
        {"series": len(findings), "verdicts": counts}, absent, notes, str(reader.directory),
        span_ns[1] / 1e9,
    )  # fmt: skip


def findings_of(reader: StoreReader, span_ns: tuple[int, int]) -> list[Finding]:
    """A finding for each series of a store."""
    moments_ns = reader.moments_ns(span_ns)
    wanted = thinned(moments_ns)
    system = system_series(
        moment for moment in reader.each(set(PATHS), span_ns) if moment.taken_ns in wanted
    )
    groups = cgroup_series(reader.table("cgroups", span_ns), moments_ns)
    last = reader.at(span_ns[1])
    alive = alive_at(last)
    processes = process_series(
        reader.table("processes", span_ns), moments_ns, alive, _rooms(last, groups, alive)
    )
    slabs = slab_series(reader.table("slabs", span_ns), moments_ns)
    found = find_leaks([*system.series, *groups, *processes, *slabs], system.room_bytes)
    return _explained(found)


def alive_at(moment: StoredMoment) -> dict[int, int]:
    """pid -> start in ticks of the processes of a moment."""
    found = {}
    for pid in moment.names("/proc"):
        text = moment.read(f"/proc/{pid}/stat") if pid.isdigit() else None
        words = text.rpartition(")")[2].split() if text else []
        if len(words) > 19 and words[19].isdigit():
            found[int(pid)] = int(words[19])  # fs/proc/array.c do_task_stat(), v6.12: field 22
    return found


def _rooms(moment: StoredMoment, groups: list[Series], alive: dict[int, int]) -> dict[int, float]:
    """pid -> bytes that the limit of its cgroup leaves."""
    limits = {one.name: one.room_bytes for one in groups if one.room_bytes is not None}
    rooms: dict[int, float] = {}
    for pid in alive if limits else ():
        text = moment.read(f"/proc/{pid}/cgroup") or ""
        for path in re.findall(r"^\d+:(?:[^:\n]*memory[^:\n]*)?:(/.*)$", text, re.MULTILINE):
            for group, room in limits.items():
                if path != "/" and group.endswith(path):
                    rooms[pid] = min(room, rooms.get(pid, room))
    return rooms


def _explained(found: list[Finding]) -> list[Finding]:
    """Say of each leaking process where it grows; the extents of its maps are no leak themselves.

    A heap or anonymous area that grows while nothing of it becomes resident is only reserved. Page
    tables follow what they map.
    """
    leaking = {
        one.name for one in found if one.kind is Kind.USS and one.verdict is Verdict.LEAK
    }
    grows = {
        (one.name, one.kind) for one in found if one.kind in _WHERE and one.verdict is Verdict.LEAK
    }
    kept = []
    for one in found:
        if one.kind is Kind.USS and one.verdict is Verdict.LEAK:
            where = [kind.value for kind in _WHERE if (one.name, kind) in grows]
            if where:
                one.why += f"; in its {' and '.join(where)}"
        if one.kind in _WHERE and one.verdict is Verdict.LEAK:
            one.verdict = Verdict.NONE
            one.why = "address space: what becomes resident of it is counted as uss"
        if one.kind is Kind.PROCESS_TABLES and one.name in leaking:
            one.verdict, one.why = Verdict.NONE, "page tables of what its uss counts"
        kept.append(one)
    return kept


def _row(one: Finding) -> LeakRow:
    trend, sign = one.trend, -1.0 if one.kind is Kind.AVAILABLE else 1.0
    return LeakRow(
        verdict=one.verdict.value,
        kind=one.kind.value,
        name=one.name,
        shape=trend.shape.value,
        growth_bytes_per_hour=sign * trend.slope_per_s * 3600,
        growth_low_bytes_per_hour=sign * trend.low_per_s * 3600,
        growth_high_bytes_per_hour=sign * trend.high_per_s * 3600,
        p_value=trend.p_value,
        level_bytes=sign * trend.level,
        samples=trend.samples,
        span_s=trend.span_s,
        until_oom_s=one.until_oom_s,
        until_oom_low_s=one.until_oom_low_s,
        until_oom_high_s=one.until_oom_high_s,
        why=one.why,
    )


_COLUMNS = (
    Column("verdict", "<"), Column("what", "<"), Column("of", "<"), Column("now"),
    Column("an hour"), Column("95 %", "<"), Column("until OOM", "<"), Column("why", "<"),
)  # fmt: skip


def _cells(row: LeakRow) -> list[str]:
    if row.kind == Kind.FRAGMENTATION.value:
        now, each = f"{row.level_bytes:.1%}", f"{row.growth_bytes_per_hour:+.1%}"
        low, high = row.growth_low_bytes_per_hour, row.growth_high_bytes_per_hour
        between = f"{low:+.1%} .. {high:+.1%}"
    else:
        now, each = _bytes(row.level_bytes), _signed(row.growth_bytes_per_hour)
        low, high = row.growth_low_bytes_per_hour, row.growth_high_bytes_per_hour
        between = f"{_signed(low)} .. {_signed(high)}"
    end = DASH
    if row.until_oom_s is not None:
        last = "never" if row.until_oom_high_s is None else _span(row.until_oom_high_s)
        end = f"{_span(row.until_oom_s)} ({_span(row.until_oom_low_s or 0.0)} .. {last})"
    return [row.verdict, row.kind, row.name, now, each, between, end, row.why]


def _signed(size_bytes: float) -> str:
    return ("-" if size_bytes < 0 else "+") + format_size(abs(round(size_bytes)))


def _bytes(size_bytes: float) -> str:
    return ("-" if size_bytes < 0 else "") + format_size(abs(round(size_bytes)))


def _span(span_s: float) -> str:
    """`span_s` in the unit that people would say it in.

    >>> _span(45), _span(5400), _span(400000)
    ('45 s', '1.5 h', '4.6 d')
    """
    for unit, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if span_s >= unit:
            return f"{span_s / unit:.1f} {name}"
    return f"{span_s:.0f} s"
