"""Owns a checkpoint's texts as a tree: each under the path where a real machine has it.

Imports observe. A checkpoint names processes of its script ("@P/status") and groups below /cg; a
tree has them by number and where distributions mount the hierarchy. Files that a checkpoint does
not hold are absent.
"""

from __future__ import annotations

from collections.abc import Mapping

from memtwin.errors import UserError
from memtwin.observe.cgroup import CGROUP_DIR
from memtwin.observe.processes.files import parse_process_stat, parse_status

_RECORDED_GROUPS = "/cg/"
_V1_MARK = "memory.usage_in_bytes"
_LONGEST_NAME = 255  # include/uapi/linux/limits.h NAME_MAX, v6.12


class CheckpointTree:
    """Texts of one moment as a Tree."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = on_a_machine(checked(texts))
        self._names: dict[str, set[str]] = {}
        for path in self.texts:
            parts = path.strip("/").split("/")
            for depth, name in enumerate(parts):
                self._names.setdefault("/" + "/".join(parts[:depth]), set()).add(name)

    def read(self, path: str) -> str | None:
        """The text of `path`, or None."""
        return self.texts.get(path)

    def names(self, directory: str) -> list[str]:
        """What lies directly in `directory`, sorted; empty when there is no such directory."""
        return sorted(self._names.get(directory.rstrip("/") or "/", ()))


def checked(texts: Mapping[str, object]) -> dict[str, str]:
    """`texts`, which may come from anybody: UserError when one cannot be a file of a tree."""
    found: dict[str, str] = {}
    for path, text in texts.items():
        names = path.removeprefix("/").split("/")
        sound = all(0 < len(name) <= _LONGEST_NAME and "\0" not in name for name in names)
        if not sound or not {".", ".."}.isdisjoint(names):
            raise UserError(f"checkpoint: found the path {path[:80]!r}, allowed are plain paths")
        if not isinstance(text, str) or not _is_text(path) or not _is_text(text):
            raise UserError(f"checkpoint: found no text for {path[:80]!r}")
        found[path] = text
    return found


def _is_text(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def on_a_machine(texts: Mapping[str, str]) -> dict[str, str]:
    """path -> text with every path absolute, as on a machine that shows them.

    >>> sorted(on_a_machine({"@P/stat": "7 (P) S 1", "/cg/g/memory.max": "max"}))
    ['/proc/7/stat', '/proc/7/task/7/stat', '/sys/fs/cgroup/g/memory.max']
    """
    version_1 = any(path.endswith("/" + _V1_MARK) for path in texts)
    groups = f"{CGROUP_DIR}/memory/" if version_1 else f"{CGROUP_DIR}/"
    found: dict[str, str] = {}
    for path, text in texts.items():
        if path.startswith(_RECORDED_GROUPS):
            found.setdefault(groups + path.removeprefix(_RECORDED_GROUPS), text)
        elif path.startswith("/"):
            found[path] = text
    for path, text in texts.items():
        process, slash, name = path.removeprefix("@").partition("/")
        pid = _pid_of(process, texts) if path.startswith("@") and slash else None
        if pid is not None:
            found.setdefault(f"/proc/{pid}/{name}", text)
    return {**found, **_threads(found)}


def _pid_of(process: str, texts: Mapping[str, str]) -> int | None:
    if f"@{process}/stat" in texts:
        return parse_process_stat(texts[f"@{process}/stat"]).pid
    if f"@{process}/status" in texts:
        return parse_status(texts[f"@{process}/status"]).pid
    return None


def _threads(texts: Mapping[str, str]) -> dict[str, str]:
    """Files of each process's one thread: process/task.py has a task a process."""
    found = {}
    for path, text in texts.items():
        parts = path.split("/")
        if len(parts) == 4 and parts[1] == "proc" and parts[2].isdigit():
            found[f"/proc/{parts[2]}/task/{parts[2]}/{parts[3]}"] = text
    return found
