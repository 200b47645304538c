"""Owns the command `memtwin`: its words, and how every mistake ends as one line.

Imports errors and typer; the rest of the house only inside commands, so that `--help` costs
nothing. Does no arithmetic. Exit status: 2 for a user's mistake, 130 after Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn, cast

import typer

from memtwin import __version__
from memtwin.cli import (
    free_words,
    heap_words,
    leak_words,
    mount_words,
    oom_words,
    process_words,
    system_words,
    watch_words,
)
from memtwin.cli.short_way import bound
from memtwin.errors import UserError
from memtwin.extensions import StaleExtension

CTRL_C_STATUS = 130
TAKE_A_COMMAND = ("record", "size", "watch", "inside", "delays", "heap", "leak")
DEFAULT_MACHINE = "laptop-8g"

# the ancestor of every mistake that typer finds in a command line
CommandLineFault = cast("type[Exception]", typer.BadParameter.__mro__[2])

app = typer.Typer(
    name="memtwin",
    help="A digital twin of Linux memory management: what would this program suffer with less"
    " memory?",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
trace_app = typer.Typer(help="Look into a trace: info or head.")
app.add_typer(trace_app, name="trace")

TraceFile = Annotated[Path, typer.Argument(metavar="TRACE", help="A recording.")]
Machine = Annotated[
    str | None,
    typer.Option(help="A shipped machine (see `memtwin machines`), a TOML file, or host."),
]
Swap = Annotated[str | None, typer.Option(help="disk:SIZE, zram:SIZE or none.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change the machine, as vm.swappiness=10."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON: integer bytes, versioned.")]
Html = Annotated[Path | None, typer.Option(help="Write a page for the browser to this file.")]


@app.callback(invoke_without_command=True)
def top(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """What would this program suffer with less memory?"""
    if version:
        print(f"memtwin {__version__}")
        raise typer.Exit


@app.command()
def record(
    context: typer.Context,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="F", help="The trace to write.")],
    method: Annotated[str, typer.Option(help="auto, qemu, lackey or life.")] = "auto",
    window: Annotated[int, typer.Option(help="One record a page and so many references.")] = 10_000,
    life: Annotated[
        bool, typer.Option("--life", help="As root: faults and calls at native speed (tracefs).")
    ] = False,
    native: Annotated[
        bool, typer.Option("--native", help="Run it once before, unrecorded, to time it.")
    ] = False,
) -> None:
    """Run a program and record its memory.

    memtwin record -o FILE -- COMMAND ARGUMENTS
    """
    from memtwin.cli import record_command
    from memtwin.record import NativeRunMode

    mode = NativeRunMode.MEASURE_FIRST if native else NativeRunMode.SKIP
    record_command.record(_command(context), out, "life" if life else method, window, mode)


@app.command()
def replay(
    trace: TraceFile,
    machine: Machine = None,
    limit: Annotated[str | None, typer.Option(help="Memory limit, as 128M.")] = None,
    swap: Swap = None,
    changes: Changes = None,
    as_json: Json = False,
    html: Html = None,
) -> None:
    """Replay a trace on a machine.

    memtwin replay TRACE --limit 128M --swap disk:1G
    """
    from memtwin.cli import replay_command

    chosen = replay_command.Choices(machine or DEFAULT_MACHINE, swap, changes or [])
    replay_command.replay(trace, chosen, limit, replay_command.Output(as_json, html))


@app.command()
def size(
    context: typer.Context,
    trace: Annotated[Path | None, typer.Argument(metavar="TRACE", help="A recording.")] = None,
    machine: Machine = None,
    limits: Annotated[str | None, typer.Option(help="Limits to try, as 32M,64M,1G.")] = None,
    points: Annotated[int, typer.Option(help="How many limits to try.")] = 12,
    slowdown: Annotated[float, typer.Option(help="Target in percent.")] = 5.0,
    swap: Swap = None,
    changes: Changes = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="As root: run the real command at each limit too.")
    ] = False,
    with_zram: Annotated[
        str | None, typer.Option(metavar="SIZE", help="With --verify: make a zram swap for it.")
    ] = None,
    runs: Annotated[int, typer.Option(help="With --verify: real runs at each limit.")] = 3,
    timeout: Annotated[float, typer.Option(help="With --verify: seconds for a run.")] = 120.0,
    random_layout: Annotated[
        bool, typer.Option("--random-layout", help="With --verify: leave ASLR on.")
    ] = False,
    stale_statistics: Annotated[
        bool,
        typer.Option("--stale-statistics", help="With --verify: do not keep memory.stat fresh."),
    ] = False,
    as_json: Json = False,
    html: Html = None,
) -> None:
    """Find how much memory a program needs.

    memtwin size TRACE, or memtwin size -- COMMAND ARGUMENTS
    """
    from memtwin.cli import replay_command, size_command

    terms = (
        size_command.VerifyTerms(with_zram, runs, timeout, random_layout, stale_statistics)
        if verify
        else None
    )
    if with_zram is not None and not verify:
        raise UserError("--with-zram: found without --verify, which it belongs to")
    size_command.size(
        trace,
        context.obj,
        replay_command.Choices(
            machine or ("host" if verify else DEFAULT_MACHINE), swap, changes or []
        ),
        size_command.Grid(limits, points, slowdown),
        terms,
        replay_command.Output(as_json, html),
    )


@app.command()
def run(
    script: Annotated[Path, typer.Argument(metavar="SCRIPT", help="A script or a CASE.json.")],
    machine: Machine = None,
    changes: Changes = None,
    out: Annotated[Path | None, typer.Option(help="Write the checkpoints to this file.")] = None,
) -> None:
    """Run a workload script or a case.

    A CASE.json of the oracle runs on the machine that it describes.
    """
    from memtwin.cli import run_command

    run_command.run(script, machine, changes or [], out)


@trace_app.command()
def info(trace: TraceFile, as_json: Json = False) -> None:
    """What is in a trace, and what is missing."""
    from memtwin.cli import record_command

    record_command.info(trace, as_json)


@trace_app.command()
def head(
    trace: TraceFile, n: Annotated[int, typer.Option("-n", help="How many events.")] = 20
) -> None:
    """The first events of a trace."""
    from memtwin.cli import record_command

    record_command.head(trace, n)


@app.command()
def capture(
    root: Annotated[Path, typer.Option(help="A captured tree with proc/ and sys/.")] = Path("/"),
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The TOML to write.")] = None,
    tree: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Save the texts that views read, here or in a .tar.zst."),
    ] = None,
    processes: Annotated[
        bool, typer.Option("--processes", help="With --tree: those of each process too.")
    ] = False,
    no_cmdline: Annotated[
        bool, typer.Option("--no-cmdline", help="With --tree: leave command lines out.")
    ] = False,
    oom_log: Annotated[
        bool, typer.Option("--oom-log", help="With --tree: the OOM reports of the kernel's log.")
    ] = False,
) -> None:
    """Describe this host as a machine, or save a tree for --root."""
    if tree is None:
        from memtwin.cli import run_command

        if processes or no_cmdline or oom_log:
            raise UserError("capture: found a word of --tree without it, which it belongs to")
        run_command.capture(root, out)
        return
    from memtwin.cli import capture_command

    if out is not None:
        raise UserError("--tree: found with --out, allowed is one of them")
    capture_command.capture(
        root, tree, processes=processes, command_lines=not no_cmdline, oom_log=oom_log
    )


@app.command()
def machines() -> None:
    """List the machines that are shipped."""
    from memtwin.cli import run_command

    run_command.machines()


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
) -> None:
    """Show it all on a small real recording."""
    from memtwin.cli.demo import demo as show_it_all

    show_it_all(out)


for words_of_its_own in (
    free_words,
    heap_words,
    leak_words,
    mount_words,
    oom_words,
    process_words,
    system_words,
    watch_words,
):
    words_of_its_own.add_to(app)


def _command(context: typer.Context) -> list[str]:
    command: list[str] = context.obj
    if not command:
        raise UserError(f"{context.info_name}: found no command, it stands after --")
    return command


def _run(own: list[str], command: list[str]) -> object:
    """What the command that `own` names returns: by the short way if they are plain words."""
    named = [one for one in app.registered_commands if own and _name_of(one) == own[0]]
    if not named or named[0].callback is None:
        return app(args=own, obj=command, standalone_mode=False, prog_name="memtwin")
    given = bound(named[0].callback, own[1:])
    if given is not None:
        return named[0].callback(**given)
    import copy

    small = copy.copy(app)  # typer builds the options of every command that it knows
    small.registered_commands, small.registered_groups = named, []
    return small(args=own, obj=command, standalone_mode=False, prog_name="memtwin")


def _name_of(command: typer.models.CommandInfo) -> str:
    if command.name is not None or command.callback is None:
        return command.name or ""
    return str(command.callback.__name__).replace("_", "-")


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """What is for memtwin, and the user's command after the first "--"."""
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # unwinds, so that everything started is ended and removed


def main() -> None:
    """Entry point: run, and turn every mistake into one line on stderr."""
    sys.exit(outcome(sys.argv[1:]))


def outcome(words: list[str]) -> int:
    """The exit status of `memtwin WORDS`."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _leave)
    own, command = _split(words or ["--help"])
    try:
        if command and own[:1] not in [[word] for word in TAKE_A_COMMAND]:
            takers = ", ".join(TAKE_A_COMMAND)
            raise UserError(f"found a command after --, which only {takers} take")
        status = _run(own, command)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except UserError as fault:
        return _fail(str(fault), fault.exit_status)
    except StaleExtension as fault:  # a source was edited and not built again
        return _fail(str(fault), 2)
    except CommandLineFault as fault:
        return _fail(str(getattr(fault, "format_message", fault.__str__)()), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", CTRL_C_STATUS)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as fault:
        if fault.filename is None and fault.errno is None:
            raise
        where = f"{fault.filename}: " if fault.filename is not None else ""
        return _fail(f"{where}{fault.strerror}", 2)


def _fail(message: str, status: int) -> int:
    print(f"memtwin: {' '.join(message.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
