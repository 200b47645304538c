"""Owns finding a machine description by name or path, and the public verbs of descriptions.

Imports the reader, the overrides and the case reader. Knows nothing of booting.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from memtwin.errors import UserError
from memtwin.machine.case import config_from_case
from memtwin.machine.config_reader import config_from_table
from memtwin.machine.description import MachineConfig
from memtwin.machine.overrides import apply_overrides, swap_tables

__all__ = [
    "MachineConfig",
    "config_from_case",
    "config_from_text",
    "load_machine",
    "machine_names",
    "swap_tables",
]


def machine_names() -> dict[str, str]:
    """name -> one sentence, of each machine that is shipped.

    >>> sorted(machine_names())
    ['board-128m', 'container-512m', 'laptop-8g', 'phone-4g', 'server-64g']
    """
    found = {}
    for entry in _shipped().iterdir():
        if entry.name.endswith(".toml"):
            found[entry.name.removesuffix(".toml")] = str(tomllib.loads(entry.read_text())["about"])
    return dict(sorted(found.items()))


def load_machine(name_or_path: str, overrides: Iterable[str] = ()) -> MachineConfig:
    """The description called `name_or_path` (shipped, or a TOML file), changed by `overrides`.

    An override is "KEY=VALUE": "ram=4G", "vm.swappiness=10", "swap=zram:2G", "limit=512M".
    Raises UserError: one line with what was found and what is allowed.

    >>> load_machine("laptop-8g", ["vm.swappiness=10"]).sysctls["vm.swappiness"]
    '10'
    """
    path = Path(name_or_path)
    shipped = _shipped() / f"{name_or_path}.toml"
    if "/" not in name_or_path and shipped.is_file():
        return config_from_text(shipped.read_text(), name_or_path, overrides)
    if not path.is_file():
        names = ", ".join(machine_names())
        raise UserError(
            f"machine: found no {name_or_path!r}, allowed is a TOML file or one of {names}"
        )
    try:
        return config_from_text(path.read_text(), name_or_path, overrides)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"machine: {name_or_path}: found no readable text ({error})") from None


def config_from_text(text: str, where: str, overrides: Iterable[str] = ()) -> MachineConfig:
    """The description in TOML `text`; `where` names it in errors."""
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where}: found no valid TOML: {error}") from None
    return config_from_table(apply_overrides(table, overrides), where)


def _shipped() -> Any:
    return resources.files("memtwin") / "data" / "machines"
