"""The live screen: it renews itself, sorts anew by a key, pauses, and leaves."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from memtwin.cli import ps_choice
from memtwin.cli.live import LiveView, run_live
from memtwin.cli.ps_view import SORT_KEYS
from memtwin.cli.view import Look, Pace, Showing, Snapshot
from memtwin.errors import UserError

MARK = "memtwin-live-screen-test"
# by USS the first is the largest, by VSS the second, by RSS the third: it maps a file's pages
LIVES = (
    "held = bytearray(24 << 20); held[::4096] = b'x' * len(held[::4096])",
    "import mmap; held = mmap.mmap(-1, 512 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)",
    "import mmap; held = mmap.mmap(-1, 48 << 20); held[::4096] = b'x' * len(held[::4096])\n"
    "import os, sys\nfor _ in range(3):\n"
    " os.fork() or (sum(held[::4096]), sys.stdin.read(), os._exit(0))",
)
ROWS = 6  # the third has forked three children, which touch its shared pages


@pytest.fixture(scope="module")
def crowd() -> Iterator[None]:
    """Processes with the mark in their command line, at rest."""
    rest = "import sys; print(flush=True); sys.stdin.read()"
    words = [[sys.executable, "-S", "-c", f"# {MARK}\n{life}\n{rest}"] for life in LIVES]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(one, stdin=pipe, stdout=pipe) for one in words]
    for one in started:
        assert one.stdout is not None
        one.stdout.readline()
    yield
    for one in started:
        one.communicate()


def ps(**words: Any) -> Look:
    """`memtwin ps --live` on the crowd."""
    how = Showing(pace=Pace.LIVE, interval_s=60.0)
    return ps_choice.look_for(ps_choice.Words(process_filter=MARK, **words), Path("/"), how)


def on_screen(view: LiveView, act: Callable[[Pilot[None]], Awaitable[None]]) -> None:
    """Run `view` without a terminal, and do what `act` does to it."""

    async def run() -> None:
        async with view.run_test(size=(160, 40)) as pilot:
            await seen(pilot, 1)
            await act(pilot)

    asyncio.run(asyncio.wait_for(run(), 60))


async def seen(pilot: Pilot[None], looks: int) -> None:
    """Wait until so many looks are on the screen."""
    view = pilot.app
    assert isinstance(view, LiveView)
    while view.looks < looks:
        await pilot.pause(0.02)


def text_of(pilot: Pilot[None], part: str) -> str:
    return str(pilot.app.query_one(f"#{part}", Static).content)


def figures(pilot: Pilot[None], column: str) -> list[int]:
    """The figures below `column`, from the top of the screen down; absent ones as -1."""
    lines = text_of(pilot, "body").splitlines()
    at = lines[0].split().index(column)
    rows = [line.split() for line in lines[1:] if line[:5].strip().isdigit()]
    return [-1 if row[at] == "-" else int(row[at].lstrip("~")) for row in rows]


@pytest.mark.usefixtures("crowd")
def test_ps_begins_with_the_largest_pss_and_sorts_anew_by_each_of_its_keys() -> None:
    heads = {"pss": "PSS", "uss": "USS", "rss": "RSS", "vss": "VSS", "swap": "Swap"}
    first: dict[str, str] = {}

    async def act(pilot: Pilot[None]) -> None:
        found = figures(pilot, "PSS")
        assert len(found) == ROWS
        assert found == sorted(found, reverse=True)
        for looks, (key, column) in enumerate(SORT_KEYS.items(), 2):
            await pilot.press(key)
            await seen(pilot, looks)
            assert f"by {column} " in text_of(pilot, "head")
            found = figures(pilot, heads[column])
            assert len(found) == ROWS
            assert found == sorted(found, reverse=True), column
            first[column] = text_of(pilot, "body").splitlines()[1].split()[0]

    on_screen(LiveView(ps(budget="none"), 60.0), act)
    assert len({first["uss"], first["vss"], first["rss"]}) == 3, first  # each has another first


@pytest.mark.usefixtures("crowd")
def test_a_live_ps_keeps_to_a_budget_and_says_how_old_figures_are() -> None:
    async def act(pilot: Pilot[None]) -> None:
        assert "Age" in text_of(pilot, "body").splitlines()[0].split()
        assert "budget 1.00% of one CPU" in text_of(pilot, "body")
        await pilot.press("r")
        await seen(pilot, 2)
        assert "carried over" in text_of(pilot, "body")

    on_screen(LiveView(ps(), 60.0), act)


def test_a_key_that_sorts_nothing_leaves_the_order_and_q_leaves_the_screen() -> None:
    view = LiveView(ps_choice.look_for(ps_choice.Words(), Path("/"), Showing(pace=Pace.LIVE)), 60)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("x")
        assert "by pss " in text_of(pilot, "head")
        assert view.is_running
        await pilot.press("q")
        await pilot.pause()
        assert not view.is_running

    on_screen(view, act)
    assert view.fault is None
    assert view.return_code == 0


def test_it_looks_again_when_the_interval_has_passed_but_not_while_paused() -> None:
    counted: list[int] = []

    def look() -> Snapshot:
        counted.append(1)
        return Snapshot("made up", [], f"look {len(counted)}\n")

    async def act(pilot: Pilot[None]) -> None:
        await seen(pilot, 3)
        await pilot.press("space")
        await pilot.pause(0.3)
        assert "paused" in text_of(pilot, "head")
        before = len(counted)
        await pilot.pause(0.5)
        assert len(counted) == before
        await pilot.press("space")
        await seen(pilot, before + 2)
        assert text_of(pilot, "body").startswith("look ")
        await pilot.press("minus")
        assert "every 0.2 s" in text_of(pilot, "head")
        await pilot.press("plus", "plus", "plus")
        assert "every 0.1 s" in text_of(pilot, "head")  # no faster than that

    on_screen(LiveView(look, 0.1), act)


def test_a_look_that_cannot_go_on_ends_the_screen_with_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look() -> Snapshot:
        raise UserError("--root: found no processes")

    monkeypatch.setattr(LiveView, "run", lambda self: asyncio.run(self.run_async(headless=True)))
    with pytest.raises(UserError, match="found no processes"):
        run_live(look, 60.0)
