"""Owns what we change on the host, and its undoing: groups, zram swap, files, sysctls, mounts.

A process of its own, run by path with the standard library alone; imports nothing of memtwin. It
does each change on request (one JSON line in, one out) and undoes all of them when its input ends,
which happens however the asking process goes: a return, an exception, a signal, even SIGKILL. It
ignores the terminal's signals itself. The face for the asking side is `sweep/host.py`.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
MNT_DETACH = 2  # include/linux/fs.h, v6.12
SWAP_FLAG_PREFER = 0x8000  # include/linux/swap.h SWAP_FLAG_PREFER, v6.12
SWAP_PRIO_HIGHEST = 0x7FFF  # include/linux/swap.h SWAP_FLAG_PRIO_MASK, v6.12
ZRAM_CONTROL = "/sys/class/zram-control"
KILL_PATIENCE_S = 10.0


class Failed(Exception):
    """A change or its undoing did not work; the text says which and why."""


def write_file(path: str, text: str) -> None:
    """Write `text` to a file of sysfs or cgroupfs in one call."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as fault:
        raise Failed(f"{path}: writing {text.strip()!r}: {fault.strerror}") from None


def libc_call(name: str, path: str, *arguments: int) -> None:
    """Call libc's `name`(path, arguments) and raise Failed with errno's text."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(os.fsencode(path), *arguments) != 0:
        raise Failed(f"{name}({path}): {os.strerror(ctypes.get_errno())}")


def swap_header(size_bytes: int, page_size: int = PAGE_SIZE) -> bytes:
    """The first page of a swap area of `size_bytes`: boot bytes, info, magic at its end."""
    # include/linux/swap.h union swap_header, v6.12
    last_page = size_bytes // page_size - 1
    info = struct.pack("<III", 1, last_page, 0) + os.urandom(16) + b"memtwin".ljust(16, b"\0")
    magic = b"SWAPSPACE2"
    return (bytes(1024) + info).ljust(page_size - len(magic), b"\0") + magic


def mounts() -> list[tuple[str, str]]:
    """(mount point, source) of everything mounted, in the order of mounting."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            # fs/proc_namespace.c mangle(), v6.12: octal for blanks and backslashes
            words = [
                re.sub(r"\\([0-7]{3})", _octal, w) for w in (left.split()[4], right.split()[1])
            ]
            found.append((words[0], words[1]))
    return found


def _octal(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))


