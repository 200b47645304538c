"""Owns the asking side of the guardian, and the host's memory groups (cgroup v1 and v2) as figures.

Imports errors. Every change to the host goes through the guardian process, so that it is undone on
every way out. Knows nothing of traces, predictions or how often a program is run.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from memtwin.errors import UserError

GUARDIAN = Path(__file__).with_name("guardian.py")
NO_LIMIT = "-1"


class CgroupVersion(enum.IntEnum):
    """Which hierarchy has the memory controller."""

    V1 = 1
    V2 = 2


class HostChanges:
    """A guardian process: asks it for changes; leaving the `with` block undoes them all.

    `command` is whose changes they are, for messages.
    """

    def __init__(self, command: str = "verify") -> None:
        self.command = command

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARDIAN)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C of the terminal is not meant for it
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        problems = self.close()
        if problems:
            left = "; ".join(problems)
            raise UserError(f"{self.command}: left on this host, remove by hand: {left}")

    def close(self) -> list[str]:
        """Have everything undone; what could not be, in words."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        left: list[str] = []
        for line in self.process.stdout:  # an answer that nobody waited for may come first
            left = json.loads(line).get("left", left)
        self.process.stdout.close()
        if self.process.wait() not in (0, 1):
            left = [f"whatever the guardian made (it ended with status {self.process.returncode})"]
        return left

    def ask(self, verb: str, *arguments: str | int) -> str:
        """Have one change made; its path. Raises UserError with the host's reason."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps([verb, *arguments]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise UserError(f"{self.command}: {verb}: the guardian is gone") from None
        answer = json.loads(self.process.stdout.readline() or "{}")
        if "ok" not in answer:
            why = answer.get("error", "the guardian is gone")
            raise UserError(f"{self.command}: {verb}: {why}")
        return str(answer["ok"])


def require_root() -> None:
    """Raise UserError unless this process may make groups and swap."""
    if os.geteuid() != 0:
        raise UserError(f"verify: needs root to make a memory cgroup, found user id {os.geteuid()}")


def find_memory_controller(mountinfo: str | None = None) -> tuple[CgroupVersion, Path]:
    """Version and mount point of the hierarchy that has the memory controller.

    Reads /proc/self/mountinfo unless its text is given; raises UserError when there is none.
    """
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        mount = Path(left.split()[4].replace("\\040", " "))
        if kind == "cgroup" and "memory" in options.split(","):
            return CgroupVersion.V1, mount
        if kind == "cgroup2" and "memory" in _words(mount / "cgroup.controllers"):
            return CgroupVersion.V2, mount
    raise UserError("verify: no cgroup with the memory controller is mounted on this host")


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def active_swap_kib(swaps: str | None = None) -> int:
    """KiB of swap that is switched on (text of /proc/swaps)."""
    text = Path("/proc/swaps").read_text() if swaps is None else swaps
    return sum(int(line.split()[2]) for line in text.splitlines()[1:])


class Group:
    """One memory group of ours: its limit and its figures, the same for both versions."""

    def __init__(self, version: CgroupVersion, path: Path) -> None:
        self.version = version
        self.path = path

    def _set(self, name: str, text: str) -> None:
        try:
            (self.path / name).write_text(text)
        except OSError as fault:
            raise UserError(f"verify: {self.path / name} = {text}: {fault.strerror}") from None

    def _fields(self, name: str) -> dict[str, int]:
        try:
            lines = (self.path / name).read_text().splitlines()
        except OSError:
            return {}
        return {key: int(value) for key, value in (line.split()[:2] for line in lines)}

    def set_limit(self, limit_bytes: int | None) -> None:
        """Limit memory (not swap) of the group; None lifts the limit."""
        v1 = self.version is CgroupVersion.V1
        text = (NO_LIMIT if v1 else "max") if limit_bytes is None else str(limit_bytes)
        self._set("memory.limit_in_bytes" if v1 else "memory.max", text)

    def forbid_swap(self) -> None:
        """Keep the group's pages out of swap."""
        if self.version is CgroupVersion.V2:
            self._set("memory.swap.max", "0")
        else:
            # v1: swappiness 0 keeps reclaim of a group from anonymous pages altogether
            self._set("memory.swappiness", "0")

    @property
    def procs(self) -> Path:
        """The file that takes a pid into the group ("0": the writer)."""
        return self.path / "cgroup.procs"

    def pids(self) -> Iterator[int]:
        """Processes in the group now."""
        yield from (int(word) for word in _words(self.procs))

    def faults(self) -> tuple[int | None, int | None]:
        """(minor + major, major) faults of the group's life, as memory.stat counts them."""
        stat = self._fields("memory.stat")
        return stat.get("total_pgfault", stat.get("pgfault")), stat.get(
            "total_pgmajfault", stat.get("pgmajfault")
        )

    def peak_bytes(self) -> int | None:
        """Highest charge so far, page cache included; None before memory.peak came (v2, 5.19)."""
        v1 = self.version is CgroupVersion.V1
        words = _words(self.path / ("memory.max_usage_in_bytes" if v1 else "memory.peak"))
        return int(words[0]) if words else None

    def oom_kills(self) -> int:
        """Processes of the group that the OOM killer took."""
        name = "memory.oom_control" if self.version is CgroupVersion.V1 else "memory.events"
        return self._fields(name).get("oom_kill", 0)


def make_group(changes: HostChanges, name: str) -> Group:
    """A new empty group named `name`, gone when `changes` is."""
    version, mount = find_memory_controller()
    if version is CgroupVersion.V2:
        changes.ask("enable", str(mount))
    return Group(version, Path(changes.ask("group", str(mount / name))))
