"""Owns a twin mounted on this host: from mounting to unmounting, whichever way it ends.

Imports mount's other files and sweep's guardian. The guardian unmounts what is left when this
process is gone, even by SIGKILL. Nothing else of the host is touched.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from memtwin.errors import UserError
from memtwin.mount.fuse import load_mfusepy, serve
from memtwin.mount.nodes import Nodes
from memtwin.mount.wanted import Opened
from memtwin.sweep.host import HostChanges

FUSE_DEVICE = Path("/dev/fuse")
_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def mount_tree(opened: Opened, directory: Path, tell: Callable[[str], None]) -> None:
    """Show `opened` at `directory` (which must exist and be empty) until it is unmounted.

    `tell` hears that all is prepared, just before the first file can be read. Returns after
    `umount`, SIGINT, SIGTERM or SIGHUP. Raises UserError with the reason.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: found no directory, allowed is an existing, empty one")
    if any(directory.iterdir()):
        raise UserError(f"{directory}: found files in it, allowed is an empty directory")
    require_fuse()
    load_mfusepy()
    place = str(directory.resolve())
    source = f"memtwin-{secrets.token_hex(6)}"
    options: dict[str, object] = {"fsname": source, "ro": True, "default_permissions": True}
    if os.geteuid() == 0:
        options["allow_other"] = True  # a mount of root's that only root could read helps nobody
    with HostChanges("mount") as changes:
        changes.ask("unmount", place, source)
        opened.start(tell)
        tell(f"{opened.title} is at {directory} until Ctrl-C or umount {directory}")
        with _signals_for_libfuse():
            serve(Nodes(opened.tree), opened.gate, place, **options)


@contextlib.contextmanager
def _signals_for_libfuse() -> Iterator[None]:
    """Signals that end a process end serving: libfuse only takes those that nobody else handles."""
    kept = {number: signal.signal(number, signal.SIG_DFL) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def require_fuse() -> None:
    """Raise UserError unless this process can talk to FUSE."""
    if not os.access(FUSE_DEVICE, os.R_OK | os.W_OK):
        raise UserError(
            f"mount: {FUSE_DEVICE} is not there or may not be opened, so nothing can be mounted;"
            " --write makes a plain tree"
        )
