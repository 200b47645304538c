"""Owns a segment on disk: one Parquet file for each table. Imports the room's tables and pyarrow.

Knows nothing of journals or of when a segment is made.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

from memtwin.observe.samples.durable import sync_directory, sync_file
from memtwin.observe.samples.journal import Sample
from memtwin.observe.samples.tables import TABLES, TextOrder, tables_of

_ZSTD_LEVEL = 3


class DamagedSegment(Exception):
    """A file of a segment can't be read; the text says which and why."""


def write_segment(directory: Path, samples: list[Sample], page_bytes: int) -> None:
    """Write `samples` as a segment, flushed to the disk with the names of its files.

    Raises OSError when that fails.
    """
    directory.mkdir()
    # like texts side by side compress to their differences
    for name, table in tables_of(samples, page_bytes, TextOrder.BY_PATH).items():
        path = directory / f"{name}.parquet"
        pq.write_table(table, path, compression="zstd", compression_level=_ZSTD_LEVEL)
        sync_file(path)
    sync_directory(directory)


def read_segment_table(directory: Path, name: str) -> pa.Table:
    """One table of a segment. Raises DamagedSegment when its file can't be read."""
    if name not in TABLES:
        raise KeyError(name)
    path = directory / f"{name}.parquet"
    try:
        return pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as fault:
        reason = " ".join(str(fault).split())[:120]
        raise DamagedSegment(f"{directory.name}/{path.name}: {reason}") from None


def segment_span_ns(directory: Path) -> tuple[int, int]:
    """(first, last) moment of a segment, from the Parquet footer's statistics alone."""
    path = directory / "samples.parquet"
    try:
        footer = pq.read_metadata(path)
        parts = [footer.row_group(i).column(0).statistics for i in range(footer.num_row_groups)]
        return min(part.min for part in parts), max(part.max for part in parts)
    except (OSError, pa.ArrowException, ValueError, AttributeError) as fault:
        raise DamagedSegment(f"{directory.name}/{path.name}: {fault}") from None
