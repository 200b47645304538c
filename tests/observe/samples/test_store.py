"""A store keeps what it was given whatever ends its writer, and says what it could not read."""

from __future__ import annotations

import errno
import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from memtwin.errors import UserError
from memtwin.observe.processes.files import parse_status
from memtwin.observe.samples import journal as journal_room
from memtwin.observe.samples.journal import JournalReader, JournalWriter, Sample
from memtwin.observe.samples.reader import StoreReader
from memtwin.observe.samples.segment import read_segment_table
from memtwin.observe.samples.store import IDENTITY, Rotation, StoreWriter

S = 1_000_000_000


def sample(second: int, texts: dict[str, str], gone: list[str] | None = None) -> Sample:
    encoded = {path: text.encode() for path, text in texts.items()}
    return Sample(second * S, second * S, 1000, encoded, gone or [])


def meminfo(free_kib: int) -> str:
    return f"MemTotal:        1000000 kB\nMemFree:        {free_kib:8} kB\n"


def writer(directory: Path, **rotation: float) -> StoreWriter:
    return StoreWriter(directory, 4096, "/", Rotation(**rotation))  # type: ignore[arg-type]


def random_samples(seed: int, count: int) -> list[Sample]:
    """Paths that come, change, go and come back."""
    rng = random.Random(seed)
    found = []
    for second in range(1, count + 1):
        texts = {"/proc/meminfo": meminfo(rng.randrange(1000))} if rng.random() < 0.7 else {}
        pids = rng.sample(range(1, 9), rng.randrange(4))
        texts |= {f"/proc/{pid}/statm": f"{pid} {rng.randrange(99)} 1 0 0 0 0\n" for pid in pids}
        gone = [f"/proc/{pid}/statm" for pid in rng.sample(range(1, 9), rng.randrange(3))]
        found.append(sample(second, texts, gone))
    return found


def whole_after(samples: list[Sample], second: int) -> dict[str, bytes]:
    """What is known at `second`, the slow and obvious way."""
    known: dict[str, bytes] = {}
    for one in samples:
        if one.taken_ns <= second * S:
            for path in one.gone:
                known.pop(path, None)
            known.update(one.texts)
    return known


