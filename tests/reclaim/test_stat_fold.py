"""How old the figures are that reclaim compares: who folds them, and when."""

from __future__ import annotations

import pytest
from reclaim_machine import ReclaimMachine, build

from memtwin.page.flags import LRU_INACTIVE_ANON
from memtwin.page.gfp import GFP_KERNEL
from memtwin.reclaim.stat_fold import StatFold

MS = 1_000_000
FLUSH_PERIOD_NS = 2000 * MS
KERNELS = (601, 612)


class Aging:
    """A group of a machine whose figures age."""

    def __init__(self, kernel: int, phase_ppm: int = 500_000) -> None:
        self.machine: ReclaimMachine = build(kernel, ram_mib=32, zram_mib=16)
        self.group = self.machine.memcgs.create("/a", 0)
        self.fold = StatFold(self.machine.lru.lruvecs, self.machine.clock, kernel, 1, phase_ppm)
        scan = self.machine.reclaim.lru_scan
        scan.balance.stat_fold = self.fold
        scan.folio_reclaim.workingset.stat_fold = self.fold
        self.task, self.next_vpn = self.machine.program(self.group, 2000)

    def touch(self, nr_pages: int) -> None:
        """Put so many more pages on the group's list."""
        for vpn in range(self.next_vpn, self.next_vpn + nr_pages):
            self.machine.touch(self.task, vpn)
        self.next_vpn += nr_pages
        self.machine.lru.lru_add_drain()

    def pass_time(self, time_ns: int) -> None:
        """Let time pass."""
        self.machine.clock.now_ns += time_ns

    def said(self) -> int:
        """Pages of the list as the statistics have them."""
        return int(self.machine.lru.lruvecs.tree_size(self.group, LRU_INACTIVE_ANON))

    def reclaim(self) -> None:
        """Reclaim in the group."""
        self.machine.reclaim.vmscan.try_to_free_mem_cgroup_pages(self.group, 1, GFP_KERNEL, 1)


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_came_since_the_last_folding_is_not_seen(kernel: int) -> None:
    aging = Aging(kernel)
    aging.touch(300)
    assert aging.said() == 0
    aging.pass_time(FLUSH_PERIOD_NS)
    aging.fold.look()
    assert aging.said() == 300


@pytest.mark.parametrize("phase_ppm", [0, 250_000, 999_999])
def test_the_worker_comes_every_two_seconds_from_where_chance_has_it(phase_ppm: int) -> None:
    aging = Aging(612, phase_ppm)
    first_ns = FLUSH_PERIOD_NS * phase_ppm // 1_000_000
    assert aging.fold.work_at_ns - aging.machine.clock.now_ns in range(
        first_ns - 2000, first_ns + 1
    )
    at_ns = aging.fold.work_at_ns
    aging.pass_time(at_ns - aging.machine.clock.now_ns + 5 * FLUSH_PERIOD_NS + 7)
    aging.fold.look()
    assert aging.fold.work_at_ns == at_ns + 6 * FLUSH_PERIOD_NS


def test_a_reader_folds_when_it_comes_if_enough_has_changed() -> None:
    aging = Aging(612)
    aging.fold.read_every(2 * MS)
    aging.touch(1)
    folds = aging.fold.nr_folds
    aging.pass_time(2 * MS)
    aging.fold.look()
    assert aging.fold.nr_folds == folds  # some ten updates are below the threshold
    aging.touch(300)
    aging.pass_time(2 * MS)
    aging.fold.look()
    assert aging.fold.nr_folds == folds + 1
    assert aging.said() == 301


def test_reclaim_of_6_1_folds_and_that_of_6_12_waits_until_the_worker_is_late() -> None:
    old, new = Aging(601), Aging(612)
    for aging in (old, new):
        aging.touch(300)
        aging.reclaim()
    assert old.said() == 300
    assert new.said() == 0
    new.pass_time(2 * FLUSH_PERIOD_NS + 1)
    new.reclaim()
    assert new.said() > 0


def test_without_it_figures_are_exact() -> None:
    aging = Aging(612)
    aging.machine.lru.lruvecs.folding = 0
    aging.touch(300)
    assert aging.said() == 300
