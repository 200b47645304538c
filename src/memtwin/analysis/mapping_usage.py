"""Owns what mappings add up to: by file, by kind, over one process or many.

Imports observe/map_files. Pure. A figure that smaps does not tell (a maps text alone) is None.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

import msgspec

from memtwin.observe.map_files import MapArea

ANONYMOUS = "<anonymous>"
_DELETED = " (deleted)"


class MappingSum(msgspec.Struct):
    """What `count` mappings of `pids_count` processes add up to, in bytes."""

    name: str
    count: int = 0
    pids_count: int = 0
    vss_bytes: int = 0
    rss_bytes: int | None = None
    pss_bytes: int | None = None
    uss_bytes: int | None = None
    dirty_bytes: int | None = None
    swap_bytes: int | None = None
    swap_pss_bytes: int | None = None


# field -> the figures of smaps it is made of
_FIGURES = {
    "rss_bytes": ("Rss",),
    "pss_bytes": ("Pss",),
    "uss_bytes": ("Private_Clean", "Private_Dirty"),
    "dirty_bytes": ("Shared_Dirty", "Private_Dirty"),
    "swap_bytes": ("Swap",),
    "swap_pss_bytes": ("SwapPss",),
}


class Kind(enum.StrEnum):
    """What a mapping is, by its name and permissions."""

    CODE = "code"  # executable pages of a file
    FILE = "file"  # other pages of a file, as they are in it
    PRIVATE_FILE = "private data"  # a file's pages that the process may write for itself
    SHARED_FILE = "shared file"  # writes reach the file
    SHARED_MEMORY = "shared memory"  # memfd, System V, /dev/shm, /dev/zero
    HEAP = "heap"
    STACK = "stack"
    ANONYMOUS = "anonymous"
    DEVICE = "device"
    KERNEL = "kernel"  # vdso, vvar, vsyscall


_BRACKETED = {"[heap]": Kind.HEAP, "[stack]": Kind.STACK}
_SHARED_MEMORY = ("/dev/shm/", "/memfd:", "/SYSV", "/dev/zero", "/dev/ashmem", "[anon_shmem")
_KERNEL = ("[vdso]", "[vvar", "[vsyscall]", "[uprobes]", "[sigpage]", "[vectors]")


def kind_of(area: MapArea) -> Kind:
    """What `area` is.

    >>> kind_of(MapArea(0, 4096, "r-xp", 0, "08:01", 7, "/bin/true")).value
    'code'
    """
    path = area.path
    if path in _BRACKETED:
        return _BRACKETED[path]
    if path.startswith(_SHARED_MEMORY):
        return Kind.SHARED_MEMORY
    if path.startswith(_KERNEL):
        return Kind.KERNEL
    if path.startswith("[stack:"):
        return Kind.STACK
    if not path.startswith("/"):
        return Kind.ANONYMOUS
    if path.startswith("/dev/"):
        return Kind.DEVICE
    if area.perms[2] == "x":
        return Kind.CODE
    if area.perms[3] == "s":
        return Kind.SHARED_FILE
    return Kind.PRIVATE_FILE if area.perms[1] == "w" else Kind.FILE


def name_of(area: MapArea) -> str:
    """The mapping's name: its file without what the kernel adds to a deleted one."""
    return area.path.removesuffix(_DELETED) or ANONYMOUS


def add(row: MappingSum, area: MapArea) -> None:
    """Add `area` to `row`."""
    row.count += 1
    row.vss_bytes += area.size_kib << 10
    for field, names in _FIGURES.items():
        figure = area.sum_kib(*names)
        if figure is not None:
            setattr(row, field, (getattr(row, field) or 0) + (figure << 10))


def sum_of(areas: Iterable[MapArea], name: str = "") -> MappingSum:
    """The sum of `areas` of one process.

    >>> sum_of([MapArea(0, 8192, "rw-p", 0, "00:00", 0, kib={"Rss": 4})]).rss_bytes
    4096
    """
    row = MappingSum(name, pids_count=1)
    for area in areas:
        add(row, area)
    return row


def grouped(
    processes: Iterable[Iterable[MapArea]], key: Callable[[MapArea], str]
) -> list[MappingSum]:
    """One sum for each `key` over the mappings of many processes, in the order of appearance."""
    rows: dict[str, MappingSum] = {}
    for areas in processes:
        seen: set[str] = set()
        for area in areas:
            name = key(area)
            row = rows.get(name)
            if row is None:
                row = rows[name] = MappingSum(name)
            add(row, area)
            if name not in seen:
                seen.add(name)
                row.pids_count += 1
    return list(rows.values())
