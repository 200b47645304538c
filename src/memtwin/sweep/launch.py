"""Owns the last step before a measured command runs: join its group, hide shared files, become it.

A process of its own, run by path with the standard library alone; imports nothing of memtwin, so
that the process that asks may have threads and gigabytes. Its one argument is JSON, written by
`sweep/measure.py`; on file descriptor `report_fd` it tells the faults it took before exec, or what
failed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sys
from typing import Any

ADDR_NO_RANDOMIZE = 0x0040000  # include/uapi/linux/personality.h, v6.12
CLONE_NEWNS = 0x00020000  # include/uapi/linux/sched.h, v6.12
PR_SET_THP_DISABLE = 41  # include/uapi/linux/prctl.h, v6.12
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18  # include/uapi/linux/mount.h, v6.12


def check(outcome: int, what: str) -> None:
    """Raise OSError with errno's text unless a C call succeeded."""
    if outcome == -1:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def drop_cache(path: str) -> None:
    """Evict what starting this process read of a file that the command shall find unread."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)


def prepare(spec: dict[str, Any]) -> None:
    """Bring this process into the state that `spec` describes."""
    libc = ctypes.CDLL(None, use_errno=True)
    if spec["copies"]:
        check(libc.unshare(CLONE_NEWNS), "unshare")
        check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount private /")
    for copy, path in spec["copies"]:
        bound = libc.mount(os.fsencode(copy), os.fsencode(path), None, MS_BIND, None)
        check(bound, f"bind {path}")
    if spec["fixed_layout"]:
        check(libc.personality(ADDR_NO_RANDOMIZE), "personality")
    if spec["no_huge_pages"]:
        libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)  # a kernel without THP refuses: as good
    if spec["cpu"] is not None:
        os.sched_setaffinity(0, {spec["cpu"]})
    for path in spec["evict"]:
        drop_cache(path)
    with open(spec["procs"], "w", encoding="ascii") as file:
        file.write("0")


def main() -> int:
    """Become the command; only ever returns when that failed."""
    spec = json.loads(sys.argv[1])
    report_fd = int(spec["report_fd"])
    os.set_inheritable(report_fd, False)
    try:
        prepare(spec)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        os.write(report_fd, json.dumps({"faults": [usage.ru_minflt, usage.ru_majflt]}).encode())
        os.execvp(spec["argv"][0], spec["argv"])
    except OSError as fault:
        os.write(report_fd, ("\n" + json.dumps({"error": fault.strerror or str(fault)})).encode())
    return 127


if __name__ == "__main__":
    sys.exit(main())
