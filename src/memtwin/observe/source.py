"""Owns where texts come from: a live host, a captured tree, a mapping of path to text, or the
twin.

Imports errors and observe/beneath. Knows nothing of what a text means. A path is absolute as on
the machine ("/proc/meminfo"). Names and texts that are not UTF-8 carry their bytes as surrogates
(PEP 383); `printable` makes them fit to be shown.
"""

from __future__ import annotations

import errno
import fnmatch
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

MOST_BYTES = 64 << 20  # MODEL: of one text; smaps of 65530 areas (vm.max_map_count) has 50 MB
MOST_NAMES = 1 << 20  # MODEL: of one directory; a hostile tree may hold any number
_MOST_REASONS = 4096  # kept by path; all are counted
_CHUNK_BYTES = 1 << 16
_LIVE_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
# errno -> the word a failed read is counted under
_WORDS = {
    errno.ENOENT: "gone",
    errno.ESRCH: "gone",  # the process ended between open and read
    errno.ENOTDIR: "gone",
    errno.EACCES: "not permitted",
    errno.EPERM: "not permitted",
    errno.EXDEV: "a link out of the tree",
    errno.ELOOP: "a loop of links",
    errno.EINVAL: "refused by the kernel",
}


class Source(Protocol):
    """Whatever can be asked for the text of a path."""

    def read(self, path: str) -> str | None:
        """The text of `path`, or None when there is no such file or no permission."""
        ...


class Tree(Source, Protocol):
    """A source that also says which names there are."""

    def names(self, directory: str) -> list[str]:
        """What lies directly in `directory` ("/proc", no slash at the end): names, sorted.

        Empty when there is no such directory or it may not be read.
        """
        ...


class ReasonedTree(Tree, Protocol):
    """A tree that keeps why a text could not be read."""

    reasons: dict[str, str]

    def read_bytes(self, path: str) -> bytes | None:
        """The bytes of `path`, or None when it can't be read."""
        ...

    def why_not(self, path: str) -> str:
        """Why `path` could not be read, in words."""
        ...


