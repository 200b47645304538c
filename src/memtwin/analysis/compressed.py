"""Owns what a zram device gains: ratio, memory saved, and what plain swap would hold.

Imports observe's records and units. Knows nothing of columns. Sizes are bytes; None: the device's
kernel does not say, or it holds nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from memtwin.observe.source import printable
from memtwin.observe.swaps import SwapRow
from memtwin.observe.zram import BD_PAGE_BYTES, ZramDevice
from memtwin.units import KIB, PAGE_SIZE


class ZramGain(msgspec.Struct, kw_only=True):
    """One device.

    `ratio` is data over its compressed size, `effective_ratio` data over all memory the device
    takes; `saved_bytes` is what this data would take uncompressed less what it takes now.
    """

    name: str
    algorithm: str | None
    disksize_bytes: int | None
    data_bytes: int | None = None
    compressed_bytes: int | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None  # None: none is set
    memory_peak_bytes: int | None = None
    overhead_bytes: int | None = None  # memory that holds no compressed data
    saved_bytes: int | None = None
    ratio: float | None = None
    effective_ratio: float | None = None
    same_filled_bytes: int | None = None  # pages of one repeated word: they take no memory
    incompressible_bytes: int | None = None  # pages stored as they are, "huge" to zram
    compacted_pages: int | None = None
    backing_device: str | None = None
    written_back_bytes: int | None = None
    swap_used_bytes: int | None = None  # what /proc/swaps says; None: not used as swap
    swap_priority: int | None = None
    disk_swap_bytes: int | None = None  # what the same pages would take on a disk


def gain_of(device: ZramDevice, swaps: Sequence[SwapRow]) -> ZramGain:
    """What `device` gains; `swaps` are the areas of /proc/swaps."""
    found = ZramGain(
        name=device.name,
        algorithm=printable(device.algorithm.chosen) if device.algorithm else None,
        disksize_bytes=device.disksize_bytes,
        backing_device=device.backing_device,
    )
    if device.bd is not None:
        found.written_back_bytes = device.bd.stored_pages * BD_PAGE_BYTES
    for row in swaps:
        if row.filename == f"/dev/{device.name}":
            found.swap_used_bytes, found.swap_priority = row.used_kib * KIB, row.priority
    mm = device.mm
    if mm is None:
        return found
    # drivers/block/zram/zram_drv.c zram_write_page(), v6.12: same-filled pages count as stored too
    same_filled_bytes = mm.same_pages * PAGE_SIZE
    found.data_bytes = mm.orig_data_bytes
    found.compressed_bytes = mm.compr_data_bytes
    found.memory_bytes = mm.mem_used_bytes
    found.memory_limit_bytes = mm.mem_limit_bytes or None
    found.memory_peak_bytes = mm.mem_used_max_bytes
    found.overhead_bytes = mm.mem_used_bytes - mm.compr_data_bytes
    found.same_filled_bytes = same_filled_bytes
    found.incompressible_bytes = mm.huge_pages * PAGE_SIZE
    found.compacted_pages = mm.pages_compacted
    found.disk_swap_bytes = mm.orig_data_bytes
    found.saved_bytes = mm.orig_data_bytes - mm.mem_used_bytes
    if mm.compr_data_bytes:
        found.ratio = mm.orig_data_bytes / mm.compr_data_bytes
    if mm.mem_used_bytes:
        found.effective_ratio = mm.orig_data_bytes / mm.mem_used_bytes
    return found
