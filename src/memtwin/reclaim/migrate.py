"""Owns moving a page to another frame: taken off its list, its owner and its entries pointed anew.

Imports page, address_space, page_cache, swap and reclaim/lru. Knows nothing of why a page moves or
of where the new frame comes from.

A page's life here: on LRU -> isolated (one more reference) -> moved, and the old frame freed, or
put back.
"""

from __future__ import annotations

import cython

from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.hardware.pte import PTE_DIRTY, PTE_PFN_MASK, PTE_PFN_SHIFT
from memtwin.page.flags import (
    PG_ANON,
    PG_DIRTY,
    PG_LOCKED,
    PG_LRU,
    PG_META,
    PG_MLOCKED,
    PG_PRIVATE,
    PG_SWAPBACKED,
    PG_SWAPCACHE,
    PG_WRITEBACK,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    NR_ISOLATED_ANON,
    NR_ISOLATED_FILE,
    UNEVICTABLE_PGS_MLOCKED,
    UNEVICTABLE_PGS_STRANDED,
)
from memtwin.page_cache.buffer_head import BufferHeads
from memtwin.page_cache.constants import DIRTY
from memtwin.page_cache.mapping import Mapping
from memtwin.page_cache.page_cache import PageCache
from memtwin.reclaim.compact_constants import MIGRATE_AGAIN, MIGRATE_ASYNC, MIGRATED
from memtwin.reclaim.lru import Lru
from memtwin.swap.swap import Swap
from memtwin.swap.swap_device import SwapDevice


