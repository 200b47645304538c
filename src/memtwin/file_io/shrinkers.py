"""Owns what memory pressure takes from the file system: dentries, inodes, extents, journal heads, shadow nodes.

Imports file_io and page_cache. Has never heard of how much pressure there is: `reclaim/shrinker` asks for counts and
says how many to scan.
"""

from __future__ import annotations

from memtwin.file_io.ext4 import Ext4
from memtwin.file_io.files import Files
from memtwin.file_io.inode import Inode, InodeCache
from memtwin.file_io.journal import Journal
from memtwin.file_io.objects import Objects
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import WORKINGSET_NODERECLAIM
from memtwin.page.zone import Zones
from memtwin.page_cache.page_cache import PageCache

DEFAULT_SEEKS = 2  # include/linux/shrinker.h, v6.12
SHRINK_BATCH = 128  # mm/vmscan.c SHRINK_BATCH, v6.12
DENTRIES, INODES = range(2)


class SuperBlockShrinker:
    """Dentries and inodes without users: fs/super.c super_cache_count(), super_cache_scan(), v6.12."""

    name = "sb-ext4"
    seeks = DEFAULT_SEEKS
    batch = 1024

    def __init__(self, files: Files, tunables: Tunables) -> None:
        self.files = files
        self.tunables = tunables
        self.ext4: Ext4 = files.ext4
        self.cache: InodeCache = files.ext4.cache
        self._with_pages: dict[int, None] = {}  # inodes without a dentry that still have pages

    def count_objects(self) -> int:
        """Objects that may be freed, weighed by vfs_cache_pressure."""
        self.files.objects.settle()
        self._requeue()
        total = len(self.cache.dentry_lru) + len(self.cache.inode_lru)
        return total * self.tunables.vfs_cache_pressure // 100

    def scan_objects(self, nr_to_scan: int) -> int:
        """Scan `nr_to_scan` objects in proportion: objects freed."""
        dentries, inodes = len(self.cache.dentry_lru), len(self.cache.inode_lru)
        total = dentries + inodes + 1
        freed = self._prune_dcache(nr_to_scan * dentries // total + 1)
        freed += self._prune_icache(nr_to_scan * inodes // total + 1)
        self.files.objects.settle()
        return freed

    def _shrinkable(self, inode: Inode) -> bool:
        """include/linux/fs.h mapping_shrinkable(), v6.1: no pages and no tree nodes."""
        if not inode.mapping_id:
            return True
        mapping = self.ext4.mapping_of(inode)
        return mapping.nr_pages == 0 and mapping.nr_nodes == 0

    def _requeue(self) -> None:
        """Inodes whose last page went since join the LRU, as the page cache's removal would have done."""
        for ino in list(self._with_pages):
            inode = self.cache.inodes.get(ino)
            if inode is None or not inode.in_core or inode.count > 0:
                del self._with_pages[ino]
            elif self._shrinkable(inode) and not inode.dirty:
                del self._with_pages[ino]
                self.cache.iput(inode, True)

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
            self.cache.iput(inode, True)
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


class ExtentStatusShrinker:
    """Extents that files remember: fs/ext4/extents_status.c ext4_es_scan(), v6.1."""

    name = "ext4-es"
    seeks = DEFAULT_SEEKS
    batch = SHRINK_BATCH

    def __init__(self, cache: InodeCache) -> None:
        self.cache = cache

    def count_objects(self) -> int:
        """Extents that are not delayed allocations."""
        return self.cache.nr_es_clean

    def scan_objects(self, nr_to_scan: int) -> int:
        """Extents freed."""
        return self.cache.reclaim_es(nr_to_scan)


class JournalShrinker:
    """Journal heads of blocks that are in place: fs/jbd2/journal.c jbd2_journal_shrink_scan(), v6.1."""

    name = "jbd2-journal"
    seeks = DEFAULT_SEEKS

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.batch = journal.max_transaction_blocks

    def count_objects(self) -> int:
        """Blocks on checkpoint lists."""
        return self.journal.nr_checkpoint()

    def scan_objects(self, nr_to_scan: int) -> int:
        """Journal heads freed."""
        return self.journal.shrink(nr_to_scan)


class ShadowNodeShrinker:
    """Tree nodes that hold only shadows: mm/workingset.c count_shadow_nodes(), scan_shadow_nodes(), v6.12."""

    name = "mm-shadow"
    seeks = 0
    batch = SHRINK_BATCH

    def __init__(self, page_cache: PageCache, objects: Objects, zones: Zones, vmstat: VmStat) -> None:
        self.page_cache = page_cache
        self.objects = objects
        self.zones = zones
        self.vmstat = vmstat

    def count_objects(self) -> int:
        """Nodes beyond an eighth of a node a page of memory.

        # DIFFERS: one limit for the machine, no memcg's own; bends refault distances kept by small memcgs.
        """
        present = sum(int(zone.present_pages) for zone in self.zones.zones)
        return max(len(self.page_cache.shadow_nodes) - (present >> 3), 0)

    def scan_objects(self, nr_to_scan: int) -> int:
        """Nodes freed."""
        freed = 0
        while freed < nr_to_scan and self.page_cache.reclaim_shadow_node():
            freed += 1
        self.vmstat.mod_node(0, WORKINGSET_NODERECLAIM, freed)
        self.objects.settle()
        return freed


def all_shrinkers(
    files: Files, tunables: Tunables, zones: Zones
) -> tuple[SuperBlockShrinker, ExtentStatusShrinker, JournalShrinker, ShadowNodeShrinker]:
    """The shrinkers of one file system and of the page cache, in the order they are registered."""
    filemap = files.filemap
    return (
        SuperBlockShrinker(files, tunables),
        ExtentStatusShrinker(files.cache),
        JournalShrinker(files.ext4.journal),
        ShadowNodeShrinker(filemap.page_cache, files.objects, zones, filemap.vmstat),
    )
