"""Owns the touch of a page: the walk, the hit, and which kind of fault a miss is.

Imports the rest of fault/, address_space, clock, cost, vmstat. Has never heard of tasks: it is
told the mm. What an OOM means is process/oom's affair: a touch then answers VM_FAULT_OOM and can
be made again.

The trace loop: `touch_seq`, `touch_list` and `touch_many` run a batch of touches and return how
far they came; they stop early at an error (`verdict`) or when the clock says another task should
run (`must_yield`).
"""

from __future__ import annotations

import cython

from memtwin.address_space.mm import Mm
from memtwin.address_space.page_table import PageTables
from memtwin.address_space.vm_flags import (
    VM_ACCESS,
    VM_EXEC,
    VM_GROWSDOWN,
    VM_LOCKED,
    VM_WRITE,
    VMA_ANON,
)
from memtwin.address_space.vma import VMA
from memtwin.address_space.vma_tree import VmaTree
from memtwin.fault.anonymous import AnonFault
from memtwin.fault.cow import Cow
from memtwin.fault.file_fault import FileFault
from memtwin.fault.swapin import SwapFault
from memtwin.fault.table_alloc import TableAlloc
from memtwin.fault.thp import Thp
from memtwin.fault.verdicts import (
    EXEC,
    VM_FAULT_ERROR,
    VM_FAULT_FALLBACK,
    VM_FAULT_MAJOR,
    VM_FAULT_OOM,
    VM_FAULT_RETRY,
    VM_FAULT_SIGBUS,
    VM_FAULT_SIGSEGV,
    WRITE,
)
from memtwin.hardware.clock import Clock
from memtwin.hardware.cost import CostTable
from memtwin.hardware.pte import (
    HUGE_ENTRY,
    PTE_ACCESSED,
    PTE_DIRTY,
    PTE_PRESENT,
    PTE_RW,
    PTE_USER,
    TABLE_SHIFT,
)
from memtwin.memcg.table import MemcgTable
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import PGFAULT

if not cython.compiled:
    from memtwin.columns import I1, I8

_MAX_PASSES = 64  # a touch that still faults after so many faults is our bug
_NO_BLOCK = -1


