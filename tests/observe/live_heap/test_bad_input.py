"""What can't be scanned is said in one line, and the program runs on."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.observe.live_heap.conftest import Build, Start
from tests.observe.live_heap.test_target import status

from memtwin.errors import UserError
from memtwin.observe.live_heap import HeapTrouble, heap_scan, scan_heap
from memtwin.observe.live_heap.arenas import Trouble
from memtwin.observe.live_heap.target import check_target, frozen


def refusal(pid: int) -> str:
    with pytest.raises(UserError) as refused:
        scan_heap(pid)
    text = str(refused.value)
    assert "\n" not in text
    assert str(pid) in text
    return text


def test_a_pid_that_is_not_there_is_named() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert "no such process" in refusal(gone.pid)


def test_a_dead_process_and_a_kernel_thread_have_no_heap() -> None:
    dead = subprocess.Popen(["true"])
    time.sleep(0.2)
    assert "it has no heap" in refusal(dead.pid)
    dead.wait()
    if Path("/proc/2/comm").exists() and Path("/proc/2/comm").read_text() == "kthreadd\n":
        assert "it has no heap" in refusal(2)


def test_memtwin_does_not_scan_itself() -> None:
    assert "memtwin itself" in refusal(os.getpid())


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_another_users_process_needs_that_user_or_a_capability(build: Build, start: Start) -> None:
    program = start(build("steady", "-lm"))
    script = (
        "import os, sys\n"
        "from memtwin.observe.live_heap.target import check_target, no_permission\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "from memtwin.errors import UserError\n"
        "try:\n"
        f"    check_target({program.pid})\n"
        "except UserError as fault:\n"
        "    print(fault)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "belongs to user 0; needed is that user, or CAP_SYS_PTRACE (root)" in done.stdout


def test_a_program_that_is_traced_already_names_its_tracer(build: Build, start: Start) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace to be the other tracer")
    program = start(build("steady", "-lm"))
    tracer = subprocess.Popen(["strace", "-f", "-o", "/dev/null", "-p", str(program.pid)],
                              stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        deadline_s = time.monotonic() + 10
        while status(program.pid)["TracerPid"] == "0" and time.monotonic() < deadline_s:
            time.sleep(0.02)
        assert f"traced by strace (PID {tracer.pid}) already" in refusal(program.pid)
    finally:
        tracer.terminate()
        tracer.wait()


def test_a_program_that_ends_while_it_is_looked_at_is_said_to_have_ended(
    build: Build, start: Start
) -> None:
    program = start(build("steady", "-lm"))
    with frozen(program.pid) as hold:
        program.process.kill()
        program.process.wait()
        copy = hold.frozen.readable_pid
        assert Path(f"/proc/{copy}/maps").read_text()  # the copy can still be read
    # its new parent is init, which buries it in its own time
    assert not Path(f"/proc/{copy}").exists() or status(copy)["State"][0] == "Z"
    with pytest.raises(UserError, match="no such process"):
        check_target(program.pid)


CORRUPTIONS = {
    "size": "a size that no chunk can have here",
    "footer": "its size stands differently at its end",
    "top": "without the top among them|size that no chunk|reaches over the top|stands differently",
    "ring": "runs in a ring",
    "wild": "leads out of the heap",
}


@pytest.mark.parametrize("how", CORRUPTIONS)
def test_a_corrupted_heap_is_told_with_its_place_and_without_end(
    how: str, build: Build, start: Start
) -> None:
    program = start(build("corrupt"), how)
    with pytest.raises(HeapTrouble, match=CORRUPTIONS[how]) as told:
        scan_heap(program.pid)
    assert "the heap is corrupted at 0x" in str(told.value)
    assert f"in each of {heap_scan.TRIES} looks" in str(told.value)
    assert status(program.pid)["TracerPid"] == "0"


def test_a_heap_in_mid_change_is_looked_at_again(
    build: Build, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start(build("truth"), 10)
    real = heap_scan.take_look
    places = iter([0x1000, 0x2000])

    def unlucky(pid: int, method: heap_scan.Method) -> heap_scan.Look:
        look = real(pid, method)
        place = next(places, None)
        if place is not None:
            assert look.blocks is not None
            look.blocks.troubles.append(Trouble(place, "a size that no chunk can have here"))
        return look

    monkeypatch.setattr(heap_scan, "take_look", unlucky)
    assert scan_heap(program.pid).cost.tries == 3
    places = iter(range(0x1000, 0x9000, 0x1000))
    with pytest.raises(HeapTrouble, match=r"in mid-change in each of \d looks"):
        scan_heap(program.pid)


@pytest.mark.skipif(shutil.which("musl-gcc") is None, reason="needs musl-tools")
@pytest.mark.parametrize("link", ["-static", "-fPIE"])
def test_a_program_with_musl_is_recognised(link: str, build: Build, start: Start) -> None:
    text = refusal(start(build("plain", link, compiler="musl-gcc")).pid)
    assert "musl" in text
    assert "only glibc's is walked" in text


def test_a_program_with_jemalloc_is_recognised(build: Build, start: Start) -> None:
    library = ctypes.util.find_library("jemalloc")
    if library is None:
        pytest.skip("needs libjemalloc2")
    text = refusal(start(build("plain"), LD_PRELOAD=library).pid)
    assert "its memory comes from jemalloc" in text


def test_a_program_with_the_address_sanitizer_is_recognised(build: Build, start: Start) -> None:
    text = refusal(start(build("plain", "-fsanitize=address")).pid)
    assert "AddressSanitizer's allocator" in text


def test_leaks_planted_in_a_cpython_process_are_found_and_nothing_else(start: Start) -> None:
    script = (
        "import ctypes, sys\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.malloc.restype = ctypes.c_void_p\n"
        "def plant(n, size):\n"
        "    for i in range(n):\n"
        "        ctypes.memset(libc.malloc(size), 65, 40)\n"
        "held = [{i: str(i) * 40} for i in range(20000)]\n"
        "plant(300, 3456); plant(200, 10001)\n"
        "big = bytearray(5_000_000)\n"
        "print('READY', flush=True)\n"
        "for line in sys.stdin: print('ok', flush=True)\n"
    )
    program = start(sys.executable, "-c", script)
    scan = scan_heap(program.pid)
    definite = {group.size_bytes: group for group in scan.groups if group.kind == "definite"}
    # the last one of a size may still stand in a register or on the stack
    assert 298 <= definite[3464].blocks <= 300
    assert 198 <= definite[10008].blocks <= 200
    assert definite[3464].text == "A" * 40
    assert set(definite) == {3464, 10008}
    assert any("CPython" in note for note in scan.notes)
    assert any((group.content or "").startswith("Python ") for group in scan.groups)
    assert program.ask("x") == "ok"


def test_a_signal_to_the_program_meanwhile_arrives(build: Build, start: Start) -> None:
    program = start(build("steady", "-lm"))
    with frozen(program.pid):
        os.kill(program.pid, signal.SIGTERM)
    assert program.process.wait(timeout=10) == -signal.SIGTERM
