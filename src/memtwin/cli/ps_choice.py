"""Owns how the words of `memtwin ps` become a choice, and which of them contradict each other.

Imports cli/ps_view. Raises UserError for what is not allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from memtwin.analysis.usage import By
from memtwin.cli import ps_columns, ps_view
from memtwin.cli.view import Form, Look, Pace, Showing
from memtwin.errors import UserError
from memtwin.observe.processes.scan import Part

DEFAULT_SHARE = 0.01  # of one CPU, for walking page tables
# a record for programs has all that is cheap, whatever columns a person would be shown
_WHOLE = Part.STAT | Part.USER | Part.COMMAND | Part.CGROUP | Part.OOM


class Words(NamedTuple):
    """The words of the command line as they were given."""

    by: str = "process"
    mappings: bool = False
    columns: str | None = None
    sort: str | None = None
    reverse: bool = False
    human: bool = False
    percent: bool = False
    totals: bool = False
    no_header: bool = False
    process_filter: str | None = None
    map_filter: str | None = None
    user_filter: str | None = None
    budget: str | None = None


def look_for(words: Words, root: Path, how: Showing) -> Look:
    """How to look as `words` ask, shown as `how`."""
    if words.by not in [by.value for by in By]:
        raise UserError(f"--by: found {words.by!r}, allowed are {', '.join(By)}")
    if words.mappings and words.by != By.PROCESS:
        raise UserError(f"-m: found with --by {words.by}, allowed is one of them")
    if words.human and words.percent:
        raise UserError("-k: found with -p, allowed is one of them")
    unit = ps_columns.HUMAN_UNIT if words.human else ps_columns.KIB_UNIT
    choice = ps_view.Choice(
        root=root,
        by=By(words.by),
        mappings=words.mappings,
        columns=words.columns,
        sort=words.sort,
        descending=words.reverse is not (how.pace is Pace.LIVE),
        unit=ps_columns.PERCENT_UNIT if words.percent else unit,
        totals=words.totals,
        header=not words.no_header,
        process_filter=words.process_filter,
        map_filter=words.map_filter,
        user_filter=words.user_filter,
        budget_share=_share(words, how),
        interval_s=how.interval_s,
        parts=_WHOLE if how.form is not Form.TEXT else Part.NONE,
    )
    return ps_view.ps_look(choice)


def _share(words: Words, how: Showing) -> float | None:
    """The part of one CPU for walks; None for no bound: once, unless asked, or for mappings."""
    text = words.budget
    if text is None:
        into_mappings = words.mappings or words.map_filter is not None
        return None if how.pace is Pace.ONCE or into_mappings else DEFAULT_SHARE
    if text == "none":
        return None
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = 0.0
    if not 0 < percent <= 100:
        raise UserError(f"--budget: found {text!r}, allowed is none, or above 0 % to 100 %")
    return percent / 100
