"""Owns the decisions of readahead: which pages to read and where the next mark goes.

Imports page_cache/mapping. Data and arithmetic only: it reads no page and has never heard of
devices. A decision is left in `start`, `nr` and `lookahead` (the page `start + nr - lookahead` gets
PG_READAHEAD; 0 means none does).
"""

from __future__ import annotations

import cython

from memtwin.page_cache.constants import MMAP_LOTSAMISS, READ_NOTHING, READ_WINDOW
from memtwin.page_cache.mapping import Mapping


@cython.final
@cython.cclass
class FileRa:
    """struct file_ra_state of one open file, and its FMODE_RANDOM."""

    def __init__(self, ra_pages: int) -> None:
        self.start = 0
        self.size = 0
        self.async_size = 0
        self.ra_pages = ra_pages
        self.prev_pos = -1  # mm/readahead.c file_ra_state_init(), v6.12
        self.mmap_miss = 0
        self.random_mode = 0

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        names = ("start", "size", "async_size", "ra_pages", "prev_pos", "mmap_miss", "random_mode")
        return [(name, getattr(self, name)) for name in names]


@cython.final
@cython.cclass
class Readahead:
    """The rules of mm/readahead.c, for small folios, as `kernel` has them."""

    def __init__(self, kernel: int, io_pages: int) -> None:
        self.kernel = kernel
        self.io_pages = io_pages  # the device's largest request: bdi->io_pages
        self.start = 0
        self.nr = 0
        self.lookahead = 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def _max_pages(self, ra: FileRa, req: cython.longlong) -> cython.longlong:
        """mm/readahead.c ractl_max_pages(), v6.12."""
        most: cython.longlong = ra.ra_pages
        if req > most and self.io_pages > most:
            most = req if req < self.io_pages else self.io_pages
        return most

    @cython.cfunc
    @cython.exceptval(check=False)
    def _init_size(self, req: cython.longlong, most: cython.longlong) -> cython.longlong:
        """mm/readahead.c get_init_ra_size(), v6.1."""
        size: cython.longlong = 1
        while size < req:
            size <<= 1
        if size <= most // 32:
            return size * 4
        if size <= most // 4:
            return size * 2
        return most

    @cython.cfunc
    @cython.exceptval(check=False)
    def _next_size(self, ra: FileRa, most: cython.longlong) -> cython.longlong:
        """mm/readahead.c get_next_ra_size(), v6.1."""
        if ra.size < most // 16:
            return 4 * ra.size
        if ra.size <= most // 2:
            return 2 * ra.size
        return most

    @cython.cfunc
    def _decide(
        self, start: cython.longlong, nr: cython.longlong, lookahead: cython.longlong
    ) -> cython.int:
        self.start = start
        self.nr = nr
        self.lookahead = lookahead
        return READ_WINDOW

    @cython.cfunc
    def _submit(self, ra: FileRa, index: cython.longlong, most: cython.longlong) -> cython.int:
        """Decide for the window in `ra`; 6.1 merges a window whose own mark would be hit at
        once."""
        if self.kernel < 612 and index == ra.start and ra.size == ra.async_size:
            # mm/readahead.c ondemand_readahead() readit, v6.1
            more: cython.longlong = self._next_size(ra, most)
            if ra.size + more <= most:
                ra.async_size = more
                ra.size += more
            else:
                ra.size = most
                ra.async_size = most >> 1
        return self._decide(ra.start, ra.size, ra.async_size)

    @cython.cfunc
    def _initial(
        self, ra: FileRa, index: cython.longlong, req: cython.longlong, most: cython.longlong
    ) -> cython.int:
        ra.start = index
        ra.size = self._init_size(req, most)
        if ra.size > req:
            ra.async_size = ra.size - req
        elif self.kernel >= 612:
            ra.async_size = ra.size >> 1  # mm/readahead.c page_cache_sync_ra(), v6.12
        else:
            ra.async_size = ra.size
        return self._submit(ra, index, most)

    @cython.ccall
    def sync_readahead(
        self, mapping: Mapping, ra: FileRa, index: cython.longlong, req: cython.longlong
    ) -> cython.int:
        """The page at `index` is missing and `req` pages are wanted: READ_WINDOW or
        READ_NOTHING."""
        if ra.ra_pages == 0 or ra.random_mode:
            # mm/readahead.c force_page_cache_ra(), v6.12
            most: cython.longlong = self.io_pages if self.io_pages > ra.ra_pages else ra.ra_pages
            if ra.ra_pages == 0:
                req = 1
            return self._decide(index, req if req < most else most, 0)
        most = self._max_pages(ra, req)
        # ki_pos -1 as an unsigned long, shifted: an index beyond all files
        prev_index: cython.longlong = ra.prev_pos >> 12 if ra.prev_pos >= 0 else 1 << 52
        if self.kernel >= 612:
            near: cython.int = 1 if 0 <= index - prev_index <= 1 else 0
            if index == 0 or req > most or near:
                return self._initial(ra, index, req, most)
        else:
            if index == 0:
                return self._initial(ra, index, req, most)
            if index == ra.start + ra.size - ra.async_size or index == ra.start + ra.size:
                return self._advance(ra, index, most)
            if req > most or 0 <= index - prev_index <= 1:
                return self._initial(ra, index, req, most)
        return self._context(mapping, ra, index, req, most)

    @cython.cfunc
    def _context(
        self,
        mapping: Mapping,
        ra: FileRa,
        index: cython.longlong,
        req: cython.longlong,
        most: cython.longlong,
    ) -> cython.int:
        """mm/readahead.c try_context_readahead(), v6.1; page_cache_sync_ra(), v6.12."""
        miss: cython.longlong = mapping.prev_miss(index - 1, most)
        history: cython.longlong = index - 1 - miss
        if self.kernel < 612 and miss == index - 1 - most:
            # mm/filemap.c page_cache_prev_miss(), v6.1: one early when all are there
            history -= 1
        if history <= req:
            return self._decide(index, req, 0)
        if history >= index:
            history *= 2
        ra.start = index
        ra.size = history + req if history + req < most else most
        ra.async_size = 1
        return self._submit(ra, index, most)

    @cython.cfunc
    def _advance(self, ra: FileRa, index: cython.longlong, most: cython.longlong) -> cython.int:
        """Push the window forward and ramp it up: the access is sequential."""
        ra.start += ra.size
        size: cython.longlong = self._next_size(ra, most)
        if size > ra.size:
            ra.size = size
        ra.async_size = ra.size
        return self._submit(ra, index, most)

    @cython.ccall
    def async_readahead(
        self, mapping: Mapping, ra: FileRa, index: cython.longlong, req: cython.longlong
    ) -> cython.int:
        """The reader met the mark at `index`: READ_WINDOW or READ_NOTHING."""
        if ra.ra_pages == 0:
            return READ_NOTHING
        most: cython.longlong = self._max_pages(ra, req)
        if self.kernel < 612:
            if index == 0:
                return self._initial(ra, index, req, most)
            if index == ra.start + ra.size - ra.async_size or index == ra.start + ra.size:
                return self._advance(ra, index, most)
        elif index == ra.start + ra.size - ra.async_size:
            return self._advance(ra, index, most)
        start: cython.longlong = mapping.next_miss(index + 1, most)
        if self.kernel < 612 and start == index + 1 + most:
            # mm/filemap.c page_cache_next_miss(), v6.1: one early when all are there
            start -= 1
        if start == 0 or start - index > most:
            return READ_NOTHING
        ra.start = start
        ra.size = start - index + req
        ra.size = self._next_size(ra, most)
        ra.async_size = ra.size
        return self._submit(ra, index, most)

    @cython.ccall
    def mmap_readahead(
        self, mapping: Mapping, ra: FileRa, index: cython.longlong, sequential: cython.int
    ) -> cython.int:
        """A fault missed the page at `index`: mm/filemap.c do_sync_mmap_readahead(), v6.12.

        `sequential` is VM_SEQ_READ; with VM_RAND_READ the caller does not ask.
        """
        if ra.ra_pages == 0:
            return READ_NOTHING
        if sequential:
            return self.sync_readahead(mapping, ra, index, ra.ra_pages)
        if ra.mmap_miss < MMAP_LOTSAMISS * 10:
            ra.mmap_miss += 1
        if ra.mmap_miss > MMAP_LOTSAMISS:
            return READ_NOTHING
        ra.start = index - ra.ra_pages // 2
        if ra.start < 0:
            ra.start = 0
        ra.size = ra.ra_pages
        ra.async_size = ra.ra_pages // 4
        return self._decide(ra.start, ra.size, ra.async_size)
