"""Page tables: what is missing, what a range gives back, huge entries and their kept table."""

from __future__ import annotations

import pytest
from memory_machine import MemoryMachine, build

from memtwin.address_space.mm import Mm
from memtwin.hardware.pte import PTE_PRESENT, PTE_PSE, make_pte

FAR = 1 << 27  # a vpn under another PUD table


@pytest.fixture
def machine() -> MemoryMachine:
    return build(ram_mib=32)


def new_mm(machine: MemoryMachine) -> Mm:
    mm = machine.syscalls.fork_exit.new_mm(0)
    assert mm is not None
    return mm


def test_a_lone_page_needs_three_tables_and_its_neighbour_none(machine: MemoryMachine) -> None:
    mm, tables = new_mm(machine), machine.space.tables
    assert tables.missing_tables(mm, 700) == 3
    assert machine.space.table_alloc.ensure(mm, 700, 0) == 0
    assert tables.missing_tables(mm, 701) == 0
    assert tables.missing_tables(mm, 700 + 512) == 1
    assert tables.missing_tables(mm, FAR) == 3
    assert mm.pgtables_bytes == 3 * 4096


@pytest.mark.parametrize(("kernel", "counted"), [(601, 2), (612, 3)])
def test_pud_tables_count_as_page_tables_since_6_8(kernel: int, counted: int) -> None:
    machine = build(kernel, ram_mib=32)
    machine.space.table_alloc.ensure(new_mm(machine), 700, 0)
    assert machine.count("nr_page_table_pages") == counted


def test_a_table_goes_only_when_no_neighbour_reaches_under_it(machine: MemoryMachine) -> None:
    mm, tables = new_mm(machine), machine.space.tables
    for vpn in (0, 512, 1024):
        machine.space.table_alloc.ensure(mm, vpn, 0)
    # an area that ends at 600 lies below: the table of 512 .. 1023 must stay
    freed = tables.free_pgtables(mm, 600, 1536, 600, 1 << 40)
    assert len(freed) == 1
    assert tables.missing_tables(mm, 512) == 0
    assert tables.missing_tables(mm, 1024) == 1
    assert len(tables.free_pgtables(mm, 0, 1536, 0, 1 << 40)) == 4
    assert mm.pgtables_bytes == 0


def test_a_huge_entry_keeps_a_table_for_the_day_it_is_split(machine: MemoryMachine) -> None:
    mm, tables = new_mm(machine), machine.space.tables
    machine.space.table_alloc.ensure(mm, 1024, 1)
    kept = machine.space.table_alloc.frame(0, 0)
    at = tables.install_huge(mm, 1024, make_pte(512, PTE_PRESENT | PTE_PSE), kept)
    assert tables.find(mm, 1030) == -2
    tables.verify([mm])
    table = tables.split_huge(at)
    assert tables.table_pfn[table] == kept
    assert tables.find(mm, 1030) == table * 512 + 6


def test_a_freed_table_is_used_again(machine: MemoryMachine) -> None:
    mm, tables = new_mm(machine), machine.space.tables
    machine.space.table_alloc.ensure(mm, 0, 0)
    rows = tables.nr_tables
    for pfn in tables.free_pgtables(mm, 0, 512, 0, 1 << 40):
        machine.space.table_alloc.give_back(pfn)
    machine.space.table_alloc.ensure(mm, FAR, 0)
    assert tables.nr_tables == rows
    tables.verify([mm])
