"""Charging: batches, trees of limits, v1 memory+swap, against a naive ledger."""

import random

import pytest
from reclaim_machine import build

from memtwin.memcg.constants import CHARGE_OK, PAGE_COUNTER_MAX
from memtwin.page.gfp import GFP_KERNEL, GFP_NOFAIL, NEED_OOM


def test_the_root_is_never_charged() -> None:
    machine = build(ram_mib=16)
    assert machine.slowpath.try_charge(0, 1000, GFP_KERNEL) == CHARGE_OK
    assert machine.memcgs.usage[0] == 0


def test_a_first_page_charges_a_batch_of_64() -> None:
    machine = build(ram_mib=16)
    group = machine.memcgs.create("/a", 0)
    machine.slowpath.try_charge(group, 1, GFP_KERNEL)
    assert machine.memcgs.usage[group] == 64
    assert machine.charge.stock_pages[0] == 63
    for _ in range(63):
        machine.slowpath.try_charge(group, 1, GFP_KERNEL)
    assert machine.memcgs.usage[group] == 64


def test_near_the_limit_a_batch_gives_way_to_the_page_that_is_needed() -> None:
    machine = build(ram_mib=16)
    group = machine.memcgs.create("/a", 0)
    machine.memcgs.max[group] = 70
    assert machine.slowpath.try_charge(group, 65, GFP_KERNEL) == CHARGE_OK
    assert machine.slowpath.try_charge(group, 5, GFP_KERNEL) == CHARGE_OK
    assert machine.memcgs.usage[group] == 70
    assert machine.charge.stock_pages[0] == 0


def test_a_group_over_its_limit_without_pages_is_out_of_memory_by_name() -> None:
    machine = build(ram_mib=16)
    parent = machine.memcgs.create("/a", 0)
    child = machine.memcgs.create("/a/b", parent)
    machine.memcgs.max[parent] = 10
    assert machine.slowpath.try_charge(child, 11, GFP_KERNEL) == NEED_OOM
    assert machine.slowpath.oom_memcg_id == parent
    assert machine.memcgs.usage[child] == machine.memcgs.usage[parent] == 0
    assert machine.memcgs.memory_events(parent)["oom"] == 1


def test_a_charge_that_must_not_fail_goes_over_the_limit() -> None:
    machine = build(ram_mib=16)
    group = machine.memcgs.create("/a", 0)
    machine.memcgs.max[group] = 10
    assert machine.slowpath.try_charge(group, 11, GFP_KERNEL | GFP_NOFAIL) == CHARGE_OK
    assert machine.memcgs.usage[group] == 11


def test_v1_memory_and_swap_refuse_together_and_swapping_does_not_help() -> None:
    machine = build(ram_mib=16, version=1)
    group = machine.memcgs.create("/a", 0)
    machine.memcgs.max[group] = 100
    machine.memcgs.memsw_max[group] = 50
    assert machine.slowpath.try_charge(group, 51, GFP_KERNEL) == NEED_OOM
    assert machine.charge.over_memsw == 1
    assert machine.memcgs.usage[group] == machine.memcgs.memsw_usage[group] == 0


def test_v1_limits_keep_memory_below_memory_and_swap() -> None:
    machine = build(ram_mib=16, version=1)
    group = machine.memcgs.create("/a", 0)
    assert machine.slowpath.resize_v1(group, 100, 0) == 0
    assert machine.slowpath.resize_v1(group, 50, 1) == -22
    assert machine.slowpath.resize_v1(group, 200, 1) == 0
    assert machine.slowpath.resize_v1(group, 300, 0) == -22
    assert machine.memcgs.max[group] == 100
    assert machine.memcgs.memsw_max[group] == 200


def test_groups_are_visited_parents_first_and_brothers_in_order() -> None:
    machine = build(ram_mib=16)
    a = machine.memcgs.create("/a", 0)
    b = machine.memcgs.create("/b", 0)
    below = machine.memcgs.create("/a/x", a)
    order = [0]
    while (at := machine.memcgs.next_in_tree(0, order[-1])) >= 0:
        order.append(at)
    assert order == [0, a, below, b]
    assert machine.memcgs.next_in_tree(a, below) == -1


@pytest.mark.parametrize("seed", range(5))
def test_random_charges_in_a_tree_agree_with_a_ledger(seed: int) -> None:
    chance = random.Random(seed)
    machine = build(ram_mib=16)
    table = machine.memcgs
    groups = [0]
    for number in range(6):
        groups.append(table.create(f"/{number}", chance.choice(groups)))
        table.max[groups[-1]] = chance.choice([200, 500, PAGE_COUNTER_MAX])
    held = dict.fromkeys(groups, 0)
    for _ in range(300):
        group = chance.choice(groups[1:])
        pages = chance.choice([1, 1, 1, 3, 80])
        if chance.random() < 0.7:
            if machine.slowpath.try_charge(group, pages, GFP_KERNEL) == CHARGE_OK:
                held[group] += pages
        elif held[group] >= pages:
            machine.charge.cancel(group, pages)
            held[group] -= pages
        table.verify()
    machine.charge.drain_all_stock(0)
    for group in groups[1:]:
        below = [row for row in groups[1:] if table.is_descendant(row, group)]
        assert table.usage[group] == sum(held[row] for row in below)
        assert table.usage[group] <= table.max[group]


def test_objects_are_charged_by_the_byte_from_pages_charged_before() -> None:
    machine = build(ram_mib=16)
    group = machine.memcgs.create("/a", 0)
    for _ in range(7):
        machine.slowpath.charge_object(group, 584, GFP_KERNEL)
    assert machine.memcgs.kmem[group] == 1
    machine.slowpath.charge_object(group, 584, GFP_KERNEL)
    assert machine.memcgs.kmem[group] == 2


def test_an_object_that_finds_no_room_changes_nothing() -> None:
    machine = build(ram_mib=16)
    group = machine.memcgs.create("/a", 0)
    machine.memcgs.max[group] = 0
    assert machine.slowpath.charge_object(group, 100, GFP_KERNEL) == NEED_OOM
    assert machine.memcgs.usage[group] == machine.memcgs.kmem[group] == 0


@pytest.mark.parametrize("seed", range(6))
def test_kernel_memory_of_groups_is_their_objects_and_what_is_left_over_in_whole_pages(
    seed: int,
) -> None:
    machine = build(ram_mib=16)
    made = random.Random(seed)
    groups = [machine.memcgs.create(f"/{n}", 0) for n in range(3)]
    charge = machine.charge
    alive: dict[int, list[int]] = {group: [] for group in groups}
    for _ in range(600):
        group = made.choice(groups)
        what = made.random()
        if what < 0.55:
            size_bytes = made.choice((64, 112, 584, 1100, 5000))
            assert machine.slowpath.charge_object(group, size_bytes, GFP_KERNEL) == CHARGE_OK
            alive[group].append(size_bytes)
        elif what < 0.97 and alive[group]:
            gone = alive[group].pop(made.randrange(len(alive[group])))
            charge.uncharge_object(group, gone)
        else:
            charge.drain_all_stock(0)
        for each in groups:
            spare = int(charge.obj_left[each])
            if charge.obj_memcg[0] == each:
                spare += int(charge.obj_bytes[0])
            assert machine.memcgs.kmem[each] * 4096 == sum(alive[each]) + spare
    charge.drain_all_stock(0)
    for each in groups:
        assert machine.memcgs.usage[each] == machine.memcgs.kmem[each]
