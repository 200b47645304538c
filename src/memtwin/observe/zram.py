"""Owns the files of a zram device, gathered into one record.

Imports observe/kernel_mm, observe/reading, observe/scan and observe/swaps. Knows nothing of
compression. The tables of mm_stat and io_stat are in observe/swaps.
"""

from __future__ import annotations

import re

import msgspec

from memtwin.observe.kernel_mm import Choice, parse_choice
from memtwin.observe.reading import Reading
from memtwin.observe.scan import no_match, parse_figure, whole
from memtwin.observe.source import printable
from memtwin.observe.swaps import (
    ZramIoStat,
    ZramMmStat,
    parse_io_stat,
    parse_mm_stat,
)

BLOCK = "/sys/block"
_NAME = re.compile(r"zram\d{1,9}")
BD_PAGE_BYTES = 4096  # Documentation/admin-guide/blockdev/zram.rst bd_stat: "Unit: 4K bytes", v6.12


class ZramBdStat(msgspec.Struct, frozen=True):
    """One reading of bd_stat: what lies on the backing device, in pages of 4 KiB."""

    stored_pages: int
    reads_pages: int
    writes_pages: int


class ZramDevice(msgspec.Struct, kw_only=True):
    """One zram device; None where its kernel has no such file, or the device is not set up."""

    name: str  # "zram0"
    disksize_bytes: int | None = None
    initialised: bool | None = None
    algorithm: Choice | None = None
    recompression: str | None = None  # the secondary algorithms, as printed
    backing_device: str | None = None  # None: no such file, or "none"
    mm: ZramMmStat | None = None
    io: ZramIoStat | None = None
    bd: ZramBdStat | None = None


def parse_bd_stat(text: str) -> ZramBdStat:
    """The record of a zram bd_stat text.

    >>> parse_bd_stat("       3        1        4\\n").stored_pages
    3
    """
    figures = [whole(word, "bd_stat", text.rstrip("\n")) for word in text.split()]
    if len(figures) < 3:
        raise no_match("bd_stat", text.rstrip("\n"), "three whole numbers")
    return ZramBdStat(*figures[:3])


def render_bd_stat(stat: ZramBdStat) -> str:
    """The text of `stat` (drivers/block/zram/zram_drv.c bd_stat_show(), v6.12)."""
    return f"{stat.stored_pages:>8} {stat.reads_pages:>8} {stat.writes_pages:>8}\n"


def zram_names(reading: Reading) -> list[str]:
    """The zram devices that there are, by number."""
    found = [name for name in reading.names(BLOCK) if _NAME.fullmatch(name)]
    return sorted(found, key=lambda name: int(name[4:]))


def read_zram(reading: Reading, name: str) -> ZramDevice:
    """The device called `name`."""
    folder = f"{BLOCK}/{name}"
    device = ZramDevice(name=name)
    device.disksize_bytes = reading.record(
        f"{folder}/disksize", lambda text: parse_figure(text, f"{folder}/disksize")
    )
    state = reading.optional(
        f"{folder}/initstate", lambda text: parse_figure(text, f"{folder}/initstate")
    )
    device.initialised = None if state is None else bool(state)
    device.algorithm = reading.optional(f"{folder}/comp_algorithm", parse_choice)
    device.recompression = _line(reading, f"{folder}/recomp_algorithm")
    backing = _line(reading, f"{folder}/backing_dev")
    device.backing_device = None if backing == "none" else backing
    device.mm = reading.record(f"{folder}/mm_stat", parse_mm_stat)
    device.io = reading.optional(f"{folder}/io_stat", parse_io_stat)
    device.bd = reading.optional(f"{folder}/bd_stat", parse_bd_stat)
    return device


def _line(reading: Reading, path: str) -> str | None:
    text = reading.optional(path, str)
    return None if text is None or not text.strip() else printable(" ".join(text.split()))
