"""Owns page tables: one pool of 512-entry tables for all address spaces, four levels as on x86-64.

Imports columns, hardware.pte, mem_map, memcg.table, zone. Has never heard of areas or of what
entries map. Table pages are frames that are handed in by who allocated them (`fault/table_alloc`)
and handed back by `free_*`.

MODEL: an entry above the last level holds the number of the next table instead of its frame, so
that a walk needs no second lookup; the frame is in `table_pfn`. A 2 MiB entry holds its frame and
PTE_PSE.
"""

from __future__ import annotations

import cython

from memtwin.address_space.mm import Mm
from memtwin.columns import Column, grown, zeros
from memtwin.errors import require
from memtwin.hardware.pte import (
    HUGE_ENTRY,
    LEVEL_PGD,
    LEVEL_PUD,
    NO_TABLE,
    PTE_ACCESSED,
    PTE_PFN_MASK,
    PTE_PFN_SHIFT,
    PTE_PRESENT,
    PTE_PSE,
    PTE_RW,
    PTE_SPECIAL,
    PTE_USER,
    PTRS_PER_TABLE,
    TABLE_SHIFT,
)
from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import PG_TABLE
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat_items import NR_PAGE_TABLE_PAGES
from memtwin.page.zone import Zones

COLUMNS = (
    Column("pte", "i8", "fault, rmap, process", "entry; row table * 512 + index; 0 empty"),
    Column("table_pfn", "i4", "page_table", "frame that holds the table; -1 the table is unused"),
    Column("table_level", "i1", "page_table", "0 PTE, 1 PMD, 2 PUD, 3 PGD"),
    Column("table_parent", "i8", "page_table", "row of the entry that points to it; -1 for a PGD"),
    Column("table_vpn", "i8", "page_table", "first vpn that it covers"),
)
_FIRST_TABLES = 4096  # 16 MiB of lazy columns: growing would copy them, and leave holes
_ROWS = PTRS_PER_TABLE


