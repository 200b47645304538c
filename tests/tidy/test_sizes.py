"""Files, functions, lines and front desks stay small enough to be read at one go."""

from __future__ import annotations

import ast
from pathlib import Path

import house

MAX_FILE_LINES = 500
MAX_COLUMNS = 100
MAX_FRONT_DESK_LINES = 40
PYTHON = house.sources(".py", "src", "tests", "tools", "benchmarks")
TEXTS = [*PYTHON, *house.sources(".pxd"), *house.sources(".c", "src", "benchmarks")]
# `utils.py` is where nouns go that nobody found; a file is one noun of the field
NO_NOUNS = {"utils", "util", "helpers", "helper", "core", "common", "misc"}


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _functions(path: Path) -> list[tuple[int, str, int]]:
    return [
        ((node.end_lineno or node.lineno) - node.lineno + 1, node.name, node.lineno)
        for node in ast.walk(house.tree_of(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]


def test_no_file_is_longer_than_500_lines() -> None:
    long = {house.shown(path): len(_lines(path)) for path in TEXTS}
    assert not {name: count for name, count in long.items() if count > MAX_FILE_LINES}


def test_no_line_is_wider_than_100_columns() -> None:
    wide = [
        f"{house.shown(path)}:{number}: {len(line)}"
        for path in TEXTS
        for number, line in enumerate(_lines(path), 1)
        if len(line) > MAX_COLUMNS
    ]
    assert not wide, "\n".join(wide)


def test_no_function_outgrows_the_longest_that_the_house_has_accepted() -> None:
    limit = house.settings()["longest_function_lines"]
    long = [
        f"{house.shown(path)}:{line}: {name} has {count} lines"
        for path in PYTHON
        for count, name, line in _functions(path)
        if count > limit
    ]
    assert not long, f"more than {limit} lines:\n" + "\n".join(long)


def test_a_front_desk_is_under_40_lines_and_says_what_its_room_does() -> None:
    wrong = []
    for path in house.sources("__init__.py", "src"):
        if len(_lines(path)) >= MAX_FRONT_DESK_LINES:
            wrong.append(f"{house.shown(path)}: {len(_lines(path))} lines")
        if not ast.get_docstring(house.tree_of(path)):
            wrong.append(f"{house.shown(path)}: no docstring")
    assert not wrong, "\n".join(wrong)


def test_every_room_with_sources_has_a_front_desk() -> None:
    rooms = {path.parent for path in house.sources(".py")}
    assert not [house.shown(room) for room in rooms if not (room / "__init__.py").exists()]


def test_a_file_is_named_by_a_noun_of_the_field() -> None:
    assert not [house.shown(path) for path in house.sources(".py") if path.stem in NO_NOUNS]
