"""Owns a page's way to dirty and back, with every counter that follows it.

Imports page_cache, memcg/table and page. Has never heard of who writes pages or when.

clean -> folio_mark_dirty -> dirty -> clear_dirty_for_io -> (I/O under way: reclaim/folio_io) ->
clean. `nr_dirtied` counts for balance_dirty_pages: the running task's pages since it last looked.
"""

from __future__ import annotations

import cython

from memtwin.memcg.table import MemcgTable
from memtwin.page.flags import PG_DIRTY, PG_RECLAIM
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import NR_DIRTIED, NR_DIRTY, NR_ZONE_WRITE_PENDING
from memtwin.page.zone import Zones
from memtwin.page_cache.constants import SHMEM
from memtwin.page_cache.mapping import Mapping


@cython.final
@cython.cclass
class Dirty:
    """Marks pages dirty and clean."""

    def __init__(self, mem: MemMap, zones: Zones, vmstat: VmStat, memcg: MemcgTable) -> None:
        self.mem = mem
        self.zones = zones
        self.vmstat = vmstat
        self.memcg = memcg
        self.nr_dirtied = 0
        self.newly_dirty: list[
            int
        ] = []  # mappings that got their first dirty page; the flusher takes them

    @cython.cfunc
    def _node_of(self, zone_id: cython.int) -> cython.int:
        return self.zones.zone(zone_id).node if self.zones.nr_nodes > 1 else 0

    @cython.ccall
    def folio_mark_dirty(self, mapping: Mapping, pfn: cython.int) -> cython.int:
        """1 when the page was clean: mm/page-writeback.c folio_account_dirtied(), v6.12."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_DIRTY:
            return 0
        # mm/page-writeback.c folio_mark_dirty(), v6.12 clears PG_reclaim: it is in use again
        self.mem.flags[pfn] = (flags | PG_DIRTY) & ~PG_RECLAIM
        if mapping.kind == SHMEM:
            return 1  # mm/shmem.c shmem_aops (noop_dirty_folio), v6.12: not counted
        if mapping.nr_dirty == 0:
            self.newly_dirty.append(mapping.id)
        mapping.note_dirty(self.mem.index[pfn])
        zone_id: cython.int = self.zones.zone_of(pfn)
        node: cython.int = self._node_of(zone_id)
        self.memcg.mod_lruvec_page_state(pfn, node, NR_DIRTY, 1)
        self.vmstat.mod_zone(zone_id, NR_ZONE_WRITE_PENDING, 1)
        self.vmstat.mod_node(node, NR_DIRTIED, 1)
        self.nr_dirtied += 1
        return 1

    @cython.ccall
    def clear_dirty(self, mapping: Mapping, pfn: cython.int) -> cython.int:
        """1 when the page was dirty: folio_clear_dirty_for_io() and folio_account_cleaned(), v6.12.

        The caller has write-protected its mappings (page_mkclean) or is throwing the page away.
        """
        flags: cython.longlong = self.mem.flags[pfn]
        if not flags & PG_DIRTY:
            return 0
        self.mem.flags[pfn] = flags & ~PG_DIRTY
        if mapping.kind == SHMEM:
            return 1
        mapping.note_clean(self.mem.index[pfn])
        zone_id: cython.int = self.zones.zone_of(pfn)
        self.memcg.mod_lruvec_page_state(pfn, self._node_of(zone_id), NR_DIRTY, -1)
        self.vmstat.mod_zone(zone_id, NR_ZONE_WRITE_PENDING, -1)
        return 1
