"""Shadows: what they carry, and when a page that comes back is active at once."""

from reclaim_machine import ReclaimMachine, build

from memtwin.page.flags import PG_ACTIVE, PG_SWAPBACKED, PG_WORKINGSET
from memtwin.page.gfp import GFP_HIGHUSER_MOVABLE
from memtwin.reclaim.workingset import Workingset


def workingset(machine: ReclaimMachine) -> Workingset:
    return machine.reclaim.vmscan.lru_scan.folio_reclaim.workingset


def anon_page(machine: ReclaimMachine) -> int:
    pfn = int(machine.slowpath.alloc_page(GFP_HIGHUSER_MOVABLE, 0))
    machine.lru.mem.flags[pfn] |= PG_SWAPBACKED
    return pfn


def test_every_eviction_ages_the_rest_by_one() -> None:
    machine = build(ram_mib=16, zram_mib=16)
    judge = workingset(machine)
    pfn = anon_page(machine)
    shadows = [judge.workingset_eviction(pfn, -1) for _ in range(3)]
    assert all(shadow > 0 for shadow in shadows)
    assert machine.lru.lruvecs.nonresident_age[0] == 3
    assert len(set(shadows)) == 3


def test_a_page_that_would_have_fitted_comes_back_active() -> None:
    machine = build(ram_mib=16, zram_mib=16)
    judge = workingset(machine)
    for _ in range(60):
        machine.lru.folio_add_lru(int(machine.slowpath.alloc_page(GFP_HIGHUSER_MOVABLE, 0)))
    machine.lru.lru_add_drain()
    pfn = anon_page(machine)
    shadow = judge.workingset_eviction(pfn, -1)
    for _ in range(59):
        judge.workingset_eviction(pfn, -1)
    assert judge.workingset_refault(pfn, shadow) == 1  # distance 60, 60 file pages
    assert machine.lru.mem.flags[pfn] & PG_ACTIVE
    machine.lru.mem.flags[pfn] &= ~PG_ACTIVE
    judge.workingset_eviction(pfn, -1)
    assert judge.workingset_refault(pfn, shadow) == 0
    assert machine.count("workingset_refault_anon") == 2
    assert machine.count("workingset_activate_anon") == 1


def test_a_page_that_was_active_before_comes_back_as_part_of_the_working_set() -> None:
    machine = build(ram_mib=16, zram_mib=16)
    judge = workingset(machine)
    pfn = anon_page(machine)
    machine.lru.mem.flags[pfn] |= PG_WORKINGSET
    shadow = judge.workingset_eviction(pfn, -1)
    machine.lru.mem.flags[pfn] &= ~PG_WORKINGSET
    for _ in range(5):
        machine.lru.folio_add_lru(int(machine.slowpath.alloc_page(GFP_HIGHUSER_MOVABLE, 0)))
    machine.lru.lru_add_drain()
    assert judge.workingset_refault(pfn, shadow) == 1
    assert machine.lru.mem.flags[pfn] & PG_WORKINGSET
    assert machine.count("workingset_restore_anon") == 1
