"""Owns which name belongs to a uid: of this host, or of the tree that is looked at.

Imports observe/source. A uid that nobody knows keeps its number.
"""

from __future__ import annotations

import pwd

from memtwin.observe.source import Source, TreeSource

_PASSWD = "/etc/passwd"


class UserNames:
    """Names by uid; each is looked up once."""

    def __init__(self, source: Source) -> None:
        self._live = isinstance(source, TreeSource) and source.is_live
        self._names = {} if self._live else _names_of(source.read(_PASSWD) or "")

    def name(self, uid: int | None) -> str:
        """The name of `uid`, its number when it has none, "?" when the uid is not known."""
        if uid is None:
            return "?"
        name = self._names.get(uid)
        if name is None:
            name = self._names[uid] = _host_name(uid) if self._live else str(uid)
        return name


def _host_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)


def _names_of(text: str) -> dict[int, str]:
    names: dict[int, str] = {}
    for line in text.splitlines():
        words = line.split(":")
        if len(words) > 2 and words[2].isascii() and words[2].isdigit() and len(words[2]) < 11:
            names.setdefault(int(words[2]), words[0])
    return names
