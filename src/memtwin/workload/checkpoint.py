"""Owns what a checkpoint holds: which files are shown, and what showing them costs the machine.

Imports machine, workload/runner's state. Knows nothing of how texts are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memtwin.observe.source import paths_below
from memtwin.page.gfp import GFP_KERNEL, GFP_NORETRY, GFP_NOWARN
from memtwin.page.vmstat_items import PGPGOUT
from memtwin.workload.proc_inodes import ProcInodes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memtwin.machine.machine import Machine
    from memtwin.workload.runner import Runner

PROCESS_FILES = (
    "smaps_rollup", "statm", "status", "stat", "oom_score", "oom_score_adj", "io", "cgroup",
)  # fmt: skip
_V1 = ["usage_in_bytes", "max_usage_in_bytes", "limit_in_bytes", "failcnt", "stat", "swappiness"]
_V1 += ["memsw.usage_in_bytes", "memsw.limit_in_bytes", "memsw.max_usage_in_bytes", "memsw.failcnt"]
_V2 = [
    "current",
    "peak",
    "max",
    "high",
    "low",
    "min",
    "stat",
    "events",
    "swap.current",
    "swap.max",
    "swap.events",
    "numa_stat",
]
GROUP_FILES = {1: [f"memory.{name}" for name in _V1], 2: [f"memory.{name}" for name in _V2]}
# sysctls that the recorder reads, each through a buffer that the kernel allocates anew
_SYSCTL_PREFIX = "/proc/sys/"
_READS_A_FILE = 2  # the text, then the end of file
_BUFFER_ORDER = 9
_RECORD_PAGE_BYTES = 4096
_TALLY = " minflt=0 majflt=0 ns=100000 "  # what it notes behind a process's answer


def machine_files(runner: Runner) -> dict[str, str]:
    """Every text of the machine: its whole /proc and /sys, so that tools can read it later.

    Of the script's living processes and groups some stand again under the script's own names
    ("@P/status", "/cg/G/memory.stat"). A thread's files are its process's and left out.
    """
    tree = runner.machine.tree
    found = {
        path: text
        for path in paths_below(tree, "/")
        if "/task/" not in path and (text := tree.read(path)) is not None
    }
    found.update(_of_processes(runner))
    found.update(_of_groups(runner))
    return found


def recorder_files(runner: Runner) -> dict[str, str]:
    """The texts that the recording's own recorder took, and the traces that its reading left.

    Reading a sysctl with a buffer of almost 2 MiB allocates that much (fs/proc/proc_sysctl.c
    proc_sys_call_handler(), v6.1: kvzalloc(), which tries one block first and lets go of it at
    once); the record is written past the page cache and counts in pgpgout.
    """
    machine = runner.machine
    machine.leave()
    found: dict[str, str] = {}
    names = runner.proc_inodes
    for worker in runner.workers.values():
        if not worker.process.alive and names is not None:
            names.forget(f"/proc/{worker.process.pid}")
    for path in machine.config.start_texts:
        if path.startswith(("/cg/", "@")):
            continue
        if names is not None:
            names.open(path)
        if path.startswith(_SYSCTL_PREFIX):
            _read_through_buffer(runner)
        text = machine.texts.read(path)
        if text is not None:
            found[path] = text
    machine.wake_all()
    found.update(_of_processes(runner))
    found.update(_of_groups(runner))
    write_record(machine, {**found, "@events": _events_since_last(runner)})
    machine.leave()
    machine.compute_in_kernel(machine.kernel.cost.checkpoint_ns)
    return found


def finish_start(runner: Runner) -> None:
    """What the recorder did between reading a start's figures and the script's first command."""
    texts = runner.machine.config.start_texts
    runner.proc_inodes = ProcInodes(runner.machine.kernel)
    runner.proc_inodes.finish_start(texts)
    for path in texts:
        if path.startswith(_SYSCTL_PREFIX):
            _read_through_buffer(runner)
    write_record(runner.machine, texts)


def _events_since_last(runner: Runner) -> str:
    """What the recorder noted of the commands since the last checkpoint, at its length."""
    lines = runner.events[runner.nr_recorded_events :]
    runner.nr_recorded_events = len(runner.events)
    return "".join(line + (_TALLY if " @" in line else "") + "\n" for line in lines)


def write_record(machine: Machine, files: Mapping[str, str]) -> None:
    """The recorder writes `files` past the page cache, to a disk of its own."""
    record_bytes = sum(len(path) + len(text) + 12 for path, text in files.items())
    pages = -(-record_bytes // _RECORD_PAGE_BYTES) + 1  # and the record's head
    machine.kernel.vmstat.event[PGPGOUT] += pages * _RECORD_PAGE_BYTES // 1024


def _read_through_buffer(runner: Runner) -> None:
    kernel = runner.machine.kernel
    for _ in range(_READS_A_FILE):
        pfn = kernel.slowpath.alloc_page(GFP_KERNEL | GFP_NOWARN | GFP_NORETRY, _BUFFER_ORDER)
        if pfn >= 0:
            kernel.page_alloc.put_page(pfn)


def _of_processes(runner: Runner) -> dict[str, str]:
    found = {}
    for name, worker in runner.workers.items():
        if worker.process.alive:
            for file in PROCESS_FILES:
                if runner.proc_inodes is not None:
                    runner.proc_inodes.open(f"/proc/{worker.process.pid}/{file}")
                text = runner.machine.texts.read(f"/proc/{worker.process.pid}/{file}")
                if text is not None:
                    found[f"@{name}/{file}"] = text
    return found


def _of_groups(runner: Runner) -> dict[str, str]:
    found = {}
    for group in runner.groups:
        for name in GROUP_FILES[runner.machine.kernel.memcgs.version]:
            path = f"/cg/{group}/{name}"
            text = runner.machine.texts.read(path)
            if text is not None:
                found[path] = text
    return found
