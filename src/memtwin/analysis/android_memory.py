"""Owns how Android sorts a process's mappings, and what its summary of an app adds up.

Imports observe/map_files. Pure. The names are those that ART, bionic and the kernel give mappings.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from memtwin.observe.map_files import MapArea

# in the order in which people know them from dumpsys meminfo
CATEGORIES = (
    "Native Heap", "Dalvik Heap", "Dalvik Other", "Stack", "Cursor", "Ashmem", "Gfx dev",
    "Other dev", ".so mmap", ".jar mmap", ".apk mmap", ".ttf mmap", ".dex mmap", ".oat mmap",
    ".art mmap", "Other mmap", "Unknown",
)  # fmt: skip
_CODE = (".so mmap", ".jar mmap", ".apk mmap", ".ttf mmap", ".dex mmap", ".oat mmap")
_NATIVE = ("[heap]", "[anon:libc_malloc", "[anon:scudo:", "[anon:GWP-ASan")
_STACKS = ("[stack", "[anon:stack_and_tls:")
# spaces of ART's heap; everything else that it names is its own bookkeeping
_DALVIK_HEAP = ("main space", "alloc space", "large object space", "free list large object space",
                "non moving space", "zygote space", "region space")  # fmt: skip
_DALVIK = "[anon:dalvik-"
_JIT = ("/memfd:jit-cache", "/memfd:jit-zygote-cache", "/dev/ashmem/jit-")
_GRAPHICS = ("/dev/kgsl-3d0", "/dev/mali", "/dev/dri/", "/dev/pvrsrvkm", "/dmabuf:")
_ENDINGS = {
    ".so": ".so mmap", ".jar": ".jar mmap", ".apk": ".apk mmap", ".ttf": ".ttf mmap",
    ".odex": ".dex mmap", ".dex": ".dex mmap", ".vdex": ".dex mmap", ".oat": ".oat mmap",
    ".art": ".art mmap",
}  # fmt: skip


class CategoryRow(msgspec.Struct):
    """What the mappings of one category add up to, in KiB."""

    name: str
    pss_kib: int = 0
    private_dirty_kib: int = 0
    private_clean_kib: int = 0
    swap_pss_kib: int = 0
    rss_kib: int = 0


class AppSummary(msgspec.Struct):
    """The parts of an app's PSS and RSS as Android groups them, in KiB; PSS parts add up."""

    pss_kib: dict[str, int]
    rss_kib: dict[str, int]
    total_pss_kib: int
    total_rss_kib: int
    total_swap_pss_kib: int


def category_of(area: MapArea) -> str:
    """Which of CATEGORIES a mapping belongs to.

    >>> category_of(MapArea(0, 4096, "r-xp", 0, "fe:00", 7, "/system/lib64/libc.so"))
    '.so mmap'
    """
    path = area.path.removesuffix(" (deleted)")
    if path.startswith(_NATIVE):
        return "Native Heap"
    if path.startswith(_STACKS):
        return "Stack"
    if path.startswith(_DALVIK):
        name = path.removeprefix(_DALVIK).removesuffix("]")
        if name.endswith(".art"):
            return ".art mmap"
        return "Dalvik Heap" if name.startswith(_DALVIK_HEAP) else "Dalvik Other"
    if path.startswith(_JIT):
        return "Dalvik Other"
    if path.startswith(_GRAPHICS):
        return "Gfx dev"
    if path.startswith("/dev/ashmem/CursorWindow"):
        return "Cursor"
    if path.startswith("/dev/ashmem"):
        return "Ashmem"
    if path.startswith("/dev/"):
        return "Other dev"
    if not path.startswith("/"):
        return "Unknown"
    ending = "." + path.rpartition("/")[2].rpartition(".")[2]
    return _ENDINGS.get(ending, "Other mmap")


def by_category(areas: Iterable[MapArea]) -> list[CategoryRow]:
    """One row for each of CATEGORIES, in their order."""
    rows = {name: CategoryRow(name) for name in CATEGORIES}
    for area in areas:
        row, kib = rows[category_of(area)], area.kib
        row.pss_kib += kib.get("Pss", 0)
        row.private_dirty_kib += kib.get("Private_Dirty", 0)
        row.private_clean_kib += kib.get("Private_Clean", 0)
        row.swap_pss_kib += kib.get("SwapPss", 0)
        row.rss_kib += kib.get("Rss", 0)
    return list(rows.values())


def total_of(rows: Iterable[CategoryRow]) -> CategoryRow:
    """The sum of all rows; as dumpsys has it, swapped pages are part of the total PSS.

    >>> total_of([CategoryRow("a", pss_kib=3, swap_pss_kib=2), CategoryRow("b", pss_kib=4)]).pss_kib
    9
    """
    total = CategoryRow("TOTAL")
    for row in rows:
        total.pss_kib += row.pss_kib + row.swap_pss_kib
        total.private_dirty_kib += row.private_dirty_kib
        total.private_clean_kib += row.private_clean_kib
        total.swap_pss_kib += row.swap_pss_kib
        total.rss_kib += row.rss_kib
    return total


def summary_of(rows: list[CategoryRow]) -> AppSummary:
    """How much of an app is Java, native, code, stack, graphics, other, and shared with others."""
    named = {row.name: row for row in rows}
    total = total_of(rows)
    both = {row.name: row.private_dirty_kib + row.private_clean_kib for row in rows}
    private = sum(both.values())
    pss = {
        "Java Heap": named["Dalvik Heap"].private_dirty_kib + both[".art mmap"],
        "Native Heap": named["Native Heap"].private_dirty_kib,
        "Code": sum(both[name] for name in _CODE),
        "Stack": named["Stack"].private_dirty_kib,
        "Graphics": both["Gfx dev"],
    }
    pss["Private Other"] = private - sum(pss.values())
    pss["System"] = total.pss_kib - private
    rss = {
        "Java Heap": named["Dalvik Heap"].rss_kib + named[".art mmap"].rss_kib,
        "Native Heap": named["Native Heap"].rss_kib,
        "Code": sum(named[name].rss_kib for name in _CODE),
        "Stack": named["Stack"].rss_kib,
        "Graphics": named["Gfx dev"].rss_kib,
    }
    rss["Unknown"] = total.rss_kib - sum(rss.values())
    return AppSummary(pss, rss, total.pss_kib, total.rss_kib, total.swap_pss_kib)
