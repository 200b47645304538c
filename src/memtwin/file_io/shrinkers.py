"""Owns what memory pressure takes from the file system: dentries, inodes, extents, journal heads,
shadow nodes.

Imports file_io and page_cache. Has never heard of how much pressure there is: `reclaim/shrinker`
asks for counts and says how many to scan.
"""

from __future__ import annotations

from memtwin.file_io.border import Border
from memtwin.file_io.ext4 import Ext4
from memtwin.file_io.files import Files
from memtwin.file_io.inode import Inode, InodeCache
from memtwin.file_io.journal import Journal
from memtwin.file_io.objects import Objects
from memtwin.page.gfp import GFP_FS
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat_items import WORKINGSET_NODERECLAIM
from memtwin.page.zone import Zones
from memtwin.page_cache.page_cache import PageCache
from memtwin.reclaim.shrinker import DEFAULT_SEEKS, SHRINK_STOP, Shrinker


class ObjectShrinker(Shrinker):
    """A shrinker whose freed objects give slab pages back.

    # DIFFERS: limit reclaim inside a group leaves dentries and inodes alone; objects are not split
    # by memcg (no list_lru of each); the slab share of a small memcg.
    """

    def __init__(self, name: str, objects: Objects, seeks: int, batch: int) -> None:
        super().__init__(name, seeks, batch)
        self.objects = objects

    def count_objects(self, node: int, memcg: int) -> int:
        """Objects that could be freed; all are counted on node 0."""
        self.objects.settle()
        return self.count() if node == 0 else 0

    def scan_objects(self, nr_to_scan: int, node: int, memcg: int, gfp: int) -> int:
        """Objects freed, or SHRINK_STOP when the caller may not enter the file system."""
        if not gfp & GFP_FS:
            return SHRINK_STOP
        before = int(self.objects.slub.nr_given_back)
        freed = self.scan(int(nr_to_scan))
        self.objects.settle()
        self.reclaimed_pages += int(self.objects.slub.nr_given_back) - before
        return freed

    def count(self) -> int:
        """What count_objects() answers."""
        raise NotImplementedError

    def scan(self, nr_to_scan: int) -> int:
        """What scan_objects() does."""
        raise NotImplementedError


