"""Owns trace files: writes them, opens them, hands their events out in batches.

Imports PyArrow, schema, part. Knows nothing of how a trace was recorded or what reads it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from numpy.typing import NDArray

from memtwin.errors import UserError
from memtwin.record import schema
from memtwin.record.part import PART_MAGIC, PartReader
from memtwin.record.schema import COLUMNS, TraceMetadata, TraceOp

Batch = dict[str, NDArray[Any]]
ROW_GROUP_EVENTS = 1 << 17
_ARROW = pa.schema([(name, pa.from_numpy_dtype(dtype)) for name, (dtype, _) in COLUMNS.items()])
# Instruction counts differ little from one event to the next; page numbers come in sequences
# that zstd finds again when they are stored plainly; the rest is nearly always one value.
_ENCODING = {"insns": "DELTA_BINARY_PACKED", "a": "PLAIN"}
_DICTIONARY = [name for name in COLUMNS if name not in _ENCODING]


class TraceSource(Protocol):
    """What a Trace reads: a finished file or a half-written one."""

    metadata: TraceMetadata
    n_events: int

    def batches(self) -> Iterator[Batch]:
        """The events in order."""


class _ParquetSource:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            file = pq.ParquetFile(path)
            text = (file.metadata.metadata or {}).get(schema.METADATA_KEY)
        except (pa.ArrowException, OSError) as error:
            reason = _first_line(error)
            raise UserError(f"{path}: found a damaged Parquet file ({reason})") from None
        if text is None:
            raise UserError(f"{path}: found a Parquet file without the key 'memtwin': not a trace")
        self.metadata = _metadata(path, text)
        if file.schema_arrow.names != list(COLUMNS):
            raise UserError(
                f"{path}: found columns {file.schema_arrow.names}, allowed are {list(COLUMNS)}"
            )
        self.n_events = file.metadata.num_rows

    def batches(self) -> Iterator[Batch]:
        with pq.ParquetFile(self._path) as file:
            for group in range(file.num_row_groups):
                try:
                    table = file.read_row_group(group)
                except (pa.ArrowException, OSError) as error:
                    raise UserError(
                        f"{self._path}: row group {group} can't be read ({_first_line(error)})"
                    ) from None
                yield {
                    name: table.column(name).to_numpy().astype(dtype, copy=False)
                    for name, (dtype, _) in COLUMNS.items()
                }


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no reason given"])[0][:120]


def _metadata(path: Path, text: bytes) -> TraceMetadata:
    try:
        version = msgspec.json.decode(text).get("schema_version")
        if version != schema.SCHEMA_VERSION:
            raise UserError(
                f"{path}: found trace schema version {version}, "
                f"allowed is {schema.SCHEMA_VERSION}"
            )
        return schema.decode_metadata(text)
    except (msgspec.MsgspecError, AttributeError) as error:
        raise UserError(f"{path}: found damaged trace metadata ({_first_line(error)})") from None


class Trace:
    """An opened trace: `metadata`, `n_events`, `complete`, and the events in batches of columns."""

    def __init__(self, path: Path, source: TraceSource) -> None:
        self.path = path
        self._source = source
        self.metadata = source.metadata
        self.n_events = source.n_events
        self.complete = source.metadata.complete

    def iter_batches(self) -> Iterator[Batch]:
        """Batches in order of time: dicts of equally long NumPy arrays, named as COLUMNS."""
        return self._source.batches()

    def read(self) -> Batch:
        """All events as one dict of arrays: 49 bytes an event."""
        batches = list(self.iter_batches())
        if not batches:
            return {name: np.zeros(0, dtype) for name, (dtype, _) in COLUMNS.items()}
        return {name: np.concatenate([batch[name] for batch in batches]) for name in COLUMNS}

    def head(self, n: int) -> list[dict[str, int | str]]:
        """The first `n` events as rows; `op` is the name of its TraceOp."""
        rows: list[dict[str, int | str]] = []
        for batch in self.iter_batches():
            for i in range(min(n - len(rows), len(batch["op"]))):
                row: dict[str, int | str] = {name: int(batch[name][i]) for name in COLUMNS}
                row["op"] = _op_name(int(batch["op"][i]))
                rows.append(row)
            if len(rows) >= n:
                break
        return rows

    def info(self) -> dict[str, Any]:
        """What `trace info` shows: the metadata, events by kind, pages touched, files read."""
        by_op: dict[str, int] = {}
        pages: list[NDArray[Any]] = []
        for batch in self.iter_batches():
            numbers, counts = np.unique(batch["op"], return_counts=True)
            for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
                name = _op_name(number)
                by_op[name] = by_op.get(name, 0) + count
            pages.append(np.unique(batch["a"][batch["op"] <= TraceOp.FAULT]))
        touched = np.unique(np.concatenate(pages)) if pages else np.zeros(0, np.int64)
        return {
            "path": str(self.path),
            "size_bytes": self.path.stat().st_size,
            "n_events": self.n_events,
            "events": by_op,
            "distinct_pages": int(touched.size),
            "metadata": msgspec.to_builtins(self.metadata),
        }


def _op_name(number: int) -> str:
    try:
        return TraceOp(number).name
    except ValueError:
        return str(number)


def open_trace(path: Path | str) -> Trace:
    """Open a finished trace or the `.part` of a recording that was cut short.

    Raises UserError when there is none, or it is foreign, damaged or of another version.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            magic = file.read(8)
    except OSError as error:
        part = path.with_name(path.name + ".part")
        hint = f"; there is {part}, of a recording cut short" if part.exists() else ""
        raise UserError(f"{path}: {(error.strerror or 'unreadable').lower()}{hint}") from None
    if magic == PART_MAGIC:
        return Trace(path, PartReader(path))
    if magic[:4] == b"PAR1":
        return Trace(path, _ParquetSource(path))
    raise UserError(
        f"{path}: found neither a Parquet trace nor a .part of one (first bytes {magic!r})"
    )


