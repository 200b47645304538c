"""Owns an open file: its mapping, its readahead state, its inode. Imports page_cache. Knows no
policy."""

from __future__ import annotations

import cython

from memtwin.page_cache.mapping import Mapping
from memtwin.page_cache.readahead import FileRa

# verdicts of a fault on a file, with the kernel's values: include/linux/mm_types.h enum
# vm_fault_reason, v6.12
VM_FAULT_OOM = 0x1
VM_FAULT_SIGBUS = 0x2
VM_FAULT_MAJOR = 0x4
VM_FAULT_RETRY = 0x400

# how a mapped area says it will be read (VM_RAND_READ, VM_SEQ_READ)
ADVICE_NORMAL, ADVICE_RANDOM, ADVICE_SEQUENTIAL = range(3)
FIRST_TRY, SECOND_TRY = range(2)  # FAULT_FLAG_TRIED is not, is set


@cython.final
@cython.cclass
class OpenFile:
    """One struct file."""

    def __init__(self, file_id: int, mapping: Mapping, ra_pages: int, inode: object) -> None:
        self.id = file_id
        self.mapping = mapping
        self.ra = FileRa(ra_pages)
        self.inode = inode
        self.writable = 0
        self.users = 1  # descriptors and mapped areas

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [("mapping", self.mapping.id), ("users", self.users), *self.ra.columns()]
