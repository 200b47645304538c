"""Owns where texts come from: a live host, a captured tree, a mapping of path to text, or the
twin.

Imports errors. Knows nothing of what a text means. A path is absolute as on the machine
("/proc/meminfo").
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol


class Source(Protocol):
    """Whatever can be asked for the text of a path."""

    def read(self, path: str) -> str | None:
        """The text of `path`, or None when there is no such file or no permission."""
        ...


class Tree(Source, Protocol):
    """A source that also says which names there are."""

    def names(self, directory: str) -> list[str]:
        """What lies directly in `directory` ("/proc", no slash at the end): names, sorted.

        Empty when there is no such directory or it may not be read.
        """
        ...


class TreeSource:
    """Files below a root directory: "/" is the live host, anything else a captured tree."""

    def __init__(self, root: str | Path = "/") -> None:
        self.root = Path(root)
        self.reasons: dict[str, str] = {}  # path -> why the last read of it failed

    def read(self, path: str) -> str | None:
        """The text of `path` below the root; None (and the reason kept) when it can't be read."""
        try:
            return (self.root / path.lstrip("/")).read_text(errors="replace")
        except OSError as error:
            self.reasons[path] = error.strerror or type(error).__name__
            return None

    def why_not(self, path: str) -> str:
        """Why `path` could not be read, in words for a comment."""
        return f"{path}: {self.reasons.get(path, 'not there')}"

    def names(self, directory: str) -> list[str]:
        """What lies directly in `directory` below the root, sorted."""
        try:
            return sorted(os.listdir(self.root / directory.lstrip("/")))
        except OSError as error:
            self.reasons[directory] = error.strerror or type(error).__name__
            return []

    def glob(self, pattern: str) -> list[str]:
        """Paths that match `pattern` ("/sys/block/*"), sorted."""
        found = self.root.glob(pattern.lstrip("/"))
        return sorted("/" + str(path.relative_to(self.root)) for path in found)


class TextSource:
    """Texts held in a mapping: a checkpoint of a recorded machine."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts

    def read(self, path: str) -> str | None:
        """The text of `path`, or None."""
        return self.texts.get(path)

    def names(self, directory: str) -> list[str]:
        """What lies directly in `directory`, sorted."""
        return names_below(directory, self.texts)


def names_below(directory: str, paths: Iterable[str]) -> list[str]:
    """The first part of each of `paths` below `directory`, sorted, each once.

    >>> names_below("/proc", ["/proc/1/stat", "/proc/1/maps", "/proc/stat", "/sys/x"])
    ['1', 'stat']
    """
    prefix = directory.rstrip("/") + "/"
    below = {path[len(prefix) :].partition("/")[0] for path in paths if path.startswith(prefix)}
    return sorted(below)
