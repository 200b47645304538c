"""Owns what `--root` may name: this host, a captured tree or a mounted twin.

Imports errors, observe/reading and observe/source. Knows nothing of what is read.
"""

from __future__ import annotations

from pathlib import Path

from memtwin.errors import UserError
from memtwin.observe.reading import Reading
from memtwin.observe.source import Tree, TreeSource


def source_at(root: Path) -> Tree:
    """The texts at `root`. Raises UserError when it is not a directory."""
    if root.is_dir():
        return TreeSource(root)
    raise UserError(f"--root: found {str(root)!r}, allowed is a directory")


def reading_at(root: Path) -> Reading:
    """A look at `root`."""
    return Reading(source_at(root))
