"""Owns debugfs bdi/*/stats: what each backing device has dirty and may have.

Imports observe/reading and observe/scan. Knows nothing of writeback.
"""

from __future__ import annotations

import msgspec

from memtwin.observe.reading import Reading
from memtwin.observe.scan import keyed_lines, no_match, whole

ROOT = "/sys/kernel/debug/bdi"
_UNITS = {"kB": "_kib", "kBps": "_kib_per_s", "": ""}
# printed name -> field (mm/backing-dev.c bdi_debug_stats_show(), v6.12)
_FIELDS = {
    "BdiWriteback": "writeback_kib",
    "BdiReclaimable": "reclaimable_kib",
    "BdiDirtyThresh": "dirty_thresh_kib",
    "DirtyThresh": "global_dirty_thresh_kib",
    "BackgroundThresh": "global_background_thresh_kib",
    "BdiDirtied": "dirtied_kib",
    "BdiWritten": "written_kib",
    "BdiWriteBandwidth": "write_bandwidth_kib_per_s",
    "b_dirty": "dirty_inodes",
    "b_io": "io_inodes",
    "b_more_io": "more_io_inodes",
    "b_dirty_time": "dirty_time_inodes",
}


class BdiStats(msgspec.Struct, kw_only=True):
    """One reading of a backing device's stats; None where the text has no such line."""

    device: str = ""  # "254:0", or a name such as "0:47" of a network file system
    writeback_kib: int | None = None
    reclaimable_kib: int | None = None
    dirty_thresh_kib: int | None = None
    global_dirty_thresh_kib: int | None = None
    global_background_thresh_kib: int | None = None
    dirtied_kib: int | None = None
    written_kib: int | None = None
    write_bandwidth_kib_per_s: int | None = None
    dirty_inodes: int | None = None
    io_inodes: int | None = None
    more_io_inodes: int | None = None
    dirty_time_inodes: int | None = None


def parse_bdi_stats(text: str) -> BdiStats:
    """The record of a bdi stats text; lines it does not know are passed over.

    >>> parse_bdi_stats("BdiReclaimable:             12 kB\\n").reclaimable_kib
    12
    """
    stats = BdiStats()
    for key, value, line in keyed_lines(text):
        if key in _FIELDS:
            number, _, unit = value.partition(" ")
            if unit not in _UNITS or not _FIELDS[key].endswith(_UNITS[unit]):
                raise no_match("bdi stats", line, "a figure in kB or kBps")
            setattr(stats, _FIELDS[key], whole(number, "bdi stats", line))
    return stats


def read_bdis(reading: Reading) -> list[BdiStats]:
    """Every backing device that debugfs tells of."""
    found = []
    for name in reading.names(ROOT):
        stats = reading.optional(f"{ROOT}/{name}/stats", parse_bdi_stats)
        if stats is not None:
            stats.device = name
            found.append(stats)
    return found
