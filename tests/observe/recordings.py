"""Texts of real kernels for the system's files; see tests/data/README.md."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

DATA = Path(__file__).parent.parent / "data"
SYSTEM_NAMES = ("5.10", "6.1-686", "7.3")


@cache
def system_texts(name: str) -> dict[str, str]:
    """path -> text of the system-wide recording `name`."""
    texts: dict[str, str] = json.loads((DATA / "system" / f"{name}.json").read_text())["texts"]
    return texts


@cache
def start_and_setup(name: str) -> dict[str, str]:
    """path -> text of a recorded start, with its settings."""
    case = json.loads((DATA / "starts" / f"{name}.json").read_text())
    return {**case["setup"], **case["start"]["files"]}


def every_tree() -> dict[str, dict[str, str]]:
    """name -> texts of all recordings, 5.10 to 7.3, 32 and 64 bits."""
    found = {f"system {name}": system_texts(name) for name in SYSTEM_NAMES}
    return found | {
        f"start {name}": start_and_setup(name) for name in ("6.1", "6.1-686", "6.12", "7.3")
    }


def written(folder: Path, texts: dict[str, str]) -> Path:
    """`folder` with `texts` as a captured tree."""
    for path, text in texts.items():
        file = folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode(errors="surrogateescape"))
    return folder
