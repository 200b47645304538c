"""Owns the names of one ext4 file system: creating, finding and removing files, and what that
changes on disk.

Imports file_io (geometry, inode, journal, metadata, objects, invalidate) and page_cache. Has never
heard of open files or of writing data back.

# DIFFERS: directory entries are spread over leaf blocks by a hash of our own; half-MD4 would spread
# them as evenly; which leaf splits first, not how many there are.
# DIFFERS: block and inode allocators are next-fit within a group; no test looks at places on disk;
# how far apart the blocks of files lie.
"""

from __future__ import annotations

import hashlib
import heapq
from bisect import insort

from memtwin.errors import UserError
from memtwin.file_io.geometry import FIRST_INO, FLEX_BG, ROOT_INO, Ext4Geometry
from memtwin.file_io.inode import DIRECTORY, Inode, InodeCache
from memtwin.file_io.journal import Journal
from memtwin.file_io.metadata import FROM_DISK, NEW_BLOCK, Metadata
from memtwin.page_cache.constants import FILE
from memtwin.page_cache.mapping import Mapping
from memtwin.page_cache.page_cache import PageCache

CSUM_TAIL_BYTES = 12  # fs/ext4/ext4.h struct ext4_dir_entry_tail, v6.12
INODE_READAHEAD_BLOCKS = 32  # fs/ext4/ext4.h EXT4_DEF_INODE_READAHEAD_BLKS, v6.12
ENOENT, EEXIST, ENOSPC, EISDIR = -2, -17, -28, -21


