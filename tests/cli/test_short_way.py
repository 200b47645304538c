"""The short way from words to a command gives what typer gives, or leaves the words to typer."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from memtwin.cli.commands import COMMANDS, GROUPS, function_of
from memtwin.cli.declared import Option, Required, Rest, argument, option, words_of
from memtwin.cli.short_way import bound
from memtwin.cli.typer_way import CommandLineFault, for_typer

FUNCTIONS = {
    **{name: function_of(module, name) for name, module in COMMANDS.items()},
    **{
        f"{name} {word}": function_of(module, word)
        for name, group in GROUPS.items()
        for word, module in group.commands.items()
    },
    "oom": function_of("oom_words", "oom"),
}
VALUES = ["5", "0.5", "name", "12", "/proc", "1e3", "-3", "", "procps-3", "a b", "007", "5.", "²"]


class Spy:
    """Declares what a command does, and keeps what it is called with."""

    def __init__(self, command: Callable[..., Any]) -> None:
        self.command = command
        self.given: dict[str, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.command, name)

    def __call__(self, **given: Any) -> None:
        self.given = given


def typers_way(command: Callable[..., Any], words: list[str]) -> dict[str, Any] | None:
    """The arguments that typer would call `command` with; None where it refuses the words."""
    spy = Spy(command)
    spy.__name__, spy.__doc__ = "view", ""  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(for_typer(spy))
    try:
        app(args=words, standalone_mode=False, prog_name="x", obj=[])
    except CommandLineFault:
        return None
    return spy.given


def lines_for(command: Callable[..., Any], seed: int) -> list[list[str]]:
    """Seeded command lines out of the names that `command` declares, right and wrong ones."""
    rng = random.Random(seed)
    names = ["--help", "-q", "--no-such"]
    for one in words_of(command):
        declared = one.declared.names if isinstance(one.declared, Option) else ()
        names += declared or [f"--{one.name.replace('_', '-')}"]
    lines: list[list[str]] = [[], *([name] for name in names[3:])]
    for _ in range(12):
        line: list[str] = []
        for _ in range(rng.randrange(5)):
            name = rng.choice(names[3:] if names[3:] and rng.random() < 0.9 else names)
            form = rng.randrange(4)
            value = rng.choice(VALUES)
            line += [[name], [name, value], [f"{name}={value}"], [value]][form]
            if form == 0 and not name.startswith("--") and rng.random() < 0.5:
                line[-1] += rng.choice(VALUES)
        lines.append(line)
    return lines


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_command_is_given_the_same_by_both_ways(name: str) -> None:
    command = FUNCTIONS[name]
    short = 0
    for line in lines_for(command, seed=len(name)):
        given = bound(command, line)
        if given is not None:
            short += 1
            assert given == typers_way(command, line), line
    needed = [one for one in words_of(command) if one.default is Required.HERE]
    assert short or any(not isinstance(one.declared, Rest) for one in needed)


def test_plain_words_of_every_kind_take_the_short_way() -> None:
    def view(
        pid: Annotated[int, argument()],
        wide: Annotated[bool, option("-w", "--wide")] = False,
        human: Annotated[bool, option("-h")] = False,
        every: Annotated[float | None, option("-s", "--seconds")] = None,
        keys: Annotated[list[str] | None, option("--key", "-k")] = None,
        root: Annotated[Path, option("--root")] = Path("/"),
    ) -> None: ...

    for line in (
        ["7"],
        ["-wh", "7", "-s", "2"],
        ["-whs2.5", "7"],
        ["--seconds=3", "-ka", "--key", "b", "7", "--root", "/x"],
    ):
        given = bound(view, line)
        assert given is not None
        assert given == typers_way(view, line)
    for line in (
        [],
        ["x"],
        ["7", "8"],
        ["7", "-z"],
        ["7", "--wide=1"],
        ["7", "--help"],
        ["7", "-s"],
    ):
        assert bound(view, line) is None, line
