"""Owns the question whether the kernel took whom its own rules name, and if not, why.

Imports observe's OOM records and analysis.badness. Knows no screen.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from memtwin.analysis.badness import (
    HEURISTIC,
    OOM_SCORE_ADJ_MIN,
    Holding,
    RootBonus,
    Rules,
    badness,
    rules_of,
)
from memtwin.observe.oom.missing import Era, era_of
from memtwin.observe.oom.records import OomReport, TaskRow

NONE, CPUSET = "CONSTRAINT_NONE", "CONSTRAINT_CPUSET"
POLICY, MEMCG = "CONSTRAINT_MEMORY_POLICY", "CONSTRAINT_MEMCG"
# RSS is folded every so many events of a thread: mm/memory.c TASK_RSS_EVENTS_THRESH, v6.1
DRIFT_PAGES = 64
CLOSE_SCORE = 5  # MODEL: thousandths; before 3.7 the table has no page tables
CLOSE_PERCENT = 1.0  # MODEL: what a process may gain while the table of a large machine is printed


class Candidate(msgspec.Struct, kw_only=True):
    """A process of the table with its points."""

    pid: int
    name: str
    uid: int | None
    oom_score_adj: int
    rss_pages: int
    swap_pages: int
    page_table_pages: int
    points: int | None  # None: exempt
    thousandths: float | None  # of all memory in the scope
    exempt_because: str = ""


class Judgement(msgspec.Struct, kw_only=True):
    """Who should have died by the rules, who did, and what lies between."""

    constraint: str
    constraint_from: str  # where that is known from
    total_pages: int | None
    total_from: str
    rules: str
    rules_from: str
    candidates: list[Candidate] = []  # the worst first
    victim_pid: int | None = None
    victim_name: str = ""
    expected_pid: int | None = None
    expected_name: str = ""
    agrees: bool | None = None  # None: cannot be told
    score_said: int | None = None  # thousandths, by kernels before 5.1
    score_recomputed: int | None = None
    reasons: list[str] = []


def constraint_of(report: OomReport) -> tuple[str, str]:
    """(the constraint, where it is known from).

    mm/oom_kill.c constrained_alloc(), v6.1, says it since 5.0.
    """
    if report.verdict is not None and report.verdict.constraint:
        return report.verdict.constraint, "the kernel's own line"
    scopes = [kill.scope for kill in report.kills]
    if report.memcg is not None or any("emory cgroup" in scope for scope in scopes):
        return MEMCG, "the report is about a memory cgroup"
    if report.choice is not None and "emory cgroup" in report.choice.scope:
        return MEMCG, "the report is about a memory cgroup"
    asker = report.invocation
    if asker is not None and asker.nodemask not in (None, "", "(null)") and _subset(report):
        return POLICY, "the request names nodes"
    return NONE, "no limit is named in the report"


def _subset(report: OomReport) -> bool:
    """Whether the request's nodes are fewer than the machine has."""
    asker, info = report.invocation, report.mem_info
    if asker is None or asker.nodemask is None or info is None:
        return False
    allowed = node_list(asker.nodemask)
    return bool(allowed) and any(
        zone.node not in allowed for zone in info.zones if zone.node is not None
    )


def node_list(text: str) -> set[int]:
    """The nodes of "0-1,3".

    >>> sorted(node_list("0-1,3"))
    [0, 1, 3]
    """
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.update(range(int(first[:4]), min(int((last or first)[:4]), 4096) + 1))
    return found


def managed_pages(report: OomReport) -> tuple[int | None, str]:
    """All RAM that the allocator has, in pages, and where that is from."""
    info = report.mem_info
    if info is None:
        return None, "the report has no Mem-Info"
    managed = [zone.kib["managed"] for zone in info.zones if "managed" in zone.kib]
    whole = info.ram_pages is not None and info.reserved_pages is not None
    if whole and info.ram_pages is not None and info.reserved_pages is not None:
        return max(info.ram_pages - info.reserved_pages, 0), "pages RAM less pages reserved"
    if managed and len(managed) == len(info.zones):
        return sum(managed) * 1024 // report.page_bytes, "the zones' managed pages"
    return None, "neither 'pages RAM' nor whole zones are in the text"


