"""The OOM killer's arithmetic: by every kernel's rules, as this host's kernel, and as the twin."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator

import pytest

from memtwin.analysis.badness import Holding, badness, rules_of, score_shown
from memtwin.analysis.oom_next import forecast
from memtwin.machine.config import load_machine
from memtwin.machine.machine import Machine
from memtwin.observe.cgroup import CgroupMemory
from memtwin.observe.oom.missing import version_of
from memtwin.observe.oom.standing import Standing, Surroundings, read_standings, read_surroundings
from memtwin.observe.source import TreeSource

ROOT = Holding(10_000, 500, 100, 0, True)
USER = Holding(10_000, 500, 100, 0, False)


@pytest.mark.parametrize(
    ("version", "holding", "points"),
    [
        ((3, 0), USER, 105),  # thousandths of 100,000 pages, without page tables
        ((3, 2), USER, 106),
        ((3, 2), ROOT, 76),
        ((3, 10), USER, 10_600),
        ((3, 10), ROOT, 10_600 - 30 * 100),
        ((4, 9), ROOT, 10_600 - 318),
        ((4, 17), ROOT, 10_600),
        ((4, 19), Holding(10_000, 0, 0, -200), 1),
        ((5, 9), Holding(10_000, 0, 0, -200), -10_000),
        ((6, 1), Holding(10_000, 0, 0, 300), 40_000),
        ((6, 1), Holding(10_000, 0, 0, -1000), None),
    ],
)
def test_points_follow_the_rules_of_each_kernel(
    version: tuple[int, int], holding: Holding, points: int | None
) -> None:
    assert badness(rules_of(version), holding, 100_000) == points


def test_the_score_shown_is_scaled_as_each_kernel_does() -> None:
    assert score_shown((3, 2), 106, 100_000) == 106
    assert score_shown((4, 19), 10_600, 100_000) == 106
    assert score_shown((6, 1), 10_600, 100_000) == 737
    assert score_shown((6, 1), -10_600, 100_000) == 596
    assert score_shown((6, 1), None, 100_000) == 0


@pytest.fixture
def sleepers() -> Iterator[list[int]]:
    script = (
        "import sys, time; held = bytearray(int(sys.argv[1]) << 20); print(flush=True);"
        " time.sleep(60)"
    )
    children = []
    for mib, adj in ((1, 0), (40, 0), (5, 200), (5, 1000)):
        child = subprocess.Popen(["python3", "-c", script, str(mib)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        with open(f"/proc/{child.pid}/oom_score_adj", "w", encoding="ascii") as file:
            file.write(str(adj))
        children.append(child)
    yield [child.pid for child in children]
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def test_this_hosts_kernel_says_the_same_scores(sleepers: list[int]) -> None:
    source = TreeSource("/")
    around = read_surroundings(source)
    if (version_of(around.release) or (0, 0)) < (3, 5):
        pytest.skip("a kernel before 3.5")
    standings = [one for one in read_standings(source, around) if one.pid in sleepers]
    found = forecast(standings, around)
    assert found.scores_equal == found.scores_readable == len(sleepers)
    order = [one.pid for one in found.candidates]
    assert order == [sleepers[3], sleepers[2], sleepers[1], sleepers[0]]
    assert found.candidates[0].lead_bytes is not None


def test_the_twins_own_scores_are_recomputed_from_its_files() -> None:
    machine, _ = _filled(3)
    around = read_surroundings(machine.texts)
    standings = [_standing(machine, pid) for pid in machine.processes]
    around.release = "6.12"
    found = forecast(standings, around)
    assert found.scores_readable == len(standings)
    assert found.scores_equal == len(standings)


def _standing(machine: Machine, pid: int) -> Standing:
    class One:
        def read(self, path: str) -> str | None:
            return machine.texts.read(path)

        def names(self, directory: str) -> list[str]:
            return [str(pid)] if directory == "/proc" else []

    (found,) = read_standings(One(), Surroundings(ram_pages=1, swap_pages=0))
    return found


def _filled(seed: int) -> tuple[Machine, list[int]]:
    """A machine with processes of several sizes and adjustments, near its end."""
    rng = random.Random(seed)
    machine = Machine(load_machine("board-128m", ["kernel=6.12", "swap=disk:16M"]))
    machine.sysctl("vm.overcommit_memory", "1")
    init = machine.spawn("init")
    init.task.set_oom_score_adj(-1000)
    pids = []
    for number in range(6):
        process = machine.spawn(f"p{number}")
        process.task.set_oom_score_adj(rng.choice([-1000, -300, 0, 0, 0, 250]))
        pages = rng.randrange(200, 4500)
        process.touch(process.mmap(pages * 4096), pages)
        pids.append(process.pid)
    return machine, pids


@pytest.mark.parametrize("seed", range(12))
def test_whom_the_forecast_names_dies_when_the_twin_runs_out(seed: int) -> None:
    machine, _ = _filled(seed)
    machine.texts.read("/proc/meminfo")
    filler = machine.spawn("filler")  # an exempt one drives the machine to its end
    filler.task.set_oom_score_adj(-1000)
    area = filler.mmap(200 << 20)
    alive = {pid for pid, one in machine.processes.items() if one.alive}
    expected = None
    for start in range(0, 200 << 8, 64):
        around = read_surroundings(machine.texts)
        around.release = "6.12"
        first = forecast([_standing(machine, pid) for pid in sorted(alive)], around).first
        expected = first.pid if first is not None else None
        filler.touch(area, range(start, start + 64))
        dead = {pid for pid in alive if not machine.processes[pid].alive}
        if dead:
            assert dead == {expected}
            return
    raise AssertionError("nobody died")


def test_a_group_is_weighed_by_its_own_limit() -> None:
    around = Surroundings(release="6.1.0", ram_pages=1_000_000, swap_pages=1000)
    one = Standing(pid=5, name="a", rss_pages=100, oom_score_adj=500, oom_score=800)
    group = CgroupMemory(version=2, max_bytes=40_000 * 4096, swap_max_bytes=0)
    found = forecast([one], around, "/g", group)
    assert found.total_pages == 40_000
    assert found.candidates[0].points_pages == 100 + 500 * 40
    bare = forecast([one], around, "/g", CgroupMemory(version=2))
    assert bare.total_pages == 1_001_000
    assert "no memory limit" in bare.notes[0]


def test_what_only_the_kernel_knows_is_taken_from_its_score() -> None:
    around = Surroundings(release="6.1.0", ram_pages=100_000, swap_pages=0)
    init = Standing(pid=1, name="init", rss_pages=50_000, oom_score=0)
    big = Standing(pid=9, name="big", rss_pages=10_000, oom_score=733)
    found = forecast([init, big], around)
    assert found.first is not None
    assert found.first.pid == 9
    assert "exempts" in found.candidates[1].exempt_because
    assert os.getpid() not in {one.pid for one in found.candidates}
