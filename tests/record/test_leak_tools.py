"""Programs that leak, run under valgrind and AddressSanitizer: what the notes show, again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from memtwin.errors import UserError
from memtwin.observe.leak_reports import Tally
from memtwin.record.leak_tools import Tool, run_under

PROGRAMS = Path(__file__).parents[1] / "observe/live_heap/programs"
needs_valgrind = pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind")


@pytest.fixture
def build(tmp_path: Path):
    def built(name: str, *flags: str) -> str:
        out = tmp_path / name
        done = subprocess.run(
            ["gcc", "-g", "-o", str(out), str(PROGRAMS / f"{name}.c"), *flags],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            pytest.skip(f"gcc can't build it: {done.stderr.strip().splitlines()[-1]}")
        return str(out)

    return built


@needs_valgrind
def test_valgrind_finds_the_114_blocks_of_the_first_example(build) -> None:
    done = run_under(Tool.VALGRIND, [build("leak_example")])
    report = done.reports[0]
    assert done.status == 128 + signal.SIGINT
    assert report.in_use == Tally(114, 1_400_832)
    assert (report.allocs, report.frees, report.allocated_bytes) == (228, 114, 1_517_568)
    assert report.kinds["definite"] == Tally(113, 1_388_544)
    assert report.kinds["indirect"] == report.kinds["possible"] == Tally(0, 0)
    assert report.kinds["reachable"] == Tally(1, 12_288)
    lost = next(record for record in report.records if record.kind == "definite")
    assert lost.stack[1].function == "main"
    assert lost.stack[1].file == "leak_example.c"


def test_address_sanitizer_finds_the_10_blocks_of_the_second_example(build) -> None:
    done = run_under(Tool.ASAN, [build("lsan", "-fsanitize=address")])
    report = done.reports[0]
    assert report.kinds["definite"] == Tally(10, 122_880)
    (record,) = report.records
    assert record.stack[1].function == "main"
    assert record.stack[1].file is not None
    assert record.stack[1].file.endswith("lsan.c")
    assert report.notes == []


def test_a_program_without_the_sanitizer_is_refused_with_the_flag_it_needs(build) -> None:
    with pytest.raises(UserError, match="-fsanitize=address"):
        run_under(Tool.ASAN, [build("lsan")])


@pytest.mark.parametrize("tool", list(Tool))
def test_a_program_that_is_not_there_is_named(tool: Tool) -> None:
    with pytest.raises(UserError, match="no-such-thing: no such program"):
        run_under(tool, ["no-such-thing"])


def test_without_valgrind_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "valgrind" else real(name))
    with pytest.raises(UserError, match="apt install valgrind"):
        run_under(Tool.VALGRIND, ["true"])


def test_a_clean_program_under_the_sanitizer_has_a_report_of_nothing(tmp_path: Path, build) -> None:
    clean = tmp_path / "clean.c"
    clean.write_text("int main(void) { return 0; }\n")
    out = tmp_path / "clean"
    subprocess.run(["gcc", "-fsanitize=address", "-o", str(out), str(clean)], check=True)
    done = run_under(Tool.ASAN, [str(out)])
    assert done.status == 0
    assert done.reports[0].kinds["definite"] == Tally(0, 0)


@needs_valgrind
def test_ctrl_c_goes_to_the_program_and_its_report_still_comes(build) -> None:
    program = build("leak_example")
    command = [sys.executable, "-m", "memtwin", "leak", "run", "--valgrind", "--", program, "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline_s = time.monotonic() + 60
    while time.monotonic() < deadline_s and not _runs_under_valgrind(process.pid):
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert "ended by signal 2 (SIGINT)" in out
    assert "definitely lost" in out
    assert process.returncode == 0


def _runs_under_valgrind(pid: int) -> bool:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = children.read_text().split() if children.exists() else []
    for child in found:
        maps = Path(f"/proc/{child}/maps").read_text()
        if "vgpreload_memcheck" in maps and "leak_example" in maps:
            return True
    return False
