"""Owns one address space's bookkeeping (the kernel's mm_struct): counters, limits of its segments.

Imports columns, tunables and vm_flags. Has never heard of pages, areas or tasks: the tree of
areas is held as an object whose type `vma_tree` knows. An Mm's life: made by fork or exec ->
users > 0 -> exit_mmap -> dropped.

Resident counters have two parts, as in the kernel: what readers see (`rss`), and what the running
task or CPU has not yet added (`rss_pending`). In 6.1 a task folds its part every 65 faults
(mm/memory.c check_sync_rss_stat(), v6.1); in 6.12 a CPU folds a counter when it reaches the
per-CPU batch (lib/percpu_counter.c percpu_counter_add_batch(), v6.12). The sum of both is always
exact.
"""

# DIFFERS: threads of one mm share the unfolded part; a task is a whole process here; VmRSS of
# threaded programs between folds, by less than 64 pages

from __future__ import annotations

import cython

from memtwin.address_space.vm_flags import (
    MM_ANONPAGES,
    MM_FILEPAGES,
    MM_SHMEMPAGES,
    MM_SWAPENTS,
    NR_MM_COUNTERS,
)
from memtwin.columns import Column, zeros
from memtwin.errors import require
from memtwin.hardware.pte import TASK_SIZE_VPN
from memtwin.page.tunables import Tunables

COLUMNS = (
    Column("rss", "i8", "whoever maps", "pages seen by readers; row is a MM_* number"),
    Column("rss_pending", "i8", "whoever maps", "pages not yet folded into rss; may be negative"),
)
TASK_RSS_EVENTS_THRESH = 64  # mm/memory.c TASK_RSS_EVENTS_THRESH, v6.1
_SIZES = ("total_vm", "locked_vm", "data_vm", "exec_vm", "stack_vm", "hiwater_vm", "hiwater_rss")
_SEGMENTS = ("start_code", "end_code", "start_data", "end_data", "start_brk", "brk", "start_stack")


