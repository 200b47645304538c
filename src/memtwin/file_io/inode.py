"""Owns inodes and dentries: which are on disk, which in memory, and their two LRU lists.

Imports file_io/objects. Has never heard of pages or blocks: it says which objects live.

A name's life in memory: looked up -> dentry and inode, dentry on its LRU once unused -> pruned ->
inode on its LRU if it has no pages -> evicted. MODEL: one name an inode, so one dentry an inode.
"""

from __future__ import annotations

from collections import OrderedDict

from memtwin.file_io.objects import (
    DENTRY,
    EXT4_ES,
    EXT4_INODE,
    JBD2_INODE,
    LSM_INODE,
    Objects,
)

REGULAR, DIRECTORY = range(2)


class Inode:
    """One file or directory: what the disk knows, and what memory holds while `in_core`."""

    __slots__ = (
        "block_base",
        "children",
        "count",
        "dentry",
        "dentry_count",
        "dentry_referenced",
        "dirtied_when_ns",
        "dirty",
        "es_clean",
        "es_delayed",
        "es_slabs",
        "in_core",
        "ino",
        "jinode",
        "kind",
        "leaves",
        "mapped_end",
        "mapped_extra",
        "mapping_id",
        "name",
        "nlink",
        "parent",
        "queue",
        "referenced",
        "size_bytes",
        "slabs",
    )  # fmt: skip

    def __init__(self, ino: int, name: str, parent: int, kind: int) -> None:
        self.ino = ino
        self.name = name
        self.parent = parent
        self.kind = kind  # REGULAR or DIRECTORY
        self.nlink = 1
        self.size_bytes = 0
        self.block_base = 0  # of the file's data (in pages), taken as contiguous; 0 until allocated
        self.mapped_end = 0  # pages below have blocks on disk; while in memory the Mapping knows
        self.mapped_extra: set[int] = set()
        self.children: dict[str, int] = {}
        self.leaves: list[
            list[tuple[int, str]]
        ] = []  # of a directory: entries by hash, a list a block
        self.slabs: dict[int, int] = {}  # kind of object -> its slab
        self.es_slabs: list[int] = []
        self.in_core = False
        self.mapping_id = 0
        self.count = 0  # i_count: the dentry holds one
        self.referenced = False
        self.dentry = False
        self.dentry_count = 0  # open files
        self.dentry_referenced = False
        self.jinode = False
        self.es_clean = 0  # extent status entries that may be reclaimed
        self.es_delayed = 0
        self.dirty = False
        self.dirtied_when_ns = 0
        self.queue = ""  # name of the writeback list it is on


