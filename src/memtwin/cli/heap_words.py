"""Owns the words of `memtwin heap`: record, replay, show.

Imports cli/declared; the commands themselves only when they are asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from memtwin.cli.declared import Command, argument, option
from memtwin.errors import UserError

if TYPE_CHECKING:
    from memtwin.cli.heap_command import Wishes

Json = Annotated[bool, option("--json", help="Print JSON: integer bytes, versioned.")]


class Replayed(NamedTuple):
    """The words that name a recording and how its allocations are replayed."""

    file: Annotated[Path, argument(metavar="FILE", help="A recording, or heaptrack's .gz or .zst.")]
    glibc: Annotated[str, option(help="Whose malloc: 2.31 to 2.41.")] = ""
    changes: Annotated[
        list[str] | None,
        option(
            "--set", metavar="NAME=VALUE", help="M_MMAP_THRESHOLD=1M, glibc.malloc.tcache_count=0."
        ),
    ] = None
    process: Annotated[
        int | None, option("--process", metavar="PID", help="Of several, this one.")
    ] = None
    cores: Annotated[int | None, option(help="CPUs: they limit arenas.")] = None

    def wishes(self) -> Wishes:
        """What they ask of the replay."""
        from memtwin.cli.heap_command import Wishes

        return Wishes(self.glibc, self.changes or [], self.process, self.cores)


def record(
    command: Command,
    out: Annotated[Path, option("-o", "--out", metavar="F", help="The file to write.")],
    stacks: Annotated[bool, option("--stacks", help="Call stacks too: slower.")] = False,
    leaks: Annotated[
        bool, option("--leaks", help="Also what leaked, by stack, as valgrind tells it.")
    ] = False,
) -> None:
    """Record a program's allocations.

    memtwin heap record -o FILE -- COMMAND ARGUMENTS
    """
    from memtwin.cli import heap_command

    heap_command.record(command, out, "leaks" if leaks else "stacks" if stacks else "calls")


def replay(
    replayed: Replayed,
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

    if limit is not None and machine is None:
        raise UserError("--limit: found without --machine, which it belongs to")
    wishes = replayed.wishes()
    heap_command.replay(
        replayed.file, wishes, heap_command.OnMachine(machine, limit), "json" * as_json
    )


def show(
    replayed: Replayed,
    html: Annotated[Path | None, option(help="Write a page with the picture here.")] = None,
    as_json: Json = False,
) -> None:
    """Show the heap at the end of a recording, and why freeing did not shrink it."""
    from memtwin.cli import heap_command

    heap_command.show(replayed.file, replayed.wishes(), html, "json" * as_json)
