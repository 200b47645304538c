"""Owns the words that views share: --root, --json, --csv, --once, --live, --interval and filters.

Imports cli/declared, and cli/view once a command asks how it is to be shown. A view's command
takes a whole group, or names those that it takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from memtwin.cli.declared import option

if TYPE_CHECKING:
    from memtwin.cli.view import Showing

LIVE_HOST = Path("/")

Root = Annotated[
    Path,
    option("--root", metavar="DIR", help="A captured tree or a mounted twin instead of this host."),
]
Json = Annotated[bool, option("--json", help="Print JSON: units in the names, versioned.")]
Csv = Annotated[bool, option("--csv", help="Print CSV: one line a row.")]
Once = Annotated[bool, option("-n", "--once", help="Look once (as when piped).")]
Live = Annotated[bool, option("--live", help="Fill the terminal and renew it; q ends.")]
Interval = Annotated[
    float | None, option("--interval", metavar="S", help="Seconds from look to look.")
]
Count = Annotated[int | None, option("--count", help="How many looks.")]
ProcessFilter = Annotated[
    str | None, option("-P", "--processfilter", metavar="RE", help="Name or command.")
]
MapFilter = Annotated[
    str | None, option("-M", "--mapfilter", metavar="RE", help="Only such mappings.")
]
UserFilter = Annotated[
    str | None, option("-U", "--userfilter", metavar="RE", help="Only such users.")
]
Totals = Annotated[bool, option("-t", "--totals", help="A last line of sums.")]
NoHeader = Annotated[bool, option("-H", "--no-header", help="No first line.")]


class Printed(NamedTuple):
    """The words of a view that is printed once."""

    root: Root = LIVE_HOST
    as_json: Json = False
    as_csv: Csv = False

    def how(self) -> Showing:
        """How they ask for it to be shown."""
        from memtwin.cli.view import showing

        return showing(as_json=self.as_json, as_csv=self.as_csv, once=True, live=False)


class Shown(NamedTuple):
    """The words of a view that is printed once, again and again, or on a screen."""

    root: Root = LIVE_HOST
    as_json: Json = False
    as_csv: Csv = False
    once: Once = False
    live: Live = False
    interval: Interval = None

    def how(
        self, *, interval_s: float | None = None, count: int | None = None, between: str = ""
    ) -> Showing:
        """How they ask for it to be shown; `interval_s` is what a word of the view's own says."""
        from memtwin.cli.view import showing

        return showing(
            as_json=self.as_json,
            as_csv=self.as_csv,
            once=self.once,
            live=self.live,
            interval_s=self.interval if interval_s is None else interval_s,
            count=count,
            between=between,
        )


PRINTED, SHOWN = Printed(), Shown()
