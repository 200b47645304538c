"""Owns writing a twin's files to a plain directory: whole or not at all.

Imports mount/nodes. Knows nothing of mounting.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from memtwin.errors import UserError
from memtwin.mount.nodes import Kind, Nodes


def write_tree(nodes: Nodes, directory: Path) -> int:
    """Write all files below `directory`, which must be new or empty: their number.

    They are written beside it and moved there at the end. Raises UserError with the reason.
    """
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise UserError(f"{directory}: found something there, allowed is a new or empty place")
        parent = directory.absolute().parent
        beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=parent))
        try:
            count = fill(nodes, "/", beside)
            beside.chmod(0o755)
            beside.replace(directory)  # over an empty directory, as rename(2) allows
        except BaseException:
            with contextlib.suppress(OSError):
                shutil.rmtree(beside)
            raise
    except OSError as fault:
        raise UserError(f"{directory}: {fault.strerror}") from None
    return count


def fill(nodes: Nodes, path: str, directory: Path) -> int:
    """Write what lies below `path` of the tree into `directory`, which is there: files written."""
    count = 0
    for name in nodes.names(path):
        below, place = f"{path.rstrip('/')}/{name}", directory / name
        node = nodes.node(below)
        if node is None:
            continue  # a process that has ended since
        if node.kind is Kind.DIRECTORY:
            place.mkdir()
            count += fill(nodes, below, place)
        elif node.kind is Kind.LINK:
            place.symlink_to(node.target)
        else:
            place.write_bytes(nodes.read(below) or b"")
            place.chmod(0o444)
            count += 1
        if node.uid and os.geteuid() == 0:
            os.chown(place, node.uid, -1, follow_symlinks=False)
    return count
