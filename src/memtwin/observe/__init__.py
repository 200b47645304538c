"""Observing memory: kernel texts to typed records and back, on a live host, a captured tree or
the twin.

Imports the rooms up to process, for the twin's figures. Has never heard of machine descriptions,
workloads or views. The twin's side is `observe.twin` (`TwinRooms`, `TwinTexts`), imported by
itself. What is named here is imported on first use: a view needs few of the readers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memtwin.observe.kernel_release import match_release
    from memtwin.observe.source import Source, TextSource, TreeSource
    from memtwin.observe.texts import read_record, shape_of

__all__ = ["Source", "TextSource", "TreeSource", "match_release", "read_record", "shape_of"]
_ROOMS = ("kernel_release", "source", "texts")


def __getattr__(name: str) -> object:
    for room in _ROOMS if name in __all__ else ():
        module = import_module(f"memtwin.observe.{room}")
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module 'memtwin.observe' has no attribute {name!r}")
