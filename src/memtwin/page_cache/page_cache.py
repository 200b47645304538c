"""Owns all mappings: putting pages into the page cache and taking them out, with their counters.

Imports page_cache/mapping, memcg/table, slab and page. Has never heard of LRU lists or I/O. A page
is handed in: allocated, charged and locked by the caller, who also hands in the slab objects of new
tree nodes (`node_shortage` says how many). Objects of nodes that vanish go back to the slab here.

A page's life here: handed in -> in a slot (one reference held) -> deleted, perhaps leaving a
shadow.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import cython
import numpy as np

from memtwin.columns import array
from memtwin.errors import InternalError, require
from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import PG_DIRTY, PG_SWAPBACKED
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import NR_FILE_PAGES, NR_SHMEM, WORKINGSET_NODES
from memtwin.page.zone import Zones
from memtwin.page_cache.constants import BLOCK_DEVICE, FILE, KINDS, SHMEM
from memtwin.page_cache.mapping import Mapping


@cython.final
@cython.cclass
class PageCache:
    """The mappings of a machine by id (1 upwards; 0 is none)."""

    def __init__(self, mem: MemMap, zones: Zones, vmstat: VmStat, memcg: MemcgTable) -> None:
        self.mem = mem
        self.zones = zones
        self.vmstat = vmstat
        self.memcg = memcg
        self.mappings: list[Any] = [None]  # Mapping by id; None for a dropped one
        self.nr_nodes = 0  # == sum(mapping.nr_nodes)
        self.spare_nodes = 0  # slab objects of vanished nodes; file_io/objects gives them back
        # leaves that hold only shadows, oldest first: mm/workingset.c shadow_nodes, v6.12
        self.shadow_nodes: OrderedDict[int, int] = OrderedDict()

    @cython.ccall
    def new_mapping(
        self, ino: cython.longlong, kind: cython.int, size_bytes: cython.longlong
    ) -> cython.int:
        """Id of a new, empty mapping of `kind` (page_cache/mapping.py KINDS)."""
        mapping_id: cython.int = len(self.mappings)
        self.mappings.append(Mapping(mapping_id, ino, kind, size_bytes))
        return mapping_id

    @cython.ccall
    def mapping(self, mapping_id: cython.int) -> Mapping:
        """The mapping of that id, which must live."""
        found: Mapping = self.mappings[mapping_id]
        return found

    @cython.ccall
    def drop_mapping(self, mapping_id: cython.int) -> cython.int:
        """Forget a mapping without pages (its inode is evicted); its shadows go. 0."""
        mapping: Mapping = self.mappings[mapping_id]
        require(
            mapping.nr_pages == 0, "page_cache.drop_mapping", f"{mapping.nr_pages} pages are left"
        )
        index: cython.longlong = 0
        while mapping.nr_values > 0:
            if mapping.slots[index] < 0:
                self.erase_value(mapping, index)
            index += 1
        self.mappings[mapping_id] = None
        return 0

    @cython.cfunc
    def _node_of(self, pfn: cython.int) -> cython.int:
        return self.zones.zone(self.zones.zone_of(pfn)).node if self.zones.nr_nodes > 1 else 0

    @cython.ccall
    def node_shortage(self, mapping: Mapping, index: cython.longlong) -> cython.int:
        """Tree nodes (slab objects) to allocate before `index` can be filled; 0 when none."""
        if mapping.slot(index) != 0:
            return 0
        short: cython.int = mapping.missing_nodes(index) - self.spare_nodes
        return short if short > 0 else 0

    @cython.cfunc
    def _store(
        self, mapping: Mapping, index: cython.longlong, entry: cython.longlong
    ) -> cython.int:
        """Store `entry` and keep the count of nodes and of nodes that hold only shadows; 0."""
        was: cython.int = mapping.only_values(index) if mapping.nr_values > 0 else 0
        added: cython.int = mapping.store(index, entry)
        self.nr_nodes += added
        self.spare_nodes = self.spare_nodes - added if self.spare_nodes > added else 0
        if mapping.nr_values > 0 or was:
            self._note_shadows(mapping, index, was)
        return 0

    @cython.cfunc
    def _erase(self, mapping: Mapping, index: cython.longlong) -> cython.int:
        was: cython.int = mapping.only_values(index) if mapping.nr_values > 0 else 0
        gone: cython.int = mapping.erase(index)
        self.nr_nodes -= gone
        self.spare_nodes += gone
        if mapping.nr_values > 0 or was:
            self._note_shadows(mapping, index, was)
        return 0

    @cython.cfunc
    def _note_shadows(
        self, mapping: Mapping, index: cython.longlong, was: cython.int
    ) -> cython.int:
        """mm/workingset.c workingset_update_node(), v6.12."""
        now: cython.int = mapping.only_values(index)
        if now == was:
            return 0
        key: cython.longlong = mapping.id
        key = (key << 40) | (index >> 6)
        if now:
            self.shadow_nodes[key] = 1
            # MODEL: nodes are counted on node 0; a radix_tree_node is a slab object, not a frame
            self.vmstat.mod_node(0, WORKINGSET_NODES, 1)
        else:
            self.shadow_nodes.pop(key, None)
            self.vmstat.mod_node(0, WORKINGSET_NODES, -1)
        return 0

    @cython.ccall
    def add_to_page_cache(
        self, mapping: Mapping, index: cython.longlong, pfn: cython.int
    ) -> cython.longlong:
        """Put the page into the empty slot: the shadow that lay there (> 0), or 0.

        Takes one reference. mm/filemap.c __filemap_add_folio(), v6.12.
        """
        old: cython.longlong = mapping.slot(index)
        if old > 0:
            raise InternalError(
                f"page_cache.add_to_page_cache: slot {index} of {mapping.id} is taken"
            )
        entry: cython.longlong = pfn
        self._store(mapping, index, entry + 1)
        self.mem.mapping[pfn] = mapping.id
        self.mem.index[pfn] = index
        self.mem.refcount[pfn] += 1
        node: cython.int = self._node_of(pfn)
        self.memcg.mod_lruvec_page_state(pfn, node, NR_FILE_PAGES, 1)
        if mapping.kind == SHMEM:
            self.mem.flags[pfn] |= PG_SWAPBACKED
            self.memcg.mod_lruvec_page_state(pfn, node, NR_SHMEM, 1)
        return -old

    @cython.ccall
    def delete_from_page_cache(
        self, mapping: Mapping, index: cython.longlong, shadow: cython.longlong
    ) -> cython.int:
        """Take the page out of its slot, leaving `shadow` (> 0) or nothing (0); its pfn.

        Drops the cache's reference: the caller frees the page when none is left. A dirty page must
        be cleaned first. mm/filemap.c __filemap_remove_folio(), v6.12.
        """
        pfn: cython.int = self._take_out(mapping, index)
        if shadow > 0:
            self._store(mapping, index, -shadow)
        else:
            self._erase(mapping, index)
        return pfn

    @cython.cfunc
    def _take_out(self, mapping: Mapping, index: cython.longlong) -> cython.int:
        entry: cython.longlong = mapping.slot(index)
        if entry <= 0:
            raise InternalError(
                f"page_cache.delete_from_page_cache: no page {index} in {mapping.id}"
            )
        pfn: cython.int = cython.cast(cython.int, entry - 1)
        if self.mem.flags[pfn] & PG_DIRTY and mapping.kind != SHMEM:
            raise InternalError(f"page_cache.delete_from_page_cache: page {pfn} is dirty")
        node: cython.int = self._node_of(pfn)
        self.memcg.mod_lruvec_page_state(pfn, node, NR_FILE_PAGES, -1)
        if mapping.kind == SHMEM:
            self.memcg.mod_lruvec_page_state(pfn, node, NR_SHMEM, -1)
        self.mem.mapping[pfn] = 0
        self.mem.refcount[pfn] -= 1
        return pfn

    @cython.ccall
    def replace_by_swap(
        self, mapping: Mapping, index: cython.longlong, entry: cython.longlong
    ) -> cython.int:
        """A shmem page goes to swap `entry` (> 0): mm/shmem.c shmem_delete_from_page_cache(). Its
        pfn."""
        pfn: cython.int = self._take_out(mapping, index)
        self._store(mapping, index, -entry)
        return pfn

    @cython.ccall
    def erase_value(self, mapping: Mapping, index: cython.longlong) -> cython.longlong:
        """Forget the shadow or swap entry at `index`: that entry (> 0), or 0 when there was
        none."""
        old: cython.longlong = mapping.slot(index)
        if old < 0:
            self._erase(mapping, index)
            return -old
        return 0

    @cython.ccall
    def find_get_entry(self, mapping: Mapping, index: cython.longlong) -> cython.int:
        """pfn of the page at `index`, or -1 (no reference is taken)."""
        entry: cython.longlong = mapping.slot(index)
        return cython.cast(cython.int, entry - 1) if entry > 0 else -1

    @cython.ccall
    def reclaim_shadow_node(self) -> cython.int:
        """Drop the oldest node of only shadows: shadows forgotten, 0 when there is no such node.

        mm/workingset.c shadow_lru_isolate(), v6.12.
        """
        if len(self.shadow_nodes) == 0:
            return 0
        key: cython.longlong = next(iter(self.shadow_nodes))
        mapping: Mapping = self.mappings[key >> 40]
        leaf: cython.longlong = key & ((cython.cast(cython.longlong, 1) << 40) - 1)
        index: cython.longlong
        found: cython.int = 0
        for index in range(leaf << 6, (leaf + 1) << 6):
            if mapping.slot(index) < 0:
                self._erase(mapping, index)
                found += 1
        return found

    def live_mappings(self) -> list[Mapping]:
        """Mappings that exist, by id."""
        return [mapping for mapping in self.mappings if mapping is not None]

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        found: list[tuple[str, object]] = [
            ("nr_nodes", self.nr_nodes),
            ("spare_nodes", self.spare_nodes),
        ]
        found.append(("shadow_nodes", list(self.shadow_nodes)))
        for mapping in self.live_mappings():
            found += [(f"{mapping.id}.{name}", value) for name, value in mapping.columns()]
        return found

    def verify(self) -> None:
        """Every slot's page knows its slot; counters equal what the slots hold."""
        pages = dict.fromkeys(range(len(KINDS)), 0)
        nodes = 0
        where: str
        for mapping in self.live_mappings():
            mapping.verify()
            where = f"page_cache.verify {mapping.id}"
            nodes += mapping.nr_nodes
            pages[mapping.kind] += mapping.nr_pages
            self._verify_slots(mapping, where)
        where = "page_cache.verify"
        require(nodes == self.nr_nodes, where, f"nr_nodes {self.nr_nodes}, mappings have {nodes}")
        counted = self.vmstat.global_node_page_state(NR_SHMEM)
        require(counted >= pages[SHMEM], where, f"nr_shmem {counted}, slots hold {pages[SHMEM]}")
        held = pages[FILE] + pages[SHMEM] + pages[BLOCK_DEVICE]
        counted = self.vmstat.global_node_page_state(NR_FILE_PAGES)
        # more when the machine was seeded with pages that no mapping of ours holds
        require(counted >= held, where, f"nr_file_pages {counted}, slots hold {held}")

    def _verify_slots(self, mapping: Mapping, where: str) -> None:
        """The pages of one mapping: where they say they are, their references, which are dirty."""
        slots = array(mapping.slots)[: mapping.nr_slots]
        indexes = np.flatnonzero(slots > 0)
        pfns = slots[indexes] - 1
        stray = (array(self.mem.mapping)[pfns] != mapping.id) | (
            array(self.mem.index)[pfns] != indexes
        )
        for at in np.flatnonzero(stray):
            said = (self.mem.mapping[pfns[at]], self.mem.index[pfns[at]])
            require(False, where, f"slot {indexes[at]} has {pfns[at]}, which is at {said}")
        for pfn in pfns[array(self.mem.refcount)[pfns] <= 0]:
            require(False, where, f"page {pfn} has no reference")
        if mapping.kind == SHMEM:
            return
        dirty = indexes[array(self.mem.flags)[pfns] & PG_DIRTY != 0]
        for index in dirty[(dirty < mapping.dirty_start) | (dirty >= mapping.dirty_end)]:
            require(False, where, f"dirty page {index} outside the dirty range")
        found = len(dirty)
        require(
            found == mapping.nr_dirty, where, f"nr_dirty {mapping.nr_dirty}, flags say {found}"
        )
