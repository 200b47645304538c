"""Owns the twin's answer to /proc/kpageflags, kpagecount and kpagecgroup.

Imports page's columns and observe/kpage. Writes nothing. Each frame carries the bits that the
kernel would show of it (fs/proc/page.c stable_page_flags(), v6.12).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memtwin.columns import array
from memtwin.observe import kpage
from memtwin.observe.kpage import FrameChunk, Frames
from memtwin.page import flags as pg
from memtwin.page.page_alloc import PageAlloc

_BITS = {
    pg.PG_UPTODATE: kpage.KPF_UPTODATE,
    pg.PG_LRU: kpage.KPF_LRU,
    pg.PG_SLAB: kpage.KPF_SLAB,
    pg.PG_ANON: kpage.KPF_ANON,
    pg.PG_SWAPCACHE: kpage.KPF_SWAPCACHE,
    pg.PG_SWAPBACKED: kpage.KPF_SWAPBACKED,
    pg.PG_HEAD: kpage.KPF_COMPOUND_HEAD,
    pg.PG_TAIL: kpage.KPF_COMPOUND_TAIL,
    pg.PG_UNEVICTABLE: kpage.KPF_UNEVICTABLE,
    pg.PG_TABLE: kpage.KPF_PGTABLE,
    pg.PG_MLOCKED: kpage.KPF_MLOCKED,
}


def twin_frames(page_alloc: PageAlloc) -> FrameChunk:
    """All frames of a twin. What booting took and the twin has no row for is reserved."""
    mem = page_alloc.mem_map
    flags, order, counts = array(mem.flags), array(mem.order), mapped_times(page_alloc)
    out: Frames = np.zeros(mem.nr_frames, dtype=np.uint64)
    for bit, shown in _BITS.items():
        out[flags & bit != 0] |= np.uint64(shown)
    out[counts > 0] |= np.uint64(kpage.KPF_MMAP)
    untouched = (flags == 0) & (array(mem.refcount) == 0)
    # a block's state stands in its first row
    for bit, shown in (
        (pg.PG_BUDDY, kpage.KPF_BUDDY),
        (pg.PG_SLAB, kpage.KPF_SLAB),
        (pg.PG_PCP, 0),
    ):
        for head in np.flatnonzero(flags & bit):
            block = slice(head, head + (1 << int(order[head])))
            out[block] |= np.uint64(shown)
            untouched[block] = False
    for zone in page_alloc.zones.zones:
        deferred = slice(zone.deferred_start_pfn, zone.deferred_end_pfn)
        out[deferred] |= np.uint64(kpage.KPF_BUDDY)
        untouched[deferred] = False
    out[untouched] |= np.uint64(kpage.KPF_RESERVED)
    return FrameChunk(out, counts.astype(np.uint64), array(mem.memcg).astype(np.uint64))


def mapped_times(page_alloc: PageAlloc) -> NDArray[np.int64]:
    """How many page table entries map each frame; a 2 MiB entry counts for each of its frames."""
    mem = page_alloc.mem_map
    flags, counts = array(mem.flags), array(mem.mapcount).astype(np.int64)
    for head in np.flatnonzero((flags & pg.PG_HEAD != 0) & (flags & pg.PG_ANON != 0)):
        # address_space/rmap.py add_new_huge() keeps the count of 2 MiB entries there
        counts[head : head + (1 << int(mem.order[head]))] += int(mem.private[head + 1])
    return counts
