"""Owns /proc/slabinfo (version 2.1): its record, its reader and its writer.

Imports observe/scan. Knows nothing of how a cache fills.
"""

from __future__ import annotations

import msgspec

from memtwin.observe.scan import no_match, whole

PATH = "/proc/slabinfo"
# mm/slab_common.c print_slabinfo_header(), v6.12
_HEADER = (
    "slabinfo - version: 2.1\n"
    "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
    " : tunables <limit> <batchcount> <sharedfactor>"
    " : slabdata <active_slabs> <num_slabs> <sharedavail>\n"
)


class SlabRow(msgspec.Struct):
    """One cache."""

    name: str
    active_objs: int
    num_objs: int
    objsize_bytes: int
    objs_per_slab: int
    pages_per_slab: int
    active_slabs: int
    num_slabs: int
    limit: int = 0
    batchcount: int = 0
    shared: int = 0
    shared_avail: int = 0


_COLUMNS = (
    "active_objs", "num_objs", "objsize_bytes", "objs_per_slab", "pages_per_slab",
    "limit", "batchcount", "shared", "active_slabs", "num_slabs", "shared_avail",
)  # as a row prints them  # fmt: skip


def parse_slabinfo(text: str) -> list[SlabRow]:
    """The caches of a /proc/slabinfo text, in its order."""
    rows = []
    for line in text.splitlines():
        if not line.strip() or line.startswith(("slabinfo", "#")):
            continue
        words = line.replace(": tunables", "").replace(": slabdata", "").split()
        if len(words) < 12:
            raise no_match(PATH, line, "a version 2.1 row")
        counts = [whole(word, PATH, line) for word in words[1:12]]
        rows.append(SlabRow(name=words[0], **dict(zip(_COLUMNS, counts, strict=True))))
    return rows


def render_slabinfo(rows: list[SlabRow]) -> str:
    """The text of `rows` (mm/slab_common.c cache_show(), v6.12)."""
    return _HEADER + "".join(
        f"{r.name:<17} {r.active_objs:>6} {r.num_objs:>6} {r.objsize_bytes:>6}"
        f" {r.objs_per_slab:>4} {r.pages_per_slab:>4}"
        f" : tunables {r.limit:>4} {r.batchcount:>4} {r.shared:>4}"
        f" : slabdata {r.active_slabs:>6} {r.num_slabs:>6} {r.shared_avail:>6}\n"
        for r in rows
    )