def total_pages(report: OomReport, constraint: str) -> tuple[int | None, str]:
    """The scale of oom_score_adj in the report's scope, pages, and where it is from."""
    if constraint == MEMCG:
        return _group_pages(report)
    info = report.mem_info
    ram, source = managed_pages(report)
    if constraint in (CPUSET, POLICY) and info is not None:
        text = report.verdict.mems_allowed if report.verdict is not None else ""
        asker = report.invocation
        if not text and asker is not None:
            text = (asker.mems_allowed or "") if constraint == CPUSET else (asker.nodemask or "")
        allowed = node_list(text)
        sizes = [z.kib.get("present", 0) for z in info.zones if z.node in allowed]
        if sizes:
            ram, source = sum(sizes) * 1024 // report.page_bytes, f"nodes {text}"
    if ram is None:
        return None, source
    swap_kib = info.swap_total_kib if info is not None else None
    if swap_kib is None:
        return ram, f"{source}; swap is not in the text and taken as none"
    return ram + swap_kib * 1024 // report.page_bytes, f"{source}, and all swap"


def _group_pages(report: OomReport) -> tuple[int | None, str]:
    """mem_cgroup_get_max(), v6.1, as far as the report tells."""
    group = report.memcg
    if group is None or group.memory is None or group.memory.limit_kib is None:
        return None, "the group's limit is not in the text"
    kib = group.memory.limit_kib
    if group.swap is not None and group.swap.limit_kib is not None:
        return (kib + group.swap.limit_kib) * 1024 // report.page_bytes, "the group's limits"
    if group.memsw is not None and group.memsw.limit_kib is not None:
        return group.memsw.limit_kib * 1024 // report.page_bytes, "the group's limit with swap"
    swapped = sum(row.swapents_pages or 0 for row in report.tasks)
    held = swapped + sum(row.rss_pages or 0 for row in report.tasks)
    if swapped and held * report.page_bytes > kib << 10:  # swap counts, and how much of it?
        return None, "how much swap the group may use is not in the text"
    unbounded = "; swap the group may use is not in the text and not counted"
    return kib * 1024 // report.page_bytes, f"the group's limit{unbounded}"


def judge(report: OomReport, already_killed: Collection[int] = ()) -> Judgement:
    """Recompute the table of `report`; `already_killed`: pids of earlier kills in the same log."""
    constraint, source = constraint_of(report)
    total, total_from = total_pages(report, constraint)
    era = era_of(report)
    rules = rules_of(_version_for(report, era))
    if "oom_adj" in report.columns and "oom_score_adj" not in report.columns:
        rules = HEURISTIC
    found = Judgement(
        constraint=constraint, constraint_from=source, total_pages=total, total_from=total_from,
        rules=rules.sentence, rules_from=era.why if era.exact else f"by the layout: {era.why}",
    )  # fmt: skip
    found.candidates = sorted(
        (_candidate(report, row, rules, total, already_killed) for row in report.tasks),
        key=lambda one: (one.points is None, -(one.points or 0)),
    )
    if report.kills:
        found.victim_pid, found.victim_name = report.kills[0].pid, report.kills[0].name
    best = next((one for one in found.candidates if one.points is not None), None)
    if best is not None:
        found.expected_pid, found.expected_name = best.pid, best.name
    _compare(report, found, rules)
    return found


def _version_for(report: OomReport, era: Era) -> tuple[int, int]:
    """A kernel of the era: the named one, or the oldest that prints so."""
    if era.exact:
        return era.first
    if report.verdict is not None and era.first < (5, 9):
        return (5, 9)
    return era.first if era.first > (2, 6) or report.choice is None else (3, 4)


def page_table_pages(row: TaskRow, page_bytes: int) -> int:
    """What a row's page tables hold, pages."""
    if row.pgtables_bytes is not None:
        return row.pgtables_bytes // page_bytes
    return (row.nr_ptes or 0) + (row.nr_pmds or 0)


def _candidate(
    report: OomReport, row: TaskRow, rules: Rules, total: int | None, killed: Collection[int]
) -> Candidate:
    tables = page_table_pages(row, report.page_bytes)
    adj = row.oom_score_adj or 0
    holding = Holding(row.rss_pages or 0, row.swapents_pages or 0, tables, adj, row.uid == 0)
    points = badness(rules, holding, total or 0)
    because = "oom_score_adj is -1000" if adj <= OOM_SCORE_ADJ_MIN else ""
    if row.pid == 1 and report.memcg is None:
        points, because = None, "PID 1 is never taken"
    elif row.pid in killed:
        points, because = None, "killed before, and still in the table"
    if rules.in_thousandths or points is None:
        share = None if points is None else float(points)
    else:
        share = points * 1000 / total if total else None
    return Candidate(
        pid=row.pid, name=row.name, uid=row.uid, oom_score_adj=adj, rss_pages=row.rss_pages or 0,
        swap_pages=row.swapents_pages or 0, page_table_pages=tables, points=points,
        thousandths=share, exempt_because=because,
    )  # fmt: skip


