"""Owns one cache of equal objects: its sizes, its counts and its lists of slabs.

Imports columns and page flags. Has never heard of who uses the objects or where pages come from.
"""

from __future__ import annotations

import cython

PAGE_SIZE = 4096

# Caches whose pages count as reclaimable: slabinfo does not say it, their creators pass
# SLAB_RECLAIM_ACCOUNT, as in fs/dcache.c dcache_init(), v6.1, or fs/inode.c inode_init(), v6.1
# DIFFERS: a list of names; a cache that is not named counts as unreclaimable; nr_slab_reclaimable
# of machines with file systems that are not in the list
RECLAIMABLE = frozenset(
    [
        "dentry",
        "inode_cache",
        "ext4_inode_cache",
        "proc_inode_cache",
        "sock_inode_cache",
        "bdev_cache",
        "buffer_head",
        "radix_tree_node",
        "jbd2_journal_head",
        "jbd2_journal_handle",
        "jbd2_transaction_s",
        "jbd2_inode",
        "jbd2_revoke_record_s",
        "jbd2_revoke_table_s",
        "ext4_extent_status",
        "ext4_pending_reservation",
        "ext4_allocation_context",
        "ext4_prealloc_space",
        "ext4_free_data",
        "ext4_io_end",
        "ext4_io_end_vec",
        "ext4_bio_post_read_ctx",
        "ext4_fc_dentry_update",
        "mbcache",
        "ext4_groupinfo_1k",
        "ext4_groupinfo_4k",
        "fat_inode_cache",
        "fat_cache",
        "xfs_inode",
        "dax_cache",
        "kernfs_node_cache_rcl",
        "squashfs_inode_cache",
        "ovl_inode_cache",
        "isofs_inode_cache",
        "fuse_inode",
        "nfs_inode_cache",
        "btrfs_inode",
        "rpc_inode_cache",
        "dquot",
        "fsnotify_mark_connector",
    ]
)


@cython.final
@cython.cclass
class KmemCache:
    """A cache (mm/slab.h struct kmem_cache, v6.1)."""

    def __init__(
        self, cache_id: int, name: str, size_bytes: int, order: int, objs_per_slab: int
    ) -> None:
        self.cache_id = cache_id
        self.name = name
        self.size_bytes = size_bytes
        self.order = order
        self.objs_per_slab = objs_per_slab
        self.reclaimable = int(name in RECLAIMABLE or name.startswith("kmalloc-rcl-"))
        # mm/slub.c kmem_cache_open(), v6.1: MIN_PARTIAL 5, MAX_PARTIAL 10
        self.min_partial = min(max((size_bytes.bit_length() - 1) // 2, 5), 10)
        # mm/slub.c set_cpu_partial(), v6.1
        self.cpu_partial = 120
        if size_bytes >= PAGE_SIZE:
            self.cpu_partial = 6
        elif size_bytes >= 1024:
            self.cpu_partial = 24
        elif size_bytes >= 256:
            self.cpu_partial = 52
        self.cpu_partial_slabs = -(-self.cpu_partial * 2 // objs_per_slab)
        self.num_slabs = 0
        self.num_objs = 0  # == sum of objects over slabs
        self.inuse = 0  # objects that have an owner
        self.partial_free = 0  # free objects in slabs on the node's partial lists
        self.full_head = -1  # slabs without a free object, oldest first
        self.first_partial_head = -1  # one list a node

    @cython.ccall
    def active_objs(self) -> cython.longlong:
        """What slabinfo calls active: all objects but the free ones on the nodes' partial lists."""
        # mm/slub.c get_slabinfo(), v6.1: objects of per-CPU slabs count as active
        return self.num_objs - self.partial_free

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = "num_slabs num_objs inuse partial_free"
        return [(f"{self.name}.{name}", getattr(self, name)) for name in names.split()]
