"""The words of `memtwin leak`: a number asks for the verdict, mistakes end as one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from memtwin.cli.main import outcome

GONE = "999999999"


@pytest.mark.parametrize("words", [["leak", GONE], ["leak", "scan", GONE]])
def test_a_pid_that_is_not_there_ends_as_one_line(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(words) == 2
    said = capsys.readouterr().err
    assert said == f"memtwin: PID {GONE}: no such process\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["leak", "run", "--", "true"], "one of --valgrind and --asan"),
        (["leak", "run", "--valgrind"], "found no command"),
        (["leak", "scan", GONE, "--method", "magic"], "allowed is auto, fork or copy"),
        (["leak", "scan", GONE, "--twice", "1", "--since", "f"], "allowed is one of them"),
        (["leak", "kernel", "--for", "0"], "--for: found 0"),
        (["leak", "read", "no-such-file"], "no-such-file"),
    ],
)
def test_a_mistake_names_what_is_allowed(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_report_is_read_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.txt"
    report.write_text(
        "==7== LEAK SUMMARY:\n==7==    definitely lost: 24 bytes in 2 blocks\n"
        "==7==    indirectly lost: 0 bytes in 0 blocks\n"
    )
    assert outcome(["leak", "read", str(report)]) == 0
    shown = capsys.readouterr().out
    assert "definitely lost       2     24" in shown
    assert "absent: in use at exit" in shown


LEAKING = "start P\nrepeat 3\n@P malloc a 40\nend\n@P store a NULL\n@P leakcheck c\n"


def test_a_script_shows_its_leak_checks_and_its_result_and_its_json_are_read_as_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script, result, reports = (tmp_path / name for name in ("s.wl", "r.json", "reports.json"))
    script.write_text(LEAKING)
    assert outcome(["run", str(script), "--machine", "board-128m"]) == 0
    shown = capsys.readouterr().out.partition("\n\n")[2]
    assert "definitely lost       3    120" in shown
    assert "120B in 3 blocks definitely lost\n    malloc\n    P (s.wl:3)\n" in shown
    assert outcome(["run", str(script), "--machine", "board-128m", "--out", str(result)]) == 0
    capsys.readouterr()
    assert outcome(["leak", "read", str(result)]) == 0
    assert capsys.readouterr().out == shown
    assert outcome(["leak", "read", str(result), "--json"]) == 0
    reports.write_text(capsys.readouterr().out)
    assert outcome(["leak", "read", str(reports)]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"leak_checks": []}', "a result without leak checks"),
        ('{"leak_checks": [{"report": 3}]}', "found JSON that can't be read"),
        ('{"schema": "memtwin.leak_reports", "version": 2, "reports": []}', "found version 2"),
        ('{"schema": "x"}', "found JSON that is no scan"),
        ("{", "found JSON that can't be read"),
    ],
)
def test_json_that_holds_no_reports_is_named(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "f.json"
    file.write_text(text)
    assert outcome(["leak", "read", str(file)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
