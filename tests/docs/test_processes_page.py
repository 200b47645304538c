"""docs/PROCESSES.md shows what the views print of the twin that docs/MOUNT.md describes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from memtwin.cli.main import outcome

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = re.findall(r"```\n\$ memtwin (.*)\n((?:.*\n)*?)```", (DOCS / "PROCESSES.md").read_text())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("shop")
    text = (DOCS / "MOUNT.md").read_text()
    script = re.search(r"```\n(cgcreate web\n(?:.*\n)*?)```", text)
    command = re.search(r"\$ memtwin run shop\.wl (.*) --out shop\.json\n", text)
    assert script is not None
    assert command is not None
    (place / "shop.wl").write_text(script[1])
    result, root = str(place / "shop.json"), place / "root"
    assert outcome(["run", str(place / "shop.wl"), *command[1].split(), "--out", result]) == 0
    assert outcome(["mount", result, str(root), "--write"]) == 0
    return root


@pytest.mark.parametrize(("words", "text"), BLOCKS, ids=[words for words, _ in BLOCKS])
def test_the_page_shows_what_the_view_prints(
    words: str, text: str, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome([*words.split(), "--root", str(tree)]) == 0
    printed = "".join(f"{line.rstrip()}\n" for line in capsys.readouterr().out.splitlines())
    assert printed == text


def test_the_views_of_processes_and_of_phones_are_on_the_page() -> None:
    assert {words.split()[0] for words, _ in BLOCKS} == {"ps", "maps", "pmap", "procrank"}