class TraceWriter:
    """Writes one trace beside its name and gives it the name when it is whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        self._pending: list[pa.Table] = []
        self._pending_events = 0
        self.n_events = 0
        self._writer = pq.ParquetWriter(
            self._beside,
            _ARROW,
            compression="zstd",
            compression_level=6,
            use_dictionary=_DICTIONARY,
            column_encoding=_ENCODING,
            write_statistics=False,
        )

    def write(self, batch: Mapping[str, NDArray[Any]]) -> None:
        """Append a batch of columns of equal length."""
        table = pa.table(
            [
                pa.array(np.ascontiguousarray(batch[name], dtype))
                for name, (dtype, _) in COLUMNS.items()
            ],
            schema=_ARROW,
        )
        self._pending.append(table)
        self._pending_events += table.num_rows
        self.n_events += table.num_rows
        while self._pending_events >= ROW_GROUP_EVENTS:
            self._write_group(ROW_GROUP_EVENTS)

    def _write_group(self, n_events: int) -> None:
        if n_events == 0:
            return
        table = pa.concat_tables(self._pending)
        self._writer.write_table(
            table.slice(0, n_events).combine_chunks(), row_group_size=n_events
        )
        self._pending_events = table.num_rows - n_events
        self._pending = [table.slice(n_events)]

    def close(self, metadata: TraceMetadata) -> None:
        """Write the metadata and give the file its name."""
        self._write_group(self._pending_events)
        self._writer.add_key_value_metadata(
            {schema.METADATA_KEY: schema.encode_metadata(metadata)}
        )
        self._writer.close()
        os.replace(self._beside, self._path)

    def abandon(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(Exception):
            self._writer.close()
        self._beside.unlink(missing_ok=True)


def write_trace(
    path: Path | str, batches: Iterable[Mapping[str, NDArray[Any]]], metadata: TraceMetadata
) -> int:
    """Write batches of columns and the metadata as a trace at `path`; gives the number of events.

    Nothing stands under the name `path` unless all of it was written. Raises UserError when the
    directory is missing or the disk is full.
    """
    path = Path(path)
    try:
        writer = TraceWriter(path)
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror or error})") from None
    try:
        for batch in batches:
            writer.write(batch)
        metadata.counts.events = writer.n_events
        writer.close(metadata)
    except OSError as error:
        writer.abandon()
        raise UserError(f"{path}: can't be written ({error.strerror or error})") from None
    except BaseException:
        writer.abandon()
        raise
    return writer.n_events
