"""docs/data/memcg.md, swap.md and reclaim.md show every column as it is declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from memtwin.hardware import block_device
from memtwin.memcg import table
from memtwin.reclaim import compact_control, compact_policy, lru, lru_gen, lruvec, memcg_lru
from memtwin.swap import content, swap, swap_device, swap_nodes, zram, zsmalloc

DOCS = Path(__file__).parents[2] / "docs" / "data"


@pytest.mark.parametrize(
    ("document", "modules"),
    [
        ("memcg.md", (table,)),
        ("swap.md", (swap, swap_device, swap_nodes, zram, zsmalloc, content, block_device)),
        ("reclaim.md", (lruvec, lru, lru_gen, memcg_lru, compact_control, compact_policy)),
    ],
)
def test_every_column_has_its_row_in_the_document(document: str, modules: tuple) -> None:
    text = (DOCS / document).read_text(encoding="utf-8")
    for module in modules:
        for column in module.COLUMNS:
            row = f"| `{column.name}` | {column.dtype} | {column.writer} | {column.sentence} |"
            assert row in text, f"{document} lacks the row of {module.__name__}: {row}"