@cython.final
@cython.cclass
class Access:
    """Touches pages on behalf of whatever mm it is given."""

    def __init__(
        self,
        anon: AnonFault,
        file: FileFault,
        cow: Cow,
        swap_fault: SwapFault,
        thp: Thp,
        table_alloc: TableAlloc,
        memcg: MemcgTable,
    ) -> None:
        self.tables: PageTables = anon.tables
        self.clock: Clock = anon.clock
        self.cost: CostTable = anon.cost
        self.tunables: Tunables = anon.tunables
        self.vmstat: VmStat = cow.vmstat
        self.anon = anon
        self.file = file
        self.cow = cow
        self.swap_fault = swap_fault
        self.thp = thp
        self.table_alloc = table_alloc
        self.memcg = memcg
        self.stack_limit_pages = 2048  # RLIMIT_STACK of the running task, 8 MiB
        self.verdict = 0  # of the last touch or batch: 0 or an error
        self.count_first = 1 if anon.tunables.kernel < 602 else 0
        self._pgd = -1  # the page table that the last touch used
        self._block = _NO_BLOCK
        self._base = 0
        self._generation = 0
        self._oom_mm = -1  # the fault that found no memory: its mm and page
        self._oom_vpn = 0
        self._area: VMA | None = None  # where the running batch last faulted

    @cython.ccall
    def spend(self, duration_ns: cython.longlong) -> cython.int:
        """Let the running task compute for `duration_ns`.

        for system calls, which are plain Python.
        """
        self.clock.spend(duration_ns)
        return 0

    @cython.ccall
    def touch(self, mm: Mm, vpn: cython.longlong, kind: cython.int) -> cython.int:
        """Load from, store to or execute page `vpn`.

        0, VM_FAULT_MAJOR, or an error of VM_FAULT_ERROR.
        """
        self.clock.spend_user(self.cost.touch_ns)
        self.verdict = 0
        if self.hit(mm.pgd, vpn, kind):
            return 0
        return self.miss(mm, vpn, kind)

    @cython.cfunc
    @cython.exceptval(check=False)
    def hit(self, pgd: cython.int, vpn: cython.longlong, kind: cython.int) -> cython.int:
        """Do what the processor does without a fault: 1 when the entry allows the touch."""
        if vpn >> TABLE_SHIFT != self._block or pgd != self._pgd:
            if self.find_table(pgd, vpn) == 0:
                return 0
        elif self._generation != self.tables.generation and self.find_table(pgd, vpn) == 0:
            return 0
        at: cython.longlong = self._base | (vpn & ((1 << TABLE_SHIFT) - 1))
        entry: cython.longlong = self.tables.pte[at]
        if kind == WRITE:
            if entry & (PTE_PRESENT | PTE_USER | PTE_RW) != PTE_PRESENT | PTE_USER | PTE_RW:
                return 0
            self.tables.pte[at] = entry | PTE_ACCESSED | PTE_DIRTY
            return 1
        if entry & (PTE_PRESENT | PTE_USER) != PTE_PRESENT | PTE_USER:
            return 0
        if kind == EXEC and entry < 0:  # PTE_NX is the sign
            return 0
        self.tables.pte[at] = entry | PTE_ACCESSED
        return 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def find_table(self, pgd: cython.int, vpn: cython.longlong) -> cython.int:
        """Remember the page table over `vpn`: 1, or 0 when there is none."""
        self._block = _NO_BLOCK
        at: cython.longlong = self.tables.lookup(pgd, vpn)
        if at < 0:
            return 0
        self._base = at & ~((1 << TABLE_SHIFT) - 1)
        self._block = vpn >> TABLE_SHIFT
        self._pgd = pgd
        self._generation = self.tables.generation
        return 1

    @cython.cfunc
    def miss(self, mm: Mm, vpn: cython.longlong, kind: cython.int) -> cython.int:
        """Fault until the touch succeeds or fails for good; the verdict."""
        verdict: cython.int
        seen: cython.int = 0
        _pass: cython.int
        if self.tables.lookup(mm.pgd, vpn) == HUGE_ENTRY and self.thp.hit(mm, vpn, kind):
            return 0
        for _pass in range(_MAX_PASSES):
            verdict = self.handle_fault(mm, vpn, kind)
            seen |= verdict & VM_FAULT_MAJOR
            if verdict & VM_FAULT_ERROR:
                self.verdict = verdict & VM_FAULT_ERROR
                return self.verdict
            if self.hit(mm.pgd, vpn, kind) or self.thp.hit(mm, vpn, kind):
                return seen
        raise AssertionError(f"fault.access.miss: page {vpn:#x} faults for ever, kind {kind}")

    @cython.cfunc
    def write_fast(self, mm: Mm, vpn: cython.longlong, spent_ns: cython.longlong) -> cython.int:
        """The common first write, without a walk: 1 done, 0 not that case, -1 no memory.

        The table is the one that `hit` just looked in, the area the one of the last fault. It does
        exactly what `miss` would do. `spent_ns` is what the batch owes the clock.
        """
        vma: VMA | None = self._area
        if vma is None or vma.mm is not mm or vpn < vma.start_vpn or vpn >= vma.end_vpn:
            return 0
        if vpn >> TABLE_SHIFT != self._block or mm.pgd != self._pgd:
            return 0
        at: cython.longlong = self._base | (vpn & ((1 << TABLE_SHIFT) - 1))
        if self.tables.pte[at] != 0 or self._generation != self.tables.generation:
            return 0
        self.clock.user_ns += spent_ns
        self.clock.spend(spent_ns + self.cost.minor_fault_ns)
        self.count_fault(mm)
        if self.count_first:
            mm.check_sync_rss()
        if self.anon.write_new(vma, vpn, at) != 0:
            self.verdict = VM_FAULT_OOM
            self.stop_for_memory(mm, vpn)
            return -1
        mm.min_flt += 1
        return 1

    @cython.cfunc
    @cython.exceptval(check=False)
    def remember(self, vma: VMA) -> cython.void:
        """Let `write_fast` serve the coming faults of this area, if it is of the common kind."""
        plain: cython.longlong = vma.vm_flags & (VM_WRITE | VM_LOCKED)
        if vma.kind == VMA_ANON and plain == VM_WRITE and vma.anon_vma != 0:
            self._area = vma

    @cython.ccall
    def handle_fault(self, mm: Mm, vpn: cython.longlong, kind: cython.int) -> cython.int:
        """One fault, retries included (do_user_addr_fault(), arch/x86/mm/fault.c, v6.1).

        VM_FAULT_*.
        """
        self.clock.spend(self.cost.minor_fault_ns)
        vma: VMA | None = self.area(mm, vpn)
        if vma is None or not self.allowed(vma, kind):
            return VM_FAULT_SIGSEGV
        tried: cython.int = 0
        # arch/x86/mm/fault.c do_user_addr_fault(), v6.12: the first attempt holds only the area's
        # lock; starting again without it makes a fault major only if it was
        area_locked: cython.int = 1 - self.count_first
        major: cython.int = 0
        verdict: cython.int
        resumed: cython.int = 1 if mm.id == self._oom_mm and vpn == self._oom_vpn else 0
        self._oom_mm = -1
        while True:
            if self.count_first and (tried or not resumed):
                self.count_fault(mm)
                mm.check_sync_rss()
            verdict = self.handle_mm_fault(vma, vpn, kind, tried)
            if verdict & VM_FAULT_ERROR or not verdict & VM_FAULT_RETRY:
                break
            tried = 1 if not area_locked or verdict & VM_FAULT_MAJOR else 0
            area_locked = 0
        if not self.count_first and not resumed:
            self.count_fault(mm)
        if verdict & VM_FAULT_ERROR:
            if verdict & VM_FAULT_OOM:
                self.stop_for_memory(mm, vpn)
            return verdict & VM_FAULT_ERROR
        self.remember(vma)
        # mm/memory.c mm_account_fault(), v6.1: a fault that had to start again was major
        major = 1 if tried or verdict & VM_FAULT_MAJOR else 0
        if major:
            mm.maj_flt += 1
            return VM_FAULT_MAJOR
        mm.min_flt += 1
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def stop_for_memory(self, mm: Mm, vpn: cython.longlong) -> cython.void:
        """The fault is made again once the OOM killer has acted, and is counted only once.

        The kernel kills inside the allocation, which then goes on (mm/page_alloc.c
        __alloc_pages_may_oom(), v6.1).
        """
        self._oom_mm = mm.id
        self._oom_vpn = vpn

    @cython.cfunc
    def count_fault(self, mm: Mm) -> cython.int:
        """PGFAULT, of the machine and of the group."""
        self.vmstat.event[PGFAULT] += 1
        if mm.memcg > 0:
            self.memcg.count_event(mm.memcg, PGFAULT, 1)
        return 0

    @cython.cfunc
    def area(self, mm: Mm, vpn: cython.longlong) -> VMA | None:
        """The area under `vpn`, a stack grown down to it if need be, or None."""
        tree: VmaTree = mm.tree  # type: ignore[assignment]
        vma: VMA | None = tree.find(vpn)
        if vma is not None:
            return vma
        above: VMA | None = tree.at(tree.first_ending_above(vpn))
        if above is None or not above.vm_flags & VM_GROWSDOWN:
            return None
        # mm/mmap.c expand_downwards() and acct_stack_growth(), v6.1
        grow: cython.longlong = above.start_vpn - vpn
        if above.end_vpn - vpn > self.stack_limit_pages:
            return None
        tree.set_range(above, vpn, above.end_vpn)
        above.pgoff -= grow
        mm.total_vm += grow
        mm.stack_vm += grow
        return above

    @cython.cfunc
    def allowed(self, vma: VMA, kind: cython.int) -> cython.int:
        """arch/x86/mm/fault.c access_error(), v6.1, turned round."""
        if kind == WRITE:
            return 1 if vma.vm_flags & VM_WRITE else 0
        if kind == EXEC:
            return 1 if vma.vm_flags & VM_EXEC else 0
        return 1 if vma.vm_flags & VM_ACCESS else 0

    @cython.cfunc
    def handle_mm_fault(
        self, vma: VMA, vpn: cython.longlong, kind: cython.int, tried: cython.int
    ) -> cython.int:
        """Tables, then the kind of fault that the entry asks for (__handle_mm_fault(), v6.1)."""
        mm: Mm = vma.mm
        verdict: cython.int
        at: cython.longlong = self.tables.lookup(mm.pgd, vpn)
        if at < 0:
            if at == HUGE_ENTRY:
                if self.thp.huge_fault(vma, vpn, kind) != VM_FAULT_FALLBACK:
                    return 0
            elif self.thp.may_try(vma, vpn):
                verdict = self.thp.anonymous(vma, vpn, kind)
                if verdict != VM_FAULT_FALLBACK:
                    return verdict
            if self.table_alloc.ensure(mm, vpn, 0) < 0:
                return VM_FAULT_OOM
            at = self.tables.lookup(mm.pgd, vpn)
        entry: cython.longlong = self.tables.pte[at]
        if entry == 0:
            if vma.kind == VMA_ANON:
                if kind == WRITE:
                    return self.anon.write_new(vma, vpn, at)
                return self.anon.read_zero(vma, at)
            return self.file.do_fault(vma, vpn, at, kind, tried)
        if not entry & PTE_PRESENT:
            return self.swap_fault.do_swap_page(vma, vpn, at, kind, tried)
        if kind == WRITE and not entry & PTE_RW:
            return self.cow.do_wp_page(vma, vpn, at)
        if not entry & PTE_USER:
            return VM_FAULT_SIGBUS
        self.tables.pte[at] = entry | PTE_ACCESSED
        return 0

    # batches

    @cython.cfunc
    def fault_in_batch(
        self, mm: Mm, vpn: cython.longlong, kind: cython.int, spent_ns: cython.longlong
    ) -> cython.int:
        """A touch of a batch that `hit` refused: 1 when it failed for good (`verdict`)."""
        fast: cython.int = 0
        if kind == WRITE:
            fast = self.write_fast(mm, vpn, spent_ns)
        if fast == 0:
            self.clock.spend_user(spent_ns)
            return 1 if self.miss(mm, vpn, kind) & VM_FAULT_ERROR else 0
        return 1 if fast < 0 else 0

    @cython.ccall
    def touch_seq(
        self,
        mm: Mm,
        base_vpn: cython.longlong,
        first: cython.longlong,
        stride: cython.longlong,
        modulo: cython.longlong,
        start: cython.longlong,
        count: cython.longlong,
        kind: cython.int,
    ) -> cython.longlong:
        """Touch base + (first + i * stride) % modulo for i in start .. count - 1; the i reached."""
        touch_ns: cython.longlong = self.cost.touch_ns
        offset: cython.longlong = (first + start * stride) % modulo
        step: cython.longlong = stride % modulo
        i: cython.longlong = start
        run: cython.longlong = 0  # hits whose time is not yet spent
        self.verdict = 0
        self._area = None
        while i < count:
            if self.hit(mm.pgd, base_vpn + offset, kind):
                run += 1
                if run == 1024:
                    self.clock.spend_user(run * touch_ns)
                    run = 0
            else:
                if self.fault_in_batch(mm, base_vpn + offset, kind, (run + 1) * touch_ns):
                    return i
                run = 0
            i += 1
            offset += step
            if offset >= modulo:
                offset -= modulo
            if self.clock.must_yield:
                break
        self.clock.spend_user(run * touch_ns)
        return i

    @cython.ccall
    def touch_list(
        self,
        mm: Mm,
        vpns: I8,
        start: cython.longlong,
        end: cython.longlong,
        kind: cython.int,
    ) -> cython.longlong:
        """Touch vpns[start] .. vpns[end - 1], all of one kind; the index reached."""
        i: cython.longlong = start
        run: cython.longlong = 0
        self.verdict = 0
        self._area = None
        while i < end:
            if self.hit(mm.pgd, vpns[i], kind):
                run += 1
                if run == 1024:
                    self.clock.spend_user(run * self.cost.touch_ns)
                    run = 0
            else:
                if self.fault_in_batch(mm, vpns[i], kind, (run + 1) * self.cost.touch_ns):
                    return i
                run = 0
            i += 1
            if self.clock.must_yield:
                break
        self.clock.spend_user(run * self.cost.touch_ns)
        return i

    @cython.ccall
    def touch_many(
        self,
        mm: Mm,
        vpns: I8,
        kinds: I1,
        start: cython.longlong,
        end: cython.longlong,
    ) -> cython.longlong:
        """Touch vpns[start] .. vpns[end - 1], each of its own kind; the index reached."""
        i: cython.longlong = start
        run: cython.longlong = 0
        self.verdict = 0
        self._area = None
        while i < end:
            if self.hit(mm.pgd, vpns[i], kinds[i]):
                run += 1
                if run == 1024:
                    self.clock.spend_user(run * self.cost.touch_ns)
                    run = 0
            else:
                if self.fault_in_batch(mm, vpns[i], kinds[i], (run + 1) * self.cost.touch_ns):
                    return i
                run = 0
            i += 1
            if self.clock.must_yield:
                break
        self.clock.spend_user(run * self.cost.touch_ns)
        return i
