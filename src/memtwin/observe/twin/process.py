"""Owns /proc/PID/* of a twin's process, from its address space.

Imports address_space and the records. Knows of a task only what `TaskView` names. Times are in
ticks of 10 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from memtwin.address_space.mm import Mm
from memtwin.address_space.vm_flags import (
    MM_ANONPAGES,
    MM_FILEPAGES,
    MM_SHMEMPAGES,
    MM_SWAPENTS,
)
from memtwin.address_space.vma_tree import VmaTree
from memtwin.observe.layout import Layout
from memtwin.observe.processes.files import (
    STATUS_FIELDS,
    ProcessStat,
    SmapsRollup,
    Statm,
    Status,
    render_process_stat,
    render_smaps_rollup,
    render_statm,
    render_status,
)
from memtwin.observe.twin.maps import MapsTexts
from memtwin.observe.twin.smaps import SmapsWalk
from memtwin.units import PAGE_SHIFT, PAGE_SIZE, pages_to_kib

TICK_NS = 10_000_000  # USER_HZ is 100: include/asm-generic/param.h, v6.12
_RLIM_INFINITY = (1 << 64) - 1
_IO_NAMES = ("rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes")


class TimesView(Protocol):
    """What a task spent; process.TaskTimes has all of it."""

    user_ns: int
    system_ns: int
    read_bytes: int
    write_bytes: int
    rchar: int
    wchar: int
    syscr: int
    syscw: int


class TaskView(Protocol):
    """What the texts need of a task; process.Task has all of it."""

    pid: int
    tgid: int
    ppid: int
    comm: str
    uid: int
    start_ns: int
    cmdline: tuple[str, ...]  # empty: not known
    oom_score_adj: int
    mm: Mm | None  # None: it has exited

    @property
    def children_times(self) -> TimesView:
        """What its children spent that ended and were waited for."""
        ...

    def faults(self) -> tuple[int, int]:
        """(minor, major) faults since it began."""
        ...


@dataclass
class ProcessView:
    """A process as its texts show it."""

    task: TaskView
    times: TimesView
    state: str = "S"
    oom_score: int = 0
    cgroup_path: str = "/"
    cgroup_version: int = 2


@dataclass
class ProcessTexts:
    """Answers for /proc/PID/NAME; `view_of` gives the process, or None when there is none."""

    walk: SmapsWalk
    layout: Layout
    view_of: Callable[[int], ProcessView | None]
    areas: MapsTexts | None = None  # None: no maps and smaps

    def text(self, pid: int, name: str) -> str | None:
        """The text of file `name` of process `pid`, or None."""
        view = self.view_of(pid)
        if view is None:
            return None
        task, mm = view.task, view.task.mm
        if name == "smaps_rollup":
            return render_smaps_rollup(None if mm is None else self._rollup(mm))
        if name == "status":
            return render_status(status_record(task, self.layout))
        if name == "statm":
            return render_statm(statm_record(mm))
        if name == "stat":
            return render_process_stat(stat_record(view))
        if name in ("maps", "smaps"):
            return self._areas(mm, name)
        return {
            "comm": f"{task.comm}\n",
            "cmdline": "".join(f"{word}\0" for word in task.cmdline or (task.comm,)),
            "oom_score": f"{view.oom_score}\n",
            "oom_score_adj": f"{task.oom_score_adj}\n",
            "cgroup": _membership(view),
            "io": _io(view.times),
            "environ": "",  # MODEL: no program of the twin was given an environment
        }.get(name)

    def _areas(self, mm: Mm | None, name: str) -> str | None:
        if self.areas is None or mm is None:
            return None if self.areas is None else ""
        vmas = list(cast(VmaTree, mm.tree).vmas)
        return self.areas.maps(mm, vmas) if name == "maps" else self.areas.smaps(mm, vmas)

    def _rollup(self, mm: Mm) -> SmapsRollup | None:
        tree = cast(VmaTree, mm.tree)
        return self.walk.rollup(mm, list(tree.vmas), self.layout)


def _membership(view: ProcessView) -> str:
    """kernel/cgroup/cgroup.c proc_cgroup_show(), v6.12."""
    # MODEL: memory is the first hierarchy, and no other is mounted
    head = "0::" if view.cgroup_version == 2 else "1:memory:"
    return f"{head}{view.cgroup_path}\n"


def _io(times: TimesView) -> str:
    """fs/proc/base.c do_io_accounting(), v6.1.

    # DIFFERS: pages truncated before they were written are not taken off again; nobody counts them
    # for a task; cancelled_write_bytes, which is 0.
    """
    figures = {name: getattr(times, name) for name in _IO_NAMES}
    return render_flat_io({**figures, "cancelled_write_bytes": 0})


def render_flat_io(figures: dict[str, int]) -> str:
    """Lines of a name, a colon and a figure."""
    return "".join(f"{name}: {figure}\n" for name, figure in figures.items())


def _text_pages(mm: Mm) -> int:
    """Pages of the program's text (fs/proc/task_mmu.c task_statm(), v6.12)."""
    return (-(-mm.end_code // PAGE_SIZE)) - (mm.start_code >> PAGE_SHIFT)


def statm_record(mm: Mm | None) -> Statm:
    """The process's statm; all 0 without an address space (task_mmu.c task_statm(), v6.12)."""
    if mm is None:
        return Statm(0, 0, 0, 0, 0, 0, 0)
    # 6.12 sums what CPUs have not folded (get_mm_counter_sum()), 6.1 does not (get_mm_counter())
    shared = int(mm.shown_counter(MM_FILEPAGES)) + int(mm.shown_counter(MM_SHMEMPAGES))
    resident = shared + int(mm.shown_counter(MM_ANONPAGES))
    data = int(mm.data_vm) + int(mm.stack_vm)
    return Statm(int(mm.total_vm), resident, shared, _text_pages(mm), 0, data, 0)


def status_record(task: TaskView, layout: Layout) -> Status:
    """The process's status (fs/proc/array.c proc_pid_status(), task_mmu.c task_mem(), v6.12)."""
    lines = dict(layout.status)
    numbers = dict.fromkeys(("Tgid", "NStgid"), task.tgid)
    numbers.update(dict.fromkeys(("Pid", "NSpid", "NSpgid"), task.pid))
    lines.update({name: str(n) for name, n in numbers.items() if name in lines})
    lines["Name"], lines["PPid"] = task.comm, str(task.ppid)
    if task.uid:
        lines["Uid"] = "\t".join([str(task.uid)] * 4)
    record = Status(name=task.comm, pid=task.pid, ppid=task.ppid, threads=1, lines=lines)
    if task.mm is None:
        record.lines = {name: v for name, v in lines.items() if name not in STATUS_FIELDS}
        return record
    for name, kib in memory_figures(task.mm).items():
        setattr(record, STATUS_FIELDS[name], kib)
    return record


def memory_figures(mm: Mm) -> dict[str, int]:
    """name -> KiB of the memory lines of status (fs/proc/task_mmu.c task_mem(), v6.12)."""
    anon, file = int(mm.shown_counter(MM_ANONPAGES)), int(mm.shown_counter(MM_FILEPAGES))
    shmem, swap = int(mm.shown_counter(MM_SHMEMPAGES)), int(mm.shown_counter(MM_SWAPENTS))
    rss = anon + file + shmem
    text = min(_text_pages(mm), int(mm.exec_vm))
    pages = {
        "VmPeak": max(int(mm.hiwater_vm), int(mm.total_vm)),
        "VmSize": int(mm.total_vm),
        "VmLck": int(mm.locked_vm),
        "VmPin": 0,
        "VmHWM": max(int(mm.hiwater_rss), rss),
        "VmRSS": rss,
        "RssAnon": anon,
        "RssFile": file,
        "RssShmem": shmem,
        "VmData": int(mm.data_vm),
        "VmStk": int(mm.stack_vm),
        "VmExe": text,
        "VmLib": int(mm.exec_vm) - text,
        "VmSwap": swap,
        "HugetlbPages": 0,
    }
    figures = {name: pages_to_kib(figure) for name, figure in pages.items()}
    return {**figures, "VmPTE": int(mm.pgtables_bytes) >> 10}


def stat_record(view: ProcessView) -> ProcessStat:
    """The process's stat: fields from ppid on (fs/proc/array.c do_task_stat(), v6.12).

    Times are whole ticks (kernel/sched/cputime.c nsec_to_clock_t(), v6.12).
    """
    task, times = view.task, view.times
    fields = [0] * 49
    mm = task.mm
    fields[0] = task.ppid
    fields[3], fields[4] = 0, -1  # no terminal
    fields[6], fields[8] = task.faults()
    fields[10], fields[11] = times.user_ns // TICK_NS, times.system_ns // TICK_NS
    children = task.children_times
    fields[12], fields[13] = children.user_ns // TICK_NS, children.system_ns // TICK_NS
    fields[14], fields[16] = 20, 1  # priority of nice 0; threads
    fields[18] = task.start_ns // TICK_NS
    fields[21] = _RLIM_INFINITY
    fields[34] = 17  # SIGCHLD at exit
    if mm is not None:
        rss = sum(int(mm.counter(kind)) for kind in (MM_FILEPAGES, MM_ANONPAGES, MM_SHMEMPAGES))
        fields[19], fields[20] = int(mm.total_vm) * PAGE_SIZE, rss
        fields[22], fields[23], fields[24] = mm.start_code, mm.end_code, mm.start_stack
        fields[41], fields[42], fields[43] = mm.start_data, mm.end_data, mm.start_brk
    return ProcessStat(task.pid, task.comm, view.state, fields)
