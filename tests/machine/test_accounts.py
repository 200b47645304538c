"""Whose the CPUs' time was: it adds up, it is the tasks' own, and tools see it."""

from __future__ import annotations

import json

import pytest
from tests.machine.scenarios import SCENARIOS, Scenario, description
from tests.observe.recordings import DATA

from memtwin.machine.config import config_from_text
from memtwin.machine.machine import Machine
from memtwin.observe.meminfo import parse_meminfo
from memtwin.observe.processes.files import parse_process_stat
from memtwin.observe.system import parse_pressure, parse_stat
from memtwin.observe.vmallocinfo import parse_vmallocinfo
from memtwin.process.task import TaskTimes
from memtwin.workload.checkpoint import machine_files
from memtwin.workload.language import parse_script
from memtwin.workload.runner import Runner
from memtwin.workload.script import case_runner

TICK_NS = 10_000_000
BESIDE = Scenario(
    description("6.1", ram="48M", swap="disk:96M", cpus=2),
    """start one
    start two
    @one mmap a anon 30M
    @two mmap b anon 30M
    bg @one touch a w seq 0 7000
    @two touch b w seq 0 7000
    join one
    bg @one touch a r seq 0 7000
    @two touch b r seq 0 7000
    join one
    @two exit
    sleep 3000""",
)


def ran(scenario: Scenario) -> tuple[Machine, list[str]]:
    """The machine at the end of a scenario, and where its accounts did not add up."""
    machine = Machine(config_from_text(scenario.machine, "scenario"))
    runner = Runner(machine, machine_files)
    faults = []
    for command in parse_script(scenario.script.splitlines()):
        runner.run_one(command)
        spent, busy = spent_ns(machine), busy_ns(machine)
        if spent != busy:
            faults.append(f"{command.text()}: accounts {spent} ns, clock {busy} ns")
    return machine, faults


def spent_ns(machine: Machine) -> int:
    """What tasks, the outside and kernel threads computed."""
    accounts, tasks = machine.accounts, machine.kernel.tasks
    times = [accounts.times_of(task) for task in tasks.all]
    times += [accounts.outside_now(), tasks.reaped_times]
    kernel_threads = int(machine.clock.kthread_ns) + int(machine.clock.beside_ns)
    return sum(one.user_ns + one.system_ns for one in times) + kernel_threads


def busy_ns(machine: Machine) -> int:
    """How long CPUs were busy."""
    return int(machine.clock.cpu_ns) + int(machine.clock.beside_ns)


def used_kib(machine: Machine) -> int:
    line = next(x for x in machine.proc("meminfo").splitlines() if "VmallocUsed" in x)
    return int(line.split()[1])


def told_kib(machine: Machine) -> int:
    areas = parse_vmallocinfo(machine.texts.read("/proc/vmallocinfo") or "")
    return sum(area.pages or 0 for area in areas) * 4


@pytest.mark.parametrize("name", [*SCENARIOS, "beside"])
def test_what_was_spent_is_what_kept_the_cpus_busy_after_every_command(name: str) -> None:
    machine, faults = ran(BESIDE if name == "beside" else SCENARIOS[name])
    assert not faults, "\n".join(faults)
    for task in machine.kernel.tasks.all:
        times = machine.accounts.times_of(task)
        assert min(times.user_ns, times.system_ns) >= 0, task.comm


def test_time_in_programs_and_in_the_kernel_are_told_apart() -> None:
    machine = Machine(config_from_text(description("6.1"), "plain"))
    process = machine.spawn("p")
    area = process.mmap("8M")
    process.touch(area, 2048)
    cost = machine.kernel.cost
    times = machine.accounts.times_of(process.task)
    assert times.user_ns == 2048 * cost.touch_ns
    assert times.system_ns >= 2048 * cost.minor_fault_ns
    before = times.user_ns
    machine.enter(process)
    machine.compute(5 * TICK_NS)
    machine.sysctl("vm.swappiness", "10")
    machine.compute_in_kernel(7 * TICK_NS)  # an administrator's
    assert machine.accounts.times_of(process.task).user_ns == before + 5 * TICK_NS
    stat = parse_process_stat(machine.proc(f"{process.pid}/stat"))
    assert stat.utime_ticks == (before + 5 * TICK_NS) // TICK_NS
    row = parse_stat(machine.tree.read("/proc/stat") or "").rows["cpu"]
    assert row[0] == int(machine.clock.user_ns) // TICK_NS
    assert row[0] + row[2] == busy_ns(machine) // TICK_NS


def test_a_reaped_child_leaves_its_time_to_its_parent() -> None:
    machine = Machine(config_from_text(description("6.1"), "plain"))
    parent = machine.spawn("parent")
    child = parent.fork("child")
    assert not isinstance(child, int)
    area = child.mmap("4M")
    child.touch(area, 1000)
    child.task.ppid = parent.pid
    machine.syscalls.exit(child.task)
    machine.leave()
    spent = machine.accounts.times_of(child.task)
    machine.kernel.tasks.reap(child.task)
    assert parent.task.children_times.user_ns == spent.user_ns > 0
    assert spent_ns(machine) == busy_ns(machine)


