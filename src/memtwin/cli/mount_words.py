"""Owns the words of `mount` and `inside`: their options and helps.

Imports typer; the rest of the house only inside commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Result = Annotated[
    Path,
    typer.Argument(
        metavar="RESULT", help="A result of `run --out`, a script, a case, a recording, or a tree."
    ),
]
At = Annotated[
    str | None,
    typer.Option(help="Show it at this checkpoint; a recording at a share, as 60%."),
]
Play = Annotated[
    float | None,
    typer.Option(metavar="SPEED", help="Run it while you look, so many virtual seconds a second."),
]
MachineName = Annotated[
    str | None, typer.Option("--machine", help="The machine of a script or recording.")
]
Limit = Annotated[str | None, typer.Option(help="Memory limit of a recording, as 16M.")]
Swap = Annotated[str | None, typer.Option(help="disk:SIZE, zram:SIZE or none.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the machine, as vm.swappiness=10."),
]


def add_to(app: typer.Typer) -> None:
    """Declare the commands."""
    app.command()(mount)
    app.command()(inside)


def mount(
    result: Result,
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="An empty directory.")],
    at: At = None,
    play: Play = None,
    machine: MachineName = None,
    limit: Limit = None,
    swap: Swap = None,
    changes: Changes = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write plain files and end, instead of mounting.")
    ] = False,
) -> int:
    """Show a twin's /proc and /sys as files below DIR.

    memtwin mount script.wl DIR --machine board-128m
    """
    from memtwin.cli import mount_command

    shown = mount_command.Shown(result, at, play, machine, limit, swap, changes or [])
    if write:
        mount_command.write(shown, directory)
        return 0
    return mount_command.mount(shown, directory)


def inside(
    context: typer.Context,
    result: Result,
    at: At = None,
    play: Play = None,
    machine: MachineName = None,
    limit: Limit = None,
    swap: Swap = None,
    changes: Changes = None,
) -> int:
    """Run a program whose /proc and /sys are a twin's: free, vmstat, ps, a shell.

    memtwin inside RESULT -- free -h; without a command, your shell
    """
    from memtwin.cli import mount_command

    shown = mount_command.Shown(result, at, play, machine, limit, swap, changes or [])
    return mount_command.inside(shown, context.obj)
