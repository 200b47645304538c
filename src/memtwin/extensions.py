"""Owns the two modes: which of `X.py` and its compiled extension is imported, and what is stale.

Imports nothing of memtwin, and little else: it runs before all other rooms. Knows nothing of what
the rooms do. A module is compiled when an `X.pxd` lies beside its `X.py`. An extension carries the
digest of the sources it was made from; one made from other sources is refused, never run.
"""

from __future__ import annotations

import importlib.machinery
import os
import re
import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from pathlib import Path
from types import ModuleType

PACKAGE = "memtwin"
PACKAGE_DIR = Path(__file__).parent
SHARED_UTILITY = "_cyutility"  # Cython's helpers, compiled once for all extensions
DIGEST_MARK = b"memtwin-source-digest:"
_DIGEST_HEX = 32
_CIMPORT = re.compile(
    rf"^\s*(?:from\s+({PACKAGE}[\w.]*)\s+cimport|cimport\s+({PACKAGE}[\w.]*))", re.M
)


class Mode(Enum):
    """How the hot rooms of this process run."""

    COMPILED = "compiled"
    INTERPRETED = "interpreted"


class StaleExtension(ImportError):
    """An extension was built from other sources than the ones beside it."""


def compiled_sources() -> list[Path]:
    """Every `.py` that is to be compiled: the ones with a `.pxd` beside them, in order of path."""
    return sorted(
        pxd.with_suffix(".py")
        for pxd in PACKAGE_DIR.rglob("*.pxd")
        if pxd.with_suffix(".py").exists()
    )


def extension_of(source: Path) -> Path:
    """Where the extension of `source` lies once built, for the running interpreter."""
    return source.with_name(source.stem + EXTENSION_SUFFIXES[0])


def module_name(source: Path) -> str:
    """Dotted name of the module in `source`."""
    return ".".join((PACKAGE, *source.relative_to(PACKAGE_DIR).with_suffix("").parts))


def _cimported(pxd: Path) -> Iterator[Path]:
    for match in _CIMPORT.finditer(pxd.read_text(encoding="utf-8")):
        parts = (match.group(1) or match.group(2)).split(".")[1:]
        yield PACKAGE_DIR.joinpath(*parts).with_suffix(".pxd")


def inputs_of(source: Path) -> list[Path]:
    """What decides the code of the extension: the `.py`, its `.pxd` and all they cimport."""
    found = {source.with_suffix(".pxd")}
    todo = list(found)
    while todo:
        for header in _cimported(todo.pop()):
            if header not in found and header.exists():
                found.add(header)
                todo.append(header)
    return [source, *sorted(found)]


def source_digest(source: Path) -> str:
    """32 hexadecimal digits over the inputs of `source`'s extension."""
    import hashlib  # only a build, or a doubt about an extension's age, gets here

    digest = hashlib.blake2b(digest_size=_DIGEST_HEX // 2)
    for path in inputs_of(source):
        digest.update(str(path.relative_to(PACKAGE_DIR)).encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def embedded_digest(extension: Path) -> str:
    """The digest that the build put into `extension`, or "" when there is none."""
    content = extension.read_bytes()
    at = content.find(DIGEST_MARK)
    start = at + len(DIGEST_MARK)
    return "" if at < 0 else content[start : start + _DIGEST_HEX].decode("ascii", "replace")


def is_stale(source: Path) -> bool:
    """Whether the extension of `source` is missing or was built from other sources.

    The build gives an extension the time of its newest input, so files that are no newer than
    the extension need not be read: importing stays cheap.
    """
    extension = extension_of(source)
    if not extension.exists():
        return True
    built_ns = extension.stat().st_mtime_ns
    if all(path.stat().st_mtime_ns <= built_ns for path in inputs_of(source)):
        return False
    return embedded_digest(extension) != source_digest(source)


def any_built() -> bool:
    """Whether `make build` has run for this interpreter."""
    return (PACKAGE_DIR / (SHARED_UTILITY + EXTENSION_SUFFIXES[0])).exists()


class RoomFinder:  # importlib.abc has a base for it, which costs a third of `import memtwin`
    """Finds `memtwin.*`: only sources when interpreted, else fresh extensions before sources."""

    def __init__(self, mode: Mode) -> None:
        self.mode = mode

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of the house; raises StaleExtension for an outdated one."""
        if not fullname.startswith(PACKAGE + ".") or path is None:
            return None
        if self.mode is Mode.COMPILED:
            spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
            if spec is not None and spec.origin is not None:
                self._refuse_stale(fullname, spec, Path(spec.origin))
            return spec
        details = (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES)
        for entry in path:
            spec = importlib.machinery.FileFinder(entry, details).find_spec(fullname)
            if spec is not None:
                return spec
        return None

    @staticmethod
    def _refuse_stale(fullname: str, spec: ModuleSpec, origin: Path) -> None:
        if isinstance(spec.loader, ExtensionFileLoader):
            source = origin.with_name(origin.name.split(".", 1)[0] + ".py")
            stale = source.with_suffix(".pxd").exists() and is_stale(source)
        else:
            source = origin
            stale = origin.with_suffix(".pxd").exists()  # one room in C, its neighbour not
        if stale:
            raise StaleExtension(
                f"{fullname}: its extension is not built from the present source; "
                "run `make build`, or set MEMTWIN_INTERPRETED=1",
                name=fullname,
                path=str(source),
            )


def install() -> Mode:
    """Decide the mode of this process and install the finder for it."""
    interpreted = os.environ.get("MEMTWIN_INTERPRETED", "") not in ("", "0")
    mode = Mode.INTERPRETED if interpreted or not any_built() else Mode.COMPILED
    sys.meta_path.insert(0, RoomFinder(mode))
    return mode
