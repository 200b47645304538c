"""Owns the tree as a FUSE file system: what each call of the kernel is answered.

Imports mount/nodes and mount/gate; mfusepy (libfuse) only when something is served. Knows nothing
of where it is mounted. As in the kernel's /proc, sizes are 0 and a text is made when its file is
opened: one open reads one moment, however small the reader's buffer.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from typing import Any

from memtwin.errors import UserError
from memtwin.mount.gate import Gate
from memtwin.mount.nodes import Kind, Node, Nodes

_MODES = {
    Kind.DIRECTORY: stat.S_IFDIR | 0o555,
    Kind.FILE: stat.S_IFREG | 0o444,
    Kind.LINK: stat.S_IFLNK | 0o777,
}
# libfuse 3.14 lib/helper.c fuse_main_real(): it was mounted, and a signal or an abort ended it
_ENDED_LATER = (7, 8)
_READING = os.O_RDONLY
_ACCESS_MODE = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


class Answers:
    """The file system calls, under the names that mfusepy looks for."""

    use_ns = True  # times are whole ns

    def __init__(self, nodes: Nodes, gate: Gate) -> None:
        self.nodes = nodes
        self.gate = gate
        self._opened: dict[int, bytes] = {}
        self._handles = itertools.count(1)

    def _node(self, path: str) -> Node:
        node = self.nodes.node(path)
        if node is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return node

    def getattr(self, path: str, handle: int | None = None) -> dict[str, int]:
        """stat()."""
        with self.gate.reading():
            node = self._node(path)
        links = 2 if node.kind is Kind.DIRECTORY else 1
        return {
            "st_mode": _MODES[node.kind],
            "st_nlink": links,
            "st_uid": node.uid,
            "st_gid": node.uid,  # MODEL: each user has a group of its own number
            "st_size": len(node.target.encode()),
        }

    def readdir(self, path: str, handle: int) -> list[str]:
        """Names in a directory."""
        with self.gate.reading():
            return [".", "..", *self.nodes.names(path)]

    def readlink(self, path: str) -> str:
        """Where a link leads."""
        return self._node(path).target

    def open(self, path: str, flags: int) -> int:
        """Make the text that this open will read."""
        if flags & _ACCESS_MODE != _READING:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        with self.gate.reading():
            self._node(path)
            text = self.nodes.read(path)
        if text is None:  # the process ended between the two
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        handle = next(self._handles)
        self._opened[handle] = text
        return handle

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        """A part of the text as it was at open."""
        return self._opened[handle][offset : offset + size]

    def release(self, path: str, handle: int) -> int:
        """Forget the text of one open."""
        self._opened.pop(handle, None)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        """What df would be told: nothing is stored."""
        return {"f_bsize": 4096, "f_frsize": 4096, "f_namemax": 255}


def load_mfusepy() -> Any:
    """The module mfusepy; UserError when libfuse is missing."""
    try:
        import mfusepy
    except (ImportError, OSError) as fault:
        raise UserError(
            f"mount: needs libfuse ({fault}); install it with: apt-get install -y fuse3, or write"
            " a plain tree with --write"
        ) from None
    return mfusepy


def serve(nodes: Nodes, gate: Gate, place: str, **options: object) -> None:
    """Answer for what is (or with a path below /dev/fd will be) mounted at `place` until it ends.

    `options` are libfuse's. Raises UserError when it cannot be mounted.
    """
    mfusepy = load_mfusepy()
    keep_ns = {"attr_timeout": 0, "entry_timeout": 0, "negative_timeout": 0}
    try:
        mfusepy.FUSE(
            Answers(nodes, gate),
            place,
            foreground=True,
            nothreads=True,
            direct_io=True,
            **keep_ns,
            **options,
        )
    except RuntimeError as fault:
        if fault.args and fault.args[0] in _ENDED_LATER:
            return
        raise UserError(f"mount: {place}: libfuse could not mount it (status {fault})") from None
