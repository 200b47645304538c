"""Reads the house's own sources for tests/tidy: files, comments, imports, headers.

Imports nothing of memtwin. Knows how sources are written, nothing of what they do.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE_DIR = ROOT / "src" / "memtwin"


@cache
def settings() -> dict[str, Any]:
    """The table [tool.memtwin] of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["memtwin"]
    return table


def sources(suffix: str, *folders: str) -> list[Path]:
    """Files of the project that end with `suffix`, in the folders (default: the package)."""
    roots = [ROOT / folder for folder in folders] or [PACKAGE_DIR]
    return sorted(path for root in roots for path in root.rglob(f"*{suffix}") if path.is_file())


def shown(path: Path) -> str:
    """The path as people read it: relative to the project."""
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a Python source."""
    return ast.parse(path.read_text(encoding="utf-8"), shown(path))


def room_of(module: str) -> str:
    """The room that a dotted module name lies in; "" for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def module_of(path: Path) -> str:
    """Dotted name of the module that a `.py` or `.pxd` of the package defines."""
    parts = path.relative_to(PACKAGE_DIR.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tracked_texts() -> Iterator[tuple[Path, str]]:
    """Every text file that git keeps (or would keep), with its content."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in listed.split("\0"):
        path = ROOT / name
        if name and path.is_file():
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


# comments ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comment:
    """One comment, or a block of them on lines that follow each other, joined by spaces."""

    path: Path
    line: int
    text: str
    code: str = ""  # what stands before it on its first line


def _python_comments(path: Path) -> Iterator[Comment]:
    text = path.read_text(encoding="utf-8")
    block: list[str] = []
    first = last = 0
    code = ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.STRING:
            yield from _paragraphs_of_text(path, token)
        if token.type != tokenize.COMMENT:
            continue
        row, column = token.start
        alone = not token.line[:column].strip()
        if block and not (alone and row == last + 1):
            yield Comment(path, first, " ".join(block), code)
            block = []
        if not block:
            first, code = row, token.line[:column].strip()
        block.append(token.string.lstrip("#").strip())
        last = row
    if block:
        yield Comment(path, first, " ".join(block), code)


def _paragraphs_of_text(path: Path, token: tokenize.TokenInfo) -> Iterator[Comment]:
    """The paragraphs of a docstring that say what differs from the kernel, as comments do."""
    if not token.string.startswith('"""') or token.line.strip()[:3] != '"""':
        return
    row = token.start[0]
    for paragraph in token.string.strip('"').split("\n\n"):
        before, mark, after = paragraph.partition("DIFFERS:")
        if mark:
            words = (line.strip().lstrip("#").strip() for line in after.splitlines())
            yield Comment(path, row + before.count("\n"), f"{mark} {' '.join(words).strip()}")
        row += paragraph.count("\n") + 2


def _c_comments(path: Path) -> Iterator[Comment]:
    text = path.read_text(encoding="utf-8")
    for match in re.finditer(r"/\*(.*?)\*/|//([^\n]*)|^\s*#\s(.*)$", text, re.S | re.M):
        words = next(group for group in match.groups() if group is not None)
        joined = " ".join(line.strip(" *\t") for line in words.splitlines())
        yield Comment(path, text.count("\n", 0, match.start()) + 1, joined.strip())


def comments(path: Path) -> list[Comment]:
    """The comments of a `.py`, `.pxd` or `.c` file, in order."""
    return list(_python_comments(path) if path.suffix == ".py" else _c_comments(path))


# imports -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """One name that a module takes from another module of the house."""

    path: Path
    line: int
    module: str
    name: str


_CIMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+cimport\s+(.*)|cimport\s+([\w.]+).*)$")


def imports(path: Path) -> list[Import]:
    """What a `.py` or `.pxd` imports or cimports from memtwin, wherever in the file."""
    found = []
    if path.suffix == ".pxd":
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = _CIMPORT.match(line)
            if match:
                module = match.group(1) or match.group(3)
                found.append(Import(path, number, module, match.group(2) or ""))
    else:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Import):
                found += [Import(path, node.lineno, alias.name, "") for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                module = node.module or ""
                for alias in node.names:
                    inner = f"{module}.{alias.name}"
                    whole = inner if _is_module(inner) else module
                    found.append(Import(path, node.lineno, whole, alias.name))
    return [one for one in found if one.module.split(".")[0] == "memtwin"]


def _is_module(dotted: str) -> bool:
    if not dotted.startswith("memtwin."):
        return False
    base = PACKAGE_DIR.joinpath(*dotted.split(".")[1:])
    return base.with_suffix(".py").exists() or base.is_dir()


# compiled rooms ------------------------------------------------------------------------------


@dataclass
class Declared:
    """What one side, `.py` or `.pxd`, says of a class (or of the module, under the name "")."""

    bases: list[str] = field(default_factory=list)
    fields: dict[str, int] = field(default_factory=dict)  # name -> line
    types: dict[str, str] = field(default_factory=dict)  # of a header's fields: name -> C type
    functions: dict[str, tuple[str, ...]] = field(default_factory=dict)  # name -> kind, guard, args


_HEADER_CLASS = re.compile(r"^cdef (?:public )?class (\w+)(?:\((\w+)\))?:")
_HEADER_FUNCTION = re.compile(
    r"^(\s*)(cdef|cpdef) (?:inline )?(?:[^()=]*?[\s*])?(\w+)\((.*)\)(.*)$"
)
_HEADER_FIELD = re.compile(r"^(\s*)cdef (?:public |readonly )?(.+)$")


def _header_lines(path: Path) -> Iterator[tuple[int, str]]:
    # a declaration may span lines inside its parentheses
    held, start = "", 0
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.split("#")[0].rstrip()
        if not held:
            start = number
        held = f"{held} {line.strip()}" if held else line
        if held.count("(") <= held.count(")"):
            if held.strip():
                yield start, held
            held = ""


def _guard(tail: str) -> str:
    tail = tail.strip().rstrip(":").strip()
    return {"": "plain", "except? -1": "plain"}.get(tail, tail)  # Cython's default is except? -1


def declared_in_header(path: Path) -> dict[str, Declared]:
    """What a `.pxd` declares: class name (or "" for the module) -> Declared."""
    found = {"": Declared()}
    current = ""
    for number, line in _header_lines(path):
        opened = _HEADER_CLASS.match(line)
        if opened:
            current = opened.group(1)
            found[current] = Declared([opened.group(2)] if opened.group(2) else [])
            continue
        function = _HEADER_FUNCTION.match(line)
        if function:
            owner = found[current if function.group(1) else ""]
            names = [
                re.split(r"[\s*\]]", argument.split("=")[0].strip())[-1]
                for argument in function.group(4).split(",")
                if argument.strip()
            ]
            kind = function.group(2)
            owner.functions[function.group(3)] = (kind, _guard(function.group(5)), *names)
            continue
        plain = _HEADER_FIELD.match(line)
        if plain and not plain.group(2).startswith(("enum", "struct", "extern")):
            owner = found[current if plain.group(1) else ""]
            first, *others = plain.group(2).split(",")
            own = re.split(r"[\s*\]]", first.strip())[-1]
            for name in (own, *map(str.strip, others)):
                owner.fields[name] = number
                owner.types[name] = first.strip().removesuffix(own).strip()
    return found


def _decorators(node: ast.ClassDef | ast.FunctionDef) -> dict[str, ast.expr]:
    found = {}
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(called, ast.Attribute) and ast.unparse(called.value) == "cython":
            found[called.attr] = decorator
    return found


def _function_of(node: ast.FunctionDef) -> tuple[str, ...] | None:
    marks = _decorators(node)
    kind = "cdef" if "cfunc" in marks else "cpdef" if "ccall" in marks else ""
    if not kind:
        return None
    guard = "plain"
    if "exceptval" in marks:
        call = marks["exceptval"]
        assert isinstance(call, ast.Call)
        unchecked = any(key.arg == "check" for key in call.keywords)  # check=False, the only use
        value = ast.unparse(call.args[0]) if call.args else ""
        guard = "noexcept" if not value else _guard(f"except{'' if unchecked else '?'} {value}")
    return (kind, guard, *(argument.arg for argument in node.args.args))


def _fields_of(node: ast.ClassDef) -> dict[str, int]:
    found: dict[str, int] = {}
    for inner in ast.walk(node):
        targets: list[ast.expr] = []
        if isinstance(inner, ast.Assign):
            targets = inner.targets
        elif isinstance(inner, (ast.AugAssign, ast.AnnAssign)):
            targets = [inner.target]
        for target in targets:
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            for part in parts:
                if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "self":
                    found.setdefault(part.attr, part.lineno)
    return found


def declared_in_source(path: Path) -> dict[str, Declared]:
    """What a compiled `.py` says: class name (or "" for the module) -> Declared."""
    found = {"": Declared()}
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef):
            function = _function_of(node)
            if function:
                found[""].functions[node.name] = function
        elif isinstance(node, ast.ClassDef) and "cclass" in _decorators(node):
            one = found[node.name] = Declared([ast.unparse(base) for base in node.bases])
            one.fields = _fields_of(node)
            for inner in node.body:
                function = _function_of(inner) if isinstance(inner, ast.FunctionDef) else None
                if function and isinstance(inner, ast.FunctionDef):
                    one.functions[inner.name] = function
    return found
