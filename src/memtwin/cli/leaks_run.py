"""Owns what `memtwin leaks` is asked for. Imports leaks_view and, to sample, watch_command."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import NamedTuple

from memtwin.analysis.leak import Verdict
from memtwin.analysis.trend import MIN_SAMPLES
from memtwin.cli import watch_command
from memtwin.cli.leaks_view import leaks_of
from memtwin.cli.moments import parse_span
from memtwin.cli.view import Snapshot
from memtwin.cli.watch_replay import Span, between
from memtwin.errors import UserError
from memtwin.observe.samples.reader import StoreReader


class Shown(enum.Enum):
    """Which findings are shown."""

    GROWING = (Verdict.LEAK, Verdict.CACHE, Verdict.FRAGMENTATION, Verdict.WATCH)
    ALL = tuple(Verdict)


class Terms(NamedTuple):
    """The command line of `memtwin leaks`."""

    store: Path | None
    for_: str
    interval: str
    begin: str | None
    end: str | None
    root: Path


def run(terms: Terms, shown: Shown) -> Snapshot:
    """Look into the store, or sample first. Raises UserError where the words contradict."""
    if terms.store is not None:
        reader = StoreReader(terms.store)
        span = between(Span(begin=terms.begin, end=terms.end), reader.span_ns())
        return leaks_of(reader, span, shown.value)
    if terms.begin or terms.end:
        raise UserError("--from, --to: found without a store to look into")
    how = watch_command.terms(terms.root, terms.interval, terms.for_, "1h", "1G", 1.0)
    samples = int(parse_span(terms.for_, "--for") / how.interval_s) + 1
    if samples < MIN_SAMPLES:
        raise UserError(
            f"--for: found {terms.for_}, which is {samples} samples; allowed is {MIN_SAMPLES} or"
            " more intervals"
        )
    return _sampled(how, shown)


def _sampled(how: watch_command.Terms, shown: Shown) -> Snapshot:
    import tempfile

    print(
        f"memtwin: sampling every {how.interval_s:g} s for {how.for_s:g} s; Ctrl-C ends it early",
        file=sys.stderr,
    )
    with tempfile.TemporaryDirectory(prefix="memtwin-leaks-") as folder:
        store = Path(folder) / "store"
        watch_command.watch(store, how)
        snapshot = leaks_of(StoreReader(store), shown=shown.value)
    return snapshot._replace(root=str(how.root))
