"""Owns the slab objects of files: which cache each kind comes from, how many are out.

Imports slab, reclaim/slowpath, page_cache and page. Has never heard of inodes or blocks: it hands
out objects and takes them back, those of vanished tree nodes and buffer heads included.
"""

from __future__ import annotations

from memtwin.errors import require
from memtwin.memcg.constants import CHARGE_OK, OBJ_OVERHEAD_BYTES
from memtwin.page.gfp import GFP_KERNEL
from memtwin.page_cache.buffer_head import BufferHeads
from memtwin.page_cache.page_cache import PageCache
from memtwin.reclaim.slowpath import Slowpath
from memtwin.slab.slab_state import NEED_PAGE
from memtwin.slab.slub import Slub
from memtwin.units import NIL

RADIX_NODE, BUFFER_HEAD, EXT4_INODE, DENTRY, LSM_INODE, JBD2_INODE = range(6)
JOURNAL_HEAD, EXT4_ES, FILP, IO_END, IO_END_VEC = range(6, 11)
# kind -> caches to look for, in order: the kernel merges caches of one size, and the first name
# stays
NAMES: tuple[tuple[str, ...], ...] = (
    ("radix_tree_node",),
    ("buffer_head",),
    ("ext4_inode_cache",),
    ("dentry",),
    ("lsm_inode_cache",),
    ("jbd2_inode", "vmap_area", "kmalloc-64"),  # struct jbd2_inode, 64 bytes, unreclaimable
    ("jbd2_journal_head",),
    ("ext4_extent_status",),
    ("filp",),
    ("ext4_io_end",),
    ("ext4_io_end_vec",),
)
NO_SLAB = NIL
SHORT_OF_MEMORY = -2


def take_object(slub: Slub, slowpath: Slowpath, cache: int) -> int:
    """An object of a cache: pfn of its slab, NO_SLAB for no cache (NIL), or SHORT_OF_MEMORY."""
    if cache == NIL:
        return NO_SLAB
    slab = int(slub.alloc_object(cache))
    while slab == NEED_PAGE:
        pfn = int(slowpath.alloc_page(slub.gfp_of(cache), slub.order_of(cache)))
        if pfn < 0:
            return SHORT_OF_MEMORY
        slub.add_slab(cache, pfn)
        slab = int(slub.alloc_object(cache))
    return slab


