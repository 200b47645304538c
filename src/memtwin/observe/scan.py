"""Owns the line shapes that many /proc texts share: 'key value' and 'key: value'.

Imports errors. Knows nothing of any one file. A line that does not have the shape is a UserError
that names the file; a key that nobody knows is not.
"""

from __future__ import annotations

from collections.abc import Iterator

from memtwin.errors import UserError


def no_match(path: str, line: str, allowed: str) -> UserError:
    """The error for a `line` of `path` that does not have the shape `allowed`."""
    return UserError(f"{path}: found line {line[:80]!r}, allowed is {allowed}")


def keyed_lines(text: str) -> Iterator[tuple[str, str, str]]:
    """(key, value, line) of each 'key: value' line; other lines are passed over."""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.strip(), value.strip(), line


def parse_flat(text: str, path: str) -> dict[str, int]:
    """name -> figure of a text of 'name NUMBER' lines (vmstat, memory.stat, memory.events).

    >>> parse_flat("pgfault 806\\npgmajfault 0\\n", "/proc/vmstat")
    {'pgfault': 806, 'pgmajfault': 0}
    """
    figures: dict[str, int] = {}
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        if len(words) != 2 or not words[1].lstrip("-").isdigit():
            raise no_match(path, line, "'name NUMBER'")
        figures[words[0]] = int(words[1])
    return figures


def render_flat(figures: dict[str, int]) -> str:
    """The text of `figures`, one 'name NUMBER' line each, in their order."""
    return "".join(f"{name} {figure}\n" for name, figure in figures.items())


def parse_figure(text: str, path: str) -> int:
    """The one whole number of a text such as memory.current."""
    word = text.strip()
    if not word.lstrip("-").isdigit():
        raise no_match(path, word, "one whole number")
    return int(word)


def whole(word: str, path: str, line: str) -> int:
    """`word` as a whole number; the error names `path` and `line`."""
    try:
        return int(word)
    except ValueError:
        raise no_match(path, line, f"a whole number where {word!r} stands") from None
