"""Owns a report's explanation: everything the analyses say of one kill, and it told in sentences.

Imports observe's OOM records and the other oom_* files of analysis. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from memtwin.analysis.oom_cause import Cause, cause_of
from memtwin.analysis.oom_choice import CPUSET, MEMCG, POLICY, Judgement, judge
from memtwin.analysis.oom_ledger import Ledger, ledger_of
from memtwin.analysis.oom_suspects import Suspect, suspects_of
from memtwin.observe.oom.records import OomReport
from memtwin.units import format_size


class Explanation(msgspec.Struct, kw_only=True):
    """One report, explained."""

    report: OomReport
    judgement: Judgement
    cause: Cause
    ledger: Ledger | None = None
    suspects: list[Suspect] = []
    headline: str = ""
    story: list[str] = []


def explain_all(reports: Iterable[OomReport]) -> list[Explanation]:
    """Each report explained, with what earlier ones killed in mind."""
    found: list[Explanation] = []
    killed: set[tuple[int, str]] = set()
    last_s = 0.0
    for report in reports:
        if report.time_s is not None:
            if report.time_s < last_s:  # another boot
                killed.clear()
            last_s = report.time_s
        own = {(kill.pid, kill.name) for kill in report.kills}
        listed = {(row.pid, row.name) for row in report.tasks}
        found.append(explain(report, {pid for pid, _ in (killed & listed) - own}))
        killed |= own
    return found


def explain(report: OomReport, already_killed: Collection[int] = ()) -> Explanation:
    """Everything that can be said of one report."""
    judged = judge(report, already_killed)
    ledger = ledger_of(report)
    found = Explanation(
        report=report, judgement=judged, cause=cause_of(report), ledger=ledger,
        suspects=suspects_of(report, ledger, judged),
    )  # fmt: skip
    found.headline = _headline(report, judged)
    found.story = [
        *_who_asked(found), *found.cause.sentences, *_who_died(found), *_what_came_free(report),
    ]  # fmt: skip
    return found


def _headline(report: OomReport, judged: Judgement) -> str:
    where = _where(report, judged.constraint)
    if not report.kills:
        end = "nobody could be killed" if report.no_killable else "the text has no kill"
        return f"{where}: {end}."
    kill = report.kills[0]
    others = len({one.pid for one in report.kills}) - 1
    more = f" and {others} more were" if others else " was"
    return f"{where}: {kill.name} ({kill.pid}){more} killed."


def _where(report: OomReport, constraint: str) -> str:
    if constraint == MEMCG:
        path = report.memcg.limit_path if report.memcg is not None else None
        if not path and report.verdict is not None:
            path = report.verdict.oom_memcg
        return f"Memory cgroup {path or '(its path is not in the text)'} ran out of memory"
    if constraint == CPUSET:
        return "The memory nodes of a cpuset ran out of memory"
    if constraint == POLICY:
        return "The nodes of a memory policy ran out of memory"
    return "The machine ran out of memory"


def _who_asked(found: Explanation) -> list[str]:
    asker, request = found.report.invocation, found.cause.request
    if asker is None:
        return [f"Who asked is not known: {found.report.missing.get('asker', 'not in the text')}."]
    pid = f" ({asker.pid})" if asker.pid is not None else ""
    if request.size_bytes is None:
        return [f"{asker.comm}{pid}: {request.purpose}."]
    blocks = f", one block of order {request.order}" if request.order else ""
    can = ""
    if request.may_sleep is False:
        can = " It could not wait for reclaim."
    elif request.may_do_io is False:
        can = " It could not start I/O to get it."
    zone = f" from zone {request.highest_zone} or lower" if found.cause.zones else ""
    flags = request.flags_name or "no flags"
    return [
        f"{asker.comm}{pid} asked for {format_size(request.size_bytes)}{blocks}{zone}: "
        f"{request.purpose} ({flags}).{can}"
    ]


def _who_died(found: Explanation) -> list[str]:
    report, judged = found.report, found.judgement
    story: list[str] = []
    if not report.kills:
        if report.panic:
            story.append(f"The kernel stopped: {report.panic}.")
        return [*story, *(f"{_capital(one)}." for one in judged.reasons)]
    kill = report.kills[0]
    page = report.page_bytes
    mine = next((one for one in judged.candidates if one.pid == kill.pid), None)
    rank = [one for one in judged.candidates if one.points is not None]
    took_worst = mine is not None and bool(rank) and mine.points == rank[0].points
    if judged.agrees and took_worst and mine is not None and not report.allocating_task:
        at = f" ({mine.thousandths:.0f} thousandths of all memory)" if mine.thousandths else ""
        story.append(
            f"{kill.name} ({kill.pid}) died because it had the most points, {mine.points:,}{at}:"
            f" rss {format_size(mine.rss_pages * page)} + swap"
            f" {format_size(mine.swap_pages * page)} + page tables"
            f" {format_size(mine.page_table_pages * page)}{_adj(mine.oom_score_adj)}."
        )
        if len(rank) > 1 and rank[1].points is not None:
            gap = (mine.points or 0) - rank[1].points
            story.append(f"Next was {rank[1].name} ({rank[1].pid}), {gap:,} points behind.")
    if judged.agrees is False:
        story.append(
            f"By the rules {judged.expected_name} ({judged.expected_pid}) should have died, not"
            f" {kill.name} ({kill.pid})."
        )
    story += [f"{_capital(one)}." for one in judged.reasons]
    exempt = [one for one in judged.candidates if one.exempt_because]
    if exempt:
        names = ", ".join(f"{one.name} ({one.pid})" for one in exempt[:4])
        rest = f" and {len(exempt) - 4} more" if len(exempt) > 4 else ""
        story.append(f"Exempt: {names}{rest} ({exempt[0].exempt_because}).")
    if report.whole_group is not None:
        story.append(f"memory.oom.group is set: all of {report.whole_group} was killed as one.")
    return story


def _adj(oom_score_adj: int) -> str:
    return f" + oom_score_adj {oom_score_adj}" if oom_score_adj else ""


def _what_came_free(report: OomReport) -> list[str]:
    story: list[str] = []
    for kill in {kill.pid: kill for kill in report.kills}.values():  # a group names one twice
        if kill.anon_rss_kib is None:
            continue
        swap = next((row.swapents_pages for row in report.tasks if row.pid == kill.pid), None)
        parts = [f"{format_size(kill.anon_rss_kib << 10)} of its own memory"]
        if swap:
            parts.append(f"{format_size(swap * report.page_bytes)} of swap")
        shared = (kill.file_rss_kib or 0) + (kill.shmem_rss_kib or 0)
        kept = f" ({format_size(shared << 10)} of files and shared memory stay)" if shared else ""
        story.append(f"The end of {kill.name} ({kill.pid}) frees {' and '.join(parts)}{kept}.")
    for reaped in report.reaped:
        if not reaped.succeeded:
            story.append(f"The reaper could not free the memory of {reaped.name} ({reaped.pid}).")
        elif reaped.anon_rss_kib:
            left = format_size(reaped.anon_rss_kib << 10)
            story.append(f"The reaper left {left} of {reaped.name} ({reaped.pid}).")
    return story


def _capital(text: str) -> str:
    return text if text.startswith("vm.") else text[:1].upper() + text[1:]
