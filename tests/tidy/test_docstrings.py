"""Whoever comes to a front desk is told what is there, and every example given is true."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import house

MODULES = house.sources(".py")

RUN_EXAMPLES = """
import doctest, importlib, sys
failed = tried = 0
for name in sys.argv[1:]:
    result = doctest.testmod(importlib.import_module(name))
    failed += result.failed
    tried += result.attempted
print(tried, "examples", failed, "failed")
sys.exit(bool(failed))
"""


def _public(tree: ast.Module) -> list[ast.FunctionDef | ast.ClassDef]:
    return [
        node
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    ]


@pytest.mark.parametrize("path", MODULES, ids=house.shown)
def test_a_module_says_what_it_is_and_its_public_names_too(path: Path) -> None:
    tree = house.tree_of(path)
    assert ast.get_docstring(tree), "the first docstring says what the file owns"
    silent = [node.name for node in _public(tree) if not ast.get_docstring(node)]
    assert not silent, f"public, but without a docstring: {silent}"


def test_every_example_in_a_docstring_gives_the_answer_it_shows() -> None:
    # interpreted: doctest does not look into the functions of an extension
    names = [house.module_of(path) for path in MODULES if ">>>" in path.read_text()]
    environment = {
        **os.environ,
        "MEMTWIN_INTERPRETED": "1",
        "PYTHONPATH": str(house.ROOT / "src"),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN_EXAMPLES, *names],
        env=environment, cwd=house.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert int(done.stdout.split()[-4]) > 0


def test_the_name_of_every_test_is_a_sentence() -> None:
    wrong = [
        f"{house.shown(path)}:{node.lineno}: {node.name}"
        for path in house.sources(".py", "tests")
        for node in ast.walk(house.tree_of(path))
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and node.name.count("_") < 3
    ]
    assert not wrong, "at least three words after `test`:\n" + "\n".join(wrong)


def test_every_test_asserts_or_expects_something() -> None:
    wrong = []
    for path in house.sources(".py", "tests"):
        for node in ast.walk(house.tree_of(path)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = ast.unparse(node)
                checks = ("assert", "raises", "verify", "check", "compare", "expect", "same_as")
                if not any(word in text.split(":", 1)[1] for word in checks):
                    wrong.append(f"{house.shown(path)}:{node.lineno}: {node.name}")
    assert not wrong, "tests that cannot fail:\n" + "\n".join(wrong)
