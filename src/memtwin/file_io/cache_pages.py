"""Owns bringing a new page into the page cache: frame, charge, tree nodes, slot, refault, LRU.

Imports reclaim, page_cache, file_io/objects. Has never heard of files, offsets or devices. A new
page comes locked and not uptodate, with one reference of the cache; nothing has changed when it
cannot come.
"""

from __future__ import annotations

import cython

from memtwin.file_io.objects import RADIX_NODE, Objects
from memtwin.memcg.constants import CHARGE_OK
from memtwin.page.flags import PG_LOCKED
from memtwin.page.gfp import GFP_WRITE, NEED_OOM
from memtwin.page.mem_map import MemMap
from memtwin.page_cache.mapping import Mapping
from memtwin.page_cache.page_cache import PageCache
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.slowpath import Slowpath
from memtwin.reclaim.workingset import Workingset


@cython.final
@cython.cclass
class CachePages:
    """Adds pages on behalf of the memcg `memcg_id`, which the machine sets with the running
    task."""

    def __init__(
        self,
        mem: MemMap,
        page_cache: PageCache,
        slowpath: Slowpath,
        lru: Lru,
        workingset: Workingset,
        objects: Objects,
    ) -> None:
        self.mem = mem
        self.page_cache = page_cache
        self.slowpath = slowpath
        self.lru = lru
        self.workingset = workingset
        self.objects = objects
        self.memcg_id = 0

    @cython.ccall
    def add_new(self, mapping: Mapping, index: cython.longlong, gfp: cython.int) -> cython.int:
        """A new page at the pageless `index`: pfn, NEED_OOM or ALLOC_FAILED. filemap_add_folio(),
        v6.12."""
        pfn: cython.int = self.slowpath.alloc_page(gfp, 0)
        if pfn < 0:
            return pfn
        if self.memcg_id > 0 and self.slowpath.charge_page(pfn, self.memcg_id, gfp) != CHARGE_OK:
            self.lru.folio_put(pfn)
            return NEED_OOM
        short: cython.int = self.page_cache.node_shortage(mapping, index)
        if short > 0 and self.objects.alloc(RADIX_NODE, short, self.memcg_id, gfp) != 0:
            self.lru.folio_put(pfn)
            return NEED_OOM
        self.mem.flags[pfn] |= PG_LOCKED
        shadow: cython.longlong = self.page_cache.add_to_page_cache(mapping, index, pfn)
        if shadow > 0 and not gfp & GFP_WRITE:
            self.workingset.workingset_refault(pfn, shadow)
        self.lru.folio_add_lru(pfn)
        self.mem.refcount[pfn] -= 1  # the allocation's: the cache holds its own
        return pfn