@cython.final
@cython.cclass
class PageTables:
    """All page tables of the machine."""

    def __init__(self, mem: MemMap, zones: Zones, memcg: MemcgTable, kernel: int) -> None:
        self.mem = mem
        self.zones = zones
        self.memcg = memcg
        # include/linux/mm.h pagetable_pud_ctor(), v6.12: PUD tables count as page tables since 6.8
        self.counted_levels = 3 if kernel >= 608 else 2
        self.capacity = _FIRST_TABLES
        self.nr_tables = 0  # rows ever used
        self.pte = zeros(_FIRST_TABLES * _ROWS, "i8")
        self.table_pfn = zeros(_FIRST_TABLES, "i4")
        self.table_level = zeros(_FIRST_TABLES, "i1")
        self.table_parent = zeros(_FIRST_TABLES, "i8")
        self.table_vpn = zeros(_FIRST_TABLES, "i8")
        self.unused: list[int] = []
        self.deposits: dict[int, int] = {}  # row of a 2 MiB entry -> the table kept for its split
        self.generation = 0  # grows when a table goes or an entry above the last level changes

    @cython.cfunc
    @cython.exceptval(check=False)
    def lookup(self, pgd: cython.int, vpn: cython.longlong) -> cython.longlong:
        """Row of the entry for `vpn` in `pte`.

        NO_TABLE when a table is missing, HUGE_ENTRY under a 2 MiB entry.
        """
        at: cython.longlong = self.lookup_pmd(pgd, vpn)
        if at < 0:
            return NO_TABLE
        entry: cython.longlong = self.pte[at]
        if entry == 0:
            return NO_TABLE
        if entry & PTE_PSE:
            return HUGE_ENTRY
        return ((entry >> PTE_PFN_SHIFT) << TABLE_SHIFT) | (vpn & (_ROWS - 1))

    @cython.cfunc
    @cython.exceptval(check=False)
    def lookup_pmd(self, pgd: cython.int, vpn: cython.longlong) -> cython.longlong:
        """Row of the PMD entry for `vpn` in `pte`, or NO_TABLE."""
        entry: cython.longlong = self.pte[(pgd << TABLE_SHIFT) | ((vpn >> 27) & (_ROWS - 1))]
        if entry == 0:
            return NO_TABLE
        entry = self.pte[((entry >> PTE_PFN_SHIFT) << TABLE_SHIFT) | ((vpn >> 18) & (_ROWS - 1))]
        if entry == 0:
            return NO_TABLE
        return ((entry >> PTE_PFN_SHIFT) << TABLE_SHIFT) | ((vpn >> 9) & (_ROWS - 1))

    @cython.ccall
    def find(self, mm: Mm, vpn: cython.longlong) -> cython.longlong:
        """`lookup` for callers in Python."""
        return self.lookup(mm.pgd, vpn)

    @cython.ccall
    def entry(self, mm: Mm, vpn: cython.longlong) -> cython.longlong:
        """The entry that maps `vpn`: a PTE, a 2 MiB PMD entry, or 0."""
        at: cython.longlong = self.lookup(mm.pgd, vpn)
        if at == HUGE_ENTRY:
            at = self.lookup_pmd(mm.pgd, vpn)
        return self.pte[at] if at >= 0 else 0

    @cython.ccall
    def missing_tables(self, mm: Mm, vpn: cython.longlong) -> cython.int:
        """How many tables must be installed before `vpn` has an entry (0 .. 3)."""
        at: cython.longlong = self.pte[(mm.pgd << TABLE_SHIFT) | ((vpn >> 27) & (_ROWS - 1))]
        if at == 0:
            return 3
        at = self.pte[((at >> PTE_PFN_SHIFT) << TABLE_SHIFT) | ((vpn >> 18) & (_ROWS - 1))]
        if at == 0:
            return 2
        at = self.pte[((at >> PTE_PFN_SHIFT) << TABLE_SHIFT) | ((vpn >> 9) & (_ROWS - 1))]
        return 1 if at == 0 else 0

    @cython.cfunc
    def new_table(self, pfn: cython.int, level: cython.int, vpn: cython.longlong) -> cython.int:
        """Number of a table that lies in frame `pfn`; the caller links it."""
        table: cython.int
        if self.unused:
            table = self.unused.pop()
        else:
            if self.nr_tables == self.capacity:
                self._grow()
            table = self.nr_tables
            self.nr_tables += 1
        self.table_pfn[table] = pfn
        self.table_level[table] = level
        self.table_vpn[table] = vpn
        self.table_parent[table] = -1
        self.mem.flags[pfn] |= PG_TABLE
        self.mem.private[pfn] = table
        return table

    @cython.cfunc
    def _grow(self) -> cython.int:
        self.capacity *= 2
        self.pte = grown(self.pte, self.capacity * _ROWS)
        self.table_pfn = grown(self.table_pfn, self.capacity)
        self.table_level = grown(self.table_level, self.capacity)
        self.table_parent = grown(self.table_parent, self.capacity)
        self.table_vpn = grown(self.table_vpn, self.capacity)
        return self.capacity

    @cython.ccall
    def install_pgd(self, mm: Mm, pfn: cython.int) -> cython.int:
        """Make frame `pfn` the top table of `mm`; its number. PGDs count in no figure."""
        mm.pgd = self.new_table(pfn, LEVEL_PGD, 0)
        return mm.pgd

    @cython.ccall
    def install_table(self, mm: Mm, vpn: cython.longlong, pfn: cython.int) -> cython.int:
        """Put frame `pfn` in as the highest missing table above `vpn`; its number."""
        level: cython.int = LEVEL_PGD
        at: cython.longlong = (mm.pgd << TABLE_SHIFT) | ((vpn >> 27) & (_ROWS - 1))
        shift: cython.int = 27
        while self.pte[at] != 0:
            shift -= TABLE_SHIFT
            level -= 1
            at = ((self.pte[at] >> PTE_PFN_SHIFT) << TABLE_SHIFT) | ((vpn >> shift) & (_ROWS - 1))
        table: cython.int = self.new_table(pfn, level - 1, (vpn >> shift) << shift)
        self.table_parent[table] = at
        row: cython.longlong = table
        self.pte[at] = (row << PTE_PFN_SHIFT) | PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED
        mm.pgtables_bytes += 4096
        self._count(pfn, level - 1, 1)
        return table

    @cython.ccall
    def install_huge(
        self, mm: Mm, vpn: cython.longlong, entry: cython.longlong, table_pfn: cython.int
    ) -> cython.longlong:
        """Make the empty PMD entry over `vpn` a 2 MiB one; `table_pfn` is kept for its split.

        mm/huge_memory.c pgtable_trans_huge_deposit(), v6.1: the kept table counts like one in use.
        The row of the entry.
        """
        at: cython.longlong = self.lookup_pmd(mm.pgd, vpn)
        table: cython.int = self.new_table(table_pfn, 0, (vpn >> 9) << 9)
        self.table_parent[table] = -1
        self.deposits[at] = table
        self.pte[at] = entry
        mm.pgtables_bytes += 4096
        self._count(table_pfn, 0, 1)
        self.generation += 1
        return at

    @cython.ccall
    def split_huge(self, at: cython.longlong) -> cython.int:
        """Put the kept table in place of the 2 MiB entry at row `at`; its number."""
        table: cython.int = self.deposits.pop(at)
        row: cython.longlong = table
        self.pte[at] = (row << PTE_PFN_SHIFT) | PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED
        self.table_parent[table] = at
        self.generation += 1
        return table

    @cython.ccall
    def clear_huge(self, mm: Mm, at: cython.longlong) -> cython.int:
        """Empty the 2 MiB entry at row `at`.

        The frame of its kept table, to be freed by the caller.
        """
        self.pte[at] = 0
        return self.forget_table(mm, self.deposits.pop(at))

    @cython.cfunc
    def _count(self, pfn: cython.int, level: cython.int, delta: cython.longlong) -> cython.int:
        if level < self.counted_levels:
            node: cython.int = 0
            if self.zones.nr_nodes > 1:
                node = self.zones.zone_of(pfn) // self.zones.nr_types
            self.memcg.mod_lruvec_page_state(pfn, node, NR_PAGE_TABLE_PAGES, delta)
        return 0

    @cython.ccall
    def forget_table(self, mm: Mm, table: cython.int) -> cython.int:
        """Unlink an empty table; the frame it was in, to be freed."""
        pfn: cython.int = self.table_pfn[table]
        if self.table_parent[table] >= 0:
            self.pte[self.table_parent[table]] = 0
        if self.table_level[table] < LEVEL_PGD:
            mm.pgtables_bytes -= 4096
            self._count(pfn, self.table_level[table], -1)
        else:
            mm.pgd = -1
        self.table_pfn[table] = -1
        self.table_parent[table] = -1
        self.mem.flags[pfn] &= ~PG_TABLE
        self.mem.private[pfn] = 0
        self.unused.append(table)
        self.generation += 1
        return pfn

    def free_pgtables(
        self, mm: Mm, start_vpn: int, end_vpn: int, floor_vpn: int, ceiling_vpn: int
    ) -> list[int]:
        """Frames of tables that only [start_vpn, end_vpn) needed, given its neighbours' borders.

        mm/memory.c free_pgd_range(), v6.1: a table goes when nothing in [floor, ceiling) but the
        range itself lies under it. The entries must be empty.
        """
        freed: list[int] = []
        for level, shift in ((0, 9), (1, 18), (2, 27)):
            low, high = start_vpn >> shift, (end_vpn - 1) >> shift
            if (low << shift) < floor_vpn:
                low += 1
            if ((high + 1) << shift) > ceiling_vpn:
                high -= 1
            self._free_level(mm, level, shift, low, high, freed)
        return freed

    def _free_level(
        self, mm: Mm, level: int, shift: int, low: int, high: int, freed: list[int]
    ) -> None:
        at = low
        while at <= high:
            table, span_shift = self._descend(mm, at << shift, level)
            if table >= 0:
                freed.append(int(self.forget_table(mm, table)))
                at += 1
            else:  # nothing under this entry: skip to the next one of that level
                at = (((at << shift >> span_shift) + 1) << span_shift) >> shift

    def _descend(self, mm: Mm, vpn: int, level: int) -> tuple[int, int]:
        """(table of `level` above `vpn` or -1, shift of the entry where the walk ended)."""
        table, here, shift = int(mm.pgd), LEVEL_PGD, 27
        while here > level:
            entry = int(self.pte[table * _ROWS + ((vpn >> shift) & (_ROWS - 1))])
            if entry == 0 or entry & PTE_PSE:
                return -1, shift
            table = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
            here -= 1
            shift -= TABLE_SHIFT
        return table, shift

    def free_pgd(self, mm: Mm) -> int:
        """Frame of the top table, which must be empty."""
        base = mm.pgd * _ROWS
        require(
            not any(self.pte[base : base + _ROWS]),
            "page_table.free_pgd",
            f"mm {mm.id} still has tables",
        )
        return int(self.forget_table(mm, mm.pgd))

    def tables_of(self, mm: Mm) -> list[int]:
        """Every table of `mm`, kept ones included, top first (for verify() and views)."""
        found, at = [int(mm.pgd)], 0
        while at < len(found):
            table = found[at]
            at += 1
            if self.table_level[table] == 0:
                continue
            for row in range(table * _ROWS, (table + 1) * _ROWS):
                entry = int(self.pte[row])
                if entry & PTE_PSE:
                    found.append(self.deposits[row])
                elif entry:
                    found.append(entry >> PTE_PFN_SHIFT)
        return found

    def small_mappings(self, mms: list[Mm]) -> dict[int, int]:
        """Small entries that map each frame, counted from all tables."""
        counted: dict[int, int] = {}
        for mm in mms:
            for table in self.tables_of(mm):
                if self.table_level[table]:
                    continue
                for at in range(table * _ROWS, (table + 1) * _ROWS):
                    entry = int(self.pte[at])
                    if entry & PTE_PRESENT and not entry & PTE_SPECIAL:
                        pfn = (entry >> PTE_PFN_SHIFT) & PTE_PFN_MASK
                        counted[pfn] = counted.get(pfn, 0) + 1
        return counted

    def verify(self, mms: list[Mm]) -> None:
        """Every used table hangs in one mm, in the frame that says so, and bytes add up."""
        seen = 0
        for mm in mms:
            tables = self.tables_of(mm)
            seen += len(tables)
            below = sum(1 for table in tables if self.table_level[table] < LEVEL_PGD)
            require(
                below * 4096 == mm.pgtables_bytes,
                "page_table.verify",
                f"mm {mm.id}: {below} tables, pgtables_bytes {mm.pgtables_bytes}",
            )
            for table in tables:
                pfn = self.table_pfn[table]
                good = (
                    pfn >= 0 and self.mem.flags[pfn] & PG_TABLE and self.mem.private[pfn] == table
                )
                require(good, "page_table.verify", f"table {table}: frame {pfn} does not say so")
        used = self.nr_tables - len(self.unused)
        require(seen == used, "page_table.verify", f"{used} tables in use, {seen} hang in mms")

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of all state, for digests."""
        rows = self.nr_tables
        found: list[tuple[str, object]] = [("pte", self.pte[: rows * _ROWS])]
        for name in ("table_pfn", "table_level", "table_parent", "table_vpn"):
            found.append((name, getattr(self, name)[:rows]))
        return [*found, ("unused", list(self.unused))]


assert LEVEL_PUD == 2  # _free_level's shifts rely on it
