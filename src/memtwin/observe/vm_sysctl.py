"""Owns /proc/sys/vm: the settings of memory management, typed by what their text holds.

Imports observe/reading and observe/scan. Knows nothing of what a setting does.
"""

from __future__ import annotations

import re
from functools import partial

import msgspec

from memtwin.observe.reading import Reading
from memtwin.observe.scan import no_match, parse_figure

ROOT = "/proc/sys/vm"
# written to act; reading one either fails or does something (kernel/sysctl.c vm_table[], v6.12)
ACTIONS = frozenset({"compact_memory", "drop_caches", "stat_refresh"})
_NUMBERS = re.compile(r"-?\d{1,19}(?:\s+-?\d{1,19})*")


class DirtySysctl(msgspec.Struct, kw_only=True):
    """What decides when dirty pages are written; None where the file is absent."""

    background_ratio_percent: int | None = None
    background_bytes: int | None = None
    ratio_percent: int | None = None
    bytes: int | None = None
    expire_centisecs: int | None = None
    writeback_centisecs: int | None = None
    dirtytime_expire_s: int | None = None
    laptop_mode: int | None = None
    highmem_is_dirtyable: int | None = None


_DIRTY = {
    "dirty_background_ratio": "background_ratio_percent",
    "dirty_background_bytes": "background_bytes",
    "dirty_ratio": "ratio_percent",
    "dirty_bytes": "bytes",
    "dirty_expire_centisecs": "expire_centisecs",
    "dirty_writeback_centisecs": "writeback_centisecs",
    "dirtytime_expire_seconds": "dirtytime_expire_s",
    "laptop_mode": "laptop_mode",
    "highmem_is_dirtyable": "highmem_is_dirtyable",
}

Setting = int | tuple[int, ...] | str


def parse_setting(text: str) -> Setting:
    """What a file of /proc/sys/vm holds: one figure, several (lowmem_reserve_ratio), or words.

    >>> parse_setting("256 256 32 0 0"), parse_setting("60"), parse_setting("Node")
    ((256, 256, 32, 0, 0), 60, 'Node')
    """
    line = text.strip()
    if not _NUMBERS.fullmatch(line):
        return line
    figures = tuple(int(word) for word in line.split())
    return figures[0] if len(figures) == 1 else figures


def render_setting(setting: Setting) -> str:
    """The text of `setting` (kernel/sysctl.c proc_dointvec(), v6.12)."""
    if isinstance(setting, tuple):
        return "\t".join(map(str, setting)) + "\n"
    return f"{setting}\n"


def read_settings(reading: Reading) -> dict[str, Setting]:
    """name -> setting of every readable file of /proc/sys/vm that is not an action."""
    found = {}
    for name in reading.names(ROOT):
        if name not in ACTIONS:
            setting = reading.optional(f"{ROOT}/{name}", parse_setting)
            if setting is not None:
                found[name] = setting
    return found


def read_dirty_settings(reading: Reading) -> DirtySysctl:
    """The settings of writeback."""
    settings = DirtySysctl()
    for name, field in _DIRTY.items():
        path = f"{ROOT}/{name}"
        setattr(settings, field, reading.optional(path, partial(_plain, path=path)))
    return settings


def _plain(text: str, path: str) -> int:
    figure = parse_figure(text, path)
    if figure < 0:
        raise no_match(path, text.rstrip("\n"), "no figure below 0")
    return figure
