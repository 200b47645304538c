"""Owns how one table of a description is read: each key once, its type and range checked, none
left over.

Imports errors and units. Knows nothing of what a key means. Every mistake is one UserError line
that names the file, the key, what was found and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memtwin.errors import UserError
from memtwin.units import format_size, parse_size


class Fields:
    """Reads the keys of one table; `finish` refuses the keys that nobody asked for."""

    def __init__(self, table: object, where: str) -> None:
        if not isinstance(table, Mapping):
            raise UserError(f"{where}: found {table!r}, allowed is a table of keys")
        self.table: Mapping[str, object] = table
        self.where = where
        self._asked: list[str] = []

    def has(self, key: str) -> bool:
        """Whether the table has `key`."""
        self._asked.append(key)
        return key in self.table

    def fail(self, key: str, allowed: str) -> UserError:
        """The error for `key`, to be raised by the caller."""
        found = repr(self.table[key]) if key in self.table else "nothing"
        return UserError(f"{self.where}: {key}: found {found}, allowed is {allowed}")

    def text(self, key: str, default: str, allowed: Sequence[str] = ()) -> str:
        """The text of `key`; one of `allowed` when given."""
        value = self.table[key] if self.has(key) else default
        if not isinstance(value, str) or (allowed and value not in allowed):
            raise self.fail(key, "one of " + ", ".join(allowed) if allowed else "a text")
        return value

    def whole(self, key: str, default: int | None, least: int, most: int) -> int:
        """The whole number of `key`, least .. most; a default of None makes the key obligatory."""
        value = self.table[key] if self.has(key) else default
        if isinstance(value, str) and value.strip().lstrip("-").isdigit():
            value = int(value)  # from --set
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.fail(key, f"a whole number {least} .. {most}")
        return value

    def number(self, key: str, default: float | None, least: float, most: float) -> float:
        """The number of `key`, least .. most."""
        value = self.table[key] if self.has(key) else default
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise self.fail(key, f"a number {least:g} .. {most:g}") from None
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise self.fail(key, f"a number {least:g} .. {most:g}")
        if not least <= value <= most:
            raise self.fail(key, f"a number {least:g} .. {most:g}")
        return float(value)

    def size(self, key: str, default: int | None, least: int, most: int) -> int:
        """The bytes of `key` ("128M", or a number of bytes), least .. most."""
        value = self.table[key] if self.has(key) else default
        allowed = f"a size {format_size(least)} .. {format_size(most)}"
        if isinstance(value, str):
            try:
                value = parse_size(value)
            except UserError:
                raise self.fail(key, allowed) from None
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.fail(key, allowed)
        return value

    def yes_or_no(self, key: str, default: bool) -> bool:  # noqa: FBT001 (a default, not a mode)
        """true or false of `key`; --set may write true, false, on, off, 1, 0."""
        value = self.table[key] if self.has(key) else default
        if isinstance(value, str):
            value = {
                "true": True,
                "on": True,
                "1": True,
                "false": False,
                "off": False,
                "0": False,
            }.get(value)
        if not isinstance(value, bool):
            raise self.fail(key, "true or false")
        return value

    def tables(self, key: str) -> list[Fields]:
        """The list of tables at `key`; empty when there is none."""
        value = self.table[key] if self.has(key) else []
        if not isinstance(value, list):
            raise self.fail(key, f"a list of tables [[{key}]]")
        return [Fields(table, f"{self.where}: {key} {n + 1}") for n, table in enumerate(value)]

    def sub(self, key: str) -> Fields | None:
        """The table at `key`, or None."""
        if not self.has(key):
            return None
        return Fields(self.table[key], f"{self.where}: [{key}]")

    def finish(self) -> None:
        """Refuse keys that were not asked for."""
        for key in self.table:
            if key not in self._asked:
                known = ", ".join(sorted(set(self._asked)))
                raise UserError(f"{self.where}: found unknown key {key!r}, known are {known}")
