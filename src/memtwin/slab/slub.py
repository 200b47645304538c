"""Owns the slabs of all caches, as SLUB keeps them: per-CPU slab, per-CPU partial, node partial,
full.

Imports page/ and kmem_cache. Has never heard of reclaim or of what an object is. A page is handed
in (`add_slab`); an emptied slab's page goes back to the page allocator, which lies below.

An object is known by the slab it lies in: allocating answers the slab's pfn, freeing names it. An
owner that does not remember passes NIL, and an object of the oldest full slab is freed.

A slab's life: handed in -> per-CPU slab -> full -> (an object is freed) per-CPU partial -> node
partial -> per-CPU slab again, or empty and given back. Its row has PG_SLAB; `private` is cache_id
<< 16 | free objects, `index` the state.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.errors import InternalError
from memtwin.page.flags import PG_HEAD, PG_SLAB
from memtwin.page.gfp import GFP_KERNEL, GFP_RECLAIMABLE
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat_items import NR_SLAB_RECLAIMABLE, NR_SLAB_UNRECLAIMABLE
from memtwin.page.zone import Zone
from memtwin.slab.kmem_cache import KmemCache
from memtwin.slab.slab_state import (
    FREE_MASK,
    NEED_PAGE,
    SLAB_CPU,
    SLAB_CPU_PARTIAL,
    SLAB_FULL,
    SLAB_NODE,
)
from memtwin.units import NIL

COLUMNS = (
    Column(
        "cpu_slab",
        "i4",
        "slub",
        "slab objects are taken from; row cache_id * nr_cpus + cpu; -1 none",
    ),
    Column("cpu_partial_head", "i4", "slub", "list of per-CPU partial slabs, newest first"),
    Column("nr_cpu_partial", "i4", "slub", "slabs on that list, as put_cpu_partial() counts them"),
    Column("nr_partial", "i4", "slub", "slabs on a node's list; row cache_id * nr_nodes + node"),
)
_MAX_CACHES = 1024


@cython.final
@cython.cclass
class Slub:
    """All caches of a machine."""

    def __init__(self, page_alloc: PageAlloc) -> None:
        self.page_alloc = page_alloc
        mem_map: MemMap = page_alloc.mem_map
        self.mem_map = mem_map
        self.kernel = page_alloc.kernel
        self.nr_cpus = page_alloc.nr_cpus
        self.nr_nodes = page_alloc.zones.nr_nodes
        self.caches: list[KmemCache] = []
        self.ids: dict[str, int] = {}
        self.cpu_slab = zeros(_MAX_CACHES * self.nr_cpus, "i4")
        self.cpu_partial_head = zeros(_MAX_CACHES * self.nr_cpus, "i4")
        self.nr_cpu_partial = zeros(_MAX_CACHES * self.nr_cpus, "i4")
        self.nr_partial = zeros(_MAX_CACHES * self.nr_nodes, "i4")
        self.nr_given_back = 0  # pages of emptied slabs since the beginning

    def create(self, name: str, size_bytes: int, order: int, objs_per_slab: int) -> int:
        """A new, empty cache; its id."""
        cache = KmemCache(len(self.caches), name, size_bytes, order, objs_per_slab)
        if cache.cache_id >= _MAX_CACHES or name in self.ids:
            raise InternalError(f"Slub.create: cache {name!r} is one too many or there already")
        self.caches.append(cache)
        self.ids[name] = cache.cache_id
        cache.full_head = self.mem_map.new_head()
        cache.first_partial_head = self.mem_map.new_head()
        for _ in range(self.nr_nodes - 1):
            self.mem_map.new_head()
        for cpu in range(self.nr_cpus):
            self.cpu_slab[cache.cache_id * self.nr_cpus + cpu] = NIL
            self.cpu_partial_head[cache.cache_id * self.nr_cpus + cpu] = self.mem_map.new_head()
        return cache.cache_id

    def find(self, name: str) -> int:
        """Id of the cache `name`, or NIL when the machine has none (or SLUB merged it away)."""
        return self.ids.get(name, NIL)

    @cython.ccall
    def cache(self, cache_id: cython.int) -> KmemCache:
        """The cache numbered `cache_id`."""
        found: KmemCache = self.caches[cache_id]
        return found

    @cython.ccall
    def gfp_of(self, cache_id: cython.int) -> cython.int:
        """Request for a page of this cache."""
        cache: KmemCache = self.caches[cache_id]
        return GFP_KERNEL | GFP_RECLAIMABLE if cache.reclaimable else GFP_KERNEL

    @cython.ccall
    def order_of(self, cache_id: cython.int) -> cython.int:
        """Order of a slab of this cache."""
        cache: KmemCache = self.caches[cache_id]
        return cache.order

    @cython.ccall
    @cython.exceptval(check=False)
    def alloc_object(self, cache_id: cython.int) -> cython.int:
        """Take an object on the current CPU; pfn of its slab, or NEED_PAGE and nothing changed."""
        # mm/slub.c ___slab_alloc(), v6.1 and v6.12
        cache: KmemCache = self.caches[cache_id]
        row: cython.int = cache_id * self.nr_cpus + self.page_alloc.cpu
        pfn: cython.int = self.cpu_slab[row]
        if pfn < 0:
            pfn = self._next_cpu_slab(cache, row)
            if pfn < 0:
                return NEED_PAGE
            self.cpu_slab[row] = pfn
            self.mem_map.index[pfn] = SLAB_CPU
        self.mem_map.private[pfn] -= 1
        cache.inuse += 1
        if self.mem_map.private[pfn] & FREE_MASK == 0:
            self.cpu_slab[row] = NIL
            self.mem_map.index[pfn] = SLAB_FULL
            self.mem_map.list_add_tail(cache.full_head, pfn)
        return pfn

    @cython.cfunc
    @cython.exceptval(check=False)
    def _next_cpu_slab(self, cache: KmemCache, row: cython.int) -> cython.int:
        head: cython.int = self.cpu_partial_head[row]
        pfn: cython.int = self.mem_map.list_first(head)
        if pfn >= 0:
            self.mem_map.list_del(pfn)
            self.nr_cpu_partial[row] -= 1
            return pfn
        return self._get_partial_node(cache, row)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _get_partial_node(self, cache: KmemCache, row: cython.int) -> cython.int:
        # mm/slub.c get_partial_node(), v6.1 (limit in slabs) and v6.12 (limit in objects).
        # DIFFERS: other nodes' lists are not raided (get_any_partial); a remote slab is rare and
        # costs more than a page; slab counts on NUMA
        node_row: cython.int = cache.cache_id * self.nr_nodes + self.page_alloc.node
        head: cython.int = cache.first_partial_head + self.page_alloc.node
        limit: cython.int = cache.cpu_partial_slabs // 2
        if self.kernel >= 612:
            limit = cache.cpu_partial // 2
        found: cython.int = NIL
        more: cython.int = 0
        pfn: cython.int = self.mem_map.list_first(head)
        while pfn >= 0:
            self.mem_map.list_del(pfn)
            self.nr_partial[node_row] -= 1
            cache.partial_free -= self.mem_map.private[pfn] & FREE_MASK
            if found < 0:
                found = pfn
            else:
                self._link_cpu_partial(row, pfn)
                more += 1
                if more > limit:
                    break
            pfn = self.mem_map.list_first(head)
        return found

    @cython.cfunc
    @cython.exceptval(check=False)
    def _link_cpu_partial(self, row: cython.int, pfn: cython.int) -> cython.void:
        self.mem_map.list_add(self.cpu_partial_head[row], pfn)
        self.mem_map.index[pfn] = SLAB_CPU_PARTIAL
        self.nr_cpu_partial[row] += 1

    @cython.ccall
    @cython.exceptval(-1, check=False)
    def add_slab(self, cache_id: cython.int, pfn: cython.int) -> cython.int:
        """Make the allocated block at `pfn` this CPU's slab, after NEED_PAGE; its objects.

        The block may be of a smaller order than the cache's (SLUB falls back when memory is short).
        """
        # mm/slub.c new_slab(), v6.1
        cache: KmemCache = self.caches[cache_id]
        row: cython.int = cache_id * self.nr_cpus + self.page_alloc.cpu
        if self.cpu_slab[row] >= 0:
            raise InternalError(f"Slub.add_slab: {cache.name} has a slab with free objects")
        self._account(cache, pfn, 1)
        objects: cython.int = self.objects_in(cache, self.mem_map.order[pfn])
        self.mem_map.flags[pfn] |= PG_SLAB
        self._set_private(cache, pfn, objects)
        self.mem_map.index[pfn] = SLAB_CPU
        self.cpu_slab[row] = pfn
        return objects

    @cython.cfunc
    @cython.exceptval(check=False)
    def _set_private(self, cache: KmemCache, pfn: cython.int, free_objs: cython.int) -> cython.void:
        word: cython.longlong = cache.cache_id
        self.mem_map.private[pfn] = (word << 16) | free_objs

    @cython.ccall
    @cython.exceptval(check=False)
    def objects_in(self, cache: KmemCache, order: cython.int) -> cython.int:
        """Objects that a slab of `order` holds."""
        if order == cache.order:
            return cache.objs_per_slab
        return (4096 << order) // cache.size_bytes

    @cython.cfunc
    @cython.exceptval(check=False)
    def _account(self, cache: KmemCache, pfn: cython.int, sign: cython.int) -> cython.void:
        # mm/slab.h account_slab(), v6.1
        order: cython.int = self.mem_map.order[pfn]
        zone: Zone = self.page_alloc.zones.zones[self.page_alloc.zones.zone_of(pfn)]
        item: cython.int = NR_SLAB_UNRECLAIMABLE
        if cache.reclaimable:
            item = NR_SLAB_RECLAIMABLE
        self.page_alloc.vmstat.mod_node(zone.node, item, sign * (1 << order))
        cache.num_slabs += sign
        cache.num_objs += sign * self.objects_in(cache, order)

    @cython.ccall
    @cython.exceptval(-1, check=False)
    def free_object(self, cache_id: cython.int, pfn: cython.int) -> cython.int:
        """Free an object of the slab at `pfn` (NIL: of any); pages given back to the allocator."""
        # mm/slub.c __slab_free(), v6.1
        cache: KmemCache = self.caches[cache_id]
        row: cython.int = cache_id * self.nr_cpus + self.page_alloc.cpu
        before: cython.longlong = self.nr_given_back
        if pfn < 0:
            pfn = self._any_used_slab(cache, row)
        prior: cython.int = self.mem_map.private[pfn] & FREE_MASK
        if self.mem_map.private[pfn] >> 16 != cache_id or not self.mem_map.flags[pfn] & PG_SLAB:
            raise InternalError(f"Slub.free_object: frame {pfn} is no slab of {cache.name}")
        self.mem_map.private[pfn] += 1
        cache.inuse -= 1
        state: cython.int = self.mem_map.index[pfn]
        if state == SLAB_FULL:
            self.mem_map.list_del(pfn)
            self._put_cpu_partial(cache, row, pfn)
        elif state == SLAB_NODE:
            cache.partial_free += 1
            if prior + 1 == self.objects_in(cache, self.mem_map.order[pfn]):
                self._discard_if_many(cache, pfn)
        return self.nr_given_back - before

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _any_used_slab(self, cache: KmemCache, row: cython.int) -> cython.int:
        # MODEL: the owner does not know the slab: the oldest full one, else the node's first, else
        # this CPU's partial, else its slab
        pfn: cython.int = self.mem_map.list_first(cache.full_head)
        if pfn < 0:
            pfn = self._first_used(cache, cache.first_partial_head + self.page_alloc.node)
        if pfn < 0:
            pfn = self._first_used(cache, self.cpu_partial_head[row])
        if pfn < 0:
            pfn = self.cpu_slab[row]
        if pfn < 0 or cache.inuse <= 0:
            raise InternalError(f"Slub.free_object: {cache.name} has no object in use here")
        return pfn

    @cython.cfunc
    @cython.exceptval(check=False)
    def _first_used(self, cache: KmemCache, head: cython.int) -> cython.int:
        pfn: cython.int = self.mem_map.lru_next[head]
        free_objs: cython.int
        while pfn != head:
            free_objs = self.mem_map.private[pfn] & FREE_MASK
            if free_objs < self.objects_in(cache, self.mem_map.order[pfn]):
                return pfn
            pfn = self.mem_map.lru_next[pfn]
        return NIL

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _put_cpu_partial(self, cache: KmemCache, row: cython.int, pfn: cython.int) -> cython.int:
        # mm/slub.c put_cpu_partial() with drain, v6.1
        if self.nr_cpu_partial[row] >= cache.cpu_partial_slabs and self.nr_cpu_partial[row] > 0:
            self._unfreeze_partials(cache, row)
        self._link_cpu_partial(row, pfn)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _unfreeze_partials(self, cache: KmemCache, row: cython.int) -> cython.int:
        # mm/slub.c __unfreeze_partials(), v6.1; __put_partials(), v6.12
        head: cython.int = self.cpu_partial_head[row]
        free_objs: cython.int
        node: cython.int
        pfn: cython.int = self.mem_map.list_first(head)
        self.nr_cpu_partial[row] = 0
        while pfn >= 0:
            self.mem_map.list_del(pfn)
            node = self._node_of(pfn)
            free_objs = self.mem_map.private[pfn] & FREE_MASK
            if (
                free_objs == self.objects_in(cache, self.mem_map.order[pfn])
                and self.nr_partial[cache.cache_id * self.nr_nodes + node] >= cache.min_partial
            ):
                self._discard(cache, pfn)
            else:
                self.mem_map.list_add_tail(cache.first_partial_head + node, pfn)
                self.mem_map.index[pfn] = SLAB_NODE
                self.nr_partial[cache.cache_id * self.nr_nodes + node] += 1
                cache.partial_free += free_objs
            pfn = self.mem_map.list_first(head)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def _node_of(self, pfn: cython.int) -> cython.int:
        zone: Zone = self.page_alloc.zones.zones[self.page_alloc.zones.zone_of(pfn)]
        return zone.node

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _discard_if_many(self, cache: KmemCache, pfn: cython.int) -> cython.int:
        # an empty slab on the node's list goes back when min_partial others are there
        node_row: cython.int = cache.cache_id * self.nr_nodes + self._node_of(pfn)
        if self.nr_partial[node_row] < cache.min_partial:
            return 0
        self.mem_map.list_del(pfn)
        self.nr_partial[node_row] -= 1
        cache.partial_free -= self.mem_map.private[pfn] & FREE_MASK
        return self._discard(cache, pfn)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def _discard(self, cache: KmemCache, pfn: cython.int) -> cython.int:
        # mm/slub.c discard_slab(), v6.1
        self._account(cache, pfn, -1)
        self.nr_given_back += 1 << self.mem_map.order[pfn]
        self.mem_map.flags[pfn] &= PG_HEAD
        self.mem_map.private[pfn] = 0
        self.mem_map.index[pfn] = 0
        self.page_alloc.put_page(pfn)
        return 0

    @cython.ccall
    @cython.exceptval(-1, check=False)
    def shrink(self, cache_id: cython.int) -> cython.int:
        """Give back every empty slab that no CPU allocates from; pages given back."""
        # mm/slub.c __kmem_cache_shrink(), v6.1
        cache: KmemCache = self.caches[cache_id]
        before: cython.longlong = self.nr_given_back
        node: cython.int
        head: cython.int
        pfn: cython.int
        after: cython.int
        cpu: cython.int
        for cpu in range(self.nr_cpus):
            self._unfreeze_partials(cache, cache_id * self.nr_cpus + cpu)
        for node in range(self.nr_nodes):
            head = cache.first_partial_head + node
            pfn = self.mem_map.lru_next[head]
            while pfn != head:
                after = self.mem_map.lru_next[pfn]
                if self.mem_map.private[pfn] & FREE_MASK == self.objects_in(
                    cache, self.mem_map.order[pfn]
                ):
                    self.mem_map.list_del(pfn)
                    self.nr_partial[cache_id * self.nr_nodes + node] -= 1
                    cache.partial_free -= self.mem_map.private[pfn] & FREE_MASK
                    self._discard(cache, pfn)
                pfn = after
        return self.nr_given_back - before

    def seed_slab(self, cache_id: int, pfn: int, inuse: int) -> None:
        """Make a boot-time block a slab with `inuse` objects, full or on its node's list."""
        cache = self.caches[cache_id]
        self._account(cache, pfn, 1)
        objects = self.objects_in(cache, self.mem_map.order[pfn])
        self.mem_map.flags[pfn] |= PG_SLAB
        self._set_private(cache, pfn, objects - inuse)
        cache.inuse += inuse
        if inuse == objects:
            self.mem_map.index[pfn] = SLAB_FULL
            self.mem_map.list_add_tail(cache.full_head, pfn)
            return
        node = self._node_of(pfn)
        self.mem_map.index[pfn] = SLAB_NODE
        self.mem_map.list_add_tail(cache.first_partial_head + node, pfn)
        self.nr_partial[cache_id * self.nr_nodes + node] += 1
        cache.partial_free += objects - inuse

    def seed_cpu_slab(self, cache_id: int, pfn: int, inuse: int) -> None:
        """Make a boot-time block this CPU's slab with `inuse` objects, fewer than it holds."""
        cache = self.caches[cache_id]
        self.add_slab(cache_id, pfn)
        self.mem_map.private[pfn] -= inuse
        cache.inuse += inuse

    def seed_inuse(self, cache_id: int, inuse: int) -> None:
        """Let a seeded cache have `inuse` objects out, its free ones in as few slabs as can be.

        More than its slabs hold is cut to what they hold.
        """
        cache = self.caches[cache_id]
        row = cache_id * self.nr_cpus + self.page_alloc.cpu
        while cache.inuse < inuse and self.alloc_object(cache_id) != NEED_PAGE:
            pass
        pfn = self.cpu_slab[row]
        while cache.inuse > max(inuse, 0):
            held = self.objects_in(cache, self.mem_map.order[pfn]) if pfn >= 0 else 0
            if pfn < 0 or self.mem_map.private[pfn] & FREE_MASK == held:
                pfn = self._any_used_slab(cache, row)
            self.free_object(cache_id, pfn)

    def verify(self) -> None:
        """Walk every list of every cache; raise InternalError at the first difference."""
        for cache in self.caches:
            slabs = self.mem_map.walk(cache.full_head)
            partial: list[int] = []
            for node in range(self.nr_nodes):
                found = self.mem_map.walk(cache.first_partial_head + node)
                if len(found) != self.nr_partial[cache.cache_id * self.nr_nodes + node]:
                    raise InternalError(
                        f"Slub.verify: {cache.name} node {node}: {len(found)} partial slabs"
                    )
                partial += found
            slabs += partial
            for row in range(cache.cache_id * self.nr_cpus, (cache.cache_id + 1) * self.nr_cpus):
                slabs += self.mem_map.walk(self.cpu_partial_head[row])
                if self.cpu_slab[row] >= 0:
                    slabs.append(self.cpu_slab[row])
            free = {pfn: self.mem_map.private[pfn] & FREE_MASK for pfn in slabs}
            held = {pfn: self.objects_in(cache, self.mem_map.order[pfn]) for pfn in slabs}
            facts = (
                ("num_slabs", len(slabs), cache.num_slabs),
                ("num_objs", sum(held.values()), cache.num_objs),
                ("inuse", sum(held.values()) - sum(free.values()), cache.inuse),
                ("partial_free", sum(free[pfn] for pfn in partial), cache.partial_free),
            )
            for what, found_count, counted in facts:
                if found_count != counted:
                    raise InternalError(
                        f"Slub.verify: {cache.name}: {what} is {counted},"
                        f" its lists hold {found_count}"
                    )

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        found: list[tuple[str, object]] = [
            ("cpu_slab", self.cpu_slab),
            ("nr_partial", self.nr_partial),
        ]
        for cache in self.caches:
            found += cache.columns()
        return found
