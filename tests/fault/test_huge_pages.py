"""Anonymous huge pages: first fault, partial unmapping, fork and copy on write."""

from __future__ import annotations

import pytest
from memory_machine import MemoryMachine, build

from memtwin.address_space.huge_split import HugeSplit
from memtwin.address_space.vm_flags import MM_ANONPAGES
from memtwin.fault.verdicts import READ, WRITE
from memtwin.hardware.pte import PTE_PSE, pte_pfn
from memtwin.process.task import Task

ALWAYS = 2
MIB_PAGES = 256


def touched(machine: MemoryMachine, pages: int, kind: int) -> tuple[Task, int]:
    task = machine.program()
    vpn = machine.syscalls.mmap(task, pages << 12, at_bytes=0x40000000) >> 12
    machine.space.access.touch_seq(task.space(), vpn, 0, 1, pages, 0, pages, kind)
    return task, vpn


@pytest.mark.parametrize("kernel", [601, 612])
def test_one_fault_takes_512_pages_and_a_table_for_later(kernel: int) -> None:
    machine = build(kernel, thp_enabled=ALWAYS)
    before = machine.free_pages()
    task, _ = touched(machine, 1024, WRITE)
    assert machine.count("pgfault") == machine.count("thp_fault_alloc") == 2
    assert machine.count("nr_anon_pages") == task.space().exact_counter(MM_ANONPAGES) == 1024
    assert machine.count("nr_anon_transparent_hugepages") == 1024
    assert task.space().pgtables_bytes == 4 * 4096
    machine.verify()
    machine.syscalls.exit(task)
    assert machine.free_pages() == before


def test_the_ends_of_an_area_that_do_not_fill_two_mebibytes_are_small() -> None:
    machine = build(thp_enabled=ALWAYS)
    task = machine.program()
    vpn = machine.syscalls.mmap(task, 1024 << 12, at_bytes=0x40000000 + (100 << 12)) >> 12
    machine.space.access.touch_seq(task.space(), vpn, 0, 1, 1024, 0, 1024, WRITE)
    assert machine.count("thp_fault_alloc") == 1
    assert machine.count("pgfault") == 1 + 512


def test_reads_share_the_huge_zero_page_until_the_first_write() -> None:
    machine = build(thp_enabled=ALWAYS)
    task, vpn = touched(machine, 1024, READ)
    assert machine.count("thp_zero_page_alloc") == 1
    assert machine.count("nr_anon_pages") == 0
    machine.space.access.touch(task.space(), vpn + 5, WRITE)
    assert machine.count("nr_anon_pages") == 1
    machine.verify()


def test_dropping_a_part_splits_the_entry_but_not_the_page() -> None:
    machine = build(thp_enabled=ALWAYS)
    task, vpn = touched(machine, 1024, WRITE)
    machine.syscalls.madvise(task, (vpn + 100) << 12, 100 << 12, "dontneed")
    assert machine.count("thp_split_pmd") == machine.count("thp_deferred_split_page") == 1
    assert machine.count("thp_split_page") == 0
    assert machine.count("nr_anon_pages") == 924
    machine.verify()
    machine.syscalls.madvise(task, vpn << 12, 512 << 12, "dontneed")
    assert machine.count("nr_anon_pages") == 512
    machine.verify()


def test_a_write_after_fork_splits_the_entry_and_copies_one_small_page() -> None:
    machine = build(thp_enabled=ALWAYS)
    before = machine.free_pages()
    parent, vpn = touched(machine, 512, WRITE)
    child = machine.syscalls.fork(parent)
    assert isinstance(child, Task)
    assert machine.count("nr_anon_pages") == 512
    machine.space.access.touch(child.space(), vpn + 7, WRITE)
    assert machine.count("nr_anon_pages") == 513
    assert machine.count("thp_split_pmd") == 1
    machine.verify()
    machine.syscalls.exit(child)
    # the parent is alone again: it writes without a copy
    machine.space.access.touch(parent.space(), vpn + 7, WRITE)
    assert machine.count("nr_anon_pages") == 512
    machine.verify()
    machine.syscalls.exit(parent)
    assert machine.free_pages() == before


def test_a_huge_page_off_the_lists_can_be_taken_apart() -> None:
    machine = build(thp_enabled=ALWAYS)
    task, vpn = touched(machine, 512, WRITE)
    machine.lru.lru_add_drain_all()
    entry = int(machine.space.tables.entry(task.space(), vpn))
    assert entry & PTE_PSE
    head, mem = pte_pfn(entry), machine.page_alloc.mem_map
    split = HugeSplit(machine.space.rmap, machine.vmstat)
    assert split.split(head) == 0  # nobody holds the reference that an isolated page has
    mem.refcount[head] += 1
    assert split.split(head) == 1
    assert [mem.refcount[head + i] for i in range(512)] == [2] * 512
    assert {int(mem.order[head + i]) for i in range(512)} == {0}
    machine.space.verify()
    assert machine.space.access.touch(task.space(), vpn + 3, WRITE) == 0
    assert machine.count("nr_anon_pages") == 512
    assert machine.count("nr_anon_transparent_hugepages") == 0
