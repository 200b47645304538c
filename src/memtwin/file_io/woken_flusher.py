"""Owns what reclaim's waking the flusher does: it writes everything dirty, on nobody's account.

Imports file_io and reclaim/flusher_threads. Has never heard of what reclaim met.
"""

from __future__ import annotations

from memtwin.file_io.cache_pages import CachePages
from memtwin.file_io.flusher import Flusher
from memtwin.reclaim.flusher_threads import FlusherThreads


class WokenFlusher(FlusherThreads):
    """The machine's one flusher, as reclaim sees it."""

    def __init__(self, flusher: Flusher, cache_pages: CachePages) -> None:
        super().__init__()
        self.flusher = flusher
        self.cache_pages = cache_pages

    def wakeup_flusher_threads(self) -> int:
        """fs/fs-writeback.c wakeup_flusher_threads(), v6.12. MODEL: it runs at once."""
        self.nr_wakeups += 1
        whose, self.cache_pages.memcg_id = self.cache_pages.memcg_id, 0
        self.flusher.start_all()
        self.cache_pages.memcg_id = whose
        return 0
