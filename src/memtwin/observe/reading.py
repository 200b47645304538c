"""Owns one look at a source: what is read, and what is absent and why.

Imports errors, observe/scan and observe/source. Knows nothing of any one file. A view asks it for
records: a missing, unreadable or malformed text never ends the look; it is told in `absent`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, cast

from memtwin.errors import Absent
from memtwin.observe.scan import salvaged
from memtwin.observe.source import Tree, printable

T = TypeVar("T")
NO_FILE = "No such file or directory"


class Reading:
    """One look at `source`; `absent` grows with each text that could not be had."""

    def __init__(self, source: Tree) -> None:
        self.source = source
        self.absent: list[Absent] = []
        self._told: set[Absent] = set()

    def record(self, path: str, parse: Callable[[str], T]) -> T | None:
        """What `parse` makes of the text of `path`; None, and told, when there is none.

        Lines that `parse` finds malformed are left out, counted and told.
        """
        text = self.source.read(path)
        if text is None:
            self.tell(path, self.why(path))
            return None
        return self._parsed(path, text, parse)

    def optional(self, path: str, parse: Callable[[str], T]) -> T | None:
        """As `record`; but that there is no such file is not told: not every kernel has it."""
        text = self.source.read(path)
        if text is None:
            why = self.why(path)
            if why != NO_FILE:
                self.tell(path, why)
            return None
        return self._parsed(path, text, parse)

    def first(self, paths: Iterable[str], parse: Callable[[str], T]) -> T | None:
        """The record of the first of `paths` that is there; None, untold, when none is."""
        for path in paths:
            found = self.optional(path, parse)
            if found is not None:
                return found
        return None

    def names(self, directory: str) -> list[str]:
        """What lies directly in `directory`, sorted; empty, and told, when it can't be listed."""
        reasons: dict[str, str] = getattr(self.source, "reasons", {})
        reasons.pop(directory, None)
        found = self.source.names(directory)
        if directory in reasons and reasons[directory] != NO_FILE:
            self.tell(directory, reasons[directory])
        return found

    def why(self, path: str) -> str:
        """Why the last read of `path` failed."""
        reasons: dict[str, str] = getattr(self.source, "reasons", {})
        return reasons.get(path, NO_FILE)

    def tell(self, what: str, why: str) -> None:
        """Note once that `what` is absent."""
        one = Absent(printable(what), printable(why))
        if one not in self._told:
            self._told.add(one)
            self.absent.append(one)

    def _parsed(self, path: str, text: str, parse: Callable[[str], T]) -> T | None:
        found = salvaged(parse, text)
        if found.record is None:
            self.tell(path, found.why)
        elif found.dropped:
            lines = "1 malformed line" if found.dropped == 1 else f"{found.dropped} malformed lines"
            self.tell(f"{lines} of {path}", found.why)
        return cast("T | None", found.record)
