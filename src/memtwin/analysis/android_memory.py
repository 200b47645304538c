"""Owns how Android sorts a process's mappings into heaps, and what its summary of an app adds up.

Imports observe/map_files. Pure. Layouts and rules are those of Android 15 (libmeminfo r6 of it).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from memtwin.observe.map_files import MapArea

NATIVE_HEAP, DALVIK_HEAP, UNKNOWN = "Native Heap", "Dalvik Heap", "Unknown"
# core/java/android/os/Debug.java MemoryInfo.getOtherLabel(), Android 15; those of the graphics
# driver ("EGL mtrack", "GL mtrack", "Other mtrack") stand between the last two and come from a HAL
OTHER_HEAPS = (
    "Dalvik Other", "Stack", "Cursor", "Ashmem", "Gfx dev", "Other dev", ".so mmap", ".jar mmap",
    ".apk mmap", ".ttf mmap", ".dex mmap", ".oat mmap", ".art mmap", "Other mmap",
)  # fmt: skip
# in the order of core/java/android/app/ActivityThread.java dumpMemInfoTable(), Android 15
CATEGORIES = (NATIVE_HEAP, DALVIK_HEAP, *OTHER_HEAPS, UNKNOWN)
# part -> the heap it is a part of, in the order of "Dalvik Details" (Debug.java getOtherLabel())
DETAILS = {
    ".Heap": DALVIK_HEAP, ".LOS": DALVIK_HEAP, ".Zygote": DALVIK_HEAP, ".NonMoving": DALVIK_HEAP,
    ".LinearAlloc": "Dalvik Other", ".GC": "Dalvik Other", ".ZygoteJIT": "Dalvik Other",
    ".AppJIT": "Dalvik Other", ".CompilerMetadata": "Dalvik Other", ".IndirectRef": "Dalvik Other",
    ".Boot vdex": ".dex mmap", ".App dex": ".dex mmap", ".App vdex": ".dex mmap",
    ".App art": ".art mmap", ".Boot art": ".art mmap",
}  # fmt: skip
_CODE = (".so mmap", ".jar mmap", ".apk mmap", ".ttf mmap", ".dex mmap", ".oat mmap")
_JIT = (".ZygoteJIT", ".AppJIT")
_SWAPPABLE = frozenset((*_CODE, ".art mmap"))  # its pages can be read again from a file
# the rules of libmeminfo androidprocheaps.cpp ExtractAndroidHeapStatsFromFile(), Android 15, in
# its order: the first that fits decides
_NATIVE = ("[heap]", "[anon:libc_malloc]", "[anon:scudo:", "[anon:GWP-ASan")
_STACKS = ("[stack", "[anon:stack_and_tls:")
_ENDINGS = (
    (".so", ".so mmap"),
    (".jar", ".jar mmap"),
    (".apk", ".apk mmap"),
    (".ttf", ".ttf mmap"),
)
_BOOT = ("@boot", "/boot", "/apex")
_DEVICES = (
    ("/dev/kgsl-3d0", "Gfx dev", ""),
    ("/dev/ashmem/CursorWindow", "Cursor", ""),
    ("/dev/ashmem/jit-zygote-cache", "Dalvik Other", ".ZygoteJIT"),
    ("/dev/ashmem", "Ashmem", ""),
    ("/dev/", "Other dev", ""),
    ("/memfd:jit-cache", "Dalvik Other", ".AppJIT"),
    ("/memfd:jit-zygote-cache", "Dalvik Other", ".ZygoteJIT"),
)
_DALVIK = "[anon:dalvik-"
_DALVIK_PARTS = (
    ("LinearAlloc", ".LinearAlloc"), ("alloc space", ".Heap"), ("main space", ".Heap"),
    ("large object space", ".LOS"), ("free list large object space", ".LOS"),
    ("non moving space", ".NonMoving"), ("zygote space", ".Zygote"),
    ("indirect ref", ".IndirectRef"), ("jit-code-cache", ".AppJIT"),
    ("data-code-cache", ".AppJIT"), ("CompilerMetadata", ".CompilerMetadata"),
)  # fmt: skip


class Heap(NamedTuple):
    """Which heap a mapping belongs to, and which part of it ("": it has no parts)."""

    name: str
    part: str = ""


class CategoryRow(msgspec.Struct):
    """What the mappings of one heap, or of a part of one, add up to, in KiB."""

    name: str
    pss_kib: int = 0
    pss_clean_kib: int = 0  # its part of pages that can be read again from a file
    shared_dirty_kib: int = 0
    private_dirty_kib: int = 0
    shared_clean_kib: int = 0
    private_clean_kib: int = 0
    swap_kib: int = 0
    swap_pss_kib: int = 0
    rss_kib: int = 0

    def add(self, other: CategoryRow) -> None:
        """Take the figures of `other` too."""
        for field in FIGURES:
            setattr(self, field, getattr(self, field) + getattr(other, field))

    def is_empty(self) -> bool:
        """Whether no figure that is shown is there."""
        return not any(getattr(self, field) for field in FIGURES)

    @property
    def private_kib(self) -> int:
        """Clean and dirty."""
        return self.private_clean_kib + self.private_dirty_kib


FIGURES = CategoryRow.__struct_fields__[1:]


class HeapTable(msgspec.Struct):
    """The heaps of one process. `details`: parts of heaps, by their names."""

    rows: list[CategoryRow]
    details: dict[str, CategoryRow]

    @property
    def total(self) -> CategoryRow:
        """All rows; the PSS of swapped pages is part of its PSS (Debug.java getTotalPss())."""
        return total_of(self.rows)

    @property
    def has_swap_pss(self) -> bool:
        """Whether the kernel tells SwapPss: any was found (androidprocheaps.cpp foundSwapPss)."""
        return any(row.swap_pss_kib for row in self.rows)


class AppSummary(msgspec.Struct):
    """The parts of an app's PSS and RSS as Android groups them, in KiB; parts add up."""

    pss_kib: dict[str, int]
    rss_kib: dict[str, int]
    total_pss_kib: int
    total_rss_kib: int
    total_swap_kib: int
    total_swap_pss_kib: int


