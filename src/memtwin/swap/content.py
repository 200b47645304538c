"""Owns what pages hold, as far as compression and zero detection go.

Imports columns and swap/constants. Knows nothing of who writes pages. Most pages are never
described: they are CONTENT_DEFAULT, which a machine's configuration makes one of the other
classes.
"""

from __future__ import annotations

import cython

from memtwin.columns import Column, zeros
from memtwin.swap.constants import CONTENT_DEFAULT, CONTENT_WORD

COLUMNS = (
    Column(
        "content", "u1", "workload", "CONTENT_* of each frame; 0 is the machine's default class"
    ),
)


@cython.final
@cython.cclass
class PageContent:
    """Content class of every frame."""

    def __init__(self, nr_frames: int, default_class: int = CONTENT_WORD) -> None:
        self.default_class = default_class
        self.in_use = 0  # 1 once any frame was described: freeing must then forget
        self.content = zeros(nr_frames, "u1")

    @cython.ccall
    def set_content(self, pfn: cython.int, content_class: cython.int) -> cython.int:
        """The frame now holds data of that class; 0."""
        self.content[pfn] = content_class
        self.in_use = 1
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def of(self, pfn: cython.int) -> cython.int:
        """CONTENT_* of a frame, never CONTENT_DEFAULT."""
        found: cython.int = self.content[pfn]
        return self.default_class if found == CONTENT_DEFAULT else found

    def columns(self) -> list[tuple[str, object]]:
        """(name, value) of all state, for digests."""
        return [("default_class", self.default_class), ("content", self.content)]
