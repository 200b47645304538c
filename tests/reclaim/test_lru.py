"""LRU lists and their batches, against an ordered dictionary."""

import random
from collections import OrderedDict

import pytest
from reclaim_machine import ReclaimMachine, build

from memtwin.page.flags import (
    LRU_ACTIVE_FILE,
    LRU_INACTIVE_FILE,
    LRU_UNEVICTABLE,
    PG_ACTIVE,
    PG_LRU,
    PG_REFERENCED,
)
from memtwin.page.gfp import GFP_HIGHUSER_MOVABLE


def page(machine: ReclaimMachine) -> int:
    return int(machine.slowpath.alloc_page(GFP_HIGHUSER_MOVABLE, 0))


@pytest.mark.parametrize(("kernel", "size"), [(601, 15), (612, 31)])
def test_new_pages_join_their_list_when_a_batch_is_full(kernel: int, size: int) -> None:
    machine = build(kernel, ram_mib=16)
    for _ in range(size - 1):
        machine.lru.folio_add_lru(page(machine))
    assert machine.count("nr_inactive_file") == 0
    machine.lru.folio_add_lru(page(machine))
    assert machine.count("nr_inactive_file") == size
    machine.verify()


def test_a_page_let_go_while_it_waits_is_freed_by_the_drain() -> None:
    machine = build(ram_mib=16)
    free = machine.count("nr_free_pages")
    pfn = page(machine)
    machine.lru.folio_add_lru(pfn)
    assert machine.lru.folio_put(pfn) == 0
    machine.lru.lru_add_drain()
    machine.page_alloc.drain_all_pages()
    assert machine.count("nr_free_pages") == free
    machine.verify()


def test_a_second_access_activates_and_a_waiting_page_starts_active() -> None:
    machine = build(ram_mib=16)
    flags = machine.lru.mem.flags
    pfn = page(machine)
    machine.lru.folio_add_lru(pfn)
    machine.lru.folio_mark_accessed(pfn)
    assert flags[pfn] & PG_REFERENCED
    machine.lru.folio_mark_accessed(pfn)
    assert flags[pfn] & PG_ACTIVE
    assert not flags[pfn] & PG_REFERENCED
    machine.lru.lru_add_drain()
    assert machine.count("nr_active_file") == 1
    assert machine.count("pgactivate") == 0  # it was never inactive


def test_mlocked_pages_are_counted_but_on_no_list() -> None:
    machine = build(ram_mib=16)
    pfn = page(machine)
    machine.lru.folio_add_lru(pfn)
    machine.lru.mlock_folio(pfn)
    machine.lru.lru_add_drain()
    assert machine.count("nr_mlock") == machine.count("nr_unevictable") == 1
    assert machine.lru.lruvecs.walk(0, 0, LRU_UNEVICTABLE) == []
    machine.lru.munlock_folio(pfn)
    machine.lru.lru_add_drain()
    assert machine.count("nr_mlock") == machine.count("nr_unevictable") == 0
    assert machine.lru.lruvecs.walk(0, 0, LRU_INACTIVE_FILE) == [pfn]
    machine.verify()


@pytest.mark.parametrize("seed", range(4))
def test_random_moves_agree_with_ordered_dictionaries(seed: int) -> None:
    chance = random.Random(seed)
    machine = build(ram_mib=16)
    lru = machine.lru
    inactive: OrderedDict[int, None] = OrderedDict()  # first on the list comes first
    active: OrderedDict[int, None] = OrderedDict()
    for _ in range(500):
        what = chance.random()
        if what < 0.4:
            pfn = page(machine)
            lru.folio_add_lru(pfn)
            lru.lru_add_drain()
            inactive[pfn] = None
            inactive.move_to_end(pfn, last=False)
        elif what < 0.6 and inactive:
            pfn = chance.choice(list(inactive))
            lru.folio_activate(pfn)
            lru.lru_add_drain()
            del inactive[pfn]
            active[pfn] = None
            active.move_to_end(pfn, last=False)
        elif what < 0.75 and active:
            pfn = chance.choice(list(active))
            lru.folio_deactivate(pfn)
            lru.lru_add_drain()
            del active[pfn]
            inactive[pfn] = None
            inactive.move_to_end(pfn, last=False)
        elif what < 0.85 and inactive:
            pfn = chance.choice(list(inactive))
            lru.folio_rotate_reclaimable(pfn)
            lru.lru_add_drain()
            inactive.move_to_end(pfn)
        elif inactive:
            pfn = chance.choice(list(inactive))
            assert lru.folio_put(pfn) == 1
            del inactive[pfn]
        assert lru.lruvecs.walk(0, 0, LRU_INACTIVE_FILE) == list(inactive)
        assert lru.lruvecs.walk(0, 0, LRU_ACTIVE_FILE) == list(active)
    assert all(lru.mem.flags[pfn] & PG_LRU for pfn in [*inactive, *active])
    machine.verify()