class SuperBlockShrinker(ObjectShrinker):
    """Dentries and inodes without users: fs/super.c super_cache_count(), super_cache_scan(),
    v6.12."""

    def __init__(self, files: Files, tunables: Tunables) -> None:
        super().__init__("sb-ext4", files.objects, DEFAULT_SEEKS, 1024)
        self.files = files
        self.tunables = tunables
        self.ext4: Ext4 = files.ext4
        self.cache: InodeCache = files.ext4.cache
        self._with_pages: dict[int, None] = {}  # inodes without a dentry that still have pages

    def count(self) -> int:
        """Objects that may be freed, weighed by vfs_cache_pressure."""
        self._requeue()
        total = len(self.cache.dentry_lru) + len(self.cache.inode_lru)
        return total * self.tunables.vfs_cache_pressure // 100

    def scan(self, nr_to_scan: int) -> int:
        """Scan `nr_to_scan` objects in proportion: objects freed."""
        dentries, inodes = len(self.cache.dentry_lru), len(self.cache.inode_lru)
        total = dentries + inodes + 1
        freed = self._prune_dcache(nr_to_scan * dentries // total + 1)
        freed += self._prune_icache(nr_to_scan * inodes // total + 1)
        return freed

    def _shrinkable(self, inode: Inode) -> bool:
        """include/linux/fs.h mapping_shrinkable(), v6.1: no pages and no tree nodes."""
        if not inode.mapping_id:
            return True
        mapping = self.ext4.mapping_of(inode)
        return mapping.nr_pages == 0 and mapping.nr_nodes == 0

    def _requeue(self) -> None:
        """Inodes whose last page went since join the LRU, as the page cache's removal would have
        done."""
        for ino in list(self._with_pages):
            inode = self.cache.inodes.get(ino)
            if inode is None or not inode.in_core or inode.count > 0:
                del self._with_pages[ino]
            elif self._shrinkable(inode) and not inode.dirty:
                del self._with_pages[ino]
                self.cache.iput(inode, 0)

    def _prune_dcache(self, nr_to_scan: int) -> int:
        """fs/dcache.c prune_dcache_sb(), dentry_lru_isolate(), v6.12."""
        freed = 0
        lru = self.cache.dentry_lru
        while nr_to_scan > 0 and lru:
            nr_to_scan -= 1
            ino, _ = lru.popitem(last=False)
            inode = self.cache.inodes[ino]
            if inode.dentry_count > 0:
                continue
            if inode.dentry_referenced:
                inode.dentry_referenced = False
                lru[ino] = None
                continue
            if any(self.cache.inodes[child].dentry for child in inode.children.values()):
                continue  # its children hold it: not unused
            self.cache.kill_dentry(inode)
            self._last_iput(inode)
            freed += 1
        return freed

    def _last_iput(self, inode: Inode) -> None:
        parent = self.cache.inodes[inode.parent]
        if parent.dentry and parent.ino not in self.cache.dentry_lru:
            self.cache.dput(parent)
        if self._shrinkable(inode) and not inode.dirty:
            self.cache.iput(inode, 0)
        else:
            self._with_pages[inode.ino] = None

    def _prune_icache(self, nr_to_scan: int) -> int:
        """fs/inode.c prune_icache_sb(), inode_lru_isolate(), v6.12."""
        freed = 0
        lru = self.cache.inode_lru
        while nr_to_scan > 0 and lru:
            nr_to_scan -= 1
            ino, _ = lru.popitem(last=False)
            inode = self.cache.inodes[ino]
            if inode.count > 0 or inode.dirty or not self._shrinkable(inode):
                continue
            if inode.referenced:
                inode.referenced = False
                lru[ino] = None
                continue
            self.ext4.forget_mapping(inode)
            self.cache.evict(inode)
            freed += 1
        return freed


class ExtentStatusShrinker(ObjectShrinker):
    """Extents that files remember: fs/ext4/extents_status.c ext4_es_scan(), v6.1."""

    def __init__(self, cache: InodeCache) -> None:
        super().__init__("ext4-es", cache.objects, DEFAULT_SEEKS, 0)
        self.cache = cache

    def count(self) -> int:
        """Extents that are not delayed allocations."""
        return self.cache.nr_es_clean

    def scan(self, nr_to_scan: int) -> int:
        """Extents freed."""
        return self.cache.reclaim_es(nr_to_scan)


class JournalShrinker(ObjectShrinker):
    """Journal heads of blocks that are in place: fs/jbd2/journal.c jbd2_journal_shrink_scan(),
    v6.1."""

    def __init__(self, journal: Journal) -> None:
        batch = journal.max_transaction_blocks
        super().__init__("jbd2-journal", journal.objects, DEFAULT_SEEKS, batch)
        self.journal = journal

    def count(self) -> int:
        """Blocks on checkpoint lists."""
        return self.journal.nr_checkpoint()

    def scan(self, nr_to_scan: int) -> int:
        """Journal heads freed."""
        return self.journal.shrink(nr_to_scan)


class ShadowNodeShrinker(ObjectShrinker):
    """Tree nodes that hold only shadows: mm/workingset.c count_shadow_nodes(), scan_shadow_nodes(),
    v6.12."""

    def __init__(
        self, page_cache: PageCache, objects: Objects, zones: Zones, border: Border
    ) -> None:
        super().__init__("mm-shadow", objects, 0, 0)
        self.page_cache = page_cache
        self.zones = zones
        self.border = border

    def count(self) -> int:
        """Nodes beyond an eighth of a node a page of memory.

        # DIFFERS: one limit for the machine, none of a memcg; nodes are not split by memcg; refault
        # distances that small memcgs keep.
        """
        present = sum(int(zone.present_pages) for zone in self.zones.zones)
        return max(len(self.page_cache.shadow_nodes) - (present >> 3), 0)

    def scan(self, nr_to_scan: int) -> int:
        """Nodes freed."""
        freed = 0
        while freed < nr_to_scan and self.page_cache.reclaim_shadow_node():
            freed += 1
        self.border.mod_node(0, WORKINGSET_NODERECLAIM, freed)
        return freed


def all_shrinkers(files: Files, tunables: Tunables, zones: Zones) -> list[Shrinker]:
    """The shrinkers of one file system and of the page cache, in the order to register them."""
    filemap, border = files.filemap, files.ext4.metadata.border
    return [
        ShadowNodeShrinker(filemap.page_cache, files.objects, zones, border),
        SuperBlockShrinker(files, tunables),
        JournalShrinker(files.ext4.journal),
        ExtentStatusShrinker(files.cache),
    ]
