"""The walks in docs/ lead to files and functions that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import house

WALKS = sorted((house.ROOT / "docs" / "walks").glob("*.md"))
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
FUNCTION = re.compile(r"`(\w+)\(\)`")
STEP = re.compile(r"^(?=\d+\. )", re.M)


def linked(step: str, walk: Path) -> list[Path]:
    return [walk.parent / path for path in LINK.findall(step)]


def test_the_three_walks_are_there() -> None:
    assert {"page_fault.md", "dirty_page.md", "oom_kill.md"} <= {walk.name for walk in WALKS}


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.stem)
def test_every_path_that_a_walk_links_exists(walk: Path) -> None:
    gone = [str(path) for path in linked(walk.read_text(), walk) if not path.resolve().is_file()]
    assert not gone, "\n".join(gone)


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.stem)
def test_every_function_that_a_step_names_is_in_a_file_that_it_links(walk: Path) -> None:
    wrong, seen = [], 0
    for step in STEP.split(walk.read_text())[1:]:
        sources = [path for path in linked(step, walk) if path.suffix == ".py"]
        text = "\n".join(path.read_text() for path in sources if path.is_file())
        for name in FUNCTION.findall(step):
            seen += 1
            if not re.search(rf"def {name}\(", text):
                wrong.append(f"{walk.name}, step {step.split('.')[0]}: {name}()")
    assert seen > 10
    assert not wrong, "\n".join(wrong)


def test_the_plan_and_the_front_page_lead_to_the_walks() -> None:
    for page in ("README.md", "docs/ARCHITECTURE.md"):
        text = (house.ROOT / page).read_text()
        for walk in WALKS:
            assert f"walks/{walk.name}" in text, f"{page} does not link {walk.name}"
