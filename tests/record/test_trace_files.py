"""Trace files: what is written comes back; what isn't a trace is refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from memtwin.errors import UserError
from memtwin.record import COLUMNS, TraceOp, open_trace, write_trace
from memtwin.record.host import new_metadata
from memtwin.record.schema import METADATA_KEY, Recorder, encode_metadata


def metadata():
    return new_metadata(["program", "arg"], Recorder("test", "none", 10_000, "instructions"))


def columns(n: int, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = {
        name: rng.integers(-(2**62), 2**62, n).astype(dtype) for name, (dtype, _) in COLUMNS.items()
    }
    made["op"] = rng.choice(np.array([op.value for op in TraceOp], np.uint8), n)
    return made


def test_every_value_of_every_column_comes_back(tmp_path: Path) -> None:
    batches = [columns(n, n) for n in (1, 70_000, 5, 200_000)]
    path = tmp_path / "t.trace"
    assert write_trace(path, batches, metadata()) == 270_006
    trace = open_trace(path)
    assert trace.n_events == trace.metadata.counts.events == 270_006
    read = trace.read()
    for name, (dtype, _) in COLUMNS.items():
        expected = np.concatenate([batch[name] for batch in batches])
        assert read[name].dtype == dtype
        assert np.array_equal(read[name], expected)


def test_metadata_comes_back_as_it_was(tmp_path: Path) -> None:
    before = metadata()
    before.notes = ["ünï", "two"]
    before.exit_status = 3
    write_trace(tmp_path / "t", [columns(3)], before)
    assert open_trace(tmp_path / "t").metadata == before


def test_batches_are_between_64k_and_256k_events_except_the_last(tmp_path: Path) -> None:
    write_trace(tmp_path / "t", [columns(1000, i) for i in range(300)], metadata())
    sizes = [len(batch["op"]) for batch in open_trace(tmp_path / "t").iter_batches()]
    assert sum(sizes) == 300_000
    assert all(65_536 <= size <= 262_144 for size in sizes[:-1])


def test_an_empty_trace_can_be_written_and_read(tmp_path: Path) -> None:
    write_trace(tmp_path / "t", [], metadata())
    trace = open_trace(tmp_path / "t")
    assert trace.n_events == 0
    assert trace.head(3) == []
    assert trace.info()["distinct_pages"] == 0


def test_head_names_the_events_and_info_counts_them(tmp_path: Path) -> None:
    made = columns(4)
    made["op"][:] = [TraceOp.LOAD, TraceOp.STORE, TraceOp.LOAD, TraceOp.EXIT]
    made["a"][:] = [7, 7, 8, 0]
    write_trace(tmp_path / "t", [made], metadata())
    trace = open_trace(tmp_path / "t")
    assert [row["op"] for row in trace.head(2)] == ["LOAD", "STORE"]
    info = trace.info()
    assert info["events"] == {"LOAD": 2, "STORE": 1, "EXIT": 1}
    assert info["distinct_pages"] == 2


def test_touches_of_neighbouring_pages_take_few_bytes(tmp_path: Path) -> None:
    n = 100_000
    made = {name: np.zeros(n, dtype) for name, (dtype, _) in COLUMNS.items()}
    made["op"][:] = TraceOp.STORE
    made["a"] = np.arange(n) % 5000 + (0x7F0000000000 >> 12)
    made["insns"] = np.cumsum(np.random.default_rng(1).integers(50, 150, n)).astype(np.uint64)
    write_trace(tmp_path / "t", [made], metadata())
    assert (tmp_path / "t").stat().st_size < 2 * n


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "neither a Parquet trace"),
        (b"hello, this is text", "neither a Parquet trace"),
        (b"PAR1 and then nothing that is Parquet", "damaged Parquet"),
        (b"MTWNPART", "block file begins"),
        (b"MTWNPART" + bytes(70_000), "version 0"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_in_one_line(
    tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "foreign"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        open_trace(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_truncated_trace_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t"
    write_trace(path, [columns(1000)], metadata())
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(UserError, match="damaged Parquet"):
        open_trace(path)


def test_someone_elses_parquet_file_is_refused(tmp_path: Path) -> None:
    table = pa.table({"op": [1, 2]})
    pq.write_table(table, tmp_path / "other")
    with pytest.raises(UserError, match="not a trace"):
        open_trace(tmp_path / "other")
    table = table.replace_schema_metadata({METADATA_KEY: encode_metadata(metadata())})
    pq.write_table(table, tmp_path / "columns")
    with pytest.raises(UserError, match="found columns"):
        open_trace(tmp_path / "columns")


def test_another_schema_version_is_refused_by_its_number(tmp_path: Path) -> None:
    newer = metadata()
    newer.schema_version = 99
    write_trace(tmp_path / "t", [columns(3)], newer)
    with pytest.raises(UserError, match="found trace schema version 99, allowed is 1"):
        open_trace(tmp_path / "t")


def test_a_missing_trace_is_named_and_a_part_beside_it_is_pointed_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        open_trace(tmp_path / "t")
    (tmp_path / "t.part").touch()
    with pytest.raises(UserError, match=r"there is .*t\.part"):
        open_trace(tmp_path / "t")


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def batches():
        yield columns(10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_trace(tmp_path / "t", batches(), metadata())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="can't be written"):
        write_trace(tmp_path / "no" / "t", [], metadata())
