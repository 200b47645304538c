"""Owns where, inside C++ objects, a second base class begins: a pointer there holds the object.

Imports the image, mappings and blocks. An object of a class with virtual functions begins with a
pointer to a table of functions, and so does each further base with virtual functions inside of it.
The rule is memcheck's (its manual, "--leak-check-heuristics", multipleinheritance).
"""

from __future__ import annotations

import numpy as np

from memtwin.observe.live_heap.heap_blocks import HeapBlocks
from memtwin.observe.live_heap.mappings import Mapping, file_of
from memtwin.observe.live_heap.memory_image import MemoryImage
from memtwin.units import PAGE_SHIFT

# valgrind's memcheck/mc_leakcheck.c aligned_ptr_above_page0_is_vtable_addr(), 3.19: two functions
# among the first words of a table, and nothing else but zeros before them
_FUNCTIONS, _MOST_WORDS = 2, 20
_MOST_OBJECT_WORDS = 512  # MODEL: no further base begins behind the first 4 KiB of an object
_MOST_AT_ONCE = 1 << 22  # words
_USER_END = 1 << 62  # the kernel's own page of code lies above


class VirtualTables:
    """Says which addresses are those of tables of functions."""

    def __init__(self, pid: int, image: MemoryImage) -> None:
        self._pid, self._image = pid, image
        self._files = [m for m in image.mappings if m.inode and m.permissions[0] == "r"]
        self._starts = np.array([m.start_vaddr for m in self._files], np.int64)
        self._ends = np.array([m.end_vaddr for m in self._files], np.int64)
        code = [m for m in image.mappings if "x" in m.permissions and m.end_vaddr < _USER_END]
        self._code_starts = np.array([m.start_vaddr for m in code], np.int64)
        self._code_ends = np.array([m.end_vaddr for m in code], np.int64)
        self._known: dict[int, bool] = {}

    def among(self, words: np.ndarray) -> np.ndarray:
        """Which of `words` are addresses of tables; bool."""
        likely = _inside(words, self._starts, self._ends) & ((words & 7) == 0)
        tables = [word for word in np.unique(words[likely]).tolist() if self._is_table(word)]
        found: np.ndarray = likely & np.isin(words, np.array(tables, np.int64))
        return found

    def _is_table(self, vaddr: int) -> bool:
        if vaddr not in self._known:
            words = self._words_at(vaddr)
            functions = words[words != 0][:_FUNCTIONS]
            inside = _inside(functions, self._code_starts, self._code_ends)
            self._known[vaddr] = len(functions) == _FUNCTIONS and bool(np.all(inside))
        return self._known[vaddr]

    def _words_at(self, vaddr: int) -> np.ndarray:
        row = self._image.row_of(vaddr)
        if row is not None and self._image.resident[row >> (PAGE_SHIFT - 3)]:
            return self._image.words_at(vaddr, _MOST_WORDS)
        return self._words_of_file(vaddr)

    def _words_of_file(self, vaddr: int) -> np.ndarray:
        """What stands in the file at a page that the program never wrote."""
        i = int(np.searchsorted(self._starts, vaddr, side="right")) - 1
        mapping: Mapping = self._files[i]
        most = min(8 * _MOST_WORDS, mapping.end_vaddr - vaddr)
        try:
            with open(file_of(self._pid, mapping), "rb") as file:
                file.seek(mapping.offset_bytes + vaddr - mapping.start_vaddr)
                raw = file.read(most)
        except OSError:
            return np.zeros(0, np.int64)
        return np.frombuffer(raw[: len(raw) & ~7], np.int64)


def second_bases(pid: int, image: MemoryImage, blocks: HeapBlocks) -> np.ndarray:
    """Addresses inside blocks at which a further base begins, sorted; int64."""
    tables = VirtualTables(pid, image)
    rows = image.rows_of(blocks.starts)
    objects = np.flatnonzero((rows >= 0) & tables.among(image.words[np.maximum(rows, 0)]))
    sizes = np.minimum((blocks.ends - blocks.starts)[objects] >> 3, _MOST_OBJECT_WORDS)
    found = [np.zeros(0, np.int64)]
    for size in np.unique(sizes).tolist():
        alike = objects[sizes == size]
        inner = np.arange(1, size)
        step = max(1, _MOST_AT_ONCE // size)
        for first in range(0, len(alike), step):
            some = alike[first : first + step]
            words = image.words[rows[some][:, None] + inner]
            vaddrs = blocks.starts[some][:, None] + 8 * inner
            found.append(vaddrs[tables.among(words)])
    return np.sort(np.concatenate(found))


def _inside(vaddrs: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    if not len(starts):
        return np.zeros(vaddrs.shape, bool)
    i = np.searchsorted(starts, vaddrs, side="right") - 1
    inside: np.ndarray = (i >= 0) & (vaddrs < ends[i])
    return inside
