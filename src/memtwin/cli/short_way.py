"""Owns the short way from a plain command line to its command.

Imports cli/declared alone. The library that typer_way leaves words to takes longer to load than
most views take to run; so words that need no such help (flags, names, whole numbers, paths) are
bound here. Whatever is not plainly right (help, a mistake, a rarer kind of option) takes typer's
way, which has the last word: a test holds both to the same answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from memtwin.cli.declared import (
    Argument,
    Option,
    Required,
    Rest,
    Word,
    evaluated,
    words_of,
)

_MOST_DIGITS = 18


class NotPlain(Exception):
    """These words take typer's way."""


def bound(
    command: Callable[..., Any], words: Sequence[str], after_dashes: Sequence[str] = ()
) -> dict[str, Any] | None:
    """The arguments that `words` give `command`; None when they take typer's way.

    >>> from typing import Annotated
    >>> def view(wide: Annotated[bool, Option(("-w",))] = False) -> None: ...
    >>> bound(view, ["-w"]), bound(view, ["--help"])
    ({'wide': True}, None)
    """
    known = words_of(command)
    try:
        given = _given(known, words)
    except NotPlain:
        return None
    for word in known:
        if isinstance(word.declared, Rest):
            given[word.name] = list(after_dashes) if word.declared is Rest.AFTER_DASHES else []
        elif word.name not in given:
            if word.default is Required.HERE:
                return None
            given[word.name] = word.default
    return assembled(command, known, given)


def assembled(
    command: Callable[..., Any], known: Sequence[Word], given: dict[str, Any]
) -> dict[str, Any]:
    """`given` by name of word as `command` takes it: the fields of a group in one value."""
    groups: dict[str, dict[str, Any]] = {}
    found: dict[str, Any] = {}
    for word in known:
        if word.group:
            groups.setdefault(word.group, {})[word.name] = given[word.name]
        else:
            found[word.name] = given[word.name]
    for name, fields in groups.items():
        found[name] = evaluated(command.__annotations__[name], command)(**fields)
    return found


def _given(known: list[Word], words: Sequence[str]) -> dict[str, Any]:
    options: dict[str, tuple[Word, bool]] = {}  # name -> the word, and what it says of a flag
    for one in known:
        if isinstance(one.declared, Option):
            on, off = _names(one, one.declared)
            options.update(dict.fromkeys(on, (one, True)))
            options.update(dict.fromkeys(off, (one, False)))
    places = [one for one in known if isinstance(one.declared, Argument)]
    found: dict[str, Any] = {}
    todo = list(reversed(words))
    while todo:
        word = todo.pop()
        if not word.startswith("-") or word == "-":
            _put(found, _next_place(places, found), word)
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            _take(found, _option(options, name), value if equals else None, todo)
        else:
            _cluster(found, options, word, todo)
    return found


def _names(word: Word, declared: Option) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if declared.names:
        return declared.names, ()
    plain = word.name.replace("_", "-")
    return (f"--{plain}",), (f"--no-{plain}",) if word.kind is bool else ()


def _cluster(
    found: dict[str, Any], options: dict[str, tuple[Word, bool]], word: str, todo: list[str]
) -> None:
    """Short names in one word: -bt, -s5."""
    rest = word[1:]
    while rest:
        name, rest = f"-{rest[0]}", rest[1:]
        option = _option(options, name)
        if option[0].kind is bool:
            _take(found, option, None, todo)
        else:
            _take(found, option, rest or None, todo)
            return


def _option(options: dict[str, tuple[Word, bool]], name: str) -> tuple[Word, bool]:
    if name not in options:
        raise NotPlain
    return options[name]


def _next_place(places: list[Word], found: dict[str, Any]) -> Word:
    for place in places:
        if place.name not in found or place.is_list:
            return place
    raise NotPlain


def _take(
    found: dict[str, Any], option: tuple[Word, bool], value: str | None, todo: list[str]
) -> None:
    word, says = option
    if word.kind is bool:
        if value is not None:
            raise NotPlain
        found[word.name] = says
        return
    if isinstance(word.declared, Option) and word.declared.is_count:
        raise NotPlain
    if value is None:
        if not todo or todo[-1].startswith("-"):
            raise NotPlain
        value = todo.pop()
    _put(found, word, value)


def _put(found: dict[str, Any], place: Word, text: str) -> None:
    value: Any = text
    if place.kind is int:
        value = int(_digits(text))
    elif place.kind is float:
        whole, point, part = text.partition(".")
        value = float(f"{_digits(whole)}.{_digits(part)}" if point else _digits(whole))
    elif place.kind is Path:
        value = Path(text)
    elif place.kind is bool:
        raise NotPlain
    if place.is_list:
        found.setdefault(place.name, []).append(value)
    else:
        found[place.name] = value


def _digits(text: str) -> str:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise NotPlain
    return text
