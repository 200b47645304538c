"""Owns which glibc a program runs and where in its allocator what stands: a table by version.

Imports errors and mappings. The offsets are those of x86-64; they were read from the sources of
each release (malloc/malloc.c, malloc/arena.c), docs/LEAKS.md says which were held against builds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

from memtwin.observe.live_heap.mappings import Mapping, file_of

OLDEST, NEWEST = (2, 31), (2, 41)
_BANNER = re.compile(rb"GNU C Library [^\n]*? version (\d+)\.(\d+)")
_LIBC = re.compile(r"libc(-2\.\d+)?\.so(\.6)?")
_MAX_FILE_BYTES = 256 << 20

# malloc/malloc.c struct malloc_state, glibc 2.27 to 2.41: bytes from its start
FASTBINS, NR_FASTBINS = 16, 10
TOP, BINS, NR_BINS = 96, 112, 127
FLAGS, NEXT, SYSTEM_MEM, ARENA_BYTES = 4, 2160, 2184, 2200
MUTEX = 0
NONCONTIGUOUS = 2
# malloc/arena.c struct _heap_info
HEAP_ARENA, HEAP_PREV, HEAP_SIZE = 0, 8, 16
HEAP_MAX_BYTES = 64 << 20  # HEAP_MAX_SIZE, without huge pages
TCACHE_BINS = 64
CHUNK_HEADER_BYTES = 16


@dataclass(frozen=True)
class GlibcLayout:
    """What differs between the versions of the table."""

    version: tuple[int, int]
    safe_linking: bool  # links of tcache and fastbins are xored with their page number
    heap_info_bytes: int  # sizeof (heap_info): where a further heap's first chunk lies
    has_huge_page_flags: bool  # struct malloc_par has hp_flags
    # struct tcache_perthread_struct: counts, then heads of lists
    tcache_count_bytes: int = 2

    @property
    def tcache_bytes(self) -> int:
        """sizeof (tcache_perthread_struct)."""
        return TCACHE_BINS * (self.tcache_count_bytes + 8)

    @property
    def tcache_chunk_bytes(self) -> int:
        """The chunk that holds it."""
        return (self.tcache_bytes + 8 + 15) & ~15


def layout_of(version: tuple[int, int]) -> GlibcLayout | None:
    """The layout of a version, None outside the table.

    >>> layout_of((2, 31)).safe_linking, layout_of((2, 36)).heap_info_bytes
    (False, 48)
    """
    if not OLDEST <= version <= NEWEST:
        return None
    return GlibcLayout(
        version,
        safe_linking=version >= (2, 32),  # malloc.c PROTECT_PTR
        heap_info_bytes=48 if version >= (2, 35) else 32,  # arena.c heap_info.pagesize
        has_huge_page_flags=version >= (2, 35),
    )


def libc_mappings(mappings: list[Mapping]) -> list[Mapping]:
    """The mappings of glibc's own file, where it is a shared library."""
    return [m for m in mappings if m.inode and _LIBC.fullmatch(PurePath(m.path).name)]


def version_in(pid: int, mapping: Mapping) -> tuple[int, int] | None:
    """The version that a file with glibc in it names itself."""
    try:
        with open(file_of(pid, mapping), "rb") as file:
            match = _BANNER.search(file.read(_MAX_FILE_BYTES))
    except OSError:
        return None
    return (int(match[1]), int(match[2])) if match else None
