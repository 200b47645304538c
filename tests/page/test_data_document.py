"""docs/data/page.md and slab.md show every column as it is declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from memtwin.page import buddy, mem_map, vmstat, zone
from memtwin.slab import slub

DOCS = Path(__file__).parents[2] / "docs" / "data"


@pytest.mark.parametrize(
    ("document", "modules"), [("page.md", (mem_map, buddy, zone, vmstat)), ("slab.md", (slub,))]
)
def test_every_column_has_its_row_in_the_document(document: str, modules: tuple) -> None:
    text = (DOCS / document).read_text(encoding="utf-8")
    for module in modules:
        for column in module.COLUMNS:
            row = f"| `{column.name}` | {column.dtype} | {column.writer} | {column.sentence} |"
            assert row in text, f"{document} lacks the row of {module.__name__}: {row}"