@cython.final
@cython.cclass
class Mm:
    """One address space. Sizes are pages; segment borders are vaddrs in bytes."""

    def __init__(self, mm_id: int, tunables: Tunables) -> None:
        self.id = mm_id
        self.tunables = tunables
        self.pgd = -1  # id of the top table
        self.tree: object = None
        self.users = 1
        self.memcg = 0
        self.def_flags = 0
        self.rss = zeros(NR_MM_COUNTERS, "i8")
        self.rss_pending = zeros(NR_MM_COUNTERS, "i8")
        self.rss_events = 0
        # 6.2 replaced task counters by per-CPU ones
        self.split_rss = 1 if tunables.kernel < 602 else 0
        # lib/percpu_counter.c compute_batch_value(), v6.12
        self.rss_batch = max(32, 2 * tunables.nr_cpus)
        self.pgtables_bytes = 0
        self.hiwater_rss = 0
        for name in (*_SIZES, *_SEGMENTS):
            setattr(self, name, 0)
        self.mmap_base_vpn = TASK_SIZE_VPN - 0x8000
        self.min_flt = 0
        self.maj_flt = 0
        self.oom_skip = 0  # MMF_OOM_SKIP: nothing more to gain from it

    @cython.cfunc
    @cython.exceptval(check=False)
    def inc_rss(self, kind: cython.int) -> cython.void:
        """Count one more page of the running task's own mm."""
        self.rss_pending[kind] += 1
        if self.split_rss == 0 and self.rss_pending[kind] >= self.rss_batch:
            self.rss[kind] += self.rss_pending[kind]
            self.rss_pending[kind] = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def dec_rss(self, kind: cython.int) -> cython.void:
        """Count one page of the running task's own mm less."""
        self.rss_pending[kind] -= 1
        if self.split_rss == 0 and self.rss_pending[kind] <= -self.rss_batch:
            self.rss[kind] += self.rss_pending[kind]
            self.rss_pending[kind] = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def check_sync_rss(self) -> cython.void:
        """Fold when enough faults went by; called once a fault."""
        if self.split_rss == 0:
            return
        self.rss_events += 1
        if self.rss_events > TASK_RSS_EVENTS_THRESH + 1:
            self.sync_rss()

    @cython.ccall
    def sync_rss(self) -> cython.void:
        """Fold everything pending (mm/memory.c sync_mm_rss(), v6.1)."""
        kind: cython.int
        for kind in range(NR_MM_COUNTERS):
            self.rss[kind] += self.rss_pending[kind]
            self.rss_pending[kind] = 0
        self.rss_events = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def add_rss(self, kind: cython.int, delta: cython.longlong) -> cython.void:
        """Add `delta` pages from outside the task: reclaim, fork, unmapping."""
        if self.split_rss:
            self.rss[kind] += delta
            return
        self.rss_pending[kind] += delta
        if self.rss_pending[kind] >= self.rss_batch or self.rss_pending[kind] <= -self.rss_batch:
            self.rss[kind] += self.rss_pending[kind]
            self.rss_pending[kind] = 0

    @cython.ccall
    def counter(self, kind: cython.int) -> cython.longlong:
        """Pages of `kind` as the kernel's quick readers see them (oom_badness, 6.1's VmRSS)."""
        found: cython.longlong = self.rss[kind]
        return found if found > 0 else 0

    @cython.ccall
    def exact_counter(self, kind: cython.int) -> cython.longlong:
        """Pages of `kind`, pending ones included."""
        return self.rss[kind] + self.rss_pending[kind]

    @cython.ccall
    def shown_counter(self, kind: cython.int) -> cython.longlong:
        """Pages of `kind` as /proc shows them (6.12.x sums the CPUs' parts, 6.1 does not)."""
        return self.counter(kind) if self.split_rss else self.exact_counter(kind)

    @cython.ccall
    def get_rss(self) -> cython.longlong:
        """get_mm_rss(): resident pages as quick readers see them."""
        return self.counter(MM_FILEPAGES) + self.counter(MM_ANONPAGES) + self.counter(MM_SHMEMPAGES)

    @cython.ccall
    def update_hiwater_rss(self) -> cython.void:
        """Remember the peak before pages go."""
        now: cython.longlong = self.get_rss()
        if now > self.hiwater_rss:
            self.hiwater_rss = now

    def shown_rss(self) -> int:
        """Resident pages as /proc shows them."""
        kinds = (MM_FILEPAGES, MM_ANONPAGES, MM_SHMEMPAGES)
        return sum(int(self.shown_counter(kind)) for kind in kinds)

    def verify(self) -> None:
        """No counter may be below 0 once pending parts are added."""
        for kind in range(NR_MM_COUNTERS):
            held = self.exact_counter(kind)
            require(held >= 0, "address_space.mm.verify", f"mm {self.id}: counter {kind} is {held}")
        require(
            self.pgtables_bytes >= 0,
            "address_space.mm.verify",
            f"mm {self.id}: pgtables_bytes is {self.pgtables_bytes}",
        )

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state but areas and tables, for digests."""
        names: tuple[str, ...] = (
            "id",
            "pgd",
            "users",
            "memcg",
            "pgtables_bytes",
            "rss_events",
            "mmap_base_vpn",
        )
        names += ("min_flt", "maj_flt", "oom_skip", *_SIZES, *_SEGMENTS)
        found: list[tuple[str, object]] = [(name, getattr(self, name)) for name in names]
        return [*found, ("rss", self.rss), ("rss_pending", self.rss_pending)]


@cython.final
@cython.cclass
class Mms:
    """All address spaces alive, in the order they were made (the kernel's init_mm.mmlist)."""

    def __init__(self, tunables: Tunables) -> None:
        self.tunables = tunables
        self.all: list[Mm] = []
        self.next_id = 1

    @cython.ccall
    def create(self) -> Mm:
        """A new, empty mm."""
        mm: Mm = Mm(self.next_id, self.tunables)
        self.next_id += 1
        self.all.append(mm)
        return mm

    def drop(self, mm: Mm) -> None:
        """Forget an mm whose pages and tables are gone."""
        for kind in (MM_FILEPAGES, MM_ANONPAGES, MM_SWAPENTS, MM_SHMEMPAGES):
            require(
                mm.exact_counter(kind) == 0,
                "address_space.mm.drop",
                f"mm {mm.id} still counts {mm.exact_counter(kind)} pages of kind {kind}",
            )
        require(
            mm.pgtables_bytes == 0,
            "address_space.mm.drop",
            f"mm {mm.id} still has {mm.pgtables_bytes} bytes of page tables",
        )
        self.all.remove(mm)

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        found: list[tuple[str, object]] = [("next_id", self.next_id)]
        for mm in self.all:
            found += [(f"mm{mm.id}.{name}", value) for name, value in mm.columns()]
        return found

    def verify(self) -> None:
        """Every mm's own counters hold."""
        for mm in self.all:
            mm.verify()
