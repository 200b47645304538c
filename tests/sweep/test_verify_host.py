"""Verification on the real host: what it measures, and that it always leaves the host as it was."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memtwin.analysis.results import ReplayResult, Verdict
from memtwin.analysis.sizing import make_curve
from memtwin.errors import UserError
from memtwin.sweep import guardian, host, measure
from memtwin.sweep import verify as verifying
from memtwin.sweep.host import CgroupVersion, HostChanges, make_group
from memtwin.sweep.measure import (
    TLB_EMPTIER,
    CommandFiles,
    RealCommand,
    cached_bytes,
    evict,
    run_limited,
)
from memtwin.sweep.tlb_emptier import TLB_PAGES
from memtwin.sweep.verify import SwapSource, Terms
from memtwin.units import MIB

ROOT = Path(__file__).parents[2]


def why_not_here() -> str | None:
    if os.geteuid() != 0:
        return "needs root to make memory groups"
    try:
        _, mount = host.find_memory_controller()
    except UserError as fault:
        return str(fault)
    return None if os.access(mount, os.W_OK) else f"{mount} is read-only"


needs_groups = pytest.mark.skipif(why_not_here() is not None, reason=why_not_here() or "")
needs_zram = pytest.mark.skipif(
    why_not_here() is not None or not os.path.exists("/sys/class/zram-control/hot_add"),
    reason=why_not_here() or "this kernel has no zram",
)


def traces_on_host() -> set[str]:
    """Everything of ours that could be left behind: groups, swap, devices, directories."""
    left = [f"swap {line.split()[0]}" for line in Path("/proc/swaps").read_text().splitlines()[1:]]
    left += [f"block {name}" for name in os.listdir("/sys/block") if name.startswith("zram")]
    if why_not_here() is None:
        left += [str(path) for path in host.find_memory_controller()[1].glob("memtwin-*")]
    left += [str(path) for path in Path("/var/tmp").glob("memtwin-verify-*")]
    return set(left)


@pytest.fixture
def unchanged_host() -> Iterator[None]:
    before = traces_on_host()
    yield
    assert not traces_on_host() - before


def eater(size_mib: int, passes: int = 1) -> list[str]:
    """A command that touches `size_mib` MiB of anonymous memory `passes` times."""
    program = (
        "import mmap\n"
        f"m = mmap.mmap(-1, {size_mib} << 20)\n"
        f"for _ in range({passes}):\n"
        "    for at in range(0, len(m), 4096): m[at:at + 8] = b'memtwin!'\n"
    )
    return [sys.executable, "-S", "-c", program]


def test_a_swap_header_is_what_the_kernel_looks_for() -> None:
    page = guardian.swap_header(MIB)
    assert len(page) == 4096
    assert page[-10:] == b"SWAPSPACE2"
    assert struct.unpack_from("<III", page, 1024) == (1, 255, 0)


def test_the_memory_controller_is_found_in_either_version(tmp_path: Path) -> None:
    v1 = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    assert host.find_memory_controller(v1) == (CgroupVersion.V1, Path("/sys/fs/cgroup/memory"))
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    v2 = f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw,nsdelegate\n"
    assert host.find_memory_controller(v2) == (CgroupVersion.V2, tmp_path)
    (tmp_path / "cgroup.controllers").write_text("hugetlb\n")
    with pytest.raises(UserError, match="no cgroup with the memory controller"):
        host.find_memory_controller(v2)


def test_the_figures_of_a_version_2_group_are_read_alike(tmp_path: Path) -> None:
    group = host.Group(CgroupVersion.V2, tmp_path)
    (tmp_path / "memory.stat").write_text("anon 5\npgfault 70\npgmajfault 9\n")
    (tmp_path / "memory.peak").write_text("12345\n")
    (tmp_path / "memory.events").write_text("max 3\noom 1\noom_kill 1\n")
    (tmp_path / "cgroup.procs").write_text("17\n18\n")
    assert group.faults() == (70, 9)
    assert group.peak_bytes() == 12345
    assert group.oom_kills() == 1
    assert list(group.pids()) == [17, 18]
    group.set_limit(None)
    assert (tmp_path / "memory.max").read_text() == "max"
    group.forbid_swap()
    assert (tmp_path / "memory.swap.max").read_text() == "0"


def test_active_swap_is_summed() -> None:
    head = "Filename\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    assert host.active_swap_kib(head) == 0
    assert host.active_swap_kib(head + "/dev/a partition 100 0 -2\n/dev/b file 28 1 5\n") == 128


def test_evicting_a_file_leaves_none_of_it_in_the_page_cache(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(os.urandom(300_000))
    if cached_bytes(str(path)) == 0:
        pytest.skip("this file system has no page cache to look at")
    evict([str(path)])
    if os.statvfs(tmp_path).f_fsid == 0:
        pytest.skip("a tmpfs keeps its files")
    assert cached_bytes(str(path)) == 0
    path.read_bytes()
    assert cached_bytes(str(path)) == 74 * 4096


@pytest.mark.parametrize(
    ("command", "terms", "words"),
    [
        (RealCommand(["no-such-program-here"]), Terms(), "no such program"),
        (RealCommand(["true"], cwd="/no/such/place"), Terms(), "working directory"),
        (RealCommand(["true"]), Terms(SwapSource.ZRAM, 5), "--with-zram: found 5B"),
    ],
)
@needs_groups
def test_what_would_stop_a_verification_is_told_before(
    command: RealCommand, terms: Terms, words: str
) -> None:
    with pytest.raises(UserError, match=words) as fault:
        verifying.check(command, terms)
    assert "\n" not in str(fault.value)


def test_without_root_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match=r"needs root .* found user id 1000"):
        verifying.check(RealCommand(["true"]), Terms())


@needs_groups
@pytest.mark.usefixtures("unchanged_host")
def test_without_swap_there_is_one_line() -> None:
    if host.active_swap_kib():
        pytest.skip("this host has swap")
    with pytest.raises(UserError, match=r"no swap.*--with-zram"):
        verifying.check(RealCommand(["true"]), Terms())


@needs_groups
@pytest.mark.usefixtures("unchanged_host")
def test_a_run_counts_the_command_and_nothing_before_it() -> None:
    command = RealCommand(eater(40), layout=measure.Layout.FIXED)
    with HostChanges() as changes:
        group = make_group(changes, f"memtwin-test-{os.getpid()}")
        run = run_limited(command, group, CommandFiles(command, changes), None, 60)
    assert run.verdict is Verdict.FINISHED
    assert 40 * 256 <= run.min_flt <= 40 * 256 + 3000
    assert run.group_min_flt == pytest.approx(run.min_flt, abs=300)
    assert run.peak_usage_bytes is None or run.peak_usage_bytes >= 40 * MIB


@needs_groups
@pytest.mark.usefixtures("unchanged_host")
def test_files_in_use_by_others_are_cold_for_the_command() -> None:
    """This very interpreter keeps its parts in memory, yet the command has to read them."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    mine = sorted({line.split(maxsplit=5)[5] for line in maps if ".so" in line or "bin/" in line})
    command = RealCommand([sys.executable, "-S", "-c", "pass"], read_files=mine)
    with HostChanges() as changes:
        own_files = CommandFiles(command, changes)
        if not own_files.copies:
            pytest.skip("the interpreter's file is not kept in memory here")
        assert os.path.realpath(sys.executable) in [path for _, path in own_files.copies]
        for turn in range(2):
            group = make_group(changes, f"memtwin-test-{os.getpid()}-{turn}")
            run = run_limited(command, group, own_files, None, 60)
            assert run.cached_elsewhere_bytes == 0
            assert run.maj_flt > 0


