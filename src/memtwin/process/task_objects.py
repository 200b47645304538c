"""Owns the slab objects that tasks and address spaces are made of.

Imports slab, reclaim/slowpath, file_io/objects, address_space. Has never heard of why a task is
made or ends: `fork_exit` takes a task's objects and gives them back; areas, their locks, tree
nodes and anon_vmas are counted where they change, and `settle` takes or gives back the difference.

# DIFFERS: objects of areas and anon_vmas are taken at the end of the call that made them (those of
# anon_vmas made by faults at the next fork, exit or look at the machine), and left out while no
# memory is to be had; calls settle once; the moment of a slab's page, and calls that fail for one.

# DIFFERS: anon_vmas and their chains are charged to nobody; areas share them; kernel memory of a
# group, by some hundred bytes a process.
"""

from __future__ import annotations

from memtwin.address_space.mm import Mm
from memtwin.file_io.objects import NO_SLAB, SHORT_OF_MEMORY, take_object
from memtwin.memcg.constants import CHARGE_OK, OBJ_OVERHEAD_BYTES
from memtwin.page.gfp import GFP_KERNEL
from memtwin.process.space import Space
from memtwin.reclaim.slowpath import Slowpath
from memtwin.slab.slub import Slub
from memtwin.units import NIL

# kind -> caches to look for, in order: the kernel merges caches of one size, and a merged one is
# not there by its own name
TASK_KINDS: tuple[tuple[str, ...], ...] = (  # kernel/fork.c copy_process(), v6.1, in its order
    ("task_struct",),
    ("cred_jar",),
    ("files_cache",),
    ("fs_cache", "anon_vma_chain"),
    ("sighand_cache",),
    ("signal_cache",),
    ("mm_struct",),
    ("pid",),
)
# of all threads of the kernel too, as many as /proc/loadavg counts; the others are of processes
KINDS_OF_THREADS = (0, 1, 4, 5, 7)
KINDS_OF_PROCESSES = (2, 3, 6)
ANON_VMA, ANON_VMA_CHAIN = 3, 4
MAPLE_NODE = 2  # lib/maple_tree.c maple_tree_init(), v6.1: the one kind without SLAB_ACCOUNT
AREA_KINDS: tuple[str, ...] = (
    "vm_area_struct",
    "vma_lock",  # kernel/fork.c vma_lock_alloc(), v6.12
    "maple_node",
    "anon_vma",
    "anon_vma_chain",
)
# lib/maple_tree.c MAPLE_RANGE64_SLOTS, MAPLE_ARANGE64_SLOTS, v6.1
LEAF_SLOTS, BRANCH_SLOTS = 16, 10


