"""Owns the short way from a plain command line to its command.

Imports typer's declarations alone. typer checks values with a library that takes longer to load
than most views take to run; so words that need no such help (flags, names, whole numbers, paths)
are bound here. Whatever is not plainly right (help, a mistake, a rarer kind of option) takes
typer's way, which has the last word: a test holds both to the same answers.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from typer.models import ArgumentInfo, OptionInfo

_WHOLE = re.compile(r"\d{1,18}")
_NUMBER = re.compile(r"\d{1,18}(\.\d{1,18})?")
# of a declaration, what this way knows; any other that is set takes the long way
_KNOWN = frozenset({"default", "param_decls", "help", "metavar", "show_default", "hidden"})
_UNSET = (vars(ArgumentInfo()), vars(OptionInfo()))


class NotPlain(Exception):
    """These words take typer's way."""


class Word(NamedTuple):
    """One parameter of a command. `off`: the names that say no to a flag."""

    name: str
    kind: type
    is_list: bool
    is_argument: bool
    on: tuple[str, ...]
    off: tuple[str, ...]


def bound(command: Callable[..., Any], words: list[str]) -> dict[str, Any] | None:
    """The arguments that `words` give `command`; None when they take typer's way.

    >>> from typing import Annotated
    >>> def view(wide: Annotated[bool, OptionInfo(param_decls=("-w",))] = False) -> None: ...
    >>> bound(view, ["-w"]), bound(view, ["--help"])
    ({'wide': True}, None)
    """
    try:
        declared = inspect.signature(command, eval_str=True).parameters
        known = [_word(name, one) for name, one in declared.items()]
        given = _given(known, words)
        for name, one in declared.items():
            if name not in given and one.default is inspect.Parameter.empty:
                raise NotPlain
    except NotPlain:
        return None
    return {**{name: one.default for name, one in declared.items()}, **given}


def _word(name: str, parameter: inspect.Parameter) -> Word:
    annotation = parameter.annotation
    if get_origin(annotation) is not Annotated:
        raise NotPlain
    kind, info = get_args(annotation)[:2]
    if not isinstance(info, OptionInfo | ArgumentInfo):
        raise NotPlain
    unset = _UNSET[isinstance(info, OptionInfo)]
    if any(value != unset[key] for key, value in vars(info).items() if key not in _KNOWN):
        raise NotPlain
    if isinstance(kind, UnionType):
        inside = [one for one in get_args(kind) if one is not type(None)]
        if len(inside) != 1:
            raise NotPlain
        kind = inside[0]
    is_list = get_origin(kind) is list
    if is_list:
        (kind,) = get_args(kind)
    if kind not in (bool, str, int, float, Path):
        raise NotPlain
    # inside Annotated, the first name that is declared stands where the default would
    first = (info.default,) if isinstance(info.default, str) else ()
    on, off = _names(name, kind, (*first, *(info.param_decls or ())))
    return Word(name, kind, is_list, isinstance(info, ArgumentInfo), on, off)


def _names(name: str, kind: type, declared: tuple[str, ...]) -> tuple[Any, Any]:
    plain = name.replace("_", "-")
    if not declared:
        return (f"--{plain}",), (f"--no-{plain}",) if kind is bool else ()
    if any("/" in one or not one.startswith("-") for one in declared):
        raise NotPlain
    return declared, ()


def _given(known: list[Word], words: list[str]) -> dict[str, Any]:
    options = {name: one for one in known if not one.is_argument for name in (*one.on, *one.off)}
    places = [one for one in known if one.is_argument]
    found: dict[str, Any] = {}
    todo = list(reversed(words))
    while todo:
        word = todo.pop()
        if not word.startswith("-") or word == "-":
            _put(found, _next_place(places, found), word)
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            _take(found, _option(options, name), name, value if equals else None, todo)
        else:
            _cluster(found, options, word, todo)
    return found


def _cluster(found: dict[str, Any], options: dict[str, Word], word: str, todo: list[str]) -> None:
    """Short names in one word: -bt, -s5."""
    rest = word[1:]
    while rest:
        name, rest = f"-{rest[0]}", rest[1:]
        option = _option(options, name)
        if option.kind is bool:
            _take(found, option, name, None, todo)
        else:
            _take(found, option, name, rest or None, todo)
            return


def _option(options: dict[str, Word], name: str) -> Word:
    if name not in options:
        raise NotPlain
    return options[name]


def _next_place(places: list[Word], found: dict[str, Any]) -> Word:
    for place in places:
        if place.name not in found or place.is_list:
            return place
    raise NotPlain


def _take(
    found: dict[str, Any], option: Word, name: str, value: str | None, todo: list[str]
) -> None:
    if option.kind is bool:
        if value is not None:
            raise NotPlain
        found[option.name] = name in option.on
        return
    if value is None:
        if not todo or todo[-1].startswith("-"):
            raise NotPlain
        value = todo.pop()
    _put(found, option, value)


def _put(found: dict[str, Any], place: Word, text: str) -> None:
    value: Any = text
    if place.kind is int:
        if not _WHOLE.fullmatch(text):
            raise NotPlain
        value = int(text)
    elif place.kind is float:
        if not _NUMBER.fullmatch(text):
            raise NotPlain
        value = float(text)
    elif place.kind is Path:
        value = Path(text)
    elif place.kind is bool:
        raise NotPlain
    if place.is_list:
        found.setdefault(place.name, []).append(value)
    else:
        found[place.name] = value
