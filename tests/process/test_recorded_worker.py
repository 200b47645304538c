"""Workers of the recorded machines, page for page: figures of 6.1.0-56-cloud-amd64 with 256 MiB."""

from __future__ import annotations

import pytest
from memory_machine import MemoryMachine, build

from memtwin.address_space.vm_flags import MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, VMA_SHMEM
from memtwin.fault.verdicts import READ, WRITE
from memtwin.page.gfp import GFP_KERNEL
from memtwin.process.init_image import InitImage, Operation
from memtwin.process.task import Task

A_PAGES = 8192


def recorded(kernel: int = 601) -> tuple[MemoryMachine, InitImage, Task]:
    machine = build(kernel, ram_mib=256)

    def take_frame() -> int:
        return int(machine.syscalls.slowpath.alloc_page(GFP_KERNEL, 0))

    image = InitImage(machine.syscalls, machine.page_cache, take_frame)
    init = image.make()
    machine.lru.lru_add_drain_all()
    return machine, image, init


def worker(image: InitImage, init: Task) -> Task:
    task = image.start_worker(init)
    assert isinstance(task, Task)
    image.wake(task)
    image.before_operation(task)
    return task


def resident(task: Task) -> tuple[int, int, int]:
    kinds = (MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES)
    anon, file, shmem = (int(task.space().exact_counter(kind)) for kind in kinds)
    return anon, file, shmem


def test_pid_1_has_the_pages_that_smaps_shows() -> None:
    machine, _, init = recorded()
    assert resident(init) == (784, 162, 1)
    assert machine.count("nr_mapped") == 163
    assert machine.count("nr_mlock") == 768
    assert init.space().data_vm == 3 + 52 + 34 + 768
    assert machine.overcommit.committed_pages == 126 + 768 + 1
    machine.space.verify()


def test_a_worker_takes_35_faults_before_its_first_operation_and_pid_1_five() -> None:
    machine, image, init = recorded()
    faults, anon = machine.count("pgfault"), machine.count("nr_anon_pages")
    tables = machine.count("nr_page_table_pages")
    task = image.start_worker(init)
    assert isinstance(task, Task)
    assert machine.count("pgfault") - faults == 5
    image.wake(task)
    assert task.space().min_flt == 28
    image.before_operation(task)
    assert task.space().min_flt == 35
    assert machine.count("nr_anon_pages") - anon == 26
    assert machine.count("nr_page_table_pages") - tables == 6
    assert resident(task) == (33, 130, 1)
    assert task.space().get_rss() == 18  # what status shows: 72 kB
    assert task.space().pgtables_bytes == 32 << 10
    assert (task.space().total_vm, task.space().data_vm, task.space().stack_vm) == (300, 89, 33)


@pytest.mark.parametrize(("kernel", "address"), [(601, 0x7FFFF5CF8000), (612, 0x7FFFF5E00000)])
def test_the_first_mapping_of_a_worker_lies_where_the_kernel_puts_it(
    kernel: int, address: int
) -> None:
    machine, image, init = recorded(kernel)
    assert machine.syscalls.mmap(worker(image, init), A_PAGES << 12) == address


def test_a_chain_of_forks_faults_as_recorded() -> None:
    machine, image, init = recorded()
    access = machine.space.access
    parent = worker(image, init)
    vpn = machine.syscalls.mmap(parent, A_PAGES << 12) >> 12

    def touch(task: Task, kind: int, count: int) -> int:
        image.before_operation(task)
        before = int(task.space().min_flt)
        access.touch_seq(task.space(), vpn, 0, 1, A_PAGES, 0, count, kind)
        image.after_operation(task)
        return int(task.space().min_flt) - before

    assert touch(parent, WRITE, A_PAGES) == 8192
    child = image.fork_worker(parent)
    assert isinstance(child, Task)
    assert parent.space().min_flt == 8230
    image.wake(child)
    assert child.space().min_flt == 7
    assert resident(child) == (8225, 49, 1)
    touch(child, READ, A_PAGES)
    assert child.space().min_flt == 15
    anon = machine.count("nr_anon_pages")
    touch(child, WRITE, 2048)
    assert child.space().min_flt == 2063
    assert machine.count("nr_anon_pages") - anon == 2048
    touch(parent, WRITE, 4096)
    assert parent.space().min_flt == 12328
    # 2048 pages were the parent's alone already: reused, not copied
    assert machine.count("nr_anon_pages") - anon == 4096
    grandchild = image.fork_worker(child)
    assert isinstance(grandchild, Task)
    image.before_operation(grandchild, Operation.DRAWS)
    machine.syscalls.kill(child)
    touch(parent, WRITE, A_PAGES)
    machine.syscalls.kill(grandchild)
    assert touch(parent, WRITE, A_PAGES) == 0
    assert resident(parent) == (8225, 130, 1)
    machine.space.verify()
    shared = [v for v in machine.space.areas.tree(parent.space()).vmas if v.kind == VMA_SHMEM]
    assert len(shared) == 1
