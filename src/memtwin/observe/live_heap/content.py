"""Owns what stands in a block, in words of a programmer: a class, a Python type, a symbol, text.

Imports the image, mappings and modules. Guesses only from what stands there, and says nothing where
nothing speaks.
"""

from __future__ import annotations

import re

import numpy as np

from memtwin.observe.live_heap.mappings import Mapping, file_of
from memtwin.observe.live_heap.memory_image import MemoryImage
from memtwin.observe.live_heap.modules import Modules

TEXT_BYTES = 96
_LEAST_TEXT_BYTES = 4
_TEXT = re.compile(rb"[\x20-\x7e\t\n\r]{%d,}" % _LEAST_TEXT_BYTES)
_VTABLE = "vtable for "
# CPython's Include/object.h and Include/cpython/object.h: bytes from an object's start
_OB_TYPE, _TP_NAME = 8, 24
GC_HEAD_BYTES = 16  # Include/internal/pycore_gc.h PyGC_Head, before every object it tracks
_MOST_NAME_BYTES = 80


class Content:
    """Answers for one image; `type_type` is the address of CPython's `type`, None without."""

    def __init__(self, pid: int, image: MemoryImage, modules: Modules) -> None:
        self.image, self.modules, self._pid = image, modules, pid
        self.files = [m for m in image.mappings if m.inode and m.path.startswith("/")]
        self._starts = np.array([m.start_vaddr for m in self.files], np.int64)
        self._ends = np.array([m.end_vaddr for m in self.files], np.int64)
        self.type_type = modules.address_of("PyType_Type") if self._is_python() else None
        self._names: dict[int, str | None] = {}

    def _is_python(self) -> bool:
        return any("python" in module.name for module in self.modules.modules)

    def keys(self, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """For many blocks: a pointer that tells their kind (to a file or type), or 0; int64."""
        rows = self.image.rows_of(starts)
        first = self.image.words[rows]
        keys = np.where(self._in_files(first), first, 0)
        if self.type_type is not None:
            for head in (0, GC_HEAD_BYTES):
                at = np.where(
                    ends - starts > head + _OB_TYPE, rows + ((head + _OB_TYPE) >> 3), rows
                )
                types = self.image.words[at]
                keys = np.where((keys == 0) & self._are_types(types), types, keys)
        return keys

    def _in_files(self, vaddrs: np.ndarray) -> np.ndarray:
        if not len(self._starts):
            return np.zeros(len(vaddrs), bool)
        i = np.searchsorted(self._starts, vaddrs, side="right") - 1
        inside: np.ndarray = (i >= 0) & (vaddrs < self._ends[i])
        return inside

    def _are_types(self, vaddrs: np.ndarray) -> np.ndarray:
        """Whether these addresses hold objects whose type is `type`."""
        rows = self.image.rows_of(np.where(vaddrs % 8 == 0, vaddrs, 0) + _OB_TYPE)
        are: np.ndarray = (rows >= 0) & (self.image.words[rows] == self.type_type)
        return are

    def name(self, key: int) -> str | None:
        """What a key says: a class, a Python type, or a symbol; None for 0 and the unnamed."""
        if key not in self._names:
            self._names[key] = self._name(key) if key else None
        return self._names[key]

    def _name(self, key: int) -> str | None:
        if self.type_type is not None and self.image.word(key + _OB_TYPE) == self.type_type:
            text = self._c_string(self.image.word(key + _TP_NAME) or 0)
            return f"Python {text}" if text else "Python object"
        words = self.modules.describe(key)
        if words is not None and words.startswith(_VTABLE):
            return "C++ " + words[len(_VTABLE) :].split("+", 1)[0].split(" in ", 1)[0]
        return f"begins with a pointer to {words}" if words else None

    def _c_string(self, vaddr: int) -> str | None:
        raw = self.image.bytes_at(vaddr & ~7, _MOST_NAME_BYTES)[vaddr & 7 :]
        if not raw.strip(b"\0"):
            raw = self._file_bytes(vaddr)
        match = re.match(rb"[\x21-\x7e]+", raw)
        return match[0].decode() if match else None

    def _file_bytes(self, vaddr: int) -> bytes:
        """What stands in the file at a page that the program never wrote."""
        i = int(np.searchsorted(self._starts, vaddr, side="right")) - 1
        if i < 0 or vaddr >= self._ends[i]:
            return b""
        mapping: Mapping = self.files[i]
        try:
            with open(file_of(self._pid, mapping), "rb") as file:
                file.seek(mapping.offset_bytes + vaddr - mapping.start_vaddr)
                return file.read(_MOST_NAME_BYTES)
        except OSError:
            return b""

    def text(self, start: int, end: int) -> str | None:
        """The first printable text in a block's first bytes; None where there is none."""
        match = _TEXT.search(self.image.bytes_at(start, min(end - start, TEXT_BYTES)))
        if match is None or not match[0].strip():
            return None
        return match[0].decode().strip()
