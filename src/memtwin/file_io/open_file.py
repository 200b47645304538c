"""Owns an open file: its mapping, its readahead state, its inode. Imports page_cache. Knows no
policy."""

from __future__ import annotations

from typing import Any

import cython

from memtwin.page_cache.mapping import Mapping
from memtwin.page_cache.readahead import FileRa


@cython.final
@cython.cclass
class OpenFile:
    """One struct file."""

    def __init__(self, file_id: int, mapping: Mapping, ra_pages: int, inode: Any) -> None:
        self.id = file_id
        self.mapping = mapping
        self.ra = FileRa(ra_pages)
        self.inode = inode
        self.writable = 0
        self.users = 1  # descriptors and mapped areas

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [("mapping", self.mapping.id), ("users", self.users), *self.ra.columns()]
