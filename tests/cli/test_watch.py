"""`memtwin watch` samples, ends cleanly, looks back, and serves what it sees on loopback."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from memtwin.cli.main import outcome
from memtwin.cli.moments import parse_moment_ns
from memtwin.cli.prometheus_export import MetricsServer
from memtwin.errors import UserError
from memtwin.observe.samples.journal import Sample
from memtwin.observe.samples.reader import StoredMoment, StoreReader
from memtwin.observe.samples.store import StoreWriter

_STARTS = Path(__file__).parent.parent / "data" / "starts"
S = 1_000_000_000
BEGIN = 1_700_000_000


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Ten seconds of a recorded kernel whose free memory falls by 4 MiB a second."""
    texts = json.loads((_STARTS / "6.12.json").read_text())["start"]["files"]
    free = int(re.search(r"MemFree: +(\d+)", texts["/proc/meminfo"])[1])  # type: ignore[index]
    with StoreWriter(tmp_path / "store", 4096, "/") as writer:
        for second in range(10):
            now = {path: text.encode() for path, text in texts.items()} if second == 0 else {}
            info = re.sub(
                r"(MemFree: +)\d+", rf"\g<1>{free - 4096 * second}", texts["/proc/meminfo"]
            )
            now["/proc/meminfo"] = info.encode()
            writer.append(Sample((BEGIN + second) * S, second * S, 0, now, []))
    return tmp_path / "store"


def test_the_timeline_shows_each_moment_in_every_form(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["watch", str(store), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "memtwin.timeline"
    assert [row["taken_s"] for row in document["rows"]] == [BEGIN + n for n in range(10)]
    assert outcome(["watch", str(store), "--csv", "--rows", "4"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["taken_s"]) - BEGIN for row in rows] == [0, 3, 6, 9]
    assert outcome(["watch", str(store), "--from", f"@{BEGIN + 2}", "--to", f"@{BEGIN + 5}"]) == 0
    assert len(capsys.readouterr().out.split("\n\n")[0].splitlines()) == 1 + 4


def test_a_view_at_a_moment_is_that_of_the_moment(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["watch", str(store), "--at", f"@{BEGIN + 4}", "ledger", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "memtwin.ledger"
    assert document["root"] == str(store)
    assert document["taken_s"] == BEGIN + 4
    words = ["watch", str(store), "--from", f"@{BEGIN + 7}", "ledger", "--csv"]
    assert outcome(words) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("section")]
    assert len(heads) == 3


def test_texts_of_a_store_never_lead_out_of_the_folder(tmp_path: Path) -> None:
    from memtwin.cli.watch_replay import lay_out

    folder = tmp_path / "inside"
    folder.mkdir()
    texts = {"/../evil": b"x", "/proc/../../evil": b"x", "/a": b"1", "/a/b": b"2", "//c": b"3"}
    lay_out(StoredMoment(0, texts), folder)
    assert not (tmp_path / "evil").exists()
    assert (folder / "a").read_bytes() == b"1"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["watch"], "found nothing to do"),
        (["watch", "STORE", "--at", "noon"], "--at: found 'noon'"),
        (["watch", "STORE", "--at", "@1"], "found no sample at or before that moment"),
        (["watch", "STORE", "--from", "-1s", "--to", "-5s"], "--to"),
        (["watch", "STORE", "--at", "-1s", "--from", "-5s"], "--at: found with --from"),
        (["watch", "STORE", "-o", "x"], "-o: found with a store"),
        (["watch", "STORE", "--rows", "1"], "--rows: found 1"),
        (["watch", "/nowhere"], "found no store.json"),
        (["watch", "-o", "x", "--interval", "soon"], "--interval: found 'soon'"),
        (["watch", "-o", "x", "--export", "csv"], "--export: found 'csv'"),
        (["watch", "--export", "prometheus", "--listen", "here"], "--listen: found 'here'"),
        (["leaks", "--for", "10s"], "which is 3 samples"),
        (["leaks", "--from", "12:00"], "found without a store"),
    ],
)
def test_mistakes_are_told_in_one_line(
    words: list[str],
    told: str,
    store: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(store.parent)
    assert outcome([str(store) if word == "STORE" else word for word in words]) == 2
    errors = capsys.readouterr().err
    assert told in errors
    assert errors.count("\n") == 1


def test_clock_times_are_the_last_before_the_end() -> None:
    end = time.mktime((2026, 3, 4, 12, 30, 0, 0, 0, -1))
    span = (round((end - 3600) * S), round(end * S))
    assert parse_moment_ns("12:10:05", "--at", span) == round((end - 1195 + 1) * S) - 1
    assert parse_moment_ns("12:10", "--at", span) == round((end - 1200 + 60) * S) - 1
    assert parse_moment_ns("12:31", "--at", span) == round((end - 86400 + 120) * S) - 1
    assert parse_moment_ns("-5m", "--at", span) == round((end - 300) * S)
    assert parse_moment_ns("begin", "--from", span) == span[0]
    with pytest.raises(UserError, match="allowed is HH:MM"):
        parse_moment_ns("25:99", "--at", span)


def scraped(address: str) -> dict[str, float]:
    """Metric with its labels -> value, as a Prometheus server reads them."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
    return {name: float(value) for name, value in pairs}


def test_metrics_of_a_store_are_scraped_on_loopback(store: Path) -> None:
    reader = StoreReader(store)
    moment = reader.at(reader.span_ns()[1])
    with MetricsServer("127.0.0.1:0", lambda: moment, 4096) as server:
        assert server.address.startswith("127.0.0.1:")
        found = scraped(server.address)
    assert found["memtwin_sample_timestamp_seconds"] == BEGIN + 9
    total = found["memtwin_meminfo_mem_total_bytes"]
    rows = [value for name, value in found.items() if name.startswith("memtwin_ledger_bytes{")]
    assert sum(rows) == total
    assert found["memtwin_vmstat_pgfault_total"] > 0
    assert all("_kib" not in name for name in found)


def test_an_address_that_is_taken_is_told_in_one_line() -> None:
    with (
        MetricsServer("127.0.0.1:0", lambda: None, 4096) as server,
        pytest.raises(UserError, match="can't be listened on"),
    ):
        MetricsServer(server.address, lambda: None, 4096)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_watch_with_all_sealed(tmp_path: Path, number: int) -> None:
    directory = tmp_path / "s"
    words = ["-o", str(directory), "--interval", "0.1", "--export", "prometheus"]
    words += ["--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [sys.executable, "-m", "memtwin", "watch", *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().split("http://")[1].split("/")[0]
        end_s = time.monotonic() + 60
        found: dict[str, float] = {}
        while time.monotonic() < end_s and "memtwin_meminfo_mem_total_bytes" not in found:
            found = scraped(address)
        assert found["memtwin_meminfo_mem_total_bytes"] > 0
        assert f'pid="{os.getpid()}"' in " ".join(found)
        process.send_signal(number)
        assert process.wait(60) == 0
    assert not list(directory.glob("journal-*"))
    assert len(StoreReader(directory).moments_ns()) >= 1


def test_processes_that_come_and_go_are_sampled_without_a_word(tmp_path: Path) -> None:
    churn = "import subprocess\nwhile True: subprocess.run(['true'])"
    with subprocess.Popen([sys.executable, "-c", churn]) as process:
        try:
            words = ["watch", "-o", str(tmp_path / "s"), "--interval", "0.1", "--for", "2s"]
            assert outcome(words) == 0
        finally:
            process.kill()
    reader = StoreReader(tmp_path / "s")
    assert reader.said == []
    assert reader.table("processes").num_rows > 0
