"""Owns telling what a file or directory can show: a checkpoint of a result, a script or case or
recording to be run now, or a captured tree.

Imports observe; what runs a twin (mount/live.py) only when one is to be run. Knows nothing of
mounting.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from memtwin.errors import UserError
from memtwin.mount.checkpoint_tree import CheckpointTree
from memtwin.mount.wanted import Opened, Progress, Wanted
from memtwin.observe.source import TreeSource
from memtwin.units import GIB

_TRACE_MAGIC = b"PAR1"  # a trace is a Parquet file: docs/data/trace.md
_LARGEST_RESULT_BYTES = 4 * GIB


def open_result(path: Path, wanted: Wanted, progress: Progress | None = None) -> Opened:
    """What `path` shows. Raises UserError when it is nothing that can be shown."""
    if path.is_dir():
        return _open_directory(path, wanted)
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_TRACE_MAGIC))
            if head == _TRACE_MAGIC:
                from memtwin.mount.live import open_recording

                return open_recording(path, wanted, progress)
            text = (head + stream.read(_LARGEST_RESULT_BYTES)).decode()
    except OSError as fault:
        raise UserError(f"{path}: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: found neither text nor a recording, allowed is a result of `memtwin run`, a"
            " script, a case, a recording or a directory with proc/"
        ) from None
    if not text.lstrip().startswith("{"):
        _refuse(path, "a script, which sets limits itself", wanted, "limit")
        from memtwin.mount.live import open_script

        return open_script(text, path, wanted, progress)
    return _open_json(path, text, wanted, progress)


def _open_directory(path: Path, wanted: Wanted) -> Opened:
    _refuse(path, "a directory, which stands still", wanted, "at", "play", "machine", "limit")
    tree = TreeSource(path)
    if not tree.names("/proc"):
        raise UserError(f"{path}: found no proc/ in it, allowed is a tree with proc/ and sys/")
    return Opened(tree, f"the tree {path}")


def _open_json(path: Path, text: str, wanted: Wanted, progress: Progress | None) -> Opened:
    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError as fault:
        raise UserError(f"{path}: found no valid JSON: {fault}") from None
    if isinstance(found, dict) and "checkpoints" in found:
        _refuse(path, "a result, which stands still", wanted, "play", "machine", "limit")
        return _open_checkpoint(path, found["checkpoints"], wanted.at)
    if isinstance(found, dict) and {"case", "start"} <= set(found):
        _refuse(path, "a case, which names its machine", wanted, "machine", "limit")
        from memtwin.mount.live import open_case

        return open_case(found, path, wanted, progress)
    keys = ", ".join(found) if isinstance(found, dict) else type(found).__name__
    raise UserError(f"{path}: found JSON with {keys}, allowed is a result or a case")


def _open_checkpoint(path: Path, checkpoints: Any, at: str | None) -> Opened:
    if not isinstance(checkpoints, list) or not all(isinstance(p, dict) for p in checkpoints):
        raise UserError(f"{path}: found no list of checkpoints in it")
    names = [str(point.get("name")) for point in checkpoints]
    if not names:
        raise UserError(f"{path}: found no checkpoint in it")
    name = names[-1] if at is None else at
    if name not in names:
        raise UserError(f"--at: found {name!r}, {path} has {', '.join(names)}")
    texts = checkpoints[names.index(name)].get("files")
    if not isinstance(texts, dict):
        raise UserError(f"{path}: found a checkpoint {name!r} without files")
    return Opened(CheckpointTree(texts), f"{path} at {name}")


def _refuse(path: Path, what: str, wanted: Wanted, *options: str) -> None:
    given = {
        "at": wanted.at is not None,
        "play": wanted.play_speed is not None,
        "machine": wanted.config_chosen,
        "limit": wanted.limit_bytes is not None,
    }
    for option in options:
        if given[option]:
            more = " (or --swap, --set)" if option == "machine" else ""
            raise UserError(f"--{option}{more}: {path} is {what}: leave it out")
