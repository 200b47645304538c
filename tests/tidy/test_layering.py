"""Imports point down: the list in pyproject.toml holds for imports and cimports alike."""

from __future__ import annotations

from pathlib import Path

import pytest

import house

LAYERS: list[str] = house.settings()["layers"]
MODULES = [*house.sources(".py"), *house.sources(".pxd")]


def test_every_room_is_in_the_list_of_layers() -> None:
    rooms = {house.room_of(house.module_of(path)) for path in MODULES} - {"", "__main__"}
    assert rooms <= set(LAYERS), f"not in [tool.memtwin] layers: {sorted(rooms - set(LAYERS))}"


def test_no_room_imports_a_higher_one() -> None:
    wrong = []
    for path in MODULES:
        room = house.room_of(house.module_of(path))
        if room in ("", "__main__"):
            continue
        for one in house.imports(path):
            taken = house.room_of(one.module)
            if taken and LAYERS.index(taken) > LAYERS.index(room):
                wrong.append(f"{house.shown(path)}:{one.line}: {room} imports {one.module}")
    assert not wrong, "imports that point up:\n" + "\n".join(wrong)


def test_the_front_door_imports_only_the_choice_of_mode() -> None:
    taken = {one.module for one in house.imports(house.PACKAGE_DIR / "__init__.py")}
    assert taken <= {"memtwin.extensions"}


def test_no_room_takes_a_private_name_of_another_module() -> None:
    wrong = [
        f"{house.shown(path)}:{one.line}: {one.name} of {one.module}"
        for path in house.sources(".py")
        for one in house.imports(path)
        if one.name.startswith("_") and not one.name.startswith("__")
    ]
    assert not wrong, "private names imported:\n" + "\n".join(wrong)


def test_headers_cimport_each_other_without_a_cycle() -> None:
    graph = {
        house.module_of(path): {one.module for one in house.imports(path)}
        for path in house.sources(".pxd")
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "cycle of cimports: " + " -> ".join((*trail, module))
        if module not in done:
            for inner in sorted(graph.get(module, ())):
                visit(inner, (*trail, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())


def test_a_header_is_cimported_only_where_the_source_imports_the_module_too() -> None:
    wrong = []
    for path in house.sources(".pxd"):
        source = path.with_suffix(".py")
        if not source.exists():
            continue
        imported = {one.module for one in house.imports(source)}
        for one in house.imports(path):
            sourceless = one.module in ("memtwin.views", "memtwin.prefetch")
            if one.module not in imported and not sourceless:
                wrong.append(f"{house.shown(path)}:{one.line}: {one.module}")
    assert not wrong, "the .py alone must be whole; it does not import:\n" + "\n".join(wrong)


def test_the_reader_of_imports_sees_every_way_of_importing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(house, "ROOT", tmp_path)
    source = tmp_path / "x.py"
    source.write_text(
        "import memtwin.units\nfrom memtwin.page import flags\nimport numpy\n"
        "def f():\n    from memtwin.columns import zeros\n"
    )
    header = tmp_path / "y.pxd"
    header.write_text("from memtwin.page.buddy cimport Buddy\n  cimport memtwin.page.zone\n")
    assert {one.module for one in house.imports(source)} == {
        "memtwin.units",
        "memtwin.page.flags",
        "memtwin.columns",
    }
    assert [one.module for one in house.imports(header)] == [
        "memtwin.page.buddy",
        "memtwin.page.zone",
    ]
