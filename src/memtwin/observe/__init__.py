"""Observing memory: kernel texts to typed records and back, on a live host, a captured tree or
the twin.

Imports the rooms up to process, for the twin's figures. Has never heard of machine descriptions,
workloads or views. The twin's side is `observe.twin` (`TwinRooms`, `TwinTexts`), imported by
itself.
"""

from __future__ import annotations

from memtwin.observe.kernel_release import match_release
from memtwin.observe.source import Source, TextSource, TreeSource
from memtwin.observe.texts import read_record, shape_of

__all__ = ["Source", "TextSource", "TreeSource", "match_release", "read_record", "shape_of"]
