"""Owns asking caches of kernel objects to shrink: the registry and do_shrink_slab's arithmetic.

Imports page. Has never heard of what the objects are: a room above derives from `Shrinker` and
registers.
"""

from __future__ import annotations

import cython

from memtwin.page.gfp import GFP_KERNEL
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import SLABS_SCANNED

SHRINK_STOP = -1  # scan_objects: nothing more to gain now
SHRINK_BATCH = 128  # mm/vmscan.c SHRINK_BATCH, v6.1
DEFAULT_SEEKS = 2  # include/linux/shrinker.h DEFAULT_SEEKS, v6.1


@cython.cclass
class Shrinker:
    """A cache of objects: how many could go, and making some go."""

    def __init__(
        self, name: str, seeks: int = DEFAULT_SEEKS, batch: int = 0, memcg_aware: int = 0
    ) -> None:
        self.name = name
        self.seeks = seeks  # 0: objects cost no I/O to make again
        self.batch = batch  # objects a call; 0 is SHRINK_BATCH
        self.memcg_aware = memcg_aware
        self.nr_deferred = 0  # work put off to a later call, objects
        self.nr_scanned = 0  # set by scan_objects when it looked at more or fewer than asked
        self.reclaimed_pages = 0  # slab pages that scan_objects gave back; taken by Shrinkers

    @cython.ccall
    def count_objects(self, node: cython.int, memcg: cython.int) -> cython.longlong:
        """Objects that could be freed, 0 for none. `memcg` is 0 for the root."""
        return 0

    @cython.ccall
    def scan_objects(
        self, nr_to_scan: cython.longlong, node: cython.int, memcg: cython.int, gfp: cython.int
    ) -> cython.longlong:
        """Look at that many objects and free what can be: how many were freed, or SHRINK_STOP."""
        return SHRINK_STOP


@cython.final
@cython.cclass
class Shrinkers:
    """All shrinkers, in order of registration."""

    def __init__(self, vmstat: VmStat) -> None:
        self.vmstat = vmstat
        self.all: list[Shrinker] = []
        self.reclaimed_slab = 0  # slab pages freed since last taken (struct reclaim_state)

    def register(self, shrinker: Shrinker) -> None:
        """Add a shrinker behind the others."""
        self.all.append(shrinker)

    @cython.ccall
    def shrink_slab(
        self, gfp: cython.int, node: cython.int, memcg: cython.int, priority: cython.int
    ) -> cython.longlong:
        """Shrink caches as hard as `priority` says (0 hardest); objects freed."""
        freed: cython.longlong = 0
        i: cython.int
        shrinker: Shrinker
        for i in range(len(self.all)):
            shrinker = self.all[i]
            if memcg > 0 and not shrinker.memcg_aware:
                continue
            freed += self.do_shrink_slab(shrinker, gfp, node, memcg, priority)
        return freed

    @cython.cfunc
    def do_shrink_slab(
        self, shrinker: Shrinker, gfp: cython.int, node: cython.int, memcg: cython.int,
        priority: cython.int,
    ) -> cython.longlong:  # fmt: skip
        """One shrinker's share (mm/vmscan.c do_shrink_slab(), v6.1)."""
        # DIFFERS: deferred work is kept per shrinker, not per node and group; few caches are kept
        # per group here; bends object counts when several groups are under pressure at once
        freeable: cython.longlong = shrinker.count_objects(node, memcg)
        if freeable <= 0:
            return 0
        batch: cython.longlong = shrinker.batch if shrinker.batch > 0 else SHRINK_BATCH
        deferred: cython.longlong = shrinker.nr_deferred
        delta: cython.longlong = freeable // 2
        if shrinker.seeks > 0:
            delta = (freeable >> priority) * 4 // shrinker.seeks
        total_scan: cython.longlong = (deferred >> priority) + delta
        if total_scan > 2 * freeable:
            total_scan = 2 * freeable
        scanned: cython.longlong = 0
        freed: cython.longlong = 0
        while total_scan >= batch or total_scan >= freeable:
            nr_to_scan: cython.longlong = batch if total_scan >= batch else total_scan
            shrinker.nr_scanned = nr_to_scan
            result: cython.longlong = shrinker.scan_objects(nr_to_scan, node, memcg, gfp)
            if result == SHRINK_STOP:
                break
            freed += result
            self.vmstat.count(SLABS_SCANNED, shrinker.nr_scanned)
            total_scan -= shrinker.nr_scanned
            scanned += shrinker.nr_scanned
            if shrinker.nr_scanned == 0:
                break
        self.reclaimed_slab += shrinker.reclaimed_pages
        shrinker.reclaimed_pages = 0
        put_off: cython.longlong = deferred + delta - scanned
        if put_off < 0:
            put_off = 0
        if put_off > 2 * freeable:
            put_off = 2 * freeable
        shrinker.nr_deferred = put_off
        return freed

    @cython.ccall
    def drop_slab(self) -> cython.longlong:
        """echo 2 > drop_caches: shrink all, as often as it helps; objects freed."""
        # mm/vmscan.c drop_slab(), v6.1: until a pass frees no more than 2^pass objects
        total: cython.longlong = 0
        shift: cython.int = 0
        while True:
            freed: cython.longlong = self.shrink_slab(GFP_KERNEL, 0, 0, 0)
            total += freed
            if freed >> shift <= 1:
                return total
            shift += 1

    @cython.ccall
    def take_reclaimed(self) -> cython.longlong:
        """Slab pages freed since the last call."""
        pages: cython.longlong = self.reclaimed_slab
        self.reclaimed_slab = 0
        return pages
