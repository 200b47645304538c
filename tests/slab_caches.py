"""The slab caches that the builders of small machines give their file rooms."""

from __future__ import annotations

# name, object size, order, objects a slab, as a 6.1 kernel's slabinfo shows them
CACHES = (
    ("radix_tree_node", 584, 1, 14),
    ("buffer_head", 104, 0, 39),
    ("ext4_inode_cache", 1184, 3, 27),
    ("dentry", 192, 0, 21),
    ("lsm_inode_cache", 32, 0, 128),
    ("vmap_area", 64, 0, 64),
    ("jbd2_journal_head", 120, 0, 34),
    ("ext4_extent_status", 40, 0, 102),
    ("filp", 256, 0, 16),
)
