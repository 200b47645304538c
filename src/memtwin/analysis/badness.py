"""Owns the OOM killer's arithmetic: the points of a process, by the rules of each kernel.

Imports nothing of the house. Pure numbers in pages: reports, live hosts and tests use the same
lines.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

OOM_SCORE_ADJ_MIN = -1000  # include/uapi/linux/oom.h


class RootBonus(enum.Enum):
    """What a process with CAP_SYS_ADMIN is spared."""

    NONE = "none"
    THREE_PERCENT_OF_ALL = "3 % of all memory"
    THREE_PERCENT_OF_ITS_OWN = "3 % of its own"


class Rules(NamedTuple):
    """How a kernel counts."""

    sentence: str
    root_bonus: RootBonus
    in_thousandths: bool = False  # counted in thousandths of all memory, not in pages
    never_below_one: bool = True
    page_tables: bool = True
    sacrifices_children: bool = False
    heuristic: bool = False  # before 2.6.36 run time and children counted, which no report shows


# badness() of 2.6.35; the next kernel has what mm/oom_kill.c oom_badness(), v3.4, does
HEURISTIC = Rules("size, halved by run time, doubled by nice", RootBonus.NONE, heuristic=True)


def rules_of(version: tuple[int, int]) -> Rules:
    """The rules of kernel `version`, (major, minor).

    >>> rules_of((6, 1)).sentence
    'rss + swap entries + page tables + oom_score_adj thousandths of all memory'
    """
    own = "rss + swap entries + page tables"
    adj = "oom_score_adj thousandths of all memory"
    if version < (2, 6):
        return HEURISTIC
    if version < (3, 5):  # mm/oom_kill.c oom_badness(), v3.4
        return Rules(
            f"({own}) in thousandths of all memory, root 30 less, + oom_score_adj",
            RootBonus.THREE_PERCENT_OF_ALL, in_thousandths=True,
            page_tables=version >= (3, 1), sacrifices_children=True,
        )  # fmt: skip
    if version < (3, 14):  # mm/oom_kill.c oom_badness(), v3.10
        return Rules(
            f"{own} + {adj}, root 30 thousandths less",
            RootBonus.THREE_PERCENT_OF_ALL,
            sacrifices_children=True,
        )
    if version < (4, 17):  # mm/oom_kill.c oom_badness(), v4.9
        return Rules(
            f"{own}, root 3 % less, + {adj}",
            RootBonus.THREE_PERCENT_OF_ITS_OWN,
            sacrifices_children=True,
        )
    return Rules(
        f"{own} + {adj}",
        RootBonus.NONE,
        never_below_one=version < (5, 9),  # mm/oom_kill.c oom_badness(), v5.9
        sacrifices_children=version < (5, 1),  # mm/oom_kill.c oom_kill_process(), v5.0
    )


class Holding(NamedTuple):
    """What a process holds, in pages, and how it is marked."""

    rss_pages: int
    swap_pages: int = 0
    page_table_pages: int = 0
    oom_score_adj: int = 0
    is_root: bool = False


def divided(a: int, b: int) -> int:
    """a / b as C divides: towards zero."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def badness(rules: Rules, one: Holding, total_pages: int) -> int | None:
    """oom_badness() of `one` where `total_pages` is all memory; None when it is exempt.

    In pages; by the rules before 3.5 in thousandths.

    >>> badness(rules_of((6, 1)), Holding(500, 0, 10, 300), 20_000)
    6510
    """
    if one.oom_score_adj <= OOM_SCORE_ADJ_MIN:
        return None
    points = one.rss_pages + one.swap_pages
    if rules.page_tables:
        points += one.page_table_pages
    adj, spared = one.oom_score_adj, one.is_root
    if rules.in_thousandths:
        points = divided(points * 1000, max(total_pages, 1)) + adj
        points -= 30 if spared else 0
        return min(max(points, 1), 1000)
    if spared and rules.root_bonus is RootBonus.THREE_PERCENT_OF_ALL:
        adj -= 30
    elif spared and rules.root_bonus is RootBonus.THREE_PERCENT_OF_ITS_OWN:
        points -= points * 3 // 100
    points += adj * (total_pages // 1000)
    return max(points, 1) if rules.never_below_one else points


def score_shown(version: tuple[int, int], points: int | None, total_pages: int) -> int:
    """/proc/PID/oom_score for a process of `points` (fs/proc/base.c proc_oom_score(), v6.1).

    >>> score_shown((6, 1), 6510, 20_000)
    883
    """
    if points is None or total_pages <= 0:
        return 0
    if version < (3, 5):
        return points
    share = divided(points * 1000, total_pages)
    if version < (5, 9):  # fs/proc/base.c proc_oom_score(), v5.4
        return share
    return divided((1000 + share) * 2, 3)
