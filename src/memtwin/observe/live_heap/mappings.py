"""Owns /proc/PID/maps: one record a mapping, and which mappings can hold pointers to a heap.

Imports nothing of the house. Knows nothing of heaps.
"""

from __future__ import annotations

import os
from typing import NamedTuple

# the kernel's own pages, and devices: reading them may do something
_NO_MEMORY = ("[vvar", "[vdso", "[vsyscall")
_DEVICES = "/dev/"
_HUGE_PAGES = "/anon_hugepage"  # fs/hugetlbfs/inode.c HUGETLB_ANON_FILE, v6.12
_DEVICES_OF_MEMORY = ("/dev/shm/", "/dev/zero")


class Mapping(NamedTuple):
    """One line of /proc/PID/maps; `end_vaddr` is exclusive."""

    start_vaddr: int
    end_vaddr: int
    permissions: str
    offset_bytes: int
    device: str
    inode: int
    path: str

    @property
    def is_anonymous(self) -> bool:
        """No file and no special place: heaps of other arenas, mapped chunks, stacks of threads."""
        return self.inode == 0 and (self.path == "" or self.path.startswith("[anon:"))

    @property
    def is_huge(self) -> bool:
        """From the pool of huge pages, which the kernel keeps in a nameless file."""
        return self.path.startswith(_HUGE_PAGES)

    @property
    def holds_heaps(self) -> bool:
        """Anonymous, of pages of whatever size."""
        return self.is_anonymous or self.is_huge

    @property
    def is_private(self) -> bool:
        """Writing makes a page this process's own."""
        return self.permissions[3] == "p"


def parse_mappings(text: str) -> list[Mapping]:
    """The mappings of a /proc/PID/maps text, in its order.

    >>> parse_mappings("1000-3000 rw-p 00000000 00:00 0 [heap]")[0].path
    '[heap]'
    """
    found = []
    for line in text.splitlines():
        span, permissions, offset, device, inode, *path = line.split(None, 5)
        start, end = span.split("-")
        path_word = path[0].rstrip() if path else ""
        numbers = int(start, 16), int(end, 16), permissions, int(offset, 16)
        found.append(Mapping(*numbers, device, int(inode), path_word))
    return found


def read_mappings(pid: int) -> list[Mapping]:
    """The mappings of a process now. Raises OSError when it is gone or may not be read."""
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
        return parse_mappings(file.read())


def may_hold_pointers(mapping: Mapping) -> bool:
    """Whether something the program wrote can stand here: writable, or once written (relro)."""
    if mapping.permissions[0] != "r" or mapping.path.startswith(_NO_MEMORY):
        return False
    if mapping.path.startswith(_DEVICES) and not mapping.path.startswith(_DEVICES_OF_MEMORY):
        return False
    return mapping.permissions[1] == "w" or mapping.is_private


def file_of(pid: int, mapping: Mapping) -> str:
    """A name under which the mapped file can be opened from here, in whatever mount namespace."""
    span = f"{mapping.start_vaddr:x}-{mapping.end_vaddr:x}"
    for name in (f"/proc/{pid}/map_files/{span}", f"/proc/{pid}/root{mapping.path}"):
        if os.access(name, os.R_OK):
            return name
    return mapping.path
