"""Owns putting the file rooms together for one device: the order of construction, nothing else.

Imports all of file_io. Knows no behaviour.
"""

from __future__ import annotations

from typing import Any

from memtwin.address_space.rmap import Rmap
from memtwin.file_io.buffered_write import BufferedWrite
from memtwin.file_io.cache_pages import CachePages
from memtwin.file_io.dirty import Dirty
from memtwin.file_io.dirty_limits import DirtyLimits
from memtwin.file_io.ext4 import Ext4
from memtwin.file_io.filemap import Filemap
from memtwin.file_io.files import Files
from memtwin.file_io.flusher import Flusher
from memtwin.file_io.geometry import Ext4Geometry
from memtwin.file_io.group_dirty import GroupDirty
from memtwin.file_io.inode import InodeCache
from memtwin.file_io.invalidate import Invalidate
from memtwin.file_io.journal import Journal
from memtwin.file_io.metadata import Metadata
from memtwin.file_io.objects import Objects
from memtwin.file_io.page_writer import PageWriter
from memtwin.file_io.throttle import Throttle
from memtwin.hardware.cost import CostTable
from memtwin.page_cache.buffer_head import BufferHeads
from memtwin.page_cache.constants import DEFAULT_RA_PAGES
from memtwin.page_cache.page_cache import PageCache
from memtwin.page_cache.readahead import Readahead
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.slowpath import Slowpath
from memtwin.reclaim.workingset import Workingset
from memtwin.slab.slub import Slub

DEFAULT_IO_PAGES = 320  # block/blk-settings.c BLK_DEF_MAX_SECTORS: 1280 KiB, v6.1


class FileRooms:
    """Everything of file_io for one file system of `disk_bytes` on device number `device`."""

    def __init__(
        self,
        page_cache: PageCache,
        buffer_heads: BufferHeads,
        slub: Slub,
        slowpath: Slowpath,
        workingset: Workingset,
        folio_io: FolioIo,
        rmap: Rmap,
        cost: CostTable,
        device: int,
        disk_bytes: int,
        ra_pages: int = DEFAULT_RA_PAGES,
        io_pages: int = DEFAULT_IO_PAGES,
    ) -> None:
        lru = folio_io.lru
        tunables, zones, vmstat = lru.tunables, page_cache.zones, folio_io.vmstat
        clock, mem = folio_io.clock, page_cache.mem
        geometry = Ext4Geometry(disk_bytes)
        self.disk_bytes = disk_bytes
        # inode number -> the path a program knew the file by, where the twin's own is another
        self.shown_paths: dict[int, str] = {}
        buffer_heads.set_blocks_per_page(geometry.blocks_per_page)
        self.objects = Objects(slub, slowpath, page_cache, buffer_heads)
        self.cache_pages = CachePages(mem, page_cache, slowpath, lru, workingset, self.objects)
        self.dirty = Dirty(mem, zones, vmstat, page_cache.memcg)
        self.metadata = Metadata(
            geometry, self.cache_pages, buffer_heads, self.objects, self.dirty, folio_io, device
        )
        self.journal = Journal(clock, self.metadata, self.objects, folio_io, device)
        self.inodes = InodeCache(self.objects)
        self.ext4 = Ext4(geometry, self.inodes, self.journal, self.metadata, page_cache)
        self.limits = DirtyLimits(clock, vmstat, zones, tunables)
        self.limits.groups = GroupDirty(self.limits, self.cache_pages, lru.lruvecs)
        self.writer = PageWriter(mem, self.dirty, rmap, folio_io, device)
        self.flusher = Flusher(clock, cost, tunables, self.limits, self.writer, self.ext4)
        self.throttle = Throttle(clock, self.limits, self.dirty, self.flusher)
        readahead = Readahead(tunables.kernel, io_pages)
        self.filemap = Filemap(self.cache_pages, readahead, folio_io, clock, cost, device)
        self.writes = BufferedWrite(
            self.filemap,
            self.dirty,
            buffer_heads,
            self.objects,
            self.ext4,
            self.flusher,
            self.throttle,
        )
        self.invalidate = Invalidate(page_cache, buffer_heads, self.dirty, lru, folio_io)
        self.files = Files(
            self.filemap,
            self.writes,
            self.invalidate,
            self.ext4,
            self.flusher,
            self.objects,
            ra_pages,
        )

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state of the rooms put together here, for digests."""
        parts: dict[str, Any] = {
            "objects": self.objects, "metadata": self.metadata, "journal": self.journal,
            "ext4": self.ext4, "limits": self.limits, "groups": self.limits.groups,
            "flusher": self.flusher, "throttle": self.throttle, "files": self.files,
        }  # fmt: skip
        return [
            (f"{part}.{name}", value)
            for part, owner in parts.items()
            for name, value in owner.columns()
        ]

    def verify(self) -> None:
        """Check every room put together here."""
        self.filemap.page_cache.verify()
        self.files.verify()
