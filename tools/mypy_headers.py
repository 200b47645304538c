"""Tells mypy the fields that a compiled class declares in its `.pxd`.

Imports house. A class that fills its columns from a table (`setattr` by name) assigns nothing that
mypy could see, but its header names and types every field. A field assigned in the `.py` keeps the
type it has there, which says more (`list[VMA]`, not `list`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from mypy.plugin import ClassDefContext, Plugin
from mypy.plugins.common import add_attribute_to_class
from mypy.types import AnyType, Type, TypeOfAny

sys.path.insert(0, str(Path(__file__).parent))
import house

FLOATS = ("double", "float")
BUILTINS = {"list": "builtins.list", "dict": "builtins.dict", "str": "builtins.str"}


def _type_of(written: str, context: ClassDefContext) -> Type:
    """The Python type of a header's C type; Any for what is no number, view or container."""
    api = context.api
    kind = written.replace("const ", "").strip()
    element = "builtins.float" if kind.split("[")[0].strip() in FLOATS else "builtins.int"
    anything = AnyType(TypeOfAny.explicit)
    if "[" in kind:
        return api.named_type("builtins.memoryview", [api.named_type(element)])
    if kind == "list":
        return api.named_type("builtins.list", [anything])
    if kind == "dict":
        return api.named_type("builtins.dict", [anything, anything])
    if kind in BUILTINS:
        return api.named_type(BUILTINS[kind])
    if kind[:1].isupper() or kind == "object":
        return anything
    return api.named_type(element)


def _add_fields(context: ClassDefContext) -> bool:
    info = context.cls.info
    header = house.PACKAGE_DIR.parent.joinpath(*info.module_name.split(".")).with_suffix(".pxd")
    if not header.exists():
        return True
    declared = house.declared_in_header(header).get(info.name)
    for name, written in (declared.types if declared else {}).items():
        if name not in info.names:
            add_attribute_to_class(context.api, context.cls, name, _type_of(written, context))
    return True


class HeaderPlugin(Plugin):
    """Hooks every class decorated with cython.cclass."""

    def get_class_decorator_hook_2(self, fullname: str) -> Callable[[ClassDefContext], bool] | None:
        """The hook that adds the header's fields, for cython.cclass."""
        return _add_fields if fullname == "cython.cclass" else None


def plugin(version: str) -> type[Plugin]:
    """What mypy asks of a plugin."""
    return HeaderPlugin
