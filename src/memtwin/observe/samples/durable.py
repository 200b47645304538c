"""Owns what makes files survive a loss of power: their contents, and the names they stand under.

Imports nothing of memtwin. Knows nothing of what is written.

A name is durable once its directory was flushed; a file's contents only once the file itself was.
So what replaces something is flushed whole before it is renamed, and what it replaces is removed
only when the new name has been flushed too.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync_file(path: Path) -> None:
    """Flush the contents of `path` to the disk. Raises OSError when that fails."""
    _sync(path, os.O_RDONLY | os.O_CLOEXEC)


def sync_directory(directory: Path) -> None:
    """Flush the names in `directory` to the disk. Raises OSError when that fails."""
    _sync(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
