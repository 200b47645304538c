"""Owns charging: pages against limits, the per-CPU stocks, swap charges, what a freed page gives
back.

Imports memcg/table and page. Has never heard of reclaim: a charge over a limit is a verdict, the
id of the group that is over; `reclaim/slowpath` reclaims there and tries again.

A page's charge: alloc -> try_charge (usage) -> commit_charge (mem.memcg) -> uncharge_page -> free.
"""

from __future__ import annotations

import cython

from memtwin.columns import zeros
from memtwin.errors import InternalError
from memtwin.memcg.constants import (
    CGROUP_V1,
    CHARGE_OK,
    GIVE_PAGES,
    MAX_MEMCGS,
    MEMCG_CHARGE_BATCH,
    MEMCG_SWAP_FAIL,
    MEMCG_SWAP_MAX,
)
from memtwin.memcg.table import MemcgTable
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat_items import PGPGIN, PGPGOUT
from memtwin.units import PAGE_SIZE

if not cython.compiled:
    from memtwin.columns import I8


@cython.final
@cython.cclass
class Charge:
    """Charges and uncharges pages and objects; a stock of charged pages and one of bytes a CPU."""

    def __init__(self, table: MemcgTable, mem: MemMap, nr_cpus: int) -> None:
        self.table = table
        self.mem = mem
        self.nr_cpus = nr_cpus
        self.cpu = 0  # the CPU that charges; the scheduler sets it
        self.over_memsw = 0  # 1 when the last OVER verdict came from memsw: swapping won't help
        self.over_high_pages = 0  # pages charged above memory.high, owed by the running task
        self.stock_memcg = zeros(nr_cpus, "i4")  # group of the CPU's stock; 0 when empty
        self.stock_pages = zeros(nr_cpus, "i4")  # charged but not yet used
        # struct obj_stock_pcp: bytes of charged pages that objects have not used yet
        self.obj_memcg = zeros(nr_cpus, "i4")  # whose they are; 0 when empty
        self.obj_bytes = zeros(nr_cpus, "i4")
        self.obj_left = zeros(MAX_MEMCGS, "i4")  # bytes below a page that a drain left to a group

    @cython.cfunc
    @cython.exceptval(check=False)
    def try_charge(self, memcg: cython.int, nr_pages: cython.int) -> cython.int:
        """CHARGE_OK, or the id of the group that is over its limit; nothing is charged then."""
        if memcg <= 0:
            return CHARGE_OK
        cpu: cython.int = self.cpu
        if self.stock_memcg[cpu] == memcg and self.stock_pages[cpu] >= nr_pages:
            self.stock_pages[cpu] -= nr_pages  # mm/memcontrol.c consume_stock(), v6.1
            return CHARGE_OK
        return self.charge_counters(memcg, nr_pages)

    @cython.cfunc
    @cython.exceptval(check=False)
    def charge_counters(self, memcg: cython.int, nr_pages: cython.int) -> cython.int:
        """The counters' half of try_charge: a whole batch first, then what is needed."""
        # mm/memcontrol.c try_charge_memcg(), v6.1
        batch: cython.int = MEMCG_CHARGE_BATCH if nr_pages < MEMCG_CHARGE_BATCH else nr_pages
        over: cython.int = self.charge_both(memcg, batch)
        if over > 0 and batch > nr_pages:
            batch = nr_pages
            over = self.charge_both(memcg, batch)
        if over > 0:
            return over
        if batch > nr_pages:
            self.refill_stock(memcg, batch - nr_pages)
        at: cython.int = memcg
        while at > 0:
            if self.table.usage[at] > self.table.high[at]:
                self.over_high_pages += batch
                break
            at = self.table.parent[at]
        return CHARGE_OK

    @cython.cfunc
    @cython.exceptval(check=False)
    def charge_both(self, memcg: cython.int, nr_pages: cython.int) -> cython.int:
        """memsw (v1), then memory: 0, or the id of the group in the way."""
        over: cython.int
        self.over_memsw = 0
        if self.table.version == CGROUP_V1:
            over = self.counter_try_charge(
                self.table.memsw_usage, self.table.memsw_max, self.table.memsw_watermark,
                self.table.memsw_failcnt, memcg, nr_pages,
            )  # fmt: skip
            if over > 0:
                self.over_memsw = 1
                return over
        over = self.counter_try_charge(
            self.table.usage, self.table.max, self.table.watermark, self.table.failcnt,
            memcg, nr_pages,
        )  # fmt: skip
        if over > 0 and self.table.version == CGROUP_V1:
            self.counter_add(self.table.memsw_usage, memcg, -nr_pages)
        return over

    @cython.cfunc
    @cython.exceptval(check=False)
    def counter_try_charge(
        self,
        usage: I8,
        limit: I8,
        watermark: I8,
        failcnt: I8,
        memcg: cython.int,
        nr_pages: cython.int,
    ) -> cython.int:
        """mm/page_counter.c page_counter_try_charge(), v6.1: 0, or the group that refused."""
        at: cython.int = memcg
        while at > 0:
            if usage[at] + nr_pages > limit[at]:
                failcnt[at] += 1
                undo: cython.int = memcg
                while undo != at:
                    usage[undo] -= nr_pages
                    undo = self.table.parent[undo]
                return at
            usage[at] += nr_pages
            if usage[at] > watermark[at]:
                watermark[at] = usage[at]
            at = self.table.parent[at]
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def counter_add(
        self, usage: I8, memcg: cython.int, delta: cython.longlong
    ) -> cython.void:
        """page_counter_charge or _uncharge of the group and all above it, limits unasked."""
        at: cython.int = memcg
        while at > 0:
            usage[at] += delta
            at = self.table.parent[at]

    @cython.ccall
    @cython.exceptval(check=False)
    def force_charge(self, memcg: cython.int, nr_pages: cython.int) -> cython.void:
        """Charge past every limit (PF_MEMALLOC, __GFP_NOFAIL)."""
        if memcg <= 0:
            return
        self.counter_add(self.table.usage, memcg, nr_pages)
        if self.table.version == CGROUP_V1:
            self.counter_add(self.table.memsw_usage, memcg, nr_pages)

    @cython.ccall
    @cython.exceptval(check=False)
    def cancel(self, memcg: cython.int, nr_pages: cython.longlong) -> cython.void:
        """Give charged pages back to the counters (not to the stock)."""
        if memcg <= 0:
            return
        self.counter_add(self.table.usage, memcg, -nr_pages)
        if self.table.version == CGROUP_V1:
            self.counter_add(self.table.memsw_usage, memcg, -nr_pages)

    @cython.cfunc
    @cython.exceptval(check=False)
    def refill_stock(self, memcg: cython.int, nr_pages: cython.int) -> cython.void:
        """Put charged pages into this CPU's stock; more than a batch goes back to the counters."""
        cpu: cython.int = self.cpu
        if memcg <= 0:
            return
        if self.stock_memcg[cpu] != memcg:
            self.drain_stock(cpu)
            self.stock_memcg[cpu] = memcg
        self.stock_pages[cpu] += nr_pages
        if self.stock_pages[cpu] > MEMCG_CHARGE_BATCH:
            self.cancel(memcg, self.stock_pages[cpu])
            self.stock_pages[cpu] = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def drain_stock(self, cpu: cython.int) -> cython.void:
        """Empty one CPU's stock into the counters."""
        self.cancel(self.stock_memcg[cpu], self.stock_pages[cpu])
        self.stock_pages[cpu] = 0
        self.stock_memcg[cpu] = 0

    @cython.ccall
    def drain_all_stock(self, memcg: cython.int) -> cython.int:
        """Empty every CPU's stock of the group or of one below it; how many had pages."""
        cpu: cython.int
        drained: cython.int = 0
        for cpu in range(self.nr_cpus):
            if self.obj_bytes[cpu] > 0 and self.table.is_descendant(self.obj_memcg[cpu], memcg):
                self.drain_obj_stock(cpu)
            if self.stock_pages[cpu] > 0 and self.table.is_descendant(self.stock_memcg[cpu], memcg):
                self.drain_stock(cpu)
                drained += 1
        return drained

    # -- objects -------------------------------------------------------------------------------

    @cython.ccall
    @cython.exceptval(check=False)
    def consume_obj_stock(self, memcg: cython.int, size_bytes: cython.int) -> cython.int:
        """1 when this CPU has `size_bytes` of charged pages left for an object of the group."""
        cpu: cython.int = self.cpu
        if self.obj_memcg[cpu] != memcg or self.obj_bytes[cpu] < size_bytes:
            return 0
        self.obj_bytes[cpu] -= size_bytes
        return 1

    @cython.ccall
    @cython.exceptval(check=False)
    def refill_obj_stock(
        self, memcg: cython.int, size_bytes: cython.int, pages: cython.int
    ) -> cython.void:
        """Bytes that no object uses go to this CPU; whole pages of them back with GIVE_PAGES."""
        # mm/memcontrol.c refill_obj_stock(), v6.1 and v6.12
        cpu: cython.int = self.cpu
        if self.obj_memcg[cpu] != memcg:
            self.drain_obj_stock(cpu)
            self.obj_memcg[cpu] = memcg
            self.obj_bytes[cpu] = self.obj_left[memcg]
            self.obj_left[memcg] = 0
            pages = GIVE_PAGES
        self.obj_bytes[cpu] += size_bytes
        if pages == GIVE_PAGES and self.obj_bytes[cpu] > PAGE_SIZE:
            nr_pages: cython.int = self.obj_bytes[cpu] >> 12
            self.obj_bytes[cpu] &= PAGE_SIZE - 1
            self.uncharge_kmem(memcg, nr_pages)

    @cython.ccall
    @cython.exceptval(check=False)
    def uncharge_object(self, memcg: cython.int, size_bytes: cython.int) -> cython.void:
        """An object of the group was freed (obj_cgroup_uncharge)."""
        if memcg > 0:
            self.refill_obj_stock(memcg, size_bytes, GIVE_PAGES)

    @cython.cfunc
    @cython.exceptval(check=False)
    def drain_obj_stock(self, cpu: cython.int) -> cython.void:
        """Whole pages of a CPU's bytes go back, the rest stays with the group."""
        # mm/memcontrol.c drain_obj_stock(), v6.1
        memcg: cython.int = self.obj_memcg[cpu]
        nr_pages: cython.int = self.obj_bytes[cpu] >> 12
        if memcg > 0 and nr_pages > 0:
            self.uncharge_kmem(memcg, nr_pages)
        self.obj_left[memcg] += self.obj_bytes[cpu] & (PAGE_SIZE - 1)
        self.obj_bytes[cpu] = 0
        self.obj_memcg[cpu] = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def commit_charge(self, pfn: cython.int, memcg: cython.int) -> cython.void:
        """The page belongs to the group from now on; its pages are already charged."""
        self.mem.memcg[pfn] = memcg
        if memcg > 0:
            self.table.count_event(memcg, PGPGIN, 1)

    @cython.cfunc
    @cython.exceptval(check=False)
    def uncharge_page(self, pfn: cython.int) -> cython.void:
        """A freed page (its whole folio) gives its charge back (uncharge_folio, uncharge_batch)."""
        memcg: cython.int = self.mem.memcg[pfn]
        if memcg <= 0:
            return
        nr_pages: cython.longlong = 1
        nr_pages = nr_pages << self.mem.order[pfn]
        self.counter_add(self.table.usage, memcg, -nr_pages)
        if self.table.version == CGROUP_V1:
            self.counter_add(self.table.memsw_usage, memcg, -nr_pages)
        self.mem.memcg[pfn] = 0
        self.table.count_event(memcg, PGPGOUT, 1)

    @cython.cfunc
    @cython.exceptval(check=False)
    def account_kmem(self, memcg: cython.int, nr_pages: cython.longlong) -> cython.void:
        """Of the group's usage, `nr_pages` more (or fewer) are kernel memory."""
        self.counter_add(self.table.kmem, memcg, nr_pages)

    @cython.ccall
    @cython.exceptval(check=False)
    def uncharge_kmem(self, memcg: cython.int, nr_pages: cython.int) -> cython.void:
        """Kernel pages (page tables) freed: their charge goes to the stock."""
        # mm/memcontrol.c obj_cgroup_uncharge_pages(), v6.1
        if memcg > 0:
            self.account_kmem(memcg, -nr_pages)
            self.refill_stock(memcg, nr_pages)

    @cython.ccall
    def margin(self, memcg: cython.int) -> cython.longlong:
        """Pages that can still be charged to the group itself (mem_cgroup_margin, v6.1)."""
        left: cython.longlong = self.table.max[memcg] - self.table.usage[memcg]
        if self.table.version == CGROUP_V1:
            memsw_left: cython.longlong = (
                self.table.memsw_max[memcg] - self.table.memsw_usage[memcg]
            )
            if memsw_left < left:
                left = memsw_left
        return left if left > 0 else 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def try_charge_swap(self, memcg: cython.int, nr_pages: cython.int) -> cython.int:
        """Charge swap slots (v2): 0, or -1 when memory.swap.max is in the way."""
        # mm/memcontrol.c __mem_cgroup_try_charge_swap(), v6.1
        if memcg <= 0 or self.table.version == CGROUP_V1:
            return 0
        at: cython.int = memcg
        while at > 0:
            if self.table.swap_usage[at] + nr_pages > self.table.swap_max[at]:
                self.table.memory_event_add(memcg, MEMCG_SWAP_MAX)
                self.table.memory_event_add(memcg, MEMCG_SWAP_FAIL)
                return -1
            at = self.table.parent[at]
        self.counter_add(self.table.swap_usage, memcg, nr_pages)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def swapout(self, pfn: cython.int) -> cython.int:
        """A page leaves memory for its slot (v1): memory is uncharged, memsw stays with the slot.

        Returns the group to record for the slot, or 0 when slots are charged apart (v2).
        """
        # mm/memcontrol.c mem_cgroup_swapout(), v6.1
        memcg: cython.int = self.mem.memcg[pfn]
        if memcg <= 0 or self.table.version != CGROUP_V1:
            return 0
        self.mem.memcg[pfn] = 0
        self.counter_add(self.table.usage, memcg, -1)
        self.table.count_event(memcg, PGPGOUT, 1)
        return memcg

    @cython.cfunc
    @cython.exceptval(check=False)
    def uncharge_swap(self, memcg: cython.int, nr_pages: cython.int) -> cython.void:
        """Slots freed (v2), or their page read back (v1)."""
        if memcg <= 0:
            return
        if self.table.version == CGROUP_V1:
            self.counter_add(self.table.memsw_usage, memcg, -nr_pages)
        else:
            self.counter_add(self.table.swap_usage, memcg, -nr_pages)

    @cython.ccall
    def nr_swap_pages(
        self, memcg: cython.int, machine_free_pages: cython.longlong
    ) -> cython.longlong:
        """Slots the group may still take of `machine_free_pages` (mem_cgroup_get_nr_swap_pages)."""
        left: cython.longlong = machine_free_pages
        if self.table.version == CGROUP_V1:
            return left
        at: cython.int = memcg
        while at > 0:
            room: cython.longlong = self.table.swap_max[at] - self.table.swap_usage[at]
            if room < left:
                left = room
            at = self.table.parent[at]
        return left

    @cython.ccall
    def swap_full(self, memcg: cython.int) -> cython.int:
        """1 when the group has used half of its swap (mem_cgroup_swap_full less vm_swap_full)."""
        if self.table.version == CGROUP_V1:
            return 0
        at: cython.int = memcg
        while at > 0:
            if self.table.swap_usage[at] * 2 >= self.table.swap_max[at]:
                return 1
            at = self.table.parent[at]
        return 0

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of all state, for digests."""
        return [
            ("stock_memcg", self.stock_memcg),
            ("stock_pages", self.stock_pages),
            ("obj_memcg", self.obj_memcg),
            ("obj_bytes", self.obj_bytes),
            ("obj_left", self.obj_left[: self.table.nr]),
        ]

    def verify(self) -> None:
        """usage of a leaf == its charged LRU and kernel pages + its stock."""
        charged = [0] * self.table.nr
        for pfn in range(self.mem.nr_frames):
            if self.mem.memcg[pfn] > 0:
                charged[self.mem.memcg[pfn]] += 1
        for cpu in range(self.nr_cpus):
            charged[self.stock_memcg[cpu]] += self.stock_pages[cpu]
        for memcg in range(self.table.nr - 1, 0, -1):
            parent = self.table.parent[memcg]
            if parent > 0:
                charged[parent] += charged[memcg]
            # kernel pages charged without a frame's row (slab objects) are in kmem alone
            slack = self.table.usage[memcg] - charged[memcg]
            if not 0 <= slack <= self.table.kmem[memcg]:
                raise InternalError(
                    f"charge.verify: usage of {self.table.names[memcg]!r} is "
                    f"{self.table.usage[memcg]}, pages and stocks make {charged[memcg]}, "
                    f"kmem is {self.table.kmem[memcg]}"
                )
