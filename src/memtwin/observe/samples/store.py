"""Owns a store of samples: a directory of sealed segments and the journal being written.

Imports errors, the journal and, to seal, the tables. Knows nothing of what is sampled.

    DIR/store.json           what the store is, and its schema's version
    DIR/lock                 held by the one writer
    DIR/journal-00000007     appended to; a crash loses at most its last block
    DIR/segment-00000006/    sealed: a Parquet file for each table of `tables`

A segment is written beside, its files and then their names are flushed, it is renamed, and that is
flushed; only then does its journal go. So each sample stands in one of the two at every moment,
also after a loss of power. A reader prefers the segment of a number.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from memtwin import __version__
from memtwin.errors import UserError
from memtwin.observe.samples.durable import sync_directory, sync_file
from memtwin.observe.samples.journal import ForeignJournal, JournalReader, JournalWriter, Sample

SCHEMA_VERSION = 1
IDENTITY, LOCK = "store.json", "lock"
JOURNAL, SEGMENT = "journal-{:08d}", "segment-{:08d}"
_JOURNAL = re.compile(r"journal-(\d{8})")
_SEGMENT = re.compile(r"segment-(\d{8})")
_PART = re.compile(r"segment-\d{8}\.part")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StoreIdentity(msgspec.Struct):
    """What store.json says."""

    schema: str
    version: int
    memtwin_version: str
    page_bytes: int
    root: str


class Rotation(msgspec.Struct, frozen=True):
    """When a journal is sealed, and how much all segments may take."""

    age_s: float = 300.0
    journal_bytes: int = 16 << 20
    total_bytes: int = 1 << 30


def read_identity(directory: Path) -> StoreIdentity:
    """What the store in `directory` is. Raises UserError when it is none that we can read."""
    try:
        raw = (directory / IDENTITY).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{directory}: found no {IDENTITY}, allowed is a directory that `memtwin watch -o` made"
        ) from None
    try:
        found = msgspec.json.decode(raw, type=StoreIdentity)
    except msgspec.DecodeError:
        raise UserError(f"{directory / IDENTITY}: found no identity of a store") from None
    if found.schema != "memtwin.store" or found.version < 1:
        raise UserError(f"{directory / IDENTITY}: found {found.schema!r}, allowed is memtwin.store")
    if found.version > SCHEMA_VERSION:
        raise UserError(
            f"{directory}: found a store of schema version {found.version}, written by memtwin"
            f" {found.memtwin_version}; this one reads up to version {SCHEMA_VERSION}"
        )
    return found


def numbered(directory: Path) -> tuple[dict[int, Path], dict[int, Path]]:
    """(segments, journals) of a store by number; a journal that has its segment is left out."""
    segments, journals = {}, {}
    for path in directory.iterdir():
        if match := _SEGMENT.fullmatch(path.name):
            segments[int(match[1])] = path
        elif match := _JOURNAL.fullmatch(path.name):
            journals[int(match[1])] = path
    return segments, {n: path for n, path in journals.items() if n not in segments}


class StoreWriter:
    """The one writer of a store; a context that seals what is left when it ends.

    Opening it makes the directory or goes on with it, and seals what a crash left unsealed; `said`
    tells what was found. Raises UserError when another writer holds it, when the directory is not
    a store or is one of a newer schema, and when the file system is full.
    """

    def __init__(
        self, directory: Path, page_bytes: int, root: str, rotation: Rotation | None = None
    ) -> None:
        self.directory = directory
        self.rotation = rotation or Rotation()
        self.page_bytes = page_bytes
        self.said: list[str] = []
        self._journal: JournalWriter | None = None
        self._opened_s = 0.0
        with _told_as_user_error(directory):
            directory.mkdir(parents=True, exist_ok=True)
            self._identify(StoreIdentity("memtwin.store", 1, __version__, page_bytes, root))
            self._lock_fd = self._lock()
            try:
                self._recover()
            except BaseException:
                os.close(self._lock_fd)
                raise

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    @property
    def starts_whole(self) -> bool:
        """Whether the next sample begins a journal, and so must have every text."""
        return self._journal is None

    def append(self, sample: Sample) -> None:
        """Keep one sample. Raises UserError when the file system is full; the store stays whole."""
        with _told_as_user_error(self.directory):
            if self._journal is None:
                self._journal = JournalWriter(self.directory / JOURNAL.format(self._next_number()))
                sync_directory(self.directory)
                self._opened_s = time.monotonic()
            self._journal.append(sample)
            if (
                time.monotonic() - self._opened_s >= self.rotation.age_s
                or self._journal.size_bytes >= self.rotation.journal_bytes
            ):
                self._seal_current()

    def close(self) -> None:
        """Seal what is left and let the store go."""
        try:
            with _told_as_user_error(self.directory):
                self._seal_current()
        finally:
            os.close(self._lock_fd)

    def _seal_current(self) -> None:
        if self._journal is None:
            return
        journal, self._journal = self._journal, None
        journal.close()
        seal(journal.path, self.page_bytes)
        self._drop_oldest()

    def _identify(self, own: StoreIdentity) -> None:
        """Make store.json, or check the one that is there."""
        if (self.directory / IDENTITY).exists():
            found = read_identity(self.directory)
            if found.page_bytes != own.page_bytes:
                raise UserError(
                    f"{self.directory}: found a store of pages of {found.page_bytes} bytes,"
                    f" allowed is one of {own.page_bytes}"
                )
            return
        foreign = sorted(path.name for path in self.directory.iterdir())
        if foreign:
            raise UserError(
                f"{self.directory}: found {foreign[0]!r} and no {IDENTITY}, allowed is a store or"
                " an empty directory"
            )
        part = self.directory / f"{IDENTITY}.{os.getpid()}.part"
        part.write_bytes(msgspec.json.encode(own) + b"\n")
        sync_file(part)
        part.rename(self.directory / IDENTITY)
        sync_directory(self.directory)

    def _lock(self) -> int:
        fd = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise UserError(
                f"{self.directory}: found a writer at work (pid {holder}), allowed is one"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return fd

    def _recover(self) -> None:
        """Seal the journals of a writer that did not come to its end; drop half-made segments."""
        for path in self.directory.iterdir():
            if _PART.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
        segments, journals = numbered(self.directory)
        sync_directory(self.directory)  # a rename just before a crash may not be on disk yet
        for number in segments:
            (self.directory / JOURNAL.format(number)).unlink(missing_ok=True)
        for _, path in sorted(journals.items()):
            self.said += seal(path, self.page_bytes)
        self._drop_oldest()

    def _next_number(self) -> int:
        segments, journals = numbered(self.directory)
        return max([0, *segments, *journals]) + 1

    def _drop_oldest(self) -> None:
        segments, _ = numbered(self.directory)
        sizes = {number: _tree_bytes(path) for number, path in segments.items()}
        for number in sorted(segments)[:-1]:  # the newest stays, however large
            if sum(sizes.values()) <= self.rotation.total_bytes:
                return
            shutil.rmtree(segments[number])
            del sizes[number]


def seal(journal: Path, page_bytes: int) -> list[str]:
    """Make a journal the segment of its number; what had to be left behind, in words.

    A journal without one whole sample is removed, and one that is none is kept under another name.
    """
    from memtwin.observe.samples.segment import write_segment

    number = int(journal.name.rpartition("-")[2])
    reader = JournalReader(journal)
    try:
        samples = list(reader.samples())
    except ForeignJournal as fault:
        journal.rename(journal.with_name(f"{journal.name}.foreign"))
        return [f"{fault}; kept as {journal.name}.foreign"]
    said = []
    if reader.cut_bytes:
        said.append(
            f"{journal.name}: the last {reader.cut_bytes} bytes are no whole block; kept are the"
            f" {len(samples)} samples before them"
        )
    if samples:
        target = journal.with_name(SEGMENT.format(number))
        part = target.with_name(f"{target.name}.part")
        try:
            write_segment(part, samples, page_bytes)
            part.rename(target)
        except OSError:
            shutil.rmtree(part, ignore_errors=True)
            raise
        sync_directory(journal.parent)
    journal.unlink()
    return said


def _tree_bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.iterdir())


@contextlib.contextmanager
def _told_as_user_error(directory: Path) -> Iterator[None]:
    """Turn a full or failing file system into one line that names the store."""
    try:
        yield
    except OSError as fault:
        full = " (what was written before stays readable)" if fault.errno in _FULL else ""
        why = os.strerror(fault.errno) if fault.errno else str(fault)
        raise UserError(f"{directory}: {why}{full}") from None
