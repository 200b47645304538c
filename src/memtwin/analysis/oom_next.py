"""Owns the question who would be killed next for lack of memory, and by how much.

Imports observe's oom_standing and analysis.badness. Knows no screen and no files.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from memtwin.analysis.badness import (
    OOM_SCORE_ADJ_MIN,
    Holding,
    Rules,
    badness,
    rules_of,
    score_shown,
)
from memtwin.observe.cgroup import CgroupMemory
from memtwin.observe.oom.missing import version_of
from memtwin.observe.oom.standing import Standing, Surroundings
from memtwin.units import PAGE_SIZE

UNKNOWN_KERNEL = (6, 12)  # MODEL: the rules taken where the tree does not name its kernel


class NextVictim(msgspec.Struct, kw_only=True):
    """One process with its points, as the killer would see it now."""

    pid: int
    name: str
    uid: int | None
    group: str
    rss_bytes: int
    swap_bytes: int
    page_tables_bytes: int
    oom_score_adj: int
    points_pages: int | None  # None: exempt
    share_permille: float | None  # of all memory in the scope
    lead_bytes: int | None  # how much more than the next one it weighs
    oom_score: int | None  # what the kernel says
    oom_score_recomputed: int
    exempt_because: str = ""


class Forecast(msgspec.Struct, kw_only=True):
    """Who would be next."""

    scope: str  # "/" or a group
    total_pages: int
    total_from: str
    rules: str
    candidates: list[NextVictim] = []  # the worst first, the exempt last
    scores_equal: int = 0  # recomputed as the kernel says, of those readable
    scores_readable: int = 0
    notes: list[str] = []

    @property
    def first(self) -> NextVictim | None:
        """The one that would be killed."""
        one = self.candidates[0] if self.candidates else None
        return one if one is not None and one.points_pages is not None else None


def forecast(
    standings: Sequence[Standing], around: Surroundings, scope: str = "/",
    group: CgroupMemory | None = None,
) -> Forecast:  # fmt: skip
    """Who of `standings` would be killed next when `scope` runs out.

    `group` is the memory cgroup `scope`, None for the machine. /proc/PID/oom_score is always on the
    machine's scale.
    """
    version = version_of(around.release)
    rules = rules_of(version or UNKNOWN_KERNEL)
    machine = around.ram_pages + around.swap_pages
    total, source = (machine, "all RAM and swap") if group is None else group_total(group, around)
    found = Forecast(scope=scope, total_pages=total, total_from=source, rules=rules.sentence)
    if version is None:
        found.notes.append("the kernel's release is not in the tree: the rules of 6.12 are taken")
    for one in standings:
        found.candidates.append(_weigh(one, rules, version or UNKNOWN_KERNEL, machine, total))
    found.candidates.sort(key=lambda one: (one.points_pages is None, -(one.points_pages or 0)))
    _lead(found.candidates)
    readable = [one for one in found.candidates if one.oom_score is not None]
    found.scores_readable = len(readable)
    found.scores_equal = sum(one.oom_score == one.oom_score_recomputed for one in readable)
    _notes(found, around, group)
    return found


def group_total(group: CgroupMemory, around: Surroundings) -> tuple[int, str]:
    """What a group may hold at most, pages, and what that is (mem_cgroup_get_max(), v6.12)."""
    machine = around.ram_pages + around.swap_pages
    if group.max_bytes is None:
        return machine, "all RAM and swap: the group has no limit of its own"
    most = group.max_bytes // PAGE_SIZE
    swappiness = around.swappiness if group.swappiness is None else group.swappiness
    if swappiness == 0:
        return most, "the group's limit; with a swappiness of 0, swap does not count"
    if group.version == 1:
        memsw = group.memsw_max_bytes
        swap = around.swap_pages if memsw is None else max(memsw // PAGE_SIZE - most, 0)
        return most + min(swap, around.swap_pages), "the group's limit, with swap"
    swap = around.swap_pages if group.swap_max_bytes is None else group.swap_max_bytes // PAGE_SIZE
    return most + min(swap, around.swap_pages), "the group's limit, and the swap it may use"


def _weigh(
    one: Standing, rules: Rules, version: tuple[int, int], machine: int, total: int
) -> NextVictim:
    holding = Holding(
        one.rss_pages, one.swap_pages, one.page_table_pages, one.oom_score_adj, one.uid == 0
    )
    on_machine = badness(rules, holding, machine)
    points = badness(rules, holding, total)
    because = "oom_score_adj is -1000" if one.oom_score_adj <= OOM_SCORE_ADJ_MIN else ""
    # since 5.9 whoever has memory scores above 0 unless it is exempt: fs/proc/base.c
    # proc_oom_score(), v5.10
    exempt = not because and one.oom_score == 0 and version >= (5, 9)
    if exempt and score_shown(version, on_machine, machine) > 1:
        because, points, on_machine = (
            "the kernel exempts it (init, vfork or being reaped)",
            None,
            None,
        )
    elif not because and one.oom_score is None and one.pid == 1:
        because, points, on_machine = "PID 1 is never taken", None, None
    share = None if points is None else points * 1000 / max(total, 1)
    return NextVictim(
        pid=one.pid, name=one.name, uid=one.uid, group=one.group,
        rss_bytes=one.rss_pages * PAGE_SIZE, swap_bytes=one.swap_pages * PAGE_SIZE,
        page_tables_bytes=one.page_table_pages * PAGE_SIZE, oom_score_adj=one.oom_score_adj,
        points_pages=points, share_permille=share,
        lead_bytes=None, oom_score=one.oom_score,
        oom_score_recomputed=score_shown(version, on_machine, machine), exempt_because=because,
    )  # fmt: skip


def _lead(candidates: list[NextVictim]) -> None:
    for one, after in itertools.pairwise(candidates):
        if one.points_pages is not None and after.points_pages is not None:
            one.lead_bytes = (one.points_pages - after.points_pages) * PAGE_SIZE


def _notes(found: Forecast, around: Surroundings, group: CgroupMemory | None) -> None:
    if around.allocating_task and group is None:
        found.notes.append(
            "vm.oom_kill_allocating_task is set: whoever asks when memory runs out is killed,"
            " whatever its points"
        )
    if around.panic == 2 or (around.panic and group is None):
        found.notes.append("vm.panic_on_oom is set: the kernel would stop instead of killing")
    if group is not None and group.max_bytes is None:
        found.notes.append("the group has no memory limit, so it never runs out by itself")
    whole = len(found.candidates) + sum(around.unread.values())
    if around.unread:
        why = ", ".join(f"{count} {reason}" for reason, count in around.unread.items())
        found.notes.append(f"{len(found.candidates)} of {whole} processes readable ({why})")
