"""Owns putting the reclaim room together: what depends on what, in one place.

Imports the reclaim room and the rooms below. A machine or a test hands in the lower rooms and gets
all of reclaim, with the slow path connected.
"""

from __future__ import annotations

from dataclasses import dataclass

from memtwin.address_space.mm import Mms
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.rmap import Rmap
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.page_cache.buffer_head import BufferHeads
from memtwin.page_cache.page_cache import PageCache
from memtwin.reclaim.folio_io import FolioIo
from memtwin.reclaim.folio_reclaim import FolioReclaim
from memtwin.reclaim.kswapd import Kswapd
from memtwin.reclaim.lru import Lru
from memtwin.reclaim.lru_scan import LruScan
from memtwin.reclaim.memcg_lru import MemcgLru
from memtwin.reclaim.mglru import Mglru
from memtwin.reclaim.mglru_gens import MglruGens
from memtwin.reclaim.mglru_node import MglruNode
from memtwin.reclaim.mglru_walk import MglruWalk
from memtwin.reclaim.scan_balance import ScanBalance
from memtwin.reclaim.shrinker import Shrinkers
from memtwin.reclaim.slowpath import Slowpath
from memtwin.reclaim.swap_io import SwapIo
from memtwin.reclaim.swapin_readahead import SwapIn
from memtwin.reclaim.vmscan import Vmscan
from memtwin.reclaim.workingset import Workingset
from memtwin.swap.swap import Swap


@dataclass
class Below:
    """The lower rooms and the parts of reclaim that others need earlier."""

    lru: Lru
    folio_io: FolioIo
    workingset: Workingset
    slowpath: Slowpath
    swap: Swap
    swap_io: SwapIo
    rmap: Rmap
    tables: PageTables
    mms: Mms
    page_cache: PageCache
    buffer_heads: BufferHeads
    clock: Clock
    cost: CostTable


@dataclass
class Reclaim:
    """Everything that frees pages."""

    shrinkers: Shrinkers
    vmscan: Vmscan
    kswapd: Kswapd
    swap_in: SwapIn

    @property
    def lru_scan(self) -> LruScan:
        """The scanner of the classic lists."""
        return self.vmscan.lru_scan


def assemble(below: Below) -> Reclaim:
    """Build reclaim on the lower rooms and connect `below.slowpath` to it."""
    lru, page_alloc = below.lru, below.lru.page_alloc
    walk = MglruWalk(lru, below.rmap, below.tables, below.mms, below.clock)
    folio_reclaim = FolioReclaim(
        lru, below.rmap, below.page_cache, below.buffer_heads, below.swap, below.swap_io,
        below.folio_io, below.workingset, walk, below.clock, below.cost,
    )  # fmt: skip
    balance = ScanBalance(lru.lruvecs, lru.charge, below.swap, page_alloc)
    lru_scan = LruScan(lru, below.rmap, folio_reclaim, balance)
    gens = MglruGens(walk, below.clock, below.cost)
    groups = MemcgLru(lru.lruvecs, lru.charge.table)
    mglru = MglruNode(Mglru(lru_scan, walk, gens, page_alloc), groups)
    shrinkers = Shrinkers(lru.vmstat)
    vmscan = Vmscan(lru_scan, mglru, shrinkers, page_alloc, below.folio_io, below.clock)
    kswapd = Kswapd(vmscan, page_alloc, below.folio_io, below.clock)
    below.slowpath.connect(vmscan, kswapd, below.clock)
    swap_in = SwapIn(
        below.swap, below.swap_io, below.folio_io, lru, below.workingset, below.slowpath,
        below.tables,
    )  # fmt: skip
    return Reclaim(shrinkers, vmscan, kswapd, swap_in)
