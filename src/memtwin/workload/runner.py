"""Owns running a script: each command of the language done to a machine, and the checkpoints it
asks for.

Imports machine, workload/language, patterns. Knows nothing of reports. What a script names and the
twin cannot do yet is a UserError that says so, before or while running: nothing is skipped
silently. As on the real controller, a command that the simulated kernel refuses is noted in the
events and the script goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from memtwin.errors import UserError
from memtwin.file_io.files import ADVICE
from memtwin.machine.boot import CONTENTS
from memtwin.machine.machine import Machine
from memtwin.machine.process import DEFAULT_BLOCK_BYTES, KINDS, Process
from memtwin.machine.scheduler import Job
from memtwin.page.tunables import THP_ALWAYS, THP_MADVISE, THP_NEVER
from memtwin.process.init_image import Operation
from memtwin.process.kmemleak import PATH as KMEMLEAK
from memtwin.units import PAGE_SIZE, parse_size
from memtwin.workload import heap_commands, kernel_commands
from memtwin.workload.heap_commands import LeakCheck
from memtwin.workload.language import Command, Wait
from memtwin.workload.patterns import block_sequence, page_sequence
from memtwin.workload.proc_inodes import ProcInodes
from memtwin.workload.program_heap import ProgramHeap

THP_ENABLED = "/sys/kernel/mm/transparent_hugepage/enabled"
_THP = {"never": THP_NEVER, "madvise": THP_MADVISE, "always": THP_ALWAYS}
Progress = Callable[[int, int], None]


@dataclass
class Worker:
    """A process of the script: its face, and what its names mean."""

    process: Process
    areas: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> (address, bytes)
    files: dict[str, int] = field(default_factory=dict)  # name -> file id
    heap: ProgramHeap | None = None  # from its first malloc on


@dataclass
class Checkpoint:
    """What the machine showed at one moment."""

    name: str
    time_ns: int
    files: dict[str, str]


class Runner:
    """Runs commands on a machine; `checkpoints` and `events` grow as it goes."""

    def __init__(
        self, machine: Machine, checkpoint_files: Callable[[Runner], dict[str, str]]
    ) -> None:
        self.machine = machine
        self.workers: dict[str, Worker] = {}
        self.groups: list[str] = []
        self.checkpoints: list[Checkpoint] = []
        self.events: list[str] = []
        self.nr_recorded_events = 0  # events that a checkpoint's record holds already
        self._files_of = checkpoint_files
        self.leak_checks: list[LeakCheck] = []
        self.script = "script"  # its name, as reports name places in it
        self.proc_inodes: ProcInodes | None = None  # of a recording, whose recorder made them

    def run(self, commands: list[Command], progress: Progress | None = None) -> None:
        """Run all commands in order."""
        for number, command in enumerate(commands):
            if progress is not None:
                progress(number, len(commands))
            self.run_one(command)
        if progress is not None:
            progress(len(commands), len(commands))

    def run_to(
        self, commands: list[Command], checkpoint: str, progress: Progress | None = None
    ) -> None:
        """Run commands up to the one that takes `checkpoint`; all of them when none does."""
        takes = [c.verb == "checkpoint" and c.words == (checkpoint,) for c in commands]
        last = takes.index(True) + 1 if True in takes else len(commands)
        self.run(commands[:last], progress)

    def run_one(self, command: Command) -> None:
        """Run one command; UserError (with its line) when the twin cannot do it."""
        try:
            if command.process:
                answer = self._process_command(command)
            else:
                answer = getattr(self, f"_do_{command.verb}")(*command.words)
        except UserError as error:
            raise UserError(f"line {command.line}: {command.text()}: {error}") from None
        now_ns = self.machine.clock.now_ns
        code = answer if isinstance(answer, int) else 0
        self.events.append(f"{now_ns} {command.text()} : rc={min(code, 0)}")

    def take_checkpoint(self, name: str) -> None:
        """Add a checkpoint called `name`."""
        self.machine.settle()
        files = self._files_of(self)
        self.checkpoints.append(Checkpoint(name, self.machine.clock.now_ns, files))

    def _open_proc(self, path: str) -> None:
        if self.proc_inodes is not None:
            self.proc_inodes.open(path)

    # controller commands

    def _do_start(self, name: str) -> int:
        if name in self.workers:
            raise UserError(f"found process {name!r} twice, allowed is a new name")
        process = self.machine.start_program(name)
        if isinstance(process, int):
            return process
        self.workers[name] = Worker(process)
        return 0

    def _do_kill(self, name: str) -> None:
        worker = self.workers[name]
        self.machine.scheduler.drop(str(worker.process.pid))
        worker.process.kill()

    def _do_join(self, name: str) -> None:
        self.machine.join(self.workers[name].process)

    def _do_oomadj(self, name: str, value: str) -> None:
        self._open_proc(f"/proc/{self.workers[name].process.pid}/oom_score_adj")
        try:
            self.workers[name].process.task.set_oom_score_adj(int(value))
        except ValueError:
            raise UserError(f"found {value!r}, allowed is -1000 .. 1000") from None

    def _do_checkpoint(self, name: str) -> None:
        self.take_checkpoint(name)

    def _do_dump(self, name: str, *paths: str) -> None:
        """A dump reads files once; the twin's result has checkpoints only, so nothing is kept."""

    def _do_dumpdir(self, name: str, *words: str) -> None:
        """As `dump`."""

    def _do_sleep(self, milliseconds: str) -> None:
        if not milliseconds.isdigit():
            raise UserError(f"found {milliseconds!r}, allowed is a number of milliseconds")
        self.machine.sleep(int(milliseconds) * 1_000_000)

    def _do_sync(self) -> None:
        self.machine.sync()

    def _do_dropcaches(self, what: str) -> None:
        self.machine.drop_caches(what)

    def _do_sysctl(self, name: str, *values: str) -> None:
        self._open_proc("/proc/sys/" + name.replace(".", "/"))
        self.machine.sysctl(name, " ".join(values))

    def _do_echo(self, value: str, path: str) -> None:
        if path == THP_ENABLED:
            if value not in _THP:
                raise UserError(f"found {value!r}, allowed is {', '.join(_THP)}")
            self.machine.set_thp(_THP[value])
        elif path.startswith("/proc/sys/"):
            name = path.removeprefix("/proc/sys/").replace("/", ".", 1)
            self._open_proc(path)
            self.machine.sysctl(name, value)
        elif path == KMEMLEAK:
            self.machine.kernel.kernel_objects.begin()
            self.machine.kernel.kmemleak.write(value)
        else:
            allowed = f"{THP_ENABLED}, {KMEMLEAK} and /proc/sys/vm/*"
            raise UserError(f"found path {path!r}, the twin can write {allowed}")

    def _do_cgmount(self, version: str) -> None:
        self.machine.cgroups.mount(int(version))

    def _do_cgcreate(self, name: str) -> None:
        self.machine.cgroups.create(name)
        self.groups.append(name)

    def _do_cgset(self, name: str, file: str, value: str) -> int:
        return self.machine.cgroups.set(name, file, value)

    def _do_cgadd(self, name: str, process: str) -> None:
        self.machine.cgroups.add(name, self.workers[process].process.task)

    def _do_insmod(self, module: str) -> None:
        kernel_commands.insmod(self, module)

    def _do_rmmod(self, module: str) -> None:
        kernel_commands.rmmod(self, module)

    def _do_swapon(self, *words: str) -> None:
        raise UserError("the twin's swap areas are on from the start: see [[swap]] of the machine")

    def _do_swapoff(self, device: str) -> None:
        raise UserError("the twin cannot do swapoff yet")

    # process commands

    def _process_command(self, command: Command) -> int:
        worker = self.workers[command.process]
        if not worker.process.alive:
            self.events.append(
                f"{self.machine.clock.now_ns} {command.text()} : SKIPPED (process dead or unknown)"
            )
            return 0
        self.machine.wake_all()
        draws = command.verb == "readrand" or "rand" in command.words or "zipf" in command.words
        draws = draws or command.verb == "fill" or "hot" in command.words
        operation = Operation.DRAWS if draws else Operation.PLAIN
        self.machine.before_operation(worker.process, operation)
        if command.verb in heap_commands.VERBS:
            answer = heap_commands.run(self, worker, command)
        elif command.verb in kernel_commands.VERBS:
            answer = kernel_commands.run(self, worker, command)
        else:
            answer = getattr(self, f"_on_{command.verb}")(worker, *command.words)
        if isinstance(answer, int) or answer is None:
            self.machine.settle()
            self.machine.after_operation(worker.process)
            return answer or 0
        if command.wait is Wait.BACKGROUND:
            self.machine.start(worker.process, answer)
        else:
            self.machine.run(worker.process, answer)
            self.machine.after_operation(worker.process)
        return 0

    def _area(self, worker: Worker, name: str) -> tuple[int, int]:
        if name not in worker.areas:
            known = ", ".join(worker.areas) or "none"
            raise UserError(f"found area {name!r}, this process has {known}")
        return worker.areas[name]

    def _file(self, worker: Worker, name: str) -> int:
        if name not in worker.files:
            known = ", ".join(worker.files) or "none"
            raise UserError(f"found file {name!r}, this process has {known}")
        return worker.files[name]

    def _on_mmap(self, worker: Worker, name: str, kind: str, size: str, populate: str = "") -> int:
        size_bytes = -(-parse_size(size, "mmap") // PAGE_SIZE) * PAGE_SIZE
        address = worker.process.mmap(size_bytes, kind, populate)
        if address >= 0:
            worker.areas[name] = (address, size_bytes)
        return address

    def _on_mmapfile(
        self, worker: Worker, name: str, path: str, sharing: str, access: str = "rw"
    ) -> int:
        address, length = worker.process.mmap_file(path, sharing, access)
        if address >= 0:
            worker.areas[name] = (address, length)
        return address

    def _on_touch(self, worker: Worker, name: str, how: str, *pattern: str) -> Job:
        address, size_bytes = self._area(worker, name)
        pages = page_sequence(list(pattern), size_bytes // PAGE_SIZE)
        return worker.process.touch_job(address, pages, KINDS[how])

    def _on_fill(
        self, worker: Worker, name: str, kind: str, seed: str, start: str, count: str
    ) -> Job:
        address, _ = self._area(worker, name)
        return worker.process.fill_job(
            address, parse_size(start), parse_size(count), CONTENTS[kind]
        )

    def _on_munmap(self, worker: Worker, name: str) -> int:
        address, size_bytes = self._area(worker, name)
        del worker.areas[name]
        return worker.process.munmap(address, size_bytes)

    def _on_madvise(
        self, worker: Worker, name: str, advice: str, start: str = "0", count: str = ""
    ) -> int:
        address, size_bytes = self._area(worker, name)
        first = parse_size(start)
        pages = parse_size(count) if count else size_bytes // PAGE_SIZE - first
        return worker.process.madvise(address + first * PAGE_SIZE, pages * PAGE_SIZE, advice)

    def _on_mlock(self, worker: Worker, name: str) -> int:
        return worker.process.mlock(*self._area(worker, name))

    def _on_munlock(self, worker: Worker, name: str) -> int:
        return worker.process.munlock(*self._area(worker, name))

    def _on_msync(self, worker: Worker, name: str) -> int:
        raise UserError("the twin cannot do msync yet")

    def _on_mincore(self, worker: Worker, name: str) -> int:
        return self.machine.syscalls.mincore(worker.process.task, *self._area(worker, name))

    def _on_open(self, worker: Worker, name: str, path: str, *how: str) -> int:
        if "direct" in how:
            raise UserError("the twin cannot do O_DIRECT yet")
        file_id = worker.process.open(path, "create" if "create" in how else "")
        if file_id >= 0:
            worker.files[name] = file_id
        return file_id

    def _on_read(self, worker: Worker, name: str, offset: str, length: str, block: str = "") -> Job:
        size = parse_size(block) if block else DEFAULT_BLOCK_BYTES
        return worker.process.read_job(
            self._file(worker, name), parse_size(offset), parse_size(length), size
        )

    def _on_write(
        self, worker: Worker, name: str, offset: str, length: str, block: str = ""
    ) -> Job:
        size = parse_size(block) if block else DEFAULT_BLOCK_BYTES
        return worker.process.write_job(
            self._file(worker, name), parse_size(offset), parse_size(length), size
        )

    def _on_readrand(
        self, worker: Worker, name: str, seed: str, count: str, block: str, blocks: str
    ) -> Job:
        wanted = block_sequence(parse_size(seed), parse_size(count), parse_size(blocks))
        return worker.process.read_blocks_job(self._file(worker, name), wanted, parse_size(block))

    def _on_fsync(self, worker: Worker, name: str) -> int:
        self.machine.enter(worker.process)
        return self.machine.kernel.files.fsync(self._file(worker, name))

    def _on_fadvise(self, worker: Worker, name: str, advice: str) -> int:
        self.machine.enter(worker.process)
        return self.machine.kernel.files.fadvise(self._file(worker, name), ADVICE[advice])

    def _on_truncate(self, worker: Worker, name: str, size: str) -> int:
        self.machine.enter(worker.process)
        return self.machine.kernel.files.truncate(self._file(worker, name), parse_size(size))

    def _on_close(self, worker: Worker, name: str) -> int:
        answer = self.machine.kernel.files.close(self._file(worker, name))
        del worker.files[name]
        return answer

    def _on_mkfiles(self, worker: Worker, directory: str, count: str, size: str = "0") -> int:
        self.machine.enter(worker.process)
        return self.machine.kernel.files.mkfiles(directory, parse_size(count), parse_size(size))

    def _on_statfiles(self, worker: Worker, directory: str, count: str) -> int:
        self.machine.enter(worker.process)
        return self.machine.kernel.files.statfiles(directory, parse_size(count))

    def _on_rmfiles(self, worker: Worker, directory: str, count: str) -> int:
        self.machine.enter(worker.process)
        return self.machine.kernel.files.rmfiles(directory, parse_size(count))

    def _on_fork(self, worker: Worker, name: str) -> int:
        child = worker.process.fork(name)
        if isinstance(child, int):
            return child
        for file_id in worker.files.values():
            self.machine.kernel.files.get(file_id)
        heap = worker.heap.fork(child) if worker.heap is not None else None
        self.workers[name] = Worker(child, dict(worker.areas), dict(worker.files), heap)
        return 0

    def _on_exit(self, worker: Worker) -> int:
        self.machine.syscalls.exit(worker.process.task)
        return 0
