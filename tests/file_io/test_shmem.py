"""Shared anonymous memory: pages of zeros on demand, gone with the object."""

from __future__ import annotations

from file_machine import Machine, build

from memtwin.file_io.constants import VM_FAULT_SIGBUS
from memtwin.file_io.shmem import Shmem
from memtwin.page.flags import PG_SWAPBACKED, PG_UPTODATE
from memtwin.reclaim.swap_io import SwapIo
from memtwin.reclaim.swapin_readahead import SwapIn


def shmem_of(machine: Machine) -> Shmem:
    """Shared memory of a machine without swap."""
    rooms, folio_io, lru = machine.rooms, machine.folio_io, machine.lru
    workingset, slowpath = rooms.cache_pages.workingset, rooms.cache_pages.slowpath
    swap = workingset.swap
    cost, memcgs = rooms.filemap.cost, machine.page_cache.memcg
    swap_io = SwapIo(
        lru.mem,
        machine.vmstat,
        machine.clock,
        cost,
        lru.tunables,
        memcgs,
        swap,
        lru.content,
        folio_io,
    )
    tables = rooms.writer.rmap.tables
    swap_in = SwapIn(swap, swap_io, folio_io, lru, workingset, slowpath, tables)
    return Shmem(rooms.cache_pages, rooms.invalidate, folio_io, swap, swap_in)


def test_a_fault_brings_a_page_of_zeros_once_and_counts_it_as_shared_memory() -> None:
    machine = build()
    shmem = shmem_of(machine)
    mapping_id = shmem.create(64 << 12)
    assert shmem.fault(mapping_id, 5, 0) == 0
    pfn = shmem.fault_pfn
    flags = machine.page_alloc.mem_map.flags[pfn]
    assert flags & PG_SWAPBACKED
    assert flags & PG_UPTODATE
    assert shmem.fault(mapping_id, 5, 0) == 0
    assert shmem.fault_pfn == pfn
    assert machine.count("nr_shmem") == machine.count("nr_file_pages") == 1
    assert machine.count("pgmajfault") == 0
    machine.lru.lru_add_drain_all()
    assert machine.count("nr_inactive_anon") == 1
    machine.verify()


def test_beyond_its_size_is_a_bus_error() -> None:
    machine = build()
    shmem = shmem_of(machine)
    assert shmem.fault(shmem.create(64 << 12), 64, 0) == VM_FAULT_SIGBUS


def test_an_object_gives_back_all_its_frames() -> None:
    machine = build()
    shmem = shmem_of(machine)
    machine.page_alloc.refresh_cpu_vm_stats(0)
    machine.page_alloc.drain_all_pages()
    before = machine.count("nr_free_pages") + machine.count("nr_slab_reclaimable")
    mapping_id = shmem.create(1000 << 12)
    for index in range(0, 1000, 3):
        shmem.fault(mapping_id, index, 0)
    assert machine.count("nr_shmem") == 334
    assert shmem.swap_usage(mapping_id, 0, 1000) == 0
    assert shmem.free_object(mapping_id) == 334
    machine.rooms.objects.settle()
    machine.page_alloc.drain_all_pages()
    assert machine.count("nr_shmem") == machine.count("nr_file_pages") == 0
    assert machine.count("nr_free_pages") + machine.count("nr_slab_reclaimable") == before
    machine.verify()