@needs_groups
@pytest.mark.usefixtures("unchanged_host")
def test_files_that_are_executed_cost_the_command_nothing() -> None:
    maps = Path("/proc/self/maps").read_text().splitlines()
    mine = sorted({line.split(maxsplit=5)[5] for line in maps if ".so" in line or "bin/" in line})
    argv = [sys.executable, "-S", "-c", "pass"]
    peaks = {}
    with HostChanges() as changes:
        for warm in ([], mine):
            command = RealCommand(argv, read_files=mine, warm_files=warm)
            own_files = CommandFiles(command, changes)
            group = make_group(changes, f"memtwin-test-{os.getpid()}-{len(warm)}")
            run = run_limited(command, group, own_files, None, 60)
            peaks[len(warm)] = run.peak_usage_bytes
            assert run.cached_elsewhere_bytes == 0
    if None not in peaks.values():
        assert peaks[len(mine)] < peaks[0] - MIB


@needs_groups
@pytest.mark.usefixtures("unchanged_host")
def test_a_run_out_of_memory_is_told_from_a_failing_one() -> None:
    command = RealCommand(eater(64))
    failing = RealCommand([sys.executable, "-S", "-c", "raise SystemExit(3)"])
    slow = RealCommand(["sleep", "60"])
    with HostChanges() as changes:
        own_files = CommandFiles(command, changes)

        def run(which: RealCommand, limit_bytes: int | None, patience_s: float = 60.0) -> Verdict:
            name = f"memtwin-test-{os.getpid()}-{time.monotonic_ns()}"
            group = make_group(changes, name)
            group.forbid_swap()
            return run_limited(which, group, own_files, limit_bytes, patience_s).verdict

        assert run(command, 32 * MIB) is Verdict.OOM_KILLED
        assert run(failing, None) is Verdict.FAILED
        assert run(slow, None, 0.2) is Verdict.TIMED_OUT
        with pytest.raises(UserError, match="no-such-thing"):
            run(RealCommand(["no-such-thing"]), None)