class Objects:
    """Objects of the file rooms by kind."""

    def __init__(
        self, slub: Slub, slowpath: Slowpath, page_cache: PageCache, buffer_heads: BufferHeads
    ) -> None:
        self.slub = slub
        self.slowpath = slowpath
        self.page_cache = page_cache
        self.buffer_heads = buffer_heads
        self.nr = [0] * len(NAMES)  # objects of each kind that live
        self._cache = [self._find(names) for names in NAMES]
        # of each kind: group -> objects charged to it (SLAB_ACCOUNT, XA_FLAGS_ACCOUNT)
        # DIFFERS: inodes, dentries and open files are charged to nobody; those of a program's files
        # are mostly in memory before it; bends kernel memory of a group that makes many files
        self.charged: list[dict[int, int]] = [{} for _ in NAMES]

    def _find(self, names: tuple[str, ...]) -> int:
        for name in names:
            cache = int(self.slub.find(name))
            if cache != NIL:
                return cache
        return NIL

    def alloc_one(self, kind: int, memcg: int = 0, gfp: int = GFP_KERNEL) -> int:
        """An object of `kind`, charged to a group: pfn of its slab, NO_SLAB if the machine lacks
        the cache, or SHORT_OF_MEMORY."""
        if memcg > 0 and not self._charge(kind, memcg, gfp):
            return SHORT_OF_MEMORY
        slab = take_object(self.slub, self.slowpath, self._cache[kind])
        if slab == SHORT_OF_MEMORY:
            self._uncharge(kind, memcg)
        else:
            self.nr[kind] += 1
        return slab

    def _size_bytes(self, kind: int) -> int:
        return int(self.slub.cache(self._cache[kind]).size_bytes) + OBJ_OVERHEAD_BYTES

    def _charge(self, kind: int, memcg: int, gfp: int) -> bool:
        if self._cache[kind] != NIL:
            if self.slowpath.charge_object(memcg, self._size_bytes(kind), gfp) != CHARGE_OK:
                return False
            self.charged[kind][memcg] = self.charged[kind].get(memcg, 0) + 1
        return True

    def _uncharge(self, kind: int, memcg: int) -> None:
        if self.charged[kind].get(memcg):
            self.charged[kind][memcg] -= 1
            self.slowpath.charge.uncharge_object(memcg, self._size_bytes(kind))

    def free_one(self, kind: int, slab: int) -> None:
        """Give back an object of `kind` that lies in `slab` (NO_SLAB: of any)."""
        require(self.nr[kind] > 0, "objects.free_one", f"no {NAMES[kind][0]} is out")
        self.nr[kind] -= 1
        if self._cache[kind] != NIL:
            self.slub.free_object(self._cache[kind], slab)
        if self.charged[kind]:
            self._uncharge_any(kind)

    def _uncharge_any(self, kind: int) -> None:
        """An object of which nobody knows whose it was is gone.

        # MODEL: it was charged, if any of its kind is, and to the oldest group that has some
        """
        holders = [memcg for memcg, nr in self.charged[kind].items() if nr]
        if holders:
            self._uncharge(kind, min(holders))

    def alloc(self, kind: int, nr: int, memcg: int = 0, gfp: int = GFP_KERNEL) -> int:
        """Take `nr` objects whose slabs nobody remembers: 0, or SHORT_OF_MEMORY (those taken stay
        taken)."""
        for _ in range(nr):
            if self.alloc_one(kind, memcg, gfp) == SHORT_OF_MEMORY:
                return SHORT_OF_MEMORY
        return 0

    def free(self, kind: int, nr: int) -> None:
        """Give back `nr` such objects."""
        for _ in range(nr):
            self.free_one(kind, NO_SLAB)

    def settle(self) -> None:
        """Give back the objects of tree nodes and buffer heads that vanished below."""
        spare = int(self.page_cache.spare_nodes)
        if spare:
            self.page_cache.spare_nodes = 0
            self.free(RADIX_NODE, spare)
        self.settle_heads()

    def settle_heads(self) -> None:
        """Give back the objects of buffer heads that vanished below, and with them their charge."""
        heads = self.buffer_heads
        spare = int(heads.spare)
        heads.spare = 0
        for i in range(spare):
            self.free_one(BUFFER_HEAD, int(heads.spare_slab[i]))

    def alloc_heads(self, pfn: int) -> int:
        """Take the buffer heads of a page that has none, and attach them: 0, or SHORT_OF_MEMORY."""
        heads = self.buffer_heads
        if self.charged[BUFFER_HEAD]:
            self.settle_heads()
        row = pfn * heads.blocks_per_page
        for i in range(heads.blocks_per_page):
            slab = self.alloc_one(BUFFER_HEAD, int(heads.mem.memcg[pfn]))
            if slab == SHORT_OF_MEMORY:
                for taken in range(i):
                    self.free_one(BUFFER_HEAD, int(heads.head_slab[row + taken]))
                return SHORT_OF_MEMORY
            heads.head_slab[row + i] = slab
        heads.attach(pfn)
        return 0

    def charged_bytes(self) -> int:
        """Bytes of the objects that are charged to groups."""
        return sum(
            self._size_bytes(kind) * sum(holders.values())
            for kind, holders in enumerate(self.charged)
            if holders
        )

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        charged = [sum(holders.values()) for holders in self.charged]
        return [("nr", list(self.nr)), ("charged", charged)]

    def verify(self) -> None:
        """Live tree nodes and buffer heads equal those handed out, less those not yet given
        back."""
        cache = self.page_cache
        live = int(cache.nr_nodes) + int(cache.spare_nodes)
        require(
            live == self.nr[RADIX_NODE],
            "objects.verify",
            f"{live} nodes, {self.nr[RADIX_NODE]} out",
        )
        heads = self.buffer_heads
        live = int(heads.nr) + int(heads.spare)
        require(
            live == self.nr[BUFFER_HEAD],
            "objects.verify",
            f"{live} heads, {self.nr[BUFFER_HEAD]} out",
        )
