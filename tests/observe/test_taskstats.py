"""taskstats: every version's layout, the live kernel's answer, and what is said without it."""

from __future__ import annotations

import errno
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memtwin.observe.delays import SWITCH, DelayReader, accounting_is_on, of_exits
from memtwin.observe.source import TreeSource
from memtwin.observe.taskstats import TaskStats, attributes
from memtwin.observe.taskstats_layout import KINDS, fields_of, layout_of, parse

# sizeof(struct taskstats) of each version, from the headers of kernels that have it
SIZES = {8: 328, 9: 344, 10: 352, 11: 368, 12: 400, 13: 416, 14: 432, 15: 560, 16: 560, 17: 688}


def _end(version: int) -> int:
    name, (at, code) = list(layout_of(version).items())[-1]
    assert name == fields_of(version)[-1][0]
    return at + struct.calcsize(code)


@pytest.mark.parametrize(("version", "size"), SIZES.items())
def test_each_version_is_as_long_as_the_kernels_struct(version: int, size: int) -> None:
    assert -(-_end(version) // 8) * 8 == size


@pytest.mark.parametrize("version", SIZES)
def test_every_field_comes_back_from_where_the_layout_puts_it(version: int) -> None:
    rng = random.Random(version)
    data, wanted = bytearray(SIZES[version]), {}
    for name, (at, code) in layout_of(version).items():
        value = (
            b"some name" if code.endswith("s") else rng.randrange(1 << 8 * struct.calcsize(code))
        )
        if name == "version":
            value = version
        struct.pack_into(code, data, at, value)
        wanted[name] = "some name" if isinstance(value, bytes) else value
    assert parse(bytes(data)) == wanted
    shorter = parse(bytes(data[: SIZES[version] // 2]))
    assert shorter.items() <= wanted.items()
    assert len(shorter) < len(wanted)


def test_fifteen_has_its_extremes_between_and_sixteen_at_the_end() -> None:
    fifteen, sixteen = layout_of(15), layout_of(16)
    assert fifteen["blkio_count"][0] == 48
    assert sixteen["blkio_count"][0] == layout_of(14)["blkio_count"][0] == 32
    assert sixteen["cpu_delay_max"][0] == SIZES[14]


def test_before_eight_only_the_first_delays_are_taken() -> None:
    assert list(parse(struct.pack("H", 5) + bytes(326)))[-1] == "cpu_run_virtual_total"


def test_any_bytes_are_survived() -> None:
    rng = random.Random(1)
    for _ in range(300):
        data = rng.randbytes(rng.randrange(0, 700))
        if len(data) > 1 and rng.random() < 0.7:
            data = struct.pack("H", rng.randrange(0, 20)) + data[2:]
        assert isinstance(parse(data), dict)
        assert all(len(value) < 700 for value in attributes(data).values())


def _line() -> TaskStats:
    try:
        line = TaskStats()
        line.of_thread(os.getpid())
    except OSError as fault:
        pytest.skip(f"taskstats: {fault.strerror}")
    return line


def test_the_kernel_and_proc_agree_about_a_process_that_stands_still() -> None:
    with _line() as line, subprocess.Popen(["sleep", "60"]) as child:
        time.sleep(0.05)
        os.kill(child.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
        figures = line.of_thread(child.pid)
        stat = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        child.kill()
    assert (figures["ac_minflt"], figures["ac_majflt"]) == (int(stat[7]), int(stat[9]))
    assert (figures["ac_comm"], figures["ac_pid"]) == ("sleep", child.pid)
    assert figures["ac_ppid"] == os.getpid()
    assert figures["version"] in SIZES or int(figures["version"]) > max(SIZES)


def test_who_is_not_there_is_told_apart_from_who_may_not_be_asked() -> None:
    with _line() as line, pytest.raises(OSError) as fault:
        line.of_process(2**22 + 5)
    assert fault.value.errno in (errno.ESRCH, errno.EINVAL)


THREADS = """
import threading, time
def work():
    end = time.monotonic() + 60
    while time.monotonic() < end: time.sleep(0.001)
for _ in range(3): threading.Thread(target=work, daemon=True).start()
print(flush=True)
time.sleep(60)
"""


@pytest.fixture
def threaded() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", THREADS], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.05)
        try:
            yield child.pid
        finally:
            child.kill()


def test_a_process_is_the_sum_of_its_threads(threaded: int) -> None:
    _line().close()
    reader = DelayReader(TreeSource("/"))
    low = reader.threads(threaded)
    whole = reader.process(threaded)
    high = reader.threads(threaded)
    reader.close()
    assert whole is not None
    assert whole.threads == len(low) == 4
    cpu = whole.delays[0]
    assert cpu.kind == "cpu"

    def count(threads: list) -> int:  # type: ignore[type-arg]
        return sum(one.delays[0].count for one in threads)

    assert count(low) <= (cpu.count or 0) <= count(high)
    assert cpu.max_ns is None or cpu.max_ns >= max(one.delays[0].max_ns for one in low)
    assert whole.comm.startswith("python")
    assert sum(one.min_flt or 0 for one in low) <= (whole.min_flt or 0)


def test_zeros_that_mean_not_counted_are_absent_with_the_reason() -> None:
    source = TreeSource("/")
    if accounting_is_on(source) is not False:
        pytest.skip(f"{SWITCH} is on here, or not there")
    _line().close()
    found = DelayReader(source).process(os.getpid())
    assert found is not None
    assert [one.kind for one in found.delays] == ["cpu"]
    assert set(found.absent) >= {"blkio", "swapin", "freepages"}
    assert set(found.absent.values()) >= {"kernel.task_delayacct is 0"}


def test_without_netlink_proc_gives_a_part_and_says_so(threaded: int) -> None:
    reader = DelayReader(TreeSource("/"))
    reader.close()
    reader.line, reader.why_partial = None, "taskstats: Operation not permitted"
    found = reader.process(threaded)
    assert found is not None
    assert found.source == "/proc"
    assert found.threads == 4
    assert {one.kind for one in found.delays} <= {"cpu", "blkio"}
    assert found.run_ns
    assert set(found.absent) | {one.kind for one in found.delays} == set(KINDS)
    assert found.absent["swapin"] == "taskstats: Operation not permitted"
    assert reader.process(2**22 + 5) is None


def test_a_captured_tree_has_its_part_too(tmp_path: Path) -> None:
    task = tmp_path / "proc" / "7" / "task" / "7"
    task.mkdir(parents=True)
    fields = " ".join(["1"] * 50)
    (tmp_path / "proc" / "7" / "stat").write_text(f"7 (a) b) S {fields}\n")
    (task / "schedstat").write_text("5000 70 3\n")
    found = DelayReader(TreeSource(tmp_path)).process(7)
    assert found is not None
    assert (found.comm, found.run_ns) == ("a) b", 5000)
    assert (found.delays[0].count, found.delays[0].total_ns) == (3, 70)
    assert "not for a captured tree" in found.absent["blkio"]


def test_of_a_tree_whose_kernel_counted_delays_the_ticks_of_block_io_are_told(
    tmp_path: Path,
) -> None:
    (tmp_path / "proc" / "7").mkdir(parents=True)
    numbered = " ".join(str(field) for field in range(4, 53))  # each field is its own number
    (tmp_path / "proc" / "7" / "stat").write_text(f"7 (a) S {numbered}\n")
    (tmp_path / "proc" / "sys" / "kernel").mkdir(parents=True)
    (tmp_path / SWITCH.lstrip("/")).write_text("1\n")
    found = DelayReader(TreeSource(tmp_path)).process(7)
    assert found is not None
    # proc(5): (42) delayacct_blkio_ticks, in clock ticks, of which a second has 100
    assert [(one.kind, one.total_ns) for one in found.delays] == [("blkio", 42 * 10_000_000)]
    assert "blkio" not in found.absent


def test_extremes_of_a_process_are_those_of_the_threads_that_waited() -> None:
    def thread(count: int, most: int, least: int) -> dict[str, int | str]:
        return {"cpu_count": count, "cpu_delay_total": 9 * count, "cpu_delay_max": most,
                "cpu_delay_min": least, "cpu_delay_max_s": most}  # fmt: skip

    found = of_exits(7, [thread(0, 0, 0), thread(4, 30, 5), thread(3, 20, 6)])
    cpu = found.delays[0]
    assert (cpu.count, cpu.total_ns, cpu.max_ns, cpu.min_ns, cpu.max_at_s) == (7, 63, 30, 5, 30)
