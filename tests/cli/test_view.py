"""A view as text, JSON and CSV, once, repeated and live."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import msgspec
import pytest

from memtwin.cli.live import LiveView
from memtwin.cli.view import (
    Absent,
    Form,
    Pace,
    Showing,
    Snapshot,
    SortableLook,
    rendered,
    show,
    showing,
)
from memtwin.errors import UserError


class Row(msgspec.Struct):
    name: str
    rss_bytes: int | None
    by_node: dict[str, int] = {}


SNAPSHOT = Snapshot(
    "example",
    [Row("a, b", 4096, {"N0": 1}), Row("c", None)],
    "a 4096\n",
    totals={"rss_bytes": 4096},
    absent=[Absent("c: rss", "permission denied")],
    notes=["1 of 2 processes readable"],
)
ASKED = {"as_json": False, "as_csv": False, "once": False, "live": False}


def test_text_ends_with_its_notes_and_what_is_absent() -> None:
    assert rendered(SNAPSHOT, Form.TEXT) == (
        "a 4096\n1 of 2 processes readable\nabsent: c: rss (permission denied)\n"
    )


def test_json_has_schema_version_units_and_null_where_a_figure_is_absent() -> None:
    document = json.loads(rendered(SNAPSHOT, Form.JSON))
    assert (document["schema"], document["version"]) == ("memtwin.example", 1)
    assert [row["rss_bytes"] for row in document["rows"]] == [4096, None]
    assert document["totals"] == {"rss_bytes": 4096}
    assert document["absent"] == [{"what": "c: rss", "why": "permission denied"}]


def test_csv_quotes_names_and_leaves_absent_cells_empty() -> None:
    rows = list(csv.DictReader(io.StringIO(rendered(SNAPSHOT, Form.CSV))))
    assert rows[0] == {"name": "a, b", "rss_bytes": "4096", "by_node": '{"N0":1}'}
    assert rows[1]["rss_bytes"] == ""
    assert rendered(SNAPSHOT, Form.CSV, first=False).count("\n") == 2


@pytest.mark.parametrize(
    "words",
    [
        {"as_json": True, "as_csv": True},
        {"live": True, "as_json": True},
        {"live": True, "once": True},
        {"interval_s": 0.0},
        {"interval_s": float("nan")},
        {"count": 0},
    ],
)
def test_words_that_contradict_each_other_are_refused(words: dict[str, object]) -> None:
    with pytest.raises(UserError, match="found"):
        showing(**{**ASKED, **words})  # type: ignore[arg-type]


def test_a_view_looks_as_often_as_it_is_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    looks = []

    def look() -> Snapshot:
        looks.append(1)
        return SNAPSHOT

    show(look, Showing(Form.CSV, Pace.REPEAT, 0.1, 3))
    assert len(looks) == 3
    assert capsys.readouterr().out.count("rss_bytes") == 1
    assert showing(**ASKED).pace is Pace.ONCE
    assert showing(**ASKED, interval_s=1.0) == Showing(Form.TEXT, Pace.REPEAT, 1.0, None)


def test_live_needs_a_terminal() -> None:
    with pytest.raises(UserError, match="no terminal"):
        show(lambda: SNAPSHOT, Showing(pace=Pace.LIVE))


def test_the_live_screen_renews_pauses_and_ends_with_q() -> None:
    screen = LiveView(lambda: SNAPSHOT, 3600.0)

    async def press() -> None:
        async with screen.run_test() as pilot:
            await screen.workers.wait_for_complete()
            await pilot.press("r")
            await screen.workers.wait_for_complete()
            await pilot.pause()
            assert screen.looks == 2
            assert "a 4096" in str(screen.query_one("#body").render())
            await pilot.press("space", "minus")
            assert (screen.paused, screen.interval_s) == (True, 7200.0)
            await pilot.press("q")

    asyncio.run(press())
    assert screen.fault is None


def test_a_look_that_cannot_go_on_ends_the_live_screen_with_its_reason() -> None:
    def look() -> Snapshot:
        raise UserError("gone")

    screen = LiveView(look, 3600.0)

    async def wait() -> None:
        async with screen.run_test() as pilot:
            while screen.is_running and screen.fault is None:
                await pilot.pause(0.01)

    asyncio.run(wait())
    assert str(screen.fault) == "gone"


def test_a_name_that_is_not_utf_8_is_shown_escaped_in_every_form() -> None:
    class Named(msgspec.Struct):
        name: str
        parts: dict[str, str]

    odd = b"caf\xe9".decode(errors="surrogateescape")
    snapshot = Snapshot("odd", [Named(odd, {odd: odd})], f"{odd}\n", notes=[odd])
    assert rendered(snapshot, Form.TEXT) == "caf\\xe9\ncaf\\xe9\n"
    assert rendered(snapshot, Form.CSV).splitlines()[1].startswith("caf\\xe9,")
    (row,) = json.loads(rendered(snapshot, Form.JSON))["rows"]
    assert row == {"name": "caf\\xe9", "parts": {"caf\\xe9": "caf\\xe9"}}


def test_a_key_sorts_the_live_screen_anew_and_other_keys_do_not() -> None:
    asked: list[str] = []

    def look(by: str) -> Snapshot:
        asked.append(by)
        return SNAPSHOT

    screen = LiveView(SortableLook(look, {"s": "size", "n": "name"}, "name"), 3600.0)

    async def press() -> None:
        async with screen.run_test() as pilot:
            for key in ("s", "x"):
                await screen.workers.wait_for_complete()
                await pilot.press(key)
            await screen.workers.wait_for_complete()
            await pilot.pause()
            assert "by size (keys: s n)" in str(screen.query_one("#head").render())
            await pilot.press("q")

    asyncio.run(press())
    assert asked == ["name", "size"]
