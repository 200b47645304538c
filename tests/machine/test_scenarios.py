"""Scenarios between brackets: what processes take they give back, and every counter stays true."""

from __future__ import annotations

import pytest
from tests.machine.scenarios import SCENARIOS, description, held, machine_of, runner_of

from memtwin.machine.config import config_from_text
from memtwin.machine.machine import Machine
from memtwin.workload.language import parse_script

# in these scenarios the machine or the group kills; all others must not
VICTIMS = {"memcg_oom": ["p"], "oom": ["q"]}


def kill_all(machine: Machine) -> None:
    for process in machine.processes.values():
        process.kill()


@pytest.mark.parametrize("name", SCENARIOS)
def test_counters_stay_true_and_what_processes_took_is_given_back(name: str) -> None:
    machine = machine_of(name)
    before = held(machine)
    runner = runner_of(machine)
    for command in parse_script(SCENARIOS[name].script.splitlines()):
        runner.run_one(command)
        machine.verify()
    killed = [who for who, worker in runner.workers.items() if worker.process.task.oom_victim]
    assert killed == VICTIMS.get(name, []), "only shortage without swap kills"
    kill_all(machine)
    machine.sync()
    machine.drop_caches("3")
    assert held(machine) == before
    machine.verify()


def digest_after(machine: Machine, script: str) -> str:
    runner_of(machine).run(parse_script(script.splitlines()))
    return machine.digest()


def test_the_same_machine_and_script_give_the_same_digest_and_another_script_another() -> None:
    script = "start p\n@p mmap a anon 4M\n@p touch a w seq 0 900"
    first = digest_after(machine_of("swap_disk"), script)
    assert digest_after(machine_of("swap_disk"), script) == first
    assert digest_after(machine_of("swap_disk"), script.replace("900", "901")) != first
    assert digest_after(machine_of("swap_disk"), script.replace("seq 0", "rand 5")) != first


def test_another_kernel_gives_another_digest() -> None:
    script = "start p\n@p mmap a anon 4M\n@p touch a w seq 0 900"
    digests = {
        digest_after(Machine(config_from_text(description(kernel), "twins")), script)
        for kernel in ("6.1", "6.12")
    }
    assert len(digests) == 2
