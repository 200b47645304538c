"""The page of an explained OOM report: whole in itself, its bars as long as the figures say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memtwin.analysis.oom_story import Explanation, explain_all
from memtwin.cli.oom_html import Part, page
from memtwin.observe.oom.report import read_oom_log

LAB = sorted((Path(__file__).parents[1] / "data" / "oom").glob("*.txt"))
_WIDTH = re.compile(r'<i style="width:([\d.]+)%')


def _explained(path: Path) -> list[Explanation]:
    return explain_all(read_oom_log(path.read_text()).reports)


def _page(path: Path) -> str:
    found = _explained(path)
    parts = [Part(n, one, "the text", "") for n, one in enumerate(found, 1)]
    return page(path.name, parts, len(found), "")


@pytest.mark.parametrize("path", LAB, ids=lambda path: path.stem)
def test_a_page_needs_nothing_from_outside_and_closes_what_it_opens(path: Path) -> None:
    text = _page(path)
    assert "http" not in text
    assert "<script" not in text
    assert "url(" not in text
    for tag in ("div", "section", "span", "i", "b", "u", "p", "ul", "li", "details", "small"):
        assert len(re.findall(rf"<{tag}[ >]", text)) == text.count(f"</{tag}>"), tag


@pytest.mark.parametrize("path", LAB, ids=lambda path: path.stem)
def test_the_slices_of_all_memory_fill_the_bar_and_no_more(path: Path) -> None:
    for one, stack in zip(
        [one for one in _explained(path) if one.ledger is not None and one.ledger.total_bytes],
        re.findall(r'<div class="stack">(.*?)</div>', _page(path)), strict=True,
    ):  # fmt: skip
        assert one.ledger is not None
        whole = sum(float(width) for width in _WIDTH.findall(stack))
        assert 95 < whole < 100.5, one.ledger


def test_the_bars_of_the_processes_stand_as_their_points_do() -> None:
    (path,) = [path for path in LAB if path.stem == "6.1-swap"]
    (one,) = _explained(path)
    panel = _page(path).partition("Who weighed most")[2]
    rows = re.findall(r'<div class="row">(.*?)</div>', panel)
    bars = [re.sub(r'<u class="pale">.*?</u>', "", row) for row in rows]
    widths = [sum(float(width) for width in _WIDTH.findall(bar)) for bar in bars]
    points = [row.points or 0 for row in one.judgement.candidates]
    assert widths[0] == pytest.approx(100, abs=0.1)
    for width, of in zip(widths, points, strict=True):
        assert width == pytest.approx(of * 100 / points[0], abs=0.2)
    assert "killed" in rows[0]
    assert not any("killed" in row for row in rows[1:])


def test_a_zone_that_fails_is_drawn_below_its_mark() -> None:
    (path,) = [path for path in LAB if path.stem == "6.1-swap"]
    for track in re.findall(r'<div class="track">(.*?)</div>', _page(path)):
        floor = re.search(r'class="floor" style="width:([\d.]+)%', track)
        bar = re.search(r'<i style="width:([\d.]+)%;background:var\(--bad\)', track)
        assert floor
        assert bar
        assert float(bar[1]) <= float(floor[1])


def test_names_of_processes_are_text_on_the_page() -> None:
    (path,) = [path for path in LAB if path.stem == "6.1-swap"]
    found = explain_all(read_oom_log(path.read_text().replace("init", "<img src=x>")).reports)
    text = page("<x>", [Part(1, found[0], "<&>", "<twin>\n<&>")], 1, "<rest>")
    assert "<img" not in text
    assert "<rest>" not in text
    assert "&lt;img" in text