def heap_of(path: str) -> Heap:
    """Which heap a mapping named `path` belongs to.

    >>> heap_of("/system/lib64/libc.so")
    Heap(name='.so mmap', part='')
    """
    name = path.removesuffix(" (deleted)")
    if name.startswith(_NATIVE):
        return Heap(NATIVE_HEAP)
    if name.startswith(_STACKS):
        return Heap("Stack")
    for ending, heap in _ENDINGS:
        if name.endswith(ending):
            return Heap(heap)
    if name.endswith(".odex") or (".dex" in name and len(name) > 4):
        return Heap(".dex mmap", ".App dex")
    boot = any(word in name for word in _BOOT)
    if name.endswith(".vdex"):
        return Heap(".dex mmap", ".Boot vdex" if boot else ".App vdex")
    if name.endswith(".oat"):
        return Heap(".oat mmap")
    if name.endswith((".art", ".art]")):
        return Heap(".art mmap", ".Boot art" if boot else ".App art")
    for start, heap, part in _DEVICES:
        if name.startswith(start):
            return Heap(heap, part)
    if name.startswith(_DALVIK):
        return _dalvik_heap(name.removeprefix(_DALVIK))
    return Heap("Other mmap" if name and not name.startswith("[anon:") else UNKNOWN)


def _dalvik_heap(name: str) -> Heap:
    for start, part in _DALVIK_PARTS:
        if name.startswith(start):
            return Heap(DETAILS[part], part)
    return Heap("Dalvik Other", ".GC")


