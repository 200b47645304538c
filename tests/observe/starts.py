"""Texts of real kernels, recorded; see tests/data/README.md."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "data" / "starts"
NAMES = ("6.1", "6.1-686", "6.12", "7.3")


@cache
def recorded(name: str) -> dict[str, Any]:
    """The case file of layout `name`, with `more` texts of later moments."""
    found: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return found


def start_texts(name: str) -> dict[str, str]:
    """path -> text at the start of the recorded run."""
    texts: dict[str, str] = recorded(name)["start"]["files"]
    return texts


def all_texts() -> list[tuple[str, str, str]]:
    """(layout, path, text) of every recorded text."""
    found = []
    for name in NAMES:
        case = recorded(name)
        for part in (case["setup"], case["start"]["files"], case["more"]):
            found += [(name, path, text) for path, text in part.items()]
    return found
