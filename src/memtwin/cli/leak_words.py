"""Owns the words of `memtwin leak`: a PID for the verdict, or scan, run, read, kernel.

Imports typer, cli/view_words and errors; what a command does stands in its own module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from memtwin.cli.view_words import LIVE_HOST, Json, Root
from memtwin.errors import UserError

VERDICT = "verdict"
Pid = Annotated[int, typer.Argument(metavar="PID", help="A running process.")]
Method = Annotated[
    str,
    typer.Option(help="fork: from a frozen copy; copy: while the program stands still."),
]
Top = Annotated[int, typer.Option("--top", metavar="N", help="How many groups of blocks.")]


class PidFirst(TyperGroup):
    """A number where a command is expected asks for the verdict on that process."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As the group does, with the left-out word put in."""
        if args and args[0].isdigit():
            args = [VERDICT, *args]
        return super().parse_args(ctx, args)


leak_app = typer.Typer(
    cls=PidFirst,
    help="Find leaks: `leak PID` gives a verdict; scan, run, read and kernel show the evidence.",
    no_args_is_help=True,
)


def add_to(app: typer.Typer) -> None:
    """Declare the commands."""
    app.add_typer(leak_app, name="leak")


@leak_app.command(VERDICT)
def verdict(
    pid: Pid,
    for_: Annotated[
        float, typer.Option("--for", metavar="S", help="Seconds between the two scans.")
    ] = 10.0,
    report: Annotated[
        list[Path] | None,
        typer.Option("--report", metavar="F", help="A report of it, by valgrind and the like."),
    ] = None,
    method: Method = "fork",
    as_json: Json = False,
) -> None:
    """Say whether a process leaks, how fast, what, and how sure.

    memtwin leak PID. Exit status 1: it leaks.
    """
    from memtwin.cli import leak_verdict_view

    status = leak_verdict_view.verdict(pid, for_, report or [], method, as_json=as_json)
    if status:
        raise typer.Exit(status)


@leak_app.command()
def scan(
    pid: Pid,
    twice: Annotated[
        float | None,
        typer.Option("--twice", metavar="S", help="Again after S seconds: what leaked since?"),
    ] = None,
    since: Annotated[
        Path | None, typer.Option("--since", metavar="F", help="A saved scan to compare with.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="F", help="Save the scan as JSON.")
    ] = None,
    method: Method = "fork",
    top: Top = 12,
    as_json: Json = False,
) -> None:
    """Look for lost blocks in the heap of a running process.

    It stands still for milliseconds, and nothing in it changes.
    """
    from memtwin.cli import leak_scan_view

    if twice is not None and since is not None:
        raise UserError("--twice: found with --since, allowed is one of them")
    wanted = leak_scan_view.Wanted(twice, since, out, method, top)
    leak_scan_view.scan(pid, wanted, as_json=as_json)


@leak_app.command()
def run(
    context: typer.Context,
    valgrind: Annotated[bool, typer.Option("--valgrind", help="Under valgrind.")] = False,
    asan: Annotated[
        bool, typer.Option("--asan", help="A program built with -fsanitize=address.")
    ] = False,
    top: Top = 12,
    as_json: Json = False,
) -> None:
    """Run a program under valgrind or AddressSanitizer.

    memtwin leak run --valgrind -- COMMAND ARGUMENTS
    """
    from memtwin.cli import leak_report_view
    from memtwin.record.leak_tools import Tool, run_under

    if valgrind == asan:
        raise UserError("leak run: allowed is one of --valgrind and --asan")
    command: list[str] = context.obj
    if not command:
        raise UserError("leak run: found no command, it stands after --")
    done = run_under(Tool.VALGRIND if valgrind else Tool.ASAN, command)
    leak_report_view.show(done.reports, top, as_json=as_json)


@leak_app.command()
def read(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A report or a saved scan.")],
    top: Top = 12,
    as_json: Json = False,
) -> None:
    """Read a report: valgrind's (text, XML), a sanitizer's, kmemleak's, or a saved scan."""
    from memtwin.cli import leak_report_view
    from memtwin.observe.leak_reports import read_reports

    leak_report_view.show(read_reports(file), top, as_json=as_json)


@leak_app.command()
def kernel(
    for_: Annotated[
        float, typer.Option("--for", metavar="S", help="Seconds between the two looks.")
    ] = 5.0,
    trigger: Annotated[
        bool, typer.Option("--trigger", help="As root: have kmemleak scan now, which it notes.")
    ] = False,
    root: Root = LIVE_HOST,
    top: Top = 12,
    as_json: Json = False,
) -> None:
    """Growth of the kernel's own memory, and what kmemleak found."""
    from memtwin.cli import leak_kernel_view

    leak_kernel_view.kernel(root, for_, top, trigger=trigger, as_json=as_json)
