"""Owns the words of `memtwin oom`, `memtwin oom explain` and `memtwin delays`.

Imports cli/declared and the shared words; the rest only inside commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from memtwin.cli.declared import Command, argument, option
from memtwin.cli.view_words import SHOWN, Csv, Interval, Json, Live, Once, Shown


def oom(
    cgroup: Annotated[
        str | None, option(help="Of this memory cgroup alone, as /user.slice.")
    ] = None,
    count: Annotated[int, option("-c", "--count", help="How many candidates.")] = 10,
    shown: Shown = SHOWN,
) -> None:
    """Who would be killed next for lack of memory, and why.

    memtwin oom explain FILE explains a kill from a kernel log.
    """
    from memtwin.cli import oom_next_command

    oom_next_command.oom_next(shown.root, cgroup, count, shown.how())


def explain(
    file: Annotated[
        str | None, argument(metavar="FILE", help="A kernel log of any kind; - is stdin.")
    ] = None,
    dmesg: Annotated[bool, option("--dmesg", help="Read this host's kernel log.")] = False,
    journal: Annotated[bool, option("--journal", help="Read this host's journal.")] = False,
    what_if: Annotated[
        bool,
        option("--what-if", help="Rebuild it in the twin: what would have avoided the kill?"),
    ] = False,
    growth: Annotated[
        str | None,
        option(metavar="SIZE", help="With --what-if: what the asker wants beyond the report."),
    ] = None,
    number: Annotated[
        int | None, option("--report", metavar="N", help="Only report N, from 1; -1: last.")
    ] = None,
    rows: Annotated[int, option(help="Rows of the tables.")] = 10,
    as_json: Json = False,
    html: Annotated[Path | None, option(help="Write a page for the browser.")] = None,
) -> None:
    """Explain the OOM kills of a kernel log.

    memtwin oom explain /var/log/kern.log, or dmesg | memtwin oom explain -
    """
    from memtwin.cli import oom_explain_command as command
    from memtwin.cli.view import Form

    form = Form.JSON if as_json else Form.TEXT
    asked = command.Asked(number, rows, what_if, growth, form, html)
    command.explain(command.source(file, dmesg=dmesg, journal=journal), asked)


def delays(
    command: Command,
    pid: Annotated[int | None, argument(metavar="PID", help="The process.")] = None,
    every: Annotated[
        bool, option("--all", help="All processes, the longest delayed first.")
    ] = False,
    threads: Annotated[bool, option("--threads", help="Each thread by itself.")] = False,
    count: Annotated[int, option("-c", "--count", help="With --all: how many.")] = 20,
    enable: Annotated[
        bool,
        option("--enable", help="As root: switch delay accounting on while this runs, then back."),
    ] = False,
    as_json: Json = False,
    as_csv: Csv = False,
    once: Once = False,
    live: Live = False,
    interval: Interval = None,
) -> None:
    """What a process waited for: CPU, disk, swap, reclaim, compaction (taskstats).

    memtwin delays PID, or memtwin delays --enable -- COMMAND ARGUMENTS
    """
    from memtwin.cli import delays_command, view

    how = view.showing(as_json=as_json, as_csv=as_csv, once=once, live=live, interval_s=interval)
    delays_command.delays(delays_command.Asked(pid, every, threads, count, enable, command), how)
