"""Owns what a walk of page tables will cost, and which walks a share of one CPU affords.

Imports units. Knows nothing of files or records: whoever looks at processes says which of them have
news, walks those that are handed out, and tells what each walk cost. Reading smaps_rollup holds the
process's mmap_lock while the kernel walks, so what is saved here is mostly the process's own time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterator
from typing import NamedTuple

from memtwin.units import PAGE_SHIFT

SAVED_S = 60.0  # MODEL: earnings are kept so long; a walk that costs more is never made
COUNTED_FROM_PAGES = (32 << 20) >> PAGE_SHIFT  # MODEL: below, counting mappings costs more
USUAL_AREAS = 50  # measured: benchmarks/processes.md, a Python process has 46
# measured: benchmarks/processes.md, its three rows; small processes cost up to three times less
WALK_NS, NS_PER_AREA, NS_PER_PAGE = 10_000, 100, 150


class Wish(NamedTuple):
    """A process that a walk would tell something new of."""

    key: Hashable
    moved_pages: int  # as many may have come or gone since its last walk
    since_s: float  # so long ago that was
    rss_pages: int

    @property
    def benefit(self) -> float:
        """Pages in doubt x seconds: the larger, the sooner it is walked."""
        return self.moved_pages * max(self.since_s, 1.0)


class _Walked(NamedTuple):
    """The last walk of a process."""

    cost_ns: int
    rss_pages: int


def predicted_ns(rss_pages: int, area_count: int) -> int:
    """CPU time that one smaps_rollup takes of a process that none was read of.

    >>> predicted_ns(1 << 18, 100) > 2 * predicted_ns(1 << 16, 100)
    True
    """
    return WALK_NS + NS_PER_AREA * area_count + NS_PER_PAGE * rss_pages


class WalkBudget:
    """`share` of one CPU for walks; what is not spent is kept for SAVED_S seconds.

    `count_areas` tells how many mappings a process has, or raises OSError or ValueError; its own
    cost is paid from here too.
    """

    def __init__(
        self,
        share: float,
        count_areas: Callable[[Hashable], int] = lambda key: USUAL_AREAS,
        cpu_ns: Callable[[], int] = time.thread_time_ns,
    ) -> None:
        self.share = share
        self.too_costly: dict[Hashable, int] = {}  # of the last choice: what a walk would take, ns
        self._count_areas = count_areas
        self._cpu_ns = cpu_ns
        self._earned_ns = 0.0  # may be below 0: a walk that cost more than predicted
        self._aside_ns = 0.0  # set aside for `_saving_for`
        self._saving_for: Hashable | None = None
        self._walked: dict[Hashable, _Walked] = {}
        self._areas: dict[Hashable, int] = {}  # of processes that wait for their first walk

    @property
    def most_ns(self) -> float:
        """What can be saved up at the most."""
        return SAVED_S * self.share * 1e9

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left for now."""
        return self._earned_ns <= 0

    def earn(self, elapsed_s: float) -> None:
        """Put in what `elapsed_s` gives; half of it aside while one walk is being saved for."""
        gained_ns = elapsed_s * self.share * 1e9
        if self._saving_for is not None:
            self._aside_ns += gained_ns / 2
            gained_ns /= 2
        self._earned_ns = min(self._earned_ns + gained_ns, self.most_ns)

    def affordable(self, wishes: Collection[Wish]) -> Iterator[Wish]:
        """Those of `wishes` to be walked now, the most beneficial first.

        Each is to be walked and `paid` before the next is asked for.
        """
        self.too_costly = {}
        if self._saving_for not in {wish.key for wish in wishes}:
            self._release()
        for wish in sorted(wishes, key=lambda one: -one.benefit):
            purse_ns = self._earned_ns + (self._aside_ns if wish.key == self._saving_for else 0.0)
            predicted = self.least_ns(wish.key, wish.rss_pages)
            if predicted <= purse_ns:  # only then is it worth to count its mappings
                predicted = self.predicted_ns(wish.key, wish.rss_pages)
            if predicted > self.most_ns:
                self.too_costly[wish.key] = predicted
                continue
            if predicted > purse_ns:  # a smaller one may still fit
                if self._saving_for is None:
                    self._saving_for = wish.key
                continue
            if wish.key == self._saving_for:
                self._release()
            yield wish

    def paid(self, wish: Wish, cost_ns: int) -> None:
        """Take what the walk of `wish` cost, and predict its next by that."""
        self._earned_ns -= cost_ns
        self._walked[wish.key] = _Walked(cost_ns, wish.rss_pages)
        self._areas.pop(wish.key, None)

    def charge(self, cost_ns: int) -> None:
        """Take what was spent on other costly reading."""
        self._earned_ns -= cost_ns

    def least_ns(self, key: Hashable, rss_pages: int) -> int:
        """What a walk of process `key` will take at the least, told without asking the kernel."""
        if key in self._walked or key in self._areas or rss_pages < COUNTED_FROM_PAGES:
            return self.predicted_ns(key, rss_pages)
        return predicted_ns(rss_pages, 0)

    def predicted_ns(self, key: Hashable, rss_pages: int) -> int:
        """What a walk of process `key` will take: by its last one, else by size and mappings."""
        last = self._walked.get(key)
        if last is not None:
            return max(last.cost_ns + (rss_pages - last.rss_pages) * NS_PER_PAGE, WALK_NS)
        if rss_pages < COUNTED_FROM_PAGES:
            return predicted_ns(rss_pages, USUAL_AREAS)
        if key not in self._areas:
            begin_ns = self._cpu_ns()
            self._areas[key] = self._counted(key)
            self._earned_ns -= self._cpu_ns() - begin_ns
        return predicted_ns(rss_pages, self._areas[key])

    def _counted(self, key: Hashable) -> int:
        try:
            return self._count_areas(key) or USUAL_AREAS
        except (OSError, ValueError):
            return USUAL_AREAS

    def forget(self, key: Hashable) -> None:
        """The process ended."""
        self._walked.pop(key, None)
        self._areas.pop(key, None)
        if key == self._saving_for:
            self._release()

    def keep_only(self, alive: Collection[Hashable]) -> None:
        """Every other process ended."""
        for key in [*(self._walked.keys() - alive), *(self._areas.keys() - alive)]:
            self.forget(key)

    def _release(self) -> None:
        """Put back what was set aside."""
        self._earned_ns += self._aside_ns
        self._aside_ns, self._saving_for = 0.0, None
