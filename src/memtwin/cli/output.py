"""Owns where results go: files written whole or not at all, progress bars on stderr, notes.

Imports errors. rich is imported only when something is shown. Knows nothing of what is written.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import memtwin
from memtwin.errors import UserError

Step = Callable[[float, float, str], None]  # done, of how much, what is going on


def check_writable(path: Path | None, option: str) -> None:
    """Raise UserError now if `path` could not be written when the work is done."""
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{option}: found a directory {path}, allowed is the name of a file")
    parent = path.absolute().parent
    if not parent.is_dir():
        raise UserError(f"{option}: {parent}: no such directory")
    if not os.access(parent, os.W_OK):
        raise UserError(f"{option}: {parent}: may not be written")


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path`, or leave what was there: beside it first, then renamed over it."""
    temporary = ""
    try:
        if path.exists() and not path.is_file():  # a pipe or device has no half-written state
            path.write_text(text, encoding="utf-8")
            return
        fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.absolute().parent)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException as fault:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        if isinstance(fault, OSError):
            raise UserError(f"{path}: {fault.strerror}") from None
        raise


def note(text: str) -> None:
    """One line on stderr."""
    print(f"memtwin: {text}", file=sys.stderr)


def note_mode() -> None:
    """Say so when the hot rooms run interpreted: the same answers, a hundred times slower."""
    if not memtwin.compiled():
        note("the compiled core is not built, this will be slow; `make build` makes it")


@contextlib.contextmanager
def progress(title: str) -> Iterator[Step]:
    """A progress bar on stderr while the block runs; nothing at all unless that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total, what: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=32),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[what]}", markup=True),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=None, what="")

        def step(done: float, total: float, what: str) -> None:
            bar.update(task, completed=done, total=total or None, what=what)

        yield step
