"""A program inside a twin: its own process, the twin's machine, and no trace on the host."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mount.twins import RECORDING, SHOP, Twin, memtwin, shop_result

from memtwin.mount.checkpoint_tree import CheckpointTree
from memtwin.mount.fuse import load_mfusepy
from memtwin.mount.inside import InsideNodes, run_inside, try_namespace
from memtwin.mount.wanted import Opened

PR_SET_DUMPABLE = 4
FUSE_NUMBERS = (10, 229)  # include/linux/miscdevice.h FUSE_MINOR, v6.12


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    reason = try_namespace()
    if reason:
        pytest.skip(reason)


def inside(twin: Twin, script: str) -> subprocess.CompletedProcess[str]:
    return memtwin("inside", *twin.words, "--", "sh", "-c", script)


def test_the_exit_status_is_the_command_s(twins: dict[str, Twin]) -> None:
    result = twins["result"]
    assert inside(result, "exit 7").returncode == 7
    assert inside(result, "kill -9 $$").returncode == 128 + signal.SIGKILL
    done = memtwin("inside", *result.words, "--", "no-such-program")
    assert (done.returncode, done.stderr) == (
        127,
        "memtwin: no-such-program: No such file or directory\n",
    )


def test_without_a_command_it_is_the_user_s_shell(twins: dict[str, Twin]) -> None:
    done = memtwin("inside", *twins["result"].words, input="head -1 /proc/meminfo; exit 5\n")
    assert done.returncode == 5
    assert done.stdout == twins["result"].text("/proc/meminfo").split("\n")[0] + "\n"


def test_a_script_s_mistake_is_told_while_its_twin_is_shown(tmp_path: Path) -> None:
    script = tmp_path / "bad.wl"
    script.write_text("start P\n@P touch A r seq 0 1\n")
    words = (str(script), "--play", "100", "--machine", "board-128m")
    done = memtwin("inside", *words, "--", "sh", "-c", "sleep 1; cat /proc/1/comm")
    assert (done.returncode, done.stdout) == (0, "P\n")
    assert "line 2: @P touch A r seq 0 1: found area 'A'" in done.stderr


def test_a_recording_plays_from_wherever_memtwin_was_started() -> None:
    look = "until grep -q 'VmRSS:.*[1-9][0-9][0-9][0-9] kB' /proc/1/status; do sleep 0.1; done"
    words = (RECORDING.name, "--play", "1", "--limit", "16M", "--swap", "zram:64M")
    done = memtwin("inside", *words, "--", "sh", "-c", look, cwd=RECORDING.parent)
    assert (done.returncode, done.stderr) == (0, "")


def test_proc_and_sys_are_the_twin_s_and_self_is_the_program(twins: dict[str, Twin]) -> None:
    twin = twins["result"]
    done = inside(twin, "ls /proc; echo -; ls /sys; echo -; cat /proc/self/comm; ls /proc/$$/comm")
    processes, top, own = done.stdout.split("-\n")
    assert sorted(processes.split()) == sorted([*twin.tree.names("/proc"), "self", "thread-self"])
    assert top.split() == twin.tree.names("/sys")
    assert own.split()[0] == "cat"
    assert own.split()[1].startswith("/proc/")


def test_the_host_keeps_no_mount_and_no_process(twins: dict[str, Twin]) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    done = inside(twins["result"], "cat /proc/.host/$$/stat; grep -c . /proc/.host/self/mountinfo")
    assert done.returncode == 0, done.stderr
    assert Path("/proc/self/mountinfo").read_text() == before
    pid = done.stdout.split()[0]
    assert not Path(f"/proc/{pid}").exists()


def children(pid: int) -> list[int]:
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(word) for word in words]


def test_killing_memtwin_ends_the_program_and_the_server(twins: dict[str, Twin]) -> None:
    words = ["inside", *twins["result"].words, "--", "sh", "-c", "echo up; exec sleep 1000"]
    process = subprocess.Popen(
        [sys.executable, "-m", "memtwin", *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    born = children(process.pid)
    assert len(born) == 2  # the program, and who answers for its files
    process.kill()
    process.communicate()
    deadline_s = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/fd").is_dir() and _runs(pid) for pid in born):
        assert time.monotonic() < deadline_s, f"still there: {born}"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_script_shows_what_its_result_shows(twins: dict[str, Twin], tmp_path: Path) -> None:
    script = tmp_path / "shop.wl"
    script.write_text(SHOP)
    machine = ("--set", "ram=192M", "--swap", "zram:256M", "--set", "cpus=2", "--at", "busy")
    done = memtwin("inside", str(script), *machine, "--", "cat", "/proc/meminfo", "/proc/3/smaps")
    twin = twins["result"]
    assert done.stdout == twin.text("/proc/meminfo") + twin.text("/proc/3/smaps")


def _tell(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def in_a_child(output: Path, uid: int, opened: Opened, script: str) -> int:
    """Exit status of `run_inside` in a forked process of user `uid`."""
    load_mfusepy()  # the user may have no right to read this project's files
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            fd = os.open(output, os.O_WRONLY | os.O_CREAT, 0o666)
            os.dup2(fd, 1)
            os.dup2(fd, 2)
            os.chdir("/")
            if uid:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                # as exec would: else /proc/self stays root's (include/uapi/linux/prctl.h, v6.12)
                ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
            reason = try_namespace()
            status = 98 if reason else run_inside(opened, ["sh", "-c", script], _tell)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def opened_result() -> Opened:
    return Opened(CheckpointTree(shop_result()["checkpoints"][-1]["files"]), "shop")


@pytest.fixture
def fuse_for_all() -> Iterator[Path]:
    """A device node of FUSE that any user may open, as distributions give it mode 0666."""
    if os.geteuid() != 0:
        pytest.skip("the other tests ran as a normal user already")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        try:
            os.mknod(folder / "fuse", stat.S_IFCHR | 0o600, os.makedev(*FUSE_NUMBERS))
            (folder / "fuse").chmod(0o666)
            os.close(os.open(folder / "fuse", os.O_RDWR))
        except OSError as fault:
            pytest.skip(f"no FUSE device can be made here: {fault}")
        yield folder / "fuse"


def test_a_normal_user_needs_no_root(
    tmp_path: Path, fuse_for_all: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memtwin.mount.inside.FUSE_DEVICE", fuse_for_all)
    output, opened = tmp_path / "out", opened_result()
    script = "id -u; cat /proc/meminfo /proc/self/comm; ls -d /proc/$$"
    status = in_a_child(output, 65534, opened, script)
    if status == 98:
        pytest.skip("this host gives normal users no user namespace")
    user, _, rest = output.read_text().partition("\n")
    texts, own, found = rest.rsplit("\n", 3)[:3]
    assert user == "65534"
    assert texts + "\n" == opened.tree.read("/proc/meminfo")
    assert own == "cat"
    assert found.startswith("/proc/")
    assert status == 0


def test_without_fuse_the_tree_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memtwin.mount.inside._fuse_is_here", lambda: False)
    output, opened = tmp_path / "out", opened_result()
    status = in_a_child(output, 0, opened, "cat /proc/meminfo /sys/fs/cgroup/web/memory.max")
    told, _, texts = output.read_text().partition("\n")
    assert status == 0
    assert told.startswith("no FUSE on this host")
    assert texts == f"{opened.tree.read('/proc/meminfo')}{24 << 20}\n"


def test_only_processes_inside_are_found_by_their_number() -> None:
    nodes = InsideNodes(opened_result().tree)
    nodes.namespace = os.readlink("/proc/self/ns/mnt")
    own = nodes.node(f"/proc/{os.getpid()}")
    assert own is not None
    assert own.target == f".host/{os.getpid()}"
    nodes.namespace = "mnt:[0]"
    assert nodes.node(f"/proc/{os.getpid()}") is None