def heaps_of(areas: Iterable[MapArea]) -> HeapTable:
    """The heaps of the process whose mappings, in their order, are `areas`."""
    rows = {name: CategoryRow(name) for name in CATEGORIES}
    parts = {name: CategoryRow(name) for name in DETAILS}
    end_vaddr, before = 0, UNKNOWN
    for area in areas:
        heap = heap_of(area.path)
        if not area.path and area.start_vaddr == end_vaddr and before == ".so mmap":
            heap = Heap(".so mmap")  # the zeroed data behind a library belong to it
        end_vaddr, before = area.end_vaddr, heap.name
        figures = _figures(area, can_be_read_again=bool(area.path) and heap.name in _SWAPPABLE)
        rows[heap.name].add(figures)
        if heap.part:
            parts[heap.part].add(figures)
    return HeapTable(list(rows.values()), parts)


def _figures(area: MapArea, *, can_be_read_again: bool) -> CategoryRow:
    kib = area.kib
    pss, private = kib.get("Pss", 0), kib.get("Private_Clean", 0) + kib.get("Private_Dirty", 0)
    shared_clean = kib.get("Shared_Clean", 0)
    clean = 0
    if can_be_read_again and pss:
        shared = shared_clean + kib.get("Shared_Dirty", 0)
        # a whole number there: most shared pages count for nothing (androidprocheaps.cpp)
        share = max(pss - private, 0) // shared if shared else 0
        clean = share * shared_clean + kib.get("Private_Clean", 0)
    return CategoryRow(
        "",
        pss_kib=pss,
        pss_clean_kib=clean,
        shared_dirty_kib=kib.get("Shared_Dirty", 0),
        private_dirty_kib=kib.get("Private_Dirty", 0),
        shared_clean_kib=shared_clean,
        private_clean_kib=kib.get("Private_Clean", 0),
        swap_kib=kib.get("Swap", 0),
        swap_pss_kib=kib.get("SwapPss", 0),
        rss_kib=kib.get("Rss", 0),
    )


def total_of(rows: Iterable[CategoryRow]) -> CategoryRow:
    """The sum of all rows; as dumpsys has it, swapped pages are part of the total PSS.

    >>> total_of([CategoryRow("a", pss_kib=3, swap_pss_kib=2), CategoryRow("b", pss_kib=4)]).pss_kib
    9
    """
    total = CategoryRow("TOTAL")
    for row in rows:
        total.add(row)
    total.pss_kib += total.swap_pss_kib
    return total


def summary_of(table: HeapTable) -> AppSummary:
    """How much of an app is Java, native, code, stack, graphics, other, and shared with others.

    As Debug.java getSummaryJavaHeap() and its siblings, Android 15.
    """
    named: dict[str, CategoryRow] = {row.name: row for row in table.rows}
    total = table.total
    code: Sequence[CategoryRow] = [
        *(named[name] for name in _CODE), *(table.details[name] for name in _JIT)
    ]  # fmt: skip
    pss = {
        "Java Heap": named[DALVIK_HEAP].private_dirty_kib + named[".art mmap"].private_kib,
        "Native Heap": named[NATIVE_HEAP].private_dirty_kib,
        "Code": sum(row.private_kib for row in code),
        "Stack": named["Stack"].private_dirty_kib,
        "Graphics": named["Gfx dev"].private_kib,
    }
    pss["Private Other"] = total.private_kib - sum(pss.values())
    pss["System"] = total.pss_kib - total.private_kib
    rss = {
        "Java Heap": named[DALVIK_HEAP].rss_kib + named[".art mmap"].rss_kib,
        "Native Heap": named[NATIVE_HEAP].rss_kib,
        "Code": sum(row.rss_kib for row in code),
        "Stack": named["Stack"].rss_kib,
        "Graphics": named["Gfx dev"].rss_kib,
    }
    rss["Unknown"] = total.rss_kib - sum(rss.values())
    return AppSummary(pss, rss, total.pss_kib, total.rss_kib, total.swap_kib, total.swap_pss_kib)
