"""Owns the tree as a FUSE file system: what each call of the kernel is answered.

Imports mount/nodes and mount/gate; mfusepy (libfuse) only when something is served. Knows nothing
of where it is mounted. As in the kernel's /proc, sizes are 0 and a text is made by the read that
begins it: from beginning to end it is of one moment, however small the reader's buffer.
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
# what libfuse's fuse_main() returns when a signal or an abort ended what it had mounted
_ENDED_LATER = (7, 8)
_READING = os.O_RDONLY
_ACCESS_MODE = os.O_RDONLY | os.O_WRONLY | os.O_RDWR


class Answers:
    """The file system calls, under the names that mfusepy looks for."""

    use_ns = True  # times are whole ns

    def __init__(self, nodes: Nodes, gate: Gate) -> None:
        self.nodes = nodes
        self.gate = gate
        self._opened: dict[int, bytes | None] = {}
        self._handles = itertools.count(1)

    def _node(self, path: str) -> Node:
        node = self.nodes.node(path)
        if node is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return node

    def getattr(self, path: str, handle: int | None = None) -> dict[str, int]:
        """stat()."""
        with self.gate.turn():
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
        with self.gate.turn():
            return [".", "..", *self.nodes.names(path)]

    def readlink(self, path: str) -> str:
        """Where a link leads."""
        return self._node(path).target

    def open(self, path: str, flags: int) -> int:
        """A handle; the text is made by its first read."""
        if flags & _ACCESS_MODE != _READING:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        with self.gate.turn():
            self._node(path)
        handle = next(self._handles)
        self._opened[handle] = None
        return handle

    def read(self, path: str, size: int, offset: int, handle: int) -> bytes:
        """A part of the text as it was when this handle last read from its beginning."""
        # fs/seq_file.c seq_read_iter(), v6.12: tools keep a file open and read it again from 0
        text = self._opened[handle]
        if text is None or offset == 0:
            with self.gate.turn():
                text = self.nodes.read(path)
            if text is None:  # fs/proc/base.c proc_single_show(), v6.12: the process is gone
                raise OSError(errno.ESRCH, os.strerror(errno.ESRCH), path)
            self._opened[handle] = text
        return text[offset : offset + size]

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
