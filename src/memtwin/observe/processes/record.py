"""Owns the record of one process's memory, and readers of the small texts that fill it.

Imports msgspec. Knows nothing of where the bytes come from; stat and smaps_rollup are read by
the room's `text`. A text without the shape of its file raises ValueError or IndexError; a line
that nobody knows is passed over.
"""

from __future__ import annotations

import enum

import msgspec

PF_KTHREAD = 0x0020_0000  # include/linux/sched.h PF_KTHREAD, v6.12
MOST_KIB = 1 << 53  # more is no figure: it would not fit in 64 bits as bytes
MOST_DIGITS = 18  # of a number: what more of them say may not fit in 64 bits
_MOST_PID = 1 << 31


class Origin(enum.StrEnum):
    """Where the figures of a process that cost a walk of its page tables come from."""

    FRESH = "fresh"  # smaps_rollup or smaps, read in this look
    CARRIED = "carried over"  # read in an earlier look, `age_s` ago
    ESTIMATED = "estimated"  # from statm: what is not shared with a file or shmem
    ABSENT = "absent"  # `why` says why
    NO_MEMORY = "no memory"  # a kernel thread or a zombie: it has no address space


class Process(msgspec.Struct, gc=False):
    """One process at one look. None: not read, or not asked for; sizes are bytes.

    `pss`, `uss` and `swap_pss` come from a walk of its page tables, see `origin` and `age_s`.
    """

    pid: int
    ppid: int | None
    uid: int | None
    user: str | None
    comm: str
    command: str | None
    cgroup: str | None
    state: str | None
    start_ticks: int | None  # since boot, in USER_HZ
    threads: int | None
    min_flt: int | None
    maj_flt: int | None
    vss_bytes: int
    rss_bytes: int | None
    pss_bytes: int | None = None
    uss_bytes: int | None = None
    swap_bytes: int | None = None
    swap_pss_bytes: int | None = None
    hugetlb_bytes: int | None = None
    oom_score: int | None = None
    oom_score_adj: int | None = None
    origin: Origin = Origin.ABSENT
    age_s: float = 0.0
    why: str = ""  # the costly figures are absent


class RollupFigures(msgspec.Struct, gc=False):
    """What a process's smaps add up to, in bytes; None where the kernel has no such line."""

    rss_bytes: int
    pss_bytes: int
    uss_bytes: int
    swap_bytes: int | None
    swap_pss_bytes: int | None
    hugetlb_bytes: int | None


def key_code(name: str) -> int:
    """The number by which the room's `text` tells the lines of a smaps apart.

    >>> key_code("Pss") != key_code("Rss")
    True
    """
    code = 0
    for sign in name.encode():
        code = (code * 31 + sign) & 0x0FFF_FFFF
    return code


RSS_CODE, PSS_CODE = key_code("Rss"), key_code("Pss")
PRIVATE_CLEAN_CODE, PRIVATE_DIRTY_CODE = key_code("Private_Clean"), key_code("Private_Dirty")
SWAP_CODE, SWAP_PSS_CODE = key_code("Swap"), key_code("SwapPss")
PRIVATE_HUGETLB_CODE, SHARED_HUGETLB_CODE = key_code("Private_Hugetlb"), key_code("Shared_Hugetlb")


def status_words(data: bytes) -> dict[bytes, bytes]:
    """name -> what stands behind the colon, of a /proc/PID/status text."""
    found = {}
    for line in data.split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon:
            found[name] = value.strip()
    return found


def process_of_status(words: dict[bytes, bytes]) -> Process:
    """The process of a status text alone, where there is no stat: a tree that holds part of /proc.

    Start and faults are not in it and stay None.
    """
    size = status_bytes(words, b"VmSize")
    pid, ppid, threads = (int(words.get(name, b"0")) for name in (b"Pid", b"PPid", b"Threads"))
    if not 0 < pid < _MOST_PID or not 0 <= ppid < _MOST_PID or not 0 <= threads < _MOST_PID:
        raise ValueError("a figure that no process has")
    process = Process(
        pid,
        ppid,
        None,
        None,
        words[b"Name"].decode(errors="surrogateescape"),
        None,
        None,
        words.get(b"State", b"")[:1].decode(errors="surrogateescape"),
        None,
        threads,
        None,
        None,
        size or 0,
        status_bytes(words, b"VmRSS"),
    )
    if size is None:
        process.origin = Origin.NO_MEMORY
    return process


def process_of_statm(pid: int, data: bytes, page_bytes: int) -> Process:
    """The process `pid` as far as its statm tells: the sizes, and whether it has any memory."""
    words = data.split(None, 2)
    size, rss = int(words[0]) * page_bytes, int(words[1]) * page_bytes
    if not 0 <= rss <= size < MOST_KIB:
        raise ValueError("a figure that no process has")
    if not size:
        return Process(
            pid, None, None, None, "", None, None, None, None, None, None, None, 0, None,
            origin=Origin.NO_MEMORY,
        )  # fmt: skip
    return Process(pid, None, None, None, "", None, None, None, None, None, None, None, size, rss)


def status_bytes(words: dict[bytes, bytes], name: bytes) -> int | None:
    """The size that line `name` of a status text tells; None when it has no such line."""
    value = words.get(name)
    if value is None:
        return None
    figure = int(value.removesuffix(b" kB"))
    if not 0 <= figure < MOST_KIB:
        raise ValueError("a figure that no process has")
    return figure << 10


def uid_of_status(words: dict[bytes, bytes]) -> int | None:
    """The effective uid of a status text (fs/proc/array.c task_state(), v6.12); None without one.

    >>> uid_of_status({b"Uid": b"1000\\t1001\\t1002\\t1003"})
    1001
    """
    numbers = words.get(b"Uid", b"").split()
    if len(numbers) < 2:
        return None
    uid = int(numbers[1])
    return uid if 0 <= uid < 1 << 32 else None


def path_of_cgroup(data: bytes) -> str:
    """The cgroup of a /proc/PID/cgroup text: the memory controller's, else the unified one's.

    >>> path_of_cgroup(b"3:cpu:/a\\n2:memory:/b:c\\n0::/d\\n")
    '/b:c'
    """
    unified = None
    for line in data.split(b"\n"):
        words = line.split(b":", 2)
        if len(words) != 3:
            continue
        if b"memory" in words[1].split(b","):
            return words[2].decode(errors="surrogateescape")
        if not words[1] and words[0] == b"0":
            unified = words[2]
    if unified is None:
        raise ValueError("no line of the memory controller or of the unified hierarchy")
    return unified.decode(errors="surrogateescape")


def command_of(data: bytes) -> str:
    """The command line of a /proc/PID/cmdline (or comm) text, its words apart by blanks."""
    return data.rstrip(b"\0\n").replace(b"\0", b" ").decode(errors="surrogateescape")
