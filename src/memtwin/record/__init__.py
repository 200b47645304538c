"""Front desk of the recorders: record a real program, open the trace of one.

`record` runs a program and writes a trace; `open_trace` reads one, finished or cut short;
`write_trace` makes one of columns; `measure_native` runs a program without recording.
"""

from __future__ import annotations

from memtwin.record.host import NativeRun, measure_native
from memtwin.record.recorder import Method, NativeRunMode, RecordSummary, record
from memtwin.record.schema import (
    COLUMNS,
    ExitKind,
    FileKind,
    TraceMetadata,
    TraceOp,
    map_flags,
    map_offset_pages,
)
from memtwin.record.trace import Trace, open_trace, write_trace

__all__ = [
    "COLUMNS",
    "ExitKind",
    "FileKind",
    "Method",
    "NativeRun",
    "NativeRunMode",
    "RecordSummary",
    "Trace",
    "TraceMetadata",
    "TraceOp",
    "map_flags",
    "map_offset_pages",
    "measure_native",
    "open_trace",
    "record",
    "write_trace",
]
