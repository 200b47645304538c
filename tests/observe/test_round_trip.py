"""Every recorded text reads into a record and is written back byte for byte."""

from __future__ import annotations

import pytest
from tests.observe.starts import all_texts, start_texts

from memtwin.errors import UserError
from memtwin.observe.source import TextSource, TreeSource
from memtwin.observe.texts import read_record, shape_of

WITH_SHAPE = [row for row in all_texts() if shape_of(row[1]) is not None]


@pytest.mark.parametrize(("layout", "path", "text"), WITH_SHAPE, ids=lambda v: str(v)[:60])
def test_a_text_that_was_read_is_written_back_byte_for_byte(
    layout: str, path: str, text: str
) -> None:
    shape = shape_of(path)
    assert shape is not None
    assert shape.render(shape.parse(text)) == text


def test_the_recorded_texts_cover_every_kind_of_file() -> None:
    names = {path.rpartition("/")[2] for _, path, _ in WITH_SHAPE}
    assert {"meminfo", "vmstat", "zoneinfo", "buddyinfo", "pagetypeinfo", "slabinfo"} <= names
    assert {"smaps_rollup", "status", "statm", "stat", "oom_score", "mm_stat", "iomem"} <= names
    assert {"memory.stat", "memory.numa_stat", "memory.limit_in_bytes", "memory.max"} <= names


def test_one_reader_serves_the_host_a_tree_and_recorded_texts(tmp_path) -> None:
    texts = start_texts("6.12")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(texts["/proc/meminfo"])
    recorded = read_record(TextSource(texts), "/proc/meminfo")
    assert recorded == read_record(TreeSource(tmp_path), "/proc/meminfo")
    host = read_record(TreeSource("/"), "/proc/meminfo")
    assert host.mem_total_kib >= host.mem_free_kib > 0


@pytest.mark.parametrize("path", ["/proc/meminfo", "/proc/vmstat", "/proc/zoneinfo", "/proc/swaps"])
def test_the_host_s_own_text_is_written_back_byte_for_byte(path: str) -> None:
    text = TreeSource("/").read(path)
    if text is None:
        pytest.skip(f"{path} can't be read here")
    shape = shape_of(path)
    assert shape is not None
    assert shape.render(shape.parse(text)) == text


def test_an_unknown_line_is_kept_and_never_fails() -> None:
    shape = shape_of("/proc/meminfo")
    assert shape is not None
    info = shape.parse("MemTotal:            100 kB\nFutureMem:             7 kB\n")
    assert info.other == {"FutureMem": 7}
    assert shape.render(info) == "MemTotal:            100 kB\nFutureMem:             7 kB\n"


def test_a_text_of_another_shape_is_one_line_that_names_the_file() -> None:
    with pytest.raises(UserError, match="/proc/meminfo: found line 'MemTotal: plenty'"):
        read_record(TextSource({"/proc/meminfo": "MemTotal: plenty\n"}), "/proc/meminfo")
    with pytest.raises(UserError, match=r"/proc/buddyinfo: found line 'garbage'"):
        read_record(TextSource({"/proc/buddyinfo": "garbage\n"}), "/proc/buddyinfo")
    with pytest.raises(UserError, match="no text for '/proc/swaps'"):
        read_record(TextSource({}), "/proc/swaps")
    with pytest.raises(UserError, match="which has no record"):
        read_record(TextSource({}), "/proc/cmdline")
