"""Owns the words that all views share: --root, --json, --csv, --once, --live and --interval.

Imports cli/declared. Each view's command names those that it takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from memtwin.cli.declared import option

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
