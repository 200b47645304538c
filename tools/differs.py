"""Collects every `DIFFERS:` comment of the package into docs/FIDELITY.md, between markers.

Imports house. Run it by `make differs`; tests/tidy refuses a document that lags behind.
"""

from __future__ import annotations

import sys
from pathlib import Path

import house

DOCUMENT = house.ROOT / "docs" / "FIDELITY.md"
BEGIN, END = "<!-- differs:begin -->", "<!-- differs:end -->"
WORD = "DIFFERS:"


class Malformed(Exception):
    """A DIFFERS comment that does not say what, why and which result it can bend."""


def simplifications() -> list[tuple[Path, int, list[str]]]:
    """(file, line, [what, why, what it can bend]) of every DIFFERS comment, in order of file."""
    found = []
    for suffix in (".py", ".pxd", ".c"):
        for path in house.sources(suffix):
            for comment in house.comments(path):
                for text in comment.text.split(WORD)[1:]:
                    parts = [part.strip().rstrip(".") for part in text.split(";")]
                    found.append((path, comment.line, parts))
    return sorted(found, key=lambda one: (str(one[0]), one[1]))


def table() -> str:
    """The Markdown between the markers; raises Malformed naming every line that lacks a part."""
    rows = ["| where | what differs | why | what it can bend |", "| --- | --- | --- | --- |"]
    wrong = []
    for path, line, parts in simplifications():
        if len(parts) != 3 or not all(parts):
            place = f"{house.shown(path)}:{line}"
            wrong.append(f"{place}: found {len(parts)} parts, allowed is {WORD} what; why; result")
            continue
        name = path.relative_to(house.PACKAGE_DIR)
        cells = [part.replace("|", "\\|") for part in parts]
        rows.append(f"| [{name}](../{house.shown(path)}) | " + " | ".join(cells) + " |")
    if wrong:
        raise Malformed("\n".join(wrong))
    return "\n".join(rows)


def renewed(document: str) -> str:
    """`document` with the present table between its markers."""
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def main() -> None:
    """Rewrite the document if it lags behind."""
    try:
        old = DOCUMENT.read_text(encoding="utf-8")
        new = renewed(old)
    except Malformed as error:
        sys.exit(str(error))
    if new != old:
        DOCUMENT.write_text(new, encoding="utf-8")
        print(f"renewed {house.shown(DOCUMENT)}")


if __name__ == "__main__":
    main()
