"""Time that runs while others look: who reads sees whole moments, and what runs is the same."""

from __future__ import annotations

import threading
import time

import pytest

from memtwin.errors import UserError
from memtwin.machine.config import load_machine
from memtwin.machine.machine import Machine
from memtwin.mount.gate import Gate
from memtwin.mount.player import Player
from memtwin.workload.language import parse_script
from memtwin.workload.script import script_runner

PATIENCE_S = 60.0
SCRIPT = """
start P
@P mmap A anon 48M
@P touch A w seq 0 12000
sleep 20000
@P touch A w rand 1 20000
"""


def finished(machine_digests: list[str]) -> str:
    deadline_s = time.monotonic() + PATIENCE_S
    while not machine_digests:
        assert time.monotonic() < deadline_s, "the program did not end"
        time.sleep(0.01)
    return machine_digests[0]


def test_a_played_program_does_what_it_does_unplayed() -> None:
    commands = parse_script(SCRIPT.splitlines())
    plain = script_runner(load_machine("board-128m"))
    plain.run(commands)
    played = script_runner(load_machine("board-128m"))
    digests: list[str] = []

    def program() -> None:
        played.run(commands)
        digests.append(played.machine.digest())

    gate = Gate()
    player = Player(played.machine, program, 200.0, gate)
    player.start(lambda text: None)
    looks = 0
    while not digests:
        with gate.turn():
            assert played.machine.tree.read("/proc/meminfo")
            looks += 1
    player.stop()
    assert finished(digests) == plain.machine.digest()
    assert looks > 1


@pytest.mark.parametrize("speed", [0.1, 1000.0])
def test_virtual_time_keeps_to_its_speed_and_goes_on_when_all_is_done(speed: float) -> None:
    machine = Machine(load_machine("board-128m"))
    gate = Gate()
    player = Player(machine, lambda: None, speed, gate)
    begin_s = time.monotonic()
    player.start(lambda text: None)
    while time.monotonic() - begin_s < 0.3:
        time.sleep(0.01)
    player.stop()
    passed_s = time.monotonic() - begin_s
    # never ahead of real time by more than one stop of 10 ms, however slow this host is
    assert 0 < machine.clock.now_ns <= (passed_s + 0.02) * speed * 1e9


def test_a_program_s_mistake_is_kept_and_the_twin_stays() -> None:
    machine = Machine(load_machine("board-128m"))

    def program() -> None:
        raise UserError("line 3: found nothing")

    player = Player(machine, program, 1000.0, Gate())
    told: list[str] = []
    player.start(told.append)
    deadline_s = time.monotonic() + PATIENCE_S
    while player.fault is None and time.monotonic() < deadline_s:
        time.sleep(0.01)
    player.stop()
    assert told == ["line 3: found nothing"]
    assert str(player.fault) == told[0]


def test_readers_and_the_runner_never_hold_the_gate_together() -> None:
    gate, inside, most = Gate(), [0], [0]
    stop = threading.Event()

    def enter() -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.0005)
        inside[0] -= 1

    def read() -> None:
        while not stop.is_set():
            with gate.turn():
                enter()

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    turns = 0
    with gate.turn():
        for _ in range(50):
            enter()
            turns += 1
            stop.set() if turns == 40 else None
            gate.pause(0.0)
    stop.set()
    for reader in readers:
        reader.join()
    assert (most[0], turns) == (1, 50)
