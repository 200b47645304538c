"""Owns a running machine: its kernel, its processes, its time, and the texts it shows.

Imports boot, scheduler, timers, process and observe. Knows nothing of scripts, traces or reports.

>>> from memtwin.machine.config import load_machine
>>> machine = Machine(load_machine("board-128m"))
>>> program = machine.spawn("program")
>>> area = program.mmap("8M")
>>> program.touch(area, 2048)
>>> machine.figures()["nr_anon_pages"]
2048
"""

from __future__ import annotations

from collections import deque

from memtwin import __version__
from memtwin.errors import UserError
from memtwin.machine.accounts import Accounts
from memtwin.machine.boot import Kernel
from memtwin.machine.cgroups import Cgroups
from memtwin.machine.description import MachineConfig
from memtwin.machine.pressure import RESOURCES, Pressures
from memtwin.machine.proc import twin_texts, twin_tree
from memtwin.machine.process import Process
from memtwin.machine.scheduler import Job, Scheduler
from memtwin.machine.timers import Timers
from memtwin.observe.meminfo import PATH as MEMINFO_PATH
from memtwin.observe.meminfo import parse_meminfo
from memtwin.observe.system import parse_pressure
from memtwin.observe.vmallocinfo import PATH as VMALLOC_PATH
from memtwin.observe.vmallocinfo import parse_vmallocinfo
from memtwin.page.tunables import THP_NEVER
from memtwin.process.init_image import InitImage, Operation
from memtwin.process.kernel_stack import NR_CACHED_STACKS, STACK_KIB, STACK_PAGES
from memtwin.process.task import Task

PROC_TEXTS = (
    "vmstat", "meminfo", "zoneinfo", "buddyinfo", "pagetypeinfo", "slabinfo", "swaps",
)  # fmt: skip


