"""Recordings that end badly: killed, interrupted, out of disk, of programs that aren't there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import memtwin
from memtwin import host_compiler
from memtwin.errors import UserError
from memtwin.record import Method, TraceOp, open_trace, record
from memtwin.record import qemu as qemu_module
from memtwin.record import recorder as recorder_module

Compile = Callable[[str], Path]

RECORD = """
import sys
from memtwin.record import record
from memtwin.errors import UserError
try:
    summary = record(sys.argv[2:], sys.argv[1])
    print("recorded", summary.exit_status, summary.interrupted, flush=True)
except UserError as error:
    print("refused", error, flush=True)
"""

ENDLESS = r"""
#include <stdlib.h>
#include <unistd.h>
int main(void)
{
    volatile char *a = malloc(1000 << 12);
    write(1, "begun\n", 6);
    for (long i = 0;; i++) a[(i * 7919 % 1000) << 12] = 1;
}
"""


# the package under test, for interpreters that the tests start
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(memtwin.__file__).parent.parent)}


def start(*command: object, cwd: Path) -> subprocess.Popen[str]:
    recorder = subprocess.Popen(
        [sys.executable, "-c", RECORD, "t.trace", *map(str, command)],
        cwd=cwd,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert recorder.stdout is not None
    return recorder


def wait_for_bytes(part: Path, n: int) -> None:
    for _ in range(300):
        if part.exists() and part.stat().st_size > n:
            return
        time.sleep(0.05)
    pytest.fail(f"{part} did not grow to {n} bytes")


def alive(name: Path) -> bool:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(name).encode() in entry.read_bytes():
                return True
        except OSError:
            continue
    return False


@pytest.mark.usefixtures("need_qemu")
def test_a_killed_recorder_leaves_a_readable_part_and_no_running_program(
    compile_c: Compile, tmp_path: Path
) -> None:
    program = compile_c(ENDLESS)
    recorder = start(program, cwd=tmp_path)
    part = tmp_path / "t.trace.part"
    wait_for_bytes(part, 400_000)
    recorder.kill()
    recorder.wait()
    for _ in range(100):
        if not alive(program):
            break
        time.sleep(0.05)
    assert not alive(program)
    assert not (tmp_path / "t.trace").exists()
    trace = open_trace(part)
    assert not trace.complete
    assert trace.metadata.command == [str(program)]
    columns = trace.read()
    assert len(columns["op"]) == trace.n_events > 10_000
    assert len(np.unique(columns["a"][columns["op"] == TraceOp.STORE])) > 1000
    assert (np.diff(columns["insns"].astype(np.int64)) >= 0).all()


@pytest.mark.usefixtures("need_qemu")
def test_a_truncated_part_is_read_up_to_its_last_whole_block(
    compile_c: Compile, tmp_path: Path
) -> None:
    recorder = start(compile_c(ENDLESS), cwd=tmp_path)
    part = tmp_path / "t.trace.part"
    wait_for_bytes(part, 700_000)
    recorder.kill()
    recorder.wait()
    whole = open_trace(part).read()
    cut = tmp_path / "cut"
    cut.write_bytes(part.read_bytes()[: 65536 * 6 - 100])  # the header, four slots, most of one
    trace = open_trace(cut)
    columns = trace.read()
    n = len(columns["op"]) - 1  # the last is the EXIT that ends the open process
    assert 4 * 3000 < n < 5 * 4096
    for name, column in columns.items():
        assert np.array_equal(column[:n], whole[name][:n])
    damaged = bytearray(cut.read_bytes())
    damaged[65536 * 2 + 1000] ^= 1
    cut.write_bytes(damaged)
    assert open_trace(cut).metadata.counts.damaged_blocks == 1


@pytest.mark.usefixtures("need_qemu")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_program_and_the_trace_is_finished(
    compile_c: Compile, tmp_path: Path, number: signal.Signals
) -> None:
    recorder = start(compile_c(ENDLESS), cwd=tmp_path)
    wait_for_bytes(tmp_path / "t.trace.part", 300_000)
    recorder.send_signal(number)
    out, _ = recorder.communicate(timeout=30)
    assert out.splitlines()[-1] == f"recorded {128 + number} True"
    trace = open_trace(tmp_path / "t.trace")
    assert trace.complete
    assert trace.metadata.exit_status == 128 + number
    assert trace.metadata.threads[0].ended == f"signal {int(number)}"
    assert [p.name for p in tmp_path.iterdir()] == ["t.trace"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt, SystemExit])
def test_an_interruption_before_the_program_runs_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    def interrupted(program: object, command: object, part: Path, *rest: object) -> None:
        part.write_bytes(b"begun")
        raise fault

    monkeypatch.setattr(recorder_module, "record_qemu", interrupted)
    monkeypatch.setattr(recorder_module, "emulator_for", lambda arch: "qemu")
    with pytest.raises(fault):
        record(["true"], tmp_path / "t.trace")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("need_qemu")
def test_a_program_that_handles_the_signal_goes_on(tmp_path: Path) -> None:
    program = "trap 'echo caught; exit 3' INT; echo begun; while :; do :; done"
    recorder = start("/bin/sh", "-c", program, cwd=tmp_path)
    assert recorder.stdout is not None
    assert recorder.stdout.readline() == "begun\n"
    recorder.send_signal(signal.SIGINT)
    out, _ = recorder.communicate(timeout=30)
    assert out.splitlines() == ["caught", "recorded 3 True"]


@pytest.mark.usefixtures("need_qemu")
def test_a_full_disk_is_one_line_and_leaves_nothing(compile_c: Compile, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    script = tmp_path / "record.py"
    script.write_text(RECORD)
    inside = f"mount -t tmpfs -o size=1m none {small} && cd {small} && "
    inside += f"{sys.executable} {script} t.trace {compile_c(ENDLESS)}; ls -A {small}"
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False).returncode:
        pytest.skip("no private mounts here (unshare -rm)")
    out = subprocess.run(
        [unshare, "-rm", "sh", "-c", inside],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = out.stdout.splitlines()
    assert lines[0] == "begun"
    assert lines[1:] == [f"refused {small}: the disk is full; the recording was given up"]
    assert out.stderr == ""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["/no/such/program"], "/no/such/program: no such program"),
        (["no-such-program-anywhere"], "no such program in PATH"),
        (["{dir}"], "found a directory"),
        (["{dir}/data"], "may not be executed"),
        (["{dir}/text"], "neither an ELF program nor a script"),
        (["{dir}/arm"], "found a program for arm, allowed are x86_64"),
        (["{dir}/lost"], "no such program"),
        ([], "no program named"),
    ],
)
def test_a_program_that_cannot_be_recorded_is_named(
    tmp_path: Path, command: list[str], says: str
) -> None:
    (tmp_path / "data").write_text("x")
    arm = b"\x7fELF\x01\x01\x01" + bytes(9) + b"\x02\x00\x28\x00" + bytes(80)
    for name, content in (("text", b"no line"), ("arm", arm), ("lost", b"#!/no/interpreter\n")):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o755)
    with pytest.raises(UserError, match=says) as caught:
        record([word.format(dir=tmp_path) for word in command], tmp_path / "t.trace")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "t.trace").exists()


def test_a_missing_directory_and_a_wild_window_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        record(["/bin/true"], tmp_path / "no" / "t.trace")
    with pytest.raises(UserError, match="found a directory"):
        record(["/bin/true"], tmp_path)
    with pytest.raises(UserError, match="window: found 0"):
        record(["/bin/true"], tmp_path / "t.trace", window=0)


def test_without_a_recorder_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.which

    def which(name: str) -> str | None:
        return None if name.startswith(("qemu", "valgrind")) else real(name)

    monkeypatch.setattr(qemu_module.shutil, "which", which)
    for method in (Method.AUTO, Method.QEMU):
        with pytest.raises(UserError, match="apt install qemu-user"):
            record(["/bin/true"], tmp_path / "t.trace", method=method)
    with pytest.raises(UserError, match="apt install valgrind"):
        record(["/bin/true"], tmp_path / "t.trace", method=Method.LACKEY)
    assert recorder_module.emulator_for(os.uname().machine) is None


@pytest.mark.usefixtures("need_qemu")
def test_without_a_compiler_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CC", "no-such-compiler")
    real = shutil.which
    monkeypatch.setattr(
        host_compiler.shutil, "which", lambda name: None if name == "gcc" else real(name)
    )
    with pytest.raises(UserError, match="apt install gcc"):
        record(["/bin/true"], tmp_path / "t.trace")
    assert not (tmp_path / "t.trace.part").exists()
