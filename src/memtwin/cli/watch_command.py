"""Owns `memtwin watch -o DIR`: sampling into a store until the time is up or a signal comes.

Imports the sampler, the store and, where asked, the exporter. Shows nothing of what it samples.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from memtwin.cli.moments import parse_span
from memtwin.cli.view import MAX_INTERVAL_S, MIN_INTERVAL_S
from memtwin.errors import UserError
from memtwin.observe.ledger_texts import page_bytes
from memtwin.observe.meminfo import parse_meminfo
from memtwin.observe.samples.journal import Sample
from memtwin.observe.samples.sampler import DEFAULT_SHARE, Sampler
from memtwin.observe.samples.store import Rotation, StoreWriter
from memtwin.observe.source import TreeSource
from memtwin.observe.vmstat import parse_vmstat
from memtwin.observe.zoneinfo import parse_zoneinfo
from memtwin.units import parse_size


class Terms(NamedTuple):
    """How to watch."""

    root: Path
    interval_s: float
    for_s: float | None
    rotation: Rotation
    share: float = DEFAULT_SHARE


def terms(
    root: Path,
    interval: str,
    for_: str | None,
    rotate: str,
    cap: str,
    budget_percent: float,
) -> Terms:
    """The terms that a command line asks for. Raises UserError where one is out of range."""
    interval_s = parse_span(interval, "--interval")
    if not MIN_INTERVAL_S <= interval_s <= MAX_INTERVAL_S:
        raise UserError(
            f"--interval: found {interval}, allowed is {MIN_INTERVAL_S:g} to {MAX_INTERVAL_S:g} s"
        )
    age_s = parse_span(rotate, "--rotate")
    if age_s < interval_s:
        raise UserError(f"--rotate: found {rotate}, allowed is the interval or more")
    if not 0 <= budget_percent <= 100:
        raise UserError(f"--budget: found {budget_percent:g}, allowed is 0 to 100 percent")
    rotation = Rotation(age_s=age_s, total_bytes=parse_size(cap, "--cap"))
    for_s = None if for_ is None else parse_span(for_, "--for")
    return Terms(root, interval_s, for_s, rotation, budget_percent / 100)


def watch(directory: Path, how: Terms, on_sample: Callable[[Sample], None] | None = None) -> int:
    """Sample into the store at `directory`; Ctrl-C, SIGTERM and SIGHUP end it with all sealed.

    How many samples it took.
    """
    page_size_bytes = page_bytes_of(how.root)
    with StoreWriter(directory, page_size_bytes, str(how.root), how.rotation) as store:
        for line in store.said:
            print(f"memtwin: {line}", file=sys.stderr)
        sampler = Sampler(how.root, how.share)
        taken = 0
        try:
            for _ in _ticks(how.interval_s, how.for_s):
                sample = sampler.look(whole=store.starts_whole)
                store.append(sample)
                taken += 1
                if on_sample is not None:
                    on_sample(sample)
        finally:
            sampler.close()
    return taken


def sample_on(how: Terms, on_sample: Callable[[Sample], None]) -> None:
    """Sample without a store, for whoever takes the samples."""
    sampler = Sampler(how.root, how.share)
    try:
        for number, _ in enumerate(_ticks(how.interval_s, how.for_s)):
            on_sample(sampler.look(whole=number == 0))
    finally:
        sampler.close()


def page_bytes_of(root: Path) -> int:
    """The page size of the machine at `root`. Raises UserError when there is no /proc/meminfo."""
    source = TreeSource(root)
    text = source.read("/proc/meminfo")
    if text is None:
        raise UserError(f"{source.why_not('/proc/meminfo')}; --root: allowed is a root with proc/")
    if source.is_live:
        return os.sysconf("SC_PAGE_SIZE")
    vmstat, zones = source.read("/proc/vmstat"), source.read("/proc/zoneinfo")
    return page_bytes(
        parse_meminfo(text),
        parse_vmstat(vmstat).figures if vmstat else {},
        parse_zoneinfo(zones).zones if zones else [],
    )


def _ticks(interval_s: float, for_s: float | None) -> Iterator[None]:
    """One turn each interval; a turn that comes late is not made up for."""
    with ended_by_signal() as end:
        began = due = time.monotonic()
        while not end.is_set():
            yield
            now = time.monotonic()
            due += interval_s * max(1.0, (now - due) // interval_s)
            if for_s is not None and due - began > for_s:
                return
            end.wait(max(due - now, 0.0))


@contextmanager
def ended_by_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and SIGHUP set, in place of ending the process."""
    end = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        end.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, note)
    try:
        yield end
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