def test_reads_and_writes_are_counted_where_the_kernel_counts_them() -> None:
    machine = Machine(config_from_text(description("6.1"), "plain"))
    process = machine.spawn("p")
    process.read_file("/data/a")  # 12 MiB
    times = machine.accounts.times_of(process.task)
    size = 12 << 20
    assert (times.rchar, times.syscr) == (size, size // (64 << 10) + 0)
    assert size <= times.read_bytes < size + (2 << 20)  # and blocks of the file system
    text = machine.proc(f"{process.pid}/io").splitlines()
    assert text[0] == f"rchar: {size}"
    assert text[4] == f"read_bytes: {times.read_bytes}"
    assert TaskTimes().copy().rchar == 0


def test_pressure_follows_what_the_clock_says_of_stalls() -> None:
    machine, _ = ran(BESIDE)
    stall = dict(zip(machine.clock.stall_names(), machine.clock.stall_ns, strict=True))
    found = {
        name: parse_pressure(machine.texts.read(f"/proc/pressure/{name}") or "")
        for name in ("cpu", "io", "memory")
    }
    for name, record in found.items():
        assert record.some is not None
        assert record.full is not None
        assert record.full.total_us <= record.some.total_us, name
        assert record.some.total_us * 1000 <= int(machine.clock.now_ns), name
    io, memory = found["io"].some, found["memory"].some
    assert io is not None
    assert memory is not None
    # of two tasks, stalls may overlap: no more than their sum, no less than half of it
    assert stall["swap_in"] // 2 <= io.total_us * 1000 <= stall["swap_in"] + stall["dirty"]
    assert memory.total_us > 0
    assert io.avg10_percent < 100.0


def test_a_task_alone_that_stalls_holds_up_all() -> None:
    scenario = Scenario(
        description("6.1", ram="48M", swap="disk:96M"),
        "start p\n@p mmap a anon 60M\n@p touch a w seq 0 14000\n@p touch a r seq 0 14000",
    )
    machine, _ = ran(scenario)
    io = parse_pressure(machine.texts.read("/proc/pressure/io") or "")
    assert io.some is not None
    assert io.full is not None
    # but for the time in which kswapd runs beside it
    kswapd_us = int(machine.clock.kswapd_ns) // 1000
    assert 0 <= io.some.total_us - io.full.total_us <= kswapd_us < io.full.total_us
    cpu = parse_pressure(machine.texts.read("/proc/pressure/cpu") or "")
    assert cpu.some is not None
    assert cpu.some.total_us == 0


def test_a_group_has_the_pressure_of_its_own_tasks() -> None:
    scenario = Scenario(
        description("6.1", ram="96M", swap="disk:96M"),
        """cgcreate tight
        cgset tight memory.max 16M
        start p
        start q
        cgadd tight p
        @p mmap a anon 24M
        @p touch a w seq 0 6000
        @p touch a r seq 0 6000
        @q mmap b anon 4M
        @q touch b w seq 0 1000""",
    )
    machine, _ = ran(scenario)
    own = parse_pressure(machine.texts.read("/cg/tight/memory.pressure") or "")
    whole = parse_pressure(machine.texts.read("/proc/pressure/memory") or "")
    assert own.some is not None
    assert whole.some is not None
    assert 0 < own.some.total_us <= whole.some.total_us
    assert "memory.pressure" in machine.tree.names("/sys/fs/cgroup/tight")


def test_vmallocinfo_adds_up_to_vmalloc_used_and_follows_stacks() -> None:
    machine = Machine(config_from_text(description("6.1"), "plain"))

    before = used_kib(machine)
    assert before == told_kib(machine)
    owner = machine.spawn("owner").task
    objects = machine.kernel.kernel_objects
    area = objects.vmalloc(10_000, owner, ("grow",))
    assert used_kib(machine) == told_kib(machine) == before + 16 + 12
    assert "grow+0x0/0x0 pages=3 vmalloc N0=3" in (machine.texts.read("/proc/vmallocinfo") or "")
    objects.free(area, ("vmalloc",))
    machine.syscalls.exit(owner)
    assert used_kib(machine) == told_kib(machine) == before + 16  # a stack of the dead is kept
    before += 16
    processes = [machine.spawn(f"p{n}") for n in range(5)]
    assert used_kib(machine) == told_kib(machine) == before + 4 * 16  # and used again
    for process in processes:
        process.kill()
    # two stacks of the dead are kept for each CPU
    assert used_kib(machine) == told_kib(machine) == before + 16


@pytest.mark.parametrize("name", ["6.1", "6.12", "7.3"])
def test_a_recorded_start_s_stacks_are_kept_and_those_of_the_dead_used_again(name: str) -> None:
    recorded = json.loads((DATA / "starts" / f"{name}.json").read_text())
    recorded["case"]["script"] = ["start P", "@P mmap A anon 1M", "@P fork Q", "@P fork R"]
    info = parse_meminfo(recorded["start"]["files"]["/proc/meminfo"])
    assert info.kernel_stack_kib is not None
    assert info.vmalloc_used_kib is not None
    stacks = info.kernel_stack_kib // 16 + 2  # two of the dead
    others = info.vmalloc_used_kib // 4 - stacks * 4
    line = "0x(____ptrval____)-0x(____ptrval____)   20480 kernel_clone+0xda/0x4a0 pages=4 vmalloc\n"
    other = f"0x01-0x02 {(others + 1) * 4096} pcpu_create_chunk+0x1/0x2 pages={others} vmalloc\n"
    recorded["setup"]["/proc/vmallocinfo"] = other + line * stacks
    runner = case_runner(recorded)
    machine = runner.machine
    figures = [used_kib(machine)]
    for command in parse_script(recorded["case"]["script"]):
        runner.run_one(command)
        figures.append(used_kib(machine))
        assert figures[-1] == told_kib(machine), command.text()
    assert (machine.texts.read("/proc/vmallocinfo") or "").startswith(other)
    # P and Q take the two that were kept, R needs a new one
    assert [figure - figures[0] for figure in figures] == [0, 0, 0, 0, 16]
    for process in machine.processes.values():
        process.kill()
    assert used_kib(machine) == told_kib(machine) == figures[0]
