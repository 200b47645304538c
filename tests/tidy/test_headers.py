"""A compiled room says the same twice: `X.py` for readers and the interpreter, `X.pxd` for C."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import house

ALL_HEADERS = house.sources(".pxd")
HEADERS = [path for path in ALL_HEADERS if path.with_suffix(".py").exists()]
Sides = tuple[Path, str, house.Declared, house.Declared]


def _classes_of_the_house() -> dict[str, house.Declared]:
    return {
        name: declared
        for path in HEADERS
        for name, declared in house.declared_in_header(path).items()
        if name
    }


def _inherited(declared: house.Declared, classes: dict[str, house.Declared]) -> set[str]:
    found: set[str] = set()
    for base in declared.bases:
        if base in classes:
            found |= set(classes[base].fields) | _inherited(classes[base], classes)
    return found


def _both_sides(path: Path) -> Iterator[Sides]:
    header = house.declared_in_header(path)
    source = house.declared_in_source(path.with_suffix(".py"))
    for name in sorted(set(header) & set(source)):
        yield path, name, header[name], source[name]


def _strings(path: Path) -> set[str]:
    return {
        node.value
        for node in ast.walk(house.tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def test_a_header_without_source_declares_nothing_but_names_of_types() -> None:
    for path in set(ALL_HEADERS) - set(HEADERS):
        declared = house.declared_in_header(path)
        assert declared == {"": house.Declared()}, f"{house.shown(path)}: its source is missing"


@pytest.mark.parametrize("path", HEADERS, ids=house.shown)
def test_header_and_source_name_the_same_classes(path: Path) -> None:
    header = set(house.declared_in_header(path))
    source = set(house.declared_in_source(path.with_suffix(".py")))
    assert header == source, f"only in one of the two: {header ^ source}"


@pytest.mark.parametrize("path", HEADERS, ids=house.shown)
def test_every_field_is_declared_and_every_declaration_is_a_field(path: Path) -> None:
    classes = _classes_of_the_house()
    # a constructor may set fields by the names of a table of columns
    named = _strings(path.with_suffix(".py"))
    for _, name, header, source in _both_sides(path):
        if not name:
            continue
        undeclared = set(source.fields) - set(header.fields) - _inherited(header, classes)
        assert not undeclared, f"{name}: assigned in the .py, not in the .pxd: {sorted(undeclared)}"
        unused = set(header.fields) - set(source.fields) - named
        assert not unused, f"{name}: in the .pxd, never assigned in the .py: {sorted(unused)}"


@pytest.mark.parametrize("path", HEADERS, ids=house.shown)
def test_every_c_function_has_the_same_kind_guard_and_arguments_on_both_sides(path: Path) -> None:
    for _, name, header, source in _both_sides(path):
        for function in sorted(set(header.functions) | set(source.functions)):
            declared = header.functions.get(function)
            written = source.functions.get(function)
            assert declared == written, f"{name}.{function}: .pxd {declared}, .py {written}"


@pytest.mark.parametrize("path", HEADERS, ids=house.shown)
def test_every_c_number_of_a_header_is_bound_in_its_source(path: Path) -> None:
    bound: set[str] = set()
    for node in ast.walk(house.tree_of(path.with_suffix(".py"))):
        if isinstance(node, ast.ImportFrom):
            bound |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    unbound = set(house.declared_in_header(path)[""].fields) - bound
    assert not unbound, f"declared as C numbers, but never imported or assigned: {sorted(unbound)}"


def test_the_reader_of_headers_understands_the_forms_in_use(tmp_path: Path) -> None:
    header = tmp_path / "x.pxd"
    header.write_text(
        "from libc.stdint cimport int32_t\ncdef int NIL\ncdef long twice(long x) noexcept\n"
        "cdef class A(B):\n    cdef public int32_t[::1] head, tail\n    cdef readonly object name\n"
        "    cdef long take(self, int order,\n                   long long n) except -1\n"
        "    cpdef unsigned long long mix(self)\n    cdef void put(self, int[::1] rows) noexcept\n"
        "    cdef inline bint free(self)\n"
    )
    found = house.declared_in_header(header)
    assert list(found[""].fields) == ["NIL"]
    assert found[""].functions == {"twice": ("cdef", "noexcept", "x")}
    assert found["A"].bases == ["B"]
    assert list(found["A"].fields) == ["head", "tail", "name"]
    assert found["A"].functions == {
        "take": ("cdef", "except -1", "self", "order", "n"),
        "mix": ("cpdef", "plain", "self"),
        "put": ("cdef", "noexcept", "self", "rows"),
        "free": ("cdef", "plain", "self"),
    }


def test_the_reader_of_sources_understands_the_forms_in_use(tmp_path: Path) -> None:
    source = tmp_path / "x.py"
    source.write_text(
        "import cython\n@cython.final\n@cython.cclass\nclass A(B):\n"
        "    def __init__(self):\n        self.a, self.b = 1, 2\n        self.c += 1\n"
        "    @cython.cfunc\n    @cython.exceptval(check=False)\n"
        "    def put(self, n: cython.int): ...\n"
        "    @cython.ccall\n    @cython.exceptval(-1, check=False)\n"
        "    def take(self): self.d = 3\n"
        "    def plain(self): ...\n@cython.cfunc\ndef twice(x): return x\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(house, "ROOT", tmp_path)
        found = house.declared_in_source(source)
    assert set(found["A"].fields) == {"a", "b", "c", "d"}
    assert found["A"].functions == {
        "put": ("cdef", "noexcept", "self", "n"),
        "take": ("cpdef", "except -1", "self"),
    }
    assert found[""].functions == {"twice": ("cdef", "plain", "x")}


def _interpreted_only(tree: ast.Module) -> set[ast.AST]:
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "not cython.compiled"
        for inner in ast.walk(node)
    }


def test_no_c_name_of_a_header_is_imported_from_python() -> None:
    hidden: dict[str, set[str]] = {}
    for path in HEADERS:
        module = house.declared_in_header(path)[""]
        cdefs = {name for name, (kind, *_) in module.functions.items() if kind == "cdef"}
        hidden[house.module_of(path)] = set(module.fields) | cdefs
    wrong = []
    for path in house.sources(".py", "src", "tests"):
        tree = house.tree_of(path)
        exempt = _interpreted_only(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node not in exempt:
                for alias in node.names:
                    if alias.name in hidden.get(node.module or "", ()):
                        place = f"{house.shown(path)}:{node.lineno}"
                        wrong.append(f"{place}: {alias.name} of {node.module}")
    assert not wrong, (
        "C names are invisible once compiled; keep numbers in a module without header:\n"
        + "\n".join(wrong)
    )
