"""Faults on mapped files and shared memory: fault-around, copies, dirtying."""

from __future__ import annotations

import pytest
from memory_machine import MemoryMachine, build

from memtwin.address_space.vm_flags import MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES
from memtwin.fault.verdicts import READ, VM_FAULT_SIGBUS, WRITE
from memtwin.process.mmap import MAP_PRIVATE, MAP_SHARED
from memtwin.process.task import Task

PAGES = 64


def mapped(machine: MemoryMachine, flags: int) -> tuple[Task, int]:
    """A task with 64 cached pages of a file mapped, and the first vpn."""
    files = machine.rooms.files
    files.declare("/f", PAGES << 12)
    file = files.file(files.open("/f", 0, 0))
    machine.rooms.filemap.read(file, 0, PAGES << 12)
    task = machine.program()
    at = machine.syscalls.mmap_file(task, PAGES << 12, 3, flags, file, file.mapping.id)
    return task, at >> 12


def test_one_fault_maps_the_sixteen_cached_pages_around_it() -> None:
    machine = build()
    task, vpn = mapped(machine, MAP_PRIVATE)
    machine.space.access.touch_seq(task.space(), vpn, 0, 1, PAGES, 0, PAGES, READ)
    windows = (vpn + PAGES - 1) // 16 - vpn // 16 + 1
    assert machine.count("pgfault") <= windows + 1
    assert machine.count("nr_mapped") == task.space().exact_counter(MM_FILEPAGES) == PAGES
    machine.verify()


def test_a_private_write_copies_and_a_later_one_replaces_the_mapping() -> None:
    machine = build()
    task, vpn = mapped(machine, MAP_PRIVATE)
    mm = task.space()
    machine.space.access.touch(mm, vpn, WRITE)
    machine.space.access.touch(mm, vpn + 20, READ)
    files = int(mm.exact_counter(MM_FILEPAGES))
    machine.space.access.touch(mm, vpn + 20, WRITE)
    assert mm.exact_counter(MM_ANONPAGES) == machine.count("nr_anon_pages") == 2
    assert mm.exact_counter(MM_FILEPAGES) == files - 1
    assert machine.count("nr_dirty") == 0
    machine.verify()


def test_a_shared_write_dirties_the_file() -> None:
    machine = build()
    task, vpn = mapped(machine, MAP_SHARED)
    machine.space.access.touch(task.space(), vpn + 1, READ)
    machine.space.access.touch(task.space(), vpn + 1, WRITE)
    machine.space.access.touch(task.space(), vpn + 40, WRITE)
    assert machine.count("nr_dirty") == 2
    assert machine.count("nr_anon_pages") == 0
    machine.syscalls.exit(task)
    assert machine.count("nr_mapped") == 0
    assert machine.count("nr_dirty") == 2


def test_beyond_the_end_of_the_file_is_a_bus_error() -> None:
    machine = build()
    task, vpn = mapped(machine, MAP_SHARED)
    machine.rooms.files.truncate(machine.rooms.files.open("/f", 0, 0), 8 << 12)
    assert machine.space.access.touch(task.space(), vpn + 30, READ) == VM_FAULT_SIGBUS


@pytest.mark.parametrize("kernel", [601, 612])
def test_shared_memory_outlives_the_parent_and_ends_with_the_last_area(kernel: int) -> None:
    machine = build(kernel)
    before = machine.free_pages()
    task = machine.program()
    vpn = machine.syscalls.mmap_shared(task, 256 << 12) >> 12
    machine.space.access.touch_seq(task.space(), vpn, 0, 1, 256, 0, 256, WRITE)
    assert machine.count("nr_shmem") == task.space().exact_counter(MM_SHMEMPAGES) == 256
    child = machine.syscalls.fork(task)
    assert isinstance(child, Task)
    assert machine.overcommit.committed_pages == 256
    machine.syscalls.exit(task)
    machine.space.access.touch_seq(child.space(), vpn, 0, 1, 256, 0, 256, READ)
    assert machine.count("nr_shmem") == child.space().exact_counter(MM_SHMEMPAGES) == 256
    machine.verify()
    machine.syscalls.exit(child)
    assert machine.count("nr_shmem") == machine.overcommit.committed_pages == 0
    # the slab of the object's tree node stays
    assert before - machine.free_pages() <= 4
