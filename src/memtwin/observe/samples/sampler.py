"""Owns what is sampled and how often: the texts of a root, as differences from look to look.

Imports the journal's Sample, the looks at processes, kernel_log and source. Parses nothing: a look
costs little more than the kernel's own work. Small files are read at each look, large and slow ones
every few seconds.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from memtwin.observe.kernel_log import kernel_log
from memtwin.observe.processes.looks import ProcessLooks
from memtwin.observe.samples.journal import Sample
from memtwin.observe.source import TreeSource

# at each look, as long as they are small
EACH_LOOK = (
    "/proc/meminfo", "/proc/vmstat", "/proc/zoneinfo", "/proc/buddyinfo", "/proc/swaps",
    "/proc/loadavg", "/proc/uptime", "/proc/pressure/memory", "/proc/pressure/io",
    "/proc/pressure/cpu",
)  # fmt: skip
SLOW = ("/proc/slabinfo", "/proc/stat", "/proc/diskstats")
RARE = (
    "/proc/vmallocinfo", "/proc/pagetypeinfo", "/proc/version", "/proc/cmdline", "/proc/iomem",
    "/proc/mounts", "/proc/sys/kernel/osrelease", "/sys/kernel/mm/lru_gen/enabled",
    "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/module/zswap/parameters/zpool",
)  # fmt: skip
SLOW_S, RARE_S = 5.0, 60.0
SMALL_BYTES = 16 << 10
CGROUP_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified")
CGROUP_FILES = ("memory.current", "memory.usage_in_bytes", "memory.stat", "memory.max")
MAX_CGROUPS, MAX_DEPTH = 256, 6
# what files of a group begin with; groups of their own name have dots too ("user.slice")
_CONTROLLERS = (
    "memory", "cgroup", "cpu", "cpuset", "cpuacct", "io", "blkio", "pids", "hugetlb", "rdma",
    "misc", "devices", "freezer", "tasks", "notify_on_release", "release_agent",
)  # fmt: skip
DEFAULT_SHARE = 0.005  # of one CPU, for the costly files of processes
_READ = 1 << 16


BOOT_LOG = "/dmesg"  # of it, what booting said of per-CPU memory: the ledger asks for that


def _boot_lines() -> bytes:
    lines = (kernel_log() or "").splitlines()
    return "".join(f"{line}\n" for line in lines if "percpu:" in line).encode()


class Sampler:
    """Looks at a root again and again."""

    def __init__(self, root: Path, share: float = DEFAULT_SHARE) -> None:
        self.source = TreeSource(root)
        self.processes = ProcessLooks(self.source, share)
        self._last: dict[str, bytes] = {}
        self._fds: dict[str, int] = {}
        self._due_s = {"slow": 0.0, "rare": 0.0}
        self._slow: list[str] = []
        self._rare: list[str] = []
        self._cpu_ns = 0

    def look(self, *, whole: object) -> Sample:
        """What changed since the last look, or with `whole` everything."""
        began = time.thread_time_ns()
        now_s = time.monotonic()
        texts: dict[str, bytes] = {}
        gone: list[str] = []
        if whole:
            self._last.clear()
            self._due_s = {"slow": 0.0, "rare": 0.0}
            self.processes.forget_texts()
        taken_ns = time.time_ns()
        rare, slow = (self._is_due(kind, now_s) for kind in ("rare", "slow"))
        if rare:
            self._find()
        large = [path for path in EACH_LOOK if len(self._last.get(path, b"")) > SMALL_BYTES]
        paths = [path for path in EACH_LOOK if slow or path not in large]
        paths += self._slow if slow else []
        paths += self._rare if rare else []
        for path in paths:
            self._take(path, texts, gone)
        if whole and self.source.is_live:
            texts[BOOT_LOG] = _boot_lines()
        self.processes.look(texts, gone, thorough=slow)
        sample = Sample(taken_ns, time.monotonic_ns(), self._cpu_ns, texts, gone)
        self._cpu_ns = time.thread_time_ns() - began
        return sample

    def close(self) -> None:
        """Close what is open."""
        self.processes.close()
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def _is_due(self, kind: str, now_s: float) -> bool:
        if now_s < self._due_s[kind]:
            return False
        self._due_s[kind] = now_s + (SLOW_S if kind == "slow" else RARE_S) - 0.05
        return True

    def _find(self) -> None:
        """Which files there are beyond the fixed ones: zram devices, sysctls, memory cgroups."""
        self._slow = [*SLOW]
        for name in self.source.names("/sys/block"):
            if name.startswith("zram"):
                self._slow += [f"/sys/block/{name}/mm_stat", f"/sys/block/{name}/io_stat"]
        sysctls = [f"/proc/sys/vm/{name}" for name in self.source.names("/proc/sys/vm")]
        unwanted = ("drop_caches", "compact_memory", "stat_refresh")  # acting or write-only
        self._rare = [*RARE, *(path for path in sysctls if not path.endswith(unwanted))]
        for group in self._cgroups():
            self._slow += [f"{group}/{name}" for name in CGROUP_FILES]

    def _cgroups(self) -> list[str]:
        found: list[str] = []
        for top in CGROUP_ROOTS:
            if not self._has_memory(top):
                continue
            waiting = [(top, 0)]
            while waiting and len(found) < MAX_CGROUPS:
                group, depth = waiting.pop(0)
                found.append(group)
                if depth < MAX_DEPTH:
                    waiting += [(below, depth + 1) for below in self._groups_in(group)]
            return found
        return found

    def _groups_in(self, group: str) -> list[str]:
        names = self.source.names(group)
        below = [f"{group}/{name}" for name in names if name.split(".")[0] not in _CONTROLLERS]
        return [path for path in below if self.source.names(path)]

    def _has_memory(self, top: str) -> bool:
        names = ("memory.stat", "memory.usage_in_bytes")
        return any(self.source.read_bytes(f"{top}/{name}") is not None for name in names)

    def _take(self, path: str, texts: dict[str, bytes], gone: list[str]) -> None:
        text = self._text(path)
        if text is None:
            if self._last.pop(path, None) is not None:
                gone.append(path)
        elif text != self._last.get(path):
            self._last[path] = text
            texts[path] = text

    def _text(self, path: str) -> bytes | None:
        """The text of `path` now; on the live host its file stays open from look to look."""
        if not self.source.is_live:
            return self.source.read_bytes(path)
        fd = self._fds.get(path, -1)
        try:
            if fd < 0:
                fd = self._fds[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            pieces, at = [], 0
            while piece := os.pread(fd, _READ, at):
                pieces.append(piece)
                at += len(piece)
            return b"".join(pieces)
        except OSError:
            if fd >= 0:
                os.close(self._fds.pop(path))
            return None