class InodeCache:
    """The inodes of one file system by number, and the LRU lists of those in memory."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self.inodes: dict[int, Inode] = {}
        self.dentry_lru: OrderedDict[int, None] = OrderedDict()  # oldest first
        self.inode_lru: OrderedDict[int, None] = OrderedDict()
        self.es_inodes: OrderedDict[int, None] = OrderedDict()
        self.nr_es_clean = 0

    def _alloc(self, inode: Inode, kind: int) -> None:
        inode.slabs[kind] = self.objects.alloc_one(kind)

    def _free(self, inode: Inode, kind: int) -> None:
        self.objects.free_one(kind, inode.slabs.pop(kind))

    def instantiate(self, inode: Inode) -> None:
        """Bring dentry and inode into memory: d_alloc(), ext4_alloc_inode()."""
        if not inode.in_core:
            self._alloc(inode, EXT4_INODE)
            self._alloc(inode, LSM_INODE)
            inode.in_core = True
        if not inode.dentry:
            self._alloc(inode, DENTRY)
            inode.dentry = True
            inode.count += 1
        self.inode_lru.pop(inode.ino, None)

    def dput(self, inode: Inode) -> None:
        """One user of the dentry less; unused, it joins its LRU: fs/dcache.c retain_dentry(),
        v6.12."""
        if inode.dentry_count > 0:
            return
        if inode.ino in self.dentry_lru:
            inode.dentry_referenced = True
        else:
            self.dentry_lru[inode.ino] = None

    def iput(self, inode: Inode, nr_pages: int) -> None:
        """The last user is gone: onto the inode LRU if clean and without pages (__inode_add_lru(),
        v6.1)."""
        if inode.count > 0 or inode.dirty or nr_pages > 0:
            return
        if inode.ino in self.inode_lru:
            inode.referenced = True
        else:
            self.inode_lru[inode.ino] = None

    def kill_dentry(self, inode: Inode) -> None:
        """Free the dentry."""
        self.dentry_lru.pop(inode.ino, None)
        inode.dentry = False
        inode.dentry_referenced = False
        inode.count -= 1
        self._free(inode, DENTRY)

    def evict(self, inode: Inode) -> None:
        """Free the inode and what hangs on it: ext4_clear_inode(), v6.1."""
        self.inode_lru.pop(inode.ino, None)
        self.drop_es(inode)
        if inode.jinode:
            self._free(inode, JBD2_INODE)
            inode.jinode = False
        self._free(inode, EXT4_INODE)
        self._free(inode, LSM_INODE)
        inode.in_core = False
        inode.referenced = False
        inode.count = 0

    def attach_jinode(self, inode: Inode) -> None:
        """fs/ext4/inode.c ext4_inode_attach_jinode(), v6.1: once opened for writing."""
        if not inode.jinode:
            self._alloc(inode, JBD2_INODE)
            inode.jinode = True

    def add_es(self, inode: Inode, clean: int, delayed: int) -> None:
        """Remember extents of a file: `delayed` ones (no blocks yet) can't be reclaimed."""
        inode.es_slabs += [self.objects.alloc_one(EXT4_ES) for _ in range(clean + delayed)]
        inode.es_clean += clean
        inode.es_delayed += delayed
        self.nr_es_clean += clean
        if inode.es_clean:
            self.es_inodes.setdefault(inode.ino)

    def es_written(self, inode: Inode) -> None:
        """The delayed extents got blocks."""
        inode.es_clean += inode.es_delayed
        self.nr_es_clean += inode.es_delayed
        inode.es_delayed = 0
        if inode.es_clean:
            self.es_inodes.setdefault(inode.ino)

    def drop_es(self, inode: Inode) -> int:
        """Forget all extents of the inode; how many could have been reclaimed."""
        clean = inode.es_clean
        for slab in inode.es_slabs:
            self.objects.free_one(EXT4_ES, slab)
        inode.es_slabs = []
        self.nr_es_clean -= clean
        inode.es_clean = inode.es_delayed = 0
        self.es_inodes.pop(inode.ino, None)
        return clean

    def reclaim_es(self, nr_to_scan: int) -> int:
        """fs/ext4/extents_status.c __es_shrink(), v6.1: extents freed, inode by inode.

        # DIFFERS: no second chance by EXTENT_STATUS_REFERENCED; extents are counted, not kept;
        # which of them survive a small scan.
        """
        freed = 0
        while nr_to_scan > 0 and self.es_inodes:
            ino, _ = self.es_inodes.popitem(last=False)
            inode = self.inodes[ino]
            take = min(inode.es_clean, nr_to_scan)
            inode.es_clean -= take
            self.nr_es_clean -= take
            for _ in range(take):
                self.objects.free_one(EXT4_ES, inode.es_slabs.pop())
            nr_to_scan -= max(take, 1)
            freed += take
            if inode.es_clean:
                self.es_inodes[ino] = None
        return freed

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        core = [i for i in self.inodes.values() if i.in_core]
        return [
            ("in_core", [i.ino for i in core]),
            ("sizes", [i.size_bytes for i in self.inodes.values()]),
            ("dentry_lru", list(self.dentry_lru)),
            ("inode_lru", list(self.inode_lru)),
            ("nr_es_clean", self.nr_es_clean),
        ]
