"""Owns reading a store: its span, its tables over a span, and the texts of one moment.

Imports the store, journals and segments. A store that is being written is read as far as it is;
what is damaged is left out and told in `said`.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

from memtwin.errors import UserError
from memtwin.observe.samples.journal import ForeignJournal, JournalReader
from memtwin.observe.samples.moment import StoredMoment
from memtwin.observe.samples.segment import DamagedSegment, read_segment_table, segment_span_ns
from memtwin.observe.samples.store import numbered, read_identity
from memtwin.observe.samples.tables import empty_tables, tables_of

ALL_TIME = (0, 1 << 62)


class Part(NamedTuple):
    """A segment or journal and the moments that it spans."""

    number: int
    path: Path
    first_ns: int
    last_ns: int


class StoreReader:
    """A store as it is now. Raises UserError when the directory is no store we can read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.identity = read_identity(directory)
        self.said: list[str] = []
        self._unsealed: dict[Path, dict[str, pa.Table]] = {}
        self.parts = sorted(self._parts())

    def _parts(self) -> Iterator[Part]:
        segments, journals = numbered(self.directory)
        for number, path in segments.items():
            try:
                yield Part(number, path, *segment_span_ns(path))
            except DamagedSegment as fault:
                self.said.append(f"damaged and left out: {fault}")
        for number, path in sorted(journals.items()):
            yield from self._journal(number, path)

    def _journal(self, number: int, path: Path) -> Iterator[Part]:
        reader = JournalReader(path)
        try:
            samples = list(reader.samples())
        except FileNotFoundError:  # it was sealed since we listed it
            sealed = numbered(self.directory)[0].get(number)
            if sealed is not None:
                yield Part(number, sealed, *segment_span_ns(sealed))
            return
        except ForeignJournal as fault:
            self.said.append(f"left out: {fault}")
            return
        if reader.cut_bytes:
            self.said.append(
                f"{path.name}: read up to its last whole block, {len(samples)} samples;"
                f" {reader.cut_bytes} bytes behind it are cut short"
            )
        if samples:
            self._unsealed[path] = tables_of(samples, self.identity.page_bytes)
            yield Part(number, path, samples[0].taken_ns, samples[-1].taken_ns)

    def span_ns(self) -> tuple[int, int]:
        """(first, last) moment. Raises UserError when there is no sample at all."""
        if not self.parts:
            raise UserError(f"{self.directory}: found no sample in this store")
        return self.parts[0].first_ns, max(part.last_ns for part in self.parts)

    def table(self, name: str, span_ns: tuple[int, int] = ALL_TIME) -> pa.Table:
        """Table `name` of `tables` between two moments, both included, in the order of time."""
        found = []
        for part in self.parts:
            if part.last_ns < span_ns[0] or part.first_ns > span_ns[1]:
                continue
            table = self._part_table(part, name)
            if table is not None:
                at = table["taken_ns"]
                inside = pc.and_(pc.greater_equal(at, span_ns[0]), pc.less_equal(at, span_ns[1]))
                found.append(table.filter(inside))
        if not found:
            return empty_tables()[name]
        return pa.concat_tables(found, promote_options="permissive")

    def _part_table(self, part: Part, name: str) -> pa.Table | None:
        if part.path in self._unsealed:
            return self._unsealed[part.path][name]
        try:
            return read_segment_table(part.path, name)
        except DamagedSegment as fault:
            message = f"damaged and left out: {fault}"
            if message not in self.said:
                self.said.append(message)
            return None

    def moments_ns(self, span_ns: tuple[int, int] = ALL_TIME) -> list[int]:
        """When samples were taken."""
        moments: list[int] = self.table("samples", span_ns)["taken_ns"].to_pylist()
        return moments

    def at(self, moment_ns: int) -> StoredMoment:
        """The last sample taken by `moment_ns`. Raises UserError when the store begins later."""
        before = [part for part in self.parts if part.first_ns <= moment_ns]
        for part in reversed(before):
            texts = self._part_table(part, "texts")
            samples = self._part_table(part, "samples")
            if texts is not None and samples is not None:
                moments = samples["taken_ns"].to_pylist()
                taken_ns = moments[bisect.bisect_right(moments, moment_ns) - 1]
                return StoredMoment(taken_ns, _texts_at(texts, taken_ns))
        raise UserError(f"{self.directory}: found no sample at or before that moment")

    def each(self, paths: set[str], span_ns: tuple[int, int] = ALL_TIME) -> Iterator[StoredMoment]:
        """Every sample in turn, with the texts of `paths` as they were by then."""
        for part in self.parts:
            if part.last_ns >= span_ns[0] and part.first_ns <= span_ns[1]:
                yield from self._each_of(part, paths, span_ns)

    def _each_of(
        self, part: Part, paths: set[str], span_ns: tuple[int, int]
    ) -> Iterator[StoredMoment]:
        """The moments of one part, which begins with every text there was."""
        table, samples = self._part_table(part, "texts"), self._part_table(part, "samples")
        if table is None or samples is None:
            return
        wanted = pc.is_in(table["path"], pa.array(sorted(paths), pa.string()))
        rows = table.filter(wanted).sort_by("taken_ns")
        columns = (rows["taken_ns"].to_pylist(), rows["path"].to_pylist(), rows["text"].to_pylist())
        changes = list(zip(*columns, strict=True))
        texts: dict[str, bytes] = {}
        done = 0
        for moment in samples["taken_ns"].to_pylist():
            while done < len(changes) and changes[done][0] <= moment:
                _, path, text = changes[done]
                if text is None:
                    texts.pop(path, None)
                else:
                    texts[path] = text
                done += 1
            if span_ns[0] <= moment <= span_ns[1]:
                yield StoredMoment(moment, dict(texts))


def _texts_at(texts: pa.Table, moment_ns: int) -> dict[str, bytes]:
    """path -> its last text at or before a moment; paths that were gone by then are left out."""
    rows = texts.filter(pc.less_equal(texts["taken_ns"], moment_ns)).sort_by("taken_ns")
    last = {path: row for row, path in enumerate(rows["path"].to_pylist())}
    kept = rows["text"].take(pa.array(last.values(), pa.int64())).to_pylist()
    return {path: text for path, text in zip(last, kept, strict=True) if text is not None}
