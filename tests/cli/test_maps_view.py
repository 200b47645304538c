"""`memtwin pmap` prints what procps' pmap prints; `memtwin maps` adds up to the whole process."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from stopped_set import stopped_processes

from memtwin.cli.main import outcome
from memtwin.units import KIB


@pytest.fixture(scope="module")
def pids() -> Iterator[list[int]]:
    with stopped_processes() as found:
        yield found


@pytest.mark.skipif(shutil.which("pmap") is None, reason="procps is not installed")
@pytest.mark.parametrize("flags", ["", "-x", "-d", "-X", "-XX", "-q", "-qx", "-qX", "-p", "-pX"])
def test_every_layout_equals_procps_character_by_character(
    pids: list[int], flags: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # with -X, procps adds up the sums of all processes named: each is asked for by itself
    for group in [[pid] for pid in pids] if "X" in flags else [pids]:
        words = [*([flags] if flags else []), *map(str, group)]
        for _ in range(20):
            before = pmap_of_procps(words)
            assert outcome(["pmap", *words]) == 0
            ours = capsys.readouterr().out
            # the kernel itself changes Referenced now and then, whoever looks
            if before == pmap_of_procps(words):
                break
        assert ours == before


@pytest.mark.skipif(shutil.which("pmap") is None, reason="procps is not installed")
@pytest.mark.parametrize("flags", ["", "-x", "-d", "-q", "-X", "-XX"])
def test_a_range_of_addresses_equals_procps_character_by_character(
    pids: list[int], flags: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Path(f"/proc/{pids[0]}/maps").read_text().splitlines()
    starts = [int(line.partition("-")[0], 16) for line in lines]
    ends = [int(line.split()[0].partition("-")[2], 16) for line in lines]
    ranges = [
        f"{starts[1]:x},{starts[3]:x}", f"{starts[1]:x}", f",{starts[2]:x}", f"{starts[2]:x},",
        f"{ends[2]:x},{ends[2]:x}", f"0x{starts[1]:x},0x{ends[1] - 1:x}", "1,2", ",",
        f"{starts[3]:x},{starts[1]:x}", f"{starts[1] + 1:x}",
    ]  # fmt: skip
    for within in ranges:
        words = [*([flags] if flags else []), "-A", within, str(pids[0])]
        for _ in range(20):
            before = pmap_of_procps(words)
            assert outcome(["pmap", *words]) == 0
            ours = capsys.readouterr().out
            if before == pmap_of_procps(words):
                break
        assert ours == before, within
    assert outcome(["pmap", "-A", "1zz,5", str(pids[0])]) == 2
    assert "-A: found '1zz,5', allowed is" in capsys.readouterr().err


def pmap_of_procps(words: list[str]) -> str:
    return subprocess.run(["pmap", *words], capture_output=True, text=True, check=True).stdout


def test_a_kernel_thread_has_no_mappings(capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/proc/2/stat").exists() or "kthreadd" not in Path("/proc/2/stat").read_text():
        pytest.skip("no kernel threads are to be seen here")
    assert outcome(["pmap", "2"]) == 0
    assert capsys.readouterr().out == "2:   [kthreadd]\n total                0K\n"


@pytest.mark.parametrize("by", ["area", "file", "kind"])
def test_the_rows_add_up_to_the_whole_process(
    pids: list[int], by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for pid in pids:
        assert outcome(["maps", str(pid), "--by", by, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        peer = psutil.Process(pid).memory_full_info()
        totals = document["totals"]
        for field in ("vss_bytes", "rss_bytes", "pss_bytes", "uss_bytes", "swap_bytes"):
            assert sum(row[field] for row in document["rows"]) == totals[field], field
        assert (totals["rss_bytes"], totals["uss_bytes"]) == (peer.rss, peer.uss)
        # every mapping's PSS is rounded down to a KiB, the rollup only once
        assert 0 <= peer.pss - totals["pss_bytes"] <= totals["count"] * KIB


def test_a_mapping_has_its_kind_and_the_text_its_sum(
    pids: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(["maps", str(pids[0]), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    kinds = {row["kind"] for row in rows}
    assert {"code", "heap", "stack", "anonymous", "shared memory", "kernel"} <= kinds
    shared = next(row for row in rows if row["kind"] == "shared memory")
    assert (shared["vss_bytes"], shared["rss_bytes"]) == (3 << 20, 2 << 20)
    assert "sh" in shared["vm_flags"]
    assert outcome(["maps", str(pids[0])]) == 0
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last[:3] == ["total", "of", str(len(rows))]
    assert int(last[3]) * KIB == sum(row["vss_bytes"] for row in rows)


def test_without_smaps_the_mappings_are_named_and_the_rest_is_absent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "proc" / "7").mkdir(parents=True)
    line = "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/a\n"
    (tmp_path / "proc" / "7" / "maps").write_text(line + "garbage\n")
    assert outcome(["maps", "7", "--root", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "/usr/bin/a" in out
    assert "absent: figures of each mapping (/proc/7/smaps: No such file or directory)" in out
    assert "absent: 1 lines (malformed)" in out
    assert outcome(["maps", "8", "--root", str(tmp_path)]) == 2
    assert "8: found no mappings" in capsys.readouterr().err
    assert outcome(["pmap", "8", "--root", str(tmp_path)]) == 2
    assert "8: found no process" in capsys.readouterr().err
