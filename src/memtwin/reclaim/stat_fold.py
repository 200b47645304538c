"""Owns when groups' statistics are folded from their per-CPU parts: what reclaim sees is that old.

Imports hardware/clock, memcg and reclaim/lruvec. Knows nothing of what is done with the figures.
List sizes, refault counts and costs are compared with the figures as of the last folding; it comes
from a worker every 2 s, from whoever reads memory.stat, and from reclaim by a rule that changed
between versions.
"""

from __future__ import annotations

import cython

from memtwin.hardware.clock import Clock
from memtwin.memcg.constants import MEMCG_CHARGE_BATCH
from memtwin.memcg.table import MemcgTable
from memtwin.reclaim.lruvec import Lruvecs

FLUSH_PERIOD_NS = 2_000_000_000  # mm/memcontrol.c FLUSH_TIME, v6.1 and v6.12


@cython.final
@cython.cclass
class StatFold:
    """Folds a machine's group statistics in time. MODEL: at the first look after they are due."""

    def __init__(
        self, lruvecs: Lruvecs, clock: Clock, kernel: int, nr_cpus: int, phase_ppm: int
    ) -> None:
        self.lruvecs = lruvecs
        self.memcgs: MemcgTable = lruvecs.memcgs
        self.clock = clock
        self.kernel = kernel
        # MODEL: updates are counted for the whole machine, as v6.1 does; v6.12 counts each group's.
        # Those that one CPU has not told yet make a batch more
        self.threshold = MEMCG_CHARGE_BATCH * (nr_cpus + 1)
        # MODEL: where in its period the worker is when the machine starts is chance
        self.phase_ppm = phase_ppm
        self.work_at_ns = clock.now_ns + FLUSH_PERIOD_NS // 1_000_000 * phase_ppm
        self.flushed_at_ns = self.work_at_ns - FLUSH_PERIOD_NS
        self.read_every_ns = 0  # how often somebody reads memory.stat; 0: nobody
        self.read_at_ns = 0
        self.nr_folds = 0
        lruvecs.folding = 1
        lruvecs.fold()

    @cython.ccall
    def read_every(self, period_ns: cython.longlong) -> cython.int:
        """Somebody reads memory.stat of the groups from now on, every `period_ns`; 0."""
        self.read_every_ns = period_ns
        self.read_at_ns = self.clock.now_ns + period_ns * self.phase_ppm // 1_000_000
        return 0

    @cython.ccall
    def next_ns(self) -> cython.longlong:
        """When the worker or the reader comes next."""
        if self.read_every_ns > 0 and self.read_at_ns < self.work_at_ns:
            return self.read_at_ns
        return self.work_at_ns

    @cython.ccall
    def look(self) -> cython.int:
        """Fold if the worker or the reader was due; 0."""
        now_ns: cython.longlong = self.clock.now_ns
        if self.read_every_ns > 0 and now_ns >= self.read_at_ns:
            late_ns: cython.longlong = now_ns - self.read_at_ns
            self.read_at_ns = now_ns - late_ns % self.read_every_ns + self.read_every_ns
            # mm/memcontrol.c mem_cgroup_flush_stats(), v6.1 and v6.12
            if self.memcgs.nr_stat_updates > self.threshold:
                self.fold()
        if now_ns >= self.work_at_ns:
            periods: cython.longlong = (now_ns - self.work_at_ns) // FLUSH_PERIOD_NS
            self.flushed_at_ns = self.work_at_ns + periods * FLUSH_PERIOD_NS
            self.work_at_ns = self.flushed_at_ns + FLUSH_PERIOD_NS
            self.fold()
        return 0

    @cython.cfunc
    def before_reclaim(self) -> cython.void:
        """Reclaim is about to compare figures (prepare_scan_count)."""
        self.look()
        if self.kernel >= 612:
            self.fold_if_late()  # mm/vmscan.c prepare_scan_control(), v6.12
        elif self.memcgs.nr_stat_updates > self.threshold:
            self.flushed_at_ns = self.clock.now_ns  # mm/vmscan.c prepare_scan_count(), v6.1
            self.fold()

    @cython.cfunc
    def before_refault(self) -> cython.void:
        """A returning page is about to be judged."""
        # mm/workingset.c workingset_refault(), v6.1; workingset_test_recent(), v6.12
        self.look()
        self.fold_if_late()

    @cython.cfunc
    def fold_if_late(self) -> cython.void:
        """Fold when the worker is a whole period late (mem_cgroup_flush_stats_ratelimited)."""
        if self.clock.now_ns > self.flushed_at_ns + 2 * FLUSH_PERIOD_NS:
            if self.memcgs.nr_stat_updates > self.threshold:
                self.fold()

    @cython.cfunc
    def fold(self) -> cython.void:
        """Bring the figures up to now."""
        self.memcgs.nr_stat_updates = 0
        self.nr_folds += 1
        self.lruvecs.fold()

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = ("work_at_ns", "flushed_at_ns", "read_at_ns", "nr_folds")
        return [(name, getattr(self, name)) for name in names]
