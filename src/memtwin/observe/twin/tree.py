"""Owns the twin as a whole tree of /proc and /sys, laid out as tools find it on a real machine.

Imports the twin's texts. What the twin does not model is absent, or is the recorded start's text.
Memory cgroups lie where distributions mount them: /sys/fs/cgroup (v2), /sys/fs/cgroup/memory (v1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from memtwin.observe.cgroup import CGROUP_DIR
from memtwin.observe.source import names_below
from memtwin.observe.system import PRESSURE_PATHS
from memtwin.observe.twin.memcg import group_files
from memtwin.observe.twin.source import PRESSURE_FILES, TwinTexts
from memtwin.observe.twin.sysfs import SysTexts
from memtwin.observe.twin.system import SystemTexts
from memtwin.page.tunables import SYSCTLS

_MEMORY_FILES = (
    "meminfo", "vmstat", "zoneinfo", "buddyinfo", "pagetypeinfo", "slabinfo", "swaps",
    "vmallocinfo",
)  # fmt: skip
PROCESS_FILES = (
    "cgroup", "cmdline", "comm", "environ", "io", "maps", "oom_score", "oom_score_adj", "smaps",
    "smaps_rollup", "stat", "statm", "status",
)  # fmt: skip
_TASK_DIR = "task"  # its one thread has the process's own files: process/task.py


@dataclass(frozen=True)
class Member:
    """A living process, as listings need it."""

    pid: int
    memcg: int


class TwinTree:
    """The twin as a Tree. Make it when the machine has booted, before it runs anything."""

    def __init__(
        self,
        texts: TwinTexts,
        system: SystemTexts,
        sysfs: SysTexts,
        members: Callable[[], list[Member]],
    ) -> None:
        self.texts = texts
        self.system = system
        self.sysfs = sysfs
        self.members = members
        self._fixed = self._fixed_paths()

    def _fixed_paths(self) -> list[str]:
        """Paths of /proc and of the start that neither come nor go."""
        rooms = self.texts.rooms
        found = [f"/proc/{name}" for name in _MEMORY_FILES]
        found += self.system.paths()
        found += ["/proc/sys/" + name.replace(".", "/", 1) for name in SYSCTLS]
        found += ["/proc/sys/vm/lowmem_reserve_ratio", "/proc/mounts"]
        found += PRESSURE_PATHS if rooms.pressure is not None else ()
        found += [path for path in self.texts.start if path.startswith(("/proc/", "/sys/"))]
        return sorted(set(found))

    # reading ------------------------------------------------------------------------------------

    def read(self, path: str) -> str | None:
        """The text of `path`, or None when there is no such file."""
        parts = path.strip("/").split("/")
        if parts[0] == "proc" and len(parts) > 2 and parts[1].isdigit():
            return self._of_process(int(parts[1]), parts[2:])
        if path.startswith(CGROUP_DIR + "/"):
            return self._of_group(path)
        if path == "/proc/mounts":
            return self._mounts()
        text = self.system.read(path)
        if text is None and path.startswith("/sys/"):
            content = self.sysfs.files().get(path)
            text = content() if callable(content) else content
        return self.texts.read(path) if text is None else text

    def _of_process(self, pid: int, below: list[str]) -> str | None:
        if below[0] == _TASK_DIR and len(below) == 3 and below[1] == str(pid):
            below = below[2:]
        if len(below) != 1 or below[0] not in PROCESS_FILES:
            return None
        return self.texts.read(f"/proc/{pid}/{below[0]}")

    def _of_group(self, path: str) -> str | None:
        top = self._group_dir("")
        group, _, name = path.removeprefix(top + "/").rpartition("/")
        table = self.texts.rooms.memcg
        memcg = int(table.find(group)) if path.startswith(top + "/") else -1
        if memcg < 0:
            return None
        if name in ("cgroup.procs", "tasks"):
            return "".join(f"{m.pid}\n" for m in self.members() if m.memcg == memcg)
        if name in ("cgroup.controllers", "cgroup.subtree_control") and table.version == 2:
            return "memory\n"
        if name not in self._group_files(group):
            return None
        return self.texts.read(f"{self.texts.rooms.cgroup_root}/{group}/{name}".replace("//", "/"))

    def _group_files(self, group: str) -> list[str]:
        rooms = self.texts.rooms
        found = group_files(rooms.memcg.version, group)
        if rooms.memcg.version == 2 and rooms.pressure is not None:
            found += PRESSURE_FILES
        return found

    def _group_dir(self, group: str) -> str:
        top = CGROUP_DIR if self.texts.rooms.memcg.version == 2 else f"{CGROUP_DIR}/memory"
        return f"{top}/{group}".rstrip("/")

    def _mounts(self) -> str:
        """/proc/mounts: the file systems that the twin shows, and the one that its files lie on."""
        kind = "cgroup2" if self.texts.rooms.memcg.version == 2 else "cgroup"
        options = "rw,relatime" if kind == "cgroup2" else "rw,relatime,memory"
        disk = self.system.view().disks[0].name
        return (
            f"/dev/{disk} / ext4 rw,relatime 0 0\nproc /proc proc rw,relatime 0 0\n"
            f"sysfs /sys sysfs rw,relatime 0 0\n{kind} {self._group_dir('')} {kind} {options} 0 0\n"
        )

    # listing ------------------------------------------------------------------------------------

    def names(self, directory: str) -> list[str]:
        """What lies directly in `directory`, sorted; empty when there is no such directory."""
        parts = directory.strip("/").split("/")
        if parts[0] == "proc" and len(parts) > 1 and parts[1].isdigit():
            return self._names_of_process(parts[1], parts[2:])
        if directory in ("", "/"):
            return ["proc", "sys"]
        if parts[0] == "proc":
            found = names_below(directory, self._fixed)
            if len(parts) == 1:
                found += [str(member.pid) for member in self.members()]
            return sorted(found)
        return names_below(directory, [*self.sysfs.files(), *self._group_paths(), *self._fixed])

    def _names_of_process(self, pid: str, below: list[str]) -> list[str]:
        if not any(member.pid == int(pid) for member in self.members()):
            return []
        if not below:
            return sorted([*PROCESS_FILES, _TASK_DIR])
        if below == [_TASK_DIR]:
            return [pid]
        return list(PROCESS_FILES) if below == [_TASK_DIR, pid] else []

    def _group_paths(self) -> list[str]:
        table = self.texts.rooms.memcg
        found = []
        for memcg, name in enumerate(table.names):
            if table.online[memcg]:
                own = ("controllers", "subtree_control") if table.version == 2 else ()
                files = ["cgroup.procs", *(f"cgroup.{file}" for file in own)]
                files += self._group_files(name)
                found += [f"{self._group_dir(name)}/{file}" for file in files]
        return found
