"""Owns the two exceptions of the house, and what stands where a figure is absent.

Imports nothing. Knows nothing of what raises them.

A simulated failure (ENOMEM, SIGSEGV, an OOM kill) is a value, never an exception.
"""

from __future__ import annotations

from typing import NamedTuple


class UserError(Exception):
    """A user's mistake: one line that names what was found and what is allowed; exit status 2."""

    exit_status = 2


class InternalError(AssertionError):
    """Our own bug: names the function and the fact that did not hold."""


class Absent(NamedTuple):
    """A figure that could not be read, and why."""

    what: str
    why: str


def require(holds: object, where: str, fact: str) -> None:
    """Raise InternalError unless `holds`; `where` is `room.function`, `fact` what was violated."""
    if not holds:
        raise InternalError(f"{where}: {fact}")
