"""A user without rights: programs inside a twin, and a mounted twin, gone whichever way it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mount.twins import TESTS, shop_result

NOBODY = 65534
PATIENCE_S = 60.0
# run by an interpreter that anyone may start, which sees what this one sees
PROGRAM = f"""import sys
sys.path[:0] = {[str(TESTS.parent / "src"), *[p for p in sys.path if "site-packages" in p]]!r}
from memtwin.cli.main import main
main()
"""


def as_nobody(*words: str) -> list[str]:
    """A command line that runs `words` as a user without rights."""
    if os.geteuid() != 0:
        return list(words)
    ids = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    return ["setpriv", *ids, "env", *words]  # env starts it, so that no right of ours is left


def interpreter() -> str:
    """A Python of this version that such a user may start and that finds memtwin."""
    for path in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        if not os.path.exists(path):
            continue
        done = subprocess.run(
            as_nobody(path, "-Bc", PROGRAM, "--version"), capture_output=True, check=False, cwd="/"
        )
        if done.returncode == 0:
            return path
    pytest.skip("no interpreter that a user without rights may start finds memtwin")


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory of that user, with a result in it."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("no setpriv to become another user")
    folder = Path(tempfile.mkdtemp(prefix="memtwin-user-"))
    (folder / "shop.json").write_text(json.dumps(shop_result()))
    (folder / "here").mkdir()
    if os.geteuid() == 0:
        for path in (folder, folder / "shop.json", folder / "here"):
            os.chown(path, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def memtwin(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = as_nobody(interpreter(), "-Bc", PROGRAM, *words)
    environment = {**os.environ, "LC_ALL": "C", "COLUMNS": "300", "HOME": str(place)}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=place,
        env=environment,
    )  # fmt: skip


def inside(place: Path, *command: str) -> str:
    done = memtwin(place, "inside", "shop.json", "--at", "busy", "--", *command)
    if "no user namespace" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_real_tools_read_the_twin_without_rights(place: Path) -> None:
    busy = next(c for c in shop_result()["checkpoints"] if c["name"] == "busy")
    total = int(busy["files"]["/proc/meminfo"].split()[1])
    words = inside(place, "free", "-k").splitlines()[1].split()
    assert int(words[1]) == total
    pids = sorted(path.split("/")[2] for path in busy["files"] if path.endswith("/smaps"))
    shown = inside(place, "ps", "-eo", "pid,rss,comm", "--no-headers").splitlines()
    assert sorted(line.split()[0] for line in shown) == pids
    assert all(int(line.split()[1]) > 0 for line in shown)
    own = inside(place, "sh", "-c", "cat /proc/self/comm; id -u; cat /proc/$$/comm")
    assert own.split() == ["cat", str(NOBODY if os.geteuid() == 0 else os.geteuid()), "sh"]


def test_a_twin_runs_on_while_it_is_looked_at_without_rights(place: Path) -> None:
    (place / "run.wl").write_text("start P\nsleep 100000\n")
    look = "read a b < /proc/uptime; sleep 1; read c d < /proc/uptime; echo $a $c"
    done = memtwin(place, "inside", "run.wl", "--play", "50", "--", "sh", "-c", look)
    if "namespace" in done.stderr or "needs /dev/fuse" in done.stderr:
        pytest.skip(done.stderr.strip())
    first, later = map(float, done.stdout.split())
    assert later - first > 10


def is_mounted(directory: Path) -> bool:
    return f" {directory} fuse " in Path("/proc/self/mounts").read_text()


def wait_until(directory: Path, mounted: bool) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while is_mounted(directory) is not mounted:
        assert time.monotonic() < deadline_s, f"{directory} is mounted: {not mounted}"
        time.sleep(0.02)


@pytest.mark.parametrize("how", ["umount", "SIGTERM", "SIGKILL"])
def test_a_mount_without_rights_is_gone_whichever_way_it_ends(place: Path, how: str) -> None:
    if shutil.which("fusermount3") is None or not os.path.exists("/dev/fuse"):
        pytest.skip("no FUSE here")
    directory = place / "here"
    words = as_nobody(interpreter(), "-Bc", PROGRAM, "mount", "shop.json", "here", "--at", "busy")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, cwd=place)
    try:
        wait_until(directory, mounted=True)
        # not even root may look into it: whose it is, is who asks FUSE
        read = as_nobody("cat", f"{directory}/proc/meminfo")
        done = subprocess.run(read, capture_output=True, text=True, check=True)
        busy = next(c for c in shop_result()["checkpoints"] if c["name"] == "busy")
        assert done.stdout == busy["files"]["/proc/meminfo"]
        if how == "umount":
            unmount = as_nobody("fusermount3", "-u", str(directory))
            subprocess.run(unmount, check=True, capture_output=True)
        else:
            process.send_signal(getattr(signal, how))
        wait_until(directory, mounted=False)
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == (-signal.SIGKILL if how == "SIGKILL" else 0)
    finally:
        process.kill()
        process.communicate()
        wait_until(directory, mounted=False)


def test_what_needs_rights_is_said_in_one_line(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs a directory of somebody else's")
    (place / "others").mkdir(exist_ok=True)
    done = memtwin(place, "mount", "shop.json", "others")
    assert done.returncode == 2
    assert "user has no write access to mountpoint" in done.stderr
    done = memtwin(place, "mount", "shop.json", "others/twin", "--write")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "memtwin: others/twin: Permission denied\n"
    assert memtwin(place, "mount", "shop.json", "plain", "--write").returncode == 0
    assert (place / "plain" / "proc" / "meminfo").is_file()
