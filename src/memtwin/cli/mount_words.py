"""Owns the words of `mount` and `inside`: their options and helps.

Imports cli/declared; the rest of the house only inside commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from memtwin.cli.declared import Command, argument, option

Result = Annotated[
    Path,
    argument(
        metavar="RESULT", help="A result of `run --out`, a script, a case, a recording, or a tree."
    ),
]
At = Annotated[
    str | None,
    option(help="Show it at this checkpoint; a recording at a share, as 60%."),
]
Play = Annotated[
    float | None,
    option(metavar="SPEED", help="Run it while you look, so many virtual seconds a second."),
]
MachineName = Annotated[
    str | None, option("--machine", help="The machine of a script or recording.")
]
Limit = Annotated[str | None, option(help="Memory limit of a recording, as 16M.")]
Swap = Annotated[str | None, option(help="disk:SIZE, zram:SIZE or none.")]
Changes = Annotated[
    list[str] | None,
    option("--set", metavar="KEY=VALUE", help="Change the machine, as vm.swappiness=10."),
]


def mount(
    result: Result,
    directory: Annotated[Path, argument(metavar="DIR", help="An empty directory.")],
    at: At = None,
    play: Play = None,
    machine: MachineName = None,
    limit: Limit = None,
    swap: Swap = None,
    changes: Changes = None,
    write: Annotated[
        bool, option("--write", help="Write plain files and end, instead of mounting.")
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
    command: Command,
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
    return mount_command.inside(shown, command)
