"""Reports: the terminal's words and the page for the browser."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import synthetic
from rich.console import Console

from memtwin.analysis import answers
from memtwin.analysis.results import ReplayReport, Report, Verdict, from_json
from memtwin.analysis.sizing import make_curve
from memtwin.cli.html_report import to_html
from memtwin.cli.terminal_report import bar, column, show

REPORTS = {
    "replay": ReplayReport(result=synthetic.result(64)),
    "killed": ReplayReport(result=synthetic.result(14)),
    "sizing": synthetic.curve(),
    "verify": synthetic.verified(),
    "hopeless": make_curve([synthetic.result(14), synthetic.result(16)]),
    "single": make_curve([synthetic.result(64)]),
}


def text_of(report: Report, width: int = 120) -> str:
    out = io.StringIO()
    show(report, Console(file=out, width=width, highlight=False))
    return out.getvalue()


def carried(page: str) -> str:
    found = re.search(r'<script type="application/json" id="report">(.*?)</script>', page, re.S)
    assert found is not None
    return found.group(1)


@pytest.mark.parametrize("name", REPORTS)
def test_a_page_loads_nothing_and_carries_its_data(name: str) -> None:
    page = to_html(REPORTS[name])
    assert "https://" not in page
    assert re.findall(r"http://[^\"']*", page) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<(link|img|iframe)\b|\bsrc=|@import|url\(", page)
    assert from_json(carried(page)) == REPORTS[name]


def test_a_command_can_not_break_out_of_the_page() -> None:
    result = synthetic.result(64)
    evil = ["sh", "-c", "</script><script>alert(1)</script>"]
    result.provenance = type(result.provenance)(command=evil)
    page = to_html(ReplayReport(result=result))
    assert "<script>alert" not in page
    assert json.loads(carried(page))["result"]["provenance"]["command"] == evil


def test_the_page_says_the_answer_without_a_script() -> None:
    page = to_html(REPORTS["verify"])
    words = re.sub(r"<[^>]+>", "", page)
    assert "Give it 84M" in words
    assert "Predicted major faults are off by" in words
    assert "c0ffee12d00d" in words
    assert "zram of 1G" in words


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("name", REPORTS)
def test_the_charts_are_drawn(name: str, tmp_path: Path) -> None:
    path = tmp_path / "r.html"
    path.write_text(to_html(REPORTS[name]))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/profile"]
    done = subprocess.run(
        ["chromium", *options, "--virtual-time-budget=2000", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "<main>" not in done.stdout:
        pytest.skip("chromium does not run here")
    charts = 2 if name in ("replay", "killed") else 3
    assert done.stdout.count("<svg") == charts
    assert "NaN" not in re.sub(r"<script.*?</script>", "", done.stdout, flags=re.S)


def test_the_terminal_shows_every_limit_and_marks_the_answers() -> None:
    text = text_of(REPORTS["sizing"])
    assert text.startswith("Give it 84M: ")
    for mib in range(14, 130, 10):
        assert f" {mib}M " in text
    assert re.search(r" 84M .*advised", text)
    assert re.search(r" 94M .*knee", text)
    assert re.search(r" 24M .*survives", text)
    assert re.search(r" 14M .*killed", text)


def test_the_terminal_shows_predicted_beside_measured() -> None:
    text = text_of(REPORTS["verify"])
    assert "Predicted against the real kernel" in text
    assert re.search(r" 84M +1,967 +2,005 +-1\.9 % ", text)
    assert "note: 24M: real runs differ by 12 %" in text


@pytest.mark.parametrize("name", REPORTS)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_width_of_terminal_breaks_a_report(name: str, width: int) -> None:
    assert max(len(line) for line in text_of(REPORTS[name], width).splitlines()) <= width


def test_a_bar_fills_its_share() -> None:
    assert [bar(share, 2) for share in (0.0, 0.001, 0.25, 1.0, 7.0)] == ["", "▏", "▌", "██", "██"]
    assert column(0.25, 2) == [" ", "▄"]
    assert column(0.0, 1) == [" "]


def test_the_headline_names_the_limit_or_says_there_is_none() -> None:
    assert "No limit tried keeps the slowdown under 5 %. It survives none" in answers.headline(
        make_curve([synthetic.result(14)])
    )
    assert "It survives all of them, down to 64M." in answers.headline(
        make_curve([synthetic.result(64), synthetic.result(104)])
    )
    killed = answers.replay_headline(synthetic.result(14))
    assert killed == "With 14M it ends early: killed, out of memory (sort (312))."
    assert set(answers.ENDS) == set(Verdict)
