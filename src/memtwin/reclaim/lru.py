"""Owns the batches in front of the LRU lists, and what happens to a page when its last user lets
go.

Imports page, memcg, swap/content, reclaim/lruvec. Knows nothing of swap, files or page tables. As
in the kernel a page in a batch holds a reference, and most moves take effect only when the CPU's
batch is full or drained.

A page's life here: alloc -> add batch -> list -> (isolated -> list) -> released -> free.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.errors import InternalError
from memtwin.memcg.charge import Charge
from memtwin.page.flags import (
    PG_ACTIVE,
    PG_ANON,
    PG_DIRTY,
    PG_LOCKED,
    PG_LRU,
    PG_MLOCKED,
    PG_RECLAIM,
    PG_REFERENCED,
    PG_SWAPBACKED,
    PG_SWAPCACHE,
    PG_UNEVICTABLE,
    PG_WRITEBACK,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import (
    NR_MLOCK,
    PGACTIVATE,
    PGDEACTIVATE,
    PGLAZYFREE,
    PGROTATED,
    UNEVICTABLE_PGS_CLEARED,
    UNEVICTABLE_PGS_CULLED,
    UNEVICTABLE_PGS_RESCUED,
)
from memtwin.reclaim.constants import (
    BATCH_ACTIVATE,
    BATCH_ADD,
    BATCH_DEACTIVATE,
    BATCH_DEACTIVATE_FILE,
    BATCH_LAZYFREE,
    BATCH_MLOCK,
    BATCH_ROOM,
    BATCH_ROTATE,
    HEAD_SIDE,
    MLOCK_LRU,
    MLOCK_NEW,
    MUNLOCK,
    NR_BATCHES,
    TAIL_SIDE,
)
from memtwin.reclaim.lruvec import Lruvecs
from memtwin.reclaim.mlock import Mlock
from memtwin.swap.content import PageContent

if not cython.compiled:
    from memtwin.columns import I4

COLUMNS = (
    Column("batch", "i4", "lru", "frames waiting, per CPU, kind (BATCH_*) and place 0..31"),
    Column("batch_count", "i4", "lru", "frames in each batch"),
    Column("mlock_what", "i1", "lru", "MLOCK_LRU, MLOCK_NEW or MUNLOCK, per CPU and place"),
)


@cython.final
@cython.cclass
class Lru:
    """The face of the LRU lists for faults, files and reclaim."""

    def __init__(
        self, mem: MemMap, lruvecs: Lruvecs, vmstat: VmStat, tunables: Tunables,
        charge: Charge, page_alloc: PageAlloc, content: PageContent, nr_cpus: int,
    ) -> None:  # fmt: skip
        self.mem = mem
        self.lruvecs = lruvecs
        self.vmstat = vmstat
        self.tunables = tunables
        self.charge = charge
        self.mlock = Mlock(mem, lruvecs, vmstat)
        self.page_alloc = page_alloc
        self.content = content
        self.nr_cpus = nr_cpus
        self.memalloc = 0  # 1 while reclaim itself runs (PF_MEMALLOC)
        self.cpu = 0  # the CPU whose batches are used; the scheduler sets it
        # include/linux/pagevec.h PAGEVEC_SIZE: 15 in v6.1, 31 in v6.12
        self.batch_size = 31 if tunables.kernel >= 612 else 15
        self.batch = zeros(nr_cpus * NR_BATCHES * BATCH_ROOM, "i4")
        self.batch_count = zeros(nr_cpus * NR_BATCHES, "i4")
        self.mlock_what = zeros(nr_cpus * BATCH_ROOM, "i1")

    @cython.ccall
    def folio_add_lru(self, pfn: cython.int) -> cython.int:
        """Queue a new page for its list; 0. It is on the list once the batch is drained."""
        row: cython.int = self.cpu * NR_BATCHES + BATCH_ADD
        nr: cython.int = self.batch_count[row]
        if self.lruvecs.in_lru_fault and self.tunables.lru_gen_enabled and not self.memalloc:
            if not self.mem.flags[pfn] & PG_UNEVICTABLE:
                self.mem.flags[pfn] |= PG_ACTIVE
        self.mem.refcount[pfn] += 1
        self.batch[row * BATCH_ROOM + nr] = pfn
        self.batch_count[row] = nr + 1
        # mm/swap.c folio_may_be_lru_cached(), v6.1: large folios do not wait
        if nr + 1 == self.batch_size or self.mem.order[pfn] > 0:
            self.drain_batch(self.cpu, BATCH_ADD)
        return 0

    @cython.ccall
    def folio_add_lru_locked_vma(self, pfn: cython.int) -> cython.int:
        """folio_add_lru of a new page of a VM_LOCKED area (mlock_new_page); 0."""
        if not self.mem.flags[pfn] & PG_MLOCKED:
            self.mlock.count_mlocked(pfn)
        self.mem.refcount[pfn] += 1
        self.queue_mlock(pfn, MLOCK_NEW)
        return 0

    @cython.cfunc
    def queue(self, pfn: cython.int, kind: cython.int) -> cython.void:
        """Take a reference and put a page into a batch of this CPU; drain the batch when full."""
        row: cython.int = self.cpu * NR_BATCHES + kind
        nr: cython.int = self.batch_count[row]
        self.mem.refcount[pfn] += 1
        self.batch[row * BATCH_ROOM + nr] = pfn
        self.batch_count[row] = nr + 1
        if nr + 1 == self.batch_size or self.mem.order[pfn] > 0:
            self.drain_batch(self.cpu, kind)

    @cython.cfunc
    def drain_batch(self, cpu: cython.int, kind: cython.int) -> cython.void:
        """Carry out a batch's moves and drop its references (folio_batch_move_lru)."""
        row: cython.int = cpu * NR_BATCHES + kind
        nr: cython.int = self.batch_count[row]
        base: cython.int = row * BATCH_ROOM
        i: cython.int
        pfn: cython.int
        freed: cython.int = 0
        for i in range(nr):
            pfn = self.batch[base + i]
            if kind == BATCH_ADD:
                self.lru_add(pfn)
            elif self.mem.flags[pfn] & PG_LRU:
                self.move(pfn, kind)
            self.mem.refcount[pfn] -= 1
            if self.mem.refcount[pfn] == 0:
                freed += 1
        self.batch_count[row] = 0
        if freed == 0:
            return
        for i in range(nr):
            # mm/swap.c release_pages(), v6.1 frees the last first; v6.12 in order
            pfn = self.batch[base + i if self.tunables.kernel >= 612 else base + nr - 1 - i]
            if self.mem.refcount[pfn] == 0:
                self.release(pfn)

    @cython.cfunc
    @cython.exceptval(check=False)
    def lru_add(self, pfn: cython.int) -> cython.void:
        """Put a page on its list for the first time (mm/swap.c lru_add_fn(), v6.1)."""
        flags: cython.longlong = self.mem.flags[pfn]
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        if not flags & PG_MLOCKED:
            if flags & PG_UNEVICTABLE:
                flags &= ~PG_UNEVICTABLE
                self.vmstat.count(UNEVICTABLE_PGS_RESCUED, nr_pages)
        else:
            if not flags & PG_UNEVICTABLE:
                self.vmstat.count(UNEVICTABLE_PGS_CULLED, nr_pages)
            flags = (flags & ~PG_ACTIVE) | PG_UNEVICTABLE
            self.mem.lru_prev[pfn] = 0
        self.mem.flags[pfn] = flags | PG_LRU
        self.lruvecs.add_folio(self.lruvecs.of_page(pfn), pfn, HEAD_SIDE)

    @cython.cfunc
    def move(self, pfn: cython.int, kind: cython.int) -> cython.void:
        """One page's move for the batches of pages that are on a list."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_UNEVICTABLE:
            return
        if kind == BATCH_ACTIVATE:
            if not flags & PG_ACTIVE:
                self.activate_now(pfn)
        elif kind == BATCH_ROTATE:
            self.lruvecs.relist(pfn, PG_ACTIVE, TAIL_SIDE)
            self.count(pfn, PGROTATED)
        elif kind == BATCH_DEACTIVATE_FILE:
            self.deactivate_file_now(pfn)
        elif kind == BATCH_DEACTIVATE:
            if flags & PG_ACTIVE or self.tunables.lru_gen_enabled:
                self.lruvecs.relist(pfn, PG_ACTIVE | PG_REFERENCED, HEAD_SIDE)
                self.count(pfn, PGDEACTIVATE)
        elif kind == BATCH_LAZYFREE:
            if flags & PG_ANON and flags & PG_SWAPBACKED and not flags & PG_SWAPCACHE:
                self.lruvecs.relist(pfn, PG_ACTIVE | PG_REFERENCED | PG_SWAPBACKED, HEAD_SIDE)
                self.count(pfn, PGLAZYFREE)

    @cython.cfunc
    @cython.exceptval(check=False)
    def count(self, pfn: cython.int, event: cython.int) -> cython.void:
        """Count an event for the machine and, but for rotations, for the page's group."""
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        self.vmstat.count(event, nr_pages)
        if event != PGROTATED:
            self.lruvecs.memcgs.count_event(self.mem.memcg[pfn], event, nr_pages)

    @cython.cfunc
    @cython.exceptval(check=False)
    def activate_now(self, pfn: cython.int) -> cython.void:
        """Move a page to the active list (folio_activate_fn)."""
        lruvec: cython.int = self.lruvecs.of_page(pfn)
        self.lruvecs.del_folio(lruvec, pfn)
        self.mem.flags[pfn] |= PG_ACTIVE
        self.lruvecs.add_folio(lruvec, pfn, HEAD_SIDE)
        self.count(pfn, PGACTIVATE)

    @cython.cfunc
    def deactivate_file_now(self, pfn: cython.int) -> cython.void:
        """mm/swap.c lru_deactivate_file_fn(), v6.1: unmapped pages go where they are soon
        reclaimed.
        """
        flags: cython.longlong = self.mem.flags[pfn]
        if self.mem.mapcount[pfn] > 0:
            return
        if flags & (PG_WRITEBACK | PG_DIRTY):
            self.lruvecs.relist(pfn, PG_ACTIVE | PG_REFERENCED, HEAD_SIDE)
            self.mem.flags[pfn] |= PG_RECLAIM
        else:
            self.lruvecs.relist(pfn, PG_ACTIVE | PG_REFERENCED, TAIL_SIDE)
            self.count(pfn, PGROTATED)
        if flags & PG_ACTIVE:
            self.count(pfn, PGDEACTIVATE)

    @cython.ccall
    def folio_activate(self, pfn: cython.int) -> cython.int:
        """Queue a page for the active list; 0."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_LRU and not flags & (PG_ACTIVE | PG_UNEVICTABLE):
            self.queue(pfn, BATCH_ACTIVATE)
        return 0

    @cython.ccall
    def folio_mark_accessed(self, pfn: cython.int) -> cython.int:
        """One access by read() or by a fault's zap (mm/swap.c folio_mark_accessed(), v6.1); 0."""
        flags: cython.longlong = self.mem.flags[pfn]
        if self.tunables.lru_gen_enabled:
            self.lruvecs.gen.inc_refs(pfn)
        elif not flags & PG_REFERENCED:
            self.mem.flags[pfn] = flags | PG_REFERENCED
        elif not flags & (PG_UNEVICTABLE | PG_ACTIVE):
            if flags & PG_LRU:
                self.folio_activate(pfn)
            else:
                self.activate_in_batch(pfn)
            self.mem.flags[pfn] &= ~PG_REFERENCED
            # mm/workingset.c workingset_activation(), v6.1
            nr_pages: cython.longlong = 1
            self.lruvecs.age_nonresident(self.lruvecs.of_page(pfn), nr_pages << self.mem.order[pfn])
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def activate_in_batch(self, pfn: cython.int) -> cython.void:
        """A page still in this CPU's add batch will join the active list."""
        row: cython.int = self.cpu * NR_BATCHES + BATCH_ADD
        i: cython.int
        for i in range(self.batch_count[row]):
            if self.batch[row * BATCH_ROOM + i] == pfn:
                self.mem.flags[pfn] |= PG_ACTIVE
                return

    @cython.ccall
    def deactivate_file_folio(self, pfn: cython.int) -> cython.int:
        """Queue an unmapped file page for early reclaim (fadvise DONTNEED of a busy page); 0."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_UNEVICTABLE or (self.tunables.kernel >= 612 and not flags & PG_LRU):
            return 0
        self.queue(pfn, BATCH_DEACTIVATE_FILE)
        return 0

    @cython.ccall
    def folio_deactivate(self, pfn: cython.int) -> cython.int:
        """Queue a page for the inactive list (MADV_COLD); 0."""
        flags: cython.longlong = self.mem.flags[pfn]
        if not flags & PG_LRU or flags & PG_UNEVICTABLE:
            return 0
        if flags & PG_ACTIVE or self.tunables.lru_gen_enabled:
            self.queue(pfn, BATCH_DEACTIVATE)
        return 0

    @cython.ccall
    def folio_mark_lazyfree(self, pfn: cython.int) -> cython.int:
        """Queue an anonymous page to be dropped rather than swapped (MADV_FREE); 0."""
        flags: cython.longlong = self.mem.flags[pfn]
        if not (flags & PG_LRU and flags & PG_ANON and flags & PG_SWAPBACKED):
            return 0
        if not flags & (PG_SWAPCACHE | PG_UNEVICTABLE):
            self.queue(pfn, BATCH_LAZYFREE)
        return 0

    @cython.ccall
    def folio_rotate_reclaimable(self, pfn: cython.int) -> cython.int:
        """Queue a page whose writeback ended for the tail of its inactive list; 0."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_LRU and not flags & (PG_LOCKED | PG_DIRTY | PG_UNEVICTABLE):
            self.queue(pfn, BATCH_ROTATE)
        return 0

    @cython.ccall
    def lru_add_drain(self) -> cython.int:
        """Carry out all moves that wait in this CPU's batches; 0."""
        return self.lru_add_drain_cpu(self.cpu)

    @cython.ccall
    def lru_add_drain_cpu(self, cpu: cython.int) -> cython.int:
        """lru_add_drain of one CPU; 0."""
        kind: cython.int
        for kind in range(BATCH_MLOCK):
            if self.batch_count[cpu * NR_BATCHES + kind] > 0:
                self.drain_batch(cpu, kind)
        if self.batch_count[cpu * NR_BATCHES + BATCH_MLOCK] > 0:
            self.drain_mlock(cpu)
        return 0

    @cython.ccall
    def lru_add_drain_all(self) -> cython.int:
        """Carry out all moves that wait on any CPU; 0."""
        cpu: cython.int
        for cpu in range(self.nr_cpus):
            self.lru_add_drain_cpu(cpu)
        return 0

    # -- mlock ---------------------------------------------------------------------------------

    @cython.ccall
    def mlock_folio(self, pfn: cython.int) -> cython.int:
        """A page of a VM_LOCKED area that is already on a list (mm/mlock.c mlock_folio()); 0."""
        if not self.mem.flags[pfn] & PG_MLOCKED:
            self.mlock.count_mlocked(pfn)
        self.mem.refcount[pfn] += 1
        self.queue_mlock(pfn, MLOCK_LRU)
        return 0

    @cython.ccall
    def munlock_folio(self, pfn: cython.int) -> cython.int:
        """A VM_LOCKED area no longer maps the page; 0."""
        self.mem.refcount[pfn] += 1
        self.queue_mlock(pfn, MUNLOCK)
        return 0

    @cython.cfunc
    def queue_mlock(self, pfn: cython.int, what: cython.int) -> cython.void:
        """Put a page, its reference taken, into the mlock batch."""
        row: cython.int = self.cpu * NR_BATCHES + BATCH_MLOCK
        nr: cython.int = self.batch_count[row]
        self.batch[row * BATCH_ROOM + nr] = pfn
        self.mlock_what[self.cpu * BATCH_ROOM + nr] = what
        self.batch_count[row] = nr + 1
        if nr + 1 == self.batch_size or self.mem.order[pfn] > 0:
            self.drain_mlock(self.cpu)

    @cython.cfunc
    def drain_mlock(self, cpu: cython.int) -> cython.void:
        """Carry out the mlock batch (mm/mlock.c mlock_pagevec(), v6.1)."""
        row: cython.int = cpu * NR_BATCHES + BATCH_MLOCK
        nr: cython.int = self.batch_count[row]
        i: cython.int
        for i in range(nr):
            pfn: cython.int = self.batch[row * BATCH_ROOM + i]
            what: cython.int = self.mlock_what[cpu * BATCH_ROOM + i]
            if what == MUNLOCK:
                self.mlock.munlock_now(pfn)
            elif what == MLOCK_NEW or self.mem.flags[pfn] & PG_LRU:
                self.mlock.mlock_now(pfn, what)
        self.batch_count[row] = 0
        for i in range(nr):
            self.folio_put(self.batch[row * BATCH_ROOM + i])

    # -- letting go ----------------------------------------------------------------------------

    @cython.ccall
    def folio_put(self, pfn: cython.int) -> cython.int:
        """Drop one reference; the last one frees the page. 1 when it was freed."""
        self.mem.refcount[pfn] -= 1
        if self.mem.refcount[pfn] > 0:
            return 0
        self.release(pfn)
        return 1

    @cython.ccall
    def release(self, pfn: cython.int) -> cython.int:
        """A page without references: off its list, uncharged, freed (__folio_put); 0."""
        flags: cython.longlong = self.mem.flags[pfn]
        if flags & PG_LRU:
            self.lruvecs.del_folio(self.lruvecs.of_page(pfn), pfn)
        if flags & PG_MLOCKED:
            nr_pages: cython.longlong = 1
            nr_pages = nr_pages << self.mem.order[pfn]
            self.vmstat.mod_zone(self.lruvecs.zones.zone_of(pfn), NR_MLOCK, -nr_pages)
            self.vmstat.count(UNEVICTABLE_PGS_CLEARED, nr_pages)
        if self.mem.memcg[pfn] > 0:
            self.charge.uncharge_page(pfn)
        self.mem.flags[pfn] &= ~(PG_LRU | PG_ACTIVE | PG_UNEVICTABLE | PG_MLOCKED)
        if self.content.in_use:
            self.content.content[pfn] = 0
        self.page_alloc.free_page(pfn)
        return 0

    @cython.ccall
    def release_pages(self, pfns: I4, nr: cython.int) -> cython.int:
        """Drop one reference of each of the first `nr` frames of `pfns`; how many were freed."""
        i: cython.int
        freed: cython.int = 0
        for i in range(nr):
            self.mem.refcount[pfns[i]] -= 1
        for i in range(nr):
            # mm/swap.c release_pages(), v6.1 frees the last first; v6.12 in order
            pfn: cython.int = pfns[i if self.tunables.kernel >= 612 else nr - 1 - i]
            if self.mem.refcount[pfn] == 0:
                self.release(pfn)
                freed += 1
        return freed

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of all state, for digests."""
        return [(column.name, getattr(self, column.name)) for column in COLUMNS]

    def verify(self) -> None:
        """Every page in a batch is held by it."""
        for row in range(self.nr_cpus * NR_BATCHES):
            for i in range(self.batch_count[row]):
                pfn = self.batch[row * BATCH_ROOM + i]
                if self.mem.refcount[pfn] < 1:
                    raise InternalError(
                        f"lru.verify: frame {pfn} waits in batch {row}, "
                        f"its refcount is {self.mem.refcount[pfn]}"
                    )
