"""Owns how a command declares its words: options and arguments in the annotations of a function.

Imports nothing that takes long to load: a view asked for in plain words needs no more than this.
Knows nothing of what words mean, nor of the library that checks them in doubt (cli/typer_way).

A parameter is declared by what `Annotated` says of it. One that is annotated with a NamedTuple of
such fields takes the words of all of them: a group, declared once for many commands.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, get_args, get_origin

KINDS = (bool, str, int, float, Path)


class Option(NamedTuple):
    """A word that begins with a dash. `names`: none for that of the parameter, --no- for flags."""

    names: tuple[str, ...] = ()
    help: str = ""
    metavar: str | None = None
    show_default: bool = True
    is_count: bool = False  # how often it stands, as -XX


class Argument(NamedTuple):
    """A word by its place."""

    help: str = ""
    metavar: str | None = None


class Rest(enum.Enum):
    """Words that are not checked, as a list."""

    AFTER_DASHES = "after --"
    UNKNOWN = "those that no declaration knows"


class Required(enum.Enum):
    """Stands where a parameter has no default."""

    HERE = "required"


Command = Annotated[list[str], Rest.AFTER_DASHES]
Unknown = Annotated[list[str], Rest.UNKNOWN]


class Word(NamedTuple):
    """One declared parameter. `group`: the parameter that it is a field of, "" for none."""

    name: str
    kind: Any  # one of KINDS; of a list, that of its items
    is_list: bool
    is_optional: bool
    declared: Option | Argument | Rest
    default: Any
    group: str = ""


def option(
    *names: str,
    help: str = "",  # noqa: A002 (what every such library calls it)
    metavar: str | None = None,
    show_default: bool = True,
    count: bool = False,
) -> Option:
    """The declaration of an option, as `Annotated[bool, option("-w", "--wide", help="...")]`."""
    return Option(names, help, metavar, show_default, count)


def argument(*, help: str = "", metavar: str | None = None) -> Argument:  # noqa: A002
    """The declaration of an argument."""
    return Argument(help, metavar)


def words_of(command: Callable[..., Any]) -> list[Word]:
    """What `command` declares, in its order, groups opened.

    >>> def view(wide: Annotated[bool, option("-w")] = False) -> None: ...
    >>> [(one.name, one.kind, one.default) for one in words_of(view)]
    [('wide', <class 'bool'>, False)]
    """
    found: list[Word] = []
    for name, (annotation, default) in parameters_of(command).items():
        fields = getattr(annotation, "_fields", None)
        if fields is None:
            found.append(_word(name, annotation, default, ""))
            continue
        for field in fields:
            inner = evaluated(annotation.__annotations__[field], annotation)
            given = annotation._field_defaults.get(field, Required.HERE)
            found.append(_word(field, inner, given, name))
    return found


def parameters_of(command: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """name -> annotation and default of each parameter; Required.HERE for none."""
    code = command.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    defaults = command.__defaults__ or ()
    positional = names[code.co_argcount - len(defaults) : code.co_argcount]
    values = {**dict(zip(positional, defaults, strict=True)), **(command.__kwdefaults__ or {})}
    return {
        name: (
            evaluated(command.__annotations__[name], command),
            values.get(name, Required.HERE),
        )
        for name in names
    }


def evaluated(annotation: Any, owner: Any) -> Any:
    """What an annotation of `owner` (a function, a class) says: it may stand as a text."""
    if hasattr(annotation, "__forward_arg__"):  # what a NamedTuple makes of a text
        annotation = annotation.__forward_arg__
    if not isinstance(annotation, str):
        return annotation
    names = getattr(owner, "__globals__", None)
    if names is None:
        import sys

        names = vars(sys.modules[owner.__module__])
    return eval(annotation, names)


def _word(name: str, annotation: Any, default: Any, group: str) -> Word:
    if get_origin(annotation) is not Annotated:
        raise AssertionError(f"declared.words_of: {name} is annotated with no declaration")
    kind, declared = get_args(annotation)[:2]
    is_optional = isinstance(kind, UnionType)
    if is_optional:
        (kind,) = (one for one in get_args(kind) if one is not type(None))
    is_list = get_origin(kind) is list
    if is_list:
        (kind,) = get_args(kind)
    if kind not in KINDS:
        raise AssertionError(f"declared.words_of: {name} is of {kind}, allowed is one of {KINDS}")
    return Word(name, kind, is_list, is_optional, declared, default, group)
