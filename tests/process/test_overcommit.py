"""Which mmap() is refused, under each vm.overcommit_memory: answers recorded on 6.1."""

from __future__ import annotations

import errno

from memory_machine import build

from memtwin.process.task import Task

MIB = 1 << 20


def test_the_guess_refuses_one_mapping_larger_than_ram_and_swap() -> None:
    machine = build(ram_mib=216)
    machine.swap.swapon("swap", 64 << 8, -1, 0)
    task = machine.program()
    assert machine.syscalls.mmap(task, 200 * MIB) > 0
    assert machine.syscalls.mmap(task, 400 * MIB) == -errno.ENOMEM
    assert machine.syscalls.mmap(task, 200 * MIB) > 0  # each one by itself is fine
    assert machine.overcommit.committed_pages == 400 << 8


def test_the_strict_rule_counts_every_promise() -> None:
    machine = build(ram_mib=216)
    machine.swap.swapon("swap", 64 << 8, -1, 0)
    task = machine.program()
    machine.syscalls.mmap(task, 200 * MIB)
    tunables = machine.overcommit.tunables
    tunables.set("vm.overcommit_memory", "2")
    assert machine.syscalls.mmap(task, 32 * MIB) == -errno.ENOMEM
    tunables.set("vm.overcommit_ratio", "400")
    assert machine.syscalls.mmap(task, 128 * MIB) > 0
    assert machine.syscalls.mmap(task, 1024 * MIB) == -errno.ENOMEM
    tunables.set("vm.overcommit_kbytes", "900000")
    assert machine.overcommit.commit_limit() == 900000 // 4 + (64 << 8) - 1
    assert machine.syscalls.mmap(task, 100 * MIB) > 0
    tunables.set("vm.overcommit_memory", "1")
    assert machine.syscalls.mmap(task, 3072 * MIB) > 0


def test_a_fork_promises_again_and_may_be_refused() -> None:
    machine = build(ram_mib=64, overcommit_memory=2, overcommit_ratio=100)
    task = machine.program()
    assert machine.syscalls.mmap(task, 40 * MIB) > 0
    promised = machine.overcommit.committed_pages
    assert machine.syscalls.fork(task) == -errno.ENOMEM
    assert machine.overcommit.committed_pages == promised
    machine.space.verify()
    machine.syscalls.exit(task)
    assert machine.overcommit.committed_pages == 0


def test_what_no_write_can_reach_is_not_promised() -> None:
    machine = build(ram_mib=64)
    task = machine.program()
    at = machine.syscalls.mmap(task, 8 * MIB, 1)
    assert machine.overcommit.committed_pages == 0
    machine.syscalls.mprotect(task, at, 2 * MIB, 3)
    assert machine.overcommit.committed_pages == 2 << 8
    child = machine.syscalls.fork(task)
    assert isinstance(child, Task)
    assert machine.overcommit.committed_pages == 4 << 8
