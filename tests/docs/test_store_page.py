"""docs/data/store.md names the columns that a store has, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from memtwin.observe.samples.store import SCHEMA_VERSION
from memtwin.observe.samples.tables import SCHEMAS

_PAGE = Path(__file__).parent.parent.parent / "docs" / "data" / "store.md"


def test_the_page_of_the_store_lists_each_column_of_each_table() -> None:
    text = _PAGE.read_text()
    assert f"Schema version {SCHEMA_VERSION};" in text
    parts = re.split(r"^\*\*(\w+)\*\*", text, flags=re.M)[1:]
    for name, part in zip(parts[::2], parts[1::2], strict=True):
        listed = re.findall(r"^\| (\w+) \|", part, re.M)[1:]
        if name in SCHEMAS:
            assert listed == SCHEMAS[name].names, name
    assert set(parts[::2]) == {*SCHEMAS, "system"}
