"""Owns the words of `memtwin heap`: record, replay, show.

Imports typer; the commands themselves only when they are asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

heap_app = typer.Typer(help="The C library's malloc: record it, replay it otherwise, look into it.")

HeapFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="A recording, or heaptrack's .gz or .zst.")
]
Glibc = Annotated[str, typer.Option(help="Whose malloc: 2.31 to 2.41.")]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="M_MMAP_THRESHOLD=1M, glibc.malloc.tcache_count=0."
    ),
]
Pid = Annotated[int | None, typer.Option("--process", metavar="PID", help="Of several, this one.")]
Cores = Annotated[int | None, typer.Option(help="CPUs: they limit arenas.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: integer bytes, versioned.")]


def add_to(app: typer.Typer) -> None:
    """Declare the commands to `app`."""
    heap_app.command()(record)
    heap_app.command()(replay)
    heap_app.command()(show)
    app.add_typer(heap_app, name="heap")


def record(
    context: typer.Context,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="F", help="The file to write.")],
    stacks: Annotated[bool, typer.Option("--stacks", help="Call stacks too: slower.")] = False,
) -> None:
    """Record a program's allocations.

    memtwin heap record -o FILE -- COMMAND ARGUMENTS
    """
    from memtwin.cli import heap_command

    heap_command.record(context.obj, out, "stacks" if stacks else "")


def replay(
    file: HeapFile,
    glibc: Glibc = "",
    changes: Sets = None,
    process: Pid = None,
    cores: Cores = None,
    machine: Annotated[
        str | None, typer.Option(help="Drive a process of this machine with it too.")
    ] = None,
    limit: Annotated[
        str | None, typer.Option(help="With --machine: its memory limit, as 128M.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Replay allocations on the twin's malloc, as recorded and with changes.

    memtwin heap replay FILE --set M_MMAP_THRESHOLD=1M --glibc 2.41
    """
    from memtwin.cli import heap_command

    wishes = heap_command.Wishes(glibc, changes or [], process, cores)
    heap_command.replay(file, wishes, heap_command.OnMachine(machine, limit), "json" * as_json)


def show(
    file: HeapFile,
    glibc: Glibc = "",
    changes: Sets = None,
    process: Pid = None,
    cores: Cores = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with the picture here.")] = None,
    as_json: Json = False,
) -> None:
    """Show the heap at the end of a recording, and why freeing did not shrink it."""
    from memtwin.cli import heap_command

    wishes = heap_command.Wishes(glibc, changes or [], process, cores)
    heap_command.show(file, wishes, html, "json" * as_json)