class Guardian:
    """The changes made so far, and how to take each back, newest first."""

    def __init__(self) -> None:
        self.undo: list[Callable[[], None]] = []

    def group(self, path: str) -> str:
        """Make the memory group (a directory of cgroupfs) at `path`."""
        try:
            os.mkdir(path)
        except OSError as fault:
            raise Failed(f"{path}: {fault.strerror}") from None
        self.undo.append(lambda: self.remove_group(path))
        return path

    def remove_group(self, path: str) -> None:
        """Kill what still runs in the group at `path` (we started all of it), then remove it."""
        deadline_s = time.monotonic() + KILL_PATIENCE_S
        while os.path.isdir(path):
            with open(f"{path}/cgroup.procs", encoding="ascii") as file:
                pids = [int(line) for line in file]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                os.rmdir(path)
            except OSError as fault:
                if time.monotonic() > deadline_s:
                    raise Failed(f"{path}: {fault.strerror}") from None
                time.sleep(0.02)

    def enable(self, path: str) -> str:
        """Hand the memory controller of a version 2 hierarchy to the groups beneath `path`."""
        control = f"{path}/cgroup.subtree_control"
        with open(control, encoding="ascii") as file:
            if "memory" in file.read().split():
                return path
        write_file(control, "+memory")
        self.undo.append(lambda: write_file(control, "-memory"))
        return path

    def zram(self, size_bytes: int) -> str:
        """Add a zram device of `size_bytes` and swap to it before any other device."""
        try:
            with open(f"{ZRAM_CONTROL}/hot_add", encoding="ascii") as file:
                number = int(file.read())
        except OSError as fault:
            raise Failed(f"{ZRAM_CONTROL}/hot_add: {fault.strerror}") from None
        device = f"/dev/zram{number}"
        self.undo.append(lambda: self.remove_zram(number))
        write_file(f"/sys/block/zram{number}/disksize", str(size_bytes))
        deadline_s = time.monotonic() + KILL_PATIENCE_S
        while not os.path.exists(device):  # udev may take a moment
            if time.monotonic() > deadline_s:
                raise Failed(f"{device}: never appeared")
            time.sleep(0.01)
        with open(device, "r+b", buffering=0) as file:
            file.write(swap_header(size_bytes))
            os.fsync(file.fileno())
        libc_call("swapon", device, SWAP_FLAG_PREFER | SWAP_PRIO_HIGHEST)
        self.undo.append(lambda: libc_call("swapoff", device))
        return device

    def remove_zram(self, number: int) -> None:
        """Reset and remove zram device `number`."""
        deadline_s = time.monotonic() + KILL_PATIENCE_S
        while True:  # a prober of block devices may hold it open for a moment
            try:
                write_file(f"/sys/block/zram{number}/reset", "1")
                write_file(f"{ZRAM_CONTROL}/hot_remove", str(number))
                return
            except Failed:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.05)

    def directory(self, parent: str) -> str:
        """Make an empty private directory in `parent`."""
        try:
            path = tempfile.mkdtemp(prefix="memtwin-verify-", dir=parent)
        except OSError as fault:
            raise Failed(f"{parent}: {fault.strerror}") from None
        self.undo.append(lambda: shutil.rmtree(path))
        return path

    def sysctl(self, path: str, text: str) -> str:
        """Write `text` to a file of /proc/sys; what it held comes back."""
        if not os.path.realpath(path).startswith("/proc/sys/"):
            raise Failed(f"{path}: not a file of /proc/sys")
        try:
            with open(path, encoding="ascii") as file:
                held = file.read()
        except OSError as fault:
            raise Failed(f"{path}: {fault.strerror}") from None
        if held.strip() != text:
            write_file(path, text)
            self.undo.append(lambda: write_file(path, held))
        return path

    def unmount(self, path: str, source: str) -> str:
        """Unmount at the end what is then mounted at `path` from `source`, if anything is."""
        self.undo.append(lambda: self.detach(path, source))
        return path

    def detach(self, path: str, source: str) -> None:
        """Take the mount off the tree of files now; whoever has a file of it open keeps it."""
        while (path, source) in mounts():
            try:
                libc_call("umount2", path, MNT_DETACH)
            except Failed:
                # a normal user's mount: only the helper that made it may undo it
                helper = shutil.which("fusermount3")
                done = helper and subprocess.run([helper, "-uzq", path], check=False).returncode
                if done != 0:
                    raise

    def undo_all(self) -> list[str]:
        """Take every change back, newest first; what could not be, in words."""
        problems = []
        while self.undo:
            step = self.undo.pop()
            try:
                step()
            except (Failed, OSError) as fault:
                problems.append(str(fault))
        return problems


def serve() -> int:
    """Answer requests until the input ends, then undo; the exit status says whether all went."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(Failed):
        write_file("/proc/self/oom_score_adj", "-1000")  # the one that must outlive a shortage
    guardian = Guardian()
    verbs: dict[str, Callable[..., str]] = {
        "group": guardian.group,
        "enable": guardian.enable,
        "zram": guardian.zram,
        "directory": guardian.directory,
        "sysctl": guardian.sysctl,
        "unmount": guardian.unmount,
    }
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        try:
            answer = {"ok": verbs[verb](*arguments)}
        except (Failed, OSError) as fault:
            answer = {"error": str(fault)}
        with contextlib.suppress(OSError):
            print(json.dumps(answer), flush=True)
    problems = guardian.undo_all()
    with contextlib.suppress(OSError):
        print(json.dumps({"left": problems}), flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody may be there to read
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(serve())
