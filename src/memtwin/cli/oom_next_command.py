"""Owns the command `oom`: who would be killed next.

Imports observe, analysis and the view framework. Does no arithmetic of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from memtwin.cli.columns_text import Column, figure, size, table
from memtwin.cli.root import source_at, taken_s
from memtwin.cli.view import Absent, Showing, Snapshot, show
from memtwin.errors import UserError
from memtwin.observe.source import Tree, printable

if TYPE_CHECKING:
    from memtwin.analysis.oom_next import Forecast, NextVictim

_COLUMNS = (
    Column("pid"), Column("name", "<"), Column("uid"), Column("rss"), Column("swap"),
    Column("tables"), Column("adj"), Column("points"), Column("/1000"), Column("oom_score"),
    Column("ahead by"), Column("", "<"),
)  # fmt: skip


def oom_next(root: Path, cgroup: str | None, count: int, how: Showing) -> None:
    """Show who would be killed next below `root`, in memory cgroup `cgroup` or on the machine."""
    if count < 1:
        raise UserError(f"--count: found {count}, allowed is 1 or more")
    source = source_at(root)
    show(lambda: look(source, cgroup, count)._replace(root=str(root)), how)


def look(source: Tree, cgroup: str | None, count: int) -> Snapshot:
    """One look."""
    from memtwin.analysis.oom_next import forecast
    from memtwin.observe.oom.standing import (
        is_inside,
        kills_as_one,
        read_group,
        read_standings,
        read_surroundings,
    )

    around = read_surroundings(source)
    group = None if cgroup is None else read_group(source, cgroup)
    standings = read_standings(source, around)
    if cgroup is not None:
        standings = [one for one in standings if is_inside(one.group, cgroup)]
    found = forecast(standings, around, cgroup or "/", group)
    notes = list(found.notes)
    first = found.first
    as_one = kills_as_one(source, first.group) if first is not None else None
    if first is not None and as_one is not None:
        notes.insert(0, f"memory.oom.group of {as_one} is set: all its processes would go with it")
    rows = found.candidates[:count]
    absent = [] if found.scores_readable else [Absent("oom_score", "not readable in this tree")]
    return Snapshot(
        "oom",
        rows,
        _text(found, rows),
        totals={
            "scope": found.scope,
            "total_pages": found.total_pages,
            "total_from": found.total_from,
            "rules": found.rules,
            "processes": len(found.candidates),
            "kernel_threads": around.kernel_threads,
            "scores_equal": found.scores_equal,
            "scores_readable": found.scores_readable,
        },
        absent=absent,
        notes=notes,
        taken_s=taken_s(source),
    )


def _text(found: Forecast, rows: list[NextVictim]) -> str:
    first = found.first
    where = "the machine" if found.scope == "/" else f"memory cgroup {found.scope}"
    if first is None:
        head = f"Nobody could be killed if {where} ran out of memory.\n"
    else:
        ahead = f", {size(first.lead_bytes)} ahead of the next" if first.lead_bytes else ""
        head = (
            f"If {where} ran out of memory now, {printable(first.name)} ({first.pid}) would be"
            f" killed{ahead}.\n"
        )
    exempt = [one for one in found.candidates if one.points_pages is None]
    tail = (
        f"points: {found.rules}, in pages, of {figure(found.total_pages)} ({found.total_from})\n"
        f"oom_score recomputed as the kernel's for {found.scores_equal} of"
        f" {found.scores_readable} processes\n"
    )
    if exempt:
        names = ", ".join(f"{printable(one.name)} ({one.pid})" for one in exempt[:8])
        more = f" and {len(exempt) - 8} more" if len(exempt) > 8 else ""
        tail += f"never killed: {names}{more}\n"
    return f"{head}\n{table(_COLUMNS, map(_row, rows))}\n{tail}"


def _row(one: NextVictim) -> list[str]:
    share = one.share_permille
    return [
        str(one.pid), printable(one.name), str(one.uid), size(one.rss_bytes), size(one.swap_bytes),
        size(one.page_tables_bytes), str(one.oom_score_adj), figure(one.points_pages),
        "-" if share is None else f"{share:.1f}", figure(one.oom_score), size(one.lead_bytes),
        one.exempt_because,
    ]  # fmt: skip
