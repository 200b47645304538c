"""mmap, munmap, mprotect, madvise, fork, touch and exit against a model that is a dictionary."""

from __future__ import annotations

from random import Random

import pytest
from memory_machine import MemoryMachine, build

from memtwin.address_space.vm_flags import VM_EXEC, VM_READ, VM_WRITE
from memtwin.fault.verdicts import READ, VM_FAULT_SIGSEGV, WRITE
from memtwin.hardware.pte import PTE_PRESENT, PTE_SPECIAL, pte_pfn
from memtwin.process.task import Task

PROTS = (VM_READ, VM_READ | VM_WRITE, VM_READ | VM_WRITE, 0, VM_READ | VM_EXEC)
ZERO = "the zero page"
ARENA_VPN = 0x10000
ARENA_PAGES = 1400  # crosses page tables
MAP_FIXED = 4


class NaiveMemory:
    """What one task sees: page -> protection, and page -> its frame (any object) or ZERO."""

    def __init__(self) -> None:
        self.prot: dict[int, int] = {}
        self.frame: dict[int, object] = {}

    def fork(self) -> NaiveMemory:
        child = NaiveMemory()
        child.prot, child.frame = dict(self.prot), dict(self.frame)
        return child


class Model:
    """All tasks of the model."""

    def __init__(self) -> None:
        self.of: dict[int, NaiveMemory] = {}

    def mappers(self, frame: object) -> int:
        return sum(1 for m in self.of.values() for f in m.frame.values() if f is frame)

    def touch(self, pid: int, vpn: int, kind: int) -> bool:
        memory = self.of[pid]
        prot = memory.prot.get(vpn)
        if prot is None or (kind == WRITE and not prot & VM_WRITE) or not prot:
            return False
        held = memory.frame.get(vpn)
        if kind == WRITE:
            if held is None or held is ZERO or self.mappers(held) > 1:
                memory.frame[vpn] = object()
        elif held is None:
            memory.frame[vpn] = ZERO
        return True


def compare(machine: MemoryMachine, model: Model, tasks: dict[int, Task]) -> None:
    """Same pages resident, same pages shared, same number of frames."""
    twin_of: dict[int, object] = {}
    frames = set()
    for pid, memory in model.of.items():
        mm = tasks[pid].space()
        for vpn in range(ARENA_VPN, ARENA_VPN + ARENA_PAGES):
            entry = int(machine.space.tables.entry(mm, vpn))
            held = memory.frame.get(vpn)
            if held is None:
                assert entry == 0, f"pid {pid} page {vpn:#x}: model has nothing, entry {entry:#x}"
            elif held is ZERO:
                # a child of an area without frames of its own faults its zeros in again
                assert entry & PTE_SPECIAL or (entry == 0 and pid > 1), f"pid {pid} {vpn:#x}"
            else:
                assert entry & PTE_PRESENT
                assert not entry & PTE_SPECIAL
                assert twin_of.setdefault(pte_pfn(entry), held) is held
                frames.add(id(held))
    assert len(twin_of) == len(frames) == machine.count("nr_anon_pages")


def some_range(random: Random) -> tuple[int, int]:
    start = ARENA_VPN + random.randrange(ARENA_PAGES - 1)
    return start, min(start + random.randrange(1, 200), ARENA_VPN + ARENA_PAGES)


def step(machine: MemoryMachine, model: Model, tasks: dict[int, Task], random: Random) -> None:
    """One random event, on both sides."""
    pid = random.choice(list(tasks))
    task, memory = tasks[pid], model.of[pid]
    calls = machine.syscalls
    start, end = some_range(random)
    at_bytes, size_bytes = start << 12, (end - start) << 12
    event = random.random()
    if event < 0.15:
        prot = random.choice(PROTS)
        assert calls.mmap(task, size_bytes, prot, 1 | MAP_FIXED, at_bytes) == at_bytes
        for vpn in range(start, end):
            memory.prot[vpn] = prot
            memory.frame.pop(vpn, None)
    elif event < 0.22:
        assert calls.munmap(task, at_bytes, size_bytes) == 0
        for vpn in range(start, end):
            memory.prot.pop(vpn, None)
            memory.frame.pop(vpn, None)
    elif event < 0.30:
        prot = random.choice(PROTS)
        whole = all(vpn in memory.prot for vpn in range(start, end))
        assert (calls.mprotect(task, at_bytes, size_bytes, prot) == 0) == whole
        if whole:
            memory.prot.update(dict.fromkeys(range(start, end), prot))
    elif event < 0.36:
        calls.madvise(task, at_bytes, size_bytes, "dontneed")
        for vpn in range(start, end):
            memory.frame.pop(vpn, None)
    elif event < 0.40 and len(tasks) < 4:
        child = calls.fork(task)
        assert isinstance(child, Task)
        tasks[child.pid], model.of[child.pid] = child, memory.fork()
    elif event < 0.43 and len(tasks) > 1:
        calls.exit(task)
        del tasks[pid], model.of[pid]
    else:
        for _ in range(20):
            vpn = random.randrange(start, end)
            kind = random.choice((READ, WRITE))
            fine = model.touch(pid, vpn, kind)
            verdict = machine.space.access.touch(task.space(), vpn, kind)
            assert verdict == (0 if fine else VM_FAULT_SIGSEGV), f"pid {pid} page {vpn:#x}"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kernel", [601, 612])
def test_a_dictionary_and_the_twin_agree_after_every_event(kernel: int, seed: int) -> None:
    random = Random(seed)
    machine = build(kernel, ram_mib=64, overcommit_memory=1)
    machine.space.table_alloc.frame(0, 0)  # one frame that stays: no accident hides behind zero
    before = machine.free_pages()
    first = machine.program()
    tasks, model = {first.pid: first}, Model()
    model.of[first.pid] = NaiveMemory()
    for event in range(150):
        step(machine, model, tasks, random)
        if event % 5 == 0:
            compare(machine, model, tasks)
    machine.verify()
    for task in tasks.values():
        machine.syscalls.exit(task)
    machine.verify()
    assert machine.free_pages() == before
    assert machine.count("nr_anon_pages") == machine.count("nr_page_table_pages") == 0
    assert machine.overcommit.committed_pages == 0
    assert machine.space.anon_vmas.columns()[1:] == []
