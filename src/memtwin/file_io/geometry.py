"""Owns where an ext4 file system of a given size keeps its metadata: groups, bitmaps, inode tables.

Imports nothing. Knows no state: the answers depend on the size alone, as mke2fs lays it out.
"""

from __future__ import annotations

GIB, MIB = 1 << 30, 1 << 20
FLEX_BG = 16  # mke2fs.conf flex_bg_size, e2fsprogs 1.47
INODE_BYTES = 256  # mke2fs.conf inode_size
FIRST_INO = 11  # EXT4_GOOD_OLD_FIRST_INO, fs/ext4/ext4.h, v6.12
ROOT_INO = 2
RESERVED_GDT = 256  # MODEL: resize_inode reserves block_size / 4 blocks on any device of interest


class Ext4Geometry:
    """Block numbers of one file system of `size_bytes`, made with the defaults of mke2fs."""

    def __init__(self, size_bytes: int) -> None:
        # mke2fs.conf: "small" below 512 MiB has 1 KiB blocks and an inode every 4 KiB, else 4 KiB
        # and 16 KiB
        small = size_bytes < 512 * MIB
        self.block_bytes = 1024 if small else 4096
        ratio_bytes = 4096 if small else 16384
        self.nr_blocks = size_bytes // self.block_bytes
        self.blocks_per_group = 8 * self.block_bytes
        self.first_block = 1 if self.block_bytes == 1024 else 0
        span = self.nr_blocks - self.first_block
        self.nr_groups = max(-(-span // self.blocks_per_group), 1)
        inodes = size_bytes // ratio_bytes // self.nr_groups
        per_block = self.block_bytes // INODE_BYTES
        self.inodes_per_block = per_block
        self.inodes_per_group = max(-(-inodes // (8 * per_block)) * 8 * per_block, 16)
        self.nr_inodes = self.inodes_per_group * self.nr_groups
        self.itable_blocks = self.inodes_per_group // per_block
        self.gdt_blocks = -(-self.nr_groups * 64 // self.block_bytes)
        self.blocks_per_page = 4096 // self.block_bytes

    def group_of_inode(self, ino: int) -> int:
        """Block group of inode `ino` (1 upwards)."""
        return (ino - 1) // self.inodes_per_group

    def group_of_block(self, block: int) -> int:
        """Block group of `block`."""
        return (block - self.first_block) // self.blocks_per_group

    def _flex_base(self, group: int) -> tuple[int, int, int]:
        """First block of bitmaps of the flex group, its first group, its number of groups."""
        first = group - group % FLEX_BG
        groups = min(FLEX_BG, self.nr_groups - first)
        base = self.first_block + first * self.blocks_per_group
        if first == 0:
            base += 1 + self.gdt_blocks + RESERVED_GDT
        return base, first, groups

    def block_bitmap(self, group: int) -> int:
        """Block of the group's block bitmap."""
        base, first, _ = self._flex_base(group)
        return base + group - first

    def inode_bitmap(self, group: int) -> int:
        """Block of the group's inode bitmap."""
        base, first, groups = self._flex_base(group)
        return base + groups + group - first

    def itable(self, group: int) -> int:
        """First block of the group's inode table."""
        base, first, groups = self._flex_base(group)
        return base + 2 * groups + (group - first) * self.itable_blocks

    def inode_block(self, ino: int) -> int:
        """Block that holds inode `ino`."""
        within = (ino - 1) % self.inodes_per_group
        return self.itable(self.group_of_inode(ino)) + within // self.inodes_per_block

    def descriptor_block(self, group: int) -> int:
        """Block that holds the group's descriptor."""
        return self.first_block + 1 + group * 64 // self.block_bytes

    def superblock(self) -> int:
        """Block of the primary superblock."""
        return self.first_block

    def data_start(self, group: int) -> int:
        """First block of the group that metadata does not take."""
        base, first, groups = self._flex_base(group)
        start = self.first_block + group * self.blocks_per_group
        if group == first:
            start = base + 2 * groups + groups * self.itable_blocks
        return min(start, self.nr_blocks - 1)

    def journal_blocks(self) -> int:
        """Length of the journal: lib/ext2fs/mkjournal.c ext2fs_default_journal_size(), e2fsprogs
        1.47."""
        blocks = self.nr_blocks
        for limit, size in ((2048, 0), (32768, 1024), (256 << 10, 4096), (512 << 10, 8192)):
            if blocks < limit:
                return size
        for limit, size in ((4096 << 10, 16384), (8192 << 10, 32768), (16384 << 10, 65536)):
            if blocks < limit:
                return size
        return 131072 if blocks < (32768 << 10) else 262144
