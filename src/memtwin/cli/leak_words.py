"""Owns the words of `memtwin leak`: a PID for the verdict, or scan, run, read, kernel.

Imports cli/declared, cli/view_words and errors; what a command does stands in its own module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from memtwin.cli.declared import Command, argument, option
from memtwin.cli.view_words import LIVE_HOST, Json, Root
from memtwin.errors import UserError

Pid = Annotated[int, argument(metavar="PID", help="A running process.")]
Method = Annotated[
    str,
    option(help="fork: from a frozen copy; copy: while it stands still; auto: what suits it."),
]
Top = Annotated[int, option("--top", metavar="N", help="How many groups of blocks.")]


def verdict(
    pid: Pid,
    for_: Annotated[
        float, option("--for", metavar="S", help="Seconds between the two scans.")
    ] = 10.0,
    report: Annotated[
        list[Path] | None,
        option("--report", metavar="F", help="A report of it, by valgrind and the like."),
    ] = None,
    method: Method = "auto",
    as_json: Json = False,
) -> int:
    """Say whether a process leaks, how fast, what, and how sure.

    memtwin leak PID. Exit status 1: it leaks.
    """
    from memtwin.cli import leak_verdict_view

    return leak_verdict_view.verdict(pid, for_, report or [], method, as_json=as_json)


def scan(
    pid: Pid,
    twice: Annotated[
        float | None,
        option("--twice", metavar="S", help="Again after S seconds: what leaked since?"),
    ] = None,
    since: Annotated[
        Path | None, option("--since", metavar="F", help="A saved scan to compare with.")
    ] = None,
    out: Annotated[
        Path | None, option("-o", "--out", metavar="F", help="Save the scan as JSON.")
    ] = None,
    method: Method = "auto",
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


def run(
    command: Command,
    valgrind: Annotated[bool, option("--valgrind", help="Under valgrind.")] = False,
    asan: Annotated[
        bool, option("--asan", help="A program built with -fsanitize=address.")
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
    if not command:
        raise UserError("leak run: found no command, it stands after --")
    done = run_under(Tool.VALGRIND if valgrind else Tool.ASAN, command)
    leak_report_view.show(done.reports, top, as_json=as_json)


def read(
    file: Annotated[Path, argument(metavar="FILE", help="A report or a saved scan.")],
    top: Top = 12,
    as_json: Json = False,
) -> None:
    """Read a report: valgrind's (text, XML), a sanitizer's, kmemleak's, a saved scan, a recording
    made with --leaks, or a result of a script with leak checks.
    """
    from memtwin.cli import leak_report_view

    leak_report_view.show(leak_report_view.reports_in(file), top, as_json=as_json)


def kernel(
    for_: Annotated[
        float, option("--for", metavar="S", help="Seconds between the two looks.")
    ] = 5.0,
    since: Annotated[
        Path | None,
        option("--since", metavar="TREE", help="An earlier tree, in place of a first look."),
    ] = None,
    trigger: Annotated[
        bool, option("--trigger", help="As root: have kmemleak scan now, which it notes.")
    ] = False,
    root: Root = LIVE_HOST,
    top: Top = 12,
    as_json: Json = False,
) -> None:
    """Growth of the kernel's own memory, and what kmemleak found."""
    from memtwin.cli import leak_kernel_view

    looks = leak_kernel_view.Looks(for_, since)
    leak_kernel_view.kernel(root, looks, top, trigger=trigger, as_json=as_json)
