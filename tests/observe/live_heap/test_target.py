"""Whatever becomes of the scanner, at whatever stage: the program runs on, unaltered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.observe.live_heap.conftest import Build, Running, Start

from memtwin.errors import UserError
from memtwin.observe.live_heap.target import Method, frozen

HEADER = Path(__file__).parents[3] / "src/memtwin/observe/live_heap/copier/copier.h"
STAGES = HEADER.read_text().split("enum stage {")[1].split("ST_STAGES")[0].replace("\n", "")
STAGE_NAMES = [name.strip() for name in STAGES.split(",") if name.strip()]
# a SIGKILL may need a moment to be carried out; then nothing of ours is left
PATIENCE_S = 10.0


def children_of(pid: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                rest = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(rest[1]) == pid:
                found.append(int(name))
    return found


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}


def assert_runs_on_unaltered(program: Running, work_before: int) -> int:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        seen = status(program.pid)
        work, wrong = program.ask().split(" ", 1)
        # it was looked at before it was asked: it may not have returned into its old state by then
        done = seen["TracerPid"] == "0" and seen["SigBlk"] == "0" * 16
        done = done and seen["State"][0] in "RS" and not children_of(program.pid)
        if (done and int(work) > work_before) or time.monotonic() > deadline_s:
            break
        time.sleep(0.01)
    assert wrong == "-"
    assert seen["TracerPid"] == "0"
    assert seen["State"][0] in "RS"
    assert seen["SigBlk"] == "0" * 16
    assert children_of(program.pid) == []
    assert int(work) > work_before
    return int(work)


def test_the_stages_are_read_from_the_copiers_own_list() -> None:
    assert len(STAGE_NAMES) == 18
    assert STAGE_NAMES[0] == "ST_START"
    assert STAGE_NAMES[-1] == "ST_REAPED"


@pytest.mark.parametrize("first_thread", ["waits", "busy"])
def test_a_copier_killed_at_any_stage_leaves_the_program_running_right(
    first_thread: str, build: Build, start: Start
) -> None:
    program = start(build("steady", "-lm"), first_thread)
    work = 0
    reached = set()
    for number, name in enumerate(STAGE_NAMES):
        try:
            with frozen(program.pid, Method.FORK, die_at=number) as hold:
                assert hold.frozen.method is Method.FORK
        except UserError as fault:
            if "the copier was killed" in str(fault):
                reached.add(name)
        else:
            assert hold.released is None, name
            reached.add(name)
        work = assert_runs_on_unaltered(program, work)
    assert reached == set(STAGE_NAMES)


def test_a_program_read_where_it_stands_runs_on_when_the_copier_is_killed(
    build: Build, start: Start
) -> None:
    program = start(build("steady", "-lm"))
    work = 0
    for name in ("ST_SEIZED", "ST_STOPPED", "ST_HELD"):
        killed = False
        try:
            with frozen(program.pid, Method.COPY, die_at=STAGE_NAMES.index(name)) as hold:
                pass
        except UserError as fault:
            killed = "the copier was killed" in str(fault)
        # once it was held, the end of the block finds out
        assert killed or hold.released is None
        work = assert_runs_on_unaltered(program, work)


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_scanner_that_dies_while_it_reads_lets_the_program_go(
    method: Method, number: int, build: Build, start: Start
) -> None:
    program = start(build("steady", "-lm"))
    script = (
        "import os, sys\n"
        "from memtwin.observe.live_heap.target import Method, frozen\n"
        f"with frozen({program.pid}, Method({method.value!r})) as hold:\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    import time; time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode != 0
    assert_runs_on_unaltered(program, 0)


def test_a_copy_is_gone_afterwards_and_the_program_stood_still_only_meanwhile(
    build: Build, start: Start
) -> None:
    program = start(build("steady", "-lm"))
    work = 0
    for _ in range(5):
        with frozen(program.pid) as hold:
            copy = hold.frozen.readable_pid
            assert copy != program.pid
            assert children_of(program.pid) == [copy]
            assert status(copy)["State"][0] == "t"
            running, wrong = program.ask().split(" ", 1)  # it answers while the copy is held
            assert wrong == "-"
            assert int(running) > work
        assert hold.released is not None
        assert not hold.released.left_behind
        assert hold.frozen.stop_ns > 0
        work = assert_runs_on_unaltered(program, work)
        assert not Path(f"/proc/{copy}").exists()


def test_every_thread_is_frozen_with_its_registers(build: Build, start: Start) -> None:
    program = start(build("steady", "-lm"))
    with frozen(program.pid) as hold:
        tids = {int(name) for name in os.listdir(f"/proc/{program.pid}/task")}
        assert {thread.tid for thread in hold.frozen.threads} == tids
        assert all(thread.stack_pointer and thread.fs_base for thread in hold.frozen.threads)
        # 27 general registers, then the legacy part of the vector state at least
        assert all(len(thread.words) >= 27 + 512 // 8 for thread in hold.frozen.threads)


def test_a_stopped_program_is_read_where_it_stands_and_stays_stopped(
    build: Build, start: Start
) -> None:
    program = start(build("steady", "-lm"))
    os.kill(program.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, program.pid, os.WSTOPPED | os.WNOWAIT)
    with frozen(program.pid) as hold:
        assert hold.frozen.method is Method.COPY
        assert hold.frozen.readable_pid == program.pid
        assert any("stopped already" in note for note in hold.frozen.notes)
    # kernel/ptrace.c __ptrace_unlink(), v6.12: it wakes in the kernel, and stops there once more
    deadline_s = time.monotonic() + 5
    while status(program.pid)["State"][0] != "T":
        assert time.monotonic() < deadline_s
    os.kill(program.pid, signal.SIGCONT)
    assert_runs_on_unaltered(program, 0)
