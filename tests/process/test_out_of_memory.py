"""Who dies when memory is gone, in which order, and what the log says."""

from __future__ import annotations

import re

import pytest
from memory_machine import MemoryMachine, build

from memtwin.errors import UserError
from memtwin.fault.verdicts import WRITE
from memtwin.process.oom import divided
from memtwin.process.task import Task

MIB = 1 << 20


def writer(machine: MemoryMachine, comm: str, mib: int, adj: int = 0) -> tuple[Task, int]:
    task = machine.program(comm)
    task.set_oom_score_adj(adj)
    return task, machine.syscalls.mmap(task, mib * MIB) >> 12


def write(machine: MemoryMachine, task: Task, vpn: int, pages: int) -> int:
    at = 0
    while at < pages and task.alive:
        at = int(machine.space.access.touch_seq(task.space(), vpn, 0, 1, pages, at, pages, WRITE))
        verdict = int(machine.space.access.verdict)
        if verdict:
            machine.syscalls.answer(task, verdict)
    return at


def victims(machine: MemoryMachine) -> list[str]:
    found = (re.search(r"Killed process \d+ \((\w+)\)", line) for line in machine.log)
    return [match.group(1) for match in found if match]


@pytest.mark.parametrize("kernel", [601, 612])
def test_the_kill_order_follows_scores_and_spares_the_exempt(kernel: int) -> None:
    machine = build(kernel, ram_mib=64, overcommit_memory=1)
    for comm, mib, adj in (("a", 24, -500), ("b", 16, 0), ("c", 2, 300)):
        task, vpn = writer(machine, comm, mib, adj)
        assert write(machine, task, vpn, mib << 8) == mib << 8
    exempt, vpn = writer(machine, "d", 256, -1000)
    assert write(machine, exempt, vpn, 12288) == 12288
    assert victims(machine) == ["c", "b", "a"]
    # the kernel kills inside the allocation: a fault that waited for that is counted once
    assert exempt.space().min_flt == 12288
    assert machine.count("pgfault") == (24 + 16 + 2) * 256 + 12288
    late, vpn = writer(machine, "e", 128)
    write(machine, late, vpn, 128 << 8)
    assert victims(machine) == ["c", "b", "a", "e"]
    assert (late.alive, late.exit_signal, exempt.alive) == (0, 9, 1)
    machine.verify()


def test_the_log_speaks_the_kernels_words() -> None:
    machine = build(ram_mib=32, overcommit_memory=1)
    task, vpn = writer(machine, "init", 64)
    write(machine, task, vpn, 64 << 8)
    first = "init invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO)"
    assert machine.log[0] == f"{first}, order=0, oom_score_adj=0"
    assert re.fullmatch(
        r"Out of memory: Killed process 1 \(init\) total-vm:65536kB, anon-rss:\d+kB, "
        r"file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:\d+kB oom_score_adj:0",
        machine.log[-1],
    )
    assert machine.count("oom_kill") == 1


def test_a_group_over_its_limit_loses_one_of_its_own() -> None:
    machine = build(ram_mib=64, overcommit_memory=1)
    group = machine.memcgs.create("g", 0)
    machine.memcgs.max[group] = 8 << 8
    outside, vpn = writer(machine, "big", 16)
    write(machine, outside, vpn, 16 << 8)
    inside, vpn = writer(machine, "small", 16)
    inside.memcg_id = inside.space().memcg = group
    write(machine, inside, vpn, 16 << 8)
    assert victims(machine) == ["small"]
    assert outside.alive
    assert any("CONSTRAINT_MEMCG" in line and "oom_memcg=/g" in line for line in machine.log)
    assert machine.log[-1].startswith("Memory cgroup out of memory: Killed process")
    assert machine.memcgs.memory_events(group)["oom_kill"] == 1


def test_with_nobody_to_kill_the_kernel_panics_and_the_twin_says_so() -> None:
    machine = build(ram_mib=32, overcommit_memory=1)
    task, vpn = writer(machine, "d", 64, -1000)
    with pytest.raises(UserError, match="panicked: System is deadlocked on memory"):
        write(machine, task, vpn, 64 << 8)


def test_oom_score_divides_as_c_does() -> None:
    assert divided(-5214000, 23121) == -225
    assert divided((1000 - 225) * 2, 3) == 516  # recorded: adj -500, 6286 pages of 23121


def test_a_wrong_adjustment_is_refused_with_the_range() -> None:
    task = build(ram_mib=32).program()
    with pytest.raises(UserError, match=r"found 1001, allowed is -1000 \.\. 1000"):
        task.set_oom_score_adj(1001)