class Machine:
    """One simulated machine, booted from a description."""

    def __init__(self, config: MachineConfig) -> None:
        self.config = config
        self.kernel = Kernel(config)
        self.syscalls = self.kernel.syscalls
        self.clock = self.kernel.clock
        self.processes: dict[int, Process] = {}
        self.timers = Timers(self.clock)
        kernel = self.kernel
        self.timers.add(
            "block devices",
            kernel.folio_io.next_end_ns,
            lambda: kernel.folio_io.run_completions(self.clock.now_ns),
        )
        self.timers.add("kswapd", kernel.kswapd.next_ns, kernel.kswapd.tick)
        flusher = kernel.file_rooms.flusher
        self.timers.add(
            "flusher, woken by reclaim",
            lambda: self.clock.now_ns if kernel.lru_scan.flusher_wanted else -1,
            kernel.lru_scan.wake_flushers,
        )
        self.timers.add("flusher", flusher.next_ns, lambda: flusher.run(self.clock.now_ns))
        self.timers.add("statistics", kernel.stat_fold.next_ns, kernel.stat_fold.look)
        self.timers.add("kmemleak", kernel.kmemleak.next_ns, kernel.kmemleak.run)
        self.timers.add("events", kernel.events.next_ns, self._run_event)
        self.accounts = Accounts(self.clock, kernel.vmstat)
        self.pressures = self._pressures()
        self.accounts.heard = self.pressures.hear
        self.scheduler = Scheduler(self.clock, config.nr_cpus, self.timers, self.accounts)
        self.cgroups = Cgroups(kernel)
        self.init_image: InitImage | None = None
        self.init: Task | None = None
        self._khugepaged_stack: list[int] = []  # runs while huge pages are switched on
        self._user_min_free_kbytes = -1
        self._waiting: dict[str, deque[Job]] = {}  # jobs that a process has still to begin
        self._show()
        if config.limit is not None:
            self.cgroups.create_limit(config.limit)

    # processes

    def spawn(self, name: str, group: str = "") -> Process:
        """A new process called `name` with an empty address space, in a memory cgroup or in none.
        """
        self.leave()
        memcg = self.cgroups.id_of(group) if group else self.cgroups.default_id
        return self.adopt(self.syscalls.spawn(name, memcg, 1), name)

    def adopt(self, task: Task, name: str) -> Process:
        """The face of a task that the kernel made."""
        process = Process(self, task, name)
        self.processes[task.pid] = process
        return process

    def boot_init(self) -> None:
        """Make the process that the recorded machines run as PID 1; `start_program` forks it.

        The recorded start counts it already: the texts' figures are measured again afterwards.
        """
        kernel = self.kernel
        kernel.tasks.next_pid = 1
        self.init_image = InitImage(self.syscalls, kernel.page_cache, self._boot_frame)
        self.init = self.init_image.make()
        kernel.tasks.next_pid = first_worker_pid(self.config)
        for _ in range(cached_stacks_at_start(self.config)):
            kernel.stacks.keep([self._boot_frame() for _ in range(STACK_PAGES)], 0)
        kernel.lru.lru_add_drain_all()
        kernel.task_objects.adopt(threads_at_start(self.config))
        self._show()

    def _show(self) -> None:
        """Make the texts anew: counters grow from what they are now."""
        self.texts = twin_texts(self.kernel, self.scheduler, self.pressures)
        self.tree = twin_tree(self.kernel, self.texts, self.scheduler)

    def _pressures(self) -> Pressures:
        texts, table = self.config.start_texts, self.kernel.memcgs
        start = {
            name: parse_pressure(texts[f"/proc/pressure/{name}"])
            for name in RESOURCES
            if f"/proc/pressure/{name}" in texts
        }
        return Pressures(
            lambda: int(self.clock.now_ns), lambda memcg: int(table.parent[memcg]), start
        )

    def _boot_frame(self) -> int:
        kernel = self.kernel
        for zone in reversed(kernel.zones.populated()):
            pfn = kernel.boot_pages.take(kernel.mem, zone.zone_id)
            if pfn >= 0:
                return pfn
        raise UserError("boot: the start texts leave no frames for PID 1")

    def start_program(self, name: str) -> Process | int:
        """A process for a script: a fork of PID 1 on a recorded machine, else a new one; or
        -errno.
        """
        if self.init_image is None or self.init is None:
            return self.spawn(name)
        worker = self.init_image.start_worker(self.init)
        return worker if isinstance(worker, int) else self.adopt(worker, name)

    def fork(self, process: Process, name: str) -> Process | int:
        """A child of `process` called `name`, or -errno."""
        self.enter(process)
        if self.init_image is None:
            child = self.syscalls.fork(process.task)
        else:
            child = self.init_image.fork_worker(process.task)
        return child if isinstance(child, int) else self.adopt(child, name)

    def before_operation(self, process: Process, operation: Operation = Operation.PLAIN) -> None:
        """What a recorded worker touches before it does an operation."""
        self.enter(process)
        if self.init_image is not None:
            self.init_image.before_operation(process.task, operation)

    def after_operation(self, process: Process) -> None:
        """What a recorded worker touches to answer that its operation is done."""
        if self.init_image is not None and process.alive:
            self.enter(process)
            self.init_image.after_operation(process.task)

    def wake_all(self) -> None:
        """Let workers that never ran do so: PID 1 waits, or reads a checkpoint's files."""
        if self.init_image is not None:
            for process in self.processes.values():
                if process.alive:
                    self.enter(process)
                    self.init_image.wake(process.task)

    def enter(self, process: Process) -> None:
        """Let `process` be the one that runs: its group is charged, its dirtying is throttled."""
        kernel = self.kernel
        kernel.file_rooms.cache_pages.memcg_id = process.task.memcg_id
        kernel.file_rooms.throttle.current = process.task.pid
        self.accounts.switch(process.task)

    def leave(self) -> None:
        """What is done from now on, no process of the twin does: an administrator, a recorder."""
        self.accounts.switch(None)

    def run(self, process: Process, job: Job) -> None:
        """Run one job of `process` to its end; other jobs and timers run beside it."""
        key = str(process.pid)
        self.scheduler.add(key, job)
        self.scheduler.run(key)
        self.settle()

    def start(self, process: Process, job: Job) -> None:
        """Let `job` of `process` run in the background, after those it has already."""
        key = str(process.pid)
        waiting = self._waiting.setdefault(key, deque())
        waiting.append(job)
        if not self.scheduler.busy(key):
            self.scheduler.add(key, self._in_turn(waiting))

    @staticmethod
    def _in_turn(waiting: deque[Job]) -> Job:
        while waiting:
            yield from waiting.popleft()

    def join(self, process: Process) -> None:
        """Wait until `process` has no job left."""
        self.scheduler.run(str(process.pid))
        self.settle()

    def settle(self) -> None:
        """Let what is due by now happen, and forget the jobs of processes that died."""
        self.timers.run_until(self.clock.now_ns)
        for process in self.processes.values():
            if not process.alive:
                self.scheduler.drop(str(process.pid))
                self.kernel.file_rooms.throttle.forget(process.pid)

    # time

    def compute(self, duration_ns: int) -> None:
        """Let the running process compute for `duration_ns`; timers wait for `timers.run_until`."""
        self.clock.user_ns += duration_ns
        self.compute_in_kernel(duration_ns)

    def compute_in_kernel(self, duration_ns: int) -> None:
        """Let the kernel compute for `duration_ns` on behalf of whoever runs."""
        self.clock.now_ns += duration_ns
        self.clock.cpu_ns += duration_ns

    def sleep(self, duration_ns: int) -> None:
        """Let `duration_ns` pass; jobs in the background and timers run."""
        self.scheduler.sleep_until(self.clock.now_ns + duration_ns)
        self.settle()

    def _run_event(self) -> None:
        self.kernel.events.take(self.clock.now_ns)

    # administration

    def sysctl(self, name: str, value: str) -> None:
        """Write a sysctl; UserError when unknown or out of range."""
        self.leave()
        if name == "vm.drop_caches":
            self.drop_caches(value)
            return
        if name == "vm.compact_memory":
            self.kernel.compact.compact_all()
            return
        tunables, page_alloc = self.kernel.tunables, self.kernel.page_alloc
        tunables.set(name, value)
        if name == "vm.min_free_kbytes":
            self._user_min_free_kbytes = int(tunables.min_free_kbytes)
        if name in ("vm.min_free_kbytes", "vm.watermark_scale_factor"):
            page_alloc.setup_per_zone_wmarks()
            page_alloc.setup_per_zone_lowmem_reserve()
        elif name.startswith("vm.dirty_"):
            self.kernel.file_rooms.limits.writeback_set_ratelimit()
        elif name == "vm.lowmem_reserve_ratio":
            page_alloc.setup_per_zone_lowmem_reserve()

    def set_thp(self, mode: int) -> None:
        """Write /sys/kernel/mm/transparent_hugepage/enabled: a THP_* of page/tunables."""
        # mm/khugepaged.c start_stop_khugepaged(), v6.1: a kernel thread, and reserves of free
        # blocks
        self.leave()
        kernel = self.kernel
        watermarks, tunables = kernel.page_alloc.watermarks, kernel.tunables
        tunables.thp_enabled = mode
        if mode != THP_NEVER:
            if not self._khugepaged_stack:
                self._khugepaged_stack = kernel.stacks.take(0, 0) or []
            least = watermarks.hugepages_min_free_kbytes()
        else:
            if self._khugepaged_stack:
                kernel.stacks.drop(self._khugepaged_stack, 0)
                self._khugepaged_stack = []
            least = watermarks.default_min_free_kbytes(THP_NEVER)
            tunables.min_free_kbytes = self._user_min_free_kbytes
        tunables.min_free_kbytes = max(tunables.min_free_kbytes, least)
        kernel.page_alloc.setup_per_zone_wmarks()

    def sync(self) -> None:
        """sync(2): everything dirty is on disk afterwards."""
        self.leave()
        self.kernel.files.sync()

    def drop_caches(self, what: str) -> None:
        """Write /proc/sys/vm/drop_caches: 1 page cache, 2 slab objects, 3 both."""
        if what.strip() not in ("1", "2", "3"):
            raise UserError(f"vm.drop_caches: found {what!r}, allowed is 1, 2 or 3")
        self.leave()
        bits = int(what)
        if bits & 1:
            self.kernel.files.drop_pagecache()
        if bits & 2:
            self.kernel.shrinkers.drop_slab()

    # what it shows

    def proc(self, name: str) -> str:
        """The text of /proc/`name` ("meminfo", "42/status"), as the kernel would print it."""
        text = self.texts.read(f"/proc/{name}")
        if text is None:
            shown = ", ".join(PROC_TEXTS)
            raise UserError(f"proc: found {name!r}, the twin shows {shown} and more")
        return text

    def figures(self) -> dict[str, int]:
        """Every counter of /proc/vmstat that the twin keeps."""
        return dict(self.kernel.vmstat.by_name())

    def checkpoint(self) -> dict[str, str]:
        """path -> text of all the machine's files, and of each living process's."""
        found = {f"/proc/{name}": self.proc(name) for name in PROC_TEXTS}
        for process in self.processes.values():
            if process.alive:
                for name in ("smaps_rollup", "statm", "status", "stat", "oom_score"):
                    found[f"/proc/{process.pid}/{name}"] = self.proc(f"{process.pid}/{name}")
        return found

    def provenance(self) -> dict[str, str | int]:
        """What made this machine's figures: enough to make them again."""
        return {
            "memtwin_version": __version__,
            "machine": self.config.name,
            "config_digest": self.config.digest(),
            "seed": self.config.seed,
            "state_digest": self.digest(),
        }

    def verify(self) -> None:
        """Walk every room and trust no counter; InternalError names what does not hold."""
        self.kernel.verify()

    def digest(self) -> str:
        """32 hexadecimal digits over all state: same config, seed and version give the same."""
        return self.kernel.digest()


