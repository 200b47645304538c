"""Kills that the kernel of this host makes in a memory cgroup of ours, and what was said before.

Every process killed is ours, sits in a group of ours and was started for it; the guardian removes
the group on every way out.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from memtwin.analysis.oom_next import NextVictim
from memtwin.cli.oom_explain_command import source as log_source
from memtwin.cli.oom_next_command import look
from memtwin.observe.oom.records import OomReport
from memtwin.observe.oom.report import read_oom_log
from memtwin.observe.source import TreeSource
from memtwin.sweep.host import Group

PATIENCE_S = 10.0
SPACING_S = 0.6  # mm/oom_kill.c oom_kill_process(), v6.12: ten whole reports in five seconds
CLOSE_BYTES = 384 << 10  # of the limit, before the last step: what a CPU may have charged ahead


@dataclass
class Holder:
    """One process of ours in the group."""

    size_kib: int
    adj: int
    child: subprocess.Popen[bytes] = field(init=False)

    def start(self, program: Path, group: Group) -> Self:
        words = [str(program), str(self.size_kib), str(group.procs), str(self.adj)]
        self.child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.answer(), "it could not start"
        return self

    def answer(self) -> bool:
        """Whether it answered what it was asked; False when it died."""
        assert self.child.stdout is not None
        return self.child.stdout.read(1) == b"."

    def ask(self, what: bytes) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(what)
        self.child.stdin.flush()


@dataclass
class Kill:
    """What was foretold, whom the kernel took, and its report."""

    foretold_pid: int
    killed_pid: int
    report: OomReport
    grower_pid: int
    foretold: dict[int, NextVictim]  # each process, just before


def make_kill(program: Path, group: Group, seed: int, limit_kib: int = 64 << 10) -> Kill:
    """Fill the group with processes drawn from `seed`, foretell, and let one grow till it ends."""
    rng = random.Random(seed)
    group.set_limit(limit_kib << 10)
    group.forbid_swap()
    sizes = [rng.uniform(0.3, 3) for _ in range(rng.randrange(3, 7))]
    whole_kib = limit_kib - (6 << 10)  # the rest: page tables, stacks and what the grower takes
    holders = [
        Holder(int(whole_kib * size / sum(sizes)), rng.choice((0, 0, rng.randrange(400))))
        for size in sizes
    ]
    try:
        for one in holders:
            one.start(program, group)
        grower = rng.choice(holders)
        while _usage(group) < (limit_kib << 10) - CLOSE_BYTES:
            grower.ask(b"s")
            assert grower.answer(), "it died before it was to"
        name = "/" + str(group.path).partition("/memory/")[2]
        snapshot = look(TreeSource(Path("/")), name, 10)
        time.sleep(SPACING_S)
        before_s = time.monotonic()
        grower.ask(b"g")
        killed = _wait_for_kill(holders)
    finally:  # before the one that grows brings about another kill
        for one in holders:
            if hasattr(one, "child"):
                one.child.kill()
        for one in holders:
            if hasattr(one, "child"):
                one.child.communicate()
    report = _report(name, before_s)
    assert report.kills[0].pid in killed
    foretold = {row.pid: row for row in snapshot.rows}
    return Kill(snapshot.rows[0].pid, report.kills[0].pid, report, grower.child.pid, foretold)


def _usage(group: Group) -> int:
    for name in ("memory.usage_in_bytes", "memory.current"):
        if (group.path / name).exists():
            return int((group.path / name).read_text())
    raise AssertionError(f"{group.path} has no usage")


def _wait_for_kill(holders: list[Holder]) -> list[int]:
    """Who is dead, as soon as anybody is: a second kill may follow at once."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        dead = [one.child.pid for one in holders if one.child.poll() is not None]
        if dead:
            return dead
        time.sleep(0.005)
    raise AssertionError("nobody was killed")


def _report(group: str, before_s: float) -> OomReport:
    """The report of the first kill in the group, by the reader of `oom explain --dmesg`."""
    log = read_oom_log(log_source(None, dmesg=True, journal=False).text)
    mine = [
        one for one in log.reports
        if one.verdict is not None and one.verdict.oom_memcg == group and one.kills
        and (one.time_s is None or one.time_s >= before_s - 1)
    ]  # fmt: skip
    assert mine, f"no report of a kill in {group} among {len(log.reports)}"
    return mine[0]


def may_read_log() -> bool:
    """Whether the kernel's log may be read."""
    return os.access("/dev/kmsg", os.R_OK)