def tree_nodes(nr_areas: int) -> int:
    """Nodes of the tree of `nr_areas` areas.

    # MODEL: every third area has a gap below it, which takes a slot too, and nodes are full, as
    # after a fork; splits leave them emptier
    """
    if nr_areas <= 0:
        return 0
    level = -(-(nr_areas + nr_areas // 3 + 1) // LEAF_SLOTS)
    nodes = level
    while level > 1:
        level = -(-level // BRANCH_SLOTS)
        nodes += level
    return nodes


class TaskObjects:
    """Objects of tasks and address spaces, by the slabs they lie in."""

    def __init__(self, slub: Slub, slowpath: Slowpath, space: Space) -> None:
        self.slub = slub
        self.slowpath = slowpath
        self.space = space
        self._task_caches = [self._find(names) for names in TASK_KINDS]
        self._area_caches = [self._find((name,)) for name in AREA_KINDS]
        self._sigqueue = self._find(("sigqueue",))
        self.of_task: dict[int, list[int]] = {}  # pid -> slab of each of TASK_KINDS
        self.payer_of_task: dict[int, int] = {}  # pid -> the group that its objects are charged to
        # mm -> (slab, group) of areas, locks, tree nodes
        self.of_mm: dict[int, list[list[tuple[int, int]]]] = {}
        self.anon: list[list[tuple[int, int]]] = [[], []]  # slabs of anon_vmas, of their chains

    def _find(self, names: tuple[str, ...]) -> int:
        return next((int(c) for name in names if (c := self.slub.find(name)) != NIL), NIL)

    # tasks

    def _task_bytes(self) -> int:
        caches = [cache for cache in self._task_caches if cache != NIL]
        return sum(int(self.slub.cache(c).size_bytes) + OBJ_OVERHEAD_BYTES for c in caches)

    def take(self, memcg: int) -> list[int] | None:
        """The objects of a new task, charged to the group of the one that makes it; None and
        nothing taken when there is no memory."""
        slabs: list[int] = []
        if self.slowpath.charge_object(memcg, self._task_bytes(), GFP_KERNEL) != CHARGE_OK:
            return None
        for cache in self._task_caches:
            slab = take_object(self.slub, self.slowpath, cache)
            if slab == SHORT_OF_MEMORY:
                self.give_back(slabs, memcg)
                return None
            slabs.append(slab)
        return slabs

    def give_back(self, slabs: list[int], memcg: int) -> None:
        """Free the objects of a task that has ended or was never finished."""
        self.slowpath.charge.uncharge_object(memcg, self._task_bytes())
        for cache, slab in zip(self._task_caches, slabs, strict=False):
            self._free(cache, slab)

    def _free(self, cache: int, slab: int) -> None:
        if cache != NIL:
            self.slub.free_object(cache, slab)

    def begin(self, pid: int, slabs: list[int], memcg: int) -> None:
        """Let the task `pid` own what `take` answered."""
        self.of_task[pid] = slabs
        self.payer_of_task[pid] = memcg
        self.settle()

    def end(self, pid: int) -> None:
        """The task is gone: its objects and those of its areas are free.

        Its parent is told by SIGCHLD, whose queue entry it takes and lets go of
        (kernel/signal.c do_notify_parent(), v6.1).
        """
        slab = take_object(self.slub, self.slowpath, self._sigqueue)
        if slab != SHORT_OF_MEMORY:
            self._free(self._sigqueue, slab)
        if pid in self.of_task:
            self.give_back(self.of_task.pop(pid), self.payer_of_task.pop(pid))
        self.settle()

    # areas

    def settle_areas(self) -> None:
        """Take or give back objects of address spaces whose areas became more or fewer."""
        changed = self.space.areas.changed
        while changed:
            _, mm = changed.popitem()
            self._settle_mm(mm)

    def _settle_mm(self, mm: Mm) -> None:
        nr_areas = int(self.space.areas.tree(mm).nr)
        have = self.of_mm.setdefault(mm.id, [[], [], []])
        for kind, wanted in enumerate((nr_areas, nr_areas, tree_nodes(nr_areas))):
            memcg = 0 if kind == MAPLE_NODE else int(mm.memcg)
            self._settle_list(have[kind], self._area_caches[kind], wanted, memcg)
        if nr_areas == 0:
            del self.of_mm[mm.id]

    def _settle_list(
        self, have: list[tuple[int, int]], cache: int, wanted: int, memcg: int
    ) -> None:
        size_bytes = 0
        if cache != NIL:
            size_bytes = int(self.slub.cache(cache).size_bytes) + OBJ_OVERHEAD_BYTES
        while len(have) > wanted:
            slab, payer = have.pop()
            self._free(cache, slab)
            self.slowpath.charge.uncharge_object(payer, size_bytes)
        while len(have) < wanted:
            if self.slowpath.charge_object(memcg, size_bytes, GFP_KERNEL) != CHARGE_OK:
                return
            slab = take_object(self.slub, self.slowpath, cache)
            if slab == SHORT_OF_MEMORY:
                self.slowpath.charge.uncharge_object(memcg, size_bytes)
                return
            have.append((slab, memcg))

    def settle(self) -> None:
        """As `settle_areas`, and the same for anon_vmas, wherever they were made."""
        self.settle_areas()
        anon_vmas = self.space.anon_vmas
        links = sum(
            len(vma.chain) for mm in self.space.mms.all for vma in self.space.areas.tree(mm).vmas
        )
        live = len(anon_vmas.all) - 1 - len(anon_vmas.unused)
        self._settle_list(self.anon[0], self._area_caches[ANON_VMA], live, 0)
        self._settle_list(self.anon[1], self._area_caches[ANON_VMA_CHAIN], links, 0)

    def adopt(self, nr_threads: int) -> None:
        """The recorded slabs hold the objects of `nr_threads` threads and of what was made so far.

        Called when PID 1, the only process of a recorded start, is there. Objects that the text
        shows and nobody has are free: slabinfo counts those of per-CPU slabs as active.
        """
        self.space.areas.changed.clear()
        self.of_mm.clear()
        totals = [0] * len(AREA_KINDS)
        for mm in self.space.mms.all:
            nr_areas = int(self.space.areas.tree(mm).nr)
            counts = (nr_areas, nr_areas, tree_nodes(nr_areas))
            self.of_mm[mm.id] = [[(NO_SLAB, 0)] * nr for nr in counts]
            for kind, nr in enumerate(counts):
                totals[kind] += nr
            totals[ANON_VMA_CHAIN] += sum(
                len(vma.chain) for vma in self.space.areas.tree(mm).vmas
            )
        totals[ANON_VMA] = len(self.space.anon_vmas.all) - 1 - len(self.space.anon_vmas.unused)
        self.anon = [[(NO_SLAB, 0)] * totals[ANON_VMA], [(NO_SLAB, 0)] * totals[ANON_VMA_CHAIN]]
        inuse = dict(zip(self._area_caches, totals, strict=True))
        for kind in KINDS_OF_THREADS:
            inuse[self._task_caches[kind]] = nr_threads
        for kind in KINDS_OF_PROCESSES:
            cache = self._task_caches[kind]
            inuse[cache] = inuse.get(cache, 0) + len(self.space.mms.all)
        for cache, nr in inuse.items():
            if cache != NIL and self.slub.cache(cache).num_slabs:
                self.slub.seed_inuse(cache, nr)

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        found: list[tuple[str, object]] = [("anon", [len(have) for have in self.anon])]
        found += [(f"task{pid}", list(slabs)) for pid, slabs in self.of_task.items()]
        for mm_id, kinds in self.of_mm.items():
            found.append((f"mm{mm_id}", [len(have) for have in kinds]))
        return found
