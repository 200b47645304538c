"""Owns running a scene in the twin: its machine, its script, and who died.

Imports machine, workload, observe's OOM reader and sweep/oom_scene. The machine is a description
and the script is the workload language, so that a reader can run both by hand.
"""

from __future__ import annotations

import msgspec

from memtwin.errors import UserError
from memtwin.machine.config import config_from_text
from memtwin.machine.machine import Machine
from memtwin.observe.oom.report import read_oom_log
from memtwin.sweep.oom_scene import Scene
from memtwin.units import GIB, PAGE_SIZE
from memtwin.workload.language import parse_script
from memtwin.workload.runner import Runner

GROUP, CAP = "report", "cap"
NOBODY = "nobody"  # `killed`, where somebody would have to be
_OUTSIDE_PAGES = 16 << 8  # MODEL: RAM outside of a group, for the twin's own needs: 16 MiB
_SWAP_SPARE_PAGES = 64
# whether it fits is asked, not how long it takes: pages on their way to a slow disk would not fit
_FAST = ("latency_us = 1", "read_mb_s = 100000", "write_mb_s = 100000")


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What is tried; pages of the twin. `cap_pages`: a memory.max on the one that grows."""

    ram_pages: int
    swap_pages: int
    growth_pages: int = 0
    cap_pages: int | None = None


class Outcome(msgspec.Struct, kw_only=True):
    """How a trial ended."""

    killed: str = ""  # the script's word for the first one killed; "" when nobody was
    by_machine: bool = False  # whether the machine, not the capped group, ran out
    done: int = 0  # commands done

    @property
    def survived(self) -> bool:
        """Whether nobody was killed."""
        return not self.killed


def machine_text(scene: Scene, trial: Trial) -> str:
    """The description of the machine."""
    ram = trial.ram_pages
    if scene.in_group:
        ram = trial.ram_pages * 2 + _OUTSIDE_PAGES
    start = 4 * GIB  # one zone: what is below has reserves of its own
    lines = [
        'name = "rebuilt from an OOM report"',
        f'kernel = "{scene.kernel}"',
        'thp = "never"',
        "reserved = 0",
        "[sysctl]",
        '"vm.overcommit_memory" = 1',
    ]
    if scene.min_free_pages and not scene.in_group:
        kib = max(scene.min_free_pages * PAGE_SIZE >> 10, 64)
        lines.append(f'"vm.min_free_kbytes" = {kib}')
    lines += ["[[memory]]", f"start = {start}", f"end = {start + ram * PAGE_SIZE}"]
    swap = trial.swap_pages
    if swap:
        spare = _SWAP_SPARE_PAGES if scene.in_group else 1
        lines += ["[[swap]]", 'kind = "disk"', f"size = {(swap + spare) * PAGE_SIZE}", *_FAST]
    return "\n".join(lines) + "\n"


def script_text(scene: Scene, trial: Trial) -> str:
    """The script: everybody takes what the report says it had, the grower last and more."""
    lines = ["start init", "oomadj init -1000"]  # PID 1 is never killed
    words = ["rest"] if scene.shm_pages or scene.locked_pages else []
    actors = [actor.word for actor in scene.actors]
    if scene.in_group:
        lines += _group_lines(scene, trial)
    elif trial.cap_pages is not None:
        limit = f"{trial.cap_pages * PAGE_SIZE >> 10}K"
        lines += ["cgmount 2", f"cgcreate {CAP}", f"cgset {CAP} memory.max {limit}"]
    lines += [f"start {word}" for word in (*words, *actors)]
    if scene.in_group:
        lines += [f"cgadd {GROUP} {word}" for word in (*words, *actors)]
    elif trial.cap_pages is not None:
        lines.append(f"cgadd {CAP} {scene.actors[scene.grower].word}")
    if words:
        lines.append("oomadj rest -1000")
    lines += [f"oomadj {a.word} {a.oom_score_adj}" for a in scene.actors if a.oom_score_adj]
    if scene.locked_pages:
        lines += [f"@rest mmap L anon {scene.locked_pages * 4}K", "@rest mlock L"]
    if scene.shm_pages:
        lines += [f"@rest mmap S shm {scene.shm_pages * 4}K",
                  f"@rest touch S w seq 0 {scene.shm_pages}"]  # fmt: skip
    for place, actor in enumerate(scene.actors):
        more = trial.growth_pages if place == scene.grower else 0
        pages = actor.anon_pages + more
        if pages:
            lines += [f"@{actor.word} mmap M anon {pages * 4}K",
                      f"@{actor.word} touch M w seq 0 {pages}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def _group_lines(scene: Scene, trial: Trial) -> list[str]:
    limit = trial.ram_pages * 4
    lines = [f"cgmount {scene.cgroup_version}", f"cgcreate {GROUP}"]
    if scene.cgroup_version == 1:
        both = limit + trial.swap_pages * 4
        return [*lines, f"cgset {GROUP} memory.limit_in_bytes {limit}K",
                f"cgset {GROUP} memory.memsw.limit_in_bytes {both}K"]  # fmt: skip
    return [*lines, f"cgset {GROUP} memory.max {limit}K",
            f"cgset {GROUP} memory.swap.max {trial.swap_pages * 4}K"]  # fmt: skip


def run(scene: Scene, trial: Trial) -> Outcome:
    """Run `trial` until somebody is killed or everything is done."""
    machine = Machine(config_from_text(machine_text(scene, trial), "oom explain"))
    runner = Runner(machine, lambda _: {})
    found = Outcome()
    for command in parse_script(script_text(scene, trial).splitlines()):
        try:
            runner.run_one(command)
        except UserError:  # the twin stops where the kernel has nobody to kill
            if not machine.kernel.dmesg:
                raise
            return Outcome(killed=NOBODY, by_machine=True, done=found.done)
        if machine.kernel.dmesg:
            return _outcome("\n".join(machine.kernel.dmesg), found, trial)
        found.done += 1
    return found


def _outcome(log: str, found: Outcome, trial: Trial) -> Outcome:
    """Who died first, from the twin's own log by the reader of real ones."""
    for report in read_oom_log(log).reports:
        kill = report.kills[0] if report.kills else None
        by_machine = report.verdict is None or report.verdict.oom_memcg is None
        if kill is None or (trial.cap_pages is not None and not by_machine):
            continue
        found.killed, found.by_machine = kill.name, by_machine
        return found
    if trial.cap_pages is None:
        found.killed, found.by_machine = NOBODY, True  # a panic without a victim
    return found


def overhead_pages(scene: Scene, trial: Trial) -> int:
    """What starting the processes alone takes on the twin, pages."""
    machine = Machine(config_from_text(machine_text(scene, trial), "oom explain"))
    runner = Runner(machine, lambda _: {})
    before = machine.figures()["nr_free_pages"]
    for command in parse_script(script_text(scene, trial).splitlines()):
        if command.verb == "start":
            runner.run_one(command)
    machine.settle()
    return before - machine.figures()["nr_free_pages"]