def _compare(report: OomReport, found: Judgement, rules: Rules) -> None:
    """Fill in `agrees` and the reasons."""
    say = found.reasons.append
    if found.victim_pid is None:
        say("the text has no kill" if not report.no_killable else "nobody could be killed")
        return
    if report.by_sysrq:
        say("an administrator asked for the kill (SysRq-f)")
    if report.allocating_task:
        found.agrees = report.invocation is not None and (
            report.invocation.pid in (None, found.victim_pid)
        )
        say("vm.oom_kill_allocating_task is on: whoever asks is killed, points do not count")
        return
    if not found.candidates:
        say(f"the table of tasks is absent: {report.missing.get('tasks', 'no reason known')}")
        return
    if rules.heuristic:
        say("before 2.6.36 run time and children counted too, which the report does not show")
        return
    if found.total_pages is None and rules.in_thousandths:
        say(f"points are shares of all memory, which is not known ({found.total_from})")
        return
    if found.total_pages is None and _any_adjusted(found):
        say(f"all memory in the scope is not known ({found.total_from}), so points are without adj")
    chosen = report.choice.pid if report.choice is not None else found.victim_pid
    if report.choice is not None:
        _compare_score(found, chosen, report.choice.score, rules)
    if report.choice is not None and chosen != found.victim_pid:
        say(
            f"the kernel chose {report.choice.name} ({chosen}) and killed its child"
            f" {found.victim_name} instead, as kernels before 5.1 do"
        )
    _compare_with(report, found, chosen, rules)


def _any_adjusted(found: Judgement) -> bool:
    return any(one.oom_score_adj and one.points is not None for one in found.candidates)


def _compare_score(found: Judgement, chosen: int, said: int, rules: Rules) -> None:
    """Hold the score that older kernels print against ours: a check of scale and rules."""
    mine = next((one for one in found.candidates if one.pid == chosen), None)
    if mine is not None and found.total_pages is None:
        found.reasons.append(
            f"the score of {said} that the kernel printed cannot be recomputed: {found.total_from}"
        )
    if mine is None or mine.thousandths is None or found.total_pages is None:
        return
    found.score_said, found.score_recomputed = said, int(mine.thousandths)
    if abs(said - found.score_recomputed) <= CLOSE_SCORE:
        return
    if mine.uid == 0 and rules.root_bonus is not RootBonus.NONE:
        plain = badness(rules, _without_bonus(mine), found.total_pages) or 0
        score = plain if rules.in_thousandths else plain * 1000 // max(found.total_pages, 1)
        if abs(said - score) <= CLOSE_SCORE:
            found.score_recomputed = score
            found.reasons.append(
                "by its score the kernel spared it nothing for being root: it had not"
                " CAP_SYS_ADMIN, as in a container"
            )
            return
    found.reasons.append(
        f"the kernel printed a score of {said}, the table gives {found.score_recomputed}: page"
        " tables or memory that it does not show"
    )


def _without_bonus(one: Candidate) -> Holding:
    return Holding(one.rss_pages, one.swap_pages, one.page_table_pages, one.oom_score_adj)


def _compare_with(report: OomReport, found: Judgement, chosen: int, rules: Rules) -> None:
    say = found.reasons.append
    mine = next((one for one in found.candidates if one.pid == chosen), None)
    best = next((one for one in found.candidates if one.points is not None), None)
    if mine is None:
        leader = {row.pid for row in report.tasks} & {
            row.tgid for row in report.tasks if row.pid == chosen
        }
        found.agrees = None
        say("the victim is a thread of another row" if leader else "the victim is not in the table")
        return
    if best is None or mine.points is None:
        found.agrees = False
        say(f"the victim is exempt by the table: {mine.exempt_because or 'no points'}")
        return
    assert best.points is not None
    behind = best.points - mine.points
    found.agrees = behind == 0
    if found.agrees:
        return
    drift = max(DRIFT_PAGES, best.points * CLOSE_PERCENT / 100)
    gap = f"{behind:,} points behind {best.name} ({best.pid})"
    if behind <= drift and not rules.in_thousandths:
        found.agrees = True
        say(f"the victim is {gap}: within what counters drift while the report is printed")
        return
    say(f"by the table the victim is {gap}")
    if rules.root_bonus.value != "none":
        say("who has CAP_SYS_ADMIN is not in the table: uid 0 is taken to have it")
    say(
        "a process that is exiting, in vfork() or already reaped is passed over, and the table does"
        " not show it"
    )
