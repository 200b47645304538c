"""Owns the end of the road: who is killed when there is no memory, and what the log says of it.

Imports task, overcommit, memcg.table, address_space.mm. Has never heard of allocation: it is
called when one answered NEED_OOM. mm/oom_kill.c, v6.1 and v6.12.
"""

from __future__ import annotations

from collections.abc import Callable

from memtwin.address_space.mm import Mm
from memtwin.address_space.vm_flags import MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, MM_SWAPENTS
from memtwin.memcg.constants import (
    CGROUP_V1,
    MEMCG_OOM,
    MEMCG_OOM_KILL,
    NR_MEMCG_EVENTS,
    PAGE_COUNTER_MAX,
)
from memtwin.memcg.table import MemcgTable
from memtwin.page.tunables import Tunables
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import OOM_KILL
from memtwin.process.overcommit import Overcommit
from memtwin.process.task import OOM_SCORE_ADJ_MIN, SIGKILL, Task, Tasks

THE_MACHINE = -1  # oom_memcg_id of an OOM that is not a group's
GFP_TEXT = "0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO)"
GFP_TEXT_CHARGE = "0xcc0(GFP_KERNEL)"


def divided(a: int, b: int) -> int:
    """a / b as C divides: towards zero."""
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


class OomKiller:
    """Chooses victims, kills them, writes the log."""

    def __init__(
        self,
        tasks: Tasks,
        overcommit: Overcommit,
        memcg: MemcgTable,
        vmstat: VmStat,
        tunables: Tunables,
        end: Callable[[Task, int], None],
        log: Callable[[str], None],
    ) -> None:
        self.tasks = tasks
        self.overcommit = overcommit
        self.memcg = memcg
        self.vmstat = vmstat
        self.tunables = tunables
        self.end = end  # ends a task by a signal
        self.log = log  # one line of the kernel log
        self.panicked = ""  # the text, once the kernel would have stopped

    def total_pages(self) -> int:
        """RAM and swap, pages: the scale of oom_score_adj."""
        return int(self.overcommit.totalram_pages() + self.overcommit.swap.total_swap_pages)

    def group_pages(self, group: int) -> int:
        """What a group may use at most, pages (mem_cgroup_get_max(), v6.1)."""
        table = self.memcg
        swap = int(self.overcommit.swap.total_swap_pages)
        most = int(table.max[group])
        if table.version == CGROUP_V1:
            if table.get_swappiness(group):
                most += min(max(int(table.memsw_max[group]) - most, 0), swap)
        elif table.get_swappiness(group):
            most += min(int(table.swap_max[group]), swap)
        return max(most, 1) if most < PAGE_COUNTER_MAX else self.total_pages()

    def badness(self, task: Task, total_pages: int) -> int | None:
        """oom_badness(): points, or None when the task is exempt."""
        mm = task.mm
        if task.unkillable or mm is None or mm.oom_skip:
            return None
        if task.oom_score_adj == OOM_SCORE_ADJ_MIN:
            return None
        points = int(mm.get_rss() + mm.counter(MM_SWAPENTS)) + int(mm.pgtables_bytes) // 4096
        return points + task.oom_score_adj * (total_pages // 1000)

    def oom_score(self, task: Task) -> int:
        """/proc/PID/oom_score (fs/proc/base.c proc_oom_score(), v6.1)."""
        total = self.total_pages()
        points = self.badness(task, total)
        return 0 if points is None else divided((1000 + divided(points * 1000, total)) * 2, 3)

    def _candidates(self, group: int) -> list[Task]:
        alive = self.tasks.alive()
        if group == THE_MACHINE:
            return alive
        return [task for task in alive if self.memcg.is_descendant(task.memcg_id, group)]

    def select(self, group: int, total_pages: int) -> Task | None:
        """select_bad_process(): the highest points, the last task among equals."""
        chosen, most = None, 0
        for task in self._candidates(group):
            points = self.badness(task, total_pages)
            # oom_evaluate_task(): only a later task that scores lower is passed over
            if points is not None and (chosen is None or points >= most):
                chosen, most = task, points
        return chosen

    def out_of_memory(self, current: Task, group: int) -> bool:
        """Kill somebody for `current`, in memcg `group` or on THE_MACHINE; whether that helps it.

        When `current` itself died the answer is False: its touch will never be made.
        """
        total = self.total_pages() if group == THE_MACHINE else self.group_pages(group)
        if group != THE_MACHINE:
            self._group_event(group, MEMCG_OOM)
        if (
            group == THE_MACHINE
            and self.tunables.oom_kill_allocating_task
            and not current.unkillable
        ):
            victim: Task | None = current
        else:
            victim = self.select(group, total)
        self._header(current, group)
        if victim is None:
            self.log("Out of memory and no killable processes...")
            if group == THE_MACHINE:
                self.panicked = "System is deadlocked on memory"
                self.log(f"Kernel panic - not syncing: {self.panicked}")
            return False
        self._kill(victim, group)
        return bool(current.alive)

    def _header(self, current: Task, group: int) -> None:
        gfp = GFP_TEXT if group == THE_MACHINE else GFP_TEXT_CHARGE
        self.log(
            f"{current.comm} invoked oom-killer: gfp_mask={gfp}, order=0, "
            f"oom_score_adj={current.oom_score_adj}"
        )
        if not self.tunables.oom_dump_tasks:
            return
        self.log("Tasks state (memory values in pages):")
        parts = " rss_anon rss_file rss_shmem" if self.tunables.kernel >= 608 else ""
        self.log(
            f"[  pid  ]   uid  tgid total_vm      rss{parts} pgtables_bytes swapents "
            "oom_score_adj name"
        )
        for task in self._candidates(group):
            if task.mm is not None and not task.unkillable:
                self.log(self._row(task, task.mm))

    def _row(self, task: Task, mm: Mm) -> str:
        kinds = (MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES)
        split = "".join(f" {mm.counter(kind):8d}" for kind in kinds)
        return (
            f"[{task.pid:7d}] {task.uid:5d} {task.tgid:5d} {mm.total_vm:8d} {mm.get_rss():8d}"
            f"{split if self.tunables.kernel >= 608 else ''} {mm.pgtables_bytes:8d} "
            f"{mm.counter(MM_SWAPENTS):8d}         {task.oom_score_adj:5d} {task.comm}"
        )

    def _kill(self, victim: Task, group: int) -> None:
        """__oom_kill_process(): count, log, kill."""
        # DIFFERS: memory.oom.group is not honoured; groups have no such file here; who dies in
        # groups that set it
        mm = victim.space()
        where = "global_oom" if group == THE_MACHINE else f"oom_memcg={self._path(group)}"
        bound = "CONSTRAINT_NONE" if group == THE_MACHINE else "CONSTRAINT_MEMCG"
        self.log(
            f"oom-kill:constraint={bound},nodemask=(null),cpuset=/,mems_allowed=0,{where},"
            f"task_memcg={self._path(victim.memcg_id)},task={victim.comm},pid={victim.pid},"
            f"uid={victim.uid}"
        )
        cause = "Out of memory" if group == THE_MACHINE else "Memory cgroup out of memory"
        self.vmstat.event[OOM_KILL] += 1
        if victim.memcg_id > 0:
            self._group_event(victim.memcg_id, MEMCG_OOM_KILL)
        kib = {kind: mm.counter(kind) * 4 for kind in (MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES)}
        self.log(
            f"{cause}: Killed process {victim.pid} ({victim.comm}) total-vm:{mm.total_vm * 4}kB, "
            f"anon-rss:{kib[MM_ANONPAGES]}kB, file-rss:{kib[MM_FILEPAGES]}kB, "
            f"shmem-rss:{kib[MM_SHMEMPAGES]}kB, UID:{victim.uid} "
            f"pgtables:{mm.pgtables_bytes >> 10}kB oom_score_adj:{victim.oom_score_adj}"
        )
        victim.oom_victim = 1
        # MODEL: the victim runs next and exits at once; the kernel's reaper would free the same
        # pages
        self.end(victim, SIGKILL)

    def _group_event(self, group: int, event: int) -> None:
        """memory.events of the group and of all above it."""
        at = group
        while at > 0:
            self.memcg.memory_event[at * NR_MEMCG_EVENTS + event] += 1
            at = int(self.memcg.parent[at])

    def _path(self, group: int) -> str:
        name = self.memcg.names[group] if 0 < group < len(self.memcg.names) else ""
        return "/" + name.strip("/")
