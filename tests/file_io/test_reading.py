"""Reading files: figures that real kernels showed, and a naive page cache beside the real one."""

from __future__ import annotations

import pytest
from file_machine import Machine, build

from memtwin.file_io.constants import (
    ADVICE_NORMAL,
    ADVICE_RANDOM,
    VM_FAULT_MAJOR,
    VM_FAULT_RETRY,
    VM_FAULT_SIGBUS,
)
from memtwin.file_io.files import (
    CREATE,
    ENOENT,
    FADV_DONTNEED,
    FADV_NORMAL,
    FADV_RANDOM,
    FOR_READING,
    FOR_WRITING,
    MUST_EXIST,
)
from memtwin.hardware.clock import STALL_SLEEP
from memtwin.hardware.prng import Prng, stream

MIB = 1 << 20


def settle(machine: Machine) -> None:
    """10 ms pass: I/O under way ends."""
    machine.rooms.flusher.sleep_until(machine.clock.now_ns + 10_000_000, STALL_SLEEP)


class Mapper:
    """Faults as a process that maps a whole file takes them, counted as the kernel does."""

    def __init__(self, machine: Machine, file_id: int, kernel: int) -> None:
        self.filemap = machine.rooms.filemap
        self.file = machine.rooms.files.file(file_id)
        self.kernel = kernel
        self.mapped: set[int] = set()
        self.pgfault = 0
        self.majors = 0

    def touch(self, index: int, advice: int) -> None:
        tried = 0
        while index not in self.mapped:
            start = index & ~15
            found = self.filemap.map_pages(self.file, start, start + 16)
            self.mapped |= {int(self.filemap.found_index[i]) for i in range(found)}
            if index in self.mapped:
                self.pgfault += 1
                return
            verdict = self.filemap.fault(self.file, index, advice, tried, 0)
            self.majors += bool(verdict & VM_FAULT_MAJOR)
            if verdict & VM_FAULT_RETRY:
                self.pgfault += self.kernel < 612  # a retried fault counts twice up to 6.1
                tried = 1
                continue
            self.pgfault += 1
            self.mapped.add(index)


@pytest.mark.parametrize("kernel", [601, 612])
def test_a_cold_read_fetches_one_window_more_and_a_warm_read_nothing(kernel: int) -> None:
    machine = build(kernel, disk_mib=128)
    files = machine.rooms.files
    files.declare("/f1", 64 * MIB)
    file_id = files.open("/f1", MUST_EXIST, FOR_READING)
    before = machine.count("pgpgin")
    assert files.read_range(file_id, 0, 32 * MIB, 65536) == 32 * MIB
    settle(machine)
    assert machine.count("pgpgin") - before == 4 * (8192 + 32)
    assert files.file(file_id).mapping.nr_pages == 8192 + 32
    assert machine.count("pgactivate") == 0
    files.read_range(file_id, 0, 32 * MIB, 65536)
    assert machine.count("pgpgin") - before == 4 * (8192 + 32)
    # a real 6.1 kernel showed 8190: the last two wait in a batch; multi-gen LRU counts none
    assert machine.count("pgactivate") == (8190 if kernel < 612 else 0)
    machine.verify()


# figures of real kernels: pgfault, majors (of 8192 pages in order; 2000 and 500 random of 16384)
MMAP = {601: ((770, 1), (1591, 600), (988, 494)), 612: ((513, 1), (962, 602), (494, 494))}


@pytest.mark.parametrize("kernel", [601, 612])
def test_mapped_reads_take_the_faults_that_real_kernels_took(kernel: int) -> None:
    machine = build(kernel, disk_mib=128)
    files = machine.rooms.files
    files.declare("/f1", 64 * MIB)

    def fresh() -> Mapper:
        settle(machine)
        files.drop_pagecache()
        return Mapper(machine, files.open("/f1", MUST_EXIST, FOR_READING), kernel)

    mapper = fresh()
    for index in range(8192):
        mapper.touch(index, ADVICE_NORMAL)
    assert (mapper.pgfault, mapper.majors) == MMAP[kernel][0]
    mapper = fresh()
    prng = Prng(31)
    for _ in range(2000):
        mapper.touch(prng.below(16384), ADVICE_NORMAL)
    assert (mapper.pgfault, mapper.majors) == MMAP[kernel][1]
    mapper = fresh()
    prng = Prng(32)
    for _ in range(500):
        mapper.touch(prng.below(16384), ADVICE_RANDOM)
    assert (mapper.pgfault, mapper.majors) == MMAP[kernel][2]
    machine.verify()


def test_random_reads_activate_what_a_6_1_kernel_activated_and_advice_keeps_windows_small() -> None:
    machine = build(601, disk_mib=128)
    files = machine.rooms.files
    files.declare("/f1", 64 * MIB)
    file_id = files.open("/f1", MUST_EXIST, FOR_READING)
    files.read_range(file_id, 0, 8 * MIB, 4096)
    prng = Prng(21)
    for _ in range(500):
        files.read(file_id, prng.below(8192) * 4096, 4096)
    settle(machine)
    assert files.file(file_id).mapping.nr_pages == 2488
    assert machine.count("pgactivate") == 135
    files.drop_pagecache()
    files.fadvise(file_id, FADV_RANDOM)
    before = machine.count("pgpgin")
    prng = Prng(22)
    for _ in range(500):
        files.read(file_id, prng.below(8192) * 4096, 4096)
    assert machine.count("pgpgin") - before == 4 * 482
    assert files.fadvise(file_id, FADV_NORMAL) == 0


