"""What the twin simplifies is said on its line, whole, and docs/FIDELITY.md shows all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

import differs
import house


def test_every_simplification_says_what_why_and_which_result_it_can_bend() -> None:
    wrong = [
        f"{house.shown(path)}:{line}: {len(parts)} of 3 parts"
        for path, line, parts in differs.simplifications()
        if len(parts) != 3 or not all(parts)
    ]
    assert not wrong, f"write `{differs.WORD} what; why; result`:\n" + "\n".join(wrong)


def test_the_document_of_fidelity_lists_every_simplification() -> None:
    document = differs.DOCUMENT.read_text(encoding="utf-8")
    assert differs.renewed(document) == document, "docs/FIDELITY.md lags behind: run `make differs`"


def test_a_simplification_in_a_docstring_is_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house, "PACKAGE_DIR", tmp_path)
    monkeypatch.setattr(house, "ROOT", tmp_path)
    (tmp_path / "x.py").write_text(
        'def f():\n    """Does it.\n\n    # DIFFERS: a; b\n    # goes on; c.\n\n'
        '    DIFFERS: d; e; f\n    """\n'
        'text = "DIFFERS: no docstring"\n'
    )
    assert [(line, parts) for _, line, parts in differs.simplifications()] == [
        (4, ["a", "b goes on", "c"]),
        (7, ["d", "e", "f"]),
    ]


def test_a_simplification_over_several_lines_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house, "PACKAGE_DIR", tmp_path)
    monkeypatch.setattr(house, "ROOT", tmp_path)
    (tmp_path / "x.py").write_text(
        "a = 1\n# DIFFERS: no per-CPU lists; one\n# CPU only; nr_free\n\nb = 2  # plain\n"
    )
    (tmp_path / "y.c").write_text("/* DIFFERS: a; b;\n * c */\n")
    assert [parts for _, _, parts in differs.simplifications()] == [
        ["no per-CPU lists", "one CPU only", "nr_free"],
        ["a", "b", "c"],
    ]
    assert "| no per-CPU lists | one CPU only | nr_free |" in differs.table()
    (tmp_path / "x.py").write_text("# DIFFERS: something\n")
    with pytest.raises(differs.Malformed, match=r"x\.py:1: found 1 parts"):
        differs.table()
