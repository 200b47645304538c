"""Owns the journal: samples appended to one file so that a crash loses at most the last.

Imports errors and msgspec. Has never heard of Parquet or of what a text means. A file is a header
and blocks; a block is its length, the CRC-32 of its payload, and the payload, one `Sample` as
msgpack. What follows the last whole block is what a crash cut short.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

MAGIC = b"memtwin journal\n"
VERSION = 1
_HEADER = struct.Struct("<16sI")
_BLOCK = struct.Struct("<II")
MAX_BLOCK_BYTES = 1 << 28


class Sample(msgspec.Struct, array_like=True):
    """What one look found that differs from the look before; the first of a file has it all."""

    taken_ns: int  # since 1970
    monotonic_ns: int
    cpu_ns: int  # CPU time that the look before this one cost, its writing included
    texts: dict[str, bytes]  # path -> text, where it is new or changed
    gone: list[str]  # paths that can't be read any more


class ForeignJournal(Exception):
    """A file that is no journal of this version; the text says what was found."""


class JournalWriter:
    """Appends samples to a new file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._encoder = msgspec.msgpack.Encoder()
        self.size_bytes = 0
        self._put(_HEADER.pack(MAGIC, VERSION))

    def append(self, sample: Sample) -> None:
        """Write one sample; it survives the end of this process from here on.

        Raises OSError when the file system is full; the file then ends behind its last sample.
        """
        payload = self._encoder.encode(sample)
        self._put(_BLOCK.pack(len(payload), zlib.crc32(payload)) + payload)

    def _put(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._fd, data[done:])
        except OSError:
            os.ftruncate(self._fd, self.size_bytes)
            os.lseek(self._fd, self.size_bytes, os.SEEK_SET)
            raise
        self.size_bytes += len(data)

    def close(self) -> None:
        """Let the file go, on disk."""
        os.fsync(self._fd)
        os.close(self._fd)


class JournalReader:
    """Reads the whole blocks of a journal; `cut_bytes` tells after that what a crash cut short."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut_bytes = 0

    def samples(self) -> Iterator[Sample]:
        """Each sample, oldest first. Raises ForeignJournal, or OSError when it can't be read."""
        decoder = msgspec.msgpack.Decoder(Sample)
        with self.path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            self._check_header(file.read(_HEADER.size))
            while True:
                at = file.tell()
                sample = self._next(file.read(_BLOCK.size), file, decoder)
                if sample is None:
                    self.cut_bytes = size_bytes - at
                    return
                yield sample

    def _check_header(self, head: bytes) -> None:
        if len(head) < _HEADER.size:
            raise ForeignJournal(f"{self.path.name}: found {len(head)} bytes, less than a header")
        magic, version = _HEADER.unpack(head)
        if magic != MAGIC:
            raise ForeignJournal(f"{self.path.name}: found {head[:16]!r}, which is no journal")
        if version > VERSION:
            raise ForeignJournal(
                f"{self.path.name}: found journal version {version}, known is {VERSION}"
            )

    @staticmethod
    def _next(
        head: bytes, file: BinaryIO, decoder: msgspec.msgpack.Decoder[Sample]
    ) -> Sample | None:
        if len(head) < _BLOCK.size:
            return None
        length, crc = _BLOCK.unpack(head)
        if length > MAX_BLOCK_BYTES:
            return None
        payload = file.read(length)
        if len(payload) < length or zlib.crc32(payload) != crc:
            return None
        try:
            return decoder.decode(payload)
        except msgspec.DecodeError:
            return None
