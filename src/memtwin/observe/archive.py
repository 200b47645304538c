"""Owns a captured tree in an archive (.tar.zst) as a source of texts. Nothing is ever extracted.

Imports errors and observe/source. Knows nothing of what a text means.
"""

from __future__ import annotations

import tarfile
from pathlib import Path, PurePosixPath

from memtwin.errors import UserError
from memtwin.observe.source import MOST_BYTES, TextSource

MOST_ARCHIVE_BYTES = 1 << 30  # MODEL: of all texts together; a hostile archive may unpack to any
MOST_MEMBERS = 1 << 18  # MODEL: twenty files of ten thousand processes


def open_archive(path: Path) -> TextSource:
    """The texts of the archive at `path`. Raises UserError when it is none, or too large."""
    import pyarrow as pa  # type: ignore[import-untyped]

    texts: dict[str, str] = {}
    total_bytes = 0
    try:
        with (
            pa.OSFile(str(path), "rb") as file,
            pa.CompressedInputStream(file, "zstd") as packed,
            tarfile.open(fileobj=packed, mode="r|") as tar,
        ):
            for count, member in enumerate(tar):
                if count >= MOST_MEMBERS or total_bytes > MOST_ARCHIVE_BYTES:
                    raise UserError(f"{path}: found more than memtwin reads of an archive")
                name = PurePosixPath("/", member.name)
                if not member.isreg() or ".." in name.parts or member.size > MOST_BYTES:
                    continue
                content = tar.extractfile(member)
                text = b"" if content is None else content.read()
                total_bytes += len(text)
                texts[str(name)] = text.decode(errors="surrogateescape")
    except (tarfile.TarError, OSError, EOFError, ValueError) as fault:
        words = " ".join(str(fault).split())[:200]
        raise UserError(f"{path}: found no archive of a captured tree ({words})") from None
    return TextSource(texts)
