"""Owns the one record that every report of leaks becomes, whoever wrote it.

Imports errors and live_heap/records. Knows no tool. Kinds are memcheck's; sizes are bytes; a
figure that a report does not have is None, and `absent` says why.
"""

from __future__ import annotations

import msgspec

from memtwin.errors import Absent
from memtwin.observe.live_heap.records import KINDS, Tally

__all__ = ["KINDS", "KIND_TITLES", "Frame", "LeakReport", "LossRecord", "Tally", "tallies_of"]

KIND_TITLES = {
    "definite": "definitely lost",
    "indirect": "indirectly lost",
    "possible": "possibly lost",
    "reachable": "still reachable",
}


class Frame(msgspec.Struct, frozen=True):
    """One call of a stack, the innermost first."""

    function: str | None = None
    file: str | None = None
    line: int | None = None
    module: str | None = None
    vaddr: int | None = None

    def shown(self) -> str:
        """As a person reads it.

        >>> Frame("main", "a.c", 6).shown(), Frame("malloc", module="/lib/libc.so.6").shown()
        ('main (a.c:6)', 'malloc (libc.so.6)')
        """
        name = self.function or (hex(self.vaddr) if self.vaddr is not None else "?")
        if self.file is not None:
            return f"{name} ({self.file}:{self.line})" if self.line else f"{name} ({self.file})"
        if self.module is not None:
            return f"{name} ({self.module.rpartition('/')[2]})"
        return name


class LossRecord(msgspec.Struct, frozen=True):
    """Blocks of one kind that were allocated, or look, alike."""

    kind: str
    blocks: int
    bytes: int
    indirect_blocks: int | None = None  # what only they lead to
    indirect_bytes: int | None = None
    stack: list[Frame] = []
    content: str | None = None  # what stands in one of them


class LeakReport(msgspec.Struct, kw_only=True):
    """One report of one process (or of the kernel)."""

    tool: str
    tool_version: str | None = None
    command: str | None = None
    pid: int | None = None
    kinds: dict[str, Tally | None]
    records: list[LossRecord]
    in_use: Tally | None = None  # when the report was made
    allocs: int | None = None  # calls that allocated, and freed, in the whole run
    frees: int | None = None
    allocated_bytes: int | None = None
    other_errors: list[str] = []  # what else the tool complained of, one line each
    notes: list[str] = []
    absent: list[Absent] = []

    @property
    def lost(self) -> Tally:
        """Definitely and indirectly lost together."""
        parts = [tally for kind in KINDS[:2] if (tally := self.kinds.get(kind)) is not None]
        return Tally(sum(part.blocks for part in parts), sum(part.bytes for part in parts))


def tallies_of(records: list[LossRecord]) -> dict[str, Tally | None]:
    """The kinds' tallies when every record is there: sums over them."""
    return {
        kind: Tally(
            sum(record.blocks for record in records if record.kind == kind),
            sum(record.bytes for record in records if record.kind == kind),
        )
        for kind in KINDS
    }
