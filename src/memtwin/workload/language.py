"""Owns the grammar of the workload language: text in, checked commands out.

Imports errors, units, patterns. Knows nothing of machines: what a command does is
`workload/runner.py`. A line is a comment (#), a controller command (`start P`, `checkpoint NAME`
...) or a process command (`@P touch A w seq 0 100`); `bg @P ...` does not wait for the process.
Lines between `repeat N` and `end` stand for N times as many.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from memtwin.errors import UserError


class Wait(Enum):
    """Whether the controller waits for a process command."""

    FOREGROUND = "foreground"
    BACKGROUND = "background"


@dataclass(frozen=True)
class Command:
    """One checked line: verb, its words, the process it is for (or ""), and how it is waited for.
    """

    line: int
    verb: str
    words: tuple[str, ...]
    process: str = ""
    wait: Wait = Wait.FOREGROUND

    def text(self) -> str:
        """The command as it was written, without comments."""
        head = f"@{self.process} " if self.process else ""
        bg = "bg " if self.wait is Wait.BACKGROUND else ""
        return bg + head + " ".join((self.verb, *self.words))


# verb -> (fewest words, most words, form)
CONTROLLER = {
    "start": (1, 1, "start P"),
    "kill": (1, 1, "kill P"),
    "join": (1, 1, "join P"),
    "oomadj": (2, 2, "oomadj P N"),
    "checkpoint": (1, 1, "checkpoint NAME"),
    "dump": (2, 64, "dump NAME PATH.."),
    "dumpdir": (2, 3, "dumpdir NAME DIR [PREFIX]"),
    "sleep": (1, 1, "sleep MS"),
    "sync": (0, 0, "sync"),
    "dropcaches": (1, 1, "dropcaches 1|2|3"),
    "sysctl": (2, 16, "sysctl KEY VALUE.."),
    "echo": (2, 2, "echo VALUE PATH"),
    "cgmount": (1, 1, "cgmount 1|2"),
    "cgcreate": (1, 1, "cgcreate GROUP"),
    "cgset": (3, 3, "cgset GROUP FILE VALUE"),
    "cgadd": (2, 2, "cgadd GROUP P"),
    "insmod": (1, 1, "insmod MODULE"),
    "rmmod": (1, 1, "rmmod MODULE"),
    "swapon": (1, 3, "swapon DEVICE"),
    "swapoff": (1, 1, "swapoff DEVICE"),
}
PROCESS = {
    "mmap": (3, 4, "mmap A anon|shm SIZE [populate]"),
    "mmapfile": (3, 4, "mmapfile A PATH shared|private [ro]"),
    "touch": (3, 8, "touch A r|w PATTERN"),
    "fill": (5, 5, "fill A rand|half|quarter|zero|same SEED START COUNT"),
    "munmap": (1, 1, "munmap A"),
    "madvise": (2, 4, "madvise A ADVICE [START COUNT]"),
    "mlock": (1, 1, "mlock A"),
    "munlock": (1, 1, "munlock A"),
    "msync": (1, 1, "msync A"),
    "mincore": (1, 1, "mincore A"),
    "open": (2, 4, "open F PATH [create] [direct]"),
    "read": (3, 4, "read F OFFSET LENGTH [BLOCK]"),
    "write": (3, 4, "write F OFFSET LENGTH [BLOCK]"),
    "readrand": (5, 5, "readrand F SEED COUNT BLOCK NBLOCKS"),
    "fsync": (1, 1, "fsync F"),
    "fadvise": (2, 2, "fadvise F normal|random|sequential|willneed|dontneed"),
    "truncate": (2, 2, "truncate F SIZE"),
    "close": (1, 1, "close F"),
    "mkfiles": (2, 3, "mkfiles DIR N [SIZE]"),
    "statfiles": (2, 2, "statfiles DIR N"),
    "rmfiles": (2, 2, "rmfiles DIR N"),
    "malloc": (2, 2, "malloc PLACE SIZE"),
    "calloc": (2, 2, "calloc PLACE SIZE"),
    "memalign": (3, 3, "memalign PLACE ALIGNMENT SIZE"),
    "realloc": (2, 2, "realloc PLACE SIZE"),
    "free": (1, 1, "free VALUE"),
    "store": (2, 2, "store PLACE VALUE"),
    "leakcheck": (1, 1, "leakcheck NAME"),
    "kmalloc": (2, 2, "kmalloc PLACE SIZE"),
    "kmem_cache_create": (2, 2, "kmem_cache_create CACHE SIZE"),
    "kmem_cache_alloc": (2, 2, "kmem_cache_alloc PLACE CACHE"),
    "vmalloc": (2, 2, "vmalloc PLACE SIZE"),
    "kfree": (1, 1, "kfree VALUE"),
    "vfree": (1, 1, "vfree VALUE"),
    "kstore": (2, 2, "kstore PLACE VALUE"),
    "kwrite": (2, 16, "kwrite PLACE TEXT.."),
    "kmemleak": (2, 2, "kmemleak not_leak|ignore|no_scan VALUE"),
    "fork": (1, 1, "fork Q"),
    "exit": (0, 0, "exit"),
}
ADVICE = (
    "normal", "random", "sequential", "willneed", "dontneed", "free", "hugepage", "nohugepage",
    "mergeable", "cold", "pageout",
)  # fmt: skip
_MOST_COMMANDS = 10_000_000  # that a script may unroll to
_CHOICES = {
    ("mmap", 1): ("anon", "shm"),
    ("mmap", 3): ("populate",),
    ("mmapfile", 2): ("shared", "private"),
    ("mmapfile", 3): ("ro",),
    ("touch", 1): ("r", "w"),
    ("fill", 1): ("rand", "half", "quarter", "zero", "same"),
    ("madvise", 1): ADVICE,
    ("open", 2): ("create", "direct"),
    ("open", 3): ("create", "direct"),
    ("fadvise", 1): ("normal", "random", "sequential", "willneed", "dontneed"),
    ("kmemleak", 0): ("not_leak", "ignore", "no_scan"),
    ("dropcaches", 0): ("1", "2", "3"),
    ("cgmount", 0): ("1", "2"),
}


def parse_line(text: str, line: int) -> Command | None:
    """The command on one line, or None for a blank one or a comment. UserError names the line."""
    words = text.split("#", 1)[0].split()
    if not words:
        return None
    wait = Wait.FOREGROUND
    if words[0] == "bg":
        wait, words = Wait.BACKGROUND, words[1:]
        if not words or not words[0].startswith("@"):
            raise UserError(f"line {line}: found {text.strip()!r}, allowed after bg is @P COMMAND")
    process = ""
    table = CONTROLLER
    if words[0].startswith("@"):
        process, words, table = words[0][1:], words[1:], PROCESS
    if not words or words[0] not in table or (words[0] != "start" and text.strip() == "@"):
        kind = "process" if process else "controller"
        found = words[0] if words else "nothing"
        raise UserError(f"line {line}: found {found!r}, {kind} commands are {', '.join(table)}")
    fewest, most, form = table[words[0]]
    if not fewest <= len(words) - 1 <= most:
        raise UserError(f"line {line}: found {text.strip()!r}, the form is {form}")
    command = Command(line, words[0], tuple(words[1:]), process, wait)
    _check_choices(command, form)
    return command


def _check_choices(command: Command, form: str) -> None:
    for place, word in enumerate(command.words):
        allowed = _CHOICES.get((command.verb, place))
        if allowed is not None and word not in allowed:
            raise UserError(
                f"line {command.line}: found {word!r} in {command.text()!r}, "
                f"allowed is {'|'.join(allowed)} ({form})"
            )


def parse_script(lines: list[str]) -> list[Command]:
    """All commands of a script, checked before any runs: names must be started before use.

    >>> [c.text() for c in parse_script(["start P", "", "bg @P touch A w seq 0 4  # go"])]
    ['start P', 'bg @P touch A w seq 0 4']
    """
    commands = _unrolled(lines)
    known: set[str] = set()
    for command in commands:
        if command.verb == "start" and not command.process:
            known.add(command.words[0])
        elif command.process:
            _require_started(command, command.process, known)
            if command.verb == "fork":
                known.add(command.words[0])
        elif command.verb in ("kill", "join", "oomadj"):
            _require_started(command, command.words[0], known)
        elif command.verb == "cgadd":
            _require_started(command, command.words[1], known)
    return commands


def _unrolled(lines: list[str]) -> list[Command]:
    """The commands with those between `repeat N` and `end` as often as they say."""
    open_blocks: list[tuple[int, int, list[Command]]] = [(0, 1, [])]  # line, times, commands
    for number, text in enumerate(lines, 1):
        words = text.split("#", 1)[0].split()
        if words[:1] == ["repeat"]:
            if len(words) != 2 or not words[1].isdecimal():
                raise UserError(f"line {number}: found {text.strip()!r}, the form is repeat N")
            open_blocks.append((number, int(words[1]), []))
        elif words == ["end"]:
            if len(open_blocks) == 1:
                raise UserError(f"line {number}: found 'end' without a repeat before it")
            line, times, commands = open_blocks.pop()
            inside = open_blocks[-1][2]
            if len(inside) + times * len(commands) > _MOST_COMMANDS:
                raise UserError(
                    f"line {line}: found repeat {times} of {len(commands)} commands, allowed are"
                    f" {_MOST_COMMANDS:,} commands in all"
                )
            inside += commands * times
        elif (command := parse_line(text, number)) is not None:
            open_blocks[-1][2].append(command)
    if len(open_blocks) > 1:
        raise UserError(f"line {open_blocks[-1][0]}: found repeat without its end")
    return open_blocks[0][2]


def _require_started(command: Command, process: str, known: set[str]) -> None:
    if process not in known:
        names = ", ".join(sorted(known)) or "none"
        raise UserError(f"line {command.line}: found process {process!r}, started so far: {names}")
