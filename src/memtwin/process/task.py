"""Owns tasks: identity, address space, limits, how they ended. Imports mm, errors.

A task's life: fork -> alive -> exit or killed (exit_code, exit_signal) -> reaped.
MODEL: one task is one process; its threads share the row, as the trace's recorder joins them.
"""

from __future__ import annotations

from memtwin.address_space.mm import Mm
from memtwin.errors import UserError, require

SIGKILL, SIGBUS, SIGSEGV = 9, 7, 11
OOM_SCORE_ADJ_MIN, OOM_SCORE_ADJ_MAX = -1000, 1000  # include/uapi/linux/oom.h, v6.12


class TaskTimes:
    """What a task spent: CPU time in the program and in the kernel, reads and writes.

    `read_bytes` came from a device, `write_bytes` will go to one; `rchar` and `wchar` passed
    through `syscr` and `syscw` calls of read() and write(), wherever they came from.
    """

    __slots__ = (
        "rchar", "read_bytes", "syscr", "syscw", "system_ns", "user_ns", "wchar", "write_bytes",
    )  # fmt: skip

    def __init__(self) -> None:
        self.user_ns = self.system_ns = 0
        self.read_bytes = self.write_bytes = 0
        self.rchar = self.wchar = self.syscr = self.syscw = 0

    def copy(self) -> TaskTimes:
        """A copy that grows by itself."""
        found = TaskTimes()
        found.add(self)
        return found

    def add(self, other: TaskTimes) -> None:
        """Take what `other` spent too."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def count_read(self, size_bytes: int, calls: int = 1) -> None:
        """`calls` of read() gave `size_bytes` (fs/read_write.c add_rchar(), inc_syscr(), v6.1)."""
        self.rchar += size_bytes
        self.syscr += calls

    def count_write(self, size_bytes: int, calls: int = 1) -> None:
        """`calls` of write() took `size_bytes`."""
        self.wchar += size_bytes
        self.syscw += calls


class Task:
    """One process. `mm` is None once it has exited."""

    def __init__(self, pid: int, comm: str, mm: Mm, ppid: int) -> None:
        self.pid = pid
        self.tgid = pid
        self.ppid = ppid
        self.comm = comm
        self.mm: Mm | None = mm
        self.memcg_id = mm.memcg
        self.uid = 0
        self.cap_sys_admin = 1
        self.oom_score_adj = 0
        self.oom_victim = 0  # SIGKILL was sent by the OOM killer
        self.unkillable = 0  # init and kernel threads
        self.alive = 1
        self.exit_code = 0
        self.exit_signal = 0
        self.cpu = 0
        self.kstack: list[int] = []  # frames of its kernel stack
        self.files: dict[str, object] = {}  # descriptors by the name the workload gave them
        self.stack_limit_bytes = 8 << 20
        self.memlock_limit_bytes = -1  # -1: no limit (CAP_IPC_LOCK)
        self.min_flt = 0  # of a dead task; a living one's are its mm's
        self.maj_flt = 0
        self.start_ns = 0
        self.cmdline: tuple[str, ...] = ()  # the words it was started with; empty: not known
        self.exe = ""  # path of its program; empty: not known
        self.times = TaskTimes()  # booked so far: machine/accounts has those until now
        self.children_times = TaskTimes()  # of children that ended and were waited for

    def space(self) -> Mm:
        """Its mm; it must be alive."""
        assert self.mm is not None, f"process.task: {self.pid} has no address space"
        return self.mm

    def faults(self) -> tuple[int, int]:
        """(minor, major) faults since it began."""
        if self.mm is None:
            return self.min_flt, self.maj_flt
        return int(self.mm.min_flt), int(self.mm.maj_flt)

    def set_oom_score_adj(self, value: int) -> None:
        """Write /proc/PID/oom_score_adj."""
        if not OOM_SCORE_ADJ_MIN <= value <= OOM_SCORE_ADJ_MAX:
            raise UserError(
                f"oom_score_adj of {self.comm}: found {value}, allowed is -1000 .. 1000"
            )
        self.oom_score_adj = value

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names: tuple[str, ...] = (
            "pid",
            "ppid",
            "comm",
            "memcg_id",
            "oom_score_adj",
            "alive",
            "exit_code",
        )
        names += ("exit_signal", "cpu", "kstack", "min_flt", "maj_flt")
        return [(name, getattr(self, name)) for name in names]


class Tasks:
    """All tasks in the order they were made, the dead ones included until reaped."""

    def __init__(self, first_pid: int = 1) -> None:
        self.all: list[Task] = []
        self.reaped_times = TaskTimes()  # of those that were waited for
        self.next_pid = first_pid

    def add(self, comm: str, mm: Mm, ppid: int) -> Task:
        """A new task with the next pid."""
        task = Task(self.next_pid, comm, mm, ppid)
        self.next_pid += 1
        self.all.append(task)
        return task

    def alive(self) -> list[Task]:
        """Tasks that have not exited, oldest first."""
        return [task for task in self.all if task.alive]

    def reap(self, task: Task) -> None:
        """Forget a dead task (wait4())."""
        require(not task.alive, "process.task.reap", f"{task.pid} is alive")
        self.all.remove(task)
        self.reaped_times.add(task.times)
        parent = next((one for one in self.all if one.pid == task.ppid), None)
        if parent is not None:  # kernel/exit.c wait_task_zombie(), v6.1
            parent.children_times.add(task.times)
            parent.children_times.add(task.children_times)

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        found: list[tuple[str, object]] = [("next_pid", self.next_pid)]
        for task in self.all:
            found += [(f"{task.pid}.{name}", value) for name, value in task.columns()]
        return found
