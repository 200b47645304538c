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
        (["leak", "scan", GONE, "--method", "magic"], "allowed is fork or copy"),
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
