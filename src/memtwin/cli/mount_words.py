"""Owns the words of `mount` and `inside`: their options and helps.

Imports cli/declared; the rest of the house only inside commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from memtwin.cli.declared import Command, argument, option

if TYPE_CHECKING:
    from memtwin.cli.mount_command import Shown


class Twin(NamedTuple):
    """The words that name a twin and a moment of it."""

    result: Annotated[
        Path,
        argument(
            metavar="RESULT",
            help="A result of `run --out`, a script, a case, a recording, or a tree.",
        ),
    ]
    at: Annotated[
        str | None, option(help="Show it at this checkpoint; a recording at a share, as 60%.")
    ] = None
    play: Annotated[
        float | None,
        option(metavar="SPEED", help="Run it while you look, so many virtual seconds a second."),
    ] = None
    machine: Annotated[
        str | None, option("--machine", help="The machine of a script or recording.")
    ] = None
    limit: Annotated[str | None, option(help="Memory limit of a recording, as 16M.")] = None
    swap: Annotated[str | None, option(help="disk:SIZE, zram:SIZE or none.")] = None
    changes: Annotated[
        list[str] | None,
        option("--set", metavar="KEY=VALUE", help="Change the machine, as vm.swappiness=10."),
    ] = None

    def shown(self) -> Shown:
        """What they ask to be shown."""
        from memtwin.cli.mount_command import Shown

        return Shown(**{**self._asdict(), "changes": self.changes or []})


def mount(
    twin: Twin,
    directory: Annotated[Path, argument(metavar="DIR", help="An empty directory.")],
    write: Annotated[
        bool, option("--write", help="Write plain files and end, instead of mounting.")
    ] = False,
) -> int:
    """Show a twin's /proc and /sys as files below DIR.

    memtwin mount script.wl DIR --machine board-128m
    """
    from memtwin.cli import mount_command

    shown = twin.shown()
    if write:
        mount_command.write(shown, directory)
        return 0
    return mount_command.mount(shown, directory)


def inside(
    command: Command,
    twin: Twin,
) -> int:
    """Run a program whose /proc and /sys are a twin's: free, vmstat, ps, a shell.

    memtwin inside RESULT -- free -h; without a command, your shell
    """
    from memtwin.cli import mount_command

    shown = twin.shown()
    return mount_command.inside(shown, command)
