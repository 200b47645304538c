"""Owns the slab objects that swapping takes: nodes of the swap cache's trees, zsmalloc's handles
and zspages.

Imports slab and page. Has never heard of slots or of what is stored. Reclaim itself asks, so a
slab's page may come from the reserves (PF_MEMALLOC). A machine without slabs, or without a cache,
gives no object.
"""

from __future__ import annotations

import cython

from memtwin.page.gfp import ALLOC_NO_WATERMARKS
from memtwin.page.page_alloc import PageAlloc
from memtwin.slab.slab_state import NEED_PAGE
from memtwin.slab.slub import Slub
from memtwin.units import NIL

# kind -> caches to look for, in order: SLUB merges caches of one size, and the first name stays
NAMES: tuple[tuple[str, ...], ...] = (
    ("radix_tree_node",),
    ("zs_handle",),
    ("zspage", "ftrace_event_field"),  # struct zspage, 56 bytes
)


@cython.final
@cython.cclass
class SwapObjects:
    """Takes and gives back objects by kind (TREE_NODE, ZS_HANDLE, ZSPAGE)."""

    def __init__(self, slub: Slub, page_alloc: PageAlloc) -> None:
        self.slub = slub
        self.page_alloc = page_alloc
        self.caches: list[int] = [NIL] * len(NAMES)
        self.find_caches()

    def find_caches(self) -> None:
        """Look the caches up again (after more of them were made)."""
        for kind, names in enumerate(NAMES):
            found = [int(self.slub.find(name)) for name in names]
            self.caches[kind] = next((cache for cache in found if cache != NIL), NIL)

    @cython.ccall
    def take(self, kind: cython.int) -> cython.int:
        """pfn of the slab that a new object lies in; NIL when there is no cache or no memory."""
        cache: cython.int = self.caches[kind]
        if cache == NIL:
            return NIL
        slab: cython.int = self.slub.alloc_object(cache)
        while slab == NEED_PAGE:
            gfp: cython.int = self.slub.gfp_of(cache)
            order: cython.int = self.slub.order_of(cache)
            pfn: cython.int = self.page_alloc.alloc_fast(gfp, order)
            if pfn < 0:
                pfn = self.page_alloc.get_page_from_freelist(gfp, order, ALLOC_NO_WATERMARKS)
            if pfn < 0:
                return NIL
            self.slub.add_slab(cache, pfn)
            slab = self.slub.alloc_object(cache)
        return slab

    @cython.ccall
    def give(self, kind: cython.int, slab: cython.int) -> cython.int:
        """An object goes back to its slab (NIL: there was none); 0."""
        if slab != NIL:
            self.slub.free_object(self.caches[kind], slab)
        return 0
