"""Owns the live screen: a view that renews itself until its reader has seen enough.

Imports cli/view and textual. Looks in a thread of its own, so that a slow look never blocks a key.
"""

from __future__ import annotations

import time
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.events import Key
from textual.widgets import Footer, Static

from memtwin.cli.view import (
    MAX_INTERVAL_S,
    MIN_INTERVAL_S,
    Form,
    Look,
    Snapshot,
    SortableLook,
    rendered,
)
from memtwin.errors import UserError


def run_live(look: Look, interval_s: float) -> None:
    """Show what `look` sees every `interval_s` seconds, until q or Ctrl-C.

    Raises UserError when a look finds that it cannot go on.
    """
    screen = LiveView(look, interval_s)
    screen.run()
    if screen.fault is not None:
        raise screen.fault


class LiveView(App[None]):
    """One view on the whole terminal."""

    CSS = """
    #head { height: 1; background: $primary-background; padding: 0 1; }
    #body { padding: 0 1; width: auto; }
    VerticalScroll { overflow-x: auto; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        ("q", "quit", "quit"),
        ("ctrl+c", "quit", "quit"),
        ("space", "pause", "pause"),
        ("r", "look", "look now"),
        ("plus", "faster", "faster"),
        ("minus", "slower", "slower"),
    ]

    def __init__(self, look: Look, interval_s: float) -> None:
        super().__init__()
        self.look = look
        self.interval_s = interval_s
        self.fault: UserError | None = None
        self.paused = False
        self.looks = 0
        self._timer_due_s = 0.0
        self._shown: Snapshot | None = None

    def compose(self) -> ComposeResult:
        """The head line, the view, the keys."""
        yield Static(id="head")
        with VerticalScroll():
            yield Static(id="body")
        yield Footer()

    def on_mount(self) -> None:
        """Look at once, then each time the interval has passed."""
        self.set_interval(MIN_INTERVAL_S / 2, self._tick)
        self.query_one(VerticalScroll).focus()  # so that the arrows scroll at once
        self.action_look()

    def on_key(self, event: Key) -> None:
        """Sort anew by a key that the view knows."""
        if isinstance(self.look, SortableLook) and self.look.sort_by(event.character or ""):
            event.stop()
            self.action_look()

    def _tick(self) -> None:
        if not self.paused and time.monotonic() >= self._timer_due_s:
            self.action_look()

    def action_look(self) -> None:
        """Look now; a look that is under way already is not doubled."""
        self._timer_due_s = time.monotonic() + self.interval_s
        if not any(worker.is_running for worker in self.workers):
            self.run_worker(self._look_once, thread=True, exit_on_error=False)

    def _look_once(self) -> None:
        try:
            snapshot = self.look()
        except UserError as fault:
            self.fault = fault
            self.call_from_thread(self.exit)
            return
        self.call_from_thread(self._put, snapshot)

    def _put(self, snapshot: Snapshot) -> None:
        self.looks += 1
        self._shown = snapshot
        self._put_head()
        self.query_one("#body", Static).update(Text(rendered(snapshot, Form.TEXT)))

    def _put_head(self) -> None:
        if self._shown is None:
            return
        state = "paused" if self.paused else f"every {self.interval_s:g} s"
        taken = self._shown.taken_s
        clock = "" if taken is None else time.strftime("  %H:%M:%S", time.localtime(taken))
        sort = ""
        if isinstance(self.look, SortableLook):
            sort = f"  by {self.look.chosen} (keys: {' '.join(self.look.keys)})"
        self.query_one("#head", Static).update(
            Text(f"memtwin {self._shown.name}  {self._shown.root}{clock}  {state}{sort}")
        )

    def action_pause(self) -> None:
        """Stop looking, or go on."""
        self.paused = not self.paused
        self._put_head()
        if not self.paused:
            self.action_look()

    def action_faster(self) -> None:
        """Look twice as often."""
        self.interval_s = max(self.interval_s / 2, MIN_INTERVAL_S)
        self._put_head()

    def action_slower(self) -> None:
        """Look half as often."""
        self.interval_s = min(self.interval_s * 2, MAX_INTERVAL_S)
        self._put_head()
