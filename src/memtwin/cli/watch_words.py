"""Owns the words of the commands that account and watch: ledger, watch and leaks.

Imports cli/declared and cli/view_words; what a command does stands in its own module.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from memtwin.cli.declared import Command, Unknown, argument, option
from memtwin.cli.view_words import (
    LIVE_HOST,
    PRINTED,
    SHOWN,
    Count,
    Csv,
    Json,
    Printed,
    Root,
    Shown,
)


def ledger(
    census: Annotated[
        bool, option("--census", help="As root: count every frame by its own flags too.")
    ] = False,
    shown: Shown = SHOWN,
    count: Count = None,
) -> None:
    """Every page of MemTotal in exactly one row, and the remainder in its own.

    With an interval or live, each row's change since the first look and its rate.
    """
    from memtwin.cli import ledger_view, view

    look = ledger_view.census_look if census else ledger_view.ledger_look
    view.show(look(shown.root), shown.how(count=count))


def watch(
    command: Command,
    unknown: Unknown,
    store: Annotated[
        Path | None, argument(metavar="[STORE]", help="A store to look back into.")
    ] = None,
    view: Annotated[
        list[str] | None, argument(metavar="[VIEW]...", help="A view and its words.")
    ] = None,
    out: Annotated[
        Path | None, option("-o", "--out", metavar="DIR", help="Sample into this store.")
    ] = None,
    interval: Annotated[
        str | None, option(metavar="S", help="From sample to sample (1s), or shown to shown.")
    ] = None,
    for_: Annotated[
        str | None, option("--for", metavar="SPAN", help="Sample so long, as 10m.")
    ] = None,
    at: Annotated[str | None, option(metavar="TIME", help="Look at this moment.")] = None,
    from_: Annotated[
        str | None, option("--from", metavar="TIME", help="Look from this moment on.")
    ] = None,
    to: Annotated[str | None, option(metavar="TIME", help="Look up to this moment.")] = None,
    rows: Annotated[int, option(help="Rows of the timeline.")] = 20,
    root: Root = LIVE_HOST,
    rotate: Annotated[str, option(metavar="SPAN", help="Seal the store so often.")] = "5m",
    cap: Annotated[
        str, option(metavar="SIZE", help="The oldest samples go when the store is larger.")
    ] = "1G",
    budget: Annotated[
        float, option(metavar="PERCENT", help="Of a CPU, to read smaps_rollup and maps.")
    ] = 0.5,
    export: Annotated[
        str | None, option(metavar="FORMAT", help="Serve metrics over HTTP: prometheus.")
    ] = None,
    listen: Annotated[
        str, option(metavar="ADDR", help="ADDRESS:PORT to serve on.")
    ] = "127.0.0.1:9843",
    as_json: Json = False,
    as_csv: Csv = False,
) -> int:
    """Sample this machine into a store, and look back into it.

    memtwin watch -o DIR --for 10m; memtwin watch DIR --at 12:03 free -m; memtwin watch DIR

    TIME is HH:MM, HH:MM:SS, -5m before the end, @SECONDS, or an ISO date and time.
    """
    from memtwin.cli import watch_run

    words = watch_run.Words(
        store=store,
        view=[*(view or []), *unknown, *command],
        out=out,
        interval=interval,
        for_=for_,
        at=at,
        begin=from_,
        end=to,
        rows=rows,
        root=root,
        rotate=rotate,
        cap=cap,
        budget=budget,
        export=export,
        listen=listen,
    )
    return watch_run.run(words, as_json=as_json, as_csv=as_csv)


def leaks(
    store: Annotated[
        Path | None, argument(metavar="[STORE]", help="A store of memtwin watch.")
    ] = None,
    for_: Annotated[
        str, option("--for", metavar="SPAN", help="Without a store: sample so long.")
    ] = "10m",
    interval: Annotated[
        str, option(metavar="SPAN", help="Without a store: from sample to sample.")
    ] = "5s",
    from_: Annotated[
        str | None, option("--from", metavar="TIME", help="Of the store, from this moment.")
    ] = None,
    to: Annotated[
        str | None, option(metavar="TIME", help="Of the store, up to this moment.")
    ] = None,
    every: Annotated[bool, option("--all", help="Show what does not grow too.")] = False,
    shown: Printed = PRINTED,
) -> None:
    """What grows for good: by process, slab cache, vmalloc, page tables and unaccounted memory.

    memtwin leaks --for 10m --interval 5s; memtwin leaks STORE --from 12:00

    Caches, warming up and fragmentation are told apart from leaks; each rate has its 95 % interval.
    """
    from memtwin.cli import leaks_run, view

    terms = leaks_run.Terms(store, for_, interval, from_, to, shown.root)
    snapshot = leaks_run.run(terms, leaks_run.Shown.ALL if every else leaks_run.Shown.GROWING)
    view.show(lambda: snapshot, shown.how())
