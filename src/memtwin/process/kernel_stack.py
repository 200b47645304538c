"""Owns the frames of tasks' kernel stacks. Imports slowpath, table_alloc, vmstat.

kernel/fork.c alloc_thread_stack_node(), v6.1: four pages by vmalloc, and two stacks of the dead
kept per CPU.
"""

from __future__ import annotations

from memtwin.fault.table_alloc import TableAlloc
from memtwin.memcg.constants import CHARGE_OK
from memtwin.page.flags import PG_KSTACK
from memtwin.page.gfp import GFP_HIGHMEM, GFP_KERNEL
from memtwin.page.mem_map import MemMap
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import NR_KERNEL_STACK, NR_NODE_ITEMS
from memtwin.reclaim.slowpath import Slowpath

STACK_PAGES = 4  # THREAD_SIZE 16 KiB
STACK_KIB = 16
NR_CACHED_STACKS = 2  # kernel/fork.c NR_CACHED_STACKS, v6.1


class KernelStacks:
    """Makes and drops kernel stacks."""

    def __init__(
        self, mem: MemMap, slowpath: Slowpath, frames: TableAlloc, vmstat: VmStat, nr_cpus: int
    ) -> None:
        self.mem = mem
        self.slowpath = slowpath
        self.frames = frames
        self.vmstat = vmstat
        self.cached: list[list[list[int]]] = [[] for _ in range(nr_cpus)]
        self.stacks: dict[int, list[int]] = {}  # first frame -> all, the cached ones too

    def take(self, memcg_id: int, cpu: int) -> list[int] | None:
        """Frames of a new stack charged to a group, or None when there is no memory."""
        frames = self.cached[cpu].pop() if self.cached[cpu] else self._allocate()
        if frames is None:
            return None
        if memcg_id > 0:
            if self.slowpath.charge_kmem(memcg_id, STACK_PAGES, GFP_KERNEL) != CHARGE_OK:
                self.cached[cpu].append(frames)
                return None
        for pfn in frames:
            self.mem.memcg[pfn] = memcg_id
        self._count(frames, STACK_KIB)
        return frames

    def _count(self, frames: list[int], kib: int) -> None:
        zones = self.slowpath.page_alloc.zones
        node = zones.zone_of(frames[0]) // zones.nr_types
        self.vmstat.node_stat[node * NR_NODE_ITEMS + NR_KERNEL_STACK] += kib

    def _allocate(self) -> list[int] | None:
        frames: list[int] = []
        for _ in range(STACK_PAGES):
            pfn = self.slowpath.alloc_page(GFP_KERNEL | GFP_HIGHMEM, 0)
            if pfn < 0:
                for taken in frames:
                    self.slowpath.page_alloc.put_page(taken)
                return None
            self.mem.flags[pfn] |= PG_KSTACK
            frames.append(pfn)
        self.stacks[frames[0]] = frames
        return frames

    def keep(self, frames: list[int], cpu: int) -> None:
        """Booting left the stack of a dead task on `frames`: the next task on that CPU gets it."""
        for pfn in frames:
            self.mem.flags[pfn] |= PG_KSTACK
        self.stacks[frames[0]] = frames
        self.cached[cpu].append(frames)

    def nr_pages(self) -> int:
        """Pages of all stacks, which vmalloc gave (mm/vmalloc.c nr_vmalloc_pages, v6.1)."""
        return len(self.stacks) * STACK_PAGES

    def drop(self, frames: list[int], cpu: int) -> None:
        """The task is gone: uncharge, keep the stack for the next task or free it."""
        self._count(frames, -STACK_KIB)
        for pfn in frames:
            self.frames.uncharge(pfn)
        if len(self.cached[cpu]) < NR_CACHED_STACKS:
            self.cached[cpu].append(frames)
            return
        self.stacks.pop(frames[0], None)
        for pfn in frames:
            self.mem.flags[pfn] &= ~PG_KSTACK
            self.slowpath.page_alloc.put_page(pfn)

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [("cached", [pfn for cpu in self.cached for frames in cpu for pfn in frames])]
