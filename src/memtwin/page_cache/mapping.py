"""Owns one file's cached pages: the slots of its xarray, and how many nodes that tree would have.

Imports columns and units. Has never heard of LRU lists, devices or processes. A slot holds 0
(empty), pfn + 1 (a page) or a negative number (a shadow entry of a file, a swap entry of shmem).

The kernel keeps slots in an xarray of 64-way nodes (include/linux/xarray.h XA_CHUNK_SHIFT 6,
v6.12). Here they are one column, and the nodes that the tree would have are counted, because each
is a `radix_tree_node` object and a node of nothing but shadows is reclaimed.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, grown, zeros
from memtwin.errors import require
from memtwin.page_cache.constants import NODE_SHIFT, SHMEM

_FIRST_SLOTS = 64

COLUMNS = (
    Column(
        "slots",
        "i8",
        "page_cache/mapping",
        "0 empty, pfn + 1 a page, negative a shadow or swap entry",
    ),
    Column("level1", "i1", "page_cache/mapping", "used slots of each node of 64 slots; 0 no node"),
    Column("values", "i1", "page_cache/mapping", "how many of those hold a shadow or swap entry"),
    Column("level2", "i1", "page_cache/mapping", "used children of each node above 64 leaves"),
    Column("level3", "i1", "page_cache/mapping", "used children of each node above 64 of level2"),
    Column("level4", "i1", "page_cache/mapping", "used children of each node above 64 of level3"),
)


@cython.final
@cython.cclass
class Mapping:
    """One struct address_space: a file's, a shmem object's or a block device's pages."""

    def __init__(self, mapping_id: int, ino: int, kind: int, size_bytes: int) -> None:
        self.id = mapping_id
        self.ino = ino
        self.kind = kind
        self.size_bytes = size_bytes
        self.nr_slots = _FIRST_SLOTS
        self.slots = zeros(_FIRST_SLOTS, "i8")
        self.level1 = zeros(1, "i1")
        self.values = zeros(1, "i1")
        self.level2 = zeros(1, "i1")
        self.level3 = zeros(1, "i1")
        self.level4 = zeros(1, "i1")
        self.height = 0
        self.nr_pages = 0
        self.nr_values = 0
        self.nr_nodes = 0
        self.nr_dirty = 0
        self.dirty_start = 0  # every dirty page lies in [dirty_start, dirty_end)
        self.dirty_end = 0
        self.writeback_index = 0
        self.writably_mapped = 0
        self.block_base = (
            0  # the device's block (in pages) of page 0: a file is taken as contiguous
        )
        self.mapped_end = 0  # pages below have blocks on the device
        self.mapped_extra: set[int] = set()  # pages further on that have, too

    @cython.ccall
    def grow_to(self, index: cython.longlong) -> cython.int:
        """Make room for a slot at `index`; 0."""
        if index < self.nr_slots:
            return 0
        length: cython.longlong = self.nr_slots
        while length <= index:
            length *= 2
        self.slots = grown(self.slots, length)
        self.level1 = grown(self.level1, (length >> 6) + 1)
        self.values = grown(self.values, (length >> 6) + 1)
        self.level2 = grown(self.level2, (length >> 12) + 1)
        self.level3 = grown(self.level3, (length >> 18) + 1)
        self.level4 = grown(self.level4, (length >> 24) + 1)
        self.nr_slots = length
        return 0

    @cython.ccall
    def slot(self, index: cython.longlong) -> cython.longlong:
        """What lies at page `index`: 0, pfn + 1, or a negative entry."""
        if index < 0 or index >= self.nr_slots:
            return 0
        return self.slots[index]

    @cython.cfunc
    @cython.exceptval(check=False)
    def _levels(self, index: cython.longlong) -> cython.int:
        """Height of the smallest tree that reaches `index`."""
        height: cython.int = 0
        while index > 0:
            height += 1
            index >>= 6
        return height

    @cython.cfunc
    @cython.exceptval(check=False)
    def _used(self, level: cython.int, node: cython.longlong) -> cython.int:
        """Used slots of node number `node` on `level` (1 is the leaves)."""
        if level == 1:
            return self.level1[node]
        if level == 2:
            return self.level2[node]
        if level == 3:
            return self.level3[node]
        return self.level4[node]

    @cython.cfunc
    @cython.exceptval(check=False)
    def _add_used(self, level: cython.int, node: cython.longlong, delta: cython.int) -> cython.int:
        """Change that figure by `delta`; the new one."""
        if level == 1:
            self.level1[node] += delta
        elif level == 2:
            self.level2[node] += delta
        elif level == 3:
            self.level3[node] += delta
        else:
            self.level4[node] += delta
        return self._used(level, node)

    @cython.ccall
    def missing_nodes(self, index: cython.longlong) -> cython.int:
        """How many nodes storing at the empty slot `index` would add to the tree."""
        self.grow_to(index)
        if self.height > 0 and self.level1[index >> 6] > 0:
            return 0
        missing: cython.int = 0
        height: cython.int = self.height
        needed: cython.int = self._levels(index)
        if needed > height:
            if self.nr_pages + self.nr_values > 0:
                missing = needed - height
            height = needed
        level: cython.int = 1
        node: cython.longlong = index
        while level <= height:
            node >>= 6
            if node == 0 and level > self.height and self.nr_pages + self.nr_values > 0:
                return missing  # grown above what is there: counted already
            if self._used(level, node) > 0:
                return missing
            missing += 1
            level += 1
        return missing

    @cython.ccall
    def store(self, index: cython.longlong, entry: cython.longlong) -> cython.int:
        """Put `entry` (not 0) at `index`, empty or not; nodes added to the tree."""
        self.grow_to(index)
        old: cython.longlong = self.slots[index]
        leaf: cython.longlong = index >> 6
        before: cython.int = self.nr_nodes
        if old == 0:
            self._extend(index)
        elif old < 0:
            self.nr_values -= 1
            self.values[leaf] -= 1
        else:
            self.nr_pages -= 1
        self.slots[index] = entry
        if entry < 0:
            self.nr_values += 1
            self.values[leaf] += 1
        else:
            self.nr_pages += 1
        return self.nr_nodes - before

    @cython.ccall
    def erase(self, index: cython.longlong) -> cython.int:
        """Empty the slot `index`; nodes that leave the tree."""
        old: cython.longlong = self.slots[index]
        if old == 0:
            return 0
        before: cython.int = self.nr_nodes
        leaf: cython.longlong = index >> 6
        if old < 0:
            self.nr_values -= 1
            self.values[leaf] -= 1
        else:
            self.nr_pages -= 1
        self.slots[index] = 0
        level: cython.int = 1
        node: cython.longlong = leaf
        while level <= self.height:
            if self._add_used(level, node, -1) > 0:
                break
            self.nr_nodes -= 1
            node >>= 6
            level += 1
        if self.nr_pages + self.nr_values == 0:
            self.height = 0
        else:
            self._shrink()
        return before - self.nr_nodes

    @cython.cfunc
    def _extend(self, index: cython.longlong) -> cython.void:
        """Count the path to the empty slot `index` (lib/xarray.c xas_expand(), v6.12)."""
        needed: cython.int = self._levels(index)
        while self.height < needed:
            if self.nr_pages + self.nr_values == 0:
                self.height = needed
                break
            self.height += 1
            self._add_used(self.height, 0, 1)
            self.nr_nodes += 1
        level: cython.int = 1
        node: cython.longlong = index >> 6
        while level <= self.height:
            if self._add_used(level, node, 1) > 1:
                return
            self.nr_nodes += 1
            node >>= 6
            level += 1

    @cython.cfunc
    def _shrink(self) -> cython.void:
        """Drop roots whose only child is the first (lib/xarray.c xas_shrink(), v6.12)."""
        while self.height > 0 and self._used(self.height, 0) == 1:
            if self.height == 1:
                if self.slots[0] == 0:
                    return
            elif self._used(self.height - 1, 0) == 0:
                return
            self._add_used(self.height, 0, -1)
            self.nr_nodes -= 1
            self.height -= 1

    @cython.ccall
    def only_values(self, index: cython.longlong) -> cython.int:
        """1 when the node over `index` holds nothing but shadows: one of workingset_nodes."""
        leaf: cython.longlong = index >> 6
        if self.kind == SHMEM or self.height == 0 or index >= self.nr_slots:
            return 0
        return 1 if self.values[leaf] > 0 and self.values[leaf] == self.level1[leaf] else 0

    @cython.ccall
    def next_miss(self, index: cython.longlong, max_scan: cython.longlong) -> cython.longlong:
        """First index >= `index` without a page, among `max_scan`; index + max_scan when all have
        one."""
        at: cython.longlong = index
        while at < index + max_scan:
            if at >= self.nr_slots or self.slots[at] <= 0:
                return at
            at += 1
        return at

    @cython.ccall
    def prev_miss(self, index: cython.longlong, max_scan: cython.longlong) -> cython.longlong:
        """First index <= `index` without a page, among `max_scan`, going down; -1 below the
        file."""
        at: cython.longlong = index
        while at > index - max_scan:
            if at < 0 or at >= self.nr_slots or self.slots[at] <= 0:
                return at
            at -= 1
        return at

    @cython.ccall
    def end_index(self) -> cython.longlong:
        """Number of pages that the file's size covers."""
        return (self.size_bytes + 4095) >> 12

    @cython.ccall
    def is_mapped(self, index: cython.longlong) -> cython.int:
        """1 when the page has blocks on the device; 0 is a hole or a delayed allocation."""
        if index < self.mapped_end:
            return 1
        return 1 if self.mapped_extra and index in self.mapped_extra else 0

    @cython.ccall
    def map_page(self, index: cython.longlong) -> cython.int:
        """Give the page blocks; 1 when it had none."""
        if self.is_mapped(index):
            return 0
        if index != self.mapped_end:
            self.mapped_extra.add(index)
            return 1
        self.mapped_end += 1
        while self.mapped_extra and self.mapped_end in self.mapped_extra:
            self.mapped_extra.remove(self.mapped_end)
            self.mapped_end += 1
        return 1

    @cython.ccall
    def unmap_from(self, index: cython.longlong) -> cython.int:
        """Pages from `index` on lose their blocks (truncate); 0."""
        if index < self.mapped_end:
            self.mapped_end = index
        self.mapped_extra = {page for page in self.mapped_extra if page < index}
        return 0

    @cython.ccall
    def note_dirty(self, index: cython.longlong) -> cython.int:
        """The page at `index` became dirty; 0."""
        if self.nr_dirty == 0:
            self.dirty_start = index
            self.dirty_end = index + 1
        else:
            if index < self.dirty_start:
                self.dirty_start = index
            if index >= self.dirty_end:
                self.dirty_end = index + 1
        self.nr_dirty += 1
        return 0

    @cython.ccall
    def note_clean(self, index: cython.longlong) -> cython.int:
        """The page at `index` is no longer dirty; 0."""
        self.nr_dirty -= 1
        if index == self.dirty_start:
            self.dirty_start += 1
        return 0

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        fields = ("id", "ino", "kind", "size_bytes", "height", "nr_pages", "nr_values", "nr_nodes")
        dirty = ("nr_dirty", "dirty_start", "dirty_end", "writeback_index", "mapped_end")
        found: list[tuple[str, object]] = [
            (name, getattr(self, name)) for name in (*fields, *dirty)
        ]
        return [*found, *((column.name, getattr(self, column.name)) for column in COLUMNS)]

    def verify(self) -> None:
        """Recount everything from the slots; InternalError names both sides."""
        entries = {i: int(self.slots[i]) for i in range(self.nr_slots) if self.slots[i] != 0}
        pages = sum(entry > 0 for entry in entries.values())
        where = f"mapping.verify {self.id}"
        require(pages == self.nr_pages, where, f"nr_pages {self.nr_pages}, slots hold {pages}")
        values = len(entries) - pages
        require(values == self.nr_values, where, f"nr_values {self.nr_values}, slots hold {values}")
        nodes = 0
        children = set(entries)
        for _ in range(self.height):
            children = {child >> NODE_SHIFT for child in children}
            nodes += len(children)
        require(nodes == self.nr_nodes, where, f"nr_nodes {self.nr_nodes}, the tree has {nodes}")
        for leaf in range(self.nr_slots >> NODE_SHIFT):
            span = [self.slots[i] for i in range(leaf << 6, (leaf + 1) << 6)]
            held = sum(entry < 0 for entry in span)
            require(
                held == self.values[leaf], where, f"values[{leaf}] {self.values[leaf]}, has {held}"
            )