def name_hash(name: str) -> int:
    """32 bits that place a name among a directory's leaves."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little")


def entry_bytes(name: str) -> int:
    """Length of a directory entry: fs/ext4/ext4.h ext4_dir_rec_len(), v6.12."""
    return (8 + len(name.encode()) + 3) & ~3


class Leaf:
    """One block of a directory: its entries in order of hash, and how full it is."""

    __slots__ = ("block", "entries", "used_bytes")

    def __init__(self, block: int) -> None:
        self.block = block
        self.entries: list[tuple[int, str]] = []
        self.used_bytes = 0


class Directory:
    """The blocks of a directory: a linear one at first, then an index over leaves."""

    def __init__(self, first_block: int) -> None:
        self.index_block = first_block  # also the only leaf while there is one
        self.leaves = [Leaf(first_block)]

    def leaf_of(self, hashed: int) -> Leaf:
        """The leaf whose range of hashes holds `hashed`."""
        low, high = 0, len(self.leaves) - 1
        while low < high:
            middle = (low + high + 1) // 2
            entries = self.leaves[middle].entries
            if entries and entries[0][0] <= hashed:
                low = middle
            else:
                high = middle - 1
        return self.leaves[low]


def move_half(blocks: Directory, leaf: Leaf, block: int) -> None:
    """Move the upper half of a full leaf, by bytes, to a new leaf in `block` behind it."""
    new = Leaf(block)
    moved = 0
    while moved + entry_bytes(leaf.entries[-1][1]) <= leaf.used_bytes // 2:
        entry = leaf.entries.pop()
        new.entries.insert(0, entry)
        moved += entry_bytes(entry[1])
        leaf.used_bytes -= entry_bytes(entry[1])
        new.used_bytes += entry_bytes(entry[1])
    blocks.leaves.insert(blocks.leaves.index(leaf) + 1, new)


class Ext4:
    """One mounted file system."""

    def __init__(
        self,
        geometry: Ext4Geometry,
        cache: InodeCache,
        journal: Journal,
        metadata: Metadata,
        page_cache: PageCache,
    ) -> None:
        self.geometry = geometry
        self.cache = cache
        self.journal = journal
        self.metadata = metadata
        self.page_cache = page_cache
        self.directories: dict[int, Directory] = {}
        self.by_mapping: dict[int, Inode] = {}
        self._next_ino = [FIRST_INO + 1 if g == 0 else 1 for g in range(geometry.nr_groups)]
        self._freed_inos: list[list[int]] = [[] for _ in range(geometry.nr_groups)]
        self._cursor = [geometry.data_start(g) for g in range(geometry.nr_groups)]
        self.sampled_mount = False
        # bitmaps that mke2fs wrote: those of groups that begin a flex group, where all metadata
        # lies
        starts = range(0, geometry.nr_groups, FLEX_BG)
        self._bitmaps = {
            bitmap(g) for g in starts for bitmap in (geometry.block_bitmap, geometry.inode_bitmap)
        }
        root = Inode(ROOT_INO, "", ROOT_INO, DIRECTORY)
        root.dentry_count = 1  # the mount holds it
        cache.inodes[ROOT_INO] = root
        # its objects are among those that booting took: figures of a start count them already
        root.in_core, root.dentry, root.count = True, True, 1
        self.directories[ROOT_INO] = Directory(self._take_blocks(0, 1))

    # disk space

    def _take_blocks(self, group: int, nr_blocks: int) -> int:
        """First of `nr_blocks` blocks in `group` or after it; UserError when the device is full."""
        for step in range(self.geometry.nr_groups):
            at = (group + step) % self.geometry.nr_groups
            start = self.geometry.first_block + at * self.geometry.blocks_per_group
            end = min(start + self.geometry.blocks_per_group, self.geometry.nr_blocks)
            fits = self._cursor[at] + nr_blocks <= end or nr_blocks > self.geometry.blocks_per_group
            if self._cursor[at] < end and fits:
                first = self._cursor[at]
                self._spread(at, nr_blocks)
                return first
        raise UserError(
            f"file system: found no room for {nr_blocks} more blocks, "
            f"the device has {self.geometry.nr_blocks}"
        )

    def _spread(self, group: int, nr_blocks: int) -> None:
        """Move the cursors of the groups that a run of blocks covers."""
        while nr_blocks > 0 and group < self.geometry.nr_groups:
            end = self.geometry.first_block + (group + 1) * self.geometry.blocks_per_group
            here = min(nr_blocks, max(end - self._cursor[group], 0))
            self._cursor[group] += here
            nr_blocks -= here
            group += 1

    def _take_ino(self, group: int) -> int:
        """A free inode number in `group` or after it: fs/ext4/ialloc.c find_group_other(), v6.1."""
        geometry = self.geometry
        for step in range(geometry.nr_groups):
            at = (group + step) % geometry.nr_groups
            if self._freed_inos[at]:
                return heapq.heappop(self._freed_inos[at])
            if self._next_ino[at] <= geometry.inodes_per_group:
                self._next_ino[at] += 1
                return at * geometry.inodes_per_group + self._next_ino[at] - 1
        raise UserError(f"file system: found no free inode, it has {geometry.nr_inodes}")

    def _group_of_new_dir(self, parent: int, name: str) -> int:
        """Top-level directories are spread by their names' hash, by flex group (find_group_orlov(),
        v6.1)."""
        if parent != ROOT_INO:
            return self.geometry.group_of_inode(parent)
        flex_groups = -(-self.geometry.nr_groups // FLEX_BG)
        return name_hash(name) % flex_groups * FLEX_BG

    # metadata

    def dirty_inode(self, inode: Inode) -> None:
        """The inode's record changes: ext4_dirty_inode()."""
        self.journal.make_room(1)
        self.journal.change(self.geometry.inode_block(inode.ino))

    def change_blocks_of(self, inode: Inode, first_block: int, nr_blocks: int) -> None:
        """Blocks were given or taken: bitmaps and descriptors of their groups, and the inode."""
        if nr_blocks > 0:
            first = self.geometry.group_of_block(first_block)
            last = self.geometry.group_of_block(
                min(first_block + nr_blocks, self.geometry.nr_blocks) - 1
            )
            self.journal.make_room(2 * (last - first + 1) + 2)
            for group in range(first, last + 1):
                self._change_bitmap(self.geometry.block_bitmap(group))
                self.journal.change(self.geometry.descriptor_block(group))
        self.dirty_inode(inode)

    def _change_bitmap(self, block: int) -> None:
        """Change a bitmap; one of a group never used before is made, not read
        (EXT4_BG_BLOCK_UNINIT)."""
        self.journal.change(block, FROM_DISK if block in self._bitmaps else NEW_BLOCK)
        self._bitmaps.add(block)

    def _read_inode(self, inode: Inode) -> None:
        """Bring in the block of the inode's record, with readahead: __ext4_get_inode_loc(),
        v6.12."""
        geometry = self.geometry
        block = geometry.inode_block(inode.ino)
        if not self.metadata.is_read(block):
            group = geometry.group_of_inode(inode.ino)
            first = max(block & ~(INODE_READAHEAD_BLOCKS - 1), geometry.itable(group))
            used = min(self._next_ino[group] - 1, geometry.inodes_per_group)
            end = min(
                first + INODE_READAHEAD_BLOCKS,
                geometry.itable(group) + used // geometry.inodes_per_block + 1,
            )
            self.metadata.readahead(first, end)
        self.metadata.get_block(block, FROM_DISK)

    # names

    def resolve(self, path: str) -> tuple[Inode, str]:
        """(directory, last name) of an absolute path inside the file system."""
        names = [name for name in path.split("/") if name]
        directory = self.cache.inodes[ROOT_INO]
        for name in names[:-1]:
            directory = self._walk_dir(directory, name, path)
        if not names:
            raise UserError(f"path: found {path!r}, allowed is a name below the root")
        return directory, names[-1]

    def _walk_dir(self, directory: Inode, name: str, path: str) -> Inode:
        found = self.lookup(directory, name)
        if found is None or found.kind != DIRECTORY:
            raise UserError(f"path: found {path!r}, but {name!r} is not a directory there")
        return found

    def lookup(self, directory: Inode, name: str) -> Inode | None:
        """The named inode, in memory from now on, or None: d_lookup(), else ext4_lookup()."""
        ino = directory.children.get(name)
        inode = self.cache.inodes[ino] if ino is not None else None
        if inode is not None and inode.dentry:
            return inode
        self._probe(directory, name)
        if inode is None:
            return None
        if not inode.in_core:
            self._read_inode(inode)
        self.cache.instantiate(inode)
        return inode

    def _probe(self, directory: Inode, name: str) -> Leaf:
        """Read the index and the leaf where `name` is or would be: fs/ext4/namei.c dx_probe(),
        v6.12."""
        blocks = self.directories[directory.ino]
        leaf = blocks.leaf_of(name_hash(name))
        if len(blocks.leaves) > 1:
            self.metadata.get_block(blocks.index_block, FROM_DISK)
        self.metadata.get_block(leaf.block, FROM_DISK)
        return leaf

    def declare(self, directory: Inode, name: str, kind: int) -> Inode:
        """A file or directory that mke2fs put there: on disk, not in memory."""
        group = 0 if directory.ino == ROOT_INO else self.geometry.group_of_inode(directory.ino)
        inode = Inode(self._take_ino(group), name, directory.ino, kind)
        self.cache.inodes[inode.ino] = inode
        directory.children[name] = inode.ino
        blocks = self.directories[directory.ino]
        leaf = blocks.leaf_of(name_hash(name))
        if self._is_full(leaf, name):
            if len(blocks.leaves) == 1:
                leaf.block = self._take_blocks(group, 1)
            move_half(blocks, leaf, self._take_blocks(group, 1))
            leaf = blocks.leaf_of(name_hash(name))
        insort(leaf.entries, (name_hash(name), name))
        leaf.used_bytes += entry_bytes(name)
        if kind == DIRECTORY:
            self.directories[inode.ino] = Directory(self._take_blocks(group, 1))
        return inode

    def declare_blocks(self, inode: Inode, nr_pages: int) -> int:
        """Blocks of a declared file: the first one, in pages."""
        group = self.geometry.group_of_inode(inode.ino)
        first = self._take_blocks(group, nr_pages * self.geometry.blocks_per_page)
        return first // self.geometry.blocks_per_page

    def sample_last_mounted(self) -> None:
        """The first open writes the mount's path to the superblock: ext4_sample_last_mounted(),
        v6.12."""
        if not self.sampled_mount:
            self.sampled_mount = True
            self.journal.make_room(1)
            self.journal.change(self.geometry.superblock())

    def create(self, directory: Inode, name: str, kind: int) -> Inode:
        """A new, empty file or directory: ext4_create(), ext4_mkdir(). Its dentry has one user."""
        group = self.geometry.group_of_inode(directory.ino)
        if kind == DIRECTORY:
            group = self._group_of_new_dir(directory.ino, name)
        ino = self._take_ino(group)
        inode = Inode(ino, name, directory.ino, kind)
        self.cache.inodes[ino] = inode
        group = self.geometry.group_of_inode(ino)
        self.journal.make_room(12)
        self._change_bitmap(self.geometry.inode_bitmap(group))
        self.journal.change(self.geometry.descriptor_block(group))
        self.metadata.get_block(self.geometry.inode_block(ino), NEW_BLOCK)
        self.journal.change(self.geometry.inode_block(ino))
        if kind == DIRECTORY:
            block = self._take_blocks(group, 1)
            self.metadata.get_block(block, NEW_BLOCK)
            self.journal.change(block)
            self.directories[ino] = Directory(block)
            self._change_bitmap(self.geometry.block_bitmap(self.geometry.group_of_block(block)))
        self._add_entry(directory, name)
        directory.children[name] = ino
        self.dirty_inode(directory)
        self.cache.instantiate(inode)
        inode.dentry_count += 1
        return inode

    def _add_entry(self, directory: Inode, name: str) -> None:
        """Put the name into its leaf, splitting it when full: fs/ext4/namei.c ext4_add_entry(),
        v6.12."""
        blocks = self.directories[directory.ino]
        leaf = self._probe(directory, name)
        if self._is_full(leaf, name):
            self._split(directory, blocks, leaf)
            leaf = blocks.leaf_of(name_hash(name))
        insort(leaf.entries, (name_hash(name), name))
        leaf.used_bytes += entry_bytes(name)
        self.journal.change(leaf.block)

    def _is_full(self, leaf: Leaf, name: str) -> bool:
        room = self.geometry.block_bytes - CSUM_TAIL_BYTES
        return leaf.used_bytes + entry_bytes(name) > room

    def _new_dir_block(self, directory: Inode) -> int:
        block = self._take_blocks(self.geometry.group_of_inode(directory.ino), 1)
        self.metadata.get_block(block, NEW_BLOCK)
        self.change_blocks_of(directory, block, 1)
        self.journal.change(block)
        return block

    def _split(self, directory: Inode, blocks: Directory, leaf: Leaf) -> None:
        """Move the upper half of a leaf, by bytes, to a new block: do_split(), make_indexed_dir(),
        v6.12."""
        if len(blocks.leaves) == 1:
            leaf.block = self._new_dir_block(directory)  # the first block becomes the index
        move_half(blocks, leaf, self._new_dir_block(directory))
        self.journal.change(leaf.block)
        self.journal.change(blocks.index_block)

    def unlink(self, directory: Inode, inode: Inode) -> None:
        """Take the name away and free the inode's number; its pages are gone already:
        ext4_unlink()."""
        leaf = self._probe(directory, inode.name)
        entry = (name_hash(inode.name), inode.name)
        if entry in leaf.entries:
            leaf.entries.remove(entry)
            leaf.used_bytes -= entry_bytes(inode.name)
        del directory.children[inode.name]
        group = self.geometry.group_of_inode(inode.ino)
        self.journal.make_room(8)
        for block in (
            leaf.block,
            self.geometry.superblock(),  # the orphan list: ext4_orphan_add()
            self.geometry.inode_bitmap(group),
            self.geometry.descriptor_block(group),
        ):
            self.journal.change(block)
        self.dirty_inode(directory)
        self.dirty_inode(inode)
        heapq.heappush(self._freed_inos[group], inode.ino)
        # DIFFERS: the dentry goes at once; the kernel keeps it, negative, until it is pruned; bends
        # dentry counts after rmfiles
        self.cache.kill_dentry(inode)
        self.forget_mapping(inode)
        self.cache.evict(inode)
        del self.cache.inodes[inode.ino]

    # mappings

    def mapping_of(self, inode: Inode) -> Mapping:
        """The inode's mapping, made when it has none."""
        if not inode.mapping_id:
            inode.mapping_id = int(self.page_cache.new_mapping(inode.ino, FILE, inode.size_bytes))
            mapping = self.page_cache.mapping(inode.mapping_id)
            mapping.mapped_end = inode.mapped_end
            mapping.mapped_extra = inode.mapped_extra
            mapping.block_base = inode.block_base
            self.by_mapping[inode.mapping_id] = inode
        return self.page_cache.mapping(inode.mapping_id)

    def forget_mapping(self, inode: Inode) -> None:
        """The inode leaves memory: what its mapping knew goes back to the disk's record."""
        if not inode.mapping_id:
            return
        mapping = self.page_cache.mapping(inode.mapping_id)
        inode.size_bytes = int(mapping.size_bytes)
        inode.mapped_end = int(mapping.mapped_end)
        inode.mapped_extra = set(mapping.mapped_extra)
        inode.block_base = int(mapping.block_base)
        del self.by_mapping[inode.mapping_id]
        self.page_cache.drop_mapping(inode.mapping_id)
        inode.mapping_id = 0

    def place(self, inode: Inode) -> None:
        """Choose where the file's data goes, before its first page is written."""
        mapping = self.mapping_of(inode)
        if not mapping.block_base:
            group = self.geometry.group_of_inode(inode.ino)
            mapping.block_base = self._cursor[group] // self.geometry.blocks_per_page

    def allocate(self, inode: Inode, nr_pages: int) -> None:
        """Delayed allocations of a file got their blocks: the metadata that changes."""
        blocks = nr_pages * self.geometry.blocks_per_page
        first = self._take_blocks(self.geometry.group_of_inode(inode.ino), blocks)
        self.change_blocks_of(inode, first, blocks)
        self.cache.es_written(inode)

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [("next_ino", self._next_ino), ("cursor", self._cursor), *self.cache.columns()]
