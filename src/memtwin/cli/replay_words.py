"""Owns the words around a recording and a machine: record, trace, replay, size, run, capture ...

Imports errors and cli/declared; the rest of the house only inside commands, so that `--help` costs
nothing. Does no arithmetic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from memtwin.cli.declared import Command, argument, option
from memtwin.errors import UserError

DEFAULT_MACHINE = "laptop-8g"

TraceFile = Annotated[Path, argument(metavar="TRACE", help="A recording.")]
Machine = Annotated[
    str | None,
    option(help="A shipped machine (see `memtwin machines`), a TOML file, or host."),
]
Swap = Annotated[str | None, option(help="disk:SIZE, zram:SIZE or none.")]
Changes = Annotated[
    list[str] | None,
    option("--set", metavar="KEY=VALUE", help="Change the machine, as vm.swappiness=10."),
]
Json = Annotated[bool, option("--json", help="Print JSON: integer bytes, versioned.")]
Html = Annotated[Path | None, option(help="Write a page for the browser to this file.")]


def record(
    command: Command,
    out: Annotated[Path, option("-o", "--out", metavar="F", help="The trace to write.")],
    method: Annotated[str, option(help="auto, qemu, lackey or life.")] = "auto",
    window: Annotated[int, option(help="One record a page and so many references.")] = 10_000,
    life: Annotated[
        bool, option("--life", help="As root: faults and calls at native speed (tracefs).")
    ] = False,
    native: Annotated[
        bool, option("--native", help="Run it once before, unrecorded, to time it.")
    ] = False,
) -> None:
    """Run a program and record its memory.

    memtwin record -o FILE -- COMMAND ARGUMENTS
    """
    from memtwin.cli import record_command
    from memtwin.record import NativeRunMode

    if not command:
        raise UserError("record: found no command, it stands after --")
    mode = NativeRunMode.MEASURE_FIRST if native else NativeRunMode.SKIP
    record_command.record(command, out, "life" if life else method, window, mode)


def replay(
    trace: TraceFile,
    machine: Machine = None,
    limit: Annotated[str | None, option(help="Memory limit, as 128M.")] = None,
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


def size(
    command: Command,
    trace: Annotated[Path | None, argument(metavar="TRACE", help="A recording.")] = None,
    machine: Machine = None,
    limits: Annotated[str | None, option(help="Limits to try, as 32M,64M,1G.")] = None,
    points: Annotated[int, option(help="How many limits to try.")] = 12,
    slowdown: Annotated[float, option(help="Target in percent.")] = 5.0,
    swap: Swap = None,
    changes: Changes = None,
    verify: Annotated[
        bool, option("--verify", help="As root: run the real command at each limit too.")
    ] = False,
    with_zram: Annotated[
        str | None, option(metavar="SIZE", help="With --verify: make a zram swap for it.")
    ] = None,
    runs: Annotated[int, option(help="With --verify: real runs at each limit.")] = 3,
    timeout: Annotated[float, option(help="With --verify: seconds for a run.")] = 120.0,
    random_layout: Annotated[
        bool, option("--random-layout", help="With --verify: leave ASLR on.")
    ] = False,
    stale_statistics: Annotated[
        bool,
        option("--stale-statistics", help="With --verify: do not keep memory.stat fresh."),
    ] = False,
    unseen_accesses: Annotated[
        bool,
        option("--unseen-accesses", help="With --verify: do not empty the TLB all the time."),
    ] = False,
    as_json: Json = False,
    html: Html = None,
) -> None:
    """Find how much memory a program needs.

    memtwin size TRACE, or memtwin size -- COMMAND ARGUMENTS
    """
    from memtwin.cli import replay_command, size_command

    terms = (
        size_command.VerifyTerms(
            with_zram, runs, timeout, random_layout, stale_statistics, unseen_accesses
        )
        if verify
        else None
    )
    if with_zram is not None and not verify:
        raise UserError("--with-zram: found without --verify, which it belongs to")
    size_command.size(
        trace,
        command,
        replay_command.Choices(
            machine or ("host" if verify else DEFAULT_MACHINE), swap, changes or []
        ),
        size_command.Grid(limits, points, slowdown),
        terms,
        replay_command.Output(as_json, html),
    )


def run(
    script: Annotated[Path, argument(metavar="SCRIPT", help="A script or a CASE.json.")],
    machine: Machine = None,
    changes: Changes = None,
    out: Annotated[Path | None, option(help="Write the checkpoints to this file.")] = None,
) -> None:
    """Run a workload script or a case.

    A CASE.json of the oracle runs on the machine that it describes.
    """
    from memtwin.cli import run_command

    run_command.run(script, machine, changes or [], out)


def info(trace: TraceFile, as_json: Json = False) -> None:
    """What is in a trace, and what is missing."""
    from memtwin.cli import record_command

    record_command.info(trace, as_json)


def head(trace: TraceFile, n: Annotated[int, option("-n", help="How many events.")] = 20) -> None:
    """The first events of a trace."""
    from memtwin.cli import record_command

    record_command.head(trace, n)


def capture(
    root: Annotated[Path, option(help="A captured tree with proc/ and sys/.")] = Path("/"),
    out: Annotated[Path | None, option("-o", "--out", help="The TOML to write.")] = None,
    tree: Annotated[
        Path | None,
        option(metavar="DIR", help="Save the texts that views read, here or in a .tar.zst."),
    ] = None,
    processes: Annotated[
        bool, option("--processes", help="With --tree: those of each process too.")
    ] = False,
    mappings: Annotated[
        bool, option("--mappings", help="And what each of their mappings uses (smaps): much more.")
    ] = False,
    no_cmdline: Annotated[
        bool, option("--no-cmdline", help="With --tree: leave command lines out.")
    ] = False,
    oom_log: Annotated[
        bool, option("--oom-log", help="With --tree: the OOM reports of the kernel's log.")
    ] = False,
) -> None:
    """Describe this host as a machine, or save a tree for --root."""
    if tree is None:
        from memtwin.cli import run_command

        if processes or mappings or no_cmdline or oom_log:
            raise UserError("capture: found a word of --tree without it, which it belongs to")
        run_command.capture(root, out)
        return
    from memtwin.cli import capture_command
    from memtwin.observe.tree_capture import Choice

    if out is not None:
        raise UserError("--tree: found with --out, allowed is one of them")
    choice = Choice(
        processes=processes or mappings,
        mappings=mappings,
        command_lines=not no_cmdline,
        oom_log=capture_command.kept_log() if oom_log else None,
    )
    capture_command.capture(root, tree, choice)


def machines() -> None:
    """List the machines that are shipped."""
    from memtwin.cli import run_command

    run_command.machines()


def demo(
    out: Annotated[Path, option(help="The page to write.")] = Path("report.html"),
) -> None:
    """Show it all on a small real recording."""
    from memtwin.cli.demo import demo as show_it_all

    show_it_all(out)
