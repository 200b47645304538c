"""docs/LEAKS.md shows what its scripts print: leaks of a program and of a kernel in the twin."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memtwin.cli.main import outcome

PAGE = (Path(__file__).parents[2] / "docs" / "LEAKS.md").read_text()


def section(title: str) -> list[str]:
    """The indented blocks below a title, each without its indent."""
    text = re.split(r"^#+ ", PAGE.partition(f"# {title}\n")[2], maxsplit=1, flags=re.M)[0]
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, flags=re.M)
    return [re.sub(r"^    ", "", block, flags=re.M).strip("\n") + "\n" for block in blocks]


def printed_after(block: str, command: str) -> str:
    """What a block shows as printed by a command: up to the next one."""
    return block.partition(f"$ {command}\n")[2].partition("\n$ ")[0].rstrip("\n")


def ran(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert outcome(words.split()) == 0
    return "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())


def test_the_leaks_of_a_program_in_the_twin_are_as_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [block] = section("Leaks in the twin")
    monkeypatch.chdir(tmp_path)
    script = printed_after(block, "cat leak-example.wl")
    Path("leak-example.wl").write_text(script + "\n")
    ran("run leak-example.wl --machine board-128m --out leak.json", capsys)
    shown = printed_after(block, "memtwin leak read leak.json")
    assert ran("leak read leak.json", capsys) == shown


def test_the_leak_of_the_twins_kernel_is_as_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    script, walk = section("A leak of the twin's kernel")
    monkeypatch.chdir(tmp_path)
    Path("leaky.wl").write_text(script)
    ran("run leaky.wl --machine board-128m --out leaky.json", capsys)
    ran("mount leaky.json loaded --at loaded --write", capsys)
    ran("mount leaky.json final --write", capsys)
    words = "leak kernel --since loaded --root final"
    assert ran(words, capsys) == printed_after(walk, f"memtwin {words}")
    report = Path("final/sys/kernel/debug/kmemleak").read_text()
    shown = printed_after(walk, "head -8 final/sys/kernel/debug/kmemleak")
    assert "\n".join(report.splitlines()[:8]) == shown
