"""Owns the line shapes that many /proc texts share: 'key value' and 'key: value'.

Imports errors. Knows nothing of any one file. A line that does not have the shape is a
MalformedLine that names the file; a key that nobody knows is not. `salvaged` reads what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from memtwin.errors import UserError

T = TypeVar("T")
MOST_MALFORMED = 32  # MODEL: different lines; a text with more is not the file it is taken for
# what a kernel prints as a figure, with its sign
_LOWEST, _HIGHEST = -(1 << 63), (1 << 64) - 1


class MalformedLine(UserError):
    """A line of a kernel text that does not have its shape. `line`: as it stands in the text."""

    def __init__(self, message: str, line: str) -> None:
        super().__init__(message)
        self.line = line


class Salvage(NamedTuple):
    """What could be read of a text. `dropped`: how many lines could not, `why`: of the first."""

    record: object | None
    dropped: int
    why: str


def no_match(path: str, line: str, allowed: str) -> MalformedLine:
    """The error for a `line` of `path` that does not have the shape `allowed`."""
    return MalformedLine(f"{path}: found line {line[:80]!r}, allowed is {allowed}", line)


def salvaged(parse: Callable[[str], object], text: str) -> Salvage:
    """The record of `text` without the lines that `parse` finds malformed; None if that fails too.

    >>> salvaged(lambda text: parse_flat(text, "/proc/vmstat"), "pgfault 806\\npgfree x\\n").dropped
    1
    """
    why, dropped = "", 0
    for _ in range(MOST_MALFORMED + 1):
        try:
            return Salvage(parse(text), dropped, why)
        except MalformedLine as fault:
            why = why or str(fault)
            lines = text.splitlines()
            kept = [line for line in lines if line != fault.line]
            if len(kept) == len(lines):
                break
            dropped += len(lines) - len(kept)
            text = "\n".join(kept)
        except UserError as fault:
            why = why or str(fault)
            break
    return Salvage(None, dropped, why)


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
        if len(words) != 2:
            raise no_match(path, line, "'name NUMBER'")
        figures[words[0]] = whole(words[1], path, line)
    return figures


def render_flat(figures: dict[str, int]) -> str:
    """The text of `figures`, one 'name NUMBER' line each, in their order."""
    return "".join(f"{name} {figure}\n" for name, figure in figures.items())


def parse_figure(text: str, path: str) -> int:
    """The one whole number of a text such as memory.current."""
    return whole(text.strip(), path, text.rstrip("\n"))


def whole(word: str, path: str, line: str) -> int:
    """`word` as a whole number of at most 64 bits; the error names `path` and `line`."""
    try:
        figure = int(word)
    except ValueError:
        raise no_match(path, line, f"a whole number where {word[:40]!r} stands") from None
    if not _LOWEST <= figure <= _HIGHEST:
        raise no_match(path, line, f"a figure of 64 bits where {word[:40]!r} stands")
    return figure


def whole_of_unit(value: str, unit: str, path: str, line: str) -> int:
    """The figure of `value`, "NUMBER UNIT" or a bare number; any other unit is malformed.

    >>> whole_of_unit("221316 kB", "kB", "/proc/meminfo", "MemTotal: 221316 kB")
    221316
    """
    figure = whole(value.removesuffix(unit).strip(), path, line)
    if figure < 0:
        raise no_match(path, line, "no figure below 0")
    return figure
