"""Whom `memtwin oom` names this host's kernel kills, and `oom explain` recomputes why.

Twenty real kills in memory cgroups of our own, of processes of our own.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.sweep.oom_live import Kill, make_kill, may_read_log

from memtwin.analysis.oom_choice import MEMCG, judge
from memtwin.analysis.oom_next import group_total
from memtwin.errors import UserError
from memtwin.observe.cgroup import CgroupMemory
from memtwin.observe.oom.standing import Surroundings
from memtwin.sweep import host
from memtwin.sweep.host import HostChanges, make_group

KILLS = 20
SOURCE = Path(__file__).with_name("oom_holder.c")


def why_not_here() -> str | None:
    if os.geteuid() != 0:
        return "needs root to make memory groups"
    try:
        _, mount = host.find_memory_controller()
    except UserError as fault:
        return str(fault)
    if not os.access(mount, os.W_OK):
        return f"{mount} is read-only"
    return None if may_read_log() else "the kernel's log may not be read"


@pytest.fixture(scope="module")
def kills(tmp_path_factory: pytest.TempPathFactory) -> list[Kill]:
    why_not = why_not_here()
    if why_not is not None:
        pytest.skip(why_not)
    program = tmp_path_factory.mktemp("oom") / "holder"
    subprocess.run(["gcc", "-O1", "-o", str(program), str(SOURCE)], check=True)
    found = []
    for seed in range(KILLS):
        with HostChanges("test") as changes:
            group = make_group(changes, f"memtwin-oom-{os.getpid()}-{seed}")
            path = group.path
            found.append(make_kill(program, group, seed))
        assert not path.exists()
    return found


def test_the_kernel_kills_whom_the_forecast_named(kills: list[Kill]) -> None:
    wrong = [kill for kill in kills if kill.killed_pid != kill.foretold_pid]
    assert not wrong, f"{len(wrong)} of {len(kills)}"
    # a forecast that names the one that asks, or the largest, would not do
    assert any(kill.foretold_pid != kill.grower_pid for kill in kills)
    assert any(_largest(kill) != kill.foretold_pid for kill in kills)


def _largest(kill: Kill) -> int:
    return max(kill.foretold, key=lambda pid: kill.foretold[pid].rss_bytes)


def test_the_report_of_each_kill_is_judged_by_the_points_that_were_foretold(
    kills: list[Kill],
) -> None:
    for kill in kills:
        found = judge(kill.report)
        assert found.constraint == MEMCG
        assert found.agrees
        assert found.expected_pid == kill.killed_pid
        assert not kill.report.unread_lines
        points = {one.pid: one.points for one in found.candidates}
        assert points.keys() == kill.foretold.keys()
        for pid, before in kill.foretold.items():
            if pid != kill.grower_pid:  # it alone took more in between
                assert points[pid] == before.points_pages


def test_swap_counts_for_a_group_only_where_it_may_swap() -> None:
    around = Surroundings(ram_pages=100_000, swap_pages=5_000, swappiness=60)
    group = CgroupMemory(version=1, max_bytes=4096 * 1000, swappiness=60)
    assert group_total(group, around)[0] == 6_000
    group.swappiness = 0
    assert group_total(group, around)[0] == 1_000
    assert group_total(CgroupMemory(version=2, max_bytes=4096 * 1000), around)[0] == 6_000
    around.swappiness = 0
    assert group_total(CgroupMemory(version=2, max_bytes=4096 * 1000), around)[0] == 1_000
