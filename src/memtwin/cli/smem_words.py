"""Owns the words of `memtwin smem`: those of smem, where -n is numeric and -S the source.

Imports cli/declared and cli/view_words; what the command does stands in smem_view.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from memtwin.cli.declared import option
from memtwin.cli.view_words import (
    LIVE_HOST,
    Csv,
    Interval,
    Json,
    Live,
    MapFilter,
    NoHeader,
    ProcessFilter,
    Totals,
    UserFilter,
)


def smem(
    mappings: Annotated[bool, option("-m", "--mappings", help="By mapping.")] = False,
    users: Annotated[bool, option("-u", "--users", help="By user.")] = False,
    system: Annotated[bool, option("-w", "--system", help="The whole machine.")] = False,
    columns: Annotated[
        str | None, option("-c", "--columns", metavar="NAMES", help='As "pid maps pss".')
    ] = None,
    sort: Annotated[
        str | None, option("-s", "--sort", metavar="NAME", help="A column of the report.")
    ] = None,
    reverse: Annotated[bool, option("-r", "--reverse", help="The largest first.")] = False,
    numeric: Annotated[bool, option("-n", "--numeric", help="Users by number.")] = False,
    abbreviate: Annotated[bool, option("-k", "--abbreviate", help="Sizes as 12.3M.")] = False,
    percent: Annotated[bool, option("-p", "--percent", help="Sizes as percent.")] = False,
    totals: Totals = False,
    no_header: NoHeader = False,
    autosize: Annotated[
        bool, option("-a", "--autosize", help="Columns as wide as they need.")
    ] = False,
    process_filter: ProcessFilter = None,
    map_filter: MapFilter = None,
    user_filter: UserFilter = None,
    real_memory: Annotated[
        str | None, option("-R", "--realmem", metavar="SIZE", help="The RAM there is: 1024M.")
    ] = None,
    root: Annotated[
        Path,
        option("--root", "-S", "--source", metavar="DIR", help="A captured tree or mounted twin."),
    ] = LIVE_HOST,
    as_json: Json = False,
    as_csv: Csv = False,
    live: Live = False,
    interval: Interval = None,
) -> None:
    """Memory by process, mapping, user, or of the whole machine, as smem prints it."""
    from memtwin.cli import smem_view, view
    from memtwin.cli.smem_table import Style
    from memtwin.errors import UserError

    chosen = {"map": mappings, "user": users, "system": system}
    reports = [name for name, is_chosen in chosen.items() if is_chosen]
    if len(reports) > 1:
        raise UserError("reports: found more than one of -m -u -w, allowed is one of them")
    if abbreviate and percent:
        raise UserError("-k: found with -p, allowed is one of them")
    width = smem_view.terminal_width() if autosize else None
    style = Style(abbreviate, percent, totals, not no_header, reverse, width)
    words = smem_view.SmemWords(
        reports[0] if reports else "process",
        columns,
        sort,
        numeric,
        style,
        process_filter,
        map_filter,
        user_filter,
        real_memory,
    )
    how = view.showing(as_json=as_json, as_csv=as_csv, once=False, live=live, interval_s=interval)
    view.show(smem_view.smem_look(root, words), how)
