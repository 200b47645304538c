"""Owns the records of a scan: what was found in a live heap, as it is printed, saved and compared.

Imports nothing of the house. Sizes are what a block can hold (usable bytes), which is what the
allocator knows; a program asked for at most 24 bytes less.
"""

from __future__ import annotations

import msgspec

SCHEMA = "memtwin.heap_scan"
KINDS = ("definite", "indirect", "possible", "reachable")  # in the order in which they are shown


class Tally(msgspec.Struct, frozen=True):
    """Blocks of one kind, and their bytes."""

    blocks: int = 0
    bytes: int = 0


class Group(msgspec.Struct, frozen=True):
    """Blocks of one kind, one size and one content: a loss record.

    Of definitely lost blocks, `indirect_*` is what only they lead to.
    """

    kind: str
    size_bytes: int
    blocks: int
    bytes: int
    indirect_blocks: int = 0
    indirect_bytes: int = 0
    content: str | None = None  # a class, a Python type, a symbol that its first word points to
    text: str | None = None  # printable text in one of them
    held_by: list[str] = []  # of one of them: from the block outwards to the root
    vaddrs: list[int] = []  # a few of them


class HeapFigures(msgspec.Struct, frozen=True):
    """The allocator's own account."""

    system_bytes: int  # from the kernel for arenas; mapped chunks come on top
    mapped_bytes: int
    in_use_bytes: int
    free_bytes: int  # in free chunks between used ones: fragmentation
    top_bytes: int  # free at the end, returned to the kernel when it is large
    chunks: int
    cached_chunks: int  # free, kept by threads
    fastbin_chunks: int
    mapped_chunks: int
    arenas: int


class TroubleSeen(msgspec.Struct, frozen=True):
    """A place of the heap that does not fit, and what is wrong with it."""

    vaddr: int
    what: str


class ScanCost(msgspec.Struct, frozen=True):
    """What the scan cost; the target stood still for `stop_ns` in all."""

    stop_ns: int
    read_bytes: int
    read_cpu_ns: int  # CPU time of ours, as is what follows
    walk_cpu_ns: int
    mark_cpu_ns: int
    marked_bytes: int
    total_ns: int  # wall time
    tries: int


class HeapScan(msgspec.Struct, frozen=True):
    """One look into the heap of a process."""

    pid: int
    name: str
    taken_s: float  # seconds since 1970
    start_ticks: int  # of the process, so that a reused PID is another one
    allocator: str
    method: str
    threads: int
    heap: HeapFigures
    kinds: dict[str, Tally]
    groups: list[Group]
    troubles: list[TroubleSeen]
    notes: list[str]
    cost: ScanCost
    schema: str = SCHEMA
    version: int = 1

    @property
    def lost_bytes(self) -> int:
        """Definitely and indirectly lost."""
        return self.kinds["definite"].bytes + self.kinds["indirect"].bytes
