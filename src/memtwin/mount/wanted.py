"""Owns what a user wants to see of a result, and what was made of that.

Imports observe and mount/gate; of machines only the types. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memtwin.mount.gate import Gate
from memtwin.observe.source import Tree

if TYPE_CHECKING:
    from memtwin.machine.description import MachineConfig
    from memtwin.machine.machine import Machine
    from memtwin.mount.player import Player

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Wanted:
    """How a result is to be shown."""

    config: Callable[[], MachineConfig]  # of a script or recording
    config_chosen: bool = False  # whether the user named a machine or changed it
    at: str | None = None  # a checkpoint; of a recording, a share as "60%"; None: the last
    play_speed: float | None = None  # virtual seconds a real second; None: it stands still
    limit_bytes: int | None = None  # of a recording's memory cgroup


@dataclass
class Opened:
    """Something to show: a tree, and if its machine runs on, who lets it."""

    tree: Tree
    title: str
    gate: Gate = field(default_factory=Gate)
    player: Player | None = None
    machine: Machine | None = None  # of what was run now

    def start(self, tell: Callable[[str], None]) -> None:
        """Let time run from now on, if asked to; `tell` hears what ended the program early."""
        if self.player is not None:
            self.player.start(tell)

    def stop(self) -> None:
        """Let time stand still."""
        if self.player is not None:
            self.player.stop()
