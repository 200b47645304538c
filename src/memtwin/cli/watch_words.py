"""Owns the words of the commands that account and watch: ledger, watch and leaks.

Imports typer and cli/view_words; what a command does stands in its own module.
"""

from __future__ import annotations

from typing import Annotated

import typer

from memtwin.cli.view_words import LIVE_HOST, Csv, Interval, Json, Live, Once, Root


def add_to(app: typer.Typer) -> None:
    """Declare the commands."""
    app.command()(ledger)


def ledger(
    census: Annotated[
        bool, typer.Option("--census", help="As root: count every frame by its own flags too.")
    ] = False,
    root: Root = LIVE_HOST,
    as_json: Json = False,
    as_csv: Csv = False,
    once: Once = False,
    live: Live = False,
    interval: Interval = None,
    count: Annotated[int | None, typer.Option("--count", help="How many looks.")] = None,
) -> None:
    """Every page of MemTotal in exactly one row, and the remainder in its own.

    With an interval or live, each row's change since the first look and its rate.
    """
    from memtwin.cli import ledger_view, view

    how = view.showing(
        as_json=as_json, as_csv=as_csv, once=once, live=live, interval_s=interval, count=count
    )
    look = ledger_view.census_look(root) if census else ledger_view.ledger_look(root)
    view.show(look, how)
