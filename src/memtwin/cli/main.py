"""Owns the command `memtwin`: how its words reach a command, and how every mistake ends as one
line.

Imports errors and the table of commands; the rest of the house only inside commands, so that a
view costs little more than what it shows. Does no arithmetic. Exit status: 2 for a user's mistake,
130 after Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from memtwin.cli.commands import TAKE_A_COMMAND, named
from memtwin.cli.records_import import import_msgspec
from memtwin.cli.short_way import bound
from memtwin.errors import UserError
from memtwin.extensions import StaleExtension

CTRL_C_STATUS = 130


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
    except KeyboardInterrupt:
        return _fail("interrupted", CTRL_C_STATUS)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as fault:
        if fault.filename is None and fault.errno is None:
            raise
        where = f"{fault.filename}: " if fault.filename is not None else ""
        return _fail(f"{where}{fault.strerror}", 2)


def _run(own: list[str], command: list[str]) -> object:
    """What the command that `own` names returns: by the short way if they are plain words."""
    import_msgspec()
    found = named(own)
    if found is not None:
        function, words = found
        given = bound(function, words, command)
        if given is not None:
            return function(**given)
    from memtwin.cli import typer_way

    return typer_way.run(own, command)


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """What is for memtwin, and the user's command after the first "--"."""
    if "--" not in words:
        return words, []
    at = words.index("--")
    return words[:at], words[at + 1 :]


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # unwinds, so that everything started is ended and removed


def _fail(message: str, status: int) -> int:
    print(f"memtwin: {' '.join(message.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
