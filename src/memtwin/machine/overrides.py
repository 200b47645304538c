"""Owns `--set KEY=VALUE` and its kin: changes written over a description's table before it is
checked.

Imports errors. Knows the names that may be written, not their ranges: the reader checks those
once.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from typing import Any

from memtwin.errors import UserError

PLAIN = (
    "ram", "nodes", "cpus", "kernel", "layout", "thp", "thp_defrag", "lru_gen", "content", "seed",
    "reserved", "cma",
)  # fmt: skip
TABLES = ("block", "limit")  # block.latency_us=100, limit.memory=128M
_HELP = (
    f"{', '.join(PLAIN)}, limit, swap (disk:SIZE, zram:SIZE or none), vm.NAME, cost.NAME,"
    " block.NAME, limit.NAME"
)


def apply_overrides(table: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of `table` with each "KEY=VALUE" written into it, in order. Raises UserError."""
    changed = deepcopy(table)
    for word in overrides:
        key, equals, value = (part.strip() for part in word.partition("="))
        if not equals or not value:
            raise UserError(f"--set: found {word!r}, allowed is KEY=VALUE with KEY one of {_HELP}")
        _apply(changed, key, value)
    return changed


def _apply(table: dict[str, Any], key: str, value: str) -> None:
    room, _, name = key.partition(".")
    if key.startswith("vm."):
        table.setdefault("sysctl", {})[key] = value
    elif room == "cost" and name:
        table.setdefault("costs", {})[name] = {"value": value, "source": "--set"}
    elif room in TABLES and name:
        table.setdefault(room, {})[name] = value
    elif key == "limit":
        table.setdefault("limit", {})["memory"] = value
    elif key == "swap":
        table["swap"] = swap_tables(value)
    elif key in PLAIN:
        if key in ("ram", "nodes"):
            _drop_ranges(table, key)
        table[key] = value
        if key == "kernel":
            table.pop("layout", None)
            table.pop("lru_gen", None)
    else:
        raise UserError(f"--set: found unknown key {key!r}, known are {_HELP}")


def _drop_ranges(table: dict[str, Any], key: str) -> None:
    ranges = table.pop("memory", None)
    if ranges is not None and key == "nodes":
        raise UserError(
            "--set nodes: the description lists [[memory]] ranges, set ram= as well, first"
        )
    table.pop("reserved", None)


def swap_tables(text: str) -> list[dict[str, Any]]:
    """[[swap]] tables for "none", "disk:1G", "zram:512M", or several joined by commas.

    >>> swap_tables("zram:512M")
    [{'kind': 'zram', 'size': '512M'}]
    """
    if text == "none":
        return []
    tables = []
    for word in text.split(","):
        kind, colon, size = word.partition(":")
        if kind not in ("disk", "zram") or not colon or not size:
            raise UserError(f"swap: found {word!r}, allowed is disk:SIZE, zram:SIZE or none")
        tables.append({"kind": kind, "size": size})
    return tables
