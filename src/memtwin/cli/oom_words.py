"""Owns the words of `memtwin oom`, `memtwin oom explain` and `memtwin delays`.

Imports typer and the shared words; the rest only inside commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from memtwin.cli.view_words import LIVE_HOST, Csv, Interval, Json, Live, Once, Root

oom_app = typer.Typer(
    help="Who would be killed next for lack of memory, and why; or explain a kill that was.",
    invoke_without_command=True,
)


@oom_app.callback()
def oom(
    context: typer.Context,
    root: Root = LIVE_HOST,
    cgroup: Annotated[
        str | None, typer.Option(help="Of this memory cgroup alone, as /user.slice.")
    ] = None,
    count: Annotated[int, typer.Option("-c", "--count", help="How many candidates.")] = 10,
    as_json: Json = False,
    as_csv: Csv = False,
    once: Once = False,
    live: Live = False,
    interval: Interval = None,
) -> None:
    """Who would be killed next for lack of memory, and why.

    memtwin oom explain FILE explains a kill from a kernel log.
    """
    if context.invoked_subcommand is not None:
        return
    from memtwin.cli import oom_next_command, view

    how = view.showing(as_json=as_json, as_csv=as_csv, once=once, live=live, interval_s=interval)
    oom_next_command.oom_next(root, cgroup, count, how)


@oom_app.command()
def explain(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A kernel log of any kind; - is stdin.")
    ] = None,
    dmesg: Annotated[bool, typer.Option("--dmesg", help="Read this host's kernel log.")] = False,
    journal: Annotated[bool, typer.Option("--journal", help="Read this host's journal.")] = False,
    what_if: Annotated[
        bool,
        typer.Option("--what-if", help="Rebuild it in the twin: what would have avoided the kill?"),
    ] = False,
    growth: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="With --what-if: what the asker wants beyond the report."
        ),
    ] = None,
    number: Annotated[
        int | None, typer.Option("--report", metavar="N", help="Only report N, from 1; -1: last.")
    ] = None,
    rows: Annotated[int, typer.Option(help="Rows of the tables.")] = 10,
    as_json: Json = False,
    html: Annotated[Path | None, typer.Option(help="Write a page for the browser.")] = None,
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
    context: typer.Context,
    pid: Annotated[int | None, typer.Argument(metavar="PID", help="The process.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="All processes, the longest delayed first.")
    ] = False,
    threads: Annotated[bool, typer.Option("--threads", help="Each thread by itself.")] = False,
    count: Annotated[int, typer.Option("-c", "--count", help="With --all: how many.")] = 20,
    enable: Annotated[
        bool,
        typer.Option(
            "--enable", help="As root: switch delay accounting on while this runs, then back."
        ),
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
    delays_command.delays(
        delays_command.Asked(pid, every, threads, count, enable, context.obj or []), how
    )


def add_to(app: typer.Typer) -> None:
    """Declare the commands."""
    app.add_typer(oom_app, name="oom")
    app.command()(delays)
