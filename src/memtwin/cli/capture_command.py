"""Owns `memtwin capture --tree`: saves a machine's texts, and says what could not be read.

Imports observe/tree_capture. The kernel's log is read through observe/kernel_log.
"""

from __future__ import annotations

import sys
from pathlib import Path

from memtwin.cli.columns_text import size
from memtwin.observe.source import TreeSource
from memtwin.observe.tree_capture import Choice, Manifest, capture_tree, oom_reports


def capture(root: Path, out: Path, choice: Choice) -> None:
    """Save the texts of `root` at `out`, and tell on stderr how complete they are."""
    manifest = capture_tree(TreeSource(root), out, choice)
    for line in told(manifest, out):
        print(line, file=sys.stderr)


def kept_log() -> str:
    """The OOM reports of this host's kernel log."""
    from memtwin.observe.kernel_log import kernel_log

    return oom_reports(kernel_log() or "")


def told(manifest: Manifest, out: Path) -> list[str]:
    """What there is to say of a captured tree."""
    lines = [f"memtwin: {out}: {manifest.files} files, {size(manifest.size_bytes)}"]
    if manifest.processes:
        lines.append(
            f"memtwin: {manifest.processes_readable} of {manifest.processes} processes readable"
        )
    system = [one for one in manifest.absent if not _is_of_process(one.what)]
    lines += [f"memtwin: absent: {one.what} ({one.why})" for one in system[:10]]
    if len(system) > 10:
        lines.append(f"memtwin: absent: {len(system) - 10} more, in the manifest")
    return lines


def _is_of_process(path: str) -> bool:
    """Whether `path` is /proc/PID/..."""
    parts = path.split("/")
    return len(parts) > 2 and parts[1] == "proc" and parts[2].isdecimal()
