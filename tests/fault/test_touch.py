"""What one touch does: counted, resident, charged, refused."""

from __future__ import annotations

import numpy as np
import pytest
from memory_machine import build

from memtwin.address_space.vm_flags import MM_ANONPAGES, VM_GROWSDOWN, VM_READ, VM_WRITE, VMA_ANON
from memtwin.address_space.vma import VMA
from memtwin.fault.verdicts import EXEC, READ, VM_FAULT_SIGSEGV, WRITE

KERNELS = [601, 612]


@pytest.mark.parametrize("kernel", KERNELS)
def test_reads_map_the_zero_page_which_counts_nowhere(kernel: int) -> None:
    machine = build(kernel)
    task = machine.program()
    vpn = machine.syscalls.mmap(task, 4 << 20) >> 12
    assert machine.space.access.touch_seq(task.space(), vpn, 0, 1, 1024, 0, 1024, READ) == 1024
    assert machine.count("pgfault") == task.space().min_flt == 1024
    assert machine.count("nr_anon_pages") == task.space().exact_counter(MM_ANONPAGES) == 0
    machine.space.access.touch_seq(task.space(), vpn, 0, 1, 1024, 0, 512, WRITE)
    assert machine.count("pgfault") == 1024 + 512
    assert machine.count("nr_anon_pages") == task.space().exact_counter(MM_ANONPAGES) == 512
    machine.verify()


def test_6_1_shows_a_task_its_pages_every_66_faults() -> None:
    machine = build(601)
    task = machine.program()
    vpn = machine.syscalls.mmap(task, 1 << 20) >> 12
    shown = []
    for page in range(140):
        machine.space.access.touch(task.space(), vpn + page, WRITE)
        shown.append(int(task.space().counter(MM_ANONPAGES)))
    # recorded: 12323 faults, VmRSS short of Rss by 48 pages: folded before fault 66 * n is counted
    assert shown[64] == 0
    assert shown[65] == shown[130] == 65
    assert shown[131] == 131


def test_6_12_shows_pages_in_batches_of_32_and_sums_them_for_proc() -> None:
    machine = build(612)
    task = machine.program()
    vpn = machine.syscalls.mmap(task, 1 << 20) >> 12
    machine.space.access.touch_seq(task.space(), vpn, 0, 1, 256, 0, 40, WRITE)
    assert task.space().counter(MM_ANONPAGES) == 32
    assert task.space().shown_counter(MM_ANONPAGES) == 40


@pytest.mark.parametrize(("kernel", "counted"), [(601, 0), (612, 0)])
def test_an_address_without_an_area_is_a_segfault_and_no_fault(kernel: int, counted: int) -> None:
    machine = build(kernel)
    task = machine.program()
    assert machine.space.access.touch(task.space(), 0x5000, READ) == VM_FAULT_SIGSEGV
    assert machine.count("pgfault") == counted
    machine.syscalls.touch(task, 0x5000 << 12, READ)
    assert not task.alive
    assert task.exit_signal == 11


def test_protection_is_obeyed_for_each_kind_of_touch() -> None:
    machine = build()
    task = machine.program()
    access, mm = machine.space.access, task.space()
    read_only = machine.syscalls.mmap(task, 4096, VM_READ) >> 12
    nothing = machine.syscalls.mmap(task, 4096, 0) >> 12
    assert access.touch(mm, read_only, READ) == 0
    assert access.touch(mm, read_only, WRITE) == VM_FAULT_SIGSEGV
    assert access.touch(mm, read_only, EXEC) == VM_FAULT_SIGSEGV
    assert access.touch(mm, nothing, READ) == VM_FAULT_SIGSEGV


def test_a_stack_grows_down_to_a_touch_but_not_beyond_its_limit() -> None:
    machine = build()
    task = machine.program()
    mm = task.space()
    stack = VMA(mm, 0x7F000, 0x7F002, VM_READ | VM_WRITE | VM_GROWSDOWN, VMA_ANON)
    machine.space.areas.insert(stack)
    machine.mapper.account(mm, stack, 2)
    assert machine.space.access.touch(mm, 0x7EFF0, WRITE) == 0
    assert (stack.start_vpn, mm.stack_vm) == (0x7EFF0, 18)
    assert machine.space.access.touch(mm, 0x7F002 - 2049, WRITE) == VM_FAULT_SIGSEGV
    machine.verify()


def test_a_batch_says_how_far_it_came_and_goes_on_from_there() -> None:
    machine = build()
    task = machine.program()
    vpn = machine.syscalls.mmap(task, 16 << 12) >> 12
    pages = memoryview(np.array([vpn, vpn + 3, vpn - 1, vpn + 5], dtype="int64"))
    kinds = memoryview(np.array([WRITE, READ, WRITE, WRITE], dtype="int8"))
    access = machine.space.access
    assert access.touch_many(task.space(), pages, kinds, 0, 4) == 2
    assert access.verdict == VM_FAULT_SIGSEGV
    assert access.touch_many(task.space(), pages, kinds, 3, 4) == 4
    assert access.verdict == 0
    assert access.touch_list(task.space(), pages, 0, 2, WRITE) == 2
    assert machine.count("nr_anon_pages") == 3


def test_a_yield_is_heard_after_each_page() -> None:
    machine = build()
    task = machine.program()
    vpn = machine.syscalls.mmap(task, 64 << 12) >> 12
    clock = machine.space.access.clock
    clock.slice_end_ns = clock.now_ns + 2 * machine.space.access.cost.minor_fault_ns
    reached = machine.space.access.touch_seq(task.space(), vpn, 0, 1, 64, 0, 64, WRITE)
    assert 1 <= reached < 5
    clock.slice_end_ns, clock.must_yield = 1 << 62, 0
    assert machine.space.access.touch_seq(task.space(), vpn, 0, 1, 64, reached, 64, WRITE) == 64
    assert machine.count("nr_anon_pages") == 64
