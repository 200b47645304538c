"""Owns zsmalloc: size classes, zspages of a few frames each, and which of them have room.

Imports page and columns. Has never heard of what an object is. Frames come from the page allocator
with PF_MEMALLOC's rights, because reclaim is the one who stores (mm/zsmalloc.c, v6.1 and v6.12).

A zspage's life: made for the first object that finds no room -> filled, thinned -> freed when
empty.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, grown, zeros
from memtwin.errors import InternalError
from memtwin.page.flags import PG_ZSPAGE
from memtwin.page.gfp import (
    ALLOC_NO_WATERMARKS,
    GFP_HIGHMEM,
    GFP_KSWAPD_RECLAIM,
    GFP_MOVABLE_BIT,
    GFP_NOWARN,
)
from memtwin.page.mem_map import MemMap
from memtwin.page.page_alloc import PageAlloc
from memtwin.page.vmstat import VmStat
from memtwin.page.vmstat_items import NR_ZSPAGES
from memtwin.page.zone import Zones
from memtwin.swap.constants import (
    CHAIN_ROOM,
    GROUPS_ROOM,
    ZS_HANDLE,
    ZS_HANDLE_SIZE,
    ZS_MIN_ALLOC_SIZE,
    ZS_SIZE_CLASS_DELTA,
    ZS_SIZE_CLASSES,
    ZSPAGE,
)
from memtwin.swap.slab_objects import SwapObjects
from memtwin.units import NIL, PAGE_SIZE

COLUMNS = (
    Column(
        "class_of_size", "i4", "zsmalloc", "class that serves size 32 + 16 * row (merged classes)"
    ),
    Column("class_size", "i4", "zsmalloc", "object size of a class, bytes, handle included"),
    Column("class_pages", "i4", "zsmalloc", "frames a zspage"),
    Column("class_objects", "i4", "zsmalloc", "objects a zspage"),
    Column(
        "group_first", "i4", "zsmalloc", "first zspage of each (class, fullness group); -1 none"
    ),
    Column("zspage_class", "i4", "zsmalloc", "class of each zspage"),
    Column("zspage_inuse", "i4", "zsmalloc", "objects in it; 0 for a row not in use"),
    Column("zspage_next", "i4", "zsmalloc", "next of its group, or next free row"),
    Column("zspage_prev", "i4", "zsmalloc", "previous of its group; -1 the first"),
    Column("zspage_slab", "i4", "zsmalloc", "slab that its struct zspage lies in; -1 none"),
    Column("zspage_frames", "i4", "zsmalloc", "its frames, 8 places a zspage"),
)
_FIRST_ROWS = 256


@cython.final
@cython.cclass
class Zsmalloc:
    """One pool."""

    def __init__(
        self, mem: MemMap, zones: Zones, vmstat: VmStat, page_alloc: PageAlloc, kernel: int
    ) -> None:
        self.mem = mem
        self.zones = zones
        self.vmstat = vmstat
        self.page_alloc = page_alloc
        self.by_tenths = 1 if kernel >= 612 else 0
        # ZS_MAX_ZSPAGE_ORDER 2 in v6.1, CONFIG_ZSMALLOC_CHAIN_SIZE 8 in v6.12
        self.max_chain = 8 if kernel >= 612 else 4
        self.pages_allocated = 0
        self.huge_class_size = 0  # objects this large get a frame of their own
        self.gfp = GFP_HIGHMEM | GFP_MOVABLE_BIT | GFP_KSWAPD_RECLAIM | GFP_NOWARN
        self.nr_rows = _FIRST_ROWS
        self.objects: SwapObjects | None = None
        for column in COLUMNS:
            rows = ZS_SIZE_CLASSES if column.name.startswith("class") else _FIRST_ROWS
            rows *= {"zspage_frames": CHAIN_ROOM}.get(column.name, 1)
            if column.name == "group_first":
                rows = ZS_SIZE_CLASSES * GROUPS_ROOM
            setattr(self, column.name, zeros(rows, column.dtype))
        for row in range(ZS_SIZE_CLASSES * GROUPS_ROOM):
            self.group_first[row] = NIL
        self.free_row = 0
        for row in range(_FIRST_ROWS):
            self.zspage_next[row] = row + 1 if row + 1 < _FIRST_ROWS else NIL
        self._make_classes()

    def connect_slabs(self, objects: SwapObjects) -> None:
        """From now on handles and zspages are slab objects."""
        self.objects = objects

    @cython.ccall
    def take_handle(self) -> cython.int:
        """The slab that a new object's handle lies in, or -1."""
        return self.objects.take(ZS_HANDLE) if self.objects is not None else NIL

    @cython.ccall
    def give_handle(self, slab: cython.int) -> cython.int:
        """An object's handle goes back; 0."""
        return self.objects.give(ZS_HANDLE, slab) if self.objects is not None else 0

    def _make_classes(self) -> None:
        # mm/zsmalloc.c zs_create_pool(), get_pages_per_zspage(), v6.1: from large to small, a class
        # joins the one before when both have the same shape
        previous = NIL
        for row in range(ZS_SIZE_CLASSES - 1, -1, -1):
            size = ZS_MIN_ALLOC_SIZE + row * ZS_SIZE_CLASS_DELTA
            pages = self._pages_per_zspage(size)
            objects = pages * PAGE_SIZE // size
            if pages != 1 and objects != 1 and not self.huge_class_size:
                self.huge_class_size = size - (ZS_HANDLE_SIZE - 1)
            same = previous != NIL and (
                (self.class_pages[previous], self.class_objects[previous]) == (pages, objects)
            )
            if not same:
                previous = row
                self.class_size[row] = size
                self.class_pages[row] = pages
                self.class_objects[row] = objects
            self.class_of_size[row] = previous

    def _pages_per_zspage(self, size: int) -> int:
        best, best_pages = 0, 1
        if self.by_tenths:
            # mm/zsmalloc.c calculate_zspage_chain_size(), v6.12: least waste
            least = PAGE_SIZE
            if size & (size - 1) == 0:
                return 1
            for pages in range(1, self.max_chain + 1):
                waste = (pages * PAGE_SIZE) % size
                if waste < least:
                    least, best_pages = waste, pages
            return best_pages
        for pages in range(1, self.max_chain + 1):
            whole = pages * PAGE_SIZE
            used_percent = (whole - whole % size) * 100 // whole
            if used_percent > best:
                best, best_pages = used_percent, pages
        return best_pages

    @cython.cfunc
    @cython.exceptval(check=False)
    def _group(self, zspage: cython.int) -> cython.int:
        """Fullness group of a zspage: 0 empty, the highest full."""
        inuse: cython.int = self.zspage_inuse[zspage]
        objects: cython.int = self.class_objects[self.zspage_class[zspage]]
        if inuse == 0:
            return 0
        if self.by_tenths:
            # mm/zsmalloc.c get_fullness_group(), v6.12: tenths of use, 99 % and 100 %
            if inuse == objects:
                return 11
            return 100 * inuse // objects // 10 + 1
        if inuse == objects:
            return 3
        return 1 if inuse <= 3 * objects // 4 else 2

    @cython.cfunc
    @cython.exceptval(check=False)
    def _insert(self, zspage: cython.int, group: cython.int) -> cython.void:
        row: cython.int = self.zspage_class[zspage] * GROUPS_ROOM + group
        first: cython.int = self.group_first[row]
        if (
            not self.by_tenths
            and first != NIL
            and self.zspage_inuse[zspage] < self.zspage_inuse[first]
        ):
            # mm/zsmalloc.c insert_zspage(), v6.1: fuller ones stay first
            after: cython.int = self.zspage_next[first]
            self.zspage_prev[zspage] = first
            self.zspage_next[zspage] = after
            self.zspage_next[first] = zspage
            if after != NIL:
                self.zspage_prev[after] = zspage
            return
        self.zspage_prev[zspage] = NIL
        self.zspage_next[zspage] = first
        if first != NIL:
            self.zspage_prev[first] = zspage
        self.group_first[row] = zspage

    @cython.cfunc
    @cython.exceptval(check=False)
    def _remove(self, zspage: cython.int, group: cython.int) -> cython.void:
        after: cython.int = self.zspage_next[zspage]
        before: cython.int = self.zspage_prev[zspage]
        if before == NIL:
            self.group_first[self.zspage_class[zspage] * GROUPS_ROOM + group] = after
        else:
            self.zspage_next[before] = after
        if after != NIL:
            self.zspage_prev[after] = before

    @cython.ccall
    def malloc(self, size_bytes: cython.int) -> cython.int:
        """Store an object: its zspage, or -1 when no frame is left for it."""
        size: cython.int = size_bytes + ZS_HANDLE_SIZE
        row: cython.int = 0
        if size > ZS_MIN_ALLOC_SIZE:
            row = (size - ZS_MIN_ALLOC_SIZE + ZS_SIZE_CLASS_DELTA - 1) // ZS_SIZE_CLASS_DELTA
        if row >= ZS_SIZE_CLASSES:
            row = ZS_SIZE_CLASSES - 1
        size_class: cython.int = self.class_of_size[row]
        top: cython.int = 10 if self.by_tenths else 2
        group: cython.int
        zspage: cython.int = NIL
        for group in range(top, -1, -1):
            zspage = self.group_first[size_class * GROUPS_ROOM + group]
            if zspage != NIL:
                break
        if zspage == NIL:
            zspage = self._new_zspage(size_class)
            if zspage == NIL:
                return NIL
            self.zspage_inuse[zspage] = 1
            self._insert(zspage, self._group(zspage))
            return zspage
        old: cython.int = self._group(zspage)
        self.zspage_inuse[zspage] += 1
        self._regroup(zspage, old)
        return zspage

    @cython.cfunc
    def _regroup(self, zspage: cython.int, old: cython.int) -> cython.void:
        """Move a zspage whose use changed to its group."""
        new: cython.int = self._group(zspage)
        if new == old:
            return
        inuse: cython.int = self.zspage_inuse[zspage]
        self._remove(zspage, old)
        self.zspage_inuse[zspage] = inuse
        self._insert(zspage, new)

    @cython.cfunc
    def _new_zspage(self, size_class: cython.int) -> cython.int:
        """A zspage with its frames, or -1 when the machine has none left, reserves included."""
        i: cython.int
        pfn: cython.int
        if self.free_row == NIL:
            self._grow()
        zspage: cython.int = self.free_row
        slab: cython.int = self.objects.take(ZSPAGE) if self.objects is not None else NIL
        for i in range(self.class_pages[size_class]):
            pfn = self.page_alloc.alloc_fast(self.gfp, 0)
            if pfn < 0:
                pfn = self.page_alloc.get_page_from_freelist(self.gfp, 0, ALLOC_NO_WATERMARKS)
            if pfn < 0:
                while i > 0:
                    i -= 1
                    self._free_frame(self.zspage_frames[zspage * CHAIN_ROOM + i])
                if self.objects is not None:
                    self.objects.give(ZSPAGE, slab)
                return NIL
            self.mem.flags[pfn] |= PG_ZSPAGE
            self.vmstat.mod_zone(self.zones.zone_of(pfn), NR_ZSPAGES, 1)
            self.pages_allocated += 1
            self.zspage_frames[zspage * CHAIN_ROOM + i] = pfn
        self.zspage_slab[zspage] = slab
        self.free_row = self.zspage_next[zspage]
        self.zspage_class[zspage] = size_class
        return zspage

    def _grow(self) -> None:
        rows = self.nr_rows * 2
        widths = {"zspage_frames": CHAIN_ROOM}
        for column in COLUMNS:
            if column.name.startswith("zspage"):
                length = rows * widths.get(column.name, 1)
                setattr(self, column.name, grown(getattr(self, column.name), length))
        for row in range(self.nr_rows, rows):
            self.zspage_next[row] = row + 1 if row + 1 < rows else NIL
        self.free_row = self.nr_rows
        self.nr_rows = rows

    @cython.cfunc
    def _free_frame(self, pfn: cython.int) -> cython.void:
        self.mem.flags[pfn] &= ~PG_ZSPAGE
        self.mem.refcount[pfn] = 0
        self.vmstat.mod_zone(self.zones.zone_of(pfn), NR_ZSPAGES, -1)
        self.pages_allocated -= 1
        self.page_alloc.free_page(pfn)

    @cython.ccall
    def free(self, zspage: cython.int) -> cython.void:
        """One object of a zspage goes; an empty zspage's frames go back."""
        old: cython.int = self._group(zspage)
        self.zspage_inuse[zspage] -= 1
        if self.zspage_inuse[zspage] > 0:
            self._regroup(zspage, old)
            return
        i: cython.int
        self._remove(zspage, old)
        for i in range(self.class_pages[self.zspage_class[zspage]]):
            self._free_frame(self.zspage_frames[zspage * CHAIN_ROOM + i])
        if self.objects is not None:
            self.objects.give(ZSPAGE, self.zspage_slab[zspage])
        self.zspage_next[zspage] = self.free_row
        self.free_row = zspage

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        found: list[tuple[str, object]] = [("pages_allocated", self.pages_allocated)]
        return found + [(column.name, getattr(self, column.name)) for column in COLUMNS]

    def verify(self) -> None:
        """Every zspage with objects is in its group, and frames add up."""
        pages = 0
        for size_class in range(ZS_SIZE_CLASSES):
            for group in range(GROUPS_ROOM):
                zspage = self.group_first[size_class * GROUPS_ROOM + group]
                while zspage != NIL:
                    if self._group(zspage) != group or self.zspage_class[zspage] != size_class:
                        raise InternalError(
                            f"zsmalloc.verify: zspage {zspage} is in group {group} of class "
                            f"{size_class}, belongs to {self._group(zspage)}"
                        )
                    pages += self.class_pages[size_class]
                    zspage = self.zspage_next[zspage]
        if pages != self.pages_allocated:
            raise InternalError(
                f"zsmalloc.verify: pages_allocated {self.pages_allocated}, zspages hold {pages}"
            )
