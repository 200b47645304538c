"""Owns seeding the caches from a real start's slabinfo. Plain Python, run once.

Imports slub and page/. Has never heard of /proc: numbers come in as records.
"""

from __future__ import annotations

from dataclasses import dataclass

from memtwin.page.boot_layout import BootPages
from memtwin.slab.slub import Slub


@dataclass(frozen=True)
class SlabSeed:
    """A line of /proc/slabinfo."""

    name: str
    active_objs: int
    num_objs: int
    size_bytes: int
    objs_per_slab: int
    pages_per_slab: int
    num_slabs: int


def seed_cache(slub: Slub, boot: BootPages, seed: SlabSeed) -> int:
    """Create the cache that `seed` shows, with its slabs in boot-time frames; its id.

    Slabs come from the zones a kernel allocation would try, the CPU's own node first; those that
    find no frame left (the text counts more than the zones' missing frames) are left out.
    """
    order = seed.pages_per_slab.bit_length() - 1
    cache_id = slub.create(seed.name, seed.size_bytes, order, seed.objs_per_slab)
    free_objs = (
        seed.num_objs - seed.active_objs
    )  # on the nodes' partial lists: get_slabinfo(), v6.1
    zones = slub.page_alloc.zones
    tried = zones.zones_tried(slub.page_alloc.node, zones.idx_normal)
    for number in range(seed.num_slabs):
        pfn = next((p for z in tried if (p := boot.take(slub.mem_map, z, order)) >= 0), -1)
        if pfn < 0:
            break
        if number == seed.num_slabs - 1 and seed.objs_per_slab > 1:
            # MODEL: the slab objects are taken from is half used, which slabinfo does not show
            slub.seed_cpu_slab(cache_id, pfn, seed.objs_per_slab // 2)
            break
        unused = min(free_objs, seed.objs_per_slab)
        free_objs -= unused
        slub.seed_slab(cache_id, pfn, seed.objs_per_slab - unused)
    return cache_id