class TreeSource:
    """Files below a root directory: "/" is the live host, anything else a captured tree.

    Of a captured tree nothing outside of it is ever read, nothing but regular files is opened, and
    no text is longer than `MOST_BYTES`. `counts` says how many reads failed, by reason.
    """

    def __init__(self, root: str | Path = "/") -> None:
        self._root_fd = -1
        self.root = Path(root)
        self.is_live = os.path.realpath(self.root) == "/"
        self.reasons: dict[str, str] = {}  # path -> why the last read of it failed
        self.counts: Counter[str] = Counter()  # reason -> reads that failed for it

    def read(self, path: str) -> str | None:
        """The text of `path` below the root; None (and the reason kept) when it can't be read."""
        data = self.read_bytes(path)
        return None if data is None else data.decode(errors="surrogateescape")

    def read_bytes(self, path: str, most_bytes: int = MOST_BYTES) -> bytes | None:
        """The bytes of `path`; what is longer than `most_bytes` ends with its last whole line."""
        try:
            return self.bytes_of(path, most_bytes)
        except (OSError, ValueError) as error:
            self.failed(path, error)
            return None

    def bytes_of(self, path: str, most_bytes: int = MOST_BYTES) -> bytes:
        """`read_bytes`, but raises OSError or ValueError when `path` can't be read."""
        file = self.open(path)
        try:
            data = _all_of(file, most_bytes)
        finally:
            os.close(file)
        if len(data) > most_bytes:
            self.keep_reason(path, f"cut at {most_bytes} bytes", "too long")
            return data[: data.rfind(b"\n", 0, most_bytes) + 1]
        return data

    def open(self, path: str) -> int:
        """A descriptor for reading `path`. Raises OSError or ValueError when there is none."""
        if self.is_live:
            return os.open(path, _LIVE_FLAGS)
        from memtwin.observe import beneath

        return beneath.open_file(self._root(), path)

    def open_directory(self, path: str) -> int:
        """A descriptor of directory `path`. Raises OSError or ValueError when there is none."""
        if self.is_live:
            return os.open(path, _LIVE_FLAGS | os.O_DIRECTORY)
        from memtwin.observe import beneath

        return beneath.open_directory(self._root(), path)

    def _root(self) -> int:
        if self._root_fd < 0:
            self._root_fd = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._root_fd

    def failed(self, path: str, error: OSError | ValueError) -> None:
        """Keep and count why reading `path` failed."""
        why = str(error)
        if isinstance(error, OSError):
            why = error.strerror or type(error).__name__
            if error.errno == errno.EXDEV:
                why = "a link that leads out of the tree"
        self.keep_reason(path, why, reason_word(error))

    def keep_reason(self, path: str, why: str, word: str) -> None:
        """Keep `why` of `path`, counted under `word`; of very many paths, only the latest."""
        if len(self.reasons) >= _MOST_REASONS:
            del self.reasons[next(iter(self.reasons))]
        self.reasons[path] = why
        self.counts[word] += 1

    def why_not(self, path: str) -> str:
        """Why `path` could not be read, in words for a comment."""
        return f"{path}: {self.reasons.get(path, 'not there')}"

    def names(self, directory: str) -> list[str]:
        """What lies directly in `directory` below the root, sorted."""
        try:
            fd = self.open_directory(directory)
        except (OSError, ValueError) as error:
            self.failed(directory, error)
            return []
        try:
            with os.scandir(fd) as entries:
                found = [entry.name for entry in itertools.islice(entries, MOST_NAMES + 1)]
        except OSError as error:
            self.failed(directory, error)
            return []
        finally:
            os.close(fd)
        if len(found) > MOST_NAMES:
            self.keep_reason(directory, f"cut at {MOST_NAMES} names", "too long")
            found.pop()
        return sorted(found)

    def link(self, path: str) -> str | None:
        """Where the link `path` (such as /proc/1/exe) points, as it stands; None without one.

        It is read, never followed.
        """
        directory, _, name = path.rpartition("/")
        try:
            fd = self.open_directory(directory or "/")
            try:
                return os.readlink(name, dir_fd=fd)
            finally:
                os.close(fd)
        except (OSError, ValueError) as error:
            self.failed(path, error)
            return None

    def glob(self, pattern: str) -> list[str]:
        """Paths that match `pattern` ("/sys/block/*"), sorted."""
        found = [""]
        for part in pattern.strip("/").split("/"):
            found = [
                f"{path}/{name}"
                for path in found
                for name in fnmatch.filter(self.names(path or "/"), part)
            ]
        return sorted(found)

    def close(self) -> None:
        """Let go of the root directory."""
        if self._root_fd >= 0:
            os.close(self._root_fd)
            self._root_fd = -1

    def __del__(self) -> None:
        self.close()


def reason_word(error: OSError | ValueError) -> str:
    """The word that a failed read is counted under.

    >>> reason_word(ProcessLookupError(3, "No such process"))
    'gone'
    """
    if not isinstance(error, OSError):
        return "no possible name"
    why = error.strerror or type(error).__name__
    return "not a file" if why.endswith("not a file") else _WORDS.get(error.errno or 0, why)


def _all_of(file: int, most_bytes: int) -> bytes:
    """What `file` holds, read until one byte more than `most_bytes` at the most."""
    data = os.read(file, _CHUNK_BYTES)
    if not data:
        return data
    parts, size_bytes = [data], len(data)
    while size_bytes <= most_bytes and (data := os.read(file, _CHUNK_BYTES)):
        parts.append(data)
        size_bytes += len(data)
    return b"".join(parts)


