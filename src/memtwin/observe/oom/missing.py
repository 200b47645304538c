"""Owns what an OOM report lacks and why, and which kernels print a text of its form.

Imports the room's records. Called once a report is read to its end.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from memtwin.observe.oom.records import PAGE_BYTES, OomReport

_RELEASE = re.compile(r"(\d+)\.(\d+)")
SUMMARY_SINCE = (5, 0)  # mm/oom_kill.c dump_oom_summary(), v5.0
LATEST = (99, 0)


class Era(NamedTuple):
    """The kernels that may have printed a report: from `first` up to before `after`."""

    first: tuple[int, int]
    after: tuple[int, int]
    why: str

    @property
    def exact(self) -> bool:
        """Whether the text named its kernel."""
        return self.first == self.after


# a column of the table -> the kernels that print it (mm/oom_kill.c dump_tasks(), v6.12, and before)
_BY_COLUMN = (
    ("rss_anon", (6, 8), LATEST),
    ("pgtables_bytes", (4, 15), (6, 8)),
    ("nr_pmds", (4, 1), (4, 15)),
    ("nr_ptes", (3, 7), (4, 1)),
    ("cpu", (2, 6), (3, 7)),
)


def version_of(release: str) -> tuple[int, int] | None:
    """(major, minor) of a release text.

    >>> version_of("6.12.95+deb12-amd64")
    (6, 12)
    """
    match = _RELEASE.match(release)
    return (int(match[1][:4]), int(match[2][:4])) if match else None


def era_of(report: OomReport) -> Era:
    """Which kernels print a report like this, from its release or else from its layout."""
    version = version_of(report.release)
    if version is not None:
        return Era(version, version, f"kernel {report.release}")
    for column, first, after in _BY_COLUMN:
        if column in report.columns:
            return Era(first, after, f"the table has a column {column}")
    if report.verdict is not None:
        return Era(SUMMARY_SINCE, LATEST, "the text has a line oom-kill:constraint=")
    if report.choice is not None:
        return Era((2, 6), (5, 1), "the text names a choice before the kill")
    if report.invocation is not None and not report.invocation.gfp_text:
        return Era((2, 6), (4, 6), "the request's flags are not named")
    return Era((2, 6), LATEST, "nothing in the text tells")


def note_missing(report: OomReport, ended_by: str, lost: str | None) -> None:
    """Write into `report` what it lacks and why; `lost` is the log's own word of lost lines."""
    _settle_columns(report)
    why: dict[str, str] = {}
    cut = f"lines are lost ({lost})" if lost else "lines are lost"
    alone = bool(report.kills) and not report.tasks and report.mem_info is None
    alone = alone and report.memcg is None
    if report.invocation is None:
        why["asker"] = (
            "the log has this kill alone: its report was rate-limited or is not in the text"
            if alone
            else "the text begins inside the report"
        )
    if report.mem_info is None and report.memcg is None:
        why["memory"] = "see asker" if alone and report.invocation is None else cut
    if not report.tasks:
        suppressed = "vm.oom_dump_tasks is 0, or lines are lost"
        why["tasks"] = "see asker" if alone and report.invocation is None else suppressed
    elif not report.columns:
        why["head of tasks"] = f"{cut}: its columns are guessed from their number"
    if report.verdict is None:
        era = era_of(report)
        early = era.after <= SUMMARY_SINCE and era.first < SUMMARY_SINCE
        why["constraint"] = f"kernels before 5.0 print none ({era.why})" if early else cut
    if not report.kills and not report.no_killable and not report.panic:
        why["kill"] = f"{ended_by} before it" if not lost else cut
    if report.invocation is not None and not report.trace and not report.doubtful_trace:
        why["trace"] = cut
    _note_inside(report, why)
    report.missing = why


def _note_inside(report: OomReport, why: dict[str, str]) -> None:
    """What is missing inside a part that is there."""
    info, known = report.mem_info, {row.pid for row in report.tasks}
    if info is not None:
        if not info.zones:
            why["zones"] = "lines are lost"
        if info.swap_total_kib is None:
            why["swap"] = "lines are lost, or a kernel without swap"
        if info.ram_pages is None:
            why["RAM"] = "lines are lost"
    if report.tasks and report.kills and report.kills[0].pid not in known:
        thread_of = {row.tgid for row in report.tasks}
        if report.kills[0].pid not in thread_of:
            why["victim's row"] = "the table is not whole, or the victim is a thread or a child"


def _settle_columns(report: OomReport) -> None:
    """Rows without a head: seven figures are page tables in pages before 4.15, in bytes after."""
    if report.columns or not report.tasks:
        return
    counts = [row.nr_ptes for row in report.tasks if row.nr_ptes is not None]
    version = version_of(report.release)
    in_bytes = version >= (4, 15) if version else all(n % PAGE_BYTES == 0 for n in counts)
    if in_bytes and any(counts):
        for row in report.tasks:
            row.pgtables_bytes, row.nr_ptes = row.nr_ptes, None