def first_worker_pid(config: MachineConfig) -> int:
    """The pid that a recorded machine gives next: the last one in its start's loadavg, plus 1."""
    words = config.start_texts.get("/proc/loadavg", "").split()
    return int(words[-1]) + 1 if words else 2


def cached_stacks_at_start(config: MachineConfig) -> int:
    """Stacks of dead tasks that a recorded start kept for the next ones.

    What vmalloc gave for stacks, less those of living tasks (kernel/fork.c NR_CACHED_STACKS, v6.1).
    MODEL: on a machine of several CPUs it is not told whose they are; none are kept then.
    """
    text, info = config.setup_texts.get(VMALLOC_PATH), config.start_texts.get(MEMINFO_PATH)
    if text is None or info is None or config.nr_cpus > 1:
        return 0
    areas = parse_vmallocinfo(text)
    given = sum(one.pages == STACK_PAGES and one.function == "kernel_clone" for one in areas)
    living = (parse_meminfo(info).kernel_stack_kib or 0) // STACK_KIB
    return min(max(given - living, 0), NR_CACHED_STACKS)


def threads_at_start(config: MachineConfig) -> int:
    """Threads of a recorded start, those of the kernel included: "1/45" in its loadavg; or 1."""
    running = config.start_texts.get("/proc/loadavg", "").partition("/")[2].split()
    return int(running[0]) if running else 1
