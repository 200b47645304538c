"""Owns the words of `memtwin heap`: record, replay, show.

Imports cli/declared; the commands themselves only when they are asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from memtwin.cli.declared import Command, argument, option

HeapFile = Annotated[
    Path, argument(metavar="FILE", help="A recording, or heaptrack's .gz or .zst.")
]
Glibc = Annotated[str, option(help="Whose malloc: 2.31 to 2.41.")]
Sets = Annotated[
    list[str] | None,
    option("--set", metavar="NAME=VALUE", help="M_MMAP_THRESHOLD=1M, glibc.malloc.tcache_count=0."),
]
Pid = Annotated[int | None, option("--process", metavar="PID", help="Of several, this one.")]
Cores = Annotated[int | None, option(help="CPUs: they limit arenas.")]
Json = Annotated[bool, option("--json", help="Print JSON: integer bytes, versioned.")]


def record(
    command: Command,
    out: Annotated[Path, option("-o", "--out", metavar="F", help="The file to write.")],
    stacks: Annotated[bool, option("--stacks", help="Call stacks too: slower.")] = False,
) -> None:
    """Record a program's allocations.

    memtwin heap record -o FILE -- COMMAND ARGUMENTS
    """
    from memtwin.cli import heap_command

    heap_command.record(command, out, "stacks" if stacks else "")


def replay(
    file: HeapFile,
    glibc: Glibc = "",
    changes: Sets = None,
    process: Pid = None,
    cores: Cores = None,
    machine: Annotated[
        str | None, option(help="Drive a process of this machine with it too.")
    ] = None,
    limit: Annotated[str | None, option(help="With --machine: its memory limit, as 128M.")] = None,
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
    html: Annotated[Path | None, option(help="Write a page with the picture here.")] = None,
    as_json: Json = False,
) -> None:
    """Show the heap at the end of a recording, and why freeing did not shrink it."""
    from memtwin.cli import heap_command

    wishes = heap_command.Wishes(glibc, changes or [], process, cores)
    heap_command.show(file, wishes, html, "json" * as_json)
