"""docs/VIEWS.md shows what the views print of the recorded kernel that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.observe.recordings import system_texts, written

from memtwin.cli.main import outcome

PAGE = Path(__file__).parents[2] / "docs" / "VIEWS.md"
BLOCKS = re.findall(r"```\n\$ memtwin (.*)\n((?:.*\n)*?)```", PAGE.read_text())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = {**system_texts("7.3"), "/sys/fs/cgroup/cgroup.controllers": "memory\n"}
    return written(tmp_path_factory.mktemp("tree"), texts)


@pytest.mark.parametrize(("words", "text"), BLOCKS, ids=[words for words, _ in BLOCKS])
def test_the_page_shows_what_the_view_prints(
    words: str, text: str, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome([*words.split(), "--root", str(tree)]) == 0
    printed = "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())
    assert printed == text


def test_every_view_of_the_system_has_its_place_on_the_page() -> None:
    shown = {words.split()[0] for words, _ in BLOCKS}
    assert shown == {
        "free", "vmstat", "meminfo", "buddyinfo", "zoneinfo", "slabtop", "vmallocinfo", "cgroups",
        "zram", "dirty", "pressure", "thp", "hugepages", "numa",
    }  # fmt: skip