@cython.final
@cython.cclass
class Migrate:
    """Moves single pages that lie on an LRU list."""

    def __init__(
        self, lru: Lru, rmap: Rmap, page_cache: PageCache, buffer_heads: BufferHeads, swap: Swap,
        clock: Clock, cost: CostTable,
    ) -> None:  # fmt: skip
        self.mem: MemMap = lru.mem
        self.vmstat: VmStat = lru.vmstat
        self.lru = lru
        self.rmap = rmap
        self.tables: PageTables = rmap.tables
        self.page_cache = page_cache
        self.buffer_heads = buffer_heads
        self.swap = swap
        self.clock = clock
        self.cost = cost

    @cython.cfunc
    @cython.exceptval(check=False)
    def has_mapping(self, pfn: cython.int) -> cython.int:
        """1 when a file, shmem or the swap cache holds the page (page_mapping())."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_SWAPCACHE:
            return 1
        return 1 if not flags & PG_ANON and self.mem.mapping[pfn] > 0 else 0

    @cython.ccall
    def isolate(self, pfn: cython.int, mode: cython.int) -> cython.int:
        """Take a page that may be moved off its list; 1, or 0 when it must stay.

        The tests of mm/compaction.c isolate_migratepages_block(), v6.1, for one page.
        """
        flags: cython.longlong = self.mem.flags[pfn]
        mapped: cython.int = self.has_mapping(pfn)
        if not flags & PG_LRU or self.mem.refcount[pfn] == 0:
            return 0
        if not mapped and self.mem.refcount[pfn] > self.rmap.page_mapcount(pfn):
            return 0
        if mode == MIGRATE_ASYNC and flags & PG_WRITEBACK:
            return 0
        if mode == MIGRATE_ASYNC and flags & PG_DIRTY and flags & PG_LOCKED:
            return 0
        self.mem.refcount[pfn] += 1
        self.lru.lruvecs.del_folio(self.lru.lruvecs.of_page(pfn), pfn)
        self.mem.flags[pfn] &= ~PG_LRU
        self.count_isolated(pfn, 1)
        return 1

    @cython.cfunc
    def count_isolated(self, pfn: cython.int, delta: cython.int) -> cython.int:
        """One page more or less is between the lists."""
        item: cython.int = NR_ISOLATED_FILE
        if self.mem.flags[pfn] & PG_SWAPBACKED:
            item = NR_ISOLATED_ANON
        self.vmstat.mod_node(self.lru.lruvecs.node_of(pfn), item, delta)
        return 0

    @cython.ccall
    def putback(self, pfn: cython.int) -> cython.int:
        """A page that was not moved goes back to its list (putback_movable_pages()); 0."""
        self.count_isolated(pfn, -1)
        self.lru.folio_add_lru(pfn)
        self.lru.folio_put(pfn)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def expected_refs(self, pfn: cython.int) -> cython.int:
        """References of an isolated page nobody else looks at (folio_expected_refs())."""
        expected: cython.int = 1 + self.mem.mapcount[pfn]
        if self.has_mapping(pfn):
            expected += 1
        if self.mem.flags[pfn] & PG_PRIVATE:
            expected += 1
        return expected

    @cython.ccall
    def move(self, source: cython.int, target: cython.int) -> cython.int:
        """Move the isolated page at `source` to the free frame `target` (refcount 1): MIGRATED,
        or MIGRATE_AGAIN and nothing has changed. The old frame is free afterwards.

        mm/migrate.c migrate_folio_unmap(), migrate_folio_move(), v6.1.
        """
        # DIFFERS: a page under I/O is given up at once; moving it later is what a later pass does,
        # where the kernel waits in the modes that may block; pgmigrate_fail and the blocks made
        # while files are written
        flags: cython.longlong = self.mem.flags[source]
        if flags & (PG_LOCKED | PG_WRITEBACK):
            return MIGRATE_AGAIN
        if flags & PG_META and self.mem.private[source] >> DIRTY:
            return MIGRATE_AGAIN  # buffer_migrate_folio_norefs(): blocks in use
        if self.mem.refcount[source] != self.expected_refs(source):
            return MIGRATE_AGAIN
        if self.rmap.collect(source) != self.mem.mapcount[source]:
            return MIGRATE_AGAIN
        self.move_entries(source, target)
        self.move_owner(source, target)
        self.move_row(source, target)
        self.clock.spend(self.cost.copy_page_ns)
        self.count_isolated(target, -1)
        self.lru.folio_add_lru(target)
        if self.mem.flags[target] & PG_MLOCKED:
            # unmapping takes the lock away and mapping gives it again, as the counters tell.
            # DIFFERS: its detour over the evictable list is not made; it ends where it began;
            # unevictable_pgs_rescued and _culled
            self.vmstat.count(UNEVICTABLE_PGS_STRANDED, 1)
            self.vmstat.count(UNEVICTABLE_PGS_MLOCKED, 1)
            self.lru.lru_add_drain()
        self.lru.folio_put(target)
        self.lru.page_alloc.put_page(source)
        return MIGRATED

    @cython.cfunc
    def move_entries(self, source: cython.int, target: cython.int) -> cython.int:
        """Point every entry that rmap.collect() found at the new frame; 0."""
        i: cython.int
        at: cython.longlong
        frame: cython.longlong = target
        for i in range(self.rmap.nr_found):
            at = self.rmap.found_at[i]
            if self.tables.pte[at] & PTE_DIRTY and self.mem.flags[source] & PG_ANON:
                self.mem.flags[source] |= PG_DIRTY
            self.tables.pte[at] &= ~(PTE_PFN_MASK << PTE_PFN_SHIFT)
            self.tables.pte[at] |= frame << PTE_PFN_SHIFT
        return 0

    @cython.cfunc
    def move_owner(self, source: cython.int, target: cython.int) -> cython.int:
        """Tell the file, the swap cache and the buffer heads (folio_migrate_mapping()); 0."""
        frame: cython.longlong = target
        i: cython.int
        if self.mem.flags[source] & PG_SWAPCACHE:
            entry: cython.longlong = self.mem.private[source]
            device: SwapDevice = self.swap.devices[self.swap.type_of(entry)]
            device.cache[self.swap.offset_of(entry)] = frame + 1
        elif not self.mem.flags[source] & PG_ANON and self.mem.mapping[source] > 0:
            mapping: Mapping = self.page_cache.mapping(self.mem.mapping[source])
            mapping.slots[self.mem.index[source]] = frame + 1
        if self.mem.flags[source] & PG_PRIVATE:
            blocks: cython.longlong = self.buffer_heads.blocks_per_page
            for i in range(self.buffer_heads.blocks_per_page):
                self.buffer_heads.head_slab[frame * blocks + i] = self.buffer_heads.head_slab[
                    source * blocks + i
                ]
        return 0

    @cython.cfunc
    def move_row(self, source: cython.int, target: cython.int) -> cython.int:
        """Copy the row, and leave the old one that of a frame with one reference; 0."""
        self.mem.flags[target] = self.mem.flags[source]
        self.mem.refcount[target] = self.mem.refcount[source]
        self.mem.mapcount[target] = self.mem.mapcount[source]
        self.mem.mapping[target] = self.mem.mapping[source]
        self.mem.index[target] = self.mem.index[source]
        self.mem.private[target] = self.mem.private[source]
        self.mem.memcg[target] = self.mem.memcg[source]
        self.lru.content.content[target] = self.lru.content.content[source]
        self.lru.content.content[source] = 0
        self.mem.flags[source] = 0
        self.mem.refcount[source] = 1
        self.mem.mapcount[source] = 0
        self.mem.mapping[source] = 0
        self.mem.private[source] = 0
        self.mem.memcg[source] = 0
        return 0
