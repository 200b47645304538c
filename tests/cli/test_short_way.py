"""The short way from words to a command gives what typer gives, or leaves the words to typer."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from memtwin.cli import main
from memtwin.cli.short_way import bound

COMMANDS = {
    str(main._name_of(one)): one.callback
    for one in main.app.registered_commands
    if one.callback is not None
}
VALUES = ["5", "0.5", "name", "12", "/proc", "1e3", "-3", "", "procps-3", "a b", "007", "5.", "²"]


def typers_way(command: Callable[..., Any], words: list[str]) -> dict[str, Any] | None:
    """The arguments that typer would call `command` with; None where it refuses the words."""
    seen: list[dict[str, Any]] = []

    def spy(**given: Any) -> None:
        seen.append(given)

    signature = inspect.signature(command, eval_str=True)
    spy.__signature__ = signature  # type: ignore[attr-defined]
    spy.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(spy)
    try:
        app(args=words, standalone_mode=False, prog_name="x", obj=[])
    except main.CommandLineFault:
        return None
    return seen[0] if seen else None


def lines_for(command: Callable[..., Any], seed: int) -> list[list[str]]:
    """Seeded command lines out of the names that `command` declares, right and wrong ones."""
    rng = random.Random(seed)
    names = ["--help", "-q", "--no-such"]
    for name, one in inspect.signature(command, eval_str=True).parameters.items():
        info = getattr(one.annotation, "__metadata__", (None,))[0]
        names += [info.default] if isinstance(getattr(info, "default", None), str) else []
        names += getattr(info, "param_decls", None) or [f"--{name.replace('_', '-')}"]
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


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_given_the_same_by_both_ways(name: str) -> None:
    command = COMMANDS[name]
    short = 0
    for line in lines_for(command, seed=len(name)):
        given = bound(command, line)
        if given is not None:
            short += 1
            assert given == typers_way(command, line), line
    needed = [
        one for one in inspect.signature(command).parameters.values() if one.default is one.empty
    ]
    assert short or needed


def test_plain_words_of_every_kind_take_the_short_way() -> None:
    def view(
        pid: Annotated[int, typer.Argument()],
        wide: Annotated[bool, typer.Option("-w", "--wide")] = False,
        human: Annotated[bool, typer.Option("-h")] = False,
        every: Annotated[float | None, typer.Option("-s", "--seconds")] = None,
        keys: Annotated[list[str] | None, typer.Option("--key", "-k")] = None,
        root: Annotated[Path, typer.Option("--root")] = Path("/"),
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
