"""Owns how a script names places and values of pointers: `A`, `A[8]`, `A[8][0]`, `A+16`, `NULL`.

Imports errors. A name is a variable; `[N]` follows the pointer and takes the word N bytes into the
block; `+N` is a pointer N bytes further. Whose variables and words they are it never knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from memtwin.errors import UserError

NULL = "NULL"
_FORM = re.compile(r"([A-Za-z_][\w.]*)((?:\[\d+\])*)(?:\+(\d+))?")
_STEP = re.compile(r"\[(\d+)\]")
_WORD_BYTES = 8


@dataclass(frozen=True)
class Place:
    """A variable, or a word that is reached from it; as a value, what stands there plus `plus`."""

    name: str  # "" for NULL
    steps: tuple[int, ...] = ()
    plus: int = 0


def parse_value(text: str) -> Place:
    """A pointer that a script writes; UserError says the forms.

    >>> parse_value("list[8][0]+16")
    Place(name='list', steps=(8, 0), plus=16)
    """
    if text == NULL:
        return Place("")
    match = _FORM.fullmatch(text)
    if match is None:
        raise UserError(f"found {text!r}, allowed is NAME, NAME[N], NAME+N or NULL")
    steps = tuple(int(step) for step in _STEP.findall(match[2]))
    for step in steps:
        if step % _WORD_BYTES:
            raise UserError(f"found {text!r}, allowed in [ ] are multiples of 8: pointers' places")
    return Place(match[1], steps, int(match[3] or 0))


def parse_place(text: str) -> Place:
    """A place that a pointer can be stored in; UserError says the forms."""
    place = parse_value(text)
    if not place.name or place.plus:
        raise UserError(f"found {text!r}, allowed is a place: NAME or NAME[N]")
    return place
