"""Owns what `memtwin watch` is asked for: to sample, to export, or to look back.

Imports watch_command, watch_replay and, where asked, prometheus_export.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from memtwin.cli.moments import parse_span
from memtwin.cli.view import Form
from memtwin.errors import UserError
from memtwin.observe.samples.journal import Sample
from memtwin.observe.samples.moment import StoredMoment


class Words(NamedTuple):
    """The command line of `memtwin watch`."""

    store: Path | None
    view: list[str]
    out: Path | None
    interval: str | None
    for_: str | None
    at: str | None
    begin: str | None
    end: str | None
    rows: int
    root: Path
    rotate: str
    cap: str
    budget: float
    export: str | None
    listen: str


def run(words: Words, *, as_json: bool, as_csv: bool) -> int:
    """Do what the words ask for; an exit status."""
    if words.export not in (None, "prometheus"):
        raise UserError(f"--export: found {words.export!r}, allowed is prometheus")
    if words.store is not None and words.out is not None:
        raise UserError("-o: found with a store to look into, allowed is one of them")
    if words.store is None:
        _sample(words)
        return 0
    if words.export is not None:
        _serve_store(words.store, words)
        return 0
    if as_json and as_csv:
        raise UserError("--json: found with --csv, allowed is one of them")
    if words.rows < 2:
        raise UserError(f"--rows: found {words.rows}, allowed is 2 or more")
    from memtwin.cli.watch_replay import Span, replay

    step_s = None if words.interval is None else parse_span(words.interval, "--interval")
    form = Form.JSON if as_json else Form.CSV if as_csv else Form.TEXT
    span = Span(words.at, words.begin, words.end, step_s, words.rows)
    return replay(words.store, span, words.view, form)


def _sample(words: Words) -> None:
    from memtwin.cli import watch_command

    if words.at or words.begin or words.end:
        raise UserError("--at, --from, --to: found without a store to look into")
    if words.out is None and words.export is None:
        raise UserError(
            "watch: found nothing to do, allowed is -o DIR, --export prometheus or a store"
        )
    how = watch_command.terms(
        words.root, words.interval or "1s", words.for_, words.rotate, words.cap, words.budget
    )
    if words.export is None:
        if words.out is not None:
            _told(watch_command.watch(words.out, how), words.out)
        return
    from memtwin.cli.prometheus_export import MetricsServer

    newest = Newest()
    page_bytes = watch_command.page_bytes_of(words.root)
    with MetricsServer(words.listen, newest.moment, page_bytes) as server:
        print(f"metrics at http://{server.address}/metrics", flush=True)
        if words.out is None:
            watch_command.sample_on(how, newest.take)
        else:
            _told(watch_command.watch(words.out, how, newest.take), words.out)


def _told(samples: int, store: Path) -> None:
    print(f"{samples:,} samples in {store}")


def _serve_store(store: Path, words: Words) -> None:
    from memtwin.cli.prometheus_export import MetricsServer
    from memtwin.cli.watch_command import ended_by_signal
    from memtwin.observe.samples.reader import StoreReader

    page_bytes = StoreReader(store).identity.page_bytes

    def newest() -> StoredMoment:
        reader = StoreReader(store)
        return reader.at(reader.span_ns()[1])

    with (
        ended_by_signal() as end,
        MetricsServer(words.listen, newest, page_bytes) as server,
    ):
        print(f"metrics at http://{server.address}/metrics", flush=True)
        end.wait(None if words.for_ is None else parse_span(words.for_, "--for"))


class Newest:
    """The newest sample of those taken so far, with all texts of its moment."""

    def __init__(self) -> None:
        self._moment: StoredMoment | None = None

    def take(self, sample: Sample) -> None:
        """Take in a sample's differences; the moment handed out before stays as it was."""
        texts = {} if self._moment is None else dict(self._moment.texts)
        for path in sample.gone:
            texts.pop(path, None)
        texts.update(sample.texts)
        self._moment = StoredMoment(sample.taken_ns, texts)

    def moment(self) -> StoredMoment | None:
        """The newest sample, or None before the first."""
        return self._moment
