"""Owns what `--root` may name: this host, a captured tree, an archive of one, or a mounted twin.

Imports errors, observe/source and, for what was captured, its manifest. Knows nothing of what is
read. A figure that was absent when the tree was captured is absent for the reason it was then.
"""

from __future__ import annotations

import time
from pathlib import Path

from memtwin.errors import UserError
from memtwin.observe.source import ReasonedTree, TextSource, Tree, TreeSource

MANIFEST = "memtwin-manifest.json"


def source_at(root: Path, word: str = "--root") -> ReasonedTree:
    """The texts at `root`, which `word` named.

    Raises UserError when it is neither a directory nor an archive.
    """
    if root.is_dir():
        if root != Path("/") and (root / MANIFEST).is_file():
            return CapturedTree(root)
        return TreeSource(root)
    if root.is_file():
        from memtwin.observe.archive import open_archive

        return CapturedTexts(open_archive(root))
    raise UserError(f"{word}: found {str(root)!r}, allowed is a directory or a captured archive")


def taken_s(source: Tree) -> float:
    """When what `source` says was so, in seconds since 1970: now, but for what was captured."""
    then: float | None = getattr(source, "taken_s", None)
    return time.time() if then is None else then


class CapturedTree(TreeSource):
    """A directory with a manifest."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._then, self.taken_s = _said(self.read_bytes(f"/{MANIFEST}"))

    def keep_reason(self, path: str, why: str, word: str) -> None:
        """Keep why `path` could not be read when it was captured, if the manifest says so."""
        super().keep_reason(path, self._then.get(path, why), word)


class CapturedTexts(TextSource):
    """An archive with a manifest."""

    def __init__(self, source: TextSource) -> None:
        super().__init__(source.texts)
        manifest = self.texts.get(f"/{MANIFEST}", "")
        self.reasons, self.taken_s = _said(manifest.encode(errors="surrogateescape"))


def _said(manifest: bytes | None) -> tuple[dict[str, str], float | None]:
    """path -> why it was absent, and when; nothing for a tree without a sound manifest."""
    from memtwin.observe.tree_capture import decoded

    if not manifest:
        return {}, None
    try:
        said = decoded(manifest)
    except UserError:
        return {}, None
    return {one.what: f"{one.why}, when it was captured" for one in said.absent}, said.taken_s
