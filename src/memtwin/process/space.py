"""Owns the tools that change an address space, gathered so that system calls name one thing.

Imports address_space and fault. Has never heard of tasks or errno. `machine` builds it once at
boot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from memtwin.address_space.anon_vma import AnonVmas
from memtwin.address_space.mapped_files import MappedFiles
from memtwin.address_space.mm import Mms
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.address_space.vma import VMA
from memtwin.address_space.vma_merge import Areas
from memtwin.errors import UserError
from memtwin.fault.access import Access
from memtwin.fault.copy_range import CopyRange
from memtwin.fault.page_walk import PageWalk
from memtwin.fault.table_alloc import TableAlloc
from memtwin.fault.zap import Zap


@dataclass
class Space:
    """Everything a system call on memory may need."""

    mms: Mms
    tables: PageTables
    anon_vmas: AnonVmas
    files: MappedFiles
    rmap: Rmap
    areas: Areas
    access: Access
    zap: Zap
    copy_range: CopyRange
    page_walk: PageWalk
    table_alloc: TableAlloc
    # what only some advice needs; a machine without it refuses that advice
    reclaimer: Any = None  # reclaim_pages(frames)
    reader: Any = None  # read_ahead(file, index, nr_pages)
    swapper: Any = None  # swap_in_ahead(vma, vpn)

    def reclaim_pages(self, frames: list[int]) -> None:
        """Reclaim these frames now (MADV_PAGEOUT)."""
        self._need(self.reclaimer, "madvise pageout").reclaim_pages(frames)

    def read_ahead(self, file: object, index: int, nr_pages: int) -> None:
        """Start reading pages of a file (MADV_WILLNEED)."""
        self._need(self.reader, "madvise willneed on a file").read_ahead(file, index, nr_pages)

    def swap_in_ahead(self, vma: VMA, vpn: int) -> None:
        """Start reading a swapped page (MADV_WILLNEED)."""
        self._need(self.swapper, "madvise willneed on swap").swap_in_ahead(vma, vpn)

    def _need(self, helper: Any, what: str) -> Any:
        if helper is None:
            raise UserError(f"{what}: this machine cannot do it yet")
        return helper

    def verify(self) -> None:
        """Every area, table and mapping holds."""
        self.mms.verify()
        for mm in self.mms.all:
            self.areas.tree(mm).verify()
        self.anon_vmas.verify()
        self.tables.verify(self.mms.all)
        self.rmap.verify(self.mms.all)

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        found = [*self.mms.columns(), *self.tables.columns(), *self.anon_vmas.columns()]
        for mm in self.mms.all:
            found += [(f"mm{mm.id}.{name}", value) for name, value in self.areas.tree(mm).columns()]
        return found
