"""Owns the long way from words to a command: help, mistakes, and whatever is not plain.

Imports typer, cli/commands and cli/declared. Makes typer's declarations of ours; knows nothing of
what a command does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from memtwin import __version__
from memtwin.cli.commands import COMMANDS, GROUPS, Group, function_of
from memtwin.cli.declared import Option, Required, Rest, Word, words_of
from memtwin.cli.short_way import assembled
from memtwin.errors import UserError

# the ancestor of every mistake that typer finds in a command line
CommandLineFault = cast("type[Exception]", typer.BadParameter.__mro__[2])


def run(own: list[str], command: list[str]) -> object:
    """What the command that `own` names returns. Raises UserError for a mistake in the words."""
    try:
        return app_for(own)(args=own, obj=command, standalone_mode=False, prog_name="memtwin")
    except CommandLineFault as fault:
        raise UserError(str(getattr(fault, "format_message", fault.__str__)())) from None
    except typer.Abort:
        raise KeyboardInterrupt from None


def app_for(own: list[str]) -> typer.Typer:
    """The program, with the commands that `own` may mean: typer builds all that it is told of."""
    app = typer.Typer(
        name="memtwin",
        help="A digital twin of Linux memory management: what would this program suffer with less"
        " memory?",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback(invoke_without_command=True)(top)
    if own and own[0] in COMMANDS:
        _declare(app, {own[0]: COMMANDS[own[0]]})
        return app
    _declare(app, COMMANDS)
    for name, group in GROUPS.items():
        app.add_typer(_app_of(group, name), name=name)
    return app


def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """What would this program suffer with less memory?"""
    if version:
        print(f"memtwin {__version__}")
        raise typer.Exit


def _declare(app: typer.Typer, commands: dict[str, str]) -> None:
    for name, module in commands.items():
        function = function_of(module, name)
        settings = None
        if any(one.declared is Rest.UNKNOWN for one in words_of(function)):
            settings = {"ignore_unknown_options": True, "allow_extra_args": True}
        app.command(name, context_settings=settings)(for_typer(function))


def _app_of(group: Group, name: str) -> typer.Typer:
    class NumberFirst(TyperGroup):
        """A number where a command is expected asks for the command `of_number`."""

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            """As any group does, with the left-out word put in."""
            if group.of_number and args and args[0].isdigit():
                args = [group.of_number, *args]
            return super().parse_args(ctx, args)

    app = typer.Typer(
        cls=NumberFirst,
        help=group.help,
        invoke_without_command=bool(group.alone),
        no_args_is_help=group.shows_help_alone,
    )
    if group.alone:
        alone = function_of(group.alone, name)
        app.callback()(for_typer(alone, is_alone=True))
    _declare(app, group.commands)
    return app


def for_typer(command: Callable[..., Any], *, is_alone: bool = False) -> Callable[..., Any]:
    """`command` as typer takes it: its words one by one, in typer's declarations.

    `is_alone`: it runs only where no further command is named.
    """
    known = words_of(command)

    def called(context: typer.Context, **given: Any) -> Any:
        if is_alone and context.invoked_subcommand is not None:
            return None
        rest = {Rest.AFTER_DASHES: context.obj, Rest.UNKNOWN: context.args}
        given |= {one.name: rest[one.declared] for one in known if isinstance(one.declared, Rest)}
        return command(**assembled(command, known, given))

    declared = {one.name: _typers(one) for one in known if not isinstance(one.declared, Rest)}
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("context", keyword, annotation=typer.Context),
        *(
            inspect.Parameter(
                one.name, keyword, default=_default(one), annotation=declared[one.name]
            )
            for one in known
            if one.name in declared
        ),
    ]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {"context": typer.Context, **declared}
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    return called


def _default(word: Word) -> Any:
    return inspect.Parameter.empty if word.default is Required.HERE else word.default


def _typers(word: Word) -> Any:
    """The annotation that declares `word` to typer."""
    kind = list[word.kind] if word.is_list else word.kind  # type: ignore[name-defined]
    if word.is_optional:
        kind = kind | None
    one: Any = word.declared
    if isinstance(one, Option):
        said = typer.Option(
            *one.names,
            help=one.help,
            metavar=one.metavar,
            show_default=one.show_default,
            count=one.is_count,
        )
    else:
        said = typer.Argument(help=one.help, metavar=one.metavar)
    return Annotated[kind, said]
