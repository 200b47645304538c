"""Owns the commands `mount` and `inside`.

Imports mount, machine and record. Does no arithmetic of its own.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from memtwin.cli.output import note, note_mode, progress
from memtwin.errors import UserError
from memtwin.mount import Opened, mount_tree, open_result, run_inside, write_tree
from memtwin.mount.nodes import Nodes
from memtwin.mount.wanted import Wanted

if TYPE_CHECKING:
    from memtwin.machine.description import MachineConfig

DEFAULT_MACHINE = "laptop-8g"


@dataclass(frozen=True)
class Shown:
    """What the user wants to see, as the words say it."""

    result: Path
    at: str | None
    play: float | None
    machine: str | None
    limit: str | None
    swap: str | None
    changes: list[str]

    def opened(self) -> Opened:
        """The twin, run up to where it is wanted."""
        if self.play is not None and not 0 < self.play <= 1e6:
            raise UserError(f"--play: found {self.play:g}, allowed is above 0 up to 1000000")
        chosen = self.machine is not None or self.swap is not None or bool(self.changes)
        limit_bytes = None
        if self.limit is not None:
            from memtwin.cli.replay_command import parse_limit

            limit_bytes = parse_limit(self.limit, self._config())
        wanted = Wanted(self._config, chosen, self.at, self.play, limit_bytes)
        note_mode()
        with progress("running") as step:
            return open_result(self.result, wanted, lambda done, total: step(done, total, ""))

    def _config(self) -> MachineConfig:
        from memtwin.cli.replay_command import Choices

        return Choices(self.machine or DEFAULT_MACHINE, self.swap, self.changes).config()


def write(shown: Shown, directory: Path) -> None:
    """The command `mount --write`."""
    if shown.play is not None:
        raise UserError("--play: found together with --write, plain files stand still")
    opened = shown.opened()
    count = write_tree(Nodes(opened.tree), directory)
    note(f"{directory}: {count} files of {opened.title}")


def mount(shown: Shown, directory: Path) -> int:
    """The command `mount`: returns when it is unmounted; 2 when what it ran made a mistake."""
    opened = shown.opened()
    mount_tree(opened, directory, note)
    opened.stop()
    return UserError.exit_status if opened.player is not None and opened.player.fault else 0


def inside(shown: Shown, command: list[str]) -> int:
    """The command `inside`: the exit status of the user's command, or of a shell."""
    return run_inside(shown.opened(), command or [os.environ.get("SHELL", "/bin/sh")], note)
