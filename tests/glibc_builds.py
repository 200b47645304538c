"""Owns which C libraries tests can run programs on: the installed one, and builds of others.

MEMTWIN_GLIBCS names a directory with one directory a build, of any name and depth, in which
libc.so.6 and its loader lie: unpacked packages of a distribution, or the libraries of a build of
one's own. A program is linked to them and started by their loader, so nothing is installed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from memtwin.heap.versions import versions

VARIABLE = "MEMTWIN_GLIBCS"
_BANNER = re.compile(rb"GNU C Library [^\n]*? version (\d+\.\d+)")
# libpthread.so.0 has threads of its own before glibc 2.34
_LIBRARIES = ("libc.so.6", "libpthread.so.0")


@dataclass(frozen=True)
class Library:
    """One C library: its version, and how a program is linked to it."""

    version: str
    link_words: tuple[str, ...] = ()  # for gcc, behind the sources; none for the installed one
    directory: Path | None = None

    def __str__(self) -> str:
        return self.version if self.directory else f"{self.version} (installed)"


def installed() -> Library:
    """The C library of this machine; "" for a version where it is not glibc."""
    name, version = platform.libc_ver()
    return Library(version if name == "glibc" else "")


def in_directory(directory: Path) -> Library | None:
    """The C library somewhere under `directory`; None where there is none for this machine."""
    for libc in sorted(directory.rglob("libc.so.6")):
        folder = libc.parent
        found = _BANNER.search(libc.read_bytes())
        loaders = [*folder.glob("ld-linux-x86-64.so.2"), *folder.glob("ld.so")]
        if found is None or not loaders:
            continue
        words = [str(folder / name) for name in _LIBRARIES if (folder / name).exists()]
        path = folder.resolve()
        words += ["-nodefaultlibs", "-lgcc", f"-Wl,--dynamic-linker={loaders[0].resolve()}",
                  f"-Wl,-rpath={path}", "-Wl,--disable-new-dtags"]  # fmt: skip
        return Library(found[1].decode(), tuple(words), path)
    return None


def builds() -> list[Library]:
    """What MEMTWIN_GLIBCS holds, oldest first, of versions that the twin knows."""
    root = os.environ.get(VARIABLE, "")
    if not root:
        return []
    found = [in_directory(path) for path in sorted(Path(root).iterdir()) if path.is_dir()]
    known = [library for library in found if library and library.version in versions()]
    return sorted(known, key=lambda library: versions().index(library.version))


def builds_or_skip() -> list[Library]:
    """The builds, for a module of tests that runs on each; without any it is skipped."""
    found = builds()
    if not found:
        reason = f"no builds of glibc: {VARIABLE} names no directory with any"
        pytest.skip(reason, allow_module_level=True)
    return found


def compile_for(library: Library, sources: Sequence[Path | str], out: Path) -> Path:
    """`out`, made of `sources` (and flags among them), to run on `library`."""
    words = ["gcc", *map(str, sources), "-o", str(out), *library.link_words]
    subprocess.run(words, check=True)
    return out


def why_not(library: Library) -> str:
    """Why nothing can be compared on `library`; "" when it can."""
    if shutil.which("gcc") is None:
        return "no gcc"
    if library.version not in versions() or platform.machine() != "x86_64":
        name = f"glibc {library.version}" if library.version else "a C library that is not glibc"
        return f"{name} on {platform.machine()} is not modelled"
    return ""
