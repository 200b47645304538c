"""Owns the columns of mem_map, one row a frame, and the lists that thread through them.

Imports columns. Has never heard of zones, reclaim or processes: it stores what they write.

A row's life: boot -> free (buddy or per-CPU list) -> allocated -> on LRU -> isolated -> free. Lists
are circular and doubly linked, as the kernel's list_head: a head is a row of its own behind the
frames (number >= nr_frames), so adding and deleting need no branch. A frame is on one list at most.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, grown, zeros

COLUMNS = (
    Column(
        "flags", "i8", "owner of each bit, page/flags.py", "PG_* mask; 0 means allocated, plain"
    ),
    Column("refcount", "i4", "page_alloc, then the owner", "the kernel's _refcount; 0 means free"),
    Column(
        "mapcount", "i4", "address_space/rmap", "number of page table entries that map it; 0 none"
    ),
    Column("lru_next", "i4", "the list it is on", "next frame or head; meaningless off every list"),
    Column("lru_prev", "i4", "the list it is on", "previous frame or head"),
    Column(
        "mapping",
        "i4",
        "page_cache or rmap",
        "id of its address_space, or anon_vma if PG_ANON; 0 none",
    ),
    Column(
        "index",
        "i8",
        "page_cache or rmap",
        "page offset in the file, or linear page in the anon_vma",
    ),
    Column(
        "private",
        "i8",
        "swap, buddy, slab",
        "swap entry if PG_SWAPCACHE; owner's id for kernel pages",
    ),
    Column("memcg", "i4", "memcg/charge", "id of the memcg charged; 0 is the root (uncharged)"),
    Column(
        "order",
        "i1",
        "buddy, page_alloc",
        "order of the free block or compound page it heads or is in",
    ),
)
_FIRST_HEADS = 1 << 16  # lazy, like the rest; growing would copy every row


@cython.final
@cython.cclass
class MemMap:
    """Columns of all frames, pfn 0 .. nr_frames - 1, and list heads behind them."""

    def __init__(self, nr_frames: int) -> None:
        self.nr_frames = nr_frames
        self.nr_heads = 0
        self._head_capacity = _FIRST_HEADS
        self.flags = zeros(nr_frames, "i8")
        self.refcount = zeros(nr_frames, "i4")
        self.mapcount = zeros(nr_frames, "i4")
        self.lru_next = zeros(nr_frames + _FIRST_HEADS, "i4")
        self.lru_prev = zeros(nr_frames + _FIRST_HEADS, "i4")
        self.mapping = zeros(nr_frames, "i4")
        self.index = zeros(nr_frames, "i8")
        self.private = zeros(nr_frames, "i8")
        self.memcg = zeros(nr_frames, "i4")
        self.order = zeros(nr_frames, "i1")

    @cython.ccall
    def new_head(self) -> cython.int:
        """Number of a new, empty list."""
        if self.nr_heads == self._head_capacity:
            self._head_capacity *= 2
            length: cython.int = self.nr_frames + self._head_capacity
            self.lru_next = grown(self.lru_next, length)
            self.lru_prev = grown(self.lru_prev, length)
        head: cython.int = self.nr_frames + self.nr_heads
        self.nr_heads += 1
        self.lru_next[head] = head
        self.lru_prev[head] = head
        return head

    @cython.cfunc
    @cython.exceptval(check=False)
    def list_add(self, head: cython.int, pfn: cython.int) -> cython.void:
        """Put `pfn` first on the list `head`."""
        first: cython.int = self.lru_next[head]
        self.lru_next[pfn] = first
        self.lru_prev[pfn] = head
        self.lru_prev[first] = pfn
        self.lru_next[head] = pfn

    @cython.cfunc
    @cython.exceptval(check=False)
    def list_add_tail(self, head: cython.int, pfn: cython.int) -> cython.void:
        """Put `pfn` last on the list `head`."""
        last: cython.int = self.lru_prev[head]
        self.lru_prev[pfn] = last
        self.lru_next[pfn] = head
        self.lru_next[last] = pfn
        self.lru_prev[head] = pfn

    @cython.cfunc
    @cython.exceptval(check=False)
    def list_del(self, pfn: cython.int) -> cython.void:
        """Take `pfn` off the list it is on."""
        after: cython.int = self.lru_next[pfn]
        before: cython.int = self.lru_prev[pfn]
        self.lru_next[before] = after
        self.lru_prev[after] = before

    @cython.cfunc
    @cython.exceptval(check=False)
    def list_first(self, head: cython.int) -> cython.int:
        """First frame of the list, or -1 when it is empty."""
        first: cython.int = self.lru_next[head]
        return -1 if first == head else first

    @cython.cfunc
    @cython.exceptval(check=False)
    def list_last(self, head: cython.int) -> cython.int:
        """Last frame of the list, or -1 when it is empty."""
        last: cython.int = self.lru_prev[head]
        return -1 if last == head else last

    @cython.cfunc
    @cython.exceptval(check=False)
    def list_splice(self, source: cython.int, head: cython.int) -> cython.void:
        """Move all frames of `source` to the front of `head`, in order; `source` is empty after."""
        first: cython.int = self.lru_next[source]
        if first == source:
            return
        last: cython.int = self.lru_prev[source]
        at: cython.int = self.lru_next[head]
        self.lru_prev[first] = head
        self.lru_next[head] = first
        self.lru_next[last] = at
        self.lru_prev[at] = last
        self.lru_next[source] = source
        self.lru_prev[source] = source

    def walk(self, head: int) -> list[int]:
        """Frames of the list, first to last (for verify() and views; not for hot loops)."""
        found: list[int] = []
        at = self.lru_next[head]
        while at != head:
            found.append(at)
            at = self.lru_next[at]
        return found

    def columns(self) -> list[tuple[str, object]]:
        """(name, column) of all state, for digests."""
        return [(column.name, getattr(self, column.name)) for column in COLUMNS]
