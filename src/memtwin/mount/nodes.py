"""Owns what a tree of texts looks like as files: kind, owner, listing, and the few links.

Imports observe. Knows nothing of FUSE or disks. A directory is what has names in it; files have
mode 0444 whatever the kernel's are: who may look at a twin may look at all of it.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from memtwin.observe.source import Tree

_EFFECTIVE_UID = re.compile(r"^Uid:\t\d+\t(\d{1,10})\t", re.MULTILINE)
_LARGEST_UID = (1 << 32) - 2  # include/linux/uidgid.h INVALID_UID is the one above, v6.12


class Kind(enum.Enum):
    """What a path is."""

    DIRECTORY = "directory"
    FILE = "file"
    LINK = "link"


@dataclass(frozen=True)
class Node:
    """One path: what it is, whose it is, and for a link where it leads."""

    kind: Kind
    uid: int = 0
    target: str = ""


class Nodes:
    """A tree as directories and files."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def names(self, directory: str) -> list[str]:
        """What lies in `directory`."""
        return self.tree.names(directory)

    def node(self, path: str) -> Node | None:
        """What `path` ("/proc/1/stat") is, or None."""
        if path == "/":
            return Node(Kind.DIRECTORY)
        parent, _, name = path.rpartition("/")
        if name not in self.names(parent or "/"):
            return None
        kind = Kind.DIRECTORY if self.names(path) else Kind.FILE
        return Node(kind, self._uid(path))

    def read(self, path: str) -> bytes | None:
        """The text of `path` as it is now."""
        text = self.tree.read(path)
        return None if text is None else text.encode("utf-8", "surrogateescape")

    def _uid(self, path: str) -> int:
        """fs/proc/base.c task_dump_owner(), v6.12: a process's files are its user's."""
        parts = path.split("/")
        if len(parts) < 3 or parts[1] != "proc" or not parts[2].isdigit():
            return 0
        status = self.tree.read(f"/proc/{parts[2]}/status")
        found = _EFFECTIVE_UID.search(status) if status else None
        return min(int(found[1]), _LARGEST_UID) if found else 0
