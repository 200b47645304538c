"""Owns the compiled plugin: builds it with the host's compiler on first use, keeps it in a cache.

Imports errors only. The cache's key is the plugin's source, the compiler's flags and the
emulator's version, so that an old build is never loaded.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from memtwin.errors import UserError

_SOURCES = Path(__file__).parent / "plugin"
_FLAGS = ("-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wno-override-init")


def cache_directory() -> Path:
    """Where this user's builds are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "memtwin"


def plugin_path(emulator_version: str) -> Path:
    """The built plugin for `emulator_version`; built now if it wasn't.

    Raises UserError when there is no compiler, it fails, or the cache can't be written.
    """
    sources = sorted(_SOURCES.glob("*.[ch]"))
    key = hashlib.blake2b(digest_size=10)
    for part in (" ".join(_FLAGS), emulator_version, *(p.read_text() for p in sources)):
        key.update(part.encode() + b"\0")
    built = cache_directory() / f"recorder-{key.hexdigest()}.so"
    if not built.exists():
        _build([str(p) for p in sources if p.suffix == ".c"], built)
    return built


def _build(sources: list[str], built: Path) -> None:
    compiler = shutil.which(os.environ.get("CC") or "cc") or shutil.which("gcc")
    if compiler is None:
        raise UserError(
            "the recorder's plugin can't be built: found no C compiler (cc); "
            "apt install gcc libc6-dev"
        )
    beside = built.with_name(f".{built.name}.{os.getpid()}")
    try:
        built.parent.mkdir(parents=True, exist_ok=True)
        run = subprocess.run(
            [compiler, *_FLAGS, "-o", str(beside), *sources, "-lpthread"],
            capture_output=True,
            text=True,
            check=False,
        )
        if run.returncode != 0:
            line = next((x for x in run.stderr.splitlines() if "error" in x), "no reason given")
            raise UserError(
                f"the recorder's plugin can't be built: {compiler}: {line.strip()[:160]} "
                "(apt install gcc libc6-dev)"
            )
        os.replace(beside, built)
    except OSError as error:
        raise UserError(f"{built.parent}: can't be written ({error.strerror})") from None
    finally:
        beside.unlink(missing_ok=True)
