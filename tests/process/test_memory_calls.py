"""brk, mremap, mlock, madvise, mincore, populate: figures and what stays true."""

from __future__ import annotations

import errno

import pytest
from memory_machine import build

from memtwin.address_space.vm_flags import MM_ANONPAGES
from memtwin.errors import UserError
from memtwin.fault.verdicts import READ, WRITE
from memtwin.process.syscalls import MAP_POPULATE

PAGE = 4096


def test_populate_faults_every_page_in_and_counts_each() -> None:
    machine = build()
    task = machine.program()
    machine.syscalls.mmap(task, 2048 * PAGE, flags=1 | MAP_POPULATE)
    assert task.faults() == (2048, 0)
    # 6.1 drains the LRU batch when populating ends
    assert machine.count("nr_inactive_anon") == 2048


def test_mlock_makes_pages_unevictable_and_munmap_lets_them_go() -> None:
    machine = build()
    task = machine.program()
    at = machine.syscalls.mmap(task, 2048 * PAGE, flags=1 | MAP_POPULATE)
    assert machine.syscalls.mlock(task, at, 2048 * PAGE) == 0
    assert machine.count("nr_mlock") == machine.count("nr_unevictable") == 2048
    assert machine.count("unevictable_pgs_mlocked") == 2048
    assert machine.count("unevictable_pgs_culled") == 2048
    assert machine.count("nr_inactive_anon") == 0
    assert task.space().locked_vm == 2048
    machine.syscalls.munmap(task, at, 1024 * PAGE)
    machine.lru.lru_add_drain_all()
    assert task.space().locked_vm == machine.count("nr_mlock") == 1024
    machine.syscalls.munlock(task, at + 1024 * PAGE, 1024 * PAGE)
    assert machine.count("nr_mlock") == 0
    machine.verify()


def test_lazily_freed_pages_move_to_the_file_list_and_stay_resident() -> None:
    machine = build()
    task = machine.program()
    at = machine.syscalls.mmap(task, 4096 * PAGE)
    machine.space.access.touch_seq(task.space(), at >> 12, 0, 1, 4096, 0, 4096, WRITE)
    assert machine.syscalls.madvise(task, at + 2048 * PAGE, 2048 * PAGE, "free") == 0
    # 136 batches of 15; the last 8 pages wait in a batch
    assert machine.count("pglazyfree") == machine.count("nr_inactive_file") == 2040
    assert task.space().exact_counter(MM_ANONPAGES) == 4096
    machine.verify()


def test_locked_memory_refuses_to_be_dropped_and_holes_are_told() -> None:
    machine = build()
    task = machine.program()
    at = machine.syscalls.mmap(task, 64 * PAGE)
    machine.syscalls.mlock(task, at, 16 * PAGE)
    assert machine.syscalls.madvise(task, at, 8 * PAGE, "dontneed") == -errno.EINVAL
    assert machine.syscalls.madvise(task, at - 64 * PAGE, 64 * PAGE, "random") == -errno.ENOMEM
    with pytest.raises(UserError, match="found 'mergeable', the twin knows dontneed"):
        machine.syscalls.madvise(task, at, PAGE, "mergeable")


def test_the_break_grows_and_shrinks_by_pages() -> None:
    machine = build()
    task = machine.program()
    mm = task.space()
    mm.start_brk = mm.brk = 0x500000
    assert machine.syscalls.brk(task, 0x500000 + 10 * PAGE) == 0x500000 + 10 * PAGE
    machine.space.access.touch_seq(mm, 0x500, 0, 1, 10, 0, 10, WRITE)
    assert machine.syscalls.brk(task, 0x500000 + 20 * PAGE) == 0x500000 + 20 * PAGE
    assert machine.space.areas.tree(mm).nr == 1
    assert machine.syscalls.brk(task, 0x500000 + 5 * PAGE) == 0x500000 + 5 * PAGE
    assert (mm.data_vm, machine.count("nr_anon_pages")) == (5, 5)
    assert machine.syscalls.brk(task, 0x4FF000) == 0x500000 + 5 * PAGE
    machine.verify()


def test_mremap_moves_pages_without_a_fault_and_without_a_copy() -> None:
    machine = build()
    task = machine.program()
    mm = task.space()
    machine.syscalls.mmap(task, PAGE, 0)  # nothing can grow into it
    at = machine.syscalls.mmap(task, 600 * PAGE)
    machine.space.access.touch_seq(mm, at >> 12, 0, 1, 600, 0, 600, WRITE)
    faults = machine.count("pgfault")
    to = machine.syscalls.mremap(task, at, 600 * PAGE, 1200 * PAGE)
    assert to not in (at, -errno.ENOMEM)
    assert machine.space.access.touch_seq(mm, to >> 12, 0, 1, 600, 0, 600, READ) == 600
    assert machine.count("pgfault") == faults
    assert machine.count("nr_anon_pages") == 600
    assert mm.total_vm == 1201
    assert machine.overcommit.committed_pages == 1200
    machine.verify()
    assert machine.syscalls.mremap(task, to, 1200 * PAGE, 100 * PAGE) == to
    assert machine.count("nr_anon_pages") == 100
    machine.syscalls.exit(task)
    assert machine.overcommit.committed_pages == 0


def test_neighbours_merge_and_a_hole_splits_them_again() -> None:
    machine = build()
    task = machine.program()
    tree = machine.space.areas.tree(task.space())
    first = machine.syscalls.mmap(task, 16 * PAGE)
    machine.space.access.touch(task.space(), first >> 12, WRITE)
    second = machine.syscalls.mmap(task, 16 * PAGE)
    assert (second, tree.nr) == (first - 16 * PAGE, 1)
    machine.syscalls.munmap(task, first - 4 * PAGE, 8 * PAGE)
    assert [(v.end_vpn - v.start_vpn) for v in tree.vmas] == [12, 12]
    assert tree.vmas[0].anon_vma == tree.vmas[1].anon_vma
    machine.verify()


def test_mincore_counts_resident_pages() -> None:
    machine = build()
    task = machine.program()
    at = machine.syscalls.mmap(task, 100 * PAGE)
    machine.space.access.touch_seq(task.space(), at >> 12, 0, 2, 100, 0, 30, WRITE)
    assert machine.syscalls.mincore(task, at, 100 * PAGE) == 30
    assert machine.syscalls.mincore(task, at, 200 * PAGE) == -errno.ENOMEM