def test_reads_end_at_the_end_of_the_file_and_a_fault_beyond_it_is_a_bus_error() -> None:
    machine = build()
    files = machine.rooms.files
    files.declare("/small", 10_000)
    file_id = files.open("/small", MUST_EXIST, FOR_READING)
    assert files.read(file_id, 0, 65536) == 10_000
    assert files.read(file_id, 10_000, 1) == 0
    fault = machine.rooms.filemap.fault(files.file(file_id), 3, ADVICE_NORMAL, 0, 0)
    assert fault == VM_FAULT_SIGBUS
    assert files.open("/absent", MUST_EXIST, FOR_READING) == ENOENT


def test_a_hole_reads_without_input() -> None:
    machine = build()
    files = machine.rooms.files
    file_id = files.open("/sparse", CREATE, FOR_WRITING)
    files.write(file_id, 100 * 4096, 4096)
    before = machine.count("pgpgin")
    assert files.read(file_id, 0, 20 * 4096) == 20 * 4096
    assert machine.count("pgpgin") == before
    machine.verify()


@pytest.mark.parametrize("kernel", [601, 612])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_naive_page_cache_agrees_with_the_real_one_after_every_event(
    kernel: int, seed: int
) -> None:
    machine = build(kernel, ram_mib=64, disk_mib=96)
    files = machine.rooms.files
    naive: dict[int, dict[int, str]] = {}  # file -> page -> "clean" or "dirty"
    sizes: dict[int, int] = {}
    ids = []
    for i in range(4):
        files.declare(f"/f{i}", (i + 1) * 40 * 4096)
        file_id = files.open(f"/f{i}", MUST_EXIST, FOR_WRITING)
        ids.append(file_id)
        naive[file_id], sizes[file_id] = {}, (i + 1) * 40
        files.fadvise(file_id, FADV_RANDOM)  # windows of readahead are tested elsewhere
    prng = stream(seed, "files")
    for _ in range(120):
        file_id = ids[prng.below(4)]
        page, count = prng.below(sizes[file_id] + 20), 1 + prng.below(12)
        action = prng.below(8)
        if action < 3:
            done = files.read(file_id, page * 4096, count * 4096)
            for index in range(page, page + (done + 4095) // 4096):
                naive[file_id].setdefault(index, "clean")
        elif action < 6:
            assert files.write(file_id, page * 4096, count * 4096) == count * 4096
            for index in range(page, page + count):
                naive[file_id][index] = "dirty"
            sizes[file_id] = max(sizes[file_id], page + count)
        elif action == 6:
            files.fsync(file_id)
            naive[file_id] = dict.fromkeys(naive[file_id], "clean")
        else:
            size = prng.below(sizes[file_id] + 1)
            files.truncate(file_id, size * 4096)
            sizes[file_id] = size
            naive[file_id] = {i: state for i, state in naive[file_id].items() if i < size}
        if prng.below(10) == 0:
            files.fadvise(file_id, FADV_DONTNEED)
            settle(machine)
            files.fadvise(file_id, FADV_DONTNEED)
            naive[file_id] = {}
        for one in ids:
            mapping = files.file(one).mapping
            cached = {i for i in range(mapping.nr_slots) if mapping.slot(i) > 0}
            assert cached == set(naive[one])
            assert mapping.nr_dirty == sum(state == "dirty" for state in naive[one].values())
    machine.rooms.objects.settle()
    machine.verify()


def test_all_frames_return_when_every_file_is_closed_and_dropped() -> None:
    machine = build()
    files = machine.rooms.files
    files.declare("/f1", 16 * MIB)
    file_id = files.open("/f1", MUST_EXIST, FOR_WRITING)
    files.read_range(file_id, 0, 16 * MIB, 65536)
    files.write(file_id, 0, 4 * MIB)
    files.sync()
    files.close(file_id)
    machine.lru.lru_add_drain_all()
    files.drop_pagecache()
    held = machine.count("nr_file_pages") + machine.count("nr_slab_reclaimable")
    held += machine.count("nr_slab_unreclaimable")
    managed = sum(int(zone.managed_pages) for zone in machine.page_alloc.zones.zones)
    machine.page_alloc.drain_all_pages()
    assert machine.count("nr_free_pages") + held == managed
    machine.verify()


@pytest.mark.parametrize(("kernel", "pages"), [(601, 15), (612, 31)])
def test_a_read_in_batches_pins_what_is_copied_from_and_ends_as_one_read_does(
    kernel: int, pages: int
) -> None:
    ends = []
    for in_batches in (1, 0):
        machine = build(kernel)
        machine.rooms.files.declare("/f", 1 << 20)
        file_id = machine.rooms.files.open("/f", MUST_EXIST, FOR_READING)
        file, filemap = machine.rooms.files.file(file_id), machine.rooms.filemap
        if in_batches:
            filemap.begin_read(file)
            sizes = []
            while (got := filemap.read_batch(file, sum(sizes), (1 << 20) - sum(sizes))) > 0:
                sizes.append(got)
                assert filemap.nr_pinned == -(-got // 4096)
            filemap.end_read(file)
            assert sum(sizes) == 1 << 20
            assert max(sizes) == pages * 4096
            assert filemap.nr_pinned == 0
        else:
            assert filemap.read(file, 0, 1 << 20) == 1 << 20
        ends.append((machine.vmstat.by_name(), machine.clock.now_ns, file.ra.prev_pos))
        machine.verify()
    assert ends[0] == ends[1]