@needs_zram
@pytest.mark.usefixtures("unchanged_host")
def test_prediction_and_measurement_meet_in_one_report() -> None:
    command = RealCommand(eater(48, passes=2), layout=measure.Layout.FIXED)
    curve = make_curve([ReplayResult(limit_bytes=32 * MIB, maj_flt=6000)])
    told: list[str] = []
    report = verifying.verify(
        command,
        curve,
        Terms(SwapSource.ZRAM, 128 * MIB, runs=1),
        lambda done, total, what: told.append(f"{done}/{total} {what}"),
    )
    (point,) = report.points
    assert point.runs[0].verdict is Verdict.FINISHED
    # a cyclic pass over 48 MiB in 32 MiB of LRU memory brings nearly every page back from swap
    assert point.measured_maj_flt is not None
    assert 8000 <= point.measured_maj_flt <= 13500
    assert point.runs[0].swap_in_pages >= 8000
    assert report.median_error_percent is not None
    assert told == ["0/2 no limit", "1/2 32M", "2/2 done"]
    assert report.conditions["swap"] == "zram of 128M, made for this run"


HOLDER = """
import os, sys, time
from memtwin.sweep.host import HostChanges, make_group
from memtwin.sweep.measure import CommandFiles, RealCommand, run_limited
command = RealCommand(["sleep", "600"])
with HostChanges() as changes:
    changes.ask("zram", 64 << 20)
    changes.ask("directory", "/var/tmp")
    group = make_group(changes, f"memtwin-test-{os.getpid()}")
    print("ready", flush=True)
    run_limited(command, group, CommandFiles(command, changes), None, 600)
"""


@needs_zram
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
@pytest.mark.usefixtures("unchanged_host")
def test_the_host_is_restored_whatever_signal_ends_the_run(number: signal.Signals) -> None:
    before = traces_on_host()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    mount = host.find_memory_controller()[1]
    procs = mount / f"memtwin-test-{process.pid}" / "cgroup.procs"
    deadline_s = time.monotonic() + 10
    while not procs.read_text().split() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    (pid,) = (int(word) for word in procs.read_text().split())
    assert len(traces_on_host() - before) >= 4  # swap, its device, a directory, a group
    process.send_signal(number)
    process.wait(timeout=20)
    process.stdout.close()
    deadline_s = time.monotonic() + 20
    while traces_on_host() - before and time.monotonic() < deadline_s:
        time.sleep(0.02)  # after SIGKILL nobody waits for the guardian
    assert (
        not os.path.exists(f"/proc/{pid}")
        or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    )


@needs_groups
@pytest.mark.usefixtures("unchanged_host")
def test_a_change_the_host_refuses_is_one_line_and_the_rest_is_undone() -> None:
    name = f"memtwin-test-{os.getpid()}"
    with HostChanges() as changes:
        make_group(changes, name)
        with pytest.raises(UserError, match="File exists") as fault:
            make_group(changes, name)
    assert "\n" not in str(fault.value)


def test_what_cannot_be_undone_is_named() -> None:
    keeper = guardian.Guardian()

    def refuse() -> None:
        raise guardian.Failed("swapoff(/dev/zram7): Cannot allocate memory")

    order: list[str] = []
    keeper.undo = [lambda: order.append("first made"), refuse, lambda: order.append("last made")]
    assert keeper.undo_all() == ["swapoff(/dev/zram7): Cannot allocate memory"]
    assert order == ["last made", "first made"]


def test_the_guardian_answers_nonsense_with_a_reason(tmp_path: Path) -> None:
    with HostChanges() as changes:
        with pytest.raises(UserError, match="No such file or directory"):
            changes.ask("directory", str(tmp_path / "missing"))
        made = Path(changes.ask("directory", str(tmp_path)))
        assert made.is_dir()
    assert not made.exists()


def test_the_process_that_empties_a_tlb_stays_on_its_cpu_and_ends_with_who_started_it() -> None:
    cpu = max(os.sched_getaffinity(0))
    emptier = subprocess.Popen(
        [sys.executable, "-I", "-S", str(TLB_EMPTIER), str(cpu), "1000"], stdin=subprocess.PIPE
    )
    try:
        deadline_s = time.monotonic() + 10
        while f"Cpus_allowed_list:\t{cpu}\n" not in _status(emptier.pid):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        resident = int(Path(f"/proc/{emptier.pid}/statm").read_text().split()[1])
        while resident < TLB_PAGES:  # it has touched what it reads again and again
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
            resident = int(Path(f"/proc/{emptier.pid}/statm").read_text().split()[1])
        assert emptier.stdin is not None
        emptier.stdin.close()
        assert emptier.wait(10) == 0
    finally:
        emptier.kill()
        emptier.wait()


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()
