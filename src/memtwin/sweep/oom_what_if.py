"""Owns the search for what would have avoided a kill: the twin tries, smaller and larger.

Imports sweep/oom_scene and oom_rerun. First the kill itself must come out: the RAM at which the
report's state just fits in the twin is compared with the RAM there was. Only then more is asked.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from memtwin.errors import UserError
from memtwin.observe.oom.records import OomReport
from memtwin.sweep.oom_bound import Bound, bound_of
from memtwin.sweep.oom_rerun import Outcome, Trial, machine_text, overhead_pages, run, script_text
from memtwin.sweep.oom_scene import Scene, scene_of
from memtwin.units import format_size

GOOD_PERCENT = 5.0  # MODEL: how far off the twin's own RAM may be and the kill count as rebuilt
STEP_SHARE = 1 / 512  # how fine a search is, as a share of RAM
LEAST_STEP_PAGES = 16
GROWTH_SHARES = (0.1, 1.0)  # MODEL: goals where the user names none: 10 % more, and twice as much
LEAST_GROWTH_PAGES = 64
MOST_TRIPLINGS = 2  # of what is tried first, before a search gives up
MOST_GROWTH = 8  # times all RAM and swap: what is asked for beyond that is no growth


class Goal(msgspec.Struct, kw_only=True):
    """What is enough for the grower to have so much more. None: not found in the range tried."""

    growth_bytes: int
    more_ram_bytes: int | None = None  # of a group: more memory.max
    more_swap_bytes: int | None = None  # of a group: more memory.swap.max


class WhatIf(msgspec.Struct, kw_only=True):
    """The answer for one report."""

    rebuilt: bool
    why_not: str = ""
    in_group: bool = False
    ram_bytes: int = 0  # of the report: what programs could have, or the group's limit
    swap_bytes: int = 0
    off_percent: float | None = None  # RAM at which the twin just fits the state, less the report's
    victim: str = ""  # whom the twin kills
    victim_agrees: bool | None = None
    grower: str = ""
    grower_bytes: int = 0
    goals: list[Goal] = []
    cap_bytes: int | None = None  # the largest memory.max on the grower that spares the rest
    step_bytes: int = 0  # how fine the answers are
    assumptions: list[str] = []
    bound: Bound | None = None  # where not RAM in general was short
    trials: int = 0
    machine: str = ""  # a description and a script to run by hand
    script: str = ""


class _Search:
    """Trials of one scene, counted."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.trials = 0
        self.step = max(int(scene.ram_pages * STEP_SHARE), LEAST_STEP_PAGES)

    def run(self, trial: Trial) -> Outcome:
        self.trials += 1
        return run(self.scene, trial)

    def smallest(self, least: int, first: int, holds: Callable[[int], bool]) -> int | None:
        """The smallest number from `least` on, to within a step, for which `holds` is true.

        `first` is the first that is tried above `least`; None when tripling it finds none.
        """
        low, high = least, max(first, least + self.step)
        for _ in range(MOST_TRIPLINGS + 1):
            if holds(high):
                break
            low, high = high, high + 2 * (high - least)
        else:
            return None
        while high - low > self.step:
            middle = (low + high) // 2
            low, high = (low, middle) if holds(middle) else (middle, high)
        return high


def what_if(report: OomReport, growth_bytes: int | None = None) -> WhatIf:
    """What would have avoided the kill of `report`.

    `growth_bytes` is what the one that asks wants beyond what it had; None tries two goals.
    """
    scene = scene_of(report)
    if isinstance(scene, str):
        bound = bound_of(report) if report.kills and not report.by_sysrq else None
        answered = isinstance(bound, Bound) and bound.refused
        return WhatIf(
            rebuilt=answered, why_not="" if answered else scene,
            bound=bound if isinstance(bound, Bound) and answered else None,
        )  # fmt: skip
    grower = scene.actors[scene.grower]
    found = WhatIf(
        rebuilt=False, in_group=scene.in_group, ram_bytes=scene.bytes_of(scene.ram_pages),
        swap_bytes=scene.bytes_of(scene.swap_pages), grower=f"{grower.comm} ({grower.pid})",
        grower_bytes=scene.bytes_of(grower.anon_pages), assumptions=scene.assumptions,
    )  # fmt: skip
    search = _Search(scene)
    found.step_bytes = scene.bytes_of(search.step)
    ram = _rebuild(scene, search, found)
    if ram is not None and found.rebuilt:
        for growth in _growths(scene, growth_bytes):
            found.goals.append(_goal(scene, search, ram, growth))
        if not scene.in_group:
            _cap(scene, search, ram, found)
    found.trials = search.trials
    return found


