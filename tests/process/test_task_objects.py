"""What tasks and address spaces take from the slab caches, against recorded slabinfo."""

from __future__ import annotations

import pytest
from memory_machine import MemoryMachine, build

from memtwin.fault.verdicts import WRITE
from memtwin.process.mmap import PROT_READ
from memtwin.process.task import Task
from memtwin.process.task_objects import TaskObjects, tree_nodes

# name, object bytes, order, objects a slab: of 6.1.0-56-cloud-amd64
CACHES = (
    ("task_struct", 6144, 3, 5), ("cred_jar", 192, 0, 21), ("files_cache", 704, 1, 11),
    ("sighand_cache", 2112, 3, 15), ("signal_cache", 1152, 2, 14), ("mm_struct", 1152, 2, 14),
    ("pid", 128, 0, 32), ("vm_area_struct", 152, 0, 26), ("maple_node", 256, 0, 16),
    ("anon_vma", 104, 0, 39), ("anon_vma_chain", 64, 0, 64), ("sigqueue", 80, 0, 51),
)  # fmt: skip
PAGE = 4096


def machine_with_caches() -> MemoryMachine:
    machine = build()
    slub = machine.rooms.objects.slub
    for row in CACHES:
        slub.create(*row)
    objects = TaskObjects(slub, machine.syscalls.slowpath, machine.space)
    machine.mapper.objects = machine.syscalls.fork_exit.objects = objects
    return machine


def inuse(machine: MemoryMachine, name: str) -> int:
    slub = machine.rooms.objects.slub
    return int(slub.cache(slub.find(name)).inuse)


def forked(machine: MemoryMachine, parent: Task) -> Task:
    child = machine.syscalls.fork(parent)
    assert isinstance(child, Task)
    return child


def test_a_task_takes_one_object_of_each_kind_and_gives_all_back() -> None:
    machine = machine_with_caches()
    task = machine.program()
    for name in ("task_struct", "cred_jar", "files_cache", "sighand_cache", "signal_cache", "pid"):
        assert inuse(machine, name) == 1, name
    assert inuse(machine, "vm_area_struct") == 0
    address = machine.syscalls.mmap(task, 4 * PAGE)
    machine.syscalls.touch(task, address, WRITE)
    child = forked(machine, task)
    assert inuse(machine, "task_struct") == inuse(machine, "mm_struct") == 2
    # the parent's area has its anon_vma, the child's is linked to that one and to its own
    assert inuse(machine, "vm_area_struct") == 2
    assert inuse(machine, "anon_vma") == 2
    assert inuse(machine, "anon_vma_chain") == 1 + 2 + 2  # two stand for the fs_cache of each task
    machine.syscalls.exit(child)
    machine.syscalls.exit(task)
    assert {name: inuse(machine, name) for name, *_ in CACHES} == {name: 0 for name, *_ in CACHES}
    machine.verify()
    machine.rooms.objects.slub.verify()


def test_the_twenty_seventh_area_takes_a_second_slab() -> None:
    machine = machine_with_caches()
    task = machine.program()
    slub = machine.rooms.objects.slub
    areas = slub.cache(slub.find("vm_area_struct"))
    address = machine.syscalls.mmap(task, 64 * PAGE)
    for nr in range(12):  # each hole cuts an area in two
        machine.syscalls.munmap(task, address + (4 * nr + 2) * PAGE, PAGE)
    assert (areas.inuse, areas.num_slabs) == (13, 1)
    forked(machine, task)
    assert (areas.inuse, areas.num_slabs) == (26, 1)
    machine.syscalls.munmap(task, address + 60 * PAGE, PAGE)
    assert (areas.inuse, areas.num_slabs) == (27, 2)
    slub.verify()


def test_cutting_off_the_end_of_an_area_takes_an_object_for_the_moment() -> None:
    machine = machine_with_caches()
    task = machine.program()
    slub = machine.rooms.objects.slub
    areas = slub.cache(slub.find("vm_area_struct"))
    address = machine.syscalls.mmap(task, 256 * PAGE)
    for nr in range(24):
        machine.syscalls.munmap(task, address + (4 * nr + 2) * PAGE, PAGE)
    machine.syscalls.mmap(task, PAGE, PROT_READ)
    assert (areas.inuse, areas.num_slabs) == (26, 1)
    machine.syscalls.munmap(task, address + 255 * PAGE, PAGE)
    assert (areas.inuse, areas.num_slabs) == (26, 2)


def test_a_recorded_start_has_as_many_objects_out_as_threads_and_areas() -> None:
    machine = build()
    slub = machine.rooms.objects.slub
    for row in CACHES:
        slub.create(*row)
    slowpath, tasks = machine.syscalls.slowpath, slub.find("task_struct")
    for _ in range(11):  # a start's text: 11 slabs, 55 objects, all counted as active
        slub.seed_slab(tasks, int(slowpath.alloc_page(slub.gfp_of(tasks), 3)), 5)
    TaskObjects(slub, slowpath, machine.space).adopt(45)
    cache = slub.cache(tasks)
    assert (cache.inuse, cache.num_objs, cache.active_objs()) == (45, 55, 55)
    for _ in range(10):  # ten more tasks need no slab
        assert slub.alloc_object(tasks) >= 0
    assert cache.num_slabs == 11
    slub.verify()


@pytest.mark.parametrize(("areas", "nodes"), [(0, 0), (1, 1), (11, 1), (13, 3), (100, 10)])
def test_small_trees_are_one_leaf_and_large_ones_have_branches(areas: int, nodes: int) -> None:
    assert tree_nodes(areas) == nodes
