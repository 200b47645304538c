"""The documented schema is the schema of the code."""

from __future__ import annotations

import re
from pathlib import Path

from memtwin.record import COLUMNS, ExitKind, TraceOp, map_flags, map_offset_pages
from memtwin.record.cast import OP_FILE
from memtwin.record.schema import FileKind, TraceMetadata

PAGE = (Path(__file__).parents[2] / "docs" / "data" / "trace.md").read_text()
PLUGIN = Path(__file__).parents[2] / "src" / "memtwin" / "record" / "plugin"


def test_the_documented_columns_are_the_columns() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (u?int\d+) \| (.*) \|$", PAGE, re.M)
    assert rows == [(name, dtype, meaning) for name, (dtype, meaning) in COLUMNS.items()]


def test_the_documented_events_are_the_events() -> None:
    rows = re.findall(r"^\| ([A-Z]+) \| (\d+) \|", PAGE, re.M)
    assert {name: int(value) for name, value in rows} == {op.name: op.value for op in TraceOp}


def test_every_field_of_the_metadata_is_documented() -> None:
    for name in TraceMetadata.__struct_fields__:
        assert f"`{name}`" in PAGE, name
    for kind in FileKind:
        assert kind.name.lower() in PAGE


def test_the_plugin_numbers_events_and_kinds_of_files_as_the_schema_does() -> None:
    text = re.search(r"enum op \{(.*?)\};", (PLUGIN / "recorder.h").read_text(), re.S)
    assert text is not None
    numbers, value = {}, 0
    for name, given in re.findall(r"OP_(\w+)(?: = (\d+))?", re.sub(r"/\*.*?\*/", "", text[1])):
        value = int(given) if given else value
        numbers[name] = value
        value += 1
    public = {name: number for name, number in numbers.items() if number < OP_FILE}
    assert public == {op.name: op.value for op in TraceOp if op is not TraceOp.FAULT}
    kinds = re.search(r"enum kind \{ (.*?) \};", (PLUGIN / "files.c").read_text())
    assert kinds is not None
    assert kinds[1].split(", ") == [kind.name for kind in FileKind]


def test_the_offset_of_a_mapping_is_packed_above_its_flags() -> None:
    packed = 12345 << 32 | 0x8012
    assert (map_flags(packed), map_offset_pages(packed)) == (0x8012, 12345)
    assert ExitKind.SIGNAL == 2
