"""Owns what `--root` may name: this host, a captured tree, an archive of one, or a mounted twin.

Imports errors, observe/source and, for what was captured, its manifest. Knows nothing of what is
read. A figure that was absent when the tree was captured is absent for the reason it was then.
"""

from __future__ import annotations

from pathlib import Path

from memtwin.errors import UserError
from memtwin.observe.source import TextSource, Tree, TreeSource

MANIFEST = "memtwin-manifest.json"


def source_at(root: Path) -> Tree:
    """The texts at `root`. Raises UserError when it is neither a directory nor an archive."""
    if root.is_dir():
        if root != Path("/") and (root / MANIFEST).is_file():
            return CapturedTree(root)
        return TreeSource(root)
    if root.is_file():
        from memtwin.observe.archive import open_archive

        return CapturedTexts(open_archive(root))
    raise UserError(f"--root: found {str(root)!r}, allowed is a directory or a captured archive")


class CapturedTree(TreeSource):
    """A directory with a manifest."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._then = _reasons(self.read_bytes(f"/{MANIFEST}"))

    def keep_reason(self, path: str, why: str, word: str) -> None:
        """Keep why `path` could not be read when it was captured, if the manifest says so."""
        super().keep_reason(path, self._then.get(path, why), word)


class CapturedTexts(TextSource):
    """An archive with a manifest."""

    def __init__(self, source: TextSource) -> None:
        super().__init__(source.texts)
        self.reasons = _reasons(self.texts.get(f"/{MANIFEST}", "").encode())


def _reasons(manifest: bytes | None) -> dict[str, str]:
    """path -> why it was absent; nothing for a tree without a manifest that can be read."""
    from memtwin.observe.tree_capture import decoded

    if not manifest:
        return {}
    try:
        absent = decoded(manifest).absent
    except UserError:
        return {}
    return {one.what: f"{one.why}, when it was captured" for one in absent}