def _growths(scene: Scene, growth_bytes: int | None) -> list[int]:
    if growth_bytes is not None:
        growth, most = (
            scene.pages_of(growth_bytes),
            MOST_GROWTH * (scene.ram_pages + scene.swap_pages),
        )
        if growth > most:
            raise UserError(
                f"--growth: found {format_size(growth_bytes)}, allowed for this report is up to"
                f" {format_size(scene.bytes_of(most))}"
            )
        return [max(growth, 1)]
    size = scene.actors[scene.grower].anon_pages
    return sorted({max(int(size * share), LEAST_GROWTH_PAGES) for share in GROWTH_SHARES})


def _rebuild(scene: Scene, search: _Search, found: WhatIf) -> int | None:
    """The RAM at which the report's state just fits; None when the twin has none such."""
    stated = scene.ram_pages
    if not scene.in_group:
        stated += overhead_pages(scene, Trial(ram_pages=stated, swap_pages=scene.swap_pages))
    at = Trial(ram_pages=stated, swap_pages=scene.swap_pages)

    def fits(ram: int) -> bool:
        return search.run(msgspec.structs.replace(at, ram_pages=ram)).survived

    low = stated // 2
    ram = search.smallest(low, stated, fits)
    if ram is None:
        found.why_not = "the report's processes do not fit into the twin at any size tried"
        return None
    found.off_percent = (ram - stated) * 100 / stated
    if abs(found.off_percent) > GOOD_PERCENT:
        more = "more" if found.off_percent > 0 else "less"
        found.why_not = (
            f"in the twin the report's state fits into {abs(found.off_percent):.1f} % {more} RAM"
            f" than there was (allowed is {GOOD_PERCENT:g} %): something that the report does not"
            " show made the difference, so its answers would mean little"
        )
        return None
    short = msgspec.structs.replace(at, ram_pages=ram - 2 * search.step)
    outcome = search.run(short)
    victim = next((one for one in scene.actors if one.word == outcome.killed), None)
    found.victim = f"{victim.comm} ({victim.pid})" if victim is not None else outcome.killed
    found.victim_agrees = victim is not None and victim.pid == scene.victim_pid
    found.rebuilt = not outcome.survived
    if outcome.survived:
        found.why_not = "with a little less RAM the twin kills nobody: its answer is not steady"
    found.machine, found.script = machine_text(scene, short), script_text(scene, short)
    return ram


def _goal(scene: Scene, search: _Search, ram: int, growth: int) -> Goal:
    base = Trial(ram_pages=ram, swap_pages=scene.swap_pages, growth_pages=growth)
    more_ram = search.smallest(
        0, growth,
        lambda more: search.run(
            msgspec.structs.replace(base, ram_pages=ram + more)
        ).survived,
    )  # fmt: skip
    more_swap = search.smallest(
        0, growth,
        lambda more: search.run(
            msgspec.structs.replace(base, swap_pages=scene.swap_pages + more)
        ).survived,
    )  # fmt: skip
    return Goal(
        growth_bytes=scene.bytes_of(growth),
        more_ram_bytes=None if more_ram is None else scene.bytes_of(more_ram),
        more_swap_bytes=None if more_swap is None else scene.bytes_of(more_swap),
    )


def _cap(scene: Scene, search: _Search, ram: int, found: WhatIf) -> None:
    """The largest memory.max on the grower with which the machine never runs out."""
    size = scene.actors[scene.grower].anon_pages
    growth = max(size, LEAST_GROWTH_PAGES)

    def spares(cap: int) -> bool:
        trial = Trial(
            ram_pages=ram, swap_pages=scene.swap_pages, growth_pages=growth, cap_pages=cap
        )
        return search.run(trial).survived

    most = size + growth
    shrunk = search.smallest(0, most // 8, lambda less: spares(max(most - less, 1)))
    if shrunk is not None and most - shrunk > search.step:
        found.cap_bytes = scene.bytes_of(most - shrunk)
