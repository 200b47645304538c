"""Owns the command `delays`: what processes waited for.

Imports observe and the view framework. Does no arithmetic of its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from memtwin.cli.columns_text import Column, figure, table
from memtwin.cli.output import note
from memtwin.cli.view import Absent, Showing, Snapshot, show
from memtwin.errors import UserError
from memtwin.observe.source import TreeSource, printable

if TYPE_CHECKING:
    from memtwin.observe.delays import DelayReader, TaskDelays

NS_PER_MS = 1_000_000
_PATIENCE_S = 0.5
_AT_ONCE_S = 0.001


class Asked(NamedTuple):
    """What the command line asks for."""

    pid: int | None
    every: bool
    threads: bool
    most: int
    enable: bool
    command: list[str]


class DelayRow(msgspec.Struct, kw_only=True):
    """One kind of delay of one process or thread; None where it is not counted, see `why`."""

    pid: int
    tid: int | None
    comm: str
    kind: str
    count: int | None = None
    total_ns: int | None = None
    average_ns: float | None = None
    max_ns: int | None = None
    min_ns: int | None = None
    max_at_s: int | None = None
    why: str = ""


def delays(asked: Asked, how: Showing) -> None:
    """Show the delays that the command line asks for."""
    from memtwin.observe.delays import DelayReader

    named = [word for word, given in (("PID", asked.pid is not None), ("--all", asked.every),
                                      ("a command", bool(asked.command))) if given]  # fmt: skip
    if len(named) != 1:
        found = " and ".join(named) or "nothing"
        raise UserError(f"delays: found {found}, allowed is one of PID, --all, -- COMMAND")
    if asked.every and asked.threads:
        raise UserError("--threads: found with --all, allowed is a PID")
    source = TreeSource("/")
    with _switched_on() if asked.enable else contextlib.nullcontext():
        reader = DelayReader(source)
        try:
            if asked.command:
                task = run_counted(reader, asked.command)
                show(lambda: _snapshot(reader, [task], _table(task)), how)
            else:
                show(lambda: look(reader, asked), how)
        finally:
            reader.close()


@contextlib.contextmanager
def _switched_on() -> Iterator[None]:
    """Delay accounting on while the block runs; what was there comes back however we end."""
    from memtwin.observe.delays import SWITCH
    from memtwin.sweep.host import HostChanges

    if not os.access(SWITCH, os.W_OK):
        raise UserError(f"--enable: found no way to write {SWITCH}, allowed is root")
    with HostChanges("delays") as changes:
        changes.ask("sysctl", SWITCH, "1")
        note("kernel.task_delayacct is on until this ends; processes begun from now on are counted")
        yield


def look(reader: DelayReader, asked: Asked) -> Snapshot:
    """One look."""
    if asked.every:
        tasks = _longest(reader)[: asked.most]
    else:
        assert asked.pid is not None
        tasks = _threads(reader, asked.pid) if asked.threads else [_whole(reader, asked.pid)]
    text = _summary(tasks) if asked.every else "\n".join(_table(task) for task in tasks)
    return _snapshot(reader, tasks, text)


def _snapshot(reader: DelayReader, tasks: list[TaskDelays], text: str) -> Snapshot:
    rows = [row for task in tasks for row in _rows(task)]
    notes = []
    if reader.why_partial:
        notes.append(f"partial: {reader.why_partial}; from /proc what it has")
    absent = _absent(tasks)
    totals = {"tasks": [msgspec.to_builtins(_head(task)) for task in tasks]}
    return Snapshot("delays", rows, text, totals, absent, notes, taken_s=time.time())


def run_counted(reader: DelayReader, command: list[str]) -> TaskDelays:
    """Run `command` to its end; what its process waited for, all its threads together."""
    from memtwin.observe.delays import of_exits

    line = reader.line
    if line is None:
        raise UserError(f"delays: {reader.why_partial}, found no other way to count a command")
    try:
        line.listen((reader.source.read("/sys/devices/system/cpu/possible") or "0").strip())
        child = subprocess.Popen(command)
    except OSError as fault:
        raise UserError(f"delays: found no way to run it: {fault}") from None
    parts: list[dict[str, int | str]] = []
    ended = False
    try:
        while True:
            # a process can be waited for once each of its threads has spoken: what it said is there
            one = line.next_exit(_AT_ONCE_S if ended else _PATIENCE_S)
            if one is None and ended:
                break
            if one is not None and child.pid in (one.get("ac_tgid"), one.get("ac_pid")):
                parts.append(one)
            ended = ended or child.poll() is not None
    except OSError as fault:
        raise UserError(f"delays: found no answer of taskstats: {fault.strerror}") from None
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()
    if child.returncode:
        note(f"{command[0]}: ended with status {child.returncode}")
    found = of_exits(child.pid, parts)
    reader.note_off(found)
    return found


def _whole(reader: DelayReader, pid: int) -> TaskDelays:
    found = reader.process(pid)
    if found is None:
        raise UserError(f"delays: found no process {pid}")
    return found


def _threads(reader: DelayReader, pid: int) -> list[TaskDelays]:
    found = reader.threads(pid)
    if not found:
        raise UserError(f"delays: found no process {pid}")
    return found


def _longest(reader: DelayReader) -> list[TaskDelays]:
    """All processes, those that waited longest for anything but a CPU first."""
    pids = [int(name) for name in reader.source.names("/proc") if name.isdecimal()]
    found = [one for pid in pids if (one := reader.process(pid)) is not None]
    return sorted(found, key=lambda one: (-one.total_ns(), -_cpu(one), one.pid))


def _cpu(task: TaskDelays) -> int:
    return next((one.total_ns or 0 for one in task.delays if one.kind == "cpu"), 0)


def _head(task: TaskDelays) -> dict[str, object]:
    return {
        "pid": task.pid, "tid": task.tid, "comm": task.comm, "source": task.source,
        "taskstats_version": task.version, "threads": task.threads, "run_ns": task.run_ns,
        "min_flt": task.min_flt, "maj_flt": task.maj_flt,
    }  # fmt: skip


def _rows(task: TaskDelays) -> list[DelayRow]:
    rows = [
        DelayRow(
            pid=task.pid,
            tid=task.tid,
            comm=task.comm,
            kind=one.kind,
            count=one.count,
            total_ns=one.total_ns,
            average_ns=one.average_ns,
            max_ns=one.max_ns,
            min_ns=one.min_ns,
            max_at_s=one.max_at_s,
        )
        for one in task.delays
    ]
    rows += [
        DelayRow(pid=task.pid, tid=task.tid, comm=task.comm, kind=kind, why=why)
        for kind, why in task.absent.items()
    ]
    return rows


def _absent(tasks: list[TaskDelays]) -> list[Absent]:
    """Each reason once, with the kinds it is for."""
    kinds: dict[str, list[str]] = {}
    for task in tasks:
        for kind, why in task.absent.items():
            known = kinds.setdefault(why, [])
            if kind not in known:
                known.append(kind)
    return [Absent(", ".join(names), why) for why, names in kinds.items()]


def _ms(value_ns: float | None) -> str:
    return "-" if value_ns is None else f"{value_ns / NS_PER_MS:,.3f}"


def _table(task: TaskDelays) -> str:
    from memtwin.observe.delays import MEANING

    who = f"thread {task.tid} of process {task.pid}" if task.tid is not None else f"{task.pid}"
    threads = f", {task.threads} threads" if task.tid is None and task.threads != 1 else ""
    head = (
        f"{printable(task.comm)} ({who}{threads}): ran {_ms(task.run_ns)} ms, minor faults"
        f" {figure(task.min_flt)}, major faults {figure(task.maj_flt)}\n"
    )
    columns = [Column("waited for", "<"), Column("count"), Column("total ms"), Column("average ms"),
               Column("max ms"), Column("min ms"), Column("which is", "<")]  # fmt: skip
    rows = [
        [one.kind, figure(one.count), _ms(one.total_ns), _ms(one.average_ns), _ms(one.max_ns),
         _ms(one.min_ns), MEANING[one.kind]]
        for one in task.delays
    ]  # fmt: skip
    return head + table(columns, rows)


def _summary(tasks: list[TaskDelays]) -> str:
    from memtwin.observe.taskstats_layout import KINDS

    columns = [Column("pid"), Column("name", "<"), *(Column(f"{kind} ms") for kind in KINDS)]
    rows = []
    for task in tasks:
        by_kind = {one.kind: one.total_ns for one in task.delays}
        cells = [_ms(by_kind.get(kind)) for kind in KINDS]
        rows.append([str(task.pid), printable(task.comm), *cells])
    return table(columns, rows)
