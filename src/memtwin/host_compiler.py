"""Owns building small C programs with the host's compiler on first use, and their cache.

Imports errors only. Knows nothing of what is built. The cache's key is the sources, the flags and
what the caller adds (a version of what it is loaded into), so that an old build is never run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from memtwin.errors import UserError

_WANTED = "apt install gcc libc6-dev"


def cache_directory() -> Path:
    """Where this user's builds are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "memtwin"


def built(what: str, name: str, folder: Path, flags: Sequence[str], *keys: str) -> Path:
    """The file compiled from all `*.c` of `folder` with `flags`; built now if it wasn't.

    `name` is the stem and suffix of the file in the cache ("recorder.so"), `what` names it in
    messages ("the recorder's plugin"), `keys` are further things that make an old build wrong.
    Raises UserError when there is no compiler, it fails, or the cache can't be written.
    """
    sources = sorted(folder.glob("*.[ch]"))
    key = hashlib.blake2b(digest_size=10)
    for part in (" ".join(flags), *keys, *(path.read_text() for path in sources)):
        key.update(part.encode() + b"\0")
    stem, dot, suffix = name.partition(".")
    target = cache_directory() / f"{stem}-{key.hexdigest()}{dot}{suffix}"
    if not target.exists():
        _build(what, [str(path) for path in sources if path.suffix == ".c"], flags, target)
    return target


def _build(what: str, sources: list[str], flags: Sequence[str], target: Path) -> None:
    compiler = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc")
    if compiler is None:
        raise UserError(f"{what} can't be built: found no C compiler (cc); {_WANTED}")
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        run = subprocess.run(
            [compiler, *flags, "-o", str(beside), *sources, "-lpthread"],
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode != 0:
            line = next((x for x in run.stderr.splitlines() if "error" in x), "no reason given")
            raise UserError(f"{what} can't be built: {compiler}: {line.strip()[:160]} ({_WANTED})")
        os.replace(beside, target)
    except OSError as error:
        raise UserError(f"{target.parent}: can't be written ({error.strerror})") from None
    finally:
        beside.unlink(missing_ok=True)
