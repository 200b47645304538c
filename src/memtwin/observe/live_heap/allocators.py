"""Owns telling which allocator a program uses, by the files it has mapped.

Imports errors, glibc and mappings. A foreign allocator is recognised and named; its heap is not
walked.
"""

from __future__ import annotations

import mmap
import re
from pathlib import PurePath
from typing import NamedTuple

from memtwin.observe.live_heap.glibc import (
    NEWEST,
    OLDEST,
    GlibcLayout,
    layout_of,
    libc_mappings,
    version_in,
)
from memtwin.observe.live_heap.mappings import Mapping, file_of

# path of a mapped file -> the allocator that it brings
_LIBRARIES = (
    (re.compile(r"libjemalloc"), "jemalloc"),
    (re.compile(r"libtcmalloc"), "tcmalloc"),
    (re.compile(r"libmimalloc"), "mimalloc"),
    (re.compile(r"/ld-musl-|/libc\.musl-|linux-musl/"), "musl's malloc"),
    (re.compile(r"libasan|libclang_rt\.asan"), "AddressSanitizer's allocator"),
    (re.compile(r"vgpreload_|memcheck-amd64"), "valgrind's allocator"),
)
# what an allocator that is linked into the program leaves in its file
_MARKS = (
    (b"<jemalloc>", "jemalloc"),
    (b"tcmalloc::", "tcmalloc"),
    (b"mi_heap_malloc", "mimalloc"),
    (b"__asan_init", "AddressSanitizer's allocator"),
)
_GO = b"\xff Go buildinf:"


class Allocators(NamedTuple):
    """What a program has: glibc's layout if it runs glibc, and the others' names."""

    glibc: GlibcLayout | None
    glibc_version: tuple[int, int] | None
    foreign: list[str]
    languages: list[str]  # "C++", "CPython", "Go"

    @property
    def is_glibc_alone(self) -> bool:
        """Whether it is worth reading: an instrumented program has all its blocks elsewhere."""
        return self.glibc is not None and not any("'s allocator" in name for name in self.foreign)

    @property
    def unreadable(self) -> str:
        """Why there is no heap of glibc's to walk, when there is none."""
        if self.glibc_version is not None and self.glibc is None:
            version = ".".join(map(str, self.glibc_version))
            known = f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}"
            return f"its C library is glibc {version}; known are {known}"
        if self.foreign:
            return f"its memory comes from {' and '.join(self.foreign)}; only glibc's is walked"
        return "no glibc was found in it; only glibc's heap is walked"


def recognise(pid: int, mappings: list[Mapping]) -> Allocators:
    """What `pid` allocates with."""
    paths = {m.path for m in mappings if m.inode}
    names = {PurePath(path).name for path in paths}
    foreign = [
        title for pattern, title in _LIBRARIES if any(pattern.search(path) for path in paths)
    ]
    program = _program(pid, mappings)
    languages = []
    if any(name.startswith(("libstdc++", "libc++.")) for name in names):
        languages.append("C++")
    if any(re.match(r"(lib)?python3", name) for name in names):
        languages.append("CPython")
    marked = _marks_in(pid, program) if program else []
    foreign += [title for title in marked if title not in foreign and title != "Go"]
    if "Go" in marked:
        languages.append("Go")
        foreign.append("Go's runtime")
    version = None
    for mapping in libc_mappings(mappings) or ([program] if program else []):
        version = version_in(pid, mapping)
        if version is not None:
            break
    if version is None and not foreign and program and not libc_mappings(mappings):
        foreign.append("an allocator linked into it (musl's or its own)")
    return Allocators(layout_of(version) if version else None, version, foreign, languages)


def _program(pid: int, mappings: list[Mapping]) -> Mapping | None:
    """The mapping of the program's own file."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            start_code = int(file.read().rpartition(")")[2].split()[23])
    except (OSError, ValueError, IndexError):
        start_code = 0
    for mapping in mappings:
        if mapping.inode and mapping.start_vaddr <= start_code < mapping.end_vaddr:
            return mapping
    return next((m for m in mappings if m.inode), None)


def _marks_in(pid: int, mapping: Mapping) -> list[str]:
    try:
        with (
            open(file_of(pid, mapping), "rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw,
        ):
            found = [title for mark, title in _MARKS if raw.find(mark) >= 0]
            return [*found, "Go"] if raw.find(_GO) >= 0 else found
    except (OSError, ValueError):
        return []
