"""Owns one moment of a machine as the samples tell it: a source of texts.

Imports observe/source. Knows nothing of files, so that whoever only samples need not load what
reads them.
"""

from __future__ import annotations

from memtwin.observe.source import names_below


class StoredMoment:
    """One moment of a store as a source of texts."""

    def __init__(self, taken_ns: int, texts: dict[str, bytes]) -> None:
        self.taken_ns = taken_ns
        self.texts = texts

    def read(self, path: str) -> str | None:
        """The text of `path` at that moment, or None."""
        text = self.texts.get(path)
        return None if text is None else text.decode(errors="replace")

    def names(self, directory: str) -> list[str]:
        """What lies directly in `directory`, sorted."""
        return names_below(directory, self.texts)
