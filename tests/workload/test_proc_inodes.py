"""Names of /proc take objects once, and give them back when they go."""

from __future__ import annotations

from tests.machine.scenarios import description

from memtwin.machine.config import config_from_text
from memtwin.machine.machine import Machine
from memtwin.workload.proc_inodes import CACHES, ProcInodes


def names_of(machine: Machine) -> ProcInodes:
    for name in CACHES:
        if machine.kernel.slub.find(name) < 0:
            machine.kernel.slub.create(name, 192, 0, 21)
    return ProcInodes(machine.kernel)


def in_use(machine: Machine) -> list[int]:
    slub = machine.kernel.slub
    return [int(slub.cache(slub.find(name)).inuse) for name in CACHES]


def small_machine() -> Machine:
    return Machine(config_from_text(description("6.1"), "test_proc_inodes"))


def test_every_name_on_the_way_takes_a_dentry_and_an_inode_once() -> None:
    machine = small_machine()
    names = names_of(machine)
    before = in_use(machine)
    names.open("/proc/7/status")
    names.open("/proc/7/stat")
    names.open("/proc/7/status")
    names.open("/sys/kernel/mm/lru_gen/enabled")  # not of /proc
    assert in_use(machine) == [count + 3 for count in before]  # 7, status, stat
    names.forget("/proc/7")
    assert in_use(machine) == before
    assert not names.unused
    machine.verify()


def test_pressure_takes_unused_names_in_order_and_spares_those_used_again_once() -> None:
    machine = small_machine()
    names = names_of(machine)
    before = in_use(machine)
    for path in ("/proc/sys/vm/a", "/proc/vmstat", "/proc/meminfo", "/proc/vmstat"):
        names.open(path)
    assert names.prune(2) == 1  # vmstat was used again
    assert "/proc/sys/vm/a" not in names.held
    assert "/proc/vmstat" in names.held
    assert names.prune(10) == 3  # meminfo, vmstat, and vm, which has no names left
    assert names.prune(10) == 1  # then sys
    assert in_use(machine) == before
    machine.verify()
