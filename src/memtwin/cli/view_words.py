"""Owns the words that all views share: --root, --json, --csv, --once, --live and --interval.

Imports typer. Each view's command names those that it takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LIVE_HOST = Path("/")

Root = Annotated[
    Path,
    typer.Option(
        "--root", metavar="DIR", help="A captured tree or a mounted twin instead of this host."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: units in the names, versioned.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV: one line a row.")]
Once = Annotated[bool, typer.Option("-n", "--once", help="Look once (as when piped).")]
Live = Annotated[bool, typer.Option("--live", help="Fill the terminal and renew it; q ends.")]
Interval = Annotated[
    float | None, typer.Option("--interval", metavar="S", help="Seconds from look to look.")
]