@pytest.mark.parametrize("seed", range(4))
def test_each_moment_reads_as_it_was_sealed_or_not(tmp_path: Path, seed: int) -> None:
    samples = random_samples(seed, 40)
    store = writer(tmp_path / "s")
    for number, one in enumerate(samples):
        if store.starts_whole:
            texts = whole_after(samples, number) if number else {}
            for path in one.gone:
                texts.pop(path, None)
            store.append(Sample(one.taken_ns, 0, 0, texts | one.texts, []))
        else:
            store.append(one)
        if number in (9, 25):
            store._seal_current()
    for reader in (StoreReader(tmp_path / "s"), _closed(store, tmp_path / "s")):
        assert reader.span_ns() == (S, 40 * S)
        assert reader.moments_ns() == [n * S for n in range(1, 41)]
        for second in range(1, 41):
            moment = reader.at(second * S + 7)
            assert moment.taken_ns == second * S
            assert moment.texts == whole_after(samples, second), second
        wanted = {"/proc/meminfo", "/proc/3/statm"}
        for moment in reader.each(wanted, (5 * S, 30 * S)):
            truth = whole_after(samples, moment.taken_ns // S)
            assert moment.texts == {path: truth[path] for path in wanted if path in truth}


def _closed(store: StoreWriter, directory: Path) -> StoreReader:
    store.close()
    assert not list(directory.glob("journal-*"))
    return StoreReader(directory)


def test_a_later_run_goes_on_with_the_same_store(tmp_path: Path) -> None:
    for begin in (1, 11):
        with writer(tmp_path / "s") as store:
            for second in range(begin, begin + 5):
                store.append(sample(second, {"/proc/meminfo": meminfo(second)}))
    reader = StoreReader(tmp_path / "s")
    assert len(reader.moments_ns()) == 10
    assert reader.table("system")["mem_free_bytes"].to_pylist()[-1] == 15 * 1024
    assert reader.at(8 * S).taken_ns == 5 * S


def test_the_page_tables_of_a_process_are_those_of_its_status(tmp_path: Path) -> None:
    own = Path(f"/proc/{os.getpid()}/status").read_text()
    kib = parse_status(own).vm_pte_kib
    assert kib
    texts = {"/proc/7/status": own, "/proc/7/statm": "9 5 1 0 0 0 0\n"}
    texts |= {"/proc/8/status": "Name:\tVmPTE: 5 kB\n", "/proc/8/statm": "9 5 1 0 0 0 0\n"}
    with writer(tmp_path / "s") as store:
        store.append(sample(1, texts))
    table = StoreReader(tmp_path / "s").table("processes")
    found = dict(zip(table["pid"].to_pylist(), table["page_tables_bytes"].to_pylist(), strict=True))
    assert found == {7: kib * 1024, 8: None}


def test_texts_of_one_path_lie_side_by_side_in_a_segment(tmp_path: Path) -> None:
    with writer(tmp_path / "s") as store:
        for second in range(1, 8):
            paths = [f"/proc/{pid}/statm" for pid in (3, 1, 2)]
            gone = ["/proc/1/statm"] if second == 4 else []
            store.append(sample(second, dict.fromkeys(paths, f"{second} 1 1\n"), gone))
    (segment,) = (tmp_path / "s").glob("segment-*")
    texts = read_segment_table(segment, "texts")
    rows = list(zip(texts["path"].to_pylist(), texts["taken_ns"].to_pylist(), strict=True))
    assert rows == sorted(rows)
    at = rows.index(("/proc/1/statm", 4 * S))
    assert texts["text"].to_pylist()[at : at + 2] == [None, b"4 1 1\n"]  # gone, then there again


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_journal_cut_anywhere_reads_up_to_its_last_whole_block(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal-00000001"
    journal = JournalWriter(path)
    sizes = []
    for second in range(1, 6):
        journal.append(sample(second, {"/proc/meminfo": meminfo(second)}))
        sizes.append(journal.size_bytes)
    journal.close()
    os.truncate(path, sizes[-1] - cut)
    reader = JournalReader(path)
    whole = sum(size <= sizes[-1] - cut for size in sizes)
    assert len(list(reader.samples())) == whole
    assert reader.cut_bytes == sizes[-1] - cut - sizes[whole - 1]


def test_any_byte_turned_over_is_found(tmp_path: Path) -> None:
    path = tmp_path / "journal-00000001"
    journal = JournalWriter(path)
    for second in range(1, 4):
        journal.append(sample(second, {"/proc/meminfo": meminfo(second)}))
    journal.close()
    clean = path.read_bytes()
    originals = list(JournalReader(path).samples())
    rng = random.Random(5)
    for at in rng.sample(range(20, len(clean)), 60):
        path.write_bytes(clean[:at] + bytes([clean[at] ^ 0x40]) + clean[at + 1 :])
        found = list(JournalReader(path).samples())
        assert found == originals[: len(found)]
        assert len(found) < 3


def test_a_store_of_a_dead_writer_is_sealed_by_the_next(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    first = writer(directory)
    for second in range(1, 6):
        first.append(sample(second, {"/proc/meminfo": meminfo(second)}))
    os.close(first._lock_fd)  # the process is gone: no seal
    with (directory / "journal-00000001").open("ab") as file:
        file.write(struct.pack("<II", 1000, 1) + b"half a block")
    (directory / "segment-00000001.part").mkdir()
    assert any("cut short" in said for said in StoreReader(directory).said)
    with writer(directory) as second_writer:
        assert "no whole block" in second_writer.said[0]
        second_writer.append(sample(9, {"/proc/meminfo": meminfo(9)}))
    names = sorted(path.name for path in directory.iterdir())
    assert names == ["lock", "segment-00000001", "segment-00000002", IDENTITY]
    assert [at // S for at in StoreReader(directory).moments_ns()] == [1, 2, 3, 4, 5, 9]


def test_a_journal_left_beside_its_segment_is_not_read_twice(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    with writer(directory) as store:
        store.append(sample(1, {"/proc/meminfo": meminfo(1)}))
        kept = (directory / "journal-00000001").read_bytes()
    (directory / "journal-00000001").write_bytes(kept)  # killed between rename and unlink
    assert StoreReader(directory).moments_ns() == [S]
    writer(directory).close()
    assert not (directory / "journal-00000001").exists()


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with writer(tmp_path / "s"), pytest.raises(UserError, match=f"pid {os.getpid()}"):
        writer(tmp_path / "s")


def test_the_oldest_go_when_the_store_is_larger_than_allowed(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    with writer(directory, total_bytes=1) as store:
        for second in range(1, 5):
            store.append(sample(second, {"/proc/meminfo": meminfo(second)}))
            store._seal_current()
    assert [path.name for path in directory.glob("segment-*")] == ["segment-00000004"]
    assert StoreReader(directory).moments_ns() == [4 * S]


def test_a_journal_is_sealed_when_it_is_old_or_large(tmp_path: Path) -> None:
    with writer(tmp_path / "s", age_s=0.0) as store:
        store.append(sample(1, {"/proc/meminfo": meminfo(1)}))
        assert store.starts_whole
    with writer(tmp_path / "t", journal_bytes=4000) as store:
        for second in range(1, 90):
            store.append(sample(second, {"/proc/meminfo": meminfo(second)}))
    assert len(list((tmp_path / "t").glob("segment-*"))) > 1


def test_a_newer_schema_and_foreign_directories_are_refused(tmp_path: Path) -> None:
    writer(tmp_path / "s").close()
    identity = msgspec.json.decode((tmp_path / "s" / IDENTITY).read_bytes())
    (tmp_path / "s" / IDENTITY).write_bytes(msgspec.json.encode(identity | {"version": 9}))
    for attempt in (StoreReader, writer):
        with pytest.raises(UserError, match="schema version 9"):
            attempt(tmp_path / "s")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match=r"found 'a\.jpg' and no store\.json"):
        writer(tmp_path / "photos")
    with pytest.raises(UserError, match=r"found no store\.json"):
        StoreReader(tmp_path / "photos")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["a.jpg"]


def test_damaged_and_foreign_parts_are_left_out_and_told(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    with writer(directory) as store:
        for second in range(1, 4):
            store.append(sample(second, {"/proc/meminfo": meminfo(second)}))
            store._seal_current()
    (directory / "segment-00000002" / "samples.parquet").write_bytes(b"PAR1 no")
    (directory / "segment-00000003" / "system.parquet").write_bytes(b"")
    (directory / "journal-00000009").write_bytes(b"not a journal at all, really")
    (directory / "notes.txt").write_text("mine")
    reader = StoreReader(directory)
    assert reader.moments_ns() == [S, 3 * S]
    assert reader.table("system").num_rows == 1
    assert len(reader.said) == 3
    writer(directory).close()
    assert (directory / "journal-00000009.foreign").exists()


def test_a_full_file_system_ends_in_one_line_and_the_store_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "s"
    store = writer(directory)
    store.append(sample(1, {"/proc/meminfo": meminfo(1)}))
    real, room = os.write, [30]

    def full(fd: int, data: bytes) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        part = data[: room[0]]
        room[0] -= len(part)
        return real(fd, part)

    monkeypatch.setattr(journal_room.os, "write", full)
    with pytest.raises(UserError, match="No space left on device"):
        store.append(sample(2, {"/proc/meminfo": meminfo(2) * 20}))
    monkeypatch.undo()
    reader = StoreReader(directory)
    assert reader.moments_ns() == [S]
    assert reader.said == []
    store.close()
    assert StoreReader(directory).moments_ns() == [S]


def test_a_writer_killed_outright_loses_at_most_what_it_was_writing(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    words = ["watch", "-o", str(directory), "--interval", "0.1"]
    with subprocess.Popen([sys.executable, "-m", "memtwin", *words]) as process:
        end_s = time.monotonic() + 60
        while time.monotonic() < end_s:
            if list(directory.glob("journal-*")) and len(StoreReader(directory).moments_ns()) > 3:
                break
            time.sleep(0.05)
        seen = len(StoreReader(directory).moments_ns())
        process.send_signal(signal.SIGKILL)
    reader = StoreReader(directory)
    assert len(reader.moments_ns()) >= seen > 3
    assert f"/proc/{os.getpid()}/statm" in reader.at(reader.span_ns()[1]).texts
    writer(directory).close()
    assert len(StoreReader(directory).moments_ns()) >= seen
