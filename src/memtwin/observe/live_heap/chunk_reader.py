"""Owns the walk over chunks and lists of a heap in an image, bounded whatever stands there.

Imports columns. Knows chunk headers (malloc/malloc.c of glibc, struct malloc_chunk) and nothing
else of the allocator. It trusts no size and no pointer: what does not fit ends the walk, with the
address and the reason.
"""

from __future__ import annotations

from enum import IntEnum

import cython

if not cython.compiled:
    from memtwin.columns import I8, U1

PREV_INUSE = 1
_FLAGS = 7
_MIN_CHUNK_BYTES = 32
_FENCE_BYTES = 16
# numbers of Stop, for C
_AT_END, _AT_TOP, _AT_FENCE, _BAD_SIZE, _BAD_FOOTER, _PAST_TOP = 0, 1, 2, 3, 4, 5
_LIST_END, _BAD_POINTER, _TOO_LONG = 6, 7, 8


class Stop(IntEnum):
    """Why a walk or a list ended."""

    AT_END = _AT_END  # the last chunk ended where the segment does
    AT_TOP = _AT_TOP  # the chunk that is split for new ones, always the last
    AT_FENCE = _AT_FENCE  # the small chunks that close a segment which is full
    BAD_SIZE = _BAD_SIZE  # a size that no chunk can have here
    BAD_FOOTER = _BAD_FOOTER  # a free chunk whose size stands differently behind it
    PAST_TOP = _PAST_TOP  # a chunk that reaches over the top
    LIST_END = _LIST_END
    BAD_POINTER = _BAD_POINTER  # a link that leads out of the heap or is not aligned
    TOO_LONG = _TOO_LONG  # more members than there are chunks: a ring


@cython.final
@cython.cclass
class ChunkReader:
    """Reads chunks from the regions `[starts[i], ends[i])`, whose words begin at `rows[i]`."""

    def __init__(self, starts: I8, ends: I8, rows: I8, words: I8) -> None:
        self.starts, self.ends, self.rows, self.words = starts, ends, rows, words
        self.nr_regions = len(starts)
        self.stop = _AT_END
        self.stop_vaddr = 0

    @cython.ccall
    @cython.exceptval(check=False)
    def row_of(self, vaddr: cython.longlong) -> cython.longlong:
        """The row of the word at `vaddr`; -1 where nothing is mapped."""
        low: cython.int = 0
        high: cython.int = self.nr_regions
        middle: cython.int
        while low < high:
            middle = (low + high) >> 1
            if self.starts[middle] <= vaddr:
                low = middle + 1
            else:
                high = middle
        if low == 0 or vaddr >= self.ends[low - 1]:
            return -1
        return self.rows[low - 1] + ((vaddr - self.starts[low - 1]) >> 3)

    @cython.cfunc
    @cython.exceptval(check=False)
    def _halt(self, why: cython.int, vaddr: cython.longlong) -> cython.void:
        self.stop = why
        self.stop_vaddr = vaddr

    @cython.ccall
    @cython.exceptval(check=False)
    def walk(
        self, start: cython.longlong, end: cython.longlong, top: cython.longlong,
        vaddrs: I8, sizes: I8, inuse: U1,
    ) -> cython.longlong:  # fmt: skip
        """Chunks from `start` until the segment's `end` or its `top`; how many were found.

        `vaddrs` gets addresses of headers, `sizes` their size words with flags, `inuse` 1 where
        the next chunk says so (0 for the top). `stop` and `stop_vaddr` tell how it ended.
        """
        n: cython.longlong = 0
        vaddr: cython.longlong = start
        row: cython.longlong = self.row_of(start)
        size: cython.longlong
        length: cython.longlong
        if row < 0:
            self._halt(_BAD_POINTER, start)
            return 0
        while vaddr + 16 <= end:
            size = self.words[row + 1]
            length = size & ~_FLAGS
            if n > 0:
                inuse[n - 1] = size & PREV_INUSE
                if (size & PREV_INUSE) == 0 and self.words[row] != (sizes[n - 1] & ~_FLAGS):
                    self._halt(_BAD_FOOTER, vaddr)
                    return n
            if length == _FENCE_BYTES or (length == 0 and (size & PREV_INUSE) != 0):
                self._halt(_AT_FENCE, vaddr)
                return n
            if length < _MIN_CHUNK_BYTES or (length & 15) != 0 or length > end - vaddr:
                self._halt(_BAD_SIZE, vaddr)
                return n
            vaddrs[n] = vaddr
            sizes[n] = size
            inuse[n] = 0
            n += 1
            if vaddr == top:
                self._halt(_AT_TOP, vaddr)
                return n
            if vaddr < top and vaddr + length > top:
                self._halt(_PAST_TOP, vaddr)
                return n
            vaddr += length
            row += length >> 3
        self._halt(_AT_END, vaddr)
        return n

    @cython.ccall
    @cython.exceptval(check=False)
    def follow(
        self, head: cython.longlong, link_offset: cython.longlong, mangled: cython.int,
        limit: cython.longlong, members: I8,
    ) -> cython.longlong:  # fmt: skip
        """Members of the list that begins at `head`; how many, `limit` at most.

        A member's link stands `link_offset` bytes behind the address by which it is linked;
        `mangled` links are xored with their own page number (safe-linking).
        """
        n: cython.longlong = 0
        member: cython.longlong = head
        link: cython.longlong
        row: cython.longlong
        while member != 0:
            row = -1
            if (member & 15) == 0 and member > 0:
                row = self.row_of(member + link_offset)
            if row < 0:
                self._halt(_BAD_POINTER, member)
                return n
            if n == limit:
                self._halt(_TOO_LONG, member)
                return n
            members[n] = member
            n += 1
            link = member + link_offset
            member = self.words[row]
            if mangled:
                member ^= link >> 12
        self._halt(_LIST_END, 0)
        return n
