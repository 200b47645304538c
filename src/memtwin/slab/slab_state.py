"""Owns the numbers of slab states and verdicts. Imports nothing."""

NEED_PAGE = -1  # alloc_object: hand in a page of `order_of(cache)` and ask again
SLAB_CPU = 1  # a CPU allocates from it; on no list
SLAB_CPU_PARTIAL = 2  # on a CPU's partial list
SLAB_NODE = 3  # on a node's partial list
SLAB_FULL = 4  # no free object; on the cache's list of full slabs
FREE_MASK = 0xFFFF  # of `private`: free objects