class SmallFiles:
    """Many small files below one directory, each read by one call: one open, one read, one close.

    A name is a path below `directory` ("1/stat"). What is longer than `most_bytes` is cut there.
    """

    def __init__(self, source: Source, directory: str, most_bytes: int = 8192) -> None:
        self._live_fd = -1
        self.source = source
        self.directory = directory
        self.most_bytes = most_bytes
        if isinstance(source, TreeSource) and source.is_live:
            self._live_fd = os.open(directory, _LIVE_FLAGS | os.O_DIRECTORY)

    def read(self, name: str) -> bytes:
        """The bytes of `name`. Raises OSError or ValueError when it can't be read."""
        if self._live_fd >= 0:
            file = os.open(name, _LIVE_FLAGS, dir_fd=self._live_fd)
        elif isinstance(self.source, TreeSource):
            file = self.source.open(f"{self.directory}/{name}")
        else:
            return self._of_text(name)[: self.most_bytes]
        try:
            return os.read(file, self.most_bytes)
        finally:
            os.close(file)

    def read_whole(self, name: str) -> bytes:
        """The bytes of `name`, however many up to MOST_BYTES; errors as those of `read`."""
        if isinstance(self.source, TreeSource):
            return self.source.bytes_of(f"{self.directory}/{name}")
        return self._of_text(name)

    def line_count(self, name: str, piece_bytes: int = 4096) -> int:
        """How many lines `name` has, read in short pieces: each holds what it locks but briefly.

        Errors as those of `read`, unless some of it could be read.
        """
        if not isinstance(self.source, TreeSource):
            return self._of_text(name).count(b"\n")
        file = self.source.open(f"{self.directory}/{name}")
        count = 0
        try:
            while piece := os.read(file, piece_bytes):
                count += piece.count(b"\n")
        except OSError:
            if not count:
                raise
        finally:
            os.close(file)
        return count

    def _of_text(self, name: str) -> bytes:
        text = self.source.read(f"{self.directory}/{name}")
        if text is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return text.encode(errors="surrogateescape")

    def owner(self, name: str) -> int | None:
        """The uid that owns `name` on the live host; None elsewhere: a copy has another's."""
        if self._live_fd < 0:
            return None
        return os.stat(name, dir_fd=self._live_fd).st_uid

    def __del__(self) -> None:
        if self._live_fd >= 0:
            os.close(self._live_fd)


class TextSource:
    """Texts held in a mapping: a checkpoint of a recorded machine, or an archive's."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self.reasons: dict[str, str] = {}  # path -> why it is not among them, where that is known

    def read(self, path: str) -> str | None:
        """The text of `path`, or None."""
        return self.texts.get(path)

    def read_bytes(self, path: str) -> bytes | None:
        """The bytes of `path`, or None."""
        text = self.texts.get(path)
        return None if text is None else text.encode(errors="surrogateescape")

    def why_not(self, path: str) -> str:
        """Why `path` is not there, in words."""
        return f"{path}: {self.reasons.get(path, os.strerror(errno.ENOENT))}"

    def names(self, directory: str) -> list[str]:
        """What lies directly in `directory`, sorted."""
        return names_below(directory, self.texts)


def paths_below(tree: Tree, directory: str) -> Iterator[str]:
    """Paths of all files below `directory`, in order."""
    for name in tree.names(directory):
        path = f"{directory.rstrip('/')}/{name}"
        if tree.names(path):
            yield from paths_below(tree, path)
        else:
            yield path


def names_below(directory: str, paths: Iterable[str]) -> list[str]:
    """The first part of each of `paths` below `directory`, sorted, each once.

    >>> names_below("/proc", ["/proc/1/stat", "/proc/1/maps", "/proc/stat", "/sys/x"])
    ['1', 'stat']
    """
    prefix = directory.rstrip("/") + "/"
    below = {path[len(prefix) :].partition("/")[0] for path in paths if path.startswith(prefix)}
    return sorted(below)


def printable(text: str) -> str:
    r"""`text` with control signs and bytes that are no UTF-8 as \xNN: nothing a terminal obeys.

    >>> print(printable("caf\xe9 \udcff\x1b[2J"))
    café \xff\x1b[2J
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _escaped(one) for one in text)


def _escaped(one: str) -> str:
    code = ord(one)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that surrogateescape kept
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
