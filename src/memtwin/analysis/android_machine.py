"""Owns what `dumpsys meminfo` says of a whole phone: who is how important, and where its RAM is.

Imports analysis/android_memory and observe/meminfo. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from memtwin.analysis.android_memory import CategoryRow, HeapTable
from memtwin.observe.meminfo import MemInfo
from memtwin.units import KIB

NATIVE = "Native"
# oom_score_adj from which a group begins -> its name (ActivityManagerService.java DUMP_MEM_OOM_ADJ
# and DUMP_MEM_OOM_LABEL, ProcessList.java *_ADJ, Android 15)
OOM_GROUPS = (
    (-1000, NATIVE), (-900, "System"), (-800, "Persistent"), (-700, "Persistent Service"),
    (0, "Foreground"), (100, "Visible"), (200, "Perceptible"), (225, "Perceptible Medium"),
    (250, "Perceptible Low"), (300, "Backup"), (400, "Heavy Weight"), (500, "A Services"),
    (600, "Home"), (700, "Previous"), (800, "B Services"), (900, "Cached"),
)  # fmt: skip
CACHED_APP_MIN_ADJ = 900  # ProcessList.java, Android 15
USER_UIDS = 100_000  # UserHandle.java PER_USER_RANGE, Android 15
# heaps as rows of "by category" are called (ActivityManagerService.java, Android 15)
CATEGORY_NAMES = {"Native Heap": NATIVE, "Dalvik Heap": "Dalvik"}
_ZYGOTES = frozenset(("zygote", "zygote64", "webview_zygote"))


class PhoneProcess(msgspec.Struct):
    """One process as dumpsys needs it. `adj`: None for one that the system does not manage."""

    pid: int
    ppid: int | None
    name: str
    uid: int | None
    adj: int | None
    table: HeapTable

    @property
    def user(self) -> int:
        """The user of the phone whose it is."""
        return 0 if self.uid is None else self.uid // USER_UIDS


class OomGroup(msgspec.Struct):
    """Processes of one importance, and their sums in KiB."""

    name: str
    processes: list[PhoneProcess]
    sums: CategoryRow


class PhoneRam(msgspec.Struct):
    """Where the RAM of a phone is, in KiB; None: /proc/meminfo has no such figure."""

    total_kib: int | None
    cached_pss_kib: int  # of cached apps, which may be killed any time
    cached_kernel_kib: int | None
    free_kib: int | None
    used_pss_kib: int
    kernel_kib: int | None
    lost_kib: int | None
    zram_kib: int | None
    swap_used_kib: int | None
    swap_total_kib: int | None


def oom_group(adj: int) -> str:
    """The name of the importance `adj`.

    >>> oom_group(-700), oom_group(50), oom_group(985)
    ('Persistent Service', 'Foreground', 'Cached')
    """
    return next(name for least, name in reversed(OOM_GROUPS) if adj >= least or least == -1000)


def managed(names: Mapping[int, str], parents: Mapping[int, int | None]) -> set[int]:
    """The PIDs that Android's activity manager runs.

    MODEL: its list is not in /proc; what a zygote forked, and was given a name, stands for it.

    >>> sorted(managed({1: "init", 2: "zygote64", 3: "a.b"}, {1: 0, 2: 1, 3: 2}))
    [3]
    """
    found = set()
    for pid, name in names.items():
        parent = parents.get(pid)
        forked = parent is not None and names.get(parent) in _ZYGOTES
        if forked and name not in _ZYGOTES and not name.startswith("usap"):
            found.add(pid)
    return found


def oom_groups(processes: Iterable[PhoneProcess]) -> list[OomGroup]:
    """The processes by their importance, those that matter most first, empty groups left out."""
    groups: dict[str, list[PhoneProcess]] = {name: [] for _, name in OOM_GROUPS}
    for process in processes:
        groups[NATIVE if process.adj is None else oom_group(process.adj)].append(process)
    found = [OomGroup(name, members, _sums(members)) for name, members in groups.items()]
    return [group for group in found if group.sums.pss_kib]


def _sums(processes: Iterable[PhoneProcess]) -> CategoryRow:
    whole = CategoryRow("")
    for process in processes:
        whole.add(process.table.total)
    return whole


def categories(processes: Iterable[PhoneProcess]) -> HeapTable:
    """What all processes have of each heap."""
    tables = [process.table for process in processes]
    rows: dict[str, CategoryRow] = {}
    parts: dict[str, CategoryRow] = {}
    for table in tables:
        for row in table.rows:
            name = CATEGORY_NAMES.get(row.name, row.name)
            rows.setdefault(name, CategoryRow(name)).add(row)
        for name, part in table.details.items():
            parts.setdefault(name, CategoryRow(name)).add(part)
    return HeapTable(list(rows.values()), parts)


def ram_of(processes: Sequence[PhoneProcess], info: MemInfo, zram_bytes: int | None) -> PhoneRam:
    """Where the RAM is: apps that may be killed, caches, free, used, and what nobody accounts for.

    As ActivityManagerService.java dumpApplicationMemoryUsage() and MemInfoReader.java, Android 15.
    DIFFERS: memory of DMA-BUF, GPU and CMA drivers is not told apart; no text of /proc has it; lost
    RAM, where it stays.
    """
    total_pss = sum(process.table.total.pss_kib for process in processes)
    swap_pss = sum(process.table.total.swap_pss_kib for process in processes)
    cached_pss = sum(
        process.table.total.pss_kib
        for process in processes
        if process.adj is not None and process.adj >= CACHED_APP_MIN_ADJ
    )
    reclaimable = info.kreclaimable_kib or info.sreclaimable_kib or 0
    caches, kernel, lost = None, _kernel_kib(info), None
    if info.cached_kib is not None:
        caches = info.cached_kib + (info.buffers_kib or 0) + reclaimable
        caches += (info.swap_cached_kib or 0) - (info.mapped_kib or 0)
    zram_kib = None if zram_bytes is None else zram_bytes // KIB
    total, free = info.mem_total_kib, info.mem_free_kib
    if total is not None and free is not None and caches is not None and kernel is not None:
        lost = total - (total_pss - swap_pss) - free - caches
        lost += (info.shmem_kib or 0) - kernel - (zram_kib or 0)  # shmem: in caches and kernel
    return PhoneRam(
        total_kib=info.mem_total_kib,
        cached_pss_kib=cached_pss,
        cached_kernel_kib=caches,
        free_kib=info.mem_free_kib,
        used_pss_kib=total_pss - cached_pss,
        kernel_kib=kernel,
        lost_kib=lost,
        zram_kib=zram_kib,
        swap_used_kib=_less(info.swap_total_kib, info.swap_free_kib),
        swap_total_kib=info.swap_total_kib,
    )


def _kernel_kib(info: MemInfo) -> int | None:
    """MemInfoReader.java getKernelUsedSizeKb(), Android 15.

    DIFFERS: stacks are always taken to lie in vmalloc; kernels of Android 12 and later have them
    there; used and lost RAM of older phones.
    """
    parts = (
        info.shmem_kib, info.sunreclaim_kib, info.vmalloc_used_kib, info.page_tables_kib,
        info.sec_page_tables_kib, info.percpu_kib,
    )  # fmt: skip
    found = [part for part in parts if part is not None]
    return sum(found) if found else None


def _less(whole: int | None, part: int | None) -> int | None:
    return None if whole is None or part is None else whole - part
